/** Transactions over the wire, in every version: what each request changes and how it is refused. The errors are those of Apache Kafka 4.3.1. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ERROR_CODES } from "../../../src/base/errors.ts";
import { produce } from "../../../src/kafka/handlers/00-produce.ts";
import { fetch } from "../../../src/kafka/handlers/01-fetch.ts";
import { metadata } from "../../../src/kafka/handlers/03-metadata.ts";
import { initProducerId } from "../../../src/kafka/handlers/22-init-producer-id.ts";
import { addPartitionsToTxn } from "../../../src/kafka/handlers/24-add-partitions-to-txn.ts";
import { addOffsetsToTxn } from "../../../src/kafka/handlers/25-add-offsets-to-txn.ts";
import { endTxn } from "../../../src/kafka/handlers/26-end-txn.ts";
import { txnOffsetCommit } from "../../../src/kafka/handlers/28-txn-offset-commit.ts";
import { describeTransactions } from "../../../src/kafka/handlers/65-describe-transactions.ts";
import { listTransactions } from "../../../src/kafka/handlers/66-list-transactions.ts";
import { decodeRecords, encodeBatch, readBatchHeader } from "../../../src/record/batch.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";

interface Identity {
	readonly producerId: number;
	readonly producerEpoch: number;
}

let gateway: KafkaGateway;
let wire: KafkaWire;
beforeEach(async () => {
	gateway = await KafkaGateway.start();
	wire = await gateway.connect();
	gateway.broker.topics.create({ name: "t", partitions: 2 });
});
afterEach(() => gateway.stop());

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const nameOf = (code: number): string =>
	Object.entries(ERROR_CODES).find(([, number]) => number === code)?.[0] ?? String(code);
const BOTH = [{ name: "t", partitions: [0, 1] }];

async function init(transactionalId: string | null, version = 4, has: Partial<Identity> = {}, timeoutMs = 60_000) {
	const request = { transactionalId, transactionTimeoutMs: timeoutMs, ...has };
	const { errorCode, producerId, producerEpoch } = await wire.request(initProducerId, version, request);
	return { error: nameOf(errorCode), producerId, producerEpoch };
}

async function add(by: Identity, version = 3, topics = BOTH, transactionalId = "a"): Promise<string[]> {
	const answer = await wire.request(addPartitionsToTxn, version, {
		v3AndBelowTransactionalId: transactionalId,
		v3AndBelowProducerId: by.producerId,
		v3AndBelowProducerEpoch: by.producerEpoch,
		v3AndBelowTopics: topics,
	});
	return answer.resultsByTopicV3AndBelow.flatMap(({ name, resultsByPartition }) =>
		resultsByPartition.map(
			({ partitionIndex, partitionErrorCode }) => `${name}-${partitionIndex} ${nameOf(partitionErrorCode)}`,
		),
	);
}

async function addOffsets(by: Identity, version = 3, groupId = "g", transactionalId = "a"): Promise<string> {
	const { producerId, producerEpoch } = by;
	const request = { transactionalId, producerId, producerEpoch, groupId };
	return nameOf((await wire.request(addOffsetsToTxn, version, request)).errorCode);
}

async function end(by: Identity, committed: boolean, version = 3, transactionalId = "a"): Promise<string> {
	const { producerId, producerEpoch } = by;
	const request = { transactionalId, producerId, producerEpoch, committed };
	return nameOf((await wire.request(endTxn, version, request)).errorCode);
}

interface Offset {
	readonly name?: string;
	readonly index?: number;
	readonly metadata?: string | null;
}

async function commitOffsets(
	by: Identity,
	offsets: readonly Offset[],
	version = 3,
	more: object = {},
): Promise<string[]> {
	const { producerId, producerEpoch } = by;
	const answer = await wire.request(txnOffsetCommit, version, {
		transactionalId: "a",
		groupId: "g",
		producerId,
		producerEpoch,
		topics: offsets.map(({ name = "t", index = 0, metadata = "m" }) => ({
			name,
			partitions: [{ partitionIndex: index, committedOffset: 5, committedMetadata: metadata }],
		})),
		...more,
	});
	return answer.topics.flatMap(({ name, partitions }) =>
		partitions.map(({ partitionIndex, errorCode }) => `${name}-${partitionIndex} ${nameOf(errorCode)}`),
	);
}

async function write(by: Identity, value: string, baseSequence: number, index = 0): Promise<string> {
	const { producerId, producerEpoch } = by;
	const records = encodeBatch([{ timestamp: Date.now(), key: null, value: Buffer.from(value), headers: [] }], {
		producerId,
		producerEpoch,
		baseSequence,
		isTransactional: true,
	});
	const topicData = [{ name: "t", partitionData: [{ index, records }] }];
	const answer = await wire.request(produce, 9, { transactionalId: "a", acks: -1, timeoutMs: 5000, topicData });
	return nameOf(answer.responses[0]?.partitionResponses[0]?.errorCode ?? -99);
}

/** What a consumer of committed records makes of an answer to Fetch, as Kafka's own do. */
async function committed(index = 0): Promise<string[]> {
	const answer = await wire.request(fetch, 11, {
		maxWaitMs: 0,
		minBytes: 0,
		maxBytes: 1_000_000,
		isolationLevel: 1,
		sessionEpoch: -1,
		topics: [{ topic: "t", partitions: [{ partition: index, fetchOffset: 0, partitionMaxBytes: 1_000_000 }] }],
	});
	const { records, abortedTransactions } = answer.responses[0]!.partitions[0]!;
	const bytes = records ?? Buffer.alloc(0);
	const waiting = [...(abortedTransactions ?? [])].sort((a, b) => a.firstOffset - b.firstOffset);
	const aborted = new Set<number>();
	const found: string[] = [];
	for (let at = 0; at < bytes.length; ) {
		const header = readBatchHeader(bytes, at);
		while (waiting[0] !== undefined && waiting[0].firstOffset <= header.lastOffset)
			aborted.add(waiting.shift()!.producerId);
		if (header.isControl) aborted.delete(header.producerId);
		else if (!header.isTransactional || !aborted.has(header.producerId))
			for (const { value } of decodeRecords(bytes, at)) found.push(String(value));
		at += header.sizeBytes;
	}
	return found;
}

