import type { MqttClient } from "mqtt";
import { describe, expect, it } from "vitest";
import { connect, packet, type RawSocket, type TestDoor, text } from "./door.ts";
import { killed, open as openDoor } from "./open-doors.ts";

const open = (options: Parameters<typeof openDoor>[0] = {}) => openDoor({ maxInflight: 1000, ...options });

interface Worker {
	readonly client: MqttClient;
	readonly seen: string[];
}

async function worker(door: TestDoor, filter: string, clientId: string, kept = false): Promise<Worker> {
	const client = await door.client({ protocolVersion: 4, clientId, clean: !kept });
	const seen: string[] = [];
	client.on("message", (topic, payload) => seen.push(`${topic}=${payload.toString()}`));
	await client.subscribeAsync(filter, { qos: 1 });
	return { client, seen };
}

async function publishMany(door: TestDoor, from: number, to: number, keys = 10): Promise<void> {
	const publisher = await door.client();
	const all: Promise<unknown>[] = [];
	for (let i = from; i < to; i++) all.push(publisher.publishAsync(`w/${i % keys}`, `${i}`, { qos: 1 }));
	await Promise.all(all);
	await publisher.endAsync();
}

const numbers = (workers: readonly Worker[]): number[] =>
	workers.flatMap(({ seen }) => seen.map((each) => Number(each.split("=")[1]))).sort((a, b) => a - b);
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/** A worker by hand: it takes what comes and acknowledges nothing. */
async function silent(door: TestDoor, filter: string, clientId: string, qos: number, clean = true): Promise<RawSocket> {
	const raw = await door.socket();
	raw.send(connect(clientId, { clean }));
	await raw.packet();
	raw.send(packet(0x82, 0, 1, text(filter), qos));
	await raw.packet();
	return raw;
}

