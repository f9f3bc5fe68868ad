/**
 * The coordinator of transactions (Kafka's version 1 of them, on one node). Open transactions are in memory and in rows;
 * of all other transactional ids there are only rows. A transaction ends in one commit: markers, offsets and its row
 * together, so there is nothing to prepare and nothing to complete after a crash.
 *
 * Whatever is changed here, or found to be so already, may be told once `Log.whenCommitted` says so.
 */
import type { Clock, Timer } from "../../base/clock.ts";
import { BrokerError } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import type { Log } from "../../log/log.ts";
import type { Partition } from "../../log/partition.ts";
import { stateRows } from "../../log/state-rows.ts";
import { StateSpace } from "../../log/state-spaces.ts";
import type { GroupOffsets, OffsetEntry } from "../groups/group-offsets.ts";
import type { ProducerStates } from "../producer-states.ts";
import { type AgeWalk, RowAges } from "../row-ages.ts";
import { type EndSinks, endTransaction, MARKER_BYTES, type Outcome } from "./end-transaction.ts";
import { fenced, type NextEpoch, nextEpoch, type ProducerIdentity } from "./producer-epochs.ts";
import { PRODUCER_ID_BYTES, ProducerIds } from "./producer-ids.ts";
import { CLOSED_PREFIX, decodeRow, encodeRow, OPEN_PREFIX, rowBytes, type TransactionRow } from "./transaction-row.ts";

export interface TransactionsOptions {
	/** `transaction.max.timeout.ms`: the longest that a producer may ask for. */
	readonly maxTimeoutMs: number;
	/** `transactional.id.expiration.ms`: a transactional id that has not been used for so long is forgotten. */
	readonly idExpirationMs: number;
}

export const DEFAULT_TRANSACTIONS_OPTIONS: TransactionsOptions = {
	maxTimeoutMs: 900_000,
	idExpirationMs: 604_800_000,
};

export interface TransactionsParts {
	readonly log: Log;
	readonly clock: Clock;
	readonly logger: Logger;
	readonly producers: Pick<ProducerStates, "marker">;
	readonly offsets: Pick<GroupOffsets, "bytesOf" | "pending" | "pendingBytes" | "endTransaction">;
}

/** Who asks: a producer with a transactional id. */
export interface TransactionalProducer extends ProducerIdentity {
	readonly transactionalId: string;
}

/** What InitProducerId asks for. */
export interface InitProducerId extends ProducerIdentity {
	/** null: a producer that is only idempotent. */
	readonly transactionalId: string | null;
	readonly timeoutMs: number;
	/** With `producerEpoch`, what the producer has; both -1: nothing. */
	readonly producerId: number;
}

interface OpenTransaction {
	readonly transactionalId: string;
	row: TransactionRow;
	readonly partitions: Set<number>;
	readonly groups: Set<string>;
	/** Aborts it. */
	deadline: Timer;
}

/** A transactional id is part of a key in the journal. */
const ID_BYTES_MAX = 16 * 1024;
/** Beside the markers and the offsets, in a commit that ends or changes a transaction. */
const OVERHEAD_BYTES = 4096;
/** Partitions and groups of all open transactions together: some 20 MB. */
const PLACES_MAX = 200_000;
/** How often one is counted that has none. */
const PLACES_OF_ITSELF = 4;
/** When a transaction that timed out could not be aborted it is tried again after this. */
const RETRY_MS = 1000;
const EXPIRE_EVERY_MS = 3_600_000;
const PAGE = 256;

export class Transactions {
	readonly #parts: TransactionsParts;
	readonly #sinks: EndSinks;
	readonly #options: TransactionsOptions;
	readonly #ids: ProducerIds;
	/** By transactional id. */
	readonly #open = new Map<string, OpenTransaction>();
	readonly #byProducer = new Map<number, OpenTransaction>();
	#places = 0;
	readonly #ages: RowAges;
	#expiry: Timer | undefined;
	#stopped = false;

