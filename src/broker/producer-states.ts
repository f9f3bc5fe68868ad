/**
 * What each partition knows of its idempotent producers: epoch and last batches, so that a batch that comes twice is
 * stored once, and one that comes before its predecessor is refused (Kafka's rules). A producer's row is written in the
 * commit that has its batch. Rows are on disk; a bounded number of them is in memory.
 */
import type { Clock, Timer } from "../base/clock.ts";
import { BrokerError } from "../base/errors.ts";
import { keyBehind } from "../log/key-order.ts";
import type { Log } from "../log/log.ts";
import type { Partition } from "../log/partition.ts";
import { behindPartition, partitionKey, splitPartitionKey } from "../log/partition-transactions.ts";
import { statePages } from "../log/state-rows.ts";
import { StateSpace } from "../log/state-spaces.ts";
import type { BatchHeader } from "../record/batch.ts";
import { decodeProducerRow, encodeProducerRow, PRODUCER_BATCHES, type ProducerRow } from "./producer-row.ts";
import { type AgeWalk, RowAges } from "./row-ages.ts";

/** Who knows which partitions a producer's open transaction has. */
export interface OpenTransactions {
	holds(producerId: number, producerEpoch: number, partition: Partition): boolean;
}

export interface ProducerStateOptions {
	/** `producer.id.expiration.ms`: a producer that has not written to a partition for so long is forgotten there. */
	readonly expirationMs: number;
}

/** What a batch is to its partition. */
export type SequenceCheck =
	| { readonly kind: "new" }
	| { readonly kind: "duplicate"; readonly baseOffset: number; readonly timestamp: number };

/** One of DescribeProducers' answer. */
export interface ActiveProducer {
	readonly producerId: number;
	readonly epoch: number;
	/** -1: none since the epoch began. */
	readonly lastSequence: number;
	/** Milliseconds since 1970, of its last batch. */
	readonly lastTimestamp: number;
	/** -1: no marker of it was written. */
	readonly coordinatorEpoch: number;
	/** -1: no transaction is open. */
	readonly transactionStartOffset: number;
}

export const DEFAULT_PRODUCER_EXPIRATION_MS = 86_400_000;
/** What one batch's row takes in a commit, bytes, at most. */
export const PRODUCER_ROW_BYTES = 256;

const SEQUENCE_MAX = 0x7fff_ffff;
const NO_SEQUENCE = -1;
/** Rows in memory: some 2 MB. */
const CACHED_MAX = 10_000;
const SWEEP_EVERY_MS = 3_600_000;
/** Rows that a sweep looks at before it lets others do something. */
const SWEEP_PAGE = 256;
const ID_DIGITS = 14;
const NEW: SequenceCheck = { kind: "new" };

export class ProducerStates {
	/** Asked about transactional batches. */
	transactions: OpenTransactions = { holds: () => false };
	readonly #log: Log;
	readonly #clock: Clock;
	readonly #options: ProducerStateOptions;
	/** By row key; who was used last is last. */
	readonly #cache = new Map<string, ProducerRow>();
	readonly #ages: RowAges;
	#timer: Timer | undefined;
	#stopped = false;

	constructor(log: Log, clock: Clock, options: ProducerStateOptions) {
		this.#log = log;
		this.#clock = clock;
		this.#options = options;
		this.#ages = new RowAges(clock);
		this.#sweepLater();
	}

	stop(): void {
		this.#stopped = true;
		this.#timer?.cancel();
	}

