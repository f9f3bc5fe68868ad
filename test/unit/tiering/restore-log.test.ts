/** From a snapshot and bundles to topics: what newer bundles know, what nobody may be given, what is left out. */
import { describe, expect, it } from "vitest";
import { LeaderEpochs } from "../../../src/log/leader-epochs.ts";
import type { ReadBundle } from "../../../tiering/restore/read-footers.ts";
import { planLog } from "../../../tiering/restore/restore-log.ts";
import type { Snapshot, SnapshotTopic } from "../../../tiering/restore/snapshot.ts";

const A = "3f0c1a52-8d9e-4f3b-9a51-0c6f2f6d7e11";
const B = "4f0c1a52-8d9e-4f3b-9a51-0c6f2f6d7e22";

const topicOf = (id: string, name: string, partitionIds: readonly number[], config = {}): SnapshotTopic => ({
	id,
	name,
	createdMs: 1,
	config,
	partitions: partitionIds.map((partitionId, number) => ({
		id: partitionId,
		number,
		logStartOffset: 0,
		tieredOffset: 0,
		endOffset: 0,
		epochs: LeaderEpochs.FIRST.list,
	})),
});

const snapshotOf = (...topics: SnapshotTopic[]): Snapshot => ({
	gateway: "g",
	incarnation: 1,
	takenMs: 1,
	writer: "w",
	scheduleMs: 1,
	meta: new Map(),
	topics,
	rows: [],
	leftOut: new Map(),
});

function bundleOf(
	sequence: number,
	topics: ReadBundle["topics"],
	...ranges: [topicId: string, partition: number, partitionId: number, baseOffset: number, nextOffset: number][]
): ReadBundle {
	return {
		key: `bundle-${sequence}`,
		identity: { gateway: "g", incarnation: 1, sequence, attempt: "00000000" },
		sizeBytes: 100,
		createdMs: 77,
		topics,
		snapshot: undefined,
		ranges: ranges.map(([topicId, partition, partitionId, baseOffset, nextOffset]) => ({
			...{ topicId, partition, partitionId, baseOffset, nextOffset },
			...{ storedBytes: 10, rawBytes: 20, maxTimestamp: 5, blocks: Buffer.of(sequence) },
			epochs: [{ epoch: 0, startOffset: baseOffset }],
			aborted: [],
		})),
	};
}

describe("topics", () => {
	it("are those of the snapshot: older bundles know of deleted ones", () => {
		const old = bundleOf(1, [{ id: B, name: "b", partitions: 1, config: {} }], [B, 0, 9, 0, 5], [A, 0, 1, 0, 5]);
		const plan = planLog(snapshotOf(topicOf(A, "a", [1, 2])), [old], 0, 1);
		expect(plan.topics.map(({ id, partitions }) => [id, partitions.map((each) => each.id)])).toEqual([[A, [1, 2]]]);
		expect(plan.bundles[0]?.chosen).toMatchObject([{ partitionId: 1, baseOffset: 0, nextOffset: 5 }]);
	});

	it("and partitions that newer bundles know are there too, under the ids that they had where nobody else has those", () => {
		const newer = bundleOf(
			2,
			[
				{ id: A, name: "a", partitions: 3, config: {} },
				{ id: B, name: "b", partitions: 2, config: { "retention.ms": "5" } },
			],
			[A, 2, 30, 0, 4],
			[B, 1, 1, 0, 6],
		);
		const plan = planLog(snapshotOf(topicOf(A, "a", [1, 2])), [bundleOf(1, []), newer], 0, 1);
		expect(plan.topics).toMatchObject([
			{ id: A, partitions: [{ id: 1 }, { id: 2 }, { id: 30, endOffset: 4 }] },
			{ id: B, createdMs: 77, config: { "retention.ms": "5" }, partitions: [{ id: 31 }, { id: 32, endOffset: 6 }] },
		]);
		expect(plan.bundles[1]?.chosen.map(({ partitionId }) => partitionId)).toEqual([30, 32]);
	});

	it("that were deleted and made anew since the snapshot are the new ones", () => {
		const newer = bundleOf(2, [{ id: B, name: "a", partitions: 1, config: {} }], [B, 0, 5, 0, 4]);
		const plan = planLog(snapshotOf(topicOf(A, "a", [1])), [bundleOf(1, [], [A, 0, 1, 0, 9]), newer], 0, 1);
		expect(plan.topics).toMatchObject([{ id: B, name: "a", partitions: [{ id: 5, endOffset: 4 }] }]);
		expect(plan.bundles.map(({ chosen }) => chosen.length)).toEqual([0, 1]);
	});

	it("with settings that this program does not know have the others, and it is said", () => {
		const config = { "retention.ms": "5", "colour.of.bytes": "blue" };
		const { topics, notes } = planLog(snapshotOf(topicOf(A, "a", [1], config)), [undefined], 0, 1);
		expect(topics[0]?.config).toEqual({ "retention.ms": "5" });
		expect(notes).toHaveLength(1);
		expect(notes[0]).toMatch(/topic a: colour\.of\.bytes is left out/);
	});

	it.each(["../../etc", "..", "a/b", ""])("with a name that is none are refused: %j", (name) => {
		expect(() => planLog(snapshotOf(topicOf(A, name, [1])), [], 0, 1)).toThrow(/is no topic name/);
	});

	it("with no partition, or very many, are refused", () => {
		expect(() => planLog(snapshotOf(topicOf(A, "a", [])), [], 0, 1)).toThrow(/0 partitions/);
		const many = Array.from({ length: 10_001 }, (_, i) => i + 1);
		expect(() => planLog(snapshotOf(topicOf(A, "a", many)), [], 0, 1)).toThrow(/10001 partitions/);
	});
});

it("holes are of partitions that there are", () => {
	const bundles = [
		bundleOf(1, [], [A, 0, 1, 0, 5], [B, 0, 2, 0, 5]),
		undefined,
		bundleOf(3, [], [A, 0, 1, 8, 9], [B, 0, 2, 8, 9]),
	];
	const plan = planLog(snapshotOf(topicOf(A, "a", [1])), bundles, 2, 1);
	expect(plan.holes).toEqual([{ topic: "a", partition: 0, from: 5, to: 8 }]);
	expect(plan.bundles.map(({ key }) => key)).toEqual(["bundle-1", "bundle-3"]);
});
