/** What a partition asks of the log it is part of. */
import type { DamageError } from "../base/errors.ts";
import type { BatchBuilder } from "../record/builder.ts";
import type { AppendOperation } from "./entry.ts";
import type { Partition } from "./partition.ts";
import type { TransactionRows } from "./partition-transactions.ts";
import type { Tier } from "./tier.ts";

export interface Gatherer extends TransactionRows {
	/** Has what partitions do not keep here any more. */
	readonly tier: Tier | undefined;
	newBuilder(leaderEpoch: number): BatchBuilder;
	/** Counts `bytes` towards the commit being gathered. Throws BrokerError KAFKA_STORAGE_ERROR when nothing can be stored now. */
	admit(bytes: number): void;
	/** The partition has something in the commit being gathered. */
	join(partition: Partition): void;
	/** A committed batch need not be kept in memory any more. */
	giveBack(append: AppendOperation): void;
	/** Records from `offset` up to `next` cannot be read any more. */
	lost(partition: Partition, offset: number, next: number, error: DamageError): void;
}
