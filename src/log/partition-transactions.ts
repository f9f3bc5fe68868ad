/**
 * The transactions of Kafka's producers in one partition: which are open, so that nobody who wants committed records
 * reads beyond their first (the last stable offset), and which were aborted, so that readers leave them out.
 * Both are rows of the state table, written in the commit that has the records or the marker itself. The open ones are in
 * memory too; the aborted ones are not, however many a partition has.
 */
import type { StateRow } from "../catalog/catalog.ts";
import type { CommitListener } from "./commit.ts";
import { readUint53, writeUint53 } from "./entry.ts";
import { type StatePages, stateRows } from "./state-rows.ts";
import { StateSpace } from "./state-spaces.ts";

/** Its records in a partition lie from `firstOffset` up to `lastOffset`, which is its marker. */
export interface AbortedTransaction {
	readonly producerId: number;
	readonly firstOffset: number;
	readonly lastOffset: number;
}

/** For records from `lookedFrom` to `lastOffset`: those from `firstOffset` on were aborted. */
interface KnownTransaction {
	readonly lookedFrom: number;
	readonly firstOffset: number;
	readonly lastOffset: number;
}

/** What it needs of the log. */
export interface TransactionRows extends StatePages {
	putState(space: number, key: string, value: Uint8Array): void;
	deleteState(space: number, key: string): void;
	onCommit(listener: CommitListener): void;
}

const { KAFKA_OPEN_TRANSACTION: OPEN, KAFKA_ABORTED_TRANSACTION: ABORTED } = StateSpace;

/** Of a partition's id, in front of each of its rows' keys. */
const ID_DIGITS = 8;
/** 53 bits. */
const NUMBER_DIGITS = 14;
/**
 * An aborted transaction has two rows: by its marker's offset, and, behind this, by its producer and its marker's offset.
 * It comes behind all hexadecimal digits.
 */
const BY_PRODUCER = "p";
/** Behind every hexadecimal digit, before `BY_PRODUCER`. */
const DIGITS_END = "g";
/** Rows read at first: most look for few. */
const FIRST_ROWS = 16;
/** Producers of a partition whose aborted transactions are remembered. */
const KNOWN_MAX = 16;
const FORMAT = 1;
/** What `begin` takes in a commit, bytes, at most. */
export const TRANSACTION_ROW_BYTES = 96;

/** Begins the key of every row that belongs to a partition. */
export function partitionKey(partitionId: number): string {
	return partitionId.toString(16).padStart(ID_DIGITS, "0");
}

const numberKey = (value: number): string => value.toString(16).padStart(NUMBER_DIGITS, "0");

/** A row's key as `partitionKey` began it. */
export function splitPartitionKey(key: string): { partitionId: number; rest: string } {
	return { partitionId: Number.parseInt(key.slice(0, ID_DIGITS), 16), rest: key.slice(ID_DIGITS) };
}

export class PartitionTransactions {
	readonly #prefix: string;
	readonly #rows: TransactionRows;
	/** Producer id -> offset of its first record. */
	readonly #open = new Map<number, number>();
	/** The smallest in `#open`. */
	#firstOpen = Number.POSITIVE_INFINITY;
	/** Ended by markers that are not durable yet. */
	readonly #ending = new Set<{ readonly firstOffset: number }>();
	#firstUnstable = Number.POSITIVE_INFINITY;
	/** No marker of an aborted transaction is at or above it. */
	#abortedBelow = 0;
	/** By producer, what was found last: who reads on asks for the same again. */
	readonly #known = new Map<number, KnownTransaction>();

	constructor(partitionId: number, rows: TransactionRows) {
		this.#prefix = partitionKey(partitionId);
		this.#rows = rows;
	}

	/** A row found at start: the key without the partition. */
	loadOpen(key: string, value: Uint8Array): void {
		const firstOffset = readNumber(value, 0);
		this.#open.set(Number.parseInt(key, 16), firstOffset);
		this.#firstOpen = Math.min(this.#firstOpen, firstOffset);
		this.#changed();
	}

