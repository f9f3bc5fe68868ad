/** Produce over the native door: durable before it is answered, atomic, and once however often it is sent. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Clock, systemClock } from "../../../src/base/clock.ts";
import { MESSAGE } from "../../../src/native/codec/protocol.ts";
import { groupsOf, type Message, NativeGateway, type NativePeer } from "./native-gateway.ts";

let gateway: NativeGateway;
beforeEach(async () => {
	gateway = await NativeGateway.start();
	gateway.broker.topics.create({ name: "t", partitions: 1 });
	gateway.broker.topics.create({ name: "u", partitions: 3 });
});
afterEach(() => gateway.stop());

const DEVICE: [number, string][] = [[2, "device-1"]];
const produced = (message: Message): unknown => message[2].get(0);
const errorName = (message: Message): unknown => message[2].get(1);

async function values(peer: NativePeer, topic = "t", partition = 0): Promise<string[]> {
	const all: string[] = [];
	for (let offset = 0; ; ) {
		const fields: [number, string | number][] = [
			[0, topic],
			[1, partition],
			[2, offset],
		];
		const [type, , body] = await peer.request(MESSAGE.FETCH, 900, fields);
		expect(type).toBe(MESSAGE.FETCH);
		const records = body.get(0) as [number, number, null, Buffer][];
		if (records.length === 0) return all;
		all.push(...records.map(([, , , value]) => value.toString()));
		offset = body.get(3) as number;
	}
}

describe("a produce", () => {
	it("is answered only when its commit is durable, and is not readable before", async () => {
		const peer = await gateway.peer([]);
		gateway.hold();
		peer.send(MESSAGE.PRODUCE, 5, [[0, groupsOf("t", ["a", "b"])]]);
		expect((await peer.request(MESSAGE.PING, 6, []))[1]).toBe(6);
		expect(await values(peer)).toEqual([]);
		expect(peer.received).toBe(0);
		gateway.release();
		const [type, id, body] = await peer.message();
		expect([type, id, body.get(0)]).toEqual([MESSAGE.PRODUCE, 5, [[[2, 0, 0]]]]);
		expect(await values(peer)).toEqual(["a", "b"]);
	});

	it("stores several topics or none", async () => {
		const peer = await gateway.peer([]);
		const two = (second: string) => [
			["t", 0, [[null, Buffer.from("x")]]],
			[second, 2, [[Buffer.from("k"), null]]],
		];
		expect(errorName(await peer.request(MESSAGE.PRODUCE, 2, [[0, two("missing")]]))).toBe("UNKNOWN_TOPIC_OR_PARTITION");
		expect(await values(peer)).toEqual([]);
		expect(produced(await peer.request(MESSAGE.PRODUCE, 3, [[0, two("u")]]))).toEqual([[[1, 0, 0]], [[1, 2, 0]]]);
		expect(await values(peer)).toEqual(["x"]);
	});

	it("keeps key, value, headers, timestamp, and nulls apart from empty", async () => {
		const peer = await gateway.peer([]);
		const records = [
			[
				Buffer.from("key"),
				Buffer.from("value"),
				1_700_000_000_000,
				[
					["h", Buffer.from([1, 2])],
					["n", null],
				],
			],
			[Buffer.alloc(0), Buffer.alloc(0), 2 ** 40],
			[null, null, 7],
		];
		await peer.request(MESSAGE.PRODUCE, 2, [[0, [["t", null, records]]]]);
		const [, , body] = await peer.request(MESSAGE.FETCH, 3, [
			[0, "t"],
			[1, 0],
			[2, 0],
		]);
		expect(body.get(0)).toEqual([
			[
				0,
				1_700_000_000_000,
				Buffer.from("key"),
				Buffer.from("value"),
				[
					["h", Buffer.from([1, 2])],
					["n", null],
				],
			],
			[1, 2 ** 40, Buffer.alloc(0), Buffer.alloc(0)],
			[2, 7, null, null],
		]);
	});

	it("without a key is refused in a compacted topic, and nothing of its request is stored", async () => {
		gateway.broker.topics.create({ name: "c", partitions: 2, config: { "cleanup.policy": "compact,delete" } });
		const peer = await gateway.peer(DEVICE);
		const keyed = [Buffer.from("k"), Buffer.from("x")];
		const groups = [
			["t", 0, [[null, Buffer.from("t")]]],
			["c", null, [keyed, [null, Buffer.from("y")]]],
		];
		const [type, , body] = await peer.request(MESSAGE.PRODUCE, 2, [
			[0, groups],
			[1, 1],
		]);
		expect([type, body.get(0), body.get(1)]).toEqual([MESSAGE.ERROR, 87, "INVALID_RECORD"]);
		expect(gateway.broker.topics.get("c")?.partitions.map(({ endOffset }) => endOffset)).toEqual([0, 0]);
		expect(await values(peer)).toEqual([]);
		const again = await peer.request(MESSAGE.PRODUCE, 3, [
			[0, [["c", 0, [keyed]]]],
			[1, 2],
		]);
		expect(produced(again)).toEqual([[[1, 0, 0]]]);
	});

	it("has the time of its arrival in a topic with LogAppendTime, whatever it says", async () => {
		gateway.broker.topics.create({ name: "a", partitions: 1, config: { "message.timestamp.type": "LogAppendTime" } });
		const peer = await gateway.peer([]);
		const [, , answer] = await peer.request(MESSAGE.PRODUCE, 2, [[0, [["a", 0, [[null, null, 7]]]]]]);
		const [, , body] = await peer.request(MESSAGE.FETCH, 3, [
			[0, "a"],
			[1, 0],
			[2, 0],
		]);
		expect(body.get(0)).toEqual([[0, answer.get(1), null, null]]);
	});

	it("puts one key into one partition and says where each record is", async () => {
		const peer = await gateway.peer([]);
		const keys = ["a", "b", "a", "c", "a", "a", "b"];
		const records = keys.map((key, i) => [Buffer.from(key), Buffer.from(`${key}${i}`)]);
		const [runs] = produced(await peer.request(MESSAGE.PRODUCE, 2, [[0, [["u", null, records]]]])) as number[][][];
		const places = (runs ?? []).flatMap(([count = 0, partition, offset = 0]) =>
			Array.from({ length: count }, (_, i) => [partition as number, offset + i] as const),
		);
		expect(places).toHaveLength(keys.length);
		for (const [i, [partition, offset]] of places.entries()) {
			expect((await values(peer, "u", partition))[offset]).toBe(`${keys[i]}${i}`);
			expect(partition).toBe(places[keys.indexOf(keys[i] as string)]?.[0]);
		}
	});

	it("is refused when a record is larger than its topic takes, and the connection goes on", async () => {
		const peer = await gateway.peer([]);
		gateway.broker.topics.alter("t", { set: { "max.message.bytes": "1000" } });
		const large = groupsOf("t", ["x".repeat(1000)]);
		expect(errorName(await peer.request(MESSAGE.PRODUCE, 2, [[0, large]]))).toBe("MESSAGE_TOO_LARGE");
		expect(produced(await peer.request(MESSAGE.PRODUCE, 3, [[0, groupsOf("t", ["ok"])]]))).toEqual([[[1, 0, 0]]]);
	});

	it("that ends the sender's half of the connection is answered all the same", async () => {
		const peer = await gateway.peer([]);
		peer.send(MESSAGE.PRODUCE, 2, [[0, groupsOf("t", ["last"])]]);
		peer.socket.end();
		expect(produced(await peer.message())).toEqual([[[1, 0, 0]]]);
		await peer.closed;
	});
});

describe("an idempotent produce", () => {
	const send = (peer: NativePeer, sequence: number, value: string) =>
		peer.send(MESSAGE.PRODUCE, 100 + sequence, [
			[0, groupsOf("t", [value])],
			[1, sequence],
		]);

	it("sent again is stored once and answered as the first time", async () => {
		const peer = await gateway.peer(DEVICE);
		send(peer, 1, "one");
		const first = await peer.message();
		send(peer, 1, "one");
		expect(await peer.message()).toEqual(first);
		expect(await values(peer)).toEqual(["one"]);
	});

	it("sent again on another connection before the first is durable is answered after that, and stored once", async () => {
		const peer = await gateway.peer(DEVICE);
		gateway.hold();
		send(peer, 1, "one");
		await peer.request(MESSAGE.PING, 2, []);
		peer.destroy();
		const again = await gateway.peer();
		again.send(MESSAGE.HELLO, 1, [[0, 1], [1, 1], ...DEVICE]);
		send(again, 1, "one");
		const other = await gateway.peer([]);
		await other.request(MESSAGE.PING, 2, []);
		expect(again.received).toBe(0);
		gateway.release();
		const hello = await again.message();
		expect([hello[0], hello[2].get(7)]).toEqual([MESSAGE.HELLO, 1]);
		expect(produced(await again.message())).toEqual([[[1, 0, 0]]]);
		expect(await values(again)).toEqual(["one"]);
	});

	it("is known after kill -9, with its answer, and hello says where to go on", async () => {
		const peer = await gateway.peer(DEVICE);
		for (let sequence = 1; sequence <= 20; sequence++) send(peer, sequence, `v${sequence}`);
		const answers: Message[] = [];
		for (let i = 0; i < 20; i++) answers.push(await peer.message());
		await gateway.kill();
		await gateway.start();
		const again = await gateway.peer();
		const hello = await again.request(MESSAGE.HELLO, 1, [[0, 1], [1, 1], ...DEVICE]);
		expect([hello[2].get(6), hello[2].get(7), hello[2].get(8)]).toEqual([2, 20, 16]);
		for (const sequence of [5, 20]) {
			send(again, sequence, `v${sequence}`);
			expect(await again.message()).toEqual(answers[sequence - 1]);
		}
		send(again, 4, "v4");
		expect(errorName(await again.message())).toBe("DUPLICATE_SEQUENCE_NUMBER");
		send(again, 21, "v21");
		expect(produced(await again.message())).toEqual([[[1, 0, 20]]]);
		expect(await values(again)).toEqual(Array.from({ length: 21 }, (_, i) => `v${i + 1}`));
	});

	it("with a gap before it stores nothing", async () => {
		const peer = await gateway.peer(DEVICE);
		send(peer, 2, "two");
		expect(errorName(await peer.message())).toBe("OUT_OF_ORDER_SEQUENCE_NUMBER");
		send(peer, 1, "one");
		await peer.message();
		expect(await values(peer)).toEqual(["one"]);
	});

	it("that is refused uses its number up, and the refusal is what a resend gets", async () => {
		const peer = await gateway.peer(DEVICE);
		peer.send(MESSAGE.PRODUCE, 101, [
			[0, groupsOf("missing", ["x"])],
			[1, 1],
		]);
		send(peer, 2, "two");
		const refusal = await peer.message();
		expect([refusal[1], errorName(refusal)]).toEqual([101, "UNKNOWN_TOPIC_OR_PARTITION"]);
		expect(produced(await peer.message())).toEqual([[[1, 0, 0]]]);
		await gateway.kill();
		await gateway.start();
		const again = await gateway.peer(DEVICE);
		gateway.broker.topics.create({ name: "missing", partitions: 1 });
		again.send(MESSAGE.PRODUCE, 101, [
			[0, groupsOf("missing", ["x"])],
			[1, 1],
		]);
		expect(await again.message()).toEqual(refusal);
	});

	it("answers in the order of the requests", async () => {
		const peer = await gateway.peer(DEVICE);
		gateway.hold();
		send(peer, 1, "one");
		send(peer, 7, "gap");
		send(peer, 1, "one");
		send(peer, 2, "two");
		await peer.request(MESSAGE.PING, 2, []);
		gateway.release();
		const ids: number[] = [];
		for (let i = 0; i < 4; i++) ids.push((await peer.message())[1]);
		expect(ids).toEqual([101, 107, 101, 102]);
	});

	it("of a client id that another connection has taken over is fenced", async () => {
		const older = await gateway.peer(DEVICE);
		const newer = await gateway.peer(DEVICE);
		const fenced = await older.message();
		expect([fenced[1], errorName(fenced)]).toEqual([0, "INVALID_PRODUCER_EPOCH"]);
		await older.closed;
		const back = await gateway.peer();
		const refused = await back.request(MESSAGE.HELLO, 1, [[0, 1], [1, 1], ...DEVICE, [7, 1]]);
		expect([refused[1], errorName(refused)]).toEqual([0, "INVALID_PRODUCER_EPOCH"]);
		send(newer, 1, "one");
		expect(produced(await newer.message())).toEqual([[[1, 0, 0]]]);
		newer.destroy();
		const resumed = await gateway.peer();
		const hello = await resumed.request(MESSAGE.HELLO, 1, [[0, 1], [1, 1], ...DEVICE, [7, 2]]);
		expect([hello[2].get(6), hello[2].get(7)]).toEqual([2, 1]);
	});

	it("is forgotten on a bye that asks for it, and not else", async () => {
		const peer = await gateway.peer(DEVICE);
		send(peer, 1, "one");
		await peer.message();
		await peer.request(MESSAGE.BYE, 2, []);
		await peer.closed;
		const again = await gateway.peer();
		expect((await again.request(MESSAGE.HELLO, 1, [[0, 1], [1, 1], ...DEVICE]))[2].get(7)).toBe(1);
		await again.request(MESSAGE.BYE, 2, [[0, true]]);
		await again.closed;
		const third = await gateway.peer();
		expect((await third.request(MESSAGE.HELLO, 1, [[0, 1], [1, 1], ...DEVICE]))[2].get(7)).toBe(0);
	});

	it("of a client id not heard of for the expiry time is forgotten, one stored before the clock was set is not", async () => {
		let now = Date.UTC(2026, 0, 1);
		const clock: Clock = { ...systemClock, now: () => now };
		const old = await NativeGateway.start({ clock, producerExpiryMs: 1000 });
		old.broker.topics.create({ name: "t", partitions: 1 });
		for (const [clientId, timeMs] of [
			["past", now],
			["unset clock", 5000],
			["fresh", now + 1500],
		] as const) {
			now = timeMs;
			const peer = await old.peer([[2, clientId]]);
			send(peer, 1, "x");
			await peer.message();
		}
		now = Date.UTC(2026, 0, 1) + 2000;
		await old.kill();
		await old.start();
		const last = async (clientId: string) => {
			const peer = await old.peer();
			const hello: [number, number | string][] = [
				[0, 1],
				[1, 1],
				[2, clientId],
			];
			return (await peer.request(MESSAGE.HELLO, 1, hello))[2].get(7);
		};
		expect([await last("past"), await last("unset clock"), await last("fresh")]).toEqual([0, 1, 1]);
		await old.stop();
	});

	it("of a client id outlives a clock that is set, by years, before anybody connects", async () => {
		let now = Date.UTC(2026, 0, 1);
		const clock: Clock = { ...systemClock, now: () => now };
		const old = await NativeGateway.start({ clock, producerExpiryMs: 1000 });
		old.broker.topics.create({ name: "t", partitions: 1 });
		const peer = await old.peer([[2, "device"]]);
		send(peer, 1, "x");
		await peer.message();
		await old.kill();
		await old.start();
		now = Date.UTC(2028, 0, 1);
		const again = await old.peer();
		const hello = await again.request(MESSAGE.HELLO, 1, [
			[0, 1],
			[1, 1],
			[2, "device"],
		]);
		expect(hello[2].get(7)).toBe(1);
		await old.stop();
	});
});