describe.each(range(0, 5))("InitProducerId %i", (version) => {
	it("gives producer ids and epochs, and refuses as Kafka does", async () => {
		const idempotent = [await init(null, version), await init(null, version)];
		expect(idempotent.map(({ error, producerEpoch }) => [error, producerEpoch])).toEqual(Array(2).fill(["NONE", 0]));
		expect(idempotent[0]?.producerId).not.toBe(idempotent[1]?.producerId);
		const first = await init("a", version);
		expect(await init("a", version)).toEqual({ ...first, producerEpoch: 1 });
		const refused = { producerId: -1, producerEpoch: -1 };
		expect(await init("", version)).toEqual({ error: "INVALID_REQUEST", ...refused });
		for (const timeoutMs of [0, -1, 900_001])
			expect(await init("a", version, {}, timeoutMs)).toEqual({ error: "INVALID_TRANSACTION_TIMEOUT", ...refused });
		if (version < 3) return;
		const fenced = version === 3 ? "INVALID_PRODUCER_EPOCH" : "PRODUCER_FENCED";
		expect(await init("a", version, first)).toEqual({ error: fenced, ...refused });
		const { producerId } = first;
		expect(await init("a", version, { producerId, producerEpoch: 1 })).toEqual({ ...first, producerEpoch: 2 });
		expect(await init("a", version, { producerId, producerEpoch: 1 })).toEqual({ ...first, producerEpoch: 2 });
		expect((await init("a", version, { producerId })).error).toBe("INVALID_REQUEST");
		expect((await init(null, version, { producerEpoch: 0 })).error).toBe("INVALID_REQUEST");
	});
});

