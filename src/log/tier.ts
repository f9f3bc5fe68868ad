/**
 * What tiering adds to a log: records that have left a partition's own files are read from the object store. The log
 * only declares it; tiering implements it.
 */
import type { TakeBuffer } from "../base/buffer-pool.ts";
import { BrokerError } from "../base/errors.ts";
import type { Partition } from "./partition.ts";

export interface Tier {
	/**
	 * Whole sound batches from the one that holds `offset`, or where there is none the first behind it: at least one, else
	 * at most `maxBytes`; empty where none is left before the partition's local start. `offset` lies before that. Rejects with OFFSET_NOT_AVAILABLE when they are not
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

/** Whether a read that was rejected with `error` is to be made again: what it asks for is there, and cannot be had now. */
export function comesLater(error: unknown): error is BrokerError {
	if (!(error instanceof BrokerError)) return false;
	return error.code === "OFFSET_NOT_AVAILABLE" || error.code === "KAFKA_STORAGE_ERROR";
}