	constructor(parts: TransactionsParts, options: TransactionsOptions = DEFAULT_TRANSACTIONS_OPTIONS) {
		this.#parts = parts;
		this.#options = options;
		this.#sinks = parts;
		this.#ids = new ProducerIds(parts.log);
		this.#ages = new RowAges(parts.clock);
		for (const { transactionalId, row } of this.#rows(OPEN_PREFIX)) this.#remember(transactionalId, row);
		this.#expireLater();
	}

	stop(): void {
		this.#stopped = true;
		this.#expiry?.cancel();
		for (const { deadline } of this.#open.values()) deadline.cancel();
	}

	/** Whether the partition is in the producer's open transaction. */
	holds(producerId: number, producerEpoch: number, partition: Partition): boolean {
		const open = this.#byProducer.get(producerId);
		return open !== undefined && open.row.producerEpoch === producerEpoch && open.partitions.has(partition.id);
	}

	/**
	 * A producer id and an epoch with which every earlier instance is fenced; its transaction, if one is open, is aborted.
	 * Throws INVALID_REQUEST, INVALID_TRANSACTION_TIMEOUT, PRODUCER_FENCED, KAFKA_STORAGE_ERROR.
	 */
	initProducerId(request: InitProducerId): ProducerIdentity {
		const { transactionalId, timeoutMs, producerId, producerEpoch } = request;
		if ((producerId === -1) !== (producerEpoch === -1))
			throw new BrokerError("INVALID_REQUEST", "a producer id and an epoch belong together");
		if (transactionalId === null) return { producerId: this.#ids.take(), producerEpoch: 0 };
		if (transactionalId === "" || Buffer.byteLength(transactionalId) > ID_BYTES_MAX)
			throw new BrokerError("INVALID_REQUEST", `a transactional id has 1 to ${ID_BYTES_MAX} bytes`);
		if (!(timeoutMs > 0 && timeoutMs <= this.#options.maxTimeoutMs))
			throw new BrokerError(
				"INVALID_TRANSACTION_TIMEOUT",
				`a transaction's time-out of ${timeoutMs} ms: transaction.max.timeout.ms is ${this.#options.maxTimeoutMs}`,
			);
		const row = this.#row(transactionalId);
		const next = nextEpoch(row, producerId === -1 ? undefined : request);
		return this.#begin(transactionalId, timeoutMs, row, next);
	}

	#begin(
		transactionalId: string,
		timeoutMs: number,
		row: TransactionRow | undefined,
		next: NextEpoch,
	): ProducerIdentity {
		const open = this.#open.get(transactionalId);
		const now = this.#parts.clock.now();
		this.#admit();
		const { log } = this.#parts;
		const bytes = PRODUCER_ID_BYTES + this.#endBytes(transactionalId, open);
		const begun = log.group(Math.min(bytes, log.groupBytesMax), () => {
			// Its instance is fenced wherever its transaction has been.
			if (open !== undefined) endTransaction(this.#sinks, endOf(open), open.row.producerEpoch + 1, "abort");
			const begun: TransactionRow = {
				state: "Empty",
				producerId: row === undefined || next.newProducerId ? this.#ids.take() : row.producerId,
				producerEpoch: next.producerEpoch,
				lastProducerEpoch: next.lastProducerEpoch,
				lastProducerId: (next.newProducerId ? row?.producerId : row?.lastProducerId) ?? -1,
				timeoutMs,
				startedMs: -1,
				updatedMs: now,
				partitions: [],
				groups: [],
			};
			this.#put(transactionalId, begun, open);
			return begun;
		});
		if (open !== undefined) this.#forget(open);
		return begun;
	}

	/**
	 * Takes the partitions into the producer's transaction, which begins with its first. Throws INVALID_REQUEST,
	 * INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, RECORD_LIST_TOO_LARGE: more than one commit could end;
	 * CONCURRENT_TRANSACTIONS: too many are open; KAFKA_STORAGE_ERROR.
	 */
	addPartitions(by: TransactionalProducer, partitions: readonly Partition[]): void {
		this.#add(
			by,
			partitions.map(({ id }) => id),
			[],
		);
	}

	/** Takes the offsets of a group into it: as `addPartitions`. */
	addGroup(by: TransactionalProducer, group: string): void {
		this.#add(by, [], [group]);
	}

	#add(by: TransactionalProducer, partitions: readonly number[], groups: readonly string[]): void {
		const { log, clock } = this.#parts;
		const row = this.#check(by);
		const open = this.#open.get(by.transactionalId);
		const allPartitions = new Set([...row.partitions, ...partitions]);
		const allGroups = new Set([...row.groups, ...groups]);
		const added = allPartitions.size + allGroups.size - row.partitions.length - row.groups.length;
		if (added === 0 && open !== undefined) return;
		this.#checkEnd(row.producerId, allPartitions.size, allGroups, 0);
		if (this.#places + added + PLACES_OF_ITSELF > PLACES_MAX)
			throw new BrokerError("CONCURRENT_TRANSACTIONS", "too many transactions are open");
		const now = clock.now();
		const changed: TransactionRow = {
			...row,
			state: "Ongoing",
			startedMs: open === undefined ? now : row.startedMs,
			updatedMs: now,
			partitions: [...allPartitions],
			groups: [...allGroups],
		};
		this.#admit();
		const bytes = OVERHEAD_BYTES + 6 * by.transactionalId.length + rowBytes(allPartitions.size, allGroups);
		log.group(bytes, () => this.#put(by.transactionalId, changed, open));
		if (open === undefined) {
			this.#remember(by.transactionalId, changed);
			return;
		}
		open.row = changed;
		for (const id of partitions) open.partitions.add(id);
		for (const group of groups) open.groups.add(group);
		this.#places += added;
	}

	/** Whether the group is in the producer's transaction. Throws as `addGroup`, INVALID_TXN_STATE. */
	checkGroup(by: TransactionalProducer, group: string): void {
		this.#holding(by, group);
	}

	/**
	 * Offsets that the group gets when the transaction commits. Throws as `checkGroup`; INVALID_COMMIT_OFFSET_SIZE: more
	 * than one commit could end.
	 */
	commitOffsets(by: TransactionalProducer, group: string, entries: readonly OffsetEntry[]): void {
		const { log, offsets } = this.#parts;
		const open = this.#holding(by, group);
		const bytes = offsets.bytesOf(group, entries);
		this.#checkEnd(by.producerId, open.partitions.size, open.groups, 2 * bytes);
		this.#admit();
		log.group(bytes, () => offsets.pending(by.producerId, by.producerEpoch, group, entries));
	}

	#holding(by: TransactionalProducer, group: string): OpenTransaction {
		this.#check(by);
		const open = this.#open.get(by.transactionalId);
		if (open?.groups.has(group) !== true)
			throw new BrokerError("INVALID_TXN_STATE", `group ${group} is not in a transaction of ${by.transactionalId}`);
		return open;
	}

	/**
	 * Ends the producer's transaction; once more is the same. Throws INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING,
	 * PRODUCER_FENCED, INVALID_TXN_STATE: none is open, or it ended the other way; KAFKA_STORAGE_ERROR.
	 */
	end(by: TransactionalProducer, outcome: Outcome): void {
		const row = this.#check(by);
		const open = this.#open.get(by.transactionalId);
		const ended = outcome === "commit" ? "CompleteCommit" : "CompleteAbort";
		if (open !== undefined) this.#end(open, row.producerEpoch, outcome);
		else if (row.state !== ended)
			throw new BrokerError("INVALID_TXN_STATE", `${outcome} of a transaction that is ${row.state}`);
	}

	/** The newest, durable or not; of an open transaction as of all others. */
	describe(transactionalId: string): TransactionRow | undefined {
		return this.#row(transactionalId);
	}

	/** Every transactional id, the open ones first; what changes meanwhile may be told as it was or as it is, or twice. */
	*list(): Generator<{ transactionalId: string; row: TransactionRow }> {
		yield* [...this.#open.values()];
		yield* this.#rows(CLOSED_PREFIX);
	}

	#end(open: OpenTransaction, producerEpoch: number, outcome: Outcome): void {
		this.#admit();
		const row: TransactionRow = {
			...open.row,
			state: outcome === "commit" ? "CompleteCommit" : "CompleteAbort",
			producerEpoch,
			// Who timed out may say so and go on.
			lastProducerEpoch: producerEpoch === open.row.producerEpoch ? open.row.lastProducerEpoch : open.row.producerEpoch,
			updatedMs: this.#parts.clock.now(),
			partitions: [],
			groups: [],
		};
		const { log } = this.#parts;
		const bytes = this.#endBytes(open.transactionalId, open);
		// Offsets of others make no abort larger: it is never refused.
		log.group(outcome === "abort" ? Math.min(bytes, log.groupBytesMax) : bytes, () => {
			endTransaction(this.#sinks, endOf(open), producerEpoch, outcome);
			this.#put(open.transactionalId, row, open);
		});
		this.#forget(open);
	}

	/** Its producer is fenced, for it cannot know what became of its transaction; when it says what it had it may go on. */
	#timedOut(open: OpenTransaction): void {
		const { log, logger } = this.#parts;
		if (this.#stopped || log.failed !== undefined) return;
		const { transactionalId, row } = open;
		try {
			this.#end(open, row.producerEpoch + 1, "abort");
		} catch (error) {
			if (!(error instanceof BrokerError)) throw error;
			open.deadline = this.#parts.clock.after(RETRY_MS, () => this.#timedOut(open));
			return;
		}
		logger.warn("a transaction timed out and was aborted", {
			transactionalId,
			producerId: row.producerId,
			timeoutMs: row.timeoutMs,
		});
	}

	#check(by: TransactionalProducer): TransactionRow {
		if (by.transactionalId === "") throw new BrokerError("INVALID_REQUEST", "no transactional id");
		const row = this.#row(by.transactionalId);
		if (row === undefined || row.producerId !== by.producerId)
			throw new BrokerError(
				"INVALID_PRODUCER_ID_MAPPING",
				`transactional id ${by.transactionalId} does not have producer id ${by.producerId}`,
			);
		if (row.producerEpoch !== by.producerEpoch) throw fenced(row, by);
		return row;
	}

	/** Before anything is changed. */
	#admit(): void {
		const { refusal, failed } = this.#parts.log;
		if (refusal !== undefined) throw refusal;
		if (failed !== undefined) throw new BrokerError("KAFKA_STORAGE_ERROR", "storage failed", { cause: failed });
	}

	/** Half of what a commit takes: offsets of others in the same groups add to it until the transaction ends. */
	#checkEnd(producerId: number, partitions: number, groups: Iterable<string>, moreOffsets: number): void {
		const { log, offsets } = this.#parts;
		const most = log.groupBytesMax / 2;
		const markers = partitions * MARKER_BYTES + OVERHEAD_BYTES;
		if (markers > most)
			throw new BrokerError("RECORD_LIST_TOO_LARGE", `a transaction in ${partitions} partitions cannot end at once`);
		// To count the offsets costs something: few partitions fit beside any number that was taken.
		if (moreOffsets === 0 && markers < most / 2) return;
		if (markers + offsets.pendingBytes(producerId, groups) + moreOffsets > most)
			throw new BrokerError("INVALID_COMMIT_OFFSET_SIZE", "a transaction with so many offsets cannot end at once");
	}

	#endBytes(transactionalId: string, open: OpenTransaction | undefined): number {
		const bytes = OVERHEAD_BYTES + 9 * transactionalId.length;
		if (open === undefined) return bytes;
		const { row, partitions, groups } = open;
		return bytes + partitions.size * MARKER_BYTES + this.#parts.offsets.pendingBytes(row.producerId, groups);
	}

	#row(transactionalId: string): TransactionRow | undefined {
		const open = this.#open.get(transactionalId);
		if (open !== undefined) return open.row;
		const value = this.#parts.log.getState(StateSpace.KAFKA_TRANSACTION, CLOSED_PREFIX + transactionalId);
		return value === undefined ? undefined : decodeRow(value);
	}

