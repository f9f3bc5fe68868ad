/** MQTT subscribers whose events have left the gateway's own files: the store is slow, away, and back again; nobody misses one. */
import { connect as connectClient, type IClientOptions, type MqttClient } from "mqtt";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { silentLogger } from "../../../src/base/logger.ts";
import { deleteRecordsBefore } from "../../../src/log/delete-records.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { partitionForKey } from "../../../src/record/partitioner.ts";
import { SimulatedTier } from "../../support/simulated-tier.ts";
import { TransactionalWriter } from "../../support/transactional-writer.ts";
import { connect, packet, type TestDoor, text } from "./door.ts";
import { open } from "./open-doors.ts";

/** MQTT topics for each of the two partitions of the topic `mqtt`. */
const [FAR, NEAR] = [0, 1].map(
	(number) =>
		["s/0", "s/1", "s/2", "s/3", "s/4"].find((topic) => partitionForKey(Buffer.from(topic), 2) === number) ?? "",
) as [string, string];

let door: TestDoor;
let tier: SimulatedTier;
let publisher: MqttClient;

beforeEach(async () => {
	vi.spyOn(silentLogger, "error");
	vi.spyOn(silentLogger, "warn");
	door = await open();
	tier = new SimulatedTier(door.broker.log, door.clock);
	publisher = await door.client();
	door.broker.topics.create({ name: "mqtt", partitions: 2 });
});
const returned: MqttClient[] = [];
afterEach(() => {
	for (const client of returned.splice(0)) client.end(true);
	vi.restoreAllMocks();
});

/** FAR's, or NEAR's. */
const partition = (topic = FAR) => door.broker.topics.get("mqtt")?.partitions[topic === FAR ? 0 : 1] as Partition;
const range = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => String(from + i));

async function publish(topic: string, from: number, to: number): Promise<void> {
	for (const value of range(from, to)) await publisher.publishAsync(topic, value, { qos: 1 });
}
/** What the store has alone from now on: all but the last `rest` of what was published to FAR. */
async function evict(rest: number): Promise<void> {
	door.broker.log.flush();
	await tier.copy(partition());
	tier.evict(partition(), partition().highWatermark - rest);
}
async function subscriber(filter: string, options: IClientOptions = {}) {
	const client = await door.client({ protocolVersion: 4, ...options });
	const seen: string[] = [];
	client.on("message", (_topic, payload) => seen.push(payload.toString()));
	if (filter !== "") await client.subscribeAsync(filter, { qos: 1 });
	return { client, seen };
}
/** A kept session that is away from now on. */
async function awaySession(clientId = "k", filter = "s/#"): Promise<void> {
	const { client } = await subscriber(filter, { clientId, clean: false });
	await client.endAsync();
}
async function back(clientId = "k") {
	const options = { protocolVersion: 4, clientId, clean: false, reconnectPeriod: 0, keepalive: 0 } as const;
	const client = connectClient(`mqtt://127.0.0.1:${door.port}`, options);
	returned.push(client);
	const seen: string[] = [];
	// Before anything can come.
	client.on("message", (_topic, payload) => seen.push(payload.toString()));
	await new Promise((resolve) => client.once("connect", resolve));
	return { client, seen };
}
/** What the store says, its keeper logs: doors do not, for each of their reads. */
const logged = () => [...vi.mocked(silentLogger.error).mock.calls, ...vi.mocked(silentLogger.warn).mock.calls];

