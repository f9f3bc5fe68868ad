/** Fetch over sockets: what is read, what is waited for, and what it may take. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { produce } from "../../../src/kafka/handlers/00-produce.ts";
import { fetch } from "../../../src/kafka/handlers/01-fetch.ts";
import { EMPTY_HEADERS_BLOCK, NULL_KEY_BLOCK } from "../../../src/record/builder.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";
import { batchOf } from "../../support/producer-batches.ts";
import { fetchFrom, fetchValue, produceTo, store, valuesIn } from "./records.ts";

let gateway: KafkaGateway;
let wire: KafkaWire;
let topicId: string;
/** Timers are run by the test alone. */
let timers: SimulatedClock;

beforeEach(async () => {
	timers = new SimulatedClock();
	const clock = { ...systemClock, after: (delayMs: number, task: () => void) => timers.after(delayMs, task) };
	gateway = await KafkaGateway.start({ clock });
	topicId = gateway.broker.topics.create({ name: "t", partitions: 3 }).id;
	wire = await gateway.connect();
});
afterEach(() => gateway.stop());

const partition = (number: number) => {
	const found = gateway.broker.topics.get("t")?.partitions[number];
	if (found === undefined) throw new Error(`no partition ${number}`);
	return found;
};
const aRound = () => new Promise((resolve) => setImmediate(resolve));
async function rounds(count = 20): Promise<void> {
	for (let i = 0; i < count; i++) await aRound();
}
const errors = (answers: Awaited<ReturnType<typeof fetchFrom>>) => answers.map(({ errorCode }) => errorCode);
const sizes = (answers: Awaited<ReturnType<typeof fetchFrom>>) => answers.map(({ records }) => records?.length ?? -1);