describe.each(range(0, 3))("AddPartitionsToTxn %i", (version) => {
	it("takes all partitions or none", async () => {
		const by = await init("a");
		const fenced = version < 2 ? "INVALID_PRODUCER_EPOCH" : "PRODUCER_FENCED";
		const each = (error: string) => [`t-0 ${error}`, `t-1 ${error}`];
		expect(await add({ ...by, producerEpoch: 7 }, version)).toEqual(each(fenced));
		expect(await add({ ...by, producerId: 777 }, version)).toEqual(each("INVALID_PRODUCER_ID_MAPPING"));
		expect(await add(by, version, BOTH, "nobody")).toEqual(each("INVALID_PRODUCER_ID_MAPPING"));
		expect(await add(by, version, BOTH, "")).toEqual(each("INVALID_REQUEST"));
		expect(await add(by, version, [...BOTH, { name: "nope", partitions: [0] }])).toEqual([
			...each("OPERATION_NOT_ATTEMPTED"),
			"nope-0 UNKNOWN_TOPIC_OR_PARTITION",
		]);
		expect(await add(by, version, [{ name: "t", partitions: [0, 7] }])).toEqual([
			"t-0 OPERATION_NOT_ATTEMPTED",
			"t-7 UNKNOWN_TOPIC_OR_PARTITION",
		]);
		expect(await write(by, "x", 0)).toBe("INVALID_TXN_STATE");
		expect(await add(by, version)).toEqual(each("NONE"));
		expect(await add(by, version)).toEqual(each("NONE"));
		expect(await write(by, "x", 0)).toBe("NONE");
	});
});

describe.each(range(0, 4))("EndTxn %i", (version) => {
	it("ends a transaction, once more as it has ended, and not otherwise", async () => {
		const fenced = version < 2 ? "INVALID_PRODUCER_EPOCH" : "PRODUCER_FENCED";
		const by = await init("a");
		expect(await end(by, true, version)).toBe("INVALID_TXN_STATE");
		for (const [isCommit, values] of [
			[false, []],
			[true, ["1"]],
		] as const) {
			await add(by);
			await write(by, String(Number(isCommit)), Number(isCommit));
			expect(await end({ ...by, producerEpoch: 7 }, isCommit, version)).toBe(fenced);
			expect(await end({ ...by, producerId: 777 }, isCommit, version)).toBe("INVALID_PRODUCER_ID_MAPPING");
			expect(await end(by, isCommit, version, "nobody")).toBe("INVALID_PRODUCER_ID_MAPPING");
			expect(await end(by, isCommit, version)).toBe("NONE");
			expect(await end(by, isCommit, version)).toBe("NONE");
			expect(await end(by, !isCommit, version)).toBe("INVALID_TXN_STATE");
			expect(await committed()).toEqual(values);
		}
	});
});

describe.each(range(0, 4))("AddOffsetsToTxn and TxnOffsetCommit %i", (version) => {
	it("commit a group's offsets with the transaction", async () => {
		const fenced = version < 2 ? "INVALID_PRODUCER_EPOCH" : "PRODUCER_FENCED";
		const by = await init("a");
		const late = { ...by, producerEpoch: 7 };
		const { offsets } = gateway.broker.groups;
		expect(await commitOffsets(by, [{}], version)).toEqual(["t-0 INVALID_TXN_STATE"]);
		expect(await addOffsets(late, version)).toBe(fenced);
		expect(await addOffsets(by, version, "g", "nobody")).toBe("INVALID_PRODUCER_ID_MAPPING");
		expect(await addOffsets(by, version)).toBe("NONE");
		expect(await commitOffsets(late, [{}], version)).toEqual(["t-0 INVALID_PRODUCER_EPOCH"]);
		expect(await commitOffsets(by, [{ metadata: null }], version)).toEqual(["t-0 NONE"]);
		const mixed = [{}, { name: "nope" }, { index: 9 }, { index: 1, metadata: "m".repeat(5000) }];
		expect(await commitOffsets(by, mixed, version)).toEqual([
			"t-0 NONE",
			"nope-0 UNKNOWN_TOPIC_OR_PARTITION",
			"t-9 UNKNOWN_TOPIC_OR_PARTITION",
			"t-1 OFFSET_METADATA_TOO_LARGE",
		]);
		expect(await commitOffsets(late, [{ name: "nope" }], version)).toEqual(["nope-0 UNKNOWN_TOPIC_OR_PARTITION"]);
		expect(await commitOffsets(late, [{ name: "nope" }, {}], version)).toEqual([
			"nope-0 UNKNOWN_TOPIC_OR_PARTITION",
			"t-0 INVALID_PRODUCER_EPOCH",
		]);
		if (version >= 3) {
			const stranger = { generationId: 3, memberId: "nobody" };
			expect(await commitOffsets(by, [{}], version, stranger)).toEqual(["t-0 UNKNOWN_MEMBER_ID"]);
		}
		expect(offsets.fetch("g", "t", 0)).toBeUndefined();
		expect(await end(by, true)).toBe("NONE");
		expect(offsets.fetch("g", "t", 0)).toMatchObject({ offset: 5, metadata: "m" });
	});
});

