import { describe, expect, it } from "vitest";
import { replayStart } from "../../../bridge/mqtt/filter-kind.ts";
import { connect, packet, type TestDoor, text } from "./door.ts";
import { killed, open } from "./open-doors.ts";

async function publishMany(door: TestDoor, from: number, to: number, qos: 0 | 1 = 1): Promise<void> {
	const publisher = await door.client();
	for (let i = from; i < to; i++) {
		if (qos === 0) publisher.publish(`s/${i % 7}`, `${i}`, { qos });
		else await publisher.publishAsync(`s/${i % 7}`, `${i}`, { qos });
	}
	await publisher.publishAsync("end", "", { qos: 1 });
	await publisher.endAsync();
}

async function reader(door: TestDoor, filters: string | string[], options = {}) {
	const client = await door.client({ protocolVersion: 4, ...options });
	const seen: number[] = [];
	const topics: string[] = [];
	client.on("message", (topic, payload) => {
		seen.push(Number(payload.toString()));
		topics.push(topic);
	});
	await client.subscribeAsync(filters, { qos: 1 });
	return { client, seen, topics };
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

describe("$replay", () => {
	it("sends what was stored since, under its own topics, in order, then what comes", async () => {
		const door = await open();
		await publishMany(door, 0, 100);
		const { seen, topics } = await reader(door, "$replay/earliest/s/#");
		await publishMany(door, 100, 120);
		await expect.poll(() => sorted(seen), { timeout: 5000 }).toEqual(range(0, 120));
		expect(topics.every((topic) => /^s\/\d$/.test(topic))).toBe(true);
		for (let device = 0; device < 7; device++) {
			const own = seen.filter((value) => value % 7 === device);
			expect(own).toEqual(sorted(own));
		}
	});

	it("begins at a time, or so long ago", async () => {
		const door = await open();
		await publishMany(door, 0, 20);
		door.clock.advance(3_600_000);
		const time = new Date(door.clock.now() - 1000).toISOString();
		await publishMany(door, 20, 30);
		for (const start of ["-30m", "-0d30m", time, time.slice(0, 19)]) {
			const { seen } = await reader(door, `$replay/${start}/s/#`);
			await expect.poll(() => sorted(seen), { timeout: 5000 }).toEqual(range(20, 30));
		}
		const { seen } = await reader(door, "$replay/-2h/s/1");
		await expect.poll(() => seen, { timeout: 5000 }).toEqual([1, 8, 15, 22, 29]);
	});

	it("gives events of QoS 0 as well, and other subscriptions of the session nothing twice", async () => {
		const door = await open();
		const { client, seen } = await reader(door, "s/#");
		await publishMany(door, 0, 50, 0);
		await expect.poll(() => seen.length).toBe(50);
		await client.subscribeAsync("other/#", { qos: 1 });
		await client.subscribeAsync("$replay/earliest/s/3", { qos: 1 });
		await expect.poll(() => seen.length).toBe(57);
		await publishMany(door, 50, 60);
		// Live both match, and one delivery serves both.
		await expect.poll(() => seen.length).toBe(67);
		expect(sorted(seen.slice(50, 57))).toEqual(range(0, 50).filter((value) => value % 7 === 3));
	});

	it("goes at the subscriber's pace and goes on, in a kept session, where it was when the gateway was killed", async () => {
		const before = await open();
		await publishMany(before, 0, 300);
		let raw = await before.socket();
		raw.send(connect("s", { level: 5, clean: true, properties: Buffer.from("1100ffffff210005", "hex") }));
		await raw.packet();
		raw.send(packet(0x82, 0, 1, 0, text("$replay/earliest/s/#"), 1), packet(0x82, 0, 2, 0, text("s/#"), 1));
		await raw.packet();
		const first: string[] = [];
		const take = async (into: string[], count: number): Promise<void> => {
			for (let got = 0; got < count; ) {
				const next = await raw.packet();
				if (next[0]! >> 4 !== 3) continue;
				into.push(next.subarray(10).toString());
				raw.send(packet(0x40, next.subarray(7, 9)));
				got++;
			}
		};
		await take(first, 100);
		before.clock.advance(10_000); // the cursor is written
		raw.send(packet(0xc0));
		while ((await raw.packet())[0] !== 0xd0);
		const after = await killed(before);
		raw = await after.socket();
		raw.send(connect("s", { level: 5, clean: false, properties: Buffer.from("1100ffffff210005", "hex") }));
		expect((await raw.packet())[2]).toBe(1);
		const second: string[] = [];
		const distinct = () => new Set([...first, ...second]).size;
		while (distinct() < 300) await take(second, 1);
		expect(second.length).toBeLessThan(220);
	});

	it("is refused where the start is none, and ends with UNSUBSCRIBE", async () => {
		const door = await open();
		const raw = await door.socket();
		raw.send(connect("c", { level: 5 }));
		await raw.packet();
		const wrong = ["$replay/yesterday/a", "$replay/-2h", "$replay", "$replay/-2h/$SYS/a", "$replay/2h/a", "$replay//a"];
		for (const filter of wrong) {
			raw.send(packet(0x82, 0, 1, 0, text(filter), 1));
			expect((await raw.packet()).toString("hex")).toBe("90040001008f");
		}
		raw.send(packet(0x82, 0, 1, 0, text("$replay/-2h/a"), 1));
		expect((await raw.packet()).toString("hex")).toBe("9004000100" + "01");
		raw.send(packet(0xa2, 0, 2, 0, text("$replay/-2h/a")));
		expect((await raw.packet()).toString("hex")).toBe("b004000200" + "00");
		expect(door.door.engine.deliveries.trie.size).toBe(0);
	});

	it("understands these times", () => {
		expect(replayStart("earliest")).toBe("earliest");
		expect(replayStart("-1d12h30m5s")).toEqual({ beforeMs: 131_405_000 });
		expect(replayStart("2026-01-02")).toEqual({ atMs: Date.UTC(2026, 0, 2) });
		expect(replayStart("2026-01-02T03:04:05")).toEqual({ atMs: Date.UTC(2026, 0, 2, 3, 4, 5) });
		expect(replayStart("2026-01-02T03:04:05.250+01:00")).toEqual({ atMs: Date.UTC(2026, 0, 2, 2, 4, 5, 250) });
		for (const wrong of ["", "now", "2h", "-2", "-h", "2026-13-01", "2026-01-02T25:00", "-1e3s", "12:00"]) {
			expect(replayStart(wrong)).toBeUndefined();
		}
	});
});
