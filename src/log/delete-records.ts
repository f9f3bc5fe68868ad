/**
 * Deleting the records before an offset, because a client asks for it. The catalog has the new log start
 * durably before anybody sees it; segments that lie wholly before it go at once, the rest of them as they end.
 */
import { BrokerError, isDiskFull } from "../base/errors.ts";
import type { Log } from "./log.ts";
import type { Partition } from "./partition.ts";
import { moveLogStart } from "./retention.ts";

/**
 * Records before `offset` can be read no more from now on, also after a crash; -1: all that are durable. Returns the log
 * start offset. Throws OFFSET_OUT_OF_RANGE beyond the high watermark, POLICY_VIOLATION where the topic is only
 * compacted, KAFKA_STORAGE_ERROR.
 */
export function deleteRecordsBefore(log: Log, partition: Partition, offset: number): number {
	const { segments, config, highWatermark } = partition;
	if (config.cleanupPolicy.compact && !config.cleanupPolicy.delete)
		throw new BrokerError(
			"POLICY_VIOLATION",
			`topic ${partition.topic} has cleanup.policy=compact: only with delete in it records can be deleted`,
		);
	const start = offset === -1 ? highWatermark : offset;
	if (start < 0 || start > highWatermark)
		throw new BrokerError(
			"OFFSET_OUT_OF_RANGE",
			`offset ${offset} of ${partition.topic}-${partition.number}: it has ${partition.logStartOffset} to ${highWatermark}`,
		);
	if (start <= partition.logStartOffset) return partition.logStartOffset;
	if (log.refusal !== undefined) throw log.refusal;
	try {
		moveLogStart(log, partition, start, "deletion");
		segments.drop(segments.unneeded());
	} catch (error) {
		if (!isDiskFull(error)) throw error;
		throw new BrokerError("KAFKA_STORAGE_ERROR", "the disk is full", { cause: error });
	}
	return start;
}
