/**
 * The transactions of Kafka's producers in one partition: which are open, so that nobody who wants committed records
 * reads beyond their first (the last stable offset), and which were aborted, so that readers leave them out.
 * Both are rows of the state table, written in the commit that has the records or the marker itself.
 */
import type { CommitListener } from "./commit.ts";
import { StateSpace } from "./state-spaces.ts";

/** Its records in a partition lie from `firstOffset` up to `lastOffset`, which is its marker. */
export interface AbortedTransaction {
	readonly producerId: number;
	readonly firstOffset: number;
	readonly lastOffset: number;
}

/** What it needs of the log. */
export interface TransactionRows {
	putState(space: number, key: string, value: Uint8Array): void;
	deleteState(space: number, key: string): void;
	pageState(space: number, from: string, to: string | undefined, limit: number): [key: string, value: Uint8Array][];
	onCommit(listener: CommitListener): void;
}

/** Of a partition's id, in front of each of its rows' keys. */
const ID_DIGITS = 8;
/** 53 bits. */
const OFFSET_DIGITS = 14;
const PAGE = 256;
/** What the rows of one transaction's end take in a commit, bytes, at most. */
export const TRANSACTION_ROW_BYTES = 64;

/** Begins the key of every row that belongs to a partition. */
export function partitionKey(partitionId: number): string {
	return partitionId.toString(16).padStart(ID_DIGITS, "0");
}

const offsetKey = (offset: number): string => offset.toString(16).padStart(OFFSET_DIGITS, "0");

/** A row's key as `partitionKey` began it. */
export function splitPartitionKey(key: string): { partitionId: number; rest: string } {
	return { partitionId: Number.parseInt(key.slice(0, ID_DIGITS), 16), rest: key.slice(ID_DIGITS) };
}

export class PartitionTransactions {
	readonly #prefix: string;
	readonly #rows: TransactionRows;
	/** Producer id -> offset of its first record. */
	readonly #open = new Map<number, number>();
	/** Ended by markers that are not durable yet. */
	readonly #ending = new Set<{ readonly firstOffset: number }>();
	#firstOpen = Number.POSITIVE_INFINITY;
	/** Markers of aborted transactions; none is at or above it. */
	#abortedBelow = 0;

	constructor(partitionId: number, rows: TransactionRows) {
		this.#prefix = partitionKey(partitionId);
		this.#rows = rows;
	}

	/** A row found at start: the key without the partition. */
	loadOpen(key: string, value: Uint8Array): void {
		this.#open.set(Number.parseInt(key, 16), readNumber(value, 0));
		this.#openChanged();
	}

	/** A row found at start: the key without the partition. */
	loadAborted(key: string): void {
		this.#abortedBelow = Math.max(this.#abortedBelow, Number.parseInt(key, 16) + 1);
	}

	/** Of the oldest open transaction; Infinity: none is open. */
	get firstOpenOffset(): number {
		return this.#firstOpen;
	}

	/** Offset of the producer's first record in its open transaction. */
	openedAt(producerId: number): number | undefined {
		return this.#open.get(producerId);
	}

	/** The producer's record at `offset`, appended in this commit, is its transaction's first here. */
	begin(producerId: number, offset: number): void {
		if (this.#open.has(producerId)) return;
		this.#rows.putState(StateSpace.KAFKA_OPEN_TRANSACTION, this.#prefix + offsetKey(producerId), numbers(offset));
		this.#open.set(producerId, offset);
		this.#openChanged();
	}

	/** The marker at `offset`, appended in this commit, ends the producer's transaction. Readers see it once it is durable. */
	end(producerId: number, offset: number, outcome: "commit" | "abort"): void {
		const firstOffset = this.#open.get(producerId);
		// Nothing of it was written here.
		if (firstOffset === undefined) return;
		this.#rows.deleteState(StateSpace.KAFKA_OPEN_TRANSACTION, this.#prefix + offsetKey(producerId));
		if (outcome === "abort") {
			const key = this.#prefix + offsetKey(offset);
			this.#rows.putState(StateSpace.KAFKA_ABORTED_TRANSACTION, key, numbers(producerId, firstOffset));
			this.#abortedBelow = offset + 1;
		}
		this.#open.delete(producerId);
		const ending = { firstOffset };
		this.#ending.add(ending);
		this.#rows.onCommit({
			committed: () => {
				this.#ending.delete(ending);
				this.#openChanged();
			},
		});
	}

	/** Aborted transactions with a record or their marker at `from` or above, and records before `to`. */
	aborted(from: number, to: number): AbortedTransaction[] {
		const found: AbortedTransaction[] = [];
		if (from >= this.#abortedBelow) return found;
		for (const transaction of this.#abortedFrom(from)) if (transaction.firstOffset < to) found.push(transaction);
		return found;
	}

	/** Whether the transactional batch at `offset` belongs to a transaction that was aborted. */
	isAborted(producerId: number, offset: number): boolean {
		if (offset >= this.#abortedBelow) return false;
		// The producer's next marker is that of the transaction in question, if that was aborted.
		for (const transaction of this.#abortedFrom(offset))
			if (transaction.producerId === producerId) return transaction.firstOffset <= offset;
		return false;
	}

	/** Nothing before `offset` can be read any more. */
	forgetBelow(offset: number): void {
		for (const [key] of this.#all(StateSpace.KAFKA_ABORTED_TRANSACTION)) {
			if (Number.parseInt(key.slice(ID_DIGITS), 16) >= offset) return;
			this.#rows.deleteState(StateSpace.KAFKA_ABORTED_TRANSACTION, key);
		}
	}

	/** The partition is deleted. */
	forget(): void {
		for (const space of [StateSpace.KAFKA_OPEN_TRANSACTION, StateSpace.KAFKA_ABORTED_TRANSACTION])
			for (const [key] of this.#all(space)) this.#rows.deleteState(space, key);
		this.#open.clear();
		this.#openChanged();
	}

	*#abortedFrom(offset: number): Generator<AbortedTransaction> {
		for (const [key, value] of this.#all(StateSpace.KAFKA_ABORTED_TRANSACTION, offsetKey(offset)))
			yield {
				producerId: readNumber(value, 0),
				firstOffset: readNumber(value, 8),
				lastOffset: Number.parseInt(key.slice(ID_DIGITS), 16),
			};
	}

	/** In the order of their keys. */
	*#all(space: number, from = ""): Generator<[key: string, value: Uint8Array]> {
		const to = `${this.#prefix}g`; // behind every hexadecimal digit
		for (let next = this.#prefix + from; ; ) {
			const page = this.#rows.pageState(space, next, to, PAGE);
			yield* page;
			const last = page.at(-1);
			if (last === undefined || page.length < PAGE) return;
			next = `${last[0]}\0`;
		}
	}

	#openChanged(): void {
		let first = Number.POSITIVE_INFINITY;
		for (const offset of this.#open.values()) first = Math.min(first, offset);
		for (const { firstOffset } of this.#ending) first = Math.min(first, firstOffset);
		this.#firstOpen = first;
	}
}

function numbers(...values: readonly number[]): Buffer {
	const bytes = Buffer.alloc(8 * values.length);
	values.forEach((value, i) => {
		bytes.writeBigUInt64BE(BigInt(value), 8 * i);
	});
	return bytes;
}

function readNumber(bytes: Uint8Array, at: number): number {
	return Number(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).readBigUInt64BE(at));
}
