/** What `verify` looks for in a segment's indexes: entries that do not lead to the batch they name, and the like. */
import type { Disk } from "../base/disk.ts";
import { DamageError } from "../base/errors.ts";
import type { SegmentExtent } from "../catalog/partition-rows.ts";
import { INDEX_ENTRY_BYTES, readTimestamp, type Segment, TIME_ENTRY_BYTES } from "./segment.ts";

/**
 * Index entries that do not lead to the batch they name, and the like; for `verify`. `state` for the active
 * segment: only entries as of the checkpoint count, and it has no last timestamp yet.
 */
export function* indexProblems(
	disk: Disk,
	segment: Segment,
	batches: ReadonlyMap<number, { lastOffset: number; maxTimestamp: number }>,
	state: SegmentExtent | undefined,
): Generator<DamageError> {
	const { offsets, times } = segment.indexes;
	for (const [file, least] of [
		[offsets, state?.indexEntries],
		[times, state?.timeIndexEntries],
	] as const) {
		if (!disk.exists(file.path)) yield new DamageError(file.path, 0, "the file is missing");
		else if (least !== undefined && file.count < least)
			yield new DamageError(file.path, file.sizeBytes, `${file.count} entries; at the last checkpoint it had ${least}`);
	}
	const maxTimestamps = new Map<number, number>();
	for (const { lastOffset, maxTimestamp } of batches.values()) maxTimestamps.set(lastOffset, maxTimestamp);
	let before = -1;
	for (let i = 0; i < Math.min(offsets.count, state?.indexEntries ?? Number.POSITIVE_INFINITY); i++) {
		const entry = offsets.at(i);
		const lastOffset = segment.baseOffset + entry.readUInt32BE(0);
		const position = entry.readUInt32BE(4);
		const at = i * INDEX_ENTRY_BYTES;
		if (lastOffset <= before) yield new DamageError(offsets.path, at, "offsets do not rise");
		if (batches.get(position)?.lastOffset !== lastOffset)
			yield new DamageError(offsets.path, at, `no batch at ${position} ends with offset ${lastOffset}`);
		before = lastOffset;
	}
	let timeBefore = -1;
	for (let i = 0; i < Math.min(times.count, state?.timeIndexEntries ?? Number.POSITIVE_INFINITY); i++) {
		const entry = times.at(i);
		const timestamp = readTimestamp(entry);
		const offset = segment.baseOffset + entry.readUInt32BE(8);
		const at = i * TIME_ENTRY_BYTES;
		if (timestamp <= timeBefore) yield new DamageError(times.path, at, "timestamps do not rise");
		if (maxTimestamps.get(offset) !== timestamp)
			yield new DamageError(times.path, at, `no batch that ends with offset ${offset} has timestamp ${timestamp}`);
		timeBefore = timestamp;
	}
	if (state !== undefined) return;
	let largest = -1;
	for (const { maxTimestamp } of batches.values()) largest = Math.max(largest, maxTimestamp);
	if (disk.exists(times.path) && timeBefore < largest)
		yield new DamageError(
			times.path,
			times.sizeBytes,
			`it ends with timestamp ${timeBefore}; the segment has ${largest}`,
		);
	for (const { path, size, entry } of [
		{ path: offsets.path, size: disk.fileSize(offsets.path) ?? 0, entry: INDEX_ENTRY_BYTES },
		{ path: times.path, size: disk.fileSize(times.path) ?? 0, entry: TIME_ENTRY_BYTES },
	])
		if (size % entry !== 0) yield new DamageError(path, size - (size % entry), "ends within an entry");
}
