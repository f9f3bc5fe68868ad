/** One commit: what is gathered together, becomes one journal entry, and is durable together. */
import type { AppendOperation, StateOperation } from "./entry.ts";
import type { Partition } from "./partition.ts";

export interface CommitListener {
	/** What was gathered when the listener was registered is durable. Must not throw. */
	committed(): void;
	/** It will never be known to be durable: storage failed. */
	failed?(error: Error): void;
}

export interface Commit {
	readonly appends: AppendOperation[];
	readonly state: StateOperation[];
	readonly partitions: readonly Partition[];
	readonly listeners: readonly CommitListener[];
	readonly bytes: number;
}