describe("what is read", () => {
	it("is answered in every version", async () => {
		await store(wire, "t", 0, ["a", "b"]);
		for (let version = 4; version <= 17; version++) {
			const topic = version < 13 ? "t" : { topicId };
			const answers = await fetchFrom(wire, topic, [{ partition: 0, fetchOffset: 0 }], {}, version);
			expect(answers).toMatchObject([
				{ partitionIndex: 0, errorCode: 0, highWatermark: 2, lastStableOffset: 2, abortedTransactions: null },
			]);
			expect(valuesIn(answers[0]?.records ?? null)).toEqual(["0 a", "1 b"]);
		}
	});

	it("begins with the whole batch that has the offset", async () => {
		await store(wire, "t", 0, ["a", "b", "c"]);
		await store(wire, "t", 0, ["d", "e"]);
		const at = async (fetchOffset: number) =>
			valuesIn((await fetchFrom(wire, "t", [{ partition: 0, fetchOffset }]))[0]?.records ?? null);
		for (const flushed of [false, true]) {
			if (flushed) gateway.broker.log.flush();
			expect(await at(2)).toEqual(["0 a", "1 b", "2 c", "3 d", "4 e"]);
			expect(await at(3)).toEqual(["3 d", "4 e"]);
			expect(await at(5)).toEqual([]);
		}
	});

	it("is nothing that is not durable", async () => {
		await store(wire, "t", 0, ["a"]);
		gateway.hold();
		partition(0).appendRecord(5, NULL_KEY_BLOCK, Buffer.from("b"), 0, 1, EMPTY_HEADERS_BLOCK);
		const [answer] = await fetchFrom(wire, "t", [{ partition: 0, fetchOffset: 0 }]);
		expect([answer?.highWatermark, valuesIn(answer?.records ?? null)]).toEqual([1, ["0 a"]]);
	});

	it("is byte for byte what was produced, from memory and from the file", async () => {
		for (const codec of ["none", "gzip", "snappy", "lz4", "zstd"] as const) {
			const sent = batchOf(["a", "x".repeat(5000)], { codec });
			const [stored] = await produceTo(wire, "t", [[0, sent]]);
			for (const flushed of [false, true]) {
				if (flushed) gateway.broker.log.flush();
				const [answer] = await fetchFrom(wire, "t", [{ partition: 0, fetchOffset: stored?.baseOffset ?? -1 }]);
				expect(answer?.records?.subarray(16)).toEqual(sent.subarray(16));
			}
		}
	});

	it("is at most what each partition, the request and the gateway allow, but a batch in any case", async () => {
		for (const number of [0, 1, 2])
			for (let i = 0; i < 4; i++) await store(wire, "t", number, ["x".repeat(900 - number)]);
		const all = [0, 1, 2].map((number) => ({ partition: number, fetchOffset: 0 }));
		const [size] = sizes(await fetchFrom(wire, "t", [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1 }]));
		const one = size ?? 0;
		expect(one).toBeGreaterThan(900);
		expect(sizes(await fetchFrom(wire, "t", all))).toEqual([4 * one, 4 * (one - 1), 4 * (one - 2)]);
		const small = all.map((each) => ({ ...each, partitionMaxBytes: 2 * one + 5 }));
		expect(sizes(await fetchFrom(wire, "t", small))).toEqual([2 * one, 2 * (one - 1), 2 * (one - 2)]);
		expect(sizes(await fetchFrom(wire, "t", small, { maxBytes: 3 * one }))).toEqual([2 * one, one - 1, 0]);
		expect(sizes(await fetchFrom(wire, "t", all, { maxBytes: 0 }))).toEqual([one, 0, 0]);
		expect(
			sizes(await fetchFrom(wire, "t", [{ partition: 0, fetchOffset: 4 }, ...all.slice(1)], { maxBytes: 1 })),
		).toEqual([0, one - 1, 0]);
	});

	it("is at most what fetch.max.bytes allows, whatever is asked for", async () => {
		const small = await KafkaGateway.start({ kafka: { maxFetchBytes: 2500 } });
		try {
			small.broker.topics.create({ name: "t", partitions: 1 });
			const own = await small.connect();
			for (let i = 0; i < 4; i++) await store(own, "t", 0, ["x".repeat(900)]);
			const [size = 0] = sizes(await fetchFrom(own, "t", [{ partition: 0, fetchOffset: 0 }]));
			expect([size > 1800, size <= 2500]).toEqual([true, true]);
		} finally {
			await small.stop();
		}
	});

	it("is nothing of a further partition where the answer is as good as full", async () => {
		await store(wire, "t", 0, ["x".repeat(1000)]);
		await store(wire, "t", 1, ["y"]);
		const both = [0, 1].map((number) => ({ partition: number, fetchOffset: 0 }));
		const [first = 0, second = 0] = sizes(await fetchFrom(wire, "t", both));
		// The second would fit, but it is not worth a read of its own.
		expect(sizes(await fetchFrom(wire, "t", both, { maxBytes: first + second }))).toEqual([first, 0]);
		expect(sizes(await fetchFrom(wire, "t", both, { maxBytes: 2 * first }))).toEqual([first, second]);
	});

	it("is less while the broker is over its memory budget", async () => {
		for (let i = 0; i < 5; i++) await store(wire, "t", 0, ["x".repeat(30_000)]);
		wire.send(fetch.request, 12, fetchValue("t", [{ partition: 0, fetchOffset: 5 }], { maxWaitMs: 60_000 }));
		const other = await gateway.connect();
		other.send(
			fetch.request,
			12,
			fetchValue("t", [{ partition: 0, fetchOffset: 0 }], { minBytes: 200_000, maxWaitMs: 60_000 }),
		);
		await rounds();
		// The requests are there already; while it is over the budget no others are read.
		gateway.broker.pressure.hold();
		await timers.advance(60_000);
		const { responses } = await other.answer(fetch.response, 12);
		const [size] = sizes(responses[0]?.partitions ?? []);
		expect(size).toBeGreaterThan(60_000);
		expect(size).toBeLessThan(64 * 1024);
		gateway.broker.pressure.letGo();
	});
});

