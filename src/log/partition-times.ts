/** Finding records of a partition by time: its indexes, and what the object store's know, say where to begin; the records decide. */
import { forEachRecord, readBatchHeader } from "../record/batch.ts";
import type { Partition } from "./partition.ts";
import { PATIENCE_MS } from "./tier.ts";

export interface RecordTime {
	readonly offset: number;
	/** Milliseconds. */
	readonly timestamp: number;
}

/** Milliseconds that may still be waited for the object store. */
interface TimeLeft {
	readonly leftMs: number;
}

const READ_BYTES = 64 * 1024;
const UNTOLD: TimeLeft = { leftMs: PATIENCE_MS };

/** The first record whose timestamp is `timestampMs` or later; undefined if there is none. Rejects as `Partition.read` does. */
export async function offsetForTimestamp(
	partition: Partition,
	timestampMs: number,
	patience = UNTOLD,
): Promise<RecordTime | undefined> {
	const { highWatermark } = partition;
	let offset = lookUp(partition, timestampMs, partition.logStartOffset);
	while (offset < highWatermark) {
		const wasTiered = offset < partition.localStartOffset;
		const bytes = await partition.read(offset, READ_BYTES, highWatermark, undefined, patience.leftMs);
		if (bytes.length === 0) return undefined;
		for (let at = 0; at < bytes.length; ) {
			const header = readBatchHeader(bytes, at);
			const found = header.maxTimestamp < timestampMs ? undefined : firstInBatch(partition, bytes, at, timestampMs);
			if (found !== undefined) return found;
			offset = header.lastOffset + 1;
			at += header.sizeBytes;
		}
		// From the object store nothing is fetched that its index knows to be older.
		if (wasTiered) offset = lookUp(partition, timestampMs, offset);
	}
	return undefined;
}

function firstInBatch(partition: Partition, bytes: Buffer, at: number, timestampMs: number): RecordTime | undefined {
	let found: RecordTime | undefined;
	forEachRecord(bytes, at, ({ offset, timestamp }) => {
		if (found === undefined && offset >= partition.logStartOffset && timestamp >= timestampMs)
			found = { offset, timestamp };
	});
	return found;
}

/** Where to begin looking for a record of `timestampMs` or later at `from` or behind it. */
function lookUp(partition: Partition, timestampMs: number, from: number): number {
	const { localStartOffset, segments, flushedOffset } = partition;
	if (from < localStartOffset) {
		const tiered = partition.tier.lookUpTime(partition, timestampMs, from);
		if (tiered !== undefined) return Math.max(tiered, from);
	}
	return Math.max(segments.lookUpTime(timestampMs) ?? flushedOffset, localStartOffset, from);
}

/** The first of the records with the largest timestamp; undefined where none has one. Rejects as `Partition.read` does. */
export async function newestTimestamp(partition: Partition, patience = UNTOLD): Promise<RecordTime | undefined> {
	let newest = partition.tailMaxTimestamp;
	for (const segment of partition.segments.list) newest = Math.max(newest, segment.maxTimestamp);
	if (partition.logStartOffset < partition.localStartOffset)
		newest = Math.max(newest, partition.tier.maxTimestamp(partition));
	const found = newest < 0 ? undefined : await offsetForTimestamp(partition, newest, patience);
	if (found !== undefined || newest < 0) return found;
	// Its record is among those of a segment that are deleted.
	const left = await largestLeft(partition);
	return left < 0 ? undefined : offsetForTimestamp(partition, left, patience);
}

/** The largest timestamp of what is kept here, all of which is walked: the object store is too far away for that. */
async function largestLeft(partition: Partition): Promise<number> {
	const { highWatermark, localStartOffset } = partition;
	let largest = -1;
	for (let offset = localStartOffset; offset < highWatermark; ) {
		const bytes = await partition.read(offset, 4 * READ_BYTES, highWatermark);
		if (bytes.length === 0) break;
		for (let at = 0; at < bytes.length; ) {
			const header = readBatchHeader(bytes, at);
			if (header.baseOffset >= partition.logStartOffset) largest = Math.max(largest, header.maxTimestamp);
			else
				forEachRecord(bytes, at, (record) => {
					if (record.offset >= partition.logStartOffset) largest = Math.max(largest, record.timestamp);
				});
			offset = header.lastOffset + 1;
			at += header.sizeBytes;
		}
	}
	return largest;
}
