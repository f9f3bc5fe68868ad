/** Subscriptions over the native door: credits, bounds, and peers that do not read. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "../../../src/base/clock.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { MESSAGE } from "../../../src/native/codec/protocol.ts";
import type { CborValue } from "../../../src/native/codec/writer.ts";
import { type Fields, groupsOf, type Message, NativeGateway, type NativePeer } from "./native-gateway.ts";

let gateway: NativeGateway;
beforeEach(async () => {
	gateway = await NativeGateway.start();
	gateway.broker.topics.create({ name: "t", partitions: 1 });
});
afterEach(() => gateway.stop());

const EARLIEST: CborValue = [0];
const names = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `v${from + i}`);
const offsets = (message: Message): number[] => (message[2].get(1) as [number][]).map(([offset]) => offset);

async function produce(peer: NativePeer, values: string[]): Promise<void> {
	expect((await peer.request(MESSAGE.PRODUCE, 800, [[0, groupsOf("t", values)]]))[0]).toBe(MESSAGE.PRODUCE);
}

async function subscribe(peer: NativePeer, credits: number, more: Fields = []): Promise<void> {
	const fields: Fields = [[0, "t"], [1, EARLIEST], [2, credits], ...more];
	expect((await peer.request(MESSAGE.SUBSCRIBE, 50, fields))[0]).toBe(MESSAGE.SUBSCRIBE);
}

/** Whatever is on its way has come when the answer to a ping has. */
async function receivedUntilPing(peer: NativePeer): Promise<Message[]> {
	peer.send(MESSAGE.PING, 77, []);
	const messages: Message[] = [];
	for (;;) {
		const message = await peer.message();
		if (message[0] === MESSAGE.PING) return messages;
		messages.push(message);
	}
}

describe("a subscription", () => {
	it("gets as many records as it has credits, and goes on where it was when it grants more", async () => {
		const [writer, peer] = [await gateway.peer([]), await gateway.peer([])];
		await produce(writer, names(0, 10));
		await subscribe(peer, 3);
		expect(offsets(await peer.message())).toEqual([0, 1, 2]);
		await produce(writer, ["more"]);
		expect(await receivedUntilPing(peer)).toEqual([]);
		peer.send(MESSAGE.CREDIT, 50, [[0, 4]]);
		expect(offsets(await peer.message())).toEqual([3, 4, 5, 6]);
		peer.send(MESSAGE.CREDIT, 50, [[0, 100]]);
		expect(offsets(await peer.message())).toEqual([7, 8, 9, 10]);
		await produce(writer, ["live"]);
		expect(offsets(await peer.message())).toEqual([11]);
	});

	it("gets no more bytes than it has credits for, but for the frame that passes the limit", async () => {
		const [writer, peer] = [await gateway.peer([]), await gateway.peer([])];
		await produce(
			writer,
			names(0, 100).map((name) => name.padEnd(100)),
		);
		await subscribe(peer, 1000, [[3, 500]]);
		const first = offsets(await peer.message());
		expect(first.length).toBeGreaterThanOrEqual(3);
		expect(first.length).toBeLessThanOrEqual(5);
		const [second] = await receivedUntilPing(peer);
		if (second) expect(offsets(second)).toHaveLength(1);
		expect(await receivedUntilPing(peer)).toEqual([]);
	});

	it("ends with until, and says so", async () => {
		const [writer, peer] = [await gateway.peer([]), await gateway.peer([])];
		await produce(writer, names(0, 3));
		await subscribe(peer, 10, [[5, true]]);
		expect(offsets(await peer.message())).toEqual([0, 1, 2]);
		expect(await peer.message()).toEqual([MESSAGE.END, 50, new Map()]);
		await subscribe(peer, 10, [[5, [[0, 2]]]]);
		expect(offsets(await peer.message())).toEqual([0, 1]);
		expect((await peer.message())[0]).toBe(MESSAGE.END);
	});

	it("gets nothing after the answer to unsubscribe", async () => {
		const [writer, peer] = [await gateway.peer([]), await gateway.peer([])];
		await subscribe(peer, 10);
		expect((await peer.request(MESSAGE.UNSUBSCRIBE, 51, [[0, 50]]))[0]).toBe(MESSAGE.UNSUBSCRIBE);
		await produce(writer, ["x"]);
		peer.send(MESSAGE.CREDIT, 50, [[0, 10]]);
		expect(await receivedUntilPing(peer)).toEqual([]);
		expect(gateway.door.stats().subscriptions).toBe(0);
	});

	it("keeps its frames within what the client takes, and ends at a record that does not fit", async () => {
		const [writer, peer] = [await gateway.peer([]), await gateway.peer([[6, 1024]])];
		await produce(
			writer,
			names(0, 20).map((name) => name.padEnd(200)),
		);
		await produce(writer, ["x".repeat(1500)]);
		await subscribe(peer, 1000);
		const got: number[] = [];
		for (;;) {
			const message = await peer.message();
			if (message[0] === MESSAGE.END) {
				expect(message[2].get(1)).toBe("MESSAGE_TOO_LARGE");
				break;
			}
			expect(offsets(message).length).toBeLessThanOrEqual(4);
			got.push(...offsets(message));
		}
		expect(got).toEqual(names(0, 20).map((_, i) => i));
		const refused = await peer.request(MESSAGE.FETCH, 60, [
			[0, "t"],
			[1, 0],
			[2, 20],
		]);
		expect([refused[0], refused[2].get(1)]).toEqual([MESSAGE.ERROR, "MESSAGE_TOO_LARGE"]);
		for (let i = 0; i < 20; i++) gateway.broker.topics.create({ name: `another-topic-${i}` });
		const large = await peer.request(MESSAGE.TOPIC_LIST, 61, []);
		expect([large[0], large[2].get(1)]).toEqual([MESSAGE.ERROR, "MESSAGE_TOO_LARGE"]);
	});

	it("of a peer that never reads holds a bounded part, and the others go on", async () => {
		const writer = await gateway.peer([]);
		for (let i = 0; i < 16; i++) await produce(writer, [`${i}`.padEnd(500_000)]);
		const deaf = await gateway.peer([]);
		deaf.socket.pause();
		const before = gateway.broker.pressure.bytes;
		deaf.send(MESSAGE.SUBSCRIBE, 50, [
			[0, "t"],
			[1, EARLIEST],
			[2, 1_000_000],
		]);
		for (let id = 2; id < 32; id++) {
			deaf.send(MESSAGE.FETCH, id, [
				[0, "t"],
				[1, 0],
				[2, 0],
				[3, 1_000_000],
			]);
		}
		const other = await gateway.peer([]);
		await subscribe(other, 16);
		const seen: number[] = [];
		while (seen.length < 16) seen.push(...offsets(await other.message()));
		expect(seen).toEqual(names(0, 16).map((_, i) => i));
		// 256 KiB of output, and the one frame that passed that.
		expect(gateway.broker.pressure.bytes - before).toBeLessThan(256 * 1024 + 1_100_000);
		deaf.socket.resume();
		const answers = new Set<number>();
		while (answers.size < 30) {
			const [type, id] = await deaf.message();
			if (type === MESSAGE.FETCH) answers.add(id);
		}
	});
});