describe("answers", () => {
	it("leave only when what they say is durable", async () => {
		const by = await init("a");
		await add(by);
		gateway.hold();
		wire.send(endTxn.request, 3, { transactionalId: "a", ...identity(by), committed: true });
		const { transactions } = gateway.broker;
		await expect.poll(() => transactions.describe("a")?.state).toBe("CompleteCommit");
		const other = await gateway.connect();
		// The door has had the time to answer others.
		await other.request(metadata, 1, { topics: null });
		expect(wire.answered).toBe(0);
		gateway.release();
		await expect.poll(() => wire.answered).toBe(1);
	});
});

describe("what is told of transactions", () => {
	it("is their state, time-out, partitions and producer", async () => {
		const by = await init("a");
		await init("b");
		await add(by);
		const answer = await wire.request(describeTransactions, 0, { transactionalIds: ["a", "b", "nobody", ""] });
		const open = answer.transactionStates[0];
		expect(open).toMatchObject({
			errorCode: 0,
			transactionState: "Ongoing",
			transactionTimeoutMs: 60_000,
			...identity(by),
			topics: [{ topic: "t", partitions: [0, 1] }],
		});
		expect(Math.abs(Date.now() - (open?.transactionStartTimeMs ?? 0))).toBeLessThan(60_000);
		expect(answer.transactionStates.slice(1)).toMatchObject([
			{ errorCode: 0, transactionState: "Empty", transactionStartTimeMs: -1, topics: [] },
			{ errorCode: ERROR_CODES.TRANSACTIONAL_ID_NOT_FOUND, transactionalId: "nobody" },
			{ errorCode: ERROR_CODES.INVALID_REQUEST, transactionalId: "" },
		]);
	});

	it.each([0, 1])("can be asked for by state, producer and duration (ListTransactions %i)", async (version) => {
		const by = await init("a");
		await init("b");
		await add(by);
		const list = async (filters: object) => {
			const answer = await wire.request(listTransactions, version, filters);
			return [
				answer.transactionStates.map(({ transactionalId }) => transactionalId).sort(),
				answer.unknownStateFilters,
			];
		};
		expect(await list({})).toEqual([["a", "b"], []]);
		expect(await list({ stateFilters: ["Ongoing"] })).toEqual([["a"], []]);
		expect(await list({ stateFilters: ["Foo", "Empty"] })).toEqual([["b"], ["Foo"]]);
		expect(await list({ stateFilters: ["ongoing"] })).toEqual([[], ["ongoing"]]);
		expect(await list({ stateFilters: ["Dead", "PrepareAbort", "PrepareEpochFence"] })).toEqual([[], []]);
		expect(await list({ producerIdFilters: [by.producerId] })).toEqual([["a"], []]);
		if (version > 0) expect(await list({ durationFilter: 3_600_000 })).toEqual([["b"], []]);
	});
});

function identity({ producerId, producerEpoch }: Identity): Identity {
	return { producerId, producerEpoch };
}
