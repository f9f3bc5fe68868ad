/**
 * One partition as its leader keeps it: batches, what each producer sent last, open and aborted transactions. The rules
 * are those of Kafka's ProducerAppendInfo, ProducerStateManager and UnifiedLog for transactions version 1. Every broker
 * has the same log: what was appended is never lost, whoever leads.
 */
import {
	type BatchHeader,
	decodeRecords,
	encodeBatch,
	MAX_DECOMPRESSED_BYTES,
	type RecordView,
	readBatchHeader,
	setBaseOffset,
} from "../../../src/record/batch.ts";
import { filterBatch } from "../../../src/record/filter-batch.ts";
import { CODES, Refusal } from "./codes.ts";

/** Kafka remembers so many batches of a producer. */
const REMEMBERED_BATCHES = 5;
const SEQUENCES = 2 ** 31;

export interface StoredBatch {
	readonly bytes: Buffer;
	readonly header: BatchHeader;
}

interface ProducerEntry {
	epoch: number;
	/** The last ones of this epoch, oldest first. */
	batches: { readonly first: number; readonly last: number; readonly baseOffset: number }[];
	/** Of its open transaction. */
	openFrom: number | undefined;
}

export interface AbortedTransaction {
	readonly producerId: number;
	readonly firstOffset: number;
	/** Of the marker. */
	readonly lastOffset: number;
}

export class PartitionLog {
	/** Node id, -1: none. */
	leader: number;
	/** Who the leader is, as the brokers tell: for a while after a change the one before. */
	announcedLeader: number;
	leaderEpoch = 0;
	logStartOffset = 0;
	endOffset = 0;
	batches: StoredBatch[] = [];
	#producers = new Map<number, ProducerEntry>();
	#aborted: AbortedTransaction[] = [];
	/** Called when there is more to read. */
	readonly watchers = new Set<() => void>();

	constructor(leader: number) {
		this.leader = leader;
		this.announcedLeader = leader;
	}

	get lastStableOffset(): number {
		let least = this.endOffset;
		for (const { openFrom } of this.#producers.values()) if (openFrom !== undefined) least = Math.min(least, openFrom);
		return least;
	}

	/** Whether its transaction has records here already: then nobody asks the coordinator again. */
	hasOpen(producerId: number, epoch: number): boolean {
		const entry = this.#producers.get(producerId);
		return entry?.openFrom !== undefined && entry.epoch === epoch;
	}

	/** Before anything else is asked. Throws Refusal. */
	checkEpoch(producerId: number, epoch: number): void {
		const entry = this.#producers.get(producerId);
		if (entry !== undefined && epoch < entry.epoch)
			throw new Refusal(CODES.INVALID_PRODUCER_EPOCH, `epoch ${epoch} of ${producerId}, ${entry.epoch} was seen`);
	}

	/** A batch with a sound header; `bytes` becomes the log's own. Returns its base offset: the first one's for a duplicate. Throws Refusal. */
	append(bytes: Buffer): { readonly baseOffset: number; readonly isDuplicate: boolean } {
		const { producerId, producerEpoch: epoch, baseSequence, count, isTransactional } = readBatchHeader(bytes, 0);
		const lastSequence = (baseSequence + count - 1) % SEQUENCES;
		if (producerId >= 0) {
			const entry = this.#producers.get(producerId);
			if (entry !== undefined && entry.epoch === epoch) {
				const same = entry.batches.find(({ first, last }) => first === baseSequence && last === lastSequence);
				if (same !== undefined) return { baseOffset: same.baseOffset, isDuplicate: true };
			}
			this.checkEpoch(producerId, epoch);
			this.#checkSequence(entry, epoch, baseSequence);
			if (entry?.openFrom !== undefined && !isTransactional)
				throw new Refusal(CODES.INVALID_TXN_STATE, "a write outside the producer's open transaction");
		}
		const baseOffset = this.endOffset;
		this.#store(bytes);
		if (producerId >= 0) {
			const entry = this.#entry(producerId, epoch);
			entry.batches.push({ first: baseSequence, last: lastSequence, baseOffset });
			if (entry.batches.length > REMEMBERED_BATCHES) entry.batches.shift();
			if (isTransactional) entry.openFrom ??= baseOffset;
		}
		this.#wake();
		return { baseOffset, isDuplicate: false };
	}

	/** The end of a producer's transaction. Throws Refusal for the marker of an older epoch. */
	appendMarker(producerId: number, epoch: number, isCommitted: boolean, timestamp: number): void {
		this.checkEpoch(producerId, epoch);
		const key = Buffer.from([0, 0, 0, isCommitted ? 1 : 0]);
		const marker = encodeBatch([{ timestamp, key, value: Buffer.alloc(6), headers: [] }], {
			producerId,
			producerEpoch: epoch,
			baseSequence: -1,
			isTransactional: true,
			isControl: true,
		});
		const lastOffset = this.endOffset;
		this.#store(marker);
		const entry = this.#entry(producerId, epoch);
		if (entry.openFrom !== undefined && !isCommitted)
			this.#aborted.push({ producerId, firstOffset: entry.openFrom, lastOffset });
		entry.openFrom = undefined;
		this.#wake();
	}

	/** Of those with records or markers in `[from, to)`, by their first offsets. */
	aborted(from: number, to: number): AbortedTransaction[] {
		return this.#aborted
			.filter(({ firstOffset, lastOffset }) => lastOffset >= from && firstOffset < to)
			.sort((a, b) => a.firstOffset - b.firstOffset);
	}

	isAborted({ header }: StoredBatch): boolean {
		return (
			header.isTransactional &&
			this.#aborted.some(
				({ producerId, firstOffset, lastOffset }) =>
					producerId === header.producerId && header.baseOffset >= firstOffset && header.lastOffset < lastOffset,
			)
		);
	}