	/** Rows of aborted transactions were found at start, their markers somewhere before `endOffset`. */
	loadAborted(endOffset: number): void {
		// Damage may have taken the records, and then their rows are there all the same.
		this.#abortedBelow = Math.max(1, endOffset);
	}

	/** Of the oldest open transaction; Infinity: none is open. One whose end is not durable yet is open. */
	get firstOpenOffset(): number {
		return this.#firstUnstable;
	}

	/** Offset of the producer's first record in its open transaction. */
	openedAt(producerId: number): number | undefined {
		return this.#open.get(producerId);
	}

	/** The producer's record at `offset`, appended in this commit, is its transaction's first here. */
	begin(producerId: number, offset: number): void {
		if (this.#open.has(producerId)) return;
		this.#rows.putState(OPEN, this.#prefix + numberKey(producerId), numbers(offset));
		this.#open.set(producerId, offset);
		if (offset >= this.#firstOpen) return;
		this.#firstOpen = offset;
		this.#changed();
	}

	/** The marker at `offset`, appended in this commit, ends the producer's transaction. Readers see it once it is durable. */
	end(producerId: number, offset: number, outcome: "commit" | "abort"): void {
		const firstOffset = this.#open.get(producerId);
		// Nothing of it was written here.
		if (firstOffset === undefined) return;
		this.#rows.deleteState(OPEN, this.#prefix + numberKey(producerId));
		this.#open.delete(producerId);
		if (firstOffset === this.#firstOpen) this.#findFirstOpen();
		if (outcome === "abort") {
			// Whatever is aborted later begins at or behind this: who looks for those before it need not look further.
			const stableOffset = Math.min(this.#firstOpen, offset + 1);
			const value = numbers(producerId, firstOffset, stableOffset);
			this.#rows.putState(ABORTED, this.#prefix + numberKey(offset), value);
			this.#rows.putState(ABORTED, this.#producerKey(producerId) + numberKey(offset), numbers(firstOffset));
			this.#abortedBelow = offset + 1;
			this.#known.delete(producerId);
		}
		const ending = { firstOffset };
		this.#ending.add(ending);
		this.#rows.onCommit({
			committed: () => {
				this.#ending.delete(ending);
				this.#changed();
			},
		});
	}

	/**
	 * Aborted transactions with a record or their marker at `from` or above, and records before `to`, which is at most the
	 * last stable offset. Retention forgets them with their records: what it says is whole while the log begins at `from`
	 * or before.
	 */
	aborted(from: number, to: number): AbortedTransaction[] {
		const found: AbortedTransaction[] = [];
		if (from >= this.#abortedBelow) return found;
		for (const [key, value] of this.#all(ABORTED, numberKey(from), DIGITS_END)) {
			const firstOffset = readNumber(value, 1);
			const lastOffset = Number.parseInt(key.slice(ID_DIGITS), 16);
			if (firstOffset < to) found.push({ producerId: readNumber(value, 0), firstOffset, lastOffset });
			if (readNumber(value, 2) >= to) break;
		}
		return found;
	}

	/** Whether the transactional batch at `offset`, before the last stable offset, belongs to a transaction that was aborted. */
	isAborted(producerId: number, offset: number): boolean {
		if (offset >= this.#abortedBelow) return false;
		let known = this.#known.get(producerId);
		if (known === undefined || offset < known.lookedFrom || offset > known.lastOffset) {
			known = this.#lookUp(producerId, offset);
			if (this.#known.size >= KNOWN_MAX) this.#known.clear();
			this.#known.set(producerId, known);
		}
		return known.firstOffset <= offset;
	}

	/** The producer's first aborted transaction that ends at `offset` or above; it has one transaction at a time. */
	#lookUp(producerId: number, offset: number): KnownTransaction {
		const key = this.#producerKey(producerId);
		const [row] = this.#rows.pageState(ABORTED, key + numberKey(offset), key + DIGITS_END, 1);
		if (row === undefined)
			return { lookedFrom: offset, firstOffset: Number.POSITIVE_INFINITY, lastOffset: Number.POSITIVE_INFINITY };
		const lastOffset = Number.parseInt(row[0].slice(key.length), 16);
		return { lookedFrom: offset, firstOffset: readNumber(row[1], 0), lastOffset };
	}

	/** Nothing before `offset` can be read any more. */
	forgetBelow(offset: number): void {
		for (const [key, value] of this.#all(ABORTED, "", numberKey(offset))) {
			this.#rows.deleteState(ABORTED, key);
			this.#rows.deleteState(ABORTED, this.#producerKey(readNumber(value, 0)) + key.slice(ID_DIGITS));
		}
	}

	/** Compaction has removed all of the producer's aborted transaction whose marker was at `offset`. */
	forgetAborted(producerId: number, offset: number): void {
		this.#rows.deleteState(ABORTED, this.#prefix + numberKey(offset));
		this.#rows.deleteState(ABORTED, this.#producerKey(producerId) + numberKey(offset));
	}

	/** Whether there may be rows of it. */
	get hasRows(): boolean {
		return this.#open.size > 0 || this.#abortedBelow > 0;
	}

	/** The partition is deleted. */
	forget(): void {
		for (const space of [OPEN, ABORTED])
			for (const [key] of this.#all(space, "", `${BY_PRODUCER}${DIGITS_END}`)) this.#rows.deleteState(space, key);
		this.#open.clear();
		this.#known.clear();
		this.#findFirstOpen();
		this.#changed();
	}

	#producerKey(producerId: number): string {
		return this.#prefix + BY_PRODUCER + numberKey(producerId);
	}

	/** In the order of their keys: those of the partition, behind it from `from` on and before `to`. */
	#all(space: number, from: string, to: string): Generator<StateRow> {
		return stateRows(this.#rows, space, this.#prefix + from, this.#prefix + to, FIRST_ROWS);
	}

	#findFirstOpen(): void {
		let first = Number.POSITIVE_INFINITY;
		for (const offset of this.#open.values()) first = Math.min(first, offset);
		this.#firstOpen = first;
	}

	#changed(): void {
		let first = this.#firstOpen;
		for (const { firstOffset } of this.#ending) first = Math.min(first, firstOffset);
		this.#firstUnstable = first;
	}
}

/**
 * Rows of transactions that were aborted in a partition of which only what is before `endOffset` came back. A marker that did
 * not is taken for the last offset that did: its own is going to be another record's. Keys of the state, in no order.
 */
export function* abortedRows(
	partitionId: number,
	aborted: readonly AbortedTransaction[],
	endOffset: number,
): Generator<StateRow> {
	const prefix = partitionKey(partitionId);
	let stableOffset = endOffset;
	const byMarker = aborted.toSorted((a, b) => b.lastOffset - a.lastOffset);
	for (const { producerId, firstOffset, lastOffset } of byMarker) {
		// Behind the digits, which may be another's too, those of its own: so they stay in their order.
		const own = numberKey(lastOffset);
		const marker = lastOffset < endOffset ? own : `${numberKey(endOffset - 1)}.${own}`;
		stableOffset = Math.min(stableOffset, lastOffset + 1);
		yield [prefix + marker, numbers(producerId, firstOffset, stableOffset)];
		yield [`${prefix}${BY_PRODUCER}${numberKey(producerId)}${marker}`, numbers(firstOffset)];
		stableOffset = Math.min(stableOffset, firstOffset);
	}
}

/** The first key behind all rows of the partition. */
export function behindPartition(partitionId: number): string {
	return partitionKey(partitionId + 1);
}

function numbers(...values: readonly number[]): Buffer {
	const bytes = Buffer.alloc(1 + 8 * values.length);
	bytes[0] = FORMAT;
	values.forEach((value, i) => {
		writeUint53(bytes, value, 1 + 8 * i);
	});
	return bytes;
}

function readNumber(bytes: Uint8Array, index: number): number {
	return readUint53(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), 1 + 8 * index);
}