	/**
	 * Whether the batch, sound and with a producer id, comes next, or is one of the producer's last five once more: then
	 * it is to be answered with the offset that it has, once everything gathered so far is durable. Throws
	 * OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE.
	 */
	check(partition: Partition, header: BatchHeader): SequenceCheck {
		const { producerId, producerEpoch, baseSequence, isTransactional } = header;
		const row = this.#row(rowKey(partition.id, producerId));
		if (row !== undefined && row.epoch === producerEpoch) {
			const lastSequence = sequenceAfter(baseSequence, header.lastOffsetDelta);
			for (const batch of row.batches)
				if (batch.baseSequence === baseSequence && batch.lastSequence === lastSequence)
					return { kind: "duplicate", baseOffset: batch.baseOffset, timestamp: batch.timestamp };
		}
		const who = `producer ${producerId} of ${partition.topic}-${partition.number}`;
		if (row !== undefined && producerEpoch < row.epoch)
			throw new BrokerError("INVALID_PRODUCER_EPOCH", `${who} comes with epoch ${producerEpoch}, after ${row.epoch}`);
		if (isTransactional && !this.transactions.holds(producerId, producerEpoch, partition))
			throw new BrokerError("INVALID_TXN_STATE", `${who} has not added the partition to an open transaction`);
		if (row !== undefined) checkSequence(row, header, who);
		if (!isTransactional && partition.transactions.openedAt(producerId) !== undefined)
			throw new BrokerError("INVALID_TXN_STATE", `${who} has an open transaction; the batch is not part of it`);
		return NEW;
	}

