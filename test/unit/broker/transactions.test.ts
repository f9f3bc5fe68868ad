/** The coordinator of transactions: who gets which epoch, what each request changes or refuses, time-outs, and restarts. */
import { beforeEach, describe, expect, it } from "vitest";
import { BrokerError } from "../../../src/base/errors.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { appendProducerBatch } from "../../../src/broker/append-batch.ts";
import type { ProducerIdentity } from "../../../src/broker/transactions/producer-epochs.ts";
import { CLOSED_PREFIX, encodeRow, type TransactionRow } from "../../../src/broker/transactions/transaction-row.ts";
import type { TransactionalProducer } from "../../../src/broker/transactions/transactions.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";
import { decodeControlKey, decodeRecords, encodeBatch, readBatchHeader } from "../../../src/record/batch.ts";
import { EMPTY_HEADERS_BLOCK, NULL_KEY_BLOCK } from "../../../src/record/builder.ts";
import { World } from "../../simulation/world.ts";

let world: World;

beforeEach(() => {
	world = new World(new SimulatedRandom(7), {
		journalFileBytes: 4 * 1024 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: {},
		tearNeighbours: true,
		syncMs: 1,
	});
	world.start();
	world.broker.topics.create({ name: "t", partitions: 3 });
	world.broker.topics.create({ name: "in", partitions: 1 });
});

function codeOf(work: () => unknown): string {
	try {
		work();
	} catch (error) {
		if (error instanceof BrokerError) return error.code;
		throw error;
	}
	return "none";
}

const NOTHING = { producerId: -1, producerEpoch: -1 };

function init(transactionalId: string | null, has: ProducerIdentity = NOTHING, timeoutMs = 10_000): ProducerIdentity {
	const { producerId, producerEpoch } = has;
	const begun = world.broker.transactions.initProducerId({ transactionalId, timeoutMs, producerId, producerEpoch });
	return { producerId: begun.producerId, producerEpoch: begun.producerEpoch };
}

/** As if it had begun anew very often. */
function skipTo(transactionalId: string, producerEpoch: number): ProducerIdentity {
	const { producerId } = init(transactionalId);
	const row = world.broker.transactions.describe(transactionalId) as TransactionRow;
	const value = encodeRow({ ...row, producerEpoch });
	world.log.putState(StateSpace.KAFKA_TRANSACTION, CLOSED_PREFIX + transactionalId, value);
	return { producerId, producerEpoch };
}

const producer = (transactionalId: string, has?: ProducerIdentity): TransactionalProducer => ({
	transactionalId,
	...init(transactionalId, has),
});

const partition = (number = 0, topic = "t"): Partition => world.partition(topic, number) as Partition;

function write(by: ProducerIdentity, value: string, sequence: number, to = partition()): number {
	const batch = encodeBatch([{ timestamp: world.clock.now(), key: null, value: Buffer.from(value), headers: [] }], {
		producerId: by.producerId,
		producerEpoch: by.producerEpoch,
		baseSequence: sequence,
		isTransactional: true,
	});
	const limits = { transactionalId: null, decompressedBytes: 1000, allowsZstd: true };
	return appendProducerBatch(world.broker, to, batch, limits).baseOffset;
}

/** What who wants committed records gets. */
async function committed(from = partition()): Promise<string[]> {
	const found: string[] = [];
	const bytes = await world.finish(from.read(from.logStartOffset, 1 << 20));
	for (let at = 0; at < bytes.length; ) {
		const header = readBatchHeader(bytes, at);
		if (from.isVisible(header)) for (const { value } of decodeRecords(bytes, at)) found.push(String(value));
		at += header.sizeBytes;
	}
	return found;
}

const durable = (): Promise<void> => world.finish(world.log.whenCommitted());

async function restart(): Promise<void> {
	await durable();
	await world.crash("power cut", new SimulatedRandom(1));
	world.start();
}

describe("producer ids", () => {
	it("are given out once, over restarts too", async () => {
		const before = Array.from({ length: 1001 }, () => init(null).producerId);
		expect(new Set(before).size).toBe(1001);
		await restart();
		const after = [init(null).producerId, producer("a").producerId];
		expect(before).not.toContain(after[0]);
		expect(after[1]).not.toBe(after[0]);
	});

	it("of a block that was not durable are not those of the next either, but for who was never told", async () => {
		const first = init(null);
		await world.crash("power cut", new SimulatedRandom(1));
		world.start();
		expect(init(null)).toEqual(first);
	});
});