describe("a session that comes back", () => {
	it("gets what the store has, then what is here, then what comes: in order, each once", async () => {
		await awaySession();
		await publish(FAR, 0, 30);
		await evict(10);
		const { seen } = await back();
		await publish(FAR, 30, 40);
		await expect.poll(() => seen, { timeout: 5000 }).toEqual(range(0, 40));
	});

	it("waits for a slow store, and gets what comes in other partitions meanwhile, as all others do", async () => {
		const { seen: live } = await subscriber("s/#");
		await awaySession();
		await publish(FAR, 0, 30);
		await publish(NEAR, 100, 130);
		await evict(10);
		tier.hold(partition());
		const { seen } = await back();
		await expect.poll(() => seen, { timeout: 5000 }).toEqual(range(100, 130));
		expect(tier.waiting).toBe(1);
		await publish(NEAR, 130, 140);
		await publish(FAR, 30, 40);
		await expect.poll(() => seen).toEqual(range(100, 140));
		await expect.poll(() => live.length).toBe(80);
		// It has waited for long, and asks again.
		door.clock.advance(10_000);
		await expect.poll(() => tier.waiting).toBe(1);
		tier.release();
		await expect.poll(() => seen, { timeout: 5000 }).toEqual([...range(100, 140), ...range(0, 40)]);
		expect(logged()).toEqual([]);
	});

	it("passes over nothing while the store is away, asks it once a second, and goes on when it is back", async () => {
		await awaySession();
		await publish(FAR, 0, 30);
		await evict(10);
		tier.fail(partition());
		const { seen } = await back();
		await expect.poll(() => tier.asked.length).toBe(1);
		await publish(NEAR, 100, 150);
		await expect.poll(() => seen).toEqual(range(100, 150));
		expect(tier.asked.length).toBe(1);
		for (let second = 2; second <= 4; second++) {
			door.clock.advance(1000);
			await expect.poll(() => tier.asked.length).toBe(second);
		}
		tier.recover();
		door.clock.advance(1000);
		await expect.poll(() => seen.slice(50), { timeout: 5000 }).toEqual(range(0, 30));
		expect(logged()).toEqual([]);
	});

	it("is told by a counter of what retention took while it waited, and gets the rest", async () => {
		await awaySession();
		await publish(FAR, 0, 30);
		await evict(10);
		tier.hold(partition());
		const { seen } = await back();
		await expect.poll(() => tier.waiting).toBe(1);
		deleteRecordsBefore(door.broker.log, partition(), 25);
		tier.fail(partition());
		tier.release();
		await expect.poll(() => seen).toEqual(range(25, 30));
		expect(door.door.engine.stats.overtakenByRetention).toBe(25);
	});

	it("lets go of what it waits for when the topic is deleted, and when it leaves", async () => {
		await awaySession("a");
		await awaySession("b");
		await publish(FAR, 0, 30);
		await evict(10);
		tier.hold(partition());
		const [one, other] = [await back("a"), await back("b")];
		await expect.poll(() => tier.waiting).toBe(1);
		await one.client.endAsync();
		door.broker.topics.delete("mqtt");
		tier.release();
		await publish(FAR, 200, 203);
		await expect.poll(() => other.seen).toEqual(range(200, 203));
		expect([one.seen, tier.waiting]).toEqual([[], 0]);
	});

	it("does not wait behind any number of others that wait for the store", async () => {
		for (const id of range(0, 20)) await awaySession(`far${id}`, FAR);
		await awaySession("near", NEAR);
		const values = range(0, 40);
		for (const value of values) await publisher.publishAsync(FAR, value, { qos: 1 });
		await publish(NEAR, 100, 400);
		await evict(10);
		tier.hold(partition());
		const waiting = await Promise.all(range(0, 20).map((id) => back(`far${id}`)));
		await expect.poll(() => tier.waiting).toBeGreaterThan(0);
		const near = await back("near");
		await expect.poll(() => near.seen, { timeout: 5000 }).toEqual(range(100, 400));
		expect(waiting.flatMap(({ seen }) => seen)).toEqual([]);
		tier.release();
		for (const { seen } of waiting) await expect.poll(() => seen, { timeout: 5000 }).toEqual(values);
	});

	it("as a member of a shared subscription gets its part from the store", async () => {
		await awaySession("w", "$share/g/s/#");
		await publish(FAR, 0, 30);
		await evict(10);
		tier.fail(partition());
		const { seen } = await back("w");
		await expect.poll(() => tier.asked.length).toBeGreaterThan(0);
		await publish(NEAR, 100, 110);
		await expect.poll(() => seen).toEqual(range(100, 110));
		tier.recover();
		door.clock.advance(1000);
		await expect.poll(() => seen, { timeout: 5000 }).toEqual([...range(100, 110), ...range(0, 30)]);
	});
});

