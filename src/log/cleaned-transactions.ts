/**
 * What compaction has to know of transactions while it goes through a partition from its start: whether a batch
 * belongs to one that was aborted, and whether a marker still has records before it.
 */
import { type BatchHeader, decodeControlKey, forEachRecord } from "../record/batch.ts";
import type { PartitionTransactions } from "./partition-transactions.ts";

export class CleanedTransactions {
	readonly #transactions: PartitionTransactions;
	/** Producers with records since their last marker. */
	readonly #withRecords = new Set<number>();
	/** Offsets of the markers in the segment under way. */
	readonly #markers = new Set<number>();
	readonly #keepsAll: boolean;

	/** `keepsAll`: records are elsewhere too, where compaction does not come, and need their markers. */
	constructor(transactions: PartitionTransactions, keepsAll: boolean) {
		this.#transactions = transactions;
		this.#keepsAll = keepsAll;
	}

	/** A batch of records comes by. True where they were aborted. */
	isAborted({ isTransactional, producerId, baseOffset }: BatchHeader): boolean {
		if (!isTransactional) return false;
		this.#withRecords.add(producerId);
		return this.#transactions.isAborted(producerId, baseOffset);
	}

	/** A marker comes by. True where no records of its transaction did. */
	isEmpty({ producerId, baseOffset }: BatchHeader): boolean {
		this.#markers.add(baseOffset);
		return !this.#withRecords.delete(producerId) && !this.#keepsAll;
	}

	/**
	 * All that `from` to `to` has came by. What was aborted there and has no marker any more, by an earlier
	 * compaction, nobody needs to know of.
	 */
	segmentDone(from: number, to: number): void {
		if (this.#keepsAll) return;
		for (const { producerId, lastOffset } of this.#transactions.aborted(from, to))
			if (lastOffset >= from && lastOffset < to && !this.#markers.has(lastOffset))
				this.#transactions.forgetAborted(producerId, lastOffset);
		this.#markers.clear();
	}
}

/** Whether a control batch ends a transaction: markers are the only ones that compaction may remove. */
export function isTransactionMarker(batch: Buffer): boolean {
	let type = -1;
	forEachRecord(batch, 0, ({ source, keyStart, keyEnd }) => {
		type = decodeControlKey(source.subarray(keyStart, keyEnd)).type;
	});
	return type === 0 || type === 1;
}