describe("epochs", () => {
	it("rise by one each time that a transactional id begins anew, over restarts too", async () => {
		const first = init("a");
		expect(first.producerEpoch).toBe(0);
		expect(init("a")).toEqual({ ...first, producerEpoch: 1 });
		await restart();
		expect(init("a")).toEqual({ ...first, producerEpoch: 2 });
		expect(init("b").producerId).not.toBe(first.producerId);
	});

	it("rise for a producer that says what it has, and once only when it asks again", () => {
		const first = init("a");
		const second = init("a", first);
		expect(second).toEqual({ ...first, producerEpoch: 1 });
		expect(init("a", first)).toEqual(second);
		expect(init("a", second)).toEqual({ ...first, producerEpoch: 2 });
		expect(codeOf(() => init("a", first))).toBe("PRODUCER_FENCED");
	});

	it("do not rise for somebody else's: 0, 0 says something too", () => {
		const { producerId } = init("a");
		const other = init("b");
		expect(producerId).toBe(0);
		expect(codeOf(() => init("b", { producerId: 0, producerEpoch: 0 }))).toBe("PRODUCER_FENCED");
		expect(codeOf(() => init("b", { ...other, producerEpoch: 5 }))).toBe("PRODUCER_FENCED");
		// Who is new, or has no transactional id, is not asked what it has.
		expect(init("c", { producerId: 0, producerEpoch: 0 }).producerEpoch).toBe(0);
		expect(init(null, { producerId: 0, producerEpoch: 0 }).producerEpoch).toBe(0);
	});

	it("run out at 32766: then there is a new producer id, and asking again finds it", () => {
		const { producerId } = skipTo("a", 32_765);
		const now = init("a");
		expect(now).toEqual({ producerId, producerEpoch: 32_766 });
		const next = init("a", now);
		expect(next.producerEpoch).toBe(0);
		expect(next.producerId).not.toBe(producerId);
		expect(init("a", now)).toEqual(next);
		expect(init("a")).toEqual({ ...next, producerEpoch: 1 });
		expect(codeOf(() => init("a", now))).toBe("PRODUCER_FENCED");
	});

	it("that have run out still end an open transaction", async () => {
		const by = { transactionalId: "a", ...skipTo("a", 32_766) };
		world.broker.transactions.addPartitions(by, [partition()]);
		write(by, "lost", 0);
		expect(init("a").producerEpoch).toBe(0);
		await durable();
		expect(await committed()).toEqual([]);
		expect(partition().lastStableOffset).toBe(2);
	});

	it("are refused with a time-out beyond the limit, no name, or half of an identity", () => {
		expect(codeOf(() => init("a", NOTHING, 900_001))).toBe("INVALID_TRANSACTION_TIMEOUT");
		expect(codeOf(() => init("a", NOTHING, 0))).toBe("INVALID_TRANSACTION_TIMEOUT");
		expect(codeOf(() => init("a", NOTHING, -1))).toBe("INVALID_TRANSACTION_TIMEOUT");
		expect(codeOf(() => init("a", NOTHING, 900_000))).toBe("none");
		expect(codeOf(() => init(""))).toBe("INVALID_REQUEST");
		expect(codeOf(() => init("x".repeat(20_000)))).toBe("INVALID_REQUEST");
		expect(codeOf(() => init("a", { producerId: 1, producerEpoch: -1 }))).toBe("INVALID_REQUEST");
		expect(codeOf(() => init(null, { producerId: -1, producerEpoch: 1 }))).toBe("INVALID_REQUEST");
	});
});

