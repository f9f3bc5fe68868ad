/**
 * Retention: the oldest segments of each partition go, as its configuration asks; those before the log start
 * offset always.
 */
import type { Log } from "./log.ts";
import type { Partition } from "./partition.ts";

/** The catalog knows the new log start before a file is gone. Throws what the catalog and the disk throw. */
export function enforceRetention(log: Log): void {
	for (const partition of log.partitions.values()) removeExpired(log, partition);
}

function removeExpired(log: Log, partition: Partition): void {
	const { segments } = partition;
	const expired = segments.expired(log.services.clock.now(), partition.config);
	const last = expired.at(-1);
	if (last === undefined) return;
	moveLogStart(log, partition, Math.max(segments.after(last)?.baseOffset as number, partition.logStartOffset));
	segments.drop(expired);
	log.services.logger.info("retention removed segments", {
		topic: partition.topic,
		partition: partition.number,
		segments: expired.length,
		logStartOffset: partition.logStartOffset,
	});
}

/** Makes `offset` the first that can be read, durably. Throws what the catalog throws. */
export function moveLogStart(log: Log, partition: Partition, offset: number): void {
	if (offset > partition.logStartOffset) log.services.catalog.setLogStartOffset(partition.id, offset);
	partition.segments.logStartOffset = offset;
	if (log.refusal === undefined) partition.transactions.forgetBelow(offset);
}