describe("errors", () => {
	it("are each partition's own, and told at once", async () => {
		await store(wire, "t", 0, ["a"]);
		const wait = { maxWaitMs: 60_000, minBytes: 1000 };
		const asked = [
			{ partition: 0, fetchOffset: 0 },
			{ partition: 0, fetchOffset: 2 },
			{ partition: 0, fetchOffset: -1 },
			{ partition: 9, fetchOffset: 0 },
			{ partition: 0, fetchOffset: 0, currentLeaderEpoch: 3 },
			{ partition: 0, fetchOffset: 0, currentLeaderEpoch: 0 },
			{ partition: 0, fetchOffset: 0, lastFetchedEpoch: 3 },
		];
		const answers = await fetchFrom(wire, "t", asked, wait);
		expect(errors(answers)).toEqual([0, 1, 1, 3, 75, 0, 1]);
		expect(answers[1]).toMatchObject({ highWatermark: -1, lastStableOffset: -1, logStartOffset: -1 });
		expect(errors(await fetchFrom(wire, "nowhere", [{ partition: 0, fetchOffset: 0 }], wait))).toEqual([3]);
		const unknown = { topicId: "11111111-1111-1111-1111-111111111111" };
		expect(errors(await fetchFrom(wire, unknown, [{ partition: 0, fetchOffset: 0 }], wait))).toEqual([100]);
		expect(errors(await fetchFrom(wire, { topicId }, [{ partition: 9, fetchOffset: 0 }], wait))).toEqual([3]);
	});

	it("tell a follower of an epoch where its log diverges", async () => {
		await store(wire, "t", 0, ["a"]);
		const [answer] = await fetchFrom(wire, "t", [{ partition: 0, fetchOffset: 9, lastFetchedEpoch: 0 }], {
			maxWaitMs: 60_000,
		});
		expect(answer).toMatchObject({ errorCode: 0, divergingEpoch: { epoch: 0, endOffset: 1 } });
	});

	it("are told for 10,000 partitions", async () => {
		const asked = Array.from({ length: 10_000 }, (_, i) => ({ partition: i, fetchOffset: 0 }));
		const answers = await fetchFrom(wire, "t", asked, { maxWaitMs: 60_000 });
		expect(errors(answers).filter((error) => error === 3)).toHaveLength(9997);
	});
});

describe("sessions", () => {
	it("are never begun: every whole request is answered wholly, with session 0", async () => {
		await store(wire, "t", 0, ["a"]);
		for (const [sessionId, sessionEpoch] of [
			[0, 0],
			[0, -1],
			[77, 0],
			[77, -1],
		] as const) {
			const value = fetchValue("t", [{ partition: 0, fetchOffset: 0 }], { sessionId, sessionEpoch });
			const answer = await wire.request(fetch, 12, value);
			expect([answer.errorCode, answer.sessionId, answer.responses[0]?.partitions.length]).toEqual([0, 0, 1]);
		}
	});

	it("are not found where a request goes on with one", async () => {
		for (const [sessionId, sessionEpoch] of [
			[0, 1],
			[77, 3],
			[77, -5],
		] as const) {
			const answer = await wire.request(
				fetch,
				12,
				fetchValue("t", [{ partition: 0, fetchOffset: 0 }], { sessionId, sessionEpoch }),
			);
			expect([answer.errorCode, answer.sessionId, answer.responses]).toEqual([70, 0, []]);
		}
	});
});

describe("waiting", () => {
	const three = [0, 1, 2].map((number) => ({ partition: number, fetchOffset: 0 }));

	it("ends with the commit that brings something to any of the partitions", async () => {
		const answer = fetchFrom(wire, "t", three, { maxWaitMs: 60_000 });
		await rounds();
		await store(await gateway.connect(), "t", 2, ["a"]);
		expect((await answer).map(({ records }) => valuesIn(records))).toEqual([[], [], ["0 a"]]);
		expect(timers.pending).toBe(pendingBefore);
	});

	let pendingBefore = 0;
	beforeEach(() => {
		pendingBefore = timers.pending;
	});

	it("goes on until there are min bytes, of all partitions together", async () => {
		const other = await gateway.connect();
		await store(other, "t", 0, ["x".repeat(300)]);
		wire.send(fetch.request, 12, fetchValue("t", three, { maxWaitMs: 60_000, minBytes: 1000 }));
		await rounds();
		await store(other, "t", 1, ["y".repeat(300)]);
		await rounds();
		expect(wire.answered).toBe(0);
		await store(other, "t", 2, ["z".repeat(300)]);
		const { responses } = await wire.answer(fetch.response, 12);
		expect(responses[0]?.partitions.every(({ records }) => (records?.length ?? 0) > 300)).toBe(true);
	});

	it("ends when the time is over, with what there is", async () => {
		const other = await gateway.connect();
		await store(other, "t", 0, ["a"]);
		wire.send(fetch.request, 12, fetchValue("t", three, { maxWaitMs: 500, minBytes: 1000 }));
		while (timers.pending === pendingBefore) await aRound();
		await timers.advance(499);
		await rounds();
		expect(wire.answered).toBe(0);
		await timers.advance(1);
		const { responses } = await wire.answer(fetch.response, 12);
		expect(responses[0]?.partitions.map(({ records }) => valuesIn(records))).toEqual([["0 a"], [], []]);
	});

	it("ends with the topic", async () => {
		wire.send(fetch.request, 12, fetchValue("t", three, { maxWaitMs: 60_000 }));
		while (timers.pending === pendingBefore) await aRound();
		gateway.broker.topics.delete("t");
		const { responses } = await wire.answer(fetch.response, 12);
		expect(responses[0]?.partitions.map(({ errorCode }) => errorCode)).toEqual([3, 3, 3]);
	});

	it("ends with the connection, and leaves nothing behind", async () => {
		wire.send(fetch.request, 12, fetchValue("t", three, { maxWaitMs: 60_000 }));
		while (timers.pending === pendingBefore) await aRound();
		wire.socket.resetAndDestroy();
		while (timers.pending !== pendingBefore) await aRound();
		await store(await gateway.connect(), "t", 0, ["a"]);
		expect(gateway.broker.pressure.bytes).toBe(0);
	});

	it("is not done where nothing was asked for", async () => {
		const answer = await wire.request(fetch, 12, { ...fetchValue("t", []), topics: [], maxWaitMs: 60_000 });
		expect(answer.responses).toEqual([]);
	});
});