describe("a transaction", () => {
	it("shows its records in all partitions with its commit, and nothing before", async () => {
		const by = producer("a");
		const { transactions } = world.broker;
		transactions.addPartitions(by, [partition(0), partition(1)]);
		write(by, "x", 0);
		write(by, "y", 0, partition(1));
		await durable();
		expect(await committed()).toEqual([]);
		expect([partition(0).lastStableOffset, partition(0).highWatermark]).toEqual([0, 1]);
		transactions.end(by, "commit");
		expect(partition(0).lastStableOffset).toBe(0);
		await durable();
		expect(await committed()).toEqual(["x"]);
		expect(await committed(partition(1))).toEqual(["y"]);
	});

	it("that is aborted never shows them", async () => {
		const by = producer("a");
		world.broker.transactions.addPartitions(by, [partition()]);
		write(by, "x", 0);
		world.broker.transactions.end(by, "abort");
		await restart();
		expect(await committed()).toEqual([]);
		expect(partition().transactions.aborted(0, 10)).toEqual([
			{ producerId: by.producerId, firstOffset: 0, lastOffset: 1 },
		]);
	});

	it("ends with Kafka's marker in each of its partitions, written to or not, however small the topic's batches", async () => {
		world.broker.topics.create({ name: "small", partitions: 1, config: { "max.message.bytes": "512" } });
		const by = producer("a");
		world.broker.transactions.addPartitions(by, [partition(0, "small")]);
		world.broker.transactions.end(by, "commit");
		await durable();
		const bytes = await world.finish(partition(0, "small").read(0, 1000));
		const header = readBatchHeader(bytes, 0);
		const [record] = decodeRecords(bytes);
		expect(header).toMatchObject({
			...identity(by),
			isControl: true,
			isTransactional: true,
			baseSequence: -1,
			count: 1,
		});
		expect(decodeControlKey(record?.key ?? null)).toEqual({ version: 0, type: 1 });
		expect(record?.value).toEqual(Buffer.alloc(6));
	});

	it("ends once more as it has ended, and not otherwise", () => {
		const { transactions } = world.broker;
		const by = producer("a");
		expect(codeOf(() => transactions.end(by, "commit"))).toBe("INVALID_TXN_STATE");
		for (const [outcome, other] of [
			["commit", "abort"],
			["abort", "commit"],
		] as const) {
			transactions.addPartitions(by, [partition()]);
			transactions.end(by, outcome);
			const { endOffset } = partition();
			expect(codeOf(() => transactions.end(by, outcome))).toBe("none");
			expect(codeOf(() => transactions.end(by, other))).toBe("INVALID_TXN_STATE");
			expect(partition().endOffset).toBe(endOffset);
		}
	});

	it("may be empty", () => {
		const { transactions } = world.broker;
		const by = producer("a");
		transactions.addPartitions(by, []);
		expect(transactions.describe("a")?.state).toBe("Ongoing");
		expect(codeOf(() => transactions.end(by, "commit"))).toBe("none");
	});

	it("is only its newest producer's", () => {
		const { transactions } = world.broker;
		const old = producer("a");
		const by = producer("a");
		for (const work of [
			(who: TransactionalProducer) => transactions.addPartitions(who, [partition()]),
			(who: TransactionalProducer) => transactions.addGroup(who, "g"),
			(who: TransactionalProducer) => transactions.commitOffsets(who, "g", []),
			(who: TransactionalProducer) => transactions.end(who, "commit"),
		]) {
			expect(codeOf(() => work(old))).toBe("PRODUCER_FENCED");
			expect(codeOf(() => work({ ...by, producerEpoch: 7 }))).toBe("PRODUCER_FENCED");
			expect(codeOf(() => work({ ...by, producerId: 77 }))).toBe("INVALID_PRODUCER_ID_MAPPING");
			expect(codeOf(() => work({ ...by, transactionalId: "b" }))).toBe("INVALID_PRODUCER_ID_MAPPING");
			expect(codeOf(() => work({ ...by, transactionalId: "" }))).toBe("INVALID_REQUEST");
			expect(codeOf(() => work(by))).toBe("none");
		}
	});

	it("has only the partitions that were added to it", () => {
		const { transactions } = world.broker;
		const by = producer("a");
		const holds = (number: number, epoch = by.producerEpoch) =>
			transactions.holds(by.producerId, epoch, partition(number));
		transactions.addPartitions(by, [partition(0)]);
		transactions.addPartitions(by, [partition(0), partition(2)]);
		expect([holds(0), holds(1), holds(2), holds(0, 1)]).toEqual([true, false, true, false]);
		expect(codeOf(() => write(by, "x", 0, partition(1)))).toBe("INVALID_TXN_STATE");
		transactions.end(by, "commit");
		expect(holds(0)).toBe(false);
		expect(codeOf(() => write(by, "x", 0))).toBe("INVALID_TXN_STATE");
	});

	it("is aborted when its producer begins anew, and nobody with the old epoch writes any more", async () => {
		const { transactions } = world.broker;
		const old = producer("a");
		transactions.addPartitions(old, [partition()]);
		write(old, "lost", 0);
		const by = producer("a");
		expect(codeOf(() => write(old, "late", 1))).toBe("INVALID_PRODUCER_EPOCH");
		expect(codeOf(() => transactions.end(old, "commit"))).toBe("PRODUCER_FENCED");
		transactions.addPartitions(by, [partition()]);
		write(by, "kept", 0);
		transactions.end(by, "commit");
		await durable();
		expect(await committed()).toEqual(["kept"]);
	});

	it("goes on over a restart, with all that it has", async () => {
		const by = producer("a");
		world.broker.transactions.addPartitions(by, [partition(0), partition(1)]);
		world.broker.transactions.addGroup(by, "g");
		write(by, "x", 0);
		await restart();
		const { transactions } = world.broker;
		expect(await committed()).toEqual([]);
		expect(transactions.describe("a")).toMatchObject({ state: "Ongoing", groups: ["g"], timeoutMs: 10_000 });
		write(by, "y", 1);
		transactions.end(by, "commit");
		await durable();
		expect(await committed()).toEqual(["x", "y"]);
		expect(partition(1).highWatermark).toBe(1);
	});

	it("passes over a topic that was deleted, and does not have the new one of its name", async () => {
		const { transactions, topics } = world.broker;
		const by = producer("a");
		transactions.addPartitions(by, [partition(0), partition(0, "in")]);
		write(by, "gone", 0, partition(0, "in"));
		write(by, "x", 0);
		topics.delete("in");
		topics.create({ name: "in", partitions: 1 });
		expect(transactions.holds(by.producerId, by.producerEpoch, partition(0, "in"))).toBe(false);
		transactions.end(by, "commit");
		await restart();
		expect(await committed()).toEqual(["x"]);
		expect(partition(0, "in").endOffset).toBe(0);
	});

	it("that could not end in one commit is refused before", () => {
		const { transactions, topics } = world.broker;
		topics.create({ name: "wide", partitions: 5000 });
		const by = producer("a");
		const all = topics.get("wide")?.partitions ?? [];
		expect(codeOf(() => transactions.addPartitions(by, all))).toBe("RECORD_LIST_TOO_LARGE");
		expect(transactions.describe("a")?.state).toBe("Empty");
		transactions.addPartitions(by, all.slice(0, 1500));
		expect(codeOf(() => transactions.end(by, "commit"))).toBe("none");
	});
});

