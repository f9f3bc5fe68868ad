/** ListOffsets, OffsetForLeaderEpoch, DeleteRecords and DescribeProducers over sockets. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { listOffsets } from "../../../src/kafka/handlers/02-list-offsets.ts";
import { deleteRecords } from "../../../src/kafka/handlers/21-delete-records.ts";
import { offsetForLeaderEpoch } from "../../../src/kafka/handlers/23-offset-for-leader-epoch.ts";
import { describeProducers } from "../../../src/kafka/handlers/61-describe-producers.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";
import { batchOf, record } from "../../support/producer-batches.ts";
import { fetchFrom, offsetsOf, produceTo, store, valuesIn } from "./records.ts";

let gateway: KafkaGateway;
let wire: KafkaWire;

beforeEach(async () => {
	gateway = await KafkaGateway.start();
	gateway.broker.topics.create({ name: "t", partitions: 2 });
	wire = await gateway.connect();
});
afterEach(() => gateway.stop());

const at = (...timestamps: number[]) => timestamps.map((timestamp) => record("v", { timestamp }));

describe("ListOffsets", () => {
	it("knows latest, earliest and the largest timestamp, each from its version on", async () => {
		await store(wire, "t", 0, at(100, 400, 200));
		await store(wire, "t", 0, at(300, 400));
		const unsupported = [35, -1, -1];
		for (let version = 1; version <= 9; version++) {
			expect(await offsetsOf(wire, "t", 0, [-1, -2, -3, -4, -5, -6, -99], version)).toEqual([
				[0, 5, -1],
				[0, 0, -1],
				version >= 7 ? [0, 1, 400] : unsupported,
				version >= 8 ? [0, 0, -1] : unsupported,
				version >= 9 ? [0, -1, -1] : unsupported,
				unsupported,
				unsupported,
			]);
		}
	});

	it("finds the first record at or after a time", async () => {
		await store(wire, "t", 0, at(100, 400, 200));
		await store(wire, "t", 0, at(300, 500));
		for (const flushed of [false, true]) {
			if (flushed) gateway.broker.log.flush();
			expect(await offsetsOf(wire, "t", 0, [0, 100, 101, 400, 401, 500, 501])).toEqual([
				[0, 0, 100],
				[0, 0, 100],
				[0, 1, 400],
				[0, 1, 400],
				[0, 4, 500],
				[0, 4, 500],
				[0, -1, -1],
			]);
		}
	});

	it("of an empty partition says 0 and 0, and knows no time", async () => {
		const answers = await offsetsOf(wire, "t", 1, [-1, -2, -3, 0]);
		expect(answers.map(([, offset]) => offset)).toEqual([0, 0, -1, -1]);
	});

	it("has the last stable offset for who reads committed records, and finds nothing behind it", async () => {
		const partition = gateway.broker.topics.get("t")?.partitions[0];
		await store(wire, "t", 0, at(100));
		if (partition === undefined) throw new Error("no partition");
		gateway.broker.producers.transactions = { holds: () => true };
		const { produce } = await import("../../../src/kafka/handlers/00-produce.ts");
		const batch = batchOf(at(200), { producerId: 1, producerEpoch: 0, baseSequence: 0, isTransactional: true });
		const topicData = [{ name: "t", partitionData: [{ index: 0, records: batch }] }];
		await wire.request(produce, 9, { transactionalId: "x", acks: -1, timeoutMs: 1, topicData });
		expect((await offsetsOf(wire, "t", 0, [-1, 150, -3], 9, 0)).map(([, offset]) => offset)).toEqual([2, 1, 1]);
		expect((await offsetsOf(wire, "t", 0, [-1, 150, 50], 9, 1)).map(([, offset]) => offset)).toEqual([1, -1, 0]);
	});

	it("answers each partition's own error, and a partition that comes twice with INVALID_REQUEST", async () => {
		const { topics } = await wire.request(listOffsets, 9, {
			replicaId: -1,
			topics: [
				{ name: "t", partitions: [0, 1, 0, 5].map((partitionIndex) => ({ partitionIndex, timestamp: -1 })) },
				{ name: "u", partitions: [{ partitionIndex: 0, timestamp: -1 }] },
				{ name: "t", partitions: [{ partitionIndex: 0, timestamp: -1, currentLeaderEpoch: 1 }] },
			],
		});
		const errors = topics.map(({ partitions }) => partitions.map(({ errorCode }) => errorCode));
		expect(errors).toEqual([[42, 0, 42, 3], [3], [75]]);
	});
});

describe("DeleteRecords", () => {
	const deleteBefore = async (offset: number, partitionIndex = 0, name = "t") => {
		const { topics } = await wire.request(deleteRecords, 2, {
			timeoutMs: 1000,
			topics: [{ name, partitions: [{ partitionIndex, offset }] }],
		});
		const [answer] = topics[0]?.partitions ?? [];
		return [answer?.errorCode, answer?.lowWatermark];
	};

	it("moves the log's start, never back, and not beyond what is durable", async () => {
		await store(wire, "t", 0, ["a", "b", "c", "d"]);
		expect(await deleteBefore(2)).toEqual([0, 2]);
		expect(await deleteBefore(1)).toEqual([0, 2]);
		expect(await deleteBefore(5)).toEqual([1, -1]);
		expect(await deleteBefore(-2)).toEqual([1, -1]);
		expect(await deleteBefore(1, 9)).toEqual([3, -1]);
		const [below, from] = await fetchFrom(wire, "t", [
			{ partition: 0, fetchOffset: 1 },
			{ partition: 0, fetchOffset: 2 },
		]);
		expect([below?.errorCode, from?.logStartOffset]).toEqual([1, 2]);
		expect(valuesIn(from?.records ?? null).slice(2)).toEqual(["2 c", "3 d"]);
		expect(await deleteBefore(-1)).toEqual([0, 4]);
		expect(await offsetsOf(wire, "t", 0, [-2, -1, -3, 0])).toEqual([
			[0, 4, -1],
			[0, 4, -1],
			[0, -1, -1],
			[0, -1, -1],
		]);
	});

	it("is refused where a topic is compacted only, and survives kill -9 where it was not", async () => {
		gateway.broker.topics.create({ name: "c", config: { "cleanup.policy": "compact" } });
		await store(wire, "c", 0, ["a"]);
		expect(await deleteBefore(1, 0, "c")).toEqual([44, -1]);
		await store(wire, "t", 0, ["a", "b"]);
		await deleteBefore(1);
		await gateway.kill();
		await gateway.start();
		wire = await gateway.connect();
		expect((await offsetsOf(wire, "t", 0, [-2, -1])).map(([, offset]) => offset)).toEqual([1, 2]);
	});
});

it("OffsetForLeaderEpoch knows the one epoch that there is", async () => {
	await store(wire, "t", 0, ["a", "b"]);
	const asked = [
		{ partition: 0, leaderEpoch: 0 },
		{ partition: 0, leaderEpoch: 5 },
		{ partition: 0, leaderEpoch: -1 },
		{ partition: 0, leaderEpoch: 0, currentLeaderEpoch: 4 },
		{ partition: 9, leaderEpoch: 0 },
	];
	for (let version = 2; version <= 4; version++) {
		const value = { replicaId: -1, topics: [{ topic: "t", partitions: asked }] };
		const { topics } = await wire.request(offsetForLeaderEpoch, version, value);
		expect(topics[0]?.partitions.map((one) => [one.errorCode, one.leaderEpoch, one.endOffset])).toEqual([
			[0, 0, 2],
			[0, -1, -1],
			[0, -1, -1],
			[75, -1, -1],
			[3, -1, -1],
		]);
	}
});

it("DescribeProducers names who has written to a partition", async () => {
	await produceTo(wire, "t", [[1, batchOf(["a", "b"], { producerId: 12, producerEpoch: 3, baseSequence: 8 })]]);
	const { topics } = await wire.request(describeProducers, 0, { topics: [{ name: "t", partitionIndexes: [1, 7] }] });
	expect(topics[0]?.partitions).toMatchObject([
		{
			partitionIndex: 1,
			errorCode: 0,
			activeProducers: [{ producerId: 12, producerEpoch: 3, lastSequence: 9, currentTxnStartOffset: -1 }],
		},
		{ partitionIndex: 7, errorCode: 3, activeProducers: [] },
	]);
});