	/** After days without a word of them: what they sent is not known any more. */
	forgetProducers(): void {
		for (const [id, { openFrom }] of this.#producers) if (openFrom === undefined) this.#producers.delete(id);
	}

	/** As retention does it: whole batches go, the start is where it is said to be. */
	deleteBefore(offset: number): void {
		this.logStartOffset = Math.max(this.logStartOffset, Math.min(offset, this.endOffset));
		this.batches = this.batches.filter(({ header }) => header.lastOffset >= this.logStartOffset);
		this.#aborted = this.#aborted.filter(({ lastOffset }) => lastOffset >= this.logStartOffset);
	}

	/** As the log cleaner does it to all that is decided: of each key the last record stays, of what is aborted none. */
	compact(): void {
		const end = this.lastStableOffset;
		const isData = (batch: StoredBatch) => !batch.header.isControl && batch.header.baseOffset < end;
		const last = new Map<string, number>();
		for (const batch of this.batches)
			if (isData(batch) && !this.isAborted(batch))
				for (const { key, offset } of decodeRecords(batch.bytes)) last.set(String(key), offset);
		const options = { horizonMs: 0, level: undefined, maxDecompressedBytes: MAX_DECOMPRESSED_BYTES };
		this.batches = this.batches.flatMap((batch): StoredBatch[] => {
			if (!isData(batch)) return [batch];
			const isLast = ({ source, keyStart, keyEnd, offset }: RecordView) =>
				last.get(source.toString("utf8", keyStart, keyEnd)) === offset;
			const bytes = filterBatch(batch.bytes, batch.header, (view) => (isLast(view) ? "stays" : "goes"), options);
			return bytes === undefined ? [] : [{ bytes, header: readBatchHeader(bytes, 0) }];
		});
	}

	#checkSequence(entry: ProducerEntry | undefined, epoch: number, sequence: number): void {
		// Without an entry any sequence will do: retention may have taken all that the producer wrote.
		if (entry === undefined) return;
		if (entry.epoch !== epoch) {
			if (sequence !== 0)
				throw new Refusal(CODES.OUT_OF_ORDER_SEQUENCE_NUMBER, `a new epoch begins with sequence ${sequence}`);
			return;
		}
		const expected = ((entry.batches.at(-1)?.last ?? -1) + 1) % SEQUENCES;
		if (sequence !== expected)
			throw new Refusal(CODES.OUT_OF_ORDER_SEQUENCE_NUMBER, `sequence ${sequence}, not ${expected}`);
	}

	#entry(producerId: number, epoch: number): ProducerEntry {
		let entry = this.#producers.get(producerId);
		if (entry === undefined) {
			entry = { epoch, batches: [], openFrom: undefined };
			this.#producers.set(producerId, entry);
		}
		if (entry.epoch !== epoch) {
			entry.epoch = epoch;
			entry.batches = [];
		}
		return entry;
	}

	#store(bytes: Buffer): void {
		setBaseOffset(bytes, 0, this.endOffset, this.leaderEpoch);
		const header = readBatchHeader(bytes, 0);
		this.batches.push({ bytes, header });
		this.endOffset = header.lastOffset + 1;
	}

	#wake(): void {
		for (const watcher of [...this.watchers]) watcher();
	}
}
