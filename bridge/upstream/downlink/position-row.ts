/**
 * How far each topic of the central cluster has been read, a row of the state table each. It is written in the commit of the
 * records that it is about: so a crash anywhere leaves both, or neither. JSON, written by this program alone:
 *
 *     {clusterId?, topicId, formerId?, next: [offset by partition], epochs: [leader epoch of the record before it]}
 *
 * An epoch below 0 is not known: -1, or -2 - e after the cluster has said that it has another history than what was read in
 * epoch e. Only a later one counts from then on: a cluster whose records do not agree with what it says is not asked twice.
 */
import type { Log } from "../../../src/log/log.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";

export interface PositionRow {
	/** The cluster's own id; undefined where it does not say. */
	readonly clusterId?: string | undefined;
	/** All zeros where the cluster gives its topics none. */
	readonly topicId: string;
	/** Of the topic of this name before: a broker that is behind may still tell it. */
	readonly formerId?: string | undefined;
	readonly next: readonly number[];
	readonly epochs: readonly number[];
}

export const NO_EPOCH = -1;

/** After `epoch` was found to be of another history. */
export function doubted(epoch: number): number {
	return epoch >= 0 ? -2 - epoch : epoch;
}

/** What is known when a record of `read` has been read after one of `before`. */
export function epochAfter(before: number, read: number): number {
	return before < NO_EPOCH && read <= -2 - before ? before : read;
}

/** What a partition and its commas take in a row at most. */
const PARTITION_BYTES = 17 + 11 + 2;
const ROW_BYTES = 512;

/** What `putPosition` adds to a commit at most. */
export function positionBytes(topic: string, partitions: number): number {
	return ROW_BYTES + topic.length * 3 + partitions * PARTITION_BYTES;
}

export function loadPosition(log: Log, topic: string): PositionRow | undefined {
	const row = log.getState(StateSpace.DOWNLINK, topic);
	if (row === undefined) return undefined;
	return JSON.parse(Buffer.from(row).toString("utf8")) as PositionRow;
}

/** Durable with the commit being gathered. Throws KAFKA_STORAGE_ERROR. */
export function putPosition(log: Log, topic: string, row: PositionRow): void {
	log.putState(StateSpace.DOWNLINK, topic, Buffer.from(JSON.stringify(row)));
}
