/**
 * A checkpoint: what makes the journal superfluous up to a commit. It promises the order: segments synced, then the
 * catalog written, in one transaction that names the commit; so a crash at any point finds the journal or what replaces it.
 */
import type { Catalog } from "../catalog/catalog.ts";
import type { Partition } from "./partition.ts";
import type { StateTable } from "./state-table.ts";

/** What a checkpoint needs of the log, as it is at the time. */
export interface CheckpointSource {
	readonly partitions: ReadonlyMap<number, Partition>;
	readonly state: StateTable;
	readonly catalog: Catalog;
	/** Throws when storage has failed: a failed sync leaves nothing that a checkpoint could vouch for. */
	mustBeSound(): void;
	/** What the disk or the catalog threw, before anybody else hears of it. */
	storageError(error: Error): void;
}

/** Everything up to the commit `sequence` is in the tails no more: it was flushed. */
export async function writeCheckpoint(source: CheckpointSource, sequence: number): Promise<void> {
	const { partitions, state } = source;
	const dirty = new Set([...partitions.values()].filter((partition) => partition.needsCheckpoint));
	const points = [...dirty].flatMap((partition) => {
		const segment = partition.segments.list.at(-1);
		return segment === undefined
			? []
			: [{ partition, id: partition.id, checkpointOffset: partition.flushedOffset, segment: segment.state() }];
	});
	const rows = state.beginCheckpoint();
	try {
		for (const partition of dirty) await partition.segments.sync();
		source.mustBeSound();
		source.catalog.checkpoint(
			sequence,
			points.filter(({ id }) => partitions.has(id)),
			rows,
		);
	} catch (error) {
		state.checkpointFailed();
		// Here, so that no caller can go on after a failed sync.
		source.storageError(error as Error);
		throw error;
	}
	state.checkpointed();
	for (const { partition, checkpointOffset, segment } of points)
		partition.segments.checkpointed(checkpointOffset, segment.baseOffset);
	for (const partition of partitions.values()) if (!dirty.has(partition)) partition.release();
}
