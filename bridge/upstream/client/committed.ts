/**
 * What of a fetch with isolation read_committed was committed: batches of aborted transactions are in it too, with a list of
 * them, and readers leave them out (KIP-98). The list is of the whole fetch, also of transactions that begin before it: each
 * fetch can be walked by itself.
 */
import {
	BATCH_HEADER_BYTES,
	BatchError,
	type BatchHeader,
	decodeControlKey,
	forEachRecord,
	readBatchHeader,
} from "../../../src/record/batch.ts";
import { CRC_COVERS_FROM, CRC_POSITION } from "../../../src/record/batch-header.ts";
import { crc32c } from "../../../src/record/crc32c.ts";

export interface Fetched {
	/** Whole batches, and the beginning of one perhaps; the first may begin before what was asked for. */
	readonly records: Buffer;
	readonly highWatermark: number;
	readonly lastStableOffset: number;
	readonly logStartOffset: number;
	/** Transactions with records here that are not to be seen. */
	readonly aborted: readonly { readonly producerId: number; readonly firstOffset: number }[];
}

const ABORT = 0;

export class CommittedView {
	/** Batches that were passed over because they were aborted, since it began. */
	abortedBatches = 0;

	/**
	 * Visits the data batches that were committed and reach to offset `from` or beyond, with their place in `bytes`. Returns
	 * the offset to go on from; `from`, where there is no whole batch. Throws BatchError for a damaged batch.
	 */
	walk(
		{ records, aborted }: Pick<Fetched, "records" | "aborted">,
		from: number,
		visit: (bytes: Buffer, position: number, header: BatchHeader) => void,
	): number {
		const waiting = aborted.toSorted((a, b) => a.firstOffset - b.firstOffset);
		/** Producers that are in a transaction, here, that was aborted. */
		const within = new Set<number>();
		let begun = 0;
		let next = from;
		let position = 0;
		while (records.length - position >= BATCH_HEADER_BYTES) {
			const header = readBatchHeader(records, position, Number.MAX_SAFE_INTEGER);
			const { sizeBytes, lastOffset, producerId } = header;
			if (sizeBytes > records.length - position) break;
			for (; begun < waiting.length; begun++) {
				const transaction = waiting[begun] as (typeof waiting)[number];
				if (transaction.firstOffset > lastOffset) break;
				within.add(transaction.producerId);
			}
			if (header.isControl) {
				checkSum(records, position, header);
				if (isAbortMarker(records, position, header)) within.delete(producerId);
			} else if (header.isTransactional && within.has(producerId)) this.abortedBatches++;
			else if (lastOffset >= from && header.count > 0) {
				checkSum(records, position, header);
				visit(records, position, header);
			}
			position += sizeBytes;
			next = Math.max(next, lastOffset + 1);
		}
		return next;
	}
}

function checkSum(bytes: Buffer, position: number, { crc, sizeBytes, baseOffset }: BatchHeader): void {
	if (crc32c(bytes, position + CRC_COVERS_FROM, position + sizeBytes) === crc) return;
	const what = `the checksum of the batch at offset ${baseOffset} is wrong`;
	throw new BatchError(position + CRC_POSITION, "CORRUPT_MESSAGE", what);
}

function isAbortMarker(bytes: Buffer, position: number, { count }: BatchHeader): boolean {
	// Compaction leaves empty ones.
	if (count === 0) return false;
	let isAbort = false;
	forEachRecord(bytes, position, ({ source, keyStart, keyEnd }) => {
		const key = keyStart < 0 ? null : source.subarray(keyStart, keyEnd);
		isAbort = decodeControlKey(key).type === ABORT;
	});
	return isAbort;
}