describe("offsets in a transaction", () => {
	const entries = [{ topic: "in", partition: 0, offset: 5, leaderEpoch: -1, metadata: "m" }];
	const fetched = () => world.broker.groups.offsets.fetch("g", "in", 0)?.offset;

	it("are the group's with the commit, and never with an abort", async () => {
		const { transactions } = world.broker;
		const by = producer("a");
		for (const [outcome, expected] of [
			["abort", undefined],
			["commit", 5],
		] as const) {
			transactions.addGroup(by, "g");
			transactions.commitOffsets(by, "g", entries);
			expect(fetched()).toBeUndefined();
			expect(world.broker.groups.offsets.hasPending("g", "in", 0)).toBe(true);
			transactions.end(by, outcome);
			expect(fetched()).toBe(expected);
			expect(world.broker.groups.offsets.hasPending("g", "in", 0)).toBe(false);
		}
		await restart();
		expect(fetched()).toBe(5);
	});

	it("need the group in the transaction", () => {
		const { transactions } = world.broker;
		const by = producer("a");
		expect(codeOf(() => transactions.commitOffsets(by, "g", entries))).toBe("INVALID_TXN_STATE");
		transactions.addGroup(by, "other");
		expect(codeOf(() => transactions.commitOffsets(by, "g", entries))).toBe("INVALID_TXN_STATE");
		expect(codeOf(() => transactions.checkGroup(by, "other"))).toBe("none");
	});

	it("are refused before they are more than one commit takes", () => {
		const { transactions } = world.broker;
		const by = producer("a");
		transactions.addGroup(by, "g");
		const many = Array.from({ length: 200 }, (_, i) => ({
			...(entries[0] as (typeof entries)[0]),
			partition: i,
			metadata: "m".repeat(4000),
		}));
		expect(codeOf(() => transactions.commitOffsets(by, "g", many))).toBe("INVALID_COMMIT_OFFSET_SIZE");
		expect(codeOf(() => transactions.commitOffsets(by, "g", entries))).toBe("none");
	});
});

