/** A partition that was restored, over sockets: the epochs that it tells, and what becomes of a client that has read what is gone. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { ERROR_CODES } from "../../../src/base/errors.ts";
import { Catalog } from "../../../src/catalog/catalog.ts";
import { listOffsets } from "../../../src/kafka/handlers/02-list-offsets.ts";
import { metadata } from "../../../src/kafka/handlers/03-metadata.ts";
import { offsetForLeaderEpoch } from "../../../src/kafka/handlers/23-offset-for-leader-epoch.ts";
import { readBatchHeader } from "../../../src/record/batch.ts";
import { EMPTY_HEADERS_BLOCK, NULL_KEY_BLOCK } from "../../../src/record/builder.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";
import { fetchFrom, store, valuesIn } from "./records.ts";

const { FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, OFFSET_OUT_OF_RANGE } = ERROR_CODES;
const TOPIC = { id: "3f0c1a52-8d9e-4f3b-9a51-0c6f2f6d7e11", name: "t", createdMs: 1, config: {} };
/** Restored twice: at offset 3, and then, when nothing later had been stored, at offset 5. */
const EPOCHS = [
	{ epoch: 0, startOffset: 0 },
	{ epoch: 1, startOffset: 3 },
	{ epoch: 4, startOffset: 5 },
];

let gateway: KafkaGateway;
let wire: KafkaWire;

function restoredCatalog(): Buffer {
	let takeImage: (() => Buffer) | undefined;
	const onCommit = (take: () => Buffer): void => {
		takeImage = take;
	};
	const catalog = new Catalog({ image: undefined, onCommit });
	const partitions = [
		{ id: 7, number: 0, logStartOffset: 1, endOffset: 5, epochs: EPOCHS },
		{ id: 9, number: 1, logStartOffset: 0, endOffset: 0, epochs: [] },
	];
	catalog.restoreTopics([{ ...TOPIC, partitions }]);
	const image = takeImage?.();
	catalog.close();
	return image as Buffer;
}

beforeEach(async () => {
	gateway = await KafkaGateway.start({ catalogImage: restoredCatalog() });
	wire = await gateway.connect();
});
afterEach(() => gateway.stop());

const errors = (answers: readonly { errorCode: number }[]) => answers.map(({ errorCode }) => errorCode);

it("Metadata tells the newest epoch of each partition", async () => {
	for (const version of [7, 9, 12]) {
		const { topics } = await wire.request(metadata, version, { topics: [{ name: "t" }] });
		expect(topics[0]?.partitions.map(({ leaderEpoch }) => leaderEpoch)).toEqual([4, 0]);
	}
});

it("what is stored now has the newest epoch, by every way, after a restart too", async () => {
	await store(wire, "t", 0, ["a"]);
	const partition = gateway.broker.topics.get("t")?.partitions[0];
	const value = Buffer.from("b");
	partition?.appendRecord(9, NULL_KEY_BLOCK, value, 0, 1, EMPTY_HEADERS_BLOCK);
	await gateway.broker.log.whenCommitted();
	await store(wire, "t", 1, ["c"]);
	await gateway.kill();
	await gateway.start();
	wire = await gateway.connect();
	await store(wire, "t", 0, ["d"]);
	const answers = await fetchFrom(wire, "t", [
		{ partition: 0, fetchOffset: 5 },
		{ partition: 1, fetchOffset: 0 },
	]);
	const epochs = answers.map(({ records }) => {
		const found: number[] = [];
		for (let at = 0; records !== null && at < records.length; ) {
			const { leaderEpoch, sizeBytes } = readBatchHeader(records, at);
			found.push(leaderEpoch);
			at += sizeBytes;
		}
		return found;
	});
	expect(epochs).toEqual([[4, 4, 4], [0]]);
	expect(valuesIn(answers[0]?.records ?? null)).toEqual(["5 a", "6 b", "7 d"]);
});

