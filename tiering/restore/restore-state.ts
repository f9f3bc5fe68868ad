/**
 * The rows of state that a restored data directory begins with: those of the snapshot, as far as they are still true where
 * the newest records are missing, and the aborted transactions that the bundles know.
 */
import { decodeOffset, encodeOffset, isOffset, splitOffsetKey } from "../../src/broker/groups/offset-rows.ts";
import type { StateChange } from "../../src/catalog/catalog.ts";
import { type AbortedTransaction, abortedRows } from "../../src/log/partition-transactions.ts";
import { StateSpace } from "../../src/log/state-spaces.ts";
import type { SnapshotRow } from "./snapshot.ts";

/** What the rows are to fit. */
export interface RestoredLog {
	/** By topic's name: its id, and where each of its partitions ends. */
	readonly topics: ReadonlyMap<string, { readonly id: string; readonly endOffsets: ReadonlyMap<number, number> }>;
	readonly aborted: Iterable<{
		readonly partitionId: number;
		readonly endOffset: number;
		readonly aborted: readonly AbortedTransaction[];
	}>;
	/** Offsets count as committed then: nobody could commit while there was no gateway. */
	readonly nowMs: number;
}

const { DOWNLINK, KAFKA_GROUP, KAFKA_OFFSET, KAFKA_PRODUCER_IDS, MQTT_RETAINED, KAFKA_ABORTED_TRANSACTION } =
	StateSpace;
const PRODUCER_IDS_KEY = "next";
/** Far more producer ids than a gateway gives out between a snapshot and its end. */
const PRODUCER_IDS_AHEAD = 1_000_000_000n;

/** By space: the snapshot's rows first. */
export function* restoredState(rows: readonly SnapshotRow[], log: RestoredLog): Generator<StateChange> {
	const groups = new Set<string>();
	for (const { space, key } of rows) if (space === KAFKA_GROUP) groups.add(key);
	let nextProducerId = 0n;
	const isProducerIds = ({ key, value }: SnapshotRow) => key === PRODUCER_IDS_KEY && value.length === 8;
	for (const row of rows) {
		const { space, key, value } = row;
		if (space === KAFKA_GROUP || space === MQTT_RETAINED || space === DOWNLINK) yield { space, key, value };
		else if (space === KAFKA_OFFSET) {
			// An offset that came to be while the snapshot was taken may be without its group, which would never let go of it.
			const offset = groups.has(key.slice(0, key.indexOf("\0"))) ? restoredOffset(key, value, log) : undefined;
			if (offset !== undefined) yield { space, key, value: offset };
		} else if (space === KAFKA_PRODUCER_IDS && isProducerIds(row)) nextProducerId = value.readBigUInt64BE(0);
	}
	const value = Buffer.alloc(8);
	value.writeBigUInt64BE(nextProducerId + PRODUCER_IDS_AHEAD);
	yield { space: KAFKA_PRODUCER_IDS, key: PRODUCER_IDS_KEY, value };
	for (const { partitionId, endOffset, aborted } of log.aborted)
		for (const [key, bytes] of abortedRows(partitionId, aborted, endOffset))
			yield { space: KAFKA_ABORTED_TRANSACTION, key, value: bytes };
}

/** undefined: there is no such partition any more, or the row is not one that this program can read. */
function restoredOffset(key: string, value: Buffer, { topics, nowMs }: RestoredLog): Buffer | undefined {
	if (!isOffset(value)) return undefined;
	const stored = decodeOffset(value);
	const { topic, partition } = splitOffsetKey(key);
	const found = topics.get(topic);
	const endOffset = found?.endOffsets.get(partition);
	if (endOffset === undefined || found?.id !== stored.topicId) return undefined;
	return encodeOffset({ ...stored, offset: Math.min(stored.offset, endOffset), committedMs: nowMs });
}
