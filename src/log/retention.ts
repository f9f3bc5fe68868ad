/**
 * Retention: the oldest records of each partition go, as its configuration asks. With tiered storage there are two
 * limits: that of the whole, which moves the log start over what the object store has and over the partition's own files;
 * and that of what is kept here, which lets go of segments that the object store has. Whole segments and whole
 * ranges go, oldest first; the catalog knows the new start before anything is removed.
 */
import type { Log } from "./log.ts";
import type { Partition } from "./partition.ts";

/** Ranges looked at in one query: most are kept, and one tells. */
const RANGES_AT_ONCE = 64;

/** Throws what the catalog and the disk throw. */
export function enforceRetention(log: Log): void {
	for (const partition of log.partitions.values()) {
		const start = wholeStart(log, partition);
		if (start > partition.logStartOffset) moveLogStart(log, partition, start);
		const localStart = localStartOf(log, partition);
		if (localStart > partition.localStartOffset) moveLocalStart(log, partition, localStart);
		removeUnneeded(log, partition);
	}
}

/** Where the log begins when all that is too old, or too much, is gone. */
function wholeStart(log: Log, { id, segments, config, logStartOffset, localStartOffset }: Partition): number {
	if (!config.cleanupPolicy.delete) return logStartOffset;
	const { clock, catalog } = log.services;
	const nowMs = clock.now();
	const limits = { ms: config.retentionMs, bytes: config.retentionBytes };
	let bytes = segments.batchBytes;
	let start = logStartOffset;
	if (localStartOffset > logStartOffset) {
		if (limits.bytes >= 0) bytes += catalog.tier.rawBytes(id, localStartOffset);
		for (let from = 0; start < localStartOffset; ) {
			const [range, ...more] = catalog.tier.ranges(id, from, RANGES_AT_ONCE);
			for (const { nextOffset, rawBytes, maxTimestamp } of range === undefined ? [] : [range, ...more]) {
				const isOld = limits.ms >= 0 && (rawBytes === 0 || (maxTimestamp >= 0 && nowMs - maxTimestamp > limits.ms));
				const isMuch = limits.bytes >= 0 && nextOffset <= localStartOffset && bytes - rawBytes >= limits.bytes;
				if (!isOld && !isMuch) return start;
				if (nextOffset <= localStartOffset) bytes -= rawBytes;
				start = Math.max(start, nextOffset);
				from = nextOffset;
				if (start >= localStartOffset) break;
			}
			if (range === undefined) break;
		}
		// What is missing between the ranges and here is not there to be kept.
		start = Math.max(start, localStartOffset);
	}
	const last = segments.beyond(nowMs, bytes, limits).at(-1);
	return last === undefined ? start : Math.max(start, segments.after(last)?.baseOffset as number);
}

/** Where what is kept here begins when all that the object store has and is too old, or too much, is gone. */
function localStartOf(log: Log, { segments, config, localStartOffset }: Partition): number {
	if (segments.tieredOffset <= localStartOffset) return localStartOffset;
	const { localRetentionMs, localRetentionBytes } = config.tier;
	const limits = { ms: localRetentionMs, bytes: localRetentionBytes };
	let start = localStartOffset;
	for (const segment of segments.beyond(log.services.clock.now(), segments.batchBytes, limits)) {
		const next = segments.after(segment)?.baseOffset as number;
		if (next > segments.tieredOffset) break;
		start = Math.max(start, next);
	}
	return start;
}

function removeUnneeded(log: Log, partition: Partition): void {
	const { segments, topic, number, logStartOffset, localStartOffset } = partition;
	const unneeded = segments.unneeded();
	if (unneeded.length === 0) return;
	segments.drop(unneeded);
	log.services.logger.info("retention removed segments", {
		topic,
		partition: number,
		segments: unneeded.length,
		logStartOffset,
		localStartOffset,
	});
}

/** Makes `offset` the first that can be read, durably. Throws what the catalog throws. */
export function moveLogStart(log: Log, partition: Partition, offset: number): void {
	if (offset > partition.logStartOffset) log.services.catalog.setLogStartOffset(partition.id, offset);
	partition.segments.logStartOffset = offset;
	if (log.refusal === undefined) partition.transactions.forgetBelow(offset);
}

/** What is before `offset` is read from the object store from now on, durably. */
function moveLocalStart(log: Log, { id, segments }: Partition, offset: number): void {
	log.services.catalog.setLocalStartOffset(id, offset);
	segments.localStartOffset = offset;
}