describe("a connection", () => {
	it("is not read while the broker is over its memory budget, and goes on after", async () => {
		const peer = await gateway.peer([]);
		gateway.broker.pressure.hold();
		peer.send(MESSAGE.PRODUCE, 2, [[0, groupsOf("t", ["x"])]]);
		const { highWatermark } = gateway.broker.topics.get("t")?.partitions[0] ?? {};
		for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
		expect([peer.received, highWatermark]).toEqual([0, 0]);
		gateway.broker.pressure.letGo();
		expect((await peer.message())[0]).toBe(MESSAGE.PRODUCE);
	});

	it("over the most allowed is told so, and the others stay", async () => {
		const small = await NativeGateway.start({ maxConnections: 1 });
		const first = await small.peer([]);
		const second = await small.peer();
		expect((await second.message())[2].get(1)).toBe("THROTTLING_QUOTA_EXCEEDED");
		await second.closed;
		expect((await first.request(MESSAGE.PING, 2, []))[0]).toBe(MESSAGE.PING);
		await small.stop();
	});

	it("without hello, or silent for its idle time, is closed; one that pings stays", async () => {
		const time = new SimulatedClock();
		// Commits go on by themselves; timers only as the test says.
		const clock: Clock = {
			now: () => time.now(),
			monotonic: () => time.monotonic(),
			after: (delayMs, task) => time.after(delayMs, task),
			soon: (task) => void setImmediate(task),
		};
		const timed = await NativeGateway.start({ clock, helloTimeoutMs: 1000 });
		const [silent, idle, alive] = [await timed.peer(), await timed.peer([[5, 2000]]), await timed.peer([[5, 3000]])];
		while (timed.door.stats().connections < 3) await new Promise((resolve) => setImmediate(resolve));
		await time.advance(1000);
		expect((await silent.message())[2].get(1)).toBe("REQUEST_TIMED_OUT");
		await silent.closed;
		expect((await alive.request(MESSAGE.PING, 2, []))[0]).toBe(MESSAGE.PING);
		await time.advance(2000);
		expect((await idle.message())[2].get(1)).toBe("REQUEST_TIMED_OUT");
		await idle.closed;
		expect((await alive.request(MESSAGE.PING, 3, []))[0]).toBe(MESSAGE.PING);
		const stopped = timed.door.stop(10_000);
		await alive.closed;
		await stopped;
	});
});