describe("a shared subscription", () => {
	it("gives each event to one worker, those of a key in order to the same, and to other subscribers all", async () => {
		const door = await open();
		const workers = [
			await worker(door, "$share/g/w/#", "a"),
			await worker(door, "$share/g/w/#", "b"),
			await worker(door, "$share/g/w/#", "c"),
		];
		const other = await worker(door, "$share/h/w/#", "d");
		const plain = await worker(door, "w/#", "e");
		await publishMany(door, 0, 600, 40);
		await expect.poll(() => numbers(workers), { timeout: 5000 }).toEqual(range(0, 600));
		await expect.poll(() => [numbers([other]).length, numbers([plain]).length]).toEqual([600, 600]);
		const keysOf = ({ seen }: Worker) => new Set(seen.map((each) => each.split("=")[0]));
		for (const each of workers) {
			expect(each.seen.length).toBeGreaterThan(0);
			for (const key of keysOf(each)) {
				const own = each.seen
					.filter((event) => event.startsWith(`${key}=`))
					.map((event) => Number(event.split("=")[1]));
				expect(own).toEqual([...own].sort((a, b) => a - b));
				for (const another of workers) if (another !== each) expect(keysOf(another).has(key)).toBe(false);
			}
		}
	});

	it("passes on what a worker that dies has not acknowledged", async () => {
		const door = await open();
		const dying = await silent(door, "$share/g/w/#", "dying", 1);
		await publishMany(door, 0, 50);
		for (let i = 0; i < 50; i++) await dying.packet();
		const heir = await worker(door, "$share/g/w/#", "heir");
		await publishMany(door, 50, 60);
		dying.socket.destroy();
		await expect.poll(() => numbers([heir]), { timeout: 5000 }).toEqual(range(0, 60));
	});

	it("holds up only its own keys while a worker is slow, and they are there when it goes", async () => {
		const door = await open({ maxInflight: 2 });
		await silent(door, "$share/g/w/#", "slow", 1);
		const quick = await worker(door, "$share/g/w/#", "quick");
		await publishMany(door, 0, 400, 40);
		// About half of the keys are the quick one's, and all of their events come.
		await expect.poll(() => quick.seen.length, { timeout: 5000 }).toBeGreaterThan(100);
		const slow = door.door.engine.clients.get("slow")!;
		slow.transport.destroy();
		await expect.poll(() => numbers([quick]), { timeout: 5000 }).toEqual(range(0, 400));
	});

	it("waits in the log while no worker is there, with kept sessions, over a crash too", async () => {
		const before = await open();
		const kept = await worker(before, "$share/g/w/#", "kept", true);
		await publishMany(before, 0, 20);
		await expect.poll(() => kept.seen.length).toBe(20);
		await kept.client.endAsync();
		await publishMany(before, 20, 40);
		const after = await killed(before);
		await publishMany(after, 40, 60);
		const other = await worker(after, "$share/g/w/#", "other");
		await expect.poll(() => numbers([other]), { timeout: 5000 }).toEqual(range(20, 60));
		const back = await worker(after, "$share/g/w/#", "kept", true);
		await publishMany(after, 60, 160, 40);
		await expect.poll(() => numbers([other, back]), { timeout: 5000 }).toEqual(range(20, 160));
		expect(back.seen.length).toBeGreaterThan(0);
	});

	it("keeps what waits for whoever comes back, whatever QoS who comes first asks for", async () => {
		const door = await open();
		const kept = await worker(door, "$share/g/w/#", "kept", true);
		await kept.client.endAsync();
		await publishMany(door, 0, 20);
		const first = await door.client({ clientId: "first" });
		const seen: number[] = [];
		first.on("message", (_topic, payload) => seen.push(Number(payload.toString())));
		await first.subscribeAsync("$share/g/w/#", { qos: 0 });
		await expect.poll(() => [...seen].sort((a, b) => a - b), { timeout: 5000 }).toEqual(range(0, 20));
	});

	it("ends with its last session, or outlives it by mqtt.share.expiry.seconds", async () => {
		for (const [shareExpirySeconds, expected] of [
			[0, 0],
			[3600, 10],
		] as const) {
			const door = await open({ shareExpirySeconds });
			const first = await worker(door, "$share/g/w/#", "first");
			await first.client.endAsync();
			await publishMany(door, 0, 10);
			const second = await worker(door, "$share/g/w/#", "second");
			await publishMany(door, 10, 11);
			await expect.poll(() => second.seen.length, { timeout: 5000 }).toBe(expected + 1);
			await second.client.unsubscribeAsync("$share/g/w/#");
			await second.client.endAsync();
			door.clock.advance(3_700_000);
			await publishMany(door, 11, 12);
			const third = await worker(door, "$share/g/w/#", "third");
			await publishMany(door, 12, 13);
			await expect.poll(() => numbers([third]), { timeout: 5000 }).toEqual([12]);
		}
	});

	it("gives what a worker was sent at QoS 2 to no other, and to that one again when it is back", async () => {
		const before = await open();
		const first = await silent(before, "$share/g/w/#", "first", 2, false);
		const publisher = await before.client();
		await publisher.publishAsync("w/1", "once", { qos: 2 });
		const sent = await first.packet();
		expect(sent[0]).toBe(0x34);
		const after = await killed(before);
		const other = await after.client({ clientId: "other" });
		const seen: string[] = [];
		other.on("message", (_topic, payload) => seen.push(payload.toString()));
		await other.subscribeAsync("$share/g/w/#", { qos: 2 });
		const again = await after.client();
		await again.publishAsync("w/1", "new", { qos: 2 });
		await expect.poll(() => seen).toEqual(["new"]);
		const back = await after.socket();
		back.send(connect("first", { clean: false }));
		expect((await back.packet()).toString("hex")).toBe("20020100");
		expect((await back.packet()).toString("hex")).toBe(`3c${sent.toString("hex").slice(2)}`);
	});

	it("cannot be No Local, nor without a filter", async () => {
		const door = await open();
		for (const [filter, options] of [
			["$share/g/a", 4],
			["$share/g", 0],
			["$share//a", 0],
			["$share/+/a", 0],
		] as const) {
			const raw = await door.socket();
			raw.send(connect("c", { level: 5 }));
			await raw.packet();
			raw.send(packet(0x82, 0, 1, 0, text(filter), options));
			expect((await raw.rest())[0]).toBe(0xe0);
		}
	});
});
