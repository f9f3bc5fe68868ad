/** Where a record goes in the central cluster, and how large a batch of them may become. */
import type { RecordView } from "../../../src/record/batch.ts";
import { partitionForKey } from "../../../src/record/partitioner.ts";

/** A topic of the central cluster. */
export interface Target {
	readonly topic: string;
	readonly partitions: number;
	/** `key`: as Kafka's default partitioner does it, so that a key's order holds there; `same`: by the number it has here. */
	readonly partitioner: "key" | "same";
}

/** Of one batch. */
export interface Limits {
	/** Before compression, its header included; a longer record is a batch of its own. */
	readonly batchBytes: number;
	readonly recordsMax: number;
}

/** The partition there of a record that is in partition `local` here. */
export function targetPartition({ partitioner, partitions }: Target, local: number, view: RecordView): number {
	// What has no key has no order but its partition's: it stays together.
	if (partitioner === "same" || view.keyStart < 0) return local % partitions;
	return partitions === 1 ? 0 : partitionForKey(view.source, partitions, view.keyStart, view.keyEnd);
}
