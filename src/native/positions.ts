/** From what a client names (earliest, latest, an offset, a time) to offsets, for subscribe and offsets. */

import type { Clock } from "../base/clock.ts";
import { BrokerError } from "../base/errors.ts";
import { Patience } from "../base/patience.ts";
import type { Topic } from "../broker/topics.ts";
import type { Partition } from "../log/partition.ts";
import { offsetForTimestamp, type RecordTime } from "../log/partition-times.ts";
import { comesLater } from "../log/tier.ts";
import { POSITION } from "./codec/protocol.ts";
import { TIERED_RETRY_MS } from "./tiered-turns.ts";

export type Position = readonly [
	kind: number,
	value?: number | readonly (readonly [partition: number, offset: number])[],
];

/** The first record of a partition of that time or later. */
export type FindTime = (partition: Partition, timestampMs: number) => Promise<RecordTime | undefined>;

/** How long one look for a time waits for the object store: less than clients wait for an answer by default. */
const LOOK_MS = 5_000;

/** Rejects with OFFSET_NOT_AVAILABLE and KAFKA_STORAGE_ERROR where the object store does not tell in time. */
export function findTime(clock: Clock): FindTime {
	return (partition, timestampMs) => offsetForTimestamp(partition, timestampMs, new Patience(clock, LOOK_MS));
}

/** Waits for the object store as long as it takes, while `isWanted`. */
export function findTimePatiently(clock: Clock, isWanted: () => boolean): FindTime {
	return async (partition, timestampMs) => {
		for (;;) {
			const patience = new Patience(clock, LOOK_MS);
			try {
				return await offsetForTimestamp(partition, timestampMs, patience);
			} catch (error) {
				if (!comesLater(error) || !isWanted()) throw error;
				if (!patience.isSpent) await new Promise<void>((resolve) => clock.after(TIERED_RETRY_MS, resolve));
			}
		}
	};
}

export function partitionOf(topic: Topic, number: number): Partition {
	const partition = topic.partitions[number];
	if (partition !== undefined) return partition;
	throw new BrokerError(
		"UNKNOWN_TOPIC_OR_PARTITION",
		`topic ${topic.name} has partitions 0 to ${topic.partitions.length - 1}, not ${number}`,
	);
}

/** Each partition's offset; at once but for a time. Latest is the durable end at the moment of the call. */
export function resolve(
	partitions: readonly Partition[],
	position: Position,
	find: FindTime,
): number[] | Promise<number[]> {
	const [kind, value] = position;
	if (kind === POSITION.EARLIEST) return partitions.map((partition) => partition.logStartOffset);
	if (kind === POSITION.LATEST) return partitions.map((partition) => partition.lastStableOffset);
	if (kind === POSITION.OFFSET) {
		const offset = value as number;
		return partitions.map((partition) =>
			Math.min(Math.max(offset, partition.logStartOffset), partition.lastStableOffset),
		);
	}
	if (kind === POSITION.TIMESTAMP) {
		return Promise.all(
			partitions.map(async (partition) => {
				const found = await find(partition, value as number);
				return Math.min(found?.offset ?? partition.lastStableOffset, partition.lastStableOffset);
			}),
		);
	}
	const given = new Map(value as readonly (readonly [number, number])[]);
	return partitions.map((partition) => checkOffset(partition, given.get(partition.number) ?? partition.logStartOffset));
}

function checkOffset(partition: Partition, offset: number): number {
	if (offset >= partition.logStartOffset && offset <= partition.lastStableOffset) return offset;
	const what =
		offset < partition.logStartOffset
			? `offsets ${offset} to ${partition.logStartOffset - 1} of ${partition.topic}-${partition.number} are no longer stored`
			: `${partition.topic}-${partition.number} ends at offset ${partition.lastStableOffset}, before ${offset}`;
	throw new BrokerError("OFFSET_OUT_OF_RANGE", what);
}