it("OffsetForLeaderEpoch tells where each epoch ended", async () => {
	await store(wire, "t", 0, ["a", "b"]);
	const asked = [0, 1, 2, 3, 4, 5, -1].map((leaderEpoch) => ({ partition: 0, leaderEpoch }));
	const { topics } = await wire.request(offsetForLeaderEpoch, 4, { topics: [{ topic: "t", partitions: asked }] });
	expect(topics[0]?.partitions.map((one) => [one.errorCode, one.leaderEpoch, one.endOffset])).toEqual([
		[0, 0, 3],
		[0, 1, 5],
		[0, 1, 5],
		[0, 1, 5],
		[0, 4, 7],
		[0, -1, -1],
		[0, -1, -1],
	]);
});

it("ListOffsets tells the epoch of the record", async () => {
	// The object store has none with a time.
	gateway.broker.log.tier = {
		read: () => Promise.reject(new Error("nothing is to be read there")),
		lookUpTime: () => undefined,
		maxTimestamp: () => -1,
	};
	await store(wire, "t", 0, ["a"]);
	const ask = async (timestamp: number) => {
		const partitions = [{ partitionIndex: 0, timestamp }];
		const { topics } = await wire.request(listOffsets, 9, { replicaId: -1, topics: [{ name: "t", partitions }] });
		const [answer] = topics[0]?.partitions ?? [];
		return [answer?.offset, answer?.leaderEpoch];
	};
	expect(await ask(-2)).toEqual([1, 0]);
	expect(await ask(-1)).toEqual([6, 4]);
	expect(await ask(-3)).toEqual([5, 4]);
});

it("a client that knows an older epoch, or one that is still to come, is told so by every API that it tells it to", async () => {
	await store(wire, "t", 0, ["a"]);
	const claimed = [3, 4, 5];
	const expected = [FENCED_LEADER_EPOCH, 0, UNKNOWN_LEADER_EPOCH];
	for (const [i, currentLeaderEpoch] of claimed.entries()) {
		const known = { partition: 0, currentLeaderEpoch };
		expect(errors(await fetchFrom(wire, "t", [{ ...known, fetchOffset: 5 }]))).toEqual([expected[i]]);
		const byEpoch = await wire.request(offsetForLeaderEpoch, 3, {
			topics: [{ topic: "t", partitions: [{ ...known, leaderEpoch: 0 }] }],
		});
		expect(errors(byEpoch.topics[0]?.partitions ?? [])).toEqual([expected[i]]);
		const byTime = await wire.request(listOffsets, 9, {
			replicaId: -1,
			topics: [{ name: "t", partitions: [{ partitionIndex: 0, currentLeaderEpoch, timestamp: -1 }] }],
		});
		expect(errors(byTime.topics[0]?.partitions ?? [])).toEqual([expected[i]]);
	}
});

it("who has read records that were not restored is told where the logs part", async () => {
	await store(wire, "t", 0, ["a", "b", "c", "d"]);
	const at = (fetchOffset: number, lastFetchedEpoch: number) => ({ partition: 0, fetchOffset, lastFetchedEpoch });
	const answers = await fetchFrom(wire, "t", [
		// Read on in epoch 1, beyond what came back.
		at(8, 1),
		// In an epoch of which nothing came back.
		at(5, 2),
		at(5, 1),
		at(6, 4),
		at(6, 5),
		at(0, 0),
	]);
	expect(errors(answers)).toEqual([0, 0, 0, 0, OFFSET_OUT_OF_RANGE, OFFSET_OUT_OF_RANGE]);
	expect(answers.map(({ divergingEpoch }) => divergingEpoch)).toEqual([
		{ epoch: 1, endOffset: 5 },
		{ epoch: 1, endOffset: 5 },
		{ epoch: -1, endOffset: -1 },
		{ epoch: -1, endOffset: -1 },
		{ epoch: -1, endOffset: -1 },
		{ epoch: -1, endOffset: -1 },
	]);
	expect(answers.map(({ records }) => valuesIn(records).length > 0)).toEqual([false, false, true, true, false, false]);
});