describe("a live subscriber", () => {
	it("of events that a transaction held back until they had left this machine waits for the store and skips none", async () => {
		const { seen } = await subscriber("s/#");
		const writer = new TransactionalWriter(door.broker, "x");
		await writer.write(partition(), FAR, "t");
		await publish(FAR, 0, 5);
		door.broker.log.flush();
		await tier.copy(partition(), partition().highWatermark);
		tier.evict(partition());
		tier.fail(partition());
		await writer.end("commit");
		await publish(NEAR, 100, 105);
		await expect.poll(() => seen).toEqual(range(100, 105));
		tier.recover();
		door.clock.advance(1000);
		await expect.poll(() => seen.slice(5)).toEqual(["t", ...range(0, 5)]);
		expect(logged()).toEqual([]);
	});
});

describe("a replay", () => {
	it("of all that there is begins in the store", async () => {
		await publish(FAR, 0, 30);
		await evict(10);
		const { seen } = await subscriber("$replay/earliest/s/#");
		await publish(FAR, 30, 35);
		await expect.poll(() => seen, { timeout: 5000 }).toEqual(range(0, 35));
	});

	it("from a time waits until the store tells where that is; its client's other packets and everybody else do not", async () => {
		await publish(FAR, 0, 10);
		door.clock.advance(3_600_000);
		await publish(FAR, 10, 20);
		await evict(5);
		tier.fail(partition());
		const raw = await door.socket();
		raw.send(connect("r", {}));
		await raw.packet();
		raw.send(packet(0x82, 0, 1, text(`$replay/-30m/s/#`), 0));
		await expect.poll(() => tier.asked.length).toBe(1);
		// Nothing but SUBSCRIBE and UNSUBSCRIBE has to wait.
		raw.send(packet(0x32, text(NEAR), 0, 7, Buffer.from("x")), packet(0xc0));
		expect(new Set([(await raw.packet())[0], (await raw.packet())[0]])).toEqual(new Set([0x40, 0xd0]));
		raw.send(packet(0xa2, 0, 2, text("$replay/-30m/s/#")));
		await publish(NEAR, 100, 101);
		door.clock.advance(1000);
		await expect.poll(() => tier.asked.length).toBe(2);
		tier.recover();
		door.clock.advance(1000);
		expect([...(await raw.packet())]).toEqual([0x90, 3, 0, 1, 0]);
		// In their order: what it gave up came after what it asked for.
		const packets: number[][] = [];
		while (packets.at(-1)?.[0] !== 0xb0) packets.push([...(await raw.packet())]);
		expect(packets.at(-1)).toEqual([0xb0, 2, 0, 2]);
		const { seen } = await subscriber("$replay/-30m/s/#");
		await expect.poll(() => seen.filter((value) => Number(value) < 100), { timeout: 5000 }).toEqual(range(10, 20));
		expect(logged()).toEqual([]);
	});

	it("that waits for the store is forgotten with its connection", async () => {
		await publish(FAR, 0, 10);
		await evict(5);
		tier.fail(partition());
		const raw = await door.socket();
		raw.send(connect("r", {}));
		await raw.packet();
		raw.send(packet(0x82, 0, 1, text(`$replay/-30m/s/#`), 0));
		await expect.poll(() => tier.asked.length).toBe(1);
		raw.socket.destroy();
		await expect.poll(() => door.door.engine.clients.has("r")).toBe(false);
		door.clock.advance(1000);
		await publish(NEAR, 100, 101);
		const asked = tier.asked.length;
		door.clock.advance(5000);
		await publish(NEAR, 101, 102);
		expect(tier.asked.length).toBe(asked);
	});
});