	/** In the commit being gathered. `was`: it is open until then. */
	#put(transactionalId: string, row: TransactionRow, was: OpenTransaction | undefined): void {
		const { log } = this.#parts;
		const isOpen = row.state === "Ongoing";
		const value = encodeRow(row);
		log.putState(StateSpace.KAFKA_TRANSACTION, (isOpen ? OPEN_PREFIX : CLOSED_PREFIX) + transactionalId, value);
		if (isOpen === (was !== undefined)) return;
		log.deleteState(StateSpace.KAFKA_TRANSACTION, (isOpen ? CLOSED_PREFIX : OPEN_PREFIX) + transactionalId);
	}

	#remember(transactionalId: string, row: TransactionRow): void {
		const open: OpenTransaction = {
			transactionalId,
			row,
			partitions: new Set(row.partitions),
			groups: new Set(row.groups),
			deadline: this.#parts.clock.after(row.timeoutMs, () => this.#timedOut(open)),
		};
		this.#open.set(transactionalId, open);
		this.#byProducer.set(row.producerId, open);
		this.#places += PLACES_OF_ITSELF + open.partitions.size + open.groups.size;
	}

	#forget(open: OpenTransaction): void {
		open.deadline.cancel();
		this.#open.delete(open.transactionalId);
		this.#byProducer.delete(open.row.producerId);
		this.#places -= PLACES_OF_ITSELF + open.partitions.size + open.groups.size;
	}

	*#rows(prefix: string): Generator<{ transactionalId: string; row: TransactionRow }> {
		const to = String.fromCharCode(prefix.charCodeAt(0) + 1);
		for (const [key, value] of stateRows(this.#parts.log, StateSpace.KAFKA_TRANSACTION, prefix, to))
			yield { transactionalId: key.slice(1), row: decodeRow(value) };
	}

	#expireLater(): void {
		const begin = (): void => this.#expire(this.#rows(CLOSED_PREFIX), this.#ages.begin());
		this.#expiry = this.#parts.clock.after(EXPIRE_EVERY_MS, begin);
	}

	/** A page of them at a time. */
	#expire(rows: Generator<{ transactionalId: string; row: TransactionRow }>, walk: AgeWalk): void {
		const { log, clock } = this.#parts;
		if (this.#stopped || log.failed !== undefined) return;
		for (let i = 0; i < PAGE; i++) {
			const next = log.refusal === undefined ? rows.next() : undefined;
			if (next === undefined || next.done === true) {
				if (next !== undefined) walk.finished();
				this.#expireLater();
				return;
			}
			this.#review(next.value.transactionalId, walk);
		}
		this.#expiry = clock.after(1, () => this.#expire(rows, walk));
	}

	#review(transactionalId: string, walk: AgeWalk): void {
		// As it is now: it may have changed since its page was read.
		const row = this.#row(transactionalId);
		if (row === undefined || this.#open.has(transactionalId)) return;
		const fate = walk.fateOf(row.updatedMs, row.updatedMs + this.#options.idExpirationMs);
		if (fate === "expire") this.#parts.log.deleteState(StateSpace.KAFKA_TRANSACTION, CLOSED_PREFIX + transactionalId);
		else if (fate === "restamp") this.#put(transactionalId, { ...row, updatedMs: walk.now }, undefined);
	}
}

function endOf({ row: { producerId }, partitions, groups }: OpenTransaction) {
	return { producerId, partitions, groups };
}