describe("a dead transaction", () => {
	it("is aborted after its time-out, and its producer fenced", async () => {
		const by = producer("a");
		const { transactions } = world.broker;
		transactions.addPartitions(by, [partition()]);
		write(by, "x", 0);
		await world.clock.advance(9_900);
		expect(transactions.describe("a")?.state).toBe("Ongoing");
		await world.clock.advance(200);
		expect(transactions.describe("a")).toMatchObject({ state: "CompleteAbort", producerEpoch: 1 });
		expect(partition().lastStableOffset).toBe(partition().highWatermark);
		expect(await committed()).toEqual([]);
		expect(codeOf(() => transactions.end(by, "commit"))).toBe("PRODUCER_FENCED");
		expect(codeOf(() => write(by, "y", 1))).toBe("INVALID_PRODUCER_EPOCH");
		// It may say what it had, and go on.
		expect(init("a", by)).toEqual({ producerId: by.producerId, producerEpoch: 1 });
		expect(init("a").producerEpoch).toBe(2);
	});

	it("is aborted after a restart too, in its time-out from then", async () => {
		const by = producer("a");
		world.broker.transactions.addPartitions(by, [partition()]);
		write(by, "x", 0);
		await world.clock.advance(9_000);
		await restart();
		await world.clock.advance(9_000);
		expect(world.broker.transactions.describe("a")?.state).toBe("Ongoing");
		await world.clock.advance(1_100);
		expect(world.broker.transactions.describe("a")?.state).toBe("CompleteAbort");
		expect(partition().lastStableOffset).toBe(2);
	});

	it("waits for space on a full disk, as EndTxn is refused meanwhile", async () => {
		const by = producer("a");
		world.broker.transactions.addPartitions(by, [partition()]);
		write(by, "x", 0);
		await durable();
		let used = 0;
		for (const bytes of world.disk.files().values()) used += bytes.length;
		world.disk.capacityBytes = used + 100_000;
		const filling = Buffer.alloc(50_000);
		for (let i = 0; i < 200 && world.log.refusal === undefined; i++) {
			partition(0, "in").appendRecord(5, NULL_KEY_BLOCK, filling, 0, filling.length, EMPTY_HEADERS_BLOCK);
			await world.clock.advance(20);
		}
		const { endOffset } = partition();
		expect(codeOf(() => world.broker.transactions.end(by, "commit"))).toBe("KAFKA_STORAGE_ERROR");
		expect(codeOf(() => init("a"))).toBe("KAFKA_STORAGE_ERROR");
		// There was a block of them left.
		expect(codeOf(() => init(null))).toBe("none");
		await world.clock.advance(12_000);
		expect(partition().endOffset).toBe(endOffset);
		expect(world.broker.transactions.describe("a")?.state).toBe("Ongoing");
		world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		await world.clock.advance(3_000);
		expect(world.broker.transactions.describe("a")?.state).toBe("CompleteAbort");
		expect(partition().lastStableOffset).toBe(partition().highWatermark);
	});
});

describe("a transactional id", () => {
	it("that nobody uses is forgotten after its time, one that is used or open is not", async () => {
		const unused = producer("unused");
		const used = producer("used");
		await durable();
		await world.clock.advance(604_800_000 - 2 * 3_600_000);
		world.broker.transactions.addPartitions(used, [partition()]);
		world.broker.transactions.end(used, "commit");
		await world.clock.advance(4 * 3_600_000);
		const { transactions } = world.broker;
		expect(transactions.describe("unused")).toBeUndefined();
		expect(codeOf(() => transactions.addPartitions(unused, [partition()]))).toBe("INVALID_PRODUCER_ID_MAPPING");
		expect(transactions.describe("used")?.state).toBe("CompleteCommit");
		expect(init("unused").producerId).not.toBe(unused.producerId);
	});

	it("is not forgotten when the clock steps forward, out of 1970 or by years", async () => {
		const { transactions } = world.broker;
		const now = world.clock.now();
		world.clock.step(-now);
		const first = producer("first");
		await durable();
		for (const stepMs of [now, 5 * 365 * 86_400_000]) {
			world.clock.step(stepMs);
			await world.clock.advance(604_800_000 / 2);
			expect(codeOf(() => transactions.addPartitions(first, [partition()]))).toBe("none");
			transactions.end(first, "abort");
		}
		await world.clock.advance(604_800_000 + 2 * 3_600_000);
		expect(transactions.describe("first")).toBeUndefined();
	});

	it("is listed whatever its state", () => {
		const { transactions } = world.broker;
		producer("a");
		const open = producer("b");
		transactions.addPartitions(open, [partition()]);
		for (let i = 0; i < 600; i++) init(`many ${i}`);
		const listed = [...transactions.list()].map(({ transactionalId, row }) => `${transactionalId} ${row.state}`);
		expect(listed).toHaveLength(602);
		expect(listed).toContain("a Empty");
		expect(listed).toContain("b Ongoing");
	});
});

function identity({ producerId, producerEpoch }: ProducerIdentity): ProducerIdentity {
	return { producerId, producerEpoch };
}
