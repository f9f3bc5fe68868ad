/** The model of an Apache Kafka cluster is itself right: what it is relied on for, and that each promise can be broken. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FETCH, INIT_PRODUCER_ID, LIST_OFFSETS } from "../../../bridge/upstream/client/apis.ts";
import { readBatchHeader } from "../../../src/record/batch.ts";
import { CODES } from "../../simulation/kafka-cluster/codes.ts";
import { PartitionLog } from "../../simulation/kafka-cluster/partition-log.ts";
import { Transactions } from "../../simulation/kafka-cluster/transactions.ts";
import { type Fetching, fetchRequest, type Identity, ModelBench, NOBODY } from "../../support/model-bench.ts";

let bench: ModelBench;

beforeEach(() => {
	bench = new ModelBench();
});
afterEach(() => {
	vi.restoreAllMocks();
	expect(bench.model.complaints).toEqual([]);
});

/** What never reaches a reader of committed records. */
async function abortedDataStaysAway(): Promise<void> {
	const connection = await bench.connect();
	const by = await bench.init(connection);
	await bench.transaction(connection, by, "kept", true, 0);
	await bench.transaction(connection, by, "aborted", false, 1);
	await bench.transaction(connection, by, "kept too", true, 2);
	bench.model.settle();
	expect(bench.values()).toEqual(["kept", "kept too"]);
}

/** What a producer of an older epoch still sends when a newer one has begun. */
async function zombiesAreRefused(): Promise<void> {
	const connection = await bench.connect();
	const old = await bench.init(connection);
	await bench.add(connection, old);
	expect((await bench.send(connection, ["before"], { by: old })).errorCode).toBe(0);
	const young = await bench.init(connection);
	expect((await bench.send(connection, ["zombie"], { by: old, sequence: 1 })).errorCode).toBe(
		CODES.INVALID_PRODUCER_EPOCH,
	);
	await bench.add(connection, young, "t", [0]);
	expect((await bench.send(connection, ["zombie"], { by: old, sequence: 1 })).errorCode).toBe(
		CODES.INVALID_PRODUCER_EPOCH,
	);
	// Also where it never wrote before.
	const elsewhere = await bench.send(connection, ["zombie"], { by: old, partition: 1 });
	expect(elsewhere.errorCode).toBe(CODES.INVALID_PRODUCER_EPOCH);
	expect(await bench.end(connection, old, true)).toBe(CODES.PRODUCER_FENCED);
	expect((await bench.send(connection, ["young"], { by: young })).errorCode).toBe(0);
	expect(await bench.end(connection, young, true)).toBe(0);
	bench.model.settle();
	expect([bench.values(0), bench.values(1)]).toEqual([["young"], []]);
}

describe("the laws", () => {
	it("keeps aborted records away", abortedDataStaysAway);

	it("finds out aborted records that are shown", async () => {
		vi.spyOn(PartitionLog.prototype, "isAborted").mockReturnValue(false);
		await expect(abortedDataStaysAway()).rejects.toThrow(/aborted/);
	});

	it("refuses what a producer of an old epoch sends", zombiesAreRefused);

	it("finds out an old epoch that is not refused", async () => {
		vi.spyOn(PartitionLog.prototype, "checkEpoch").mockReturnValue(undefined);
		// Who asks the coordinator finds it out too.
		vi.spyOn(Transactions.prototype, "verify").mockReturnValue(undefined);
		await expect(zombiesAreRefused()).rejects.toThrow();
	});
});

