/**
 * Which segments a start takes back to the last checkpoint: those of partitions that the journal has an entry of behind
 * it, as the replay comes by them. The others are as the checkpoint left them, synced, and nothing need be written:
 *
 * - Records reach a segment only from a tail, and a tail only by a commit that is in the journal. A checkpoint first flushes all
 *   tails up to its sequence, then syncs every segment that was written to since its last sync, then names its sequence
 *   in the catalog. So what a segment got and no such sync saw came from an entry behind that sequence, also where it was
 *   flushed while that checkpoint was still syncing.
 * - Such an entry is found: a file of the journal is used again only when a checkpoint behind the entry is in the catalog. One
 *   that failed, at a sync or in the catalog, releases nothing, and what it did not sync was written from entries that are there.
 * - A new segment, the end of the one before it and a new folder come with an append, so with an entry. Their names are synced
 *   by the checkpoint that first knows of them.
 * - Retention, deleted records and compaction remove and replace files, but never the active one, nor the one that was
 *   active at the last checkpoint, unless another, begun behind it by an append, has taken its place.
 *   The catalog knows of each before the files do, and what a power cut brings back of them is removed again.
 * - What a start itself restores or flushes belongs to entries that the next start finds again: it writes none of them to a
 *   segment before the entry is durable, the newest not before it has been written once more. Where that has no room, or
 *   another must be restored (below), the catalog knows of it before the first write, until a checkpoint has synced it.
 *
 * None of this holds where the journal is damaged: nobody knows which partitions the lost entry had. Then all are
 * restored; so they are where a file has another length than at the checkpoint although no entry says why, and where no
 * checkpoint has synced what such a start began.
 */
import type { Catalog } from "../catalog/catalog.ts";
import type { SegmentState } from "../catalog/partition-rows.ts";
import type { Partition } from "./partition.ts";
import type { OnDamage } from "./segment-set.ts";

export class Restoration {
	readonly #catalog: Catalog;
	readonly #partitions: ReadonlyMap<number, Partition>;
	readonly #damage: OnDamage;
	readonly #wereSynced: boolean;
	/** No entry behind the checkpoint was found damaged or missing. */
	isJournalWhole = true;

	constructor(catalog: Catalog, partitions: ReadonlyMap<number, Partition>, damage: OnDamage) {
		this.#catalog = catalog;
		this.#partitions = partitions;
		this.#damage = damage;
		this.#wereSynced = catalog.segmentsSynced();
	}

	/** Writes are about to be made that no durable entry stands for: the next start, if this one comes to no checkpoint, restores all. */
	begin(): void {
		this.#catalog.beginRestore();
	}

	/** Before an entry with these appends, damaged ones among them, is applied. */
	entry(appends: readonly { readonly partitionId: number }[]): void {
		for (const { partitionId } of appends) {
			const partition = this.#partitions.get(partitionId);
			if (partition?.segments.isUnrestored === true) this.#restore(partition);
		}
	}

	/** All entries have been applied. */
	finish(): void {
		const others = [...this.#partitions.values()].filter(({ segments }) => segments.isUnrestored);
		const areSound = this.isJournalWhole && this.#wereSynced;
		if (areSound && others.every(({ segments }) => segments.isAsLong)) {
			for (const { segments } of others) segments.recovered();
			return;
		}
		if (others.length > 0) this.begin();
		for (const partition of others) this.#restore(partition);
	}

	#restore({ id, segments, config }: Partition): void {
		segments.restore(this.#catalog.segmentState(id) as SegmentState, config, this.#damage);
	}
}
