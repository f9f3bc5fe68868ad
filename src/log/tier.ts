/**
 * What tiering adds to a log: records that have left a partition's own files are read from the object store. The log
 * only declares it; tiering implements it.
 */
import type { TakeBuffer } from "../base/buffer-pool.ts";
import type { Partition } from "./partition.ts";

export interface Tier {
	/**
	 * Whole sound batches from the one that holds `offset`, or where there is none the first behind it: at least one, else
	 * at most `maxBytes`. `offset` lies before the partition's local start. Rejects with OFFSET_NOT_AVAILABLE when they are not
	 * here after `patienceMs` and are still being fetched; with KAFKA_STORAGE_ERROR when the store cannot be reached, or what
	 * it has is damaged. After both the same may be asked for again: nothing may be passed over because of them.
	 */
	read(partition: Partition, offset: number, maxBytes: number, patienceMs: number, take?: TakeBuffer): Promise<Buffer>;
	/**
	 * Where to begin looking for a record of `timestampMs` or later at `from` or behind it, as far as the partition's local
	 * start; undefined when there is none before that.
	 */
	lookUpTime(partition: Partition, timestampMs: number, from: number): number | undefined;
	/** The largest timestamp of a record before the partition's local start; -1 where there is none. */
	maxTimestamp(partition: Partition): number;
}

/** How long a reader waits for the object store that does not say, milliseconds. */
export const PATIENCE_MS = 30_000;