describe("transactions", () => {
	it("are answered when they are decided, and finished when their markers are written", async () => {
		bench = new ModelBench(1, { markerMs: [50, 50] });
		const connection = await bench.connect();
		const by = await bench.init(connection);
		await bench.add(connection, by);
		await bench.send(connection, ["a"], { by });
		expect(await bench.end(connection, by, true)).toBe(0);
		expect(bench.values()).toEqual([]);
		expect(await bench.end(connection, by, true)).toBe(CODES.CONCURRENT_TRANSACTIONS);
		expect(await bench.end(connection, by, false)).toBe(CODES.INVALID_TXN_STATE);
		expect(await bench.add(connection, by)).toEqual([CODES.CONCURRENT_TRANSACTIONS, CODES.CONCURRENT_TRANSACTIONS]);
		await bench.clock.advance(50);
		expect(bench.values()).toEqual(["a"]);
		expect(await bench.end(connection, by, true)).toBe(0);
		expect(await bench.end(connection, by, false)).toBe(CODES.INVALID_TXN_STATE);
	});

	it("give the next epoch to whom names the present one, and the same again when asked again", async () => {
		const connection = await bench.connect();
		const first = await bench.init(connection);
		expect(first).toMatchObject({ errorCode: 0, producerEpoch: 0 });
		const second = await bench.init(connection, first);
		expect(second).toEqual({ ...first, producerEpoch: 1 });
		expect(await bench.init(connection, first)).toEqual(second);
		const third = await bench.init(connection);
		expect(third).toEqual({ ...first, producerEpoch: 2 });
		expect((await bench.init(connection, second)).errorCode).toBe(CODES.PRODUCER_FENCED);
		expect((await bench.init(connection, second, 15_000, 3)).errorCode).toBe(CODES.INVALID_PRODUCER_EPOCH);
	});

	it("fence whom names its epoch while its transaction is open", async () => {
		const connection = await bench.connect();
		const by = await bench.init(connection);
		await bench.add(connection, by);
		expect((await bench.init(connection, by)).errorCode).toBe(CODES.PRODUCER_FENCED);
		expect(await bench.init(connection)).toEqual({ ...by, producerEpoch: 3 });
	});

	it("are aborted when their time is over, and their producer is fenced", async () => {
		const connection = await bench.connect();
		const by = await bench.init(connection, NOBODY, 5000);
		await bench.add(connection, by);
		await bench.send(connection, ["late"], { by });
		await bench.clock.advance(4900);
		expect(bench.model.transactions.states.get("g")?.state).toBe("Ongoing");
		await bench.clock.advance(10_200);
		expect(bench.model.transactions.states.get("g")?.state).toBe("CompleteAbort");
		expect((await bench.send(connection, ["later"], { by, sequence: 1 })).errorCode).toBe(CODES.INVALID_PRODUCER_EPOCH);
		expect(await bench.end(connection, by, true)).toBe(CODES.PRODUCER_FENCED);
		expect((await bench.init(connection, by)).errorCode).toBe(CODES.PRODUCER_FENCED);
		expect(bench.values()).toEqual([]);
	});

	it("are all ended when the model is settled, wherever their coordinator is", async () => {
		bench = new ModelBench(2, { loadMs: [60_000, 60_000], downMs: [90_000, 90_000] });
		const node = bench.model.cluster.coordinatorOf("transaction/g");
		const [leader] = bench.model.topics.get("t")?.partitions.map((partition) => partition.leader) ?? [];
		const connection = await bench.connect(node);
		const by = await bench.init(connection);
		await bench.add(connection, by);
		await bench.send(await bench.connect(leader), ["a"], { by });
		for (const id of [1, 2]) bench.model.crashBroker(id);
		bench.model.settle();
		expect(bench.model.transactions.states.get("g")?.state).toBe("CompleteAbort");
		const [partition] = bench.model.topics.get("t")?.partitions ?? [];
		expect(partition?.lastStableOffset).toBe(2);
		expect(bench.values()).toEqual([]);
	});

	it("do not time out one that was begun after another", async () => {
		const connection = await bench.connect();
		const by = await bench.init(connection, NOBODY, 5000);
		await bench.transaction(connection, by, "a", true);
		await bench.clock.advance(4000);
		await bench.add(connection, by, "t", [0]);
		await bench.clock.advance(4500);
		expect(await bench.end(connection, by, true)).toBe(0);
	});

	it("are of no producer any more when the id has expired", async () => {
		const connection = await bench.connect();
		const by = await bench.init(connection);
		await bench.add(connection, by);
		expect(bench.model.expireTransactionalId("g")).toBe(false);
		await bench.end(connection, by, true);
		await bench.clock.advance(100);
		expect(bench.model.expireTransactionalId("g")).toBe(true);
		expect(await bench.add(connection, by)).toEqual(Array(2).fill(CODES.INVALID_PRODUCER_ID_MAPPING));
		expect(await bench.end(connection, by, true)).toBe(CODES.INVALID_PRODUCER_ID_MAPPING);
		const { errorCode, producerId, producerEpoch } = await bench.init(connection, by);
		expect({ errorCode, producerEpoch }).toEqual({ errorCode: 0, producerEpoch: 0 });
		expect(producerId).not.toBe(by.producerId);
	});

	it("get another producer id when the epochs are used up", async () => {
		const again = (had: Identity | undefined) =>
			bench.model.transactions.initProducerId(bench.model.cluster.broker(1), "g", 15_000, had);
		const first = again(undefined);
		let by = first;
		let before = first;
		for (let i = 0; by.producerId === first.producerId && i < 40_000; i++) [before, by] = [by, again(by)];
		expect(before).toEqual({ ...first, producerEpoch: 32_766 });
		expect(by.producerEpoch).toBe(0);
		// Who did not get the answer asks again.
		expect(again(before)).toEqual(by);
		expect(() => again(first)).toThrow(/is not its producer id any more/);
	});

	it("take only partitions that exist, and then all", async () => {
		const connection = await bench.connect();
		const by = await bench.init(connection);
		const { UNKNOWN_TOPIC_OR_PARTITION, OPERATION_NOT_ATTEMPTED } = CODES;
		expect(await bench.add(connection, by, "t", [0, 7])).toEqual([OPERATION_NOT_ATTEMPTED, UNKNOWN_TOPIC_OR_PARTITION]);
		const refused = await bench.send(connection, ["a"], { by, atMost: 10 });
		expect(refused.errorCode).toBe(CODES.INVALID_TXN_STATE);
		expect((await bench.send(connection, ["a"], { by })).errorCode).toBe(CODES.TRANSACTION_ABORTABLE);
		expect(await bench.end(connection, by, false)).toBe(CODES.INVALID_TXN_STATE);
		expect(await bench.add(connection, by, "t", [0])).toEqual([0]);
		const elsewhere = { by, partition: 1 };
		expect((await bench.send(connection, ["a"], elsewhere)).errorCode).toBe(CODES.TRANSACTION_ABORTABLE);
	});
});

