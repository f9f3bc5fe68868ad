/** From a snapshot and the bundles to the topics of a restored gateway, and the ranges that their partitions are made of. */
import { BrokerError } from "../../src/base/errors.ts";
import { checkTopicName, PARTITIONS_MAX } from "../../src/broker/topics.ts";
import type { RestoredPartition, TopicRow } from "../../src/catalog/catalog.ts";
import type { NewRange } from "../../src/catalog/tier-catalog.ts";
import { checkTopicConfig } from "../../src/catalog/topic-config.ts";
import { LeaderEpochs } from "../../src/log/leader-epochs.ts";
import type { AbortedTransaction } from "../../src/log/partition-transactions.ts";
import type { BundleTopic } from "../bundle/footer.ts";
import type { ReadBundle, ReadRange } from "./read-footers.ts";
import { type Hole, planPartition } from "./restore-plan.ts";
import type { Snapshot, SnapshotPartition, SnapshotTopic } from "./snapshot.ts";

export interface PlannedPartition extends RestoredPartition {
	readonly aborted: readonly AbortedTransaction[];
}

export interface LogPlan {
	readonly topics: readonly (TopicRow & { readonly partitions: readonly PlannedPartition[] })[];
	/** In the order in which they were written, with the ranges that count. */
	readonly bundles: readonly (ReadBundle & { readonly chosen: readonly NewRange[] })[];
	readonly holes: readonly (Hole & { readonly topic: string; readonly partition: number })[];
	/** What could not be taken as it was, a line each. */
	readonly notes: readonly string[];
}

/**
 * `bundles`: in the order in which they were written; undefined for one that is damaged. `snapshotIndex`: that of the one that
 * has `snapshot`; those behind it may know of topics and partitions that were made later. `newEpoch`: as in planPartition.
 * Throws BrokerError where a name or a number is not one that a gateway has.
 */
export function planLog(
	snapshot: Snapshot,
	bundles: readonly (ReadBundle | undefined)[],
	snapshotIndex: number,
	newEpoch: number,
): LogPlan {
	const notes: string[] = [];
	const known = new KnownTopics(snapshot.topics);
	for (const bundle of bundles.slice(snapshotIndex + 1)) if (bundle !== undefined) known.add(bundle);
	const found = new Map<string, ReadRange[]>();
	for (const bundle of bundles) {
		for (const range of bundle?.ranges ?? []) {
			const key = `${range.topicId} ${range.partition}`;
			const ofPartition = found.get(key);
			if (ofPartition === undefined) found.set(key, [range]);
			else ofPartition.push(range);
		}
	}
	const chosen = new Map<ReadRange, number>();
	const holes: (Hole & { topic: string; partition: number })[] = [];
	const topics = known.list().map(({ id, name, createdMs, config, partitions }) => {
		checkTopicName(name);
		if (partitions.length === 0 || partitions.length > PARTITIONS_MAX)
			throw new BrokerError("INVALID_PARTITIONS", `topic ${name} has ${partitions.length} partitions`);
		const planned = partitions.map((partition) => {
			const plan = planPartition(partition, found.get(`${id} ${partition.number}`) ?? [], newEpoch);
			for (const range of plan.ranges) chosen.set(range, partition.id);
			for (const hole of plan.holes) holes.push({ ...hole, topic: name, partition: partition.number });
			const { logStartOffset, endOffset, epochs, aborted } = plan;
			return { id: partition.id, number: partition.number, logStartOffset, endOffset, epochs: epochs.list, aborted };
		});
		return { id, name, createdMs, config: knownConfig(name, config, notes), partitions: planned };
	});
	return {
		topics,
		bundles: bundles.flatMap((bundle) => (bundle === undefined ? [] : { ...bundle, chosen: chosenOf(bundle, chosen) })),
		holes,
		notes,
	};
}

/** Under the ids that the partitions have. */
function chosenOf({ ranges }: ReadBundle, chosen: ReadonlyMap<ReadRange, number>): NewRange[] {
	return ranges.flatMap((range) => {
		const partitionId = chosen.get(range);
		if (partitionId === undefined) return [];
		const { baseOffset, nextOffset, storedBytes, rawBytes, maxTimestamp, blocks } = range;
		return { partitionId, baseOffset, nextOffset, storedBytes, rawBytes, maxTimestamp, blocks };
	});
}

/** A newer program may have had settings that this one does not know. */
function knownConfig(topic: string, config: Readonly<Record<string, string>>, notes: string[]): Record<string, string> {
	const known: Record<string, string> = {};
	for (const [name, value] of Object.entries(config)) {
		try {
			Object.assign(known, checkTopicConfig({ [name]: value }));
		} catch (error) {
			if (!(error instanceof BrokerError)) throw error;
			notes.push(`topic ${topic}: ${name} is left out: ${error.message}`);
		}
	}
	return known;
}

/** Those of the snapshot, and what newer bundles know. */
class KnownTopics {
	readonly #byName = new Map<string, SnapshotTopic & { readonly partitions: SnapshotPartition[] }>();
	readonly #ids = new Set<number>();
	#largestId = 0;

	constructor(topics: readonly SnapshotTopic[]) {
		for (const topic of topics) {
			this.#byName.set(topic.name, { ...topic, partitions: [...topic.partitions] });
			for (const { id } of topic.partitions) this.#take(id);
		}
	}

	list(): SnapshotTopic[] {
		return [...this.#byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
	}

	add({ topics, ranges, createdMs }: ReadBundle): void {
		for (const topic of topics) {
			const partitions = this.#of(topic, createdMs);
			while (partitions.length < Math.min(topic.partitions, PARTITIONS_MAX)) {
				const number = partitions.length;
				const range = ranges.find(({ topicId, partition }) => topicId === topic.id && partition === number);
				const places = { number, logStartOffset: 0, tieredOffset: 0, endOffset: 0, epochs: LeaderEpochs.FIRST.list };
				partitions.push({ id: this.#take(range?.partitionId), ...places });
			}
		}
	}

	/** Where there was another topic of that name, that was deleted. */
	#of({ id, name, config }: BundleTopic, createdMs: number): SnapshotPartition[] {
		const known = this.#byName.get(name);
		if (known?.id === id) return known.partitions;
		const partitions: SnapshotPartition[] = [];
		this.#byName.set(name, { id, name, createdMs: Math.max(0, createdMs), config, partitions });
		return partitions;
	}

	/** `wanted`, if nobody has it, else one that nobody has. */
	#take(wanted: number | undefined): number {
		const id = wanted === undefined || this.#ids.has(wanted) ? this.#largestId + 1 : wanted;
		this.#ids.add(id);
		this.#largestId = Math.max(this.#largestId, id);
		return id;
	}
}
