import { describe, expect, it } from "vitest";
import { BrokerError } from "../../../src/base/errors.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";
import { connect, packet, type RawSocket, type TestDoor, text } from "./door.ts";
import { killed, open } from "./open-doors.ts";

const id = (publish: Buffer): Buffer => publish.subarray(5, 7);

/** All packets up to the answer to a PINGREQ. */
async function upToPing(raw: RawSocket): Promise<string[]> {
	raw.send(packet(0xc0));
	const all: string[] = [];
	for (;;) {
		const next = (await raw.packet()).toString("hex");
		if (next === "d000") return all;
		all.push(next);
	}
}

describe("a kept session", () => {
	it("gets QoS 2 exactly once when the gateway is killed between any of its steps", async () => {
		const before = await open();
		let raw = await before.socket();
		raw.send(connect("s", { clean: false }), packet(0x82, 0, 1, text("a"), 2));
		await raw.packet();
		await raw.packet();
		const publisher = await before.client();
		const events = ["done", "taken", "sent"];
		for (const each of events) await publisher.publishAsync("a", each, { qos: 2 });
		const sent = [await raw.packet(), await raw.packet(), await raw.packet()];
		for (const each of sent.slice(0, 2)) {
			raw.send(packet(0x50, id(each)));
			expect((await raw.packet()).toString("hex")).toBe(packet(0x62, id(each)).toString("hex"));
		}
		raw.send(packet(0x70, id(sent[0]!)));
		expect(await upToPing(raw)).toEqual([]);
		const after = await killed(before);
		raw = await after.socket();
		raw.send(connect("s", { clean: false }));
		expect((await raw.packet()).toString("hex")).toBe("20020100");
		const again = await after.client();
		await again.publishAsync("a", "new", { qos: 2 });
		const publishes: Buffer[] = [];
		const releases: string[] = [];
		while (publishes.length < 2) {
			const next = await raw.packet();
			if (next[0] === 0x62) releases.push(next.toString("hex"));
			else publishes.push(next);
		}
		expect(publishes[0]?.toString("hex")).toBe(`3c${sent[2]?.toString("hex").slice(2)}`);
		expect(publishes[1]?.toString("latin1", 7)).toBe("new");
		expect(sent.map((each) => id(each).toString("hex"))).not.toContain(id(publishes[1]!).toString("hex"));
		expect(releases).toContain(packet(0x62, id(sent[1]!)).toString("hex"));
		for (const each of [...sent.slice(0, 2), ...publishes]) raw.send(packet(0x50, id(each)), packet(0x70, id(each)));
		expect((await upToPing(raw)).every((each) => each.startsWith("62"))).toBe(true);
	});

	it("keeps nothing of its deliveries once they are over and its cursor is written", async () => {
		const door = await open();
		const raw = await door.socket();
		raw.send(connect("s", { clean: false }), packet(0x82, 0, 1, text("a"), 2));
		await raw.packet();
		await raw.packet();
		const publisher = await door.client();
		for (let i = 0; i < 10; i++) {
			await publisher.publishAsync("a", `${i}`, { qos: 2 });
			const sent = await raw.packet();
			raw.send(packet(0x50, id(sent)));
			await raw.packet();
			raw.send(packet(0x70, id(sent)));
		}
		await upToPing(raw);
		const rows = () => [...door.broker.log.scanState(StateSpace.MQTT_RECEIVED, "s\0q")].length;
		expect(rows()).toBe(10);
		door.clock.advance(6000);
		expect(rows()).toBe(0);
	});

	it("misses no event after SUBACK, also when the gateway is killed before it wrote a cursor", async () => {
		const before = await open();
		const publisher = await before.client();
		await publisher.publishAsync("a", "makes the topic", { qos: 1 });
		let raw = await before.socket();
		raw.send(connect("s", { clean: false }), packet(0x82, 0, 1, text("a"), 1));
		await raw.packet();
		await raw.packet();
		await publisher.publishAsync("a", "after", { qos: 1 });
		const after = await killed(before);
		raw = await after.socket();
		raw.send(connect("s", { clean: false }));
		await raw.packet();
		expect((await raw.packet()).toString("latin1", 7)).toBe("after");
	});

	it("is not promised, nor is a subscription, where it cannot be stored", async () => {
		const door = await open();
		const raw = await door.socket();
		raw.send(connect("s", { level: 5, clean: false, properties: Buffer.from("1100000064", "hex") }));
		await raw.packet();
		const { log } = door.broker;
		const putState = log.putState.bind(log);
		log.putState = () => {
			throw new BrokerError("KAFKA_STORAGE_ERROR", "the disk is full");
		};
		raw.send(packet(0x82, 0, 1, 0, text("a"), 1));
		expect((await raw.packet()).toString("hex")).toMatch(/^90..000100(97)$/);
		expect(door.door.stats().subscriptions).toBe(0);
		const other = await door.socket();
		other.send(connect("t", { clean: false }));
		expect((await other.rest()).toString("hex")).toMatch(/^(20020003)?$/);
		log.putState = putState;
		raw.send(packet(0x82, 0, 2, 0, text("a"), 1));
		expect((await raw.packet()).toString("hex")).toMatch(/^90..00020001$/);
	});

	it("counts what retention took while its client was away, and gets the rest", async () => {
		const door = await open({ routes: [{ filter: "#", topic: "mqtt" }] });
		door.broker.topics.create({ name: "mqtt", partitions: 1, config: { "segment.bytes": "1048576" } });
		let raw = await door.socket();
		raw.send(connect("s", { clean: false }), packet(0x82, 0, 1, text("a"), 1), packet(0xe0));
		await raw.rest();
		const publisher = await door.client();
		const filler = "x".repeat(90_000);
		for (let i = 0; i < 30; i++) await publisher.publishAsync("a", `${i} ${filler}`, { qos: 1 });
		await door.broker.log.checkpoint();
		door.broker.topics.alter("mqtt", { set: { "retention.bytes": "1000000" } });
		door.broker.enforceRetention();
		const partition = door.broker.topics.get("mqtt")!.partitions[0]!;
		const lost = partition.logStartOffset;
		expect(lost).toBeGreaterThan(0);
		raw = await door.socket();
		raw.send(connect("s", { clean: false }));
		await raw.packet();
		const head = await raw.take(4);
		const body = await raw.take((head[1]! & 127) | ((head[2]! & 127) << 7) | (head[3]! << 14));
		expect(body.toString("latin1", 5, body.indexOf(" "))).toBe(`${lost}`);
		expect(door.door.stats().overtakenByRetention).toBe(lost);
	});

	it("goes on when a topic that it was behind in is deleted and made again", async () => {
		const door = await open({ maxInflight: 1 });
		const raw = await door.socket();
		raw.send(connect("s", { clean: false }), packet(0x82, 0, 1, text("a"), 1));
		await raw.packet();
		await raw.packet();
		const publisher = await door.client();
		for (const each of ["0", "1", "2"]) await publisher.publishAsync("a", each, { qos: 1 });
		const first = await raw.packet();
		door.broker.topics.delete("mqtt");
		await publisher.publishAsync("a", "new", { qos: 1 });
		raw.send(packet(0x40, id(first)));
		const next = await raw.packet();
		expect(next.toString("latin1", 7)).toBe("new");
		raw.send(packet(0x40, id(next)));
		expect(await upToPing(raw)).toEqual([]);
		expect(door.door.engine.clients.get("s")?.session?.outbox?.inflight.size).toBe(0);
	});
});