describe("produced batches", () => {
	it("are known again when they come twice, five of them", async () => {
		const connection = await bench.connect();
		const { producerId, producerEpoch } = await bench.ask(connection, INIT_PRODUCER_ID, { transactionalId: null });
		const by = { producerId, producerEpoch };
		const put = (sequence: number) => bench.send(connection, [`${sequence}`], { by, sequence, isTransactional: false });
		for (let i = 0; i < 7; i++) expect(await put(i)).toMatchObject({ errorCode: 0, baseOffset: i });
		for (const i of [2, 6]) expect(await put(i)).toMatchObject({ errorCode: 0, baseOffset: i });
		for (const i of [1, 8]) expect((await put(i)).errorCode).toBe(CODES.OUT_OF_ORDER_SEQUENCE_NUMBER);
		expect(bench.values()).toEqual(["0", "1", "2", "3", "4", "5", "6"]);
		const next = { by: { producerId, producerEpoch: 1 }, isTransactional: false };
		const { errorCode } = await bench.send(connection, ["x"], { ...next, sequence: 7 });
		expect(errorCode).toBe(CODES.OUT_OF_ORDER_SEQUENCE_NUMBER);
		expect((await bench.send(connection, ["x"], next)).errorCode).toBe(0);
		expect((await put(7)).errorCode).toBe(CODES.INVALID_PRODUCER_EPOCH);
		bench.model.expireProducers();
		expect((await put(7)).errorCode).toBe(0);
	});

	it("are refused for what is wrong with them, with the records to blame", async () => {
		bench.model.createTopic("compacted", 1, { "cleanup.policy": "compact" });
		bench.model.createTopic("small", 1, { "max.message.bytes": "200" });
		const connection = await bench.connect();
		const tomorrow = bench.record("b", { timestamp: bench.clock.now() + 86_400_000 });
		const early = await bench.send(connection, ["a", tomorrow, "c"]);
		expect(early.errorCode).toBe(CODES.INVALID_TIMESTAMP);
		expect(early.recordErrors.map(({ batchIndex }) => batchIndex)).toEqual([1]);
		const keyless = await bench.send(connection, ["a", bench.record("b", { key: null })], { topic: "compacted" });
		expect(keyless.errorCode).toBe(CODES.INVALID_RECORD);
		expect(keyless.recordErrors.map(({ batchIndex }) => batchIndex)).toEqual([1]);
		const { MESSAGE_TOO_LARGE, UNKNOWN_TOPIC_OR_PARTITION, TOPIC_AUTHORIZATION_FAILED } = CODES;
		expect((await bench.send(connection, ["x".repeat(200)], { topic: "small" })).errorCode).toBe(MESSAGE_TOO_LARGE);
		expect((await bench.send(connection, ["a"], { topic: "none" })).errorCode).toBe(UNKNOWN_TOPIC_OR_PARTITION);
		bench.model.refuseTopic("t", TOPIC_AUTHORIZATION_FAILED);
		expect((await bench.send(connection, ["a"])).errorCode).toBe(TOPIC_AUTHORIZATION_FAILED);
		bench.model.refuseTopic("t", undefined);
		expect((await bench.send(connection, ["a"])).errorCode).toBe(0);
		// The brokers have clocks of their own.
		bench.clock.step(-86_400_000);
		expect((await bench.send(connection, ["b"])).errorCode).toBe(0);
		expect(bench.values()).toEqual(["a", "b"]);
	});

	it("may be stored though the answer is an error", async () => {
		bench = new ModelBench(1, { errorAfterAppend: 1 });
		const connection = await bench.connect();
		const { producerId } = await bench.ask(connection, INIT_PRODUCER_ID, { transactionalId: null });
		const sent = { by: { producerId, producerEpoch: 0 }, isTransactional: false };
		expect((await bench.send(connection, ["a"], sent)).errorCode).toBe(CODES.NOT_ENOUGH_REPLICAS_AFTER_APPEND);
		bench.model.calm();
		expect(await bench.send(connection, ["a"], sent)).toMatchObject({ errorCode: 0, baseOffset: 0 });
		expect(bench.values()).toEqual(["a"]);
	});
});

