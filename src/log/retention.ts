/** Retention: the oldest segments of each partition go, as its configuration asks. */
import type { Log } from "./log.ts";

/** The catalog knows the new log start before a file is gone. Throws what the catalog and the disk throw. */
export function enforceRetention(log: Log): void {
	const { catalog, clock, logger } = log.services;
	for (const partition of log.partitions.values()) {
		const { segments } = partition;
		const expired = segments.expired(clock.now(), partition.config);
		const last = expired.at(-1);
		if (last === undefined) continue;
		const start = Math.max(segments.after(last)?.baseOffset as number, partition.logStartOffset);
		catalog.setLogStartOffset(partition.id, start);
		segments.logStartOffset = start;
		segments.drop(expired);
		if (log.refusal === undefined) partition.transactions.forgetBelow(start);
		logger.info("retention removed segments", {
			topic: partition.topic,
			partition: partition.number,
			segments: expired.length,
			logStartOffset: start,
		});
	}
}