describe("read_committed", () => {
	const begin = (transactionalId: string) => {
		const { transactions } = gateway.broker;
		const producer = transactions.initProducerId({
			transactionalId,
			timeoutMs: 60_000,
			producerId: -1,
			producerEpoch: -1,
		});
		const by = { transactionalId, ...producer };
		let sequence = 0;
		return {
			producer,
			async write(value: string) {
				transactions.addPartitions(by, [partition(0)]);
				const batch = batchOf([value], { ...producer, baseSequence: sequence++, isTransactional: true });
				const topicData = [{ name: "t", partitionData: [{ index: 0, records: batch }] }];
				const { responses } = await wire.request(produce, 11, { transactionalId, acks: -1, timeoutMs: 1, topicData });
				expect(responses[0]?.partitionResponses[0]?.errorCode).toBe(0);
			},
			async end(outcome: "commit" | "abort") {
				transactions.end(by, outcome);
				await gateway.broker.log.whenCommitted();
			},
		};
	};
	const read = async (isolationLevel: number, fetchOffset = 0, given = {}) => {
		const [answer] = await fetchFrom(wire, "t", [{ partition: 0, fetchOffset, ...given }], { isolationLevel });
		return answer;
	};

	it("ends before the first open transaction; who reads uncommitted goes on", async () => {
		await store(wire, "t", 0, ["plain"]);
		const open = begin("a");
		await open.write("open");
		await store(wire, "t", 0, ["later"]);
		const committed = await read(1);
		expect(committed).toMatchObject({ highWatermark: 3, lastStableOffset: 1, abortedTransactions: [] });
		expect(valuesIn(committed?.records ?? null)).toEqual(["0 plain"]);
		expect(valuesIn((await read(0))?.records ?? null)).toEqual(["0 plain", "1 open", "2 later"]);
		// Between the last stable offset and the high watermark there is nothing yet, and no error.
		expect(await read(1, 2)).toMatchObject({ errorCode: 0, lastStableOffset: 1 });
		await open.end("commit");
		expect(await read(1)).toMatchObject({ highWatermark: 4, lastStableOffset: 4, abortedTransactions: [] });
	});

	it("waits for the end of a transaction", async () => {
		const open = begin("a");
		await open.write("x");
		const reader = await gateway.connect();
		reader.send(
			fetch.request,
			12,
			fetchValue("t", [{ partition: 0, fetchOffset: 0 }], { isolationLevel: 1, maxWaitMs: 60_000 }),
		);
		await rounds();
		await store(wire, "t", 0, ["plain"]);
		await rounds();
		expect(reader.answered).toBe(0);
		await open.end("commit");
		const { responses } = await reader.answer(fetch.response, 12);
		expect(responses[0]?.partitions[0]?.lastStableOffset).toBe(3);
	});

	it("names the aborted transactions that have records in the answer, and no others", async () => {
		const [a, b] = [begin("a"), begin("b")];
		await a.write("a0");
		await b.write("b1");
		await a.end("abort"); // 2
		await b.end("commit"); // 3
		await a.write("a4");
		await a.end("abort"); // 5
		const both = [
			{ producerId: a.producer.producerId, firstOffset: 0 },
			{ producerId: a.producer.producerId, firstOffset: 4 },
		];
		expect((await read(1))?.abortedTransactions).toEqual(both);
		expect((await read(1, 3))?.abortedTransactions).toEqual(both.slice(1));
		expect((await read(1, 0, { partitionMaxBytes: 1 }))?.abortedTransactions).toEqual(both.slice(0, 1));
		expect((await read(0))?.abortedTransactions).toBeNull();
		expect((await read(1, 6))?.abortedTransactions).toEqual([]);
	});
});