	/** The batch was appended, in this commit, at `baseOffset`; `check` said that it is new. */
	appended(partition: Partition, header: BatchHeader, baseOffset: number): void {
		const { producerId, producerEpoch, baseSequence, maxTimestamp } = header;
		const key = rowKey(partition.id, producerId);
		const before = this.#row(key);
		const kept = before === undefined || before.epoch !== producerEpoch ? [] : before.batches;
		const lastSequence = sequenceAfter(baseSequence, header.lastOffsetDelta);
		this.#put(key, {
			epoch: producerEpoch,
			coordinatorEpoch: before?.coordinatorEpoch ?? -1,
			lastTimestamp: maxTimestamp,
			writtenMs: this.#clock.now(),
			batches: [
				...kept.slice(1 - PRODUCER_BATCHES),
				{ baseSequence, lastSequence, baseOffset, timestamp: maxTimestamp },
			],
		});
	}

	/** A marker was appended, in this commit: batches of a lower epoch are refused from now on. */
	marker(partition: Partition, producerId: number, epoch: number): void {
		const key = rowKey(partition.id, producerId);
		const before = this.#row(key);
		if (before !== undefined && epoch < before.epoch) return;
		const now = this.#clock.now();
		this.#put(key, {
			epoch,
			coordinatorEpoch: 0,
			lastTimestamp: now,
			writtenMs: now,
			batches: before?.epoch === epoch ? before.batches : [],
		});
	}

	/** By producer id; about `most` of them. */
	describe(partition: Partition, most = Number.POSITIVE_INFINITY): ActiveProducer[] {
		const found: ActiveProducer[] = [];
		const { id } = partition;
		for (const page of statePages(this.#log, StateSpace.KAFKA_PRODUCER, partitionKey(id), behindPartition(id))) {
			if (found.length >= most) break;
			for (const [key, value] of page) {
				const { epoch, batches, lastTimestamp, coordinatorEpoch } = decodeProducerRow(value);
				const producerId = Number.parseInt(splitPartitionKey(key).rest, 16);
				found.push({
					producerId,
					epoch,
					lastSequence: batches.at(-1)?.lastSequence ?? NO_SEQUENCE,
					lastTimestamp,
					coordinatorEpoch,
					transactionStartOffset: partition.transactions.openedAt(producerId) ?? -1,
				});
			}
		}
		return found;
	}

	/** Partitions that were deleted. What cannot be deleted now the next sweep takes. */
	forget(partitionIds: readonly number[]): void {
		const rising = partitionIds.toSorted((a, b) => a - b);
		// Those of one topic mostly follow each other: one look at the table for all of them.
		for (let from = 0, to = 0; from < rising.length; from = to) {
			const first = rising[from] as number;
			for (to = from + 1; rising[to] === first + to - from; ) to++;
			this.#forget(partitionKey(first), behindPartition(first + to - from - 1));
		}
	}

	#forget(from: string, to: string): void {
		if (this.#stopped || this.#log.refusal !== undefined) return;
		const page = this.#log.pageState(StateSpace.KAFKA_PRODUCER, from, to, SWEEP_PAGE);
		for (const [key] of page) this.#delete(key);
		const last = page.at(-1);
		if (last !== undefined && page.length === SWEEP_PAGE) this.#clock.soon(() => this.#forget(keyBehind(last[0]), to));
	}

	#sweepLater(): void {
		this.#timer = this.#clock.after(SWEEP_EVERY_MS, () => this.#sweep("", this.#ages.begin()));
	}

	/** Deletes rows of partitions that are gone and of producers that have been silent, a page at a time. */
	#sweep(from: string, walk: AgeWalk): void {
		if (this.#stopped || this.#log.refusal !== undefined) {
			this.#sweepLater();
			return;
		}
		const page = this.#log.pageState(StateSpace.KAFKA_PRODUCER, from, undefined, SWEEP_PAGE);
		for (const [key, value] of page) this.#review(key, value, walk);
		const last = page.at(-1);
		if (last !== undefined && page.length === SWEEP_PAGE) {
			this.#clock.soon(() => this.#sweep(keyBehind(last[0]), walk));
			return;
		}
		walk.finished();
		this.#sweepLater();
	}

	#review(key: string, value: Uint8Array, walk: AgeWalk): void {
		const { partitionId, rest } = splitPartitionKey(key);
		const partition = this.#log.partitions.get(partitionId);
		if (partition === undefined) {
			this.#delete(key);
			return;
		}
		const row = decodeProducerRow(value);
		const fate = walk.fateOf(row.writtenMs, row.writtenMs + this.#options.expirationMs);
		if (fate === "restamp") {
			const anew = { ...row, writtenMs: walk.now };
			this.#log.putState(StateSpace.KAFKA_PRODUCER, key, encodeProducerRow(anew));
			if (this.#cache.has(key)) this.#cache.set(key, anew);
		}
		if (fate !== "expire") return;
		if (partition.transactions.openedAt(Number.parseInt(rest, 16)) === undefined) this.#delete(key);
	}

	#delete(key: string): void {
		this.#log.deleteState(StateSpace.KAFKA_PRODUCER, key);
		this.#cache.delete(key);
	}

	#row(key: string): ProducerRow | undefined {
		const cached = this.#cache.get(key);
		if (cached !== undefined) {
			// Used last.
			this.#cache.delete(key);
			this.#cache.set(key, cached);
			return cached;
		}
		const value = this.#log.getState(StateSpace.KAFKA_PRODUCER, key);
		if (value === undefined) return undefined;
		const row = decodeProducerRow(value);
		this.#keep(key, row);
		return row;
	}

	#put(key: string, row: ProducerRow): void {
		this.#log.putState(StateSpace.KAFKA_PRODUCER, key, encodeProducerRow(row));
		this.#cache.delete(key);
		this.#keep(key, row);
	}

	#keep(key: string, row: ProducerRow): void {
		this.#cache.set(key, row);
		if (this.#cache.size <= CACHED_MAX) return;
		for (const oldest of this.#cache.keys()) {
			this.#cache.delete(oldest);
			return;
		}
	}
}

/** Whether a batch that is no duplicate comes next. */
function checkSequence(row: ProducerRow, { producerEpoch, baseSequence }: BatchHeader, who: string): void {
	if (producerEpoch !== row.epoch) {
		if (baseSequence !== 0)
			throw new BrokerError(
				"OUT_OF_ORDER_SEQUENCE_NUMBER",
				`${who} begins epoch ${producerEpoch} with sequence ${baseSequence}, not with 0`,
			);
		return;
	}
	const last = row.batches.at(-1)?.lastSequence ?? NO_SEQUENCE;
	if (baseSequence !== sequenceAfter(last, 1))
		throw new BrokerError(
			"OUT_OF_ORDER_SEQUENCE_NUMBER",
			`${who} comes with sequence ${baseSequence}, after ${last} of epoch ${producerEpoch}`,
		);
}

/** Behind the largest sequence comes 0. */
function sequenceAfter(sequence: number, count: number): number {
	const sum = sequence + count;
	return sum > SEQUENCE_MAX ? sum - SEQUENCE_MAX - 1 : sum;
}

function rowKey(partitionId: number, producerId: number): string {
	return partitionKey(partitionId) + producerId.toString(16).padStart(ID_DIGITS, "0");
}