describe("a will with a delay", () => {
	const withWill = (clean: boolean): Buffer =>
		packet(
			0x10,
			text("MQTT"),
			5,
			clean ? 6 : 4,
			Buffer.from("0000051100000064", "hex"), // no keep alive; the session outlives its connection by 100 s
			text("c"),
			Buffer.from("051800000005", "hex"), // Will Delay Interval 5
			text("gone"),
			text("bye"),
		);
	const gone = async (door: TestDoor, raw: RawSocket): Promise<void> => {
		raw.socket.destroy();
		while (door.door.engine.clients.has("c")) await new Promise((resolve) => setImmediate(resolve));
	};

	it("is an event when the delay is over, unless the client has continued its session", async () => {
		const door = await open();
		const raw = await door.socket();
		raw.send(withWill(true));
		await raw.packet();
		await gone(door, raw);
		door.clock.advance(3000);
		expect(await door.records("mqtt")).toEqual([]);
		const back = await door.socket();
		back.send(withWill(false));
		expect((await back.packet())[2]).toBe(1);
		await gone(door, back);
		door.clock.advance(4000);
		expect(await door.records("mqtt")).toEqual([]);
		door.clock.advance(2000);
		expect((await door.records("mqtt")).map((record) => record.value?.toString())).toEqual(["bye"]);
	});
});