describe("what is read", () => {
	it("ends at the last stable offset for readers of what is committed, who are told what is aborted", async () => {
		const connection = await bench.connect();
		const by = await bench.init(connection);
		await bench.transaction(connection, by, "a", false);
		await bench.clock.advance(10);
		await bench.add(connection, by, "t", [0]);
		await bench.send(connection, ["open"], { by, sequence: 1 });
		const all = await bench.fetch(connection);
		expect(all).toMatchObject({ highWatermark: 3, lastStableOffset: 2, abortedTransactions: null });
		const stable = await bench.fetch(connection, { isolationLevel: 1 });
		expect(stable.abortedTransactions).toEqual([{ producerId: by.producerId, firstOffset: 0 }]);
		expect(all.records.length).toBeGreaterThan(stable.records.length);
		expect((await bench.fetch(connection, { isolationLevel: 1, offset: 2 })).abortedTransactions).toEqual([]);
		const at = async (timestamp: number, isolationLevel: 0 | 1) => {
			const topics = [{ name: "t", partitions: [{ partitionIndex: 0, timestamp }] }];
			const answer = await bench.ask(connection, LIST_OFFSETS, { replicaId: -1, isolationLevel, topics });
			return answer.topics[0]?.partitions[0]?.offset;
		};
		expect([await at(-1, 0), await at(-1, 1), await at(-2, 0), await at(0, 0)]).toEqual([3, 2, 0, 0]);
	});

	it("is whole batches, the last of them cut off anywhere, and at least one", async () => {
		const connection = await bench.connect();
		for (let i = 0; i < 3; i++) await bench.send(connection, [`${i}`, "x"]);
		const { records } = await bench.fetch(connection, { offset: 3, maxBytes: 100_000 });
		const { sizeBytes, baseOffset } = readBatchHeader(records, 0);
		expect([baseOffset, records.length]).toEqual([2, 2 * sizeBytes]);
		expect((await bench.fetch(connection, { offset: 3, maxBytes: 1 })).records.length).toBe(sizeBytes);
		expect((await bench.fetch(connection, { offset: 3, maxBytes: sizeBytes + 7 })).records.length).toBe(sizeBytes + 7);
		bench.model.deleteBefore("t", 0, 3);
		expect((await bench.fetch(connection, { offset: 2 })).errorCode).toBe(CODES.OFFSET_OUT_OF_RANGE);
		expect(await bench.fetch(connection, { offset: 3 })).toMatchObject({ errorCode: 0, logStartOffset: 3 });
		expect((await bench.fetch(connection, { offset: 7 })).errorCode).toBe(CODES.OFFSET_OUT_OF_RANGE);
		expect(bench.values()).toEqual(["x", "2", "x"]);
	});

	it("is waited for as long as the reader likes", async () => {
		const [reader, writer] = [await bench.connect(), await bench.connect()];
		const beganMs = bench.clock.monotonic();
		expect((await bench.fetch(reader, { maxWaitMs: 3000 })).records.length).toBe(0);
		expect(bench.clock.monotonic() - beganMs).toBeGreaterThanOrEqual(3000);
		const fetching = reader.request(FETCH, fetchRequest({ maxWaitMs: 5000 }), { timeoutMs: 10_000, atMost: 12 });
		await bench.clock.advance(1000);
		await bench.send(writer, ["a"]);
		const { body } = await bench.finish(fetching);
		expect(body.responses[0]?.partitions[0]?.records?.length).toBeGreaterThan(0);
		expect(bench.clock.monotonic() - beganMs).toBeLessThan(4500);
	});

	it("comes in sessions, which tell only news", async () => {
		const connection = await bench.connect();
		const next = (given: Fetching) => bench.ask(connection, FETCH, fetchRequest({ partitions: [], ...given }), 12);
		const { sessionId, responses } = await next({ sessionEpoch: 0, partitions: [0, 1] });
		expect(responses[0]?.partitions.length).toBe(2);
		expect((await next({ sessionId, sessionEpoch: 1 })).responses).toEqual([]);
		await bench.send(connection, ["a"], { partition: 1 });
		const news = await next({ sessionId, sessionEpoch: 2 });
		expect(news.responses[0]?.partitions.map(({ partitionIndex }) => partitionIndex)).toEqual([1]);
		const { INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_ID_NOT_FOUND } = CODES;
		expect((await next({ sessionId, sessionEpoch: 2 })).errorCode).toBe(INVALID_FETCH_SESSION_EPOCH);
		expect((await next({ sessionId, sessionEpoch: 3, partitions: [1], offset: 1 })).responses).toEqual([]);
		bench.model.evictFetchSessions();
		expect((await next({ sessionId, sessionEpoch: 4 })).errorCode).toBe(FETCH_SESSION_ID_NOT_FOUND);
	});
});
