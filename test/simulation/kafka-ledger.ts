/**
 * What producers know of their transactions, and what a log must then show of them: every transaction whose commit was
 * acknowledged, wholly; of one whose commit was asked for, all or nothing; of all others nothing.
 */
import { BrokerError } from "../../src/base/errors.ts";
import type { Broker } from "../../src/broker/broker.ts";
import type { Partition } from "../../src/log/partition.ts";
import { type BatchHeader, decodeControlKey, decodeRecords, readBatchHeader } from "../../src/record/batch.ts";
import { Violation } from "./log-model.ts";

export interface LedgerTransaction {
	readonly number: number;
	readonly transactionalId: string;
	/** Acknowledged records by partition id, in order. */
	readonly records: Map<number, { readonly value: string; readonly offset: number }[]>;
	/** What its group gets; undefined: nothing. */
	offset: number | undefined;
	/** A commit was sent, and may have been carried out. */
	isCommitAsked: boolean;
	end: "commit" | "abort" | undefined;
}

/** A transaction as the records and markers of one partition tell it. */
interface Told {
	readonly producerId: number;
	readonly firstOffset: number;
	outcome: "commit" | "abort" | undefined;
	markerOffset: number;
	readonly numbers: Set<number>;
	readonly batches: { readonly header: BatchHeader; readonly values: readonly string[] }[];
}

export class Ledger {
	readonly transactions = new Map<number, LedgerTransaction>();
	/** Ids of partitions that were deleted. */
	readonly gone = new Set<number>();
	checks = 0;

	/** Compares with all that is durable; nothing may be under way. `finish` waits for what a simulated disk does. */
	async compare(broker: Broker, finish: <T>(promise: Promise<T>) => Promise<T>): Promise<void> {
		const outcomes = new Map<number, { outcome: Told["outcome"]; where: string; at: number }>();
		for (const partition of broker.log.partitions.values()) {
			const where = `${partition.topic}-${partition.number}`;
			const told = await readAll(partition, finish);
			this.#checkReaders(partition, told, where);
			for (const each of told) {
				for (const number of each.numbers) {
					const before = outcomes.get(number);
					if (before !== undefined && before.outcome !== each.outcome)
						throw new Violation(
							`transaction ${number}: ${before.outcome} in ${before.where}, ${each.outcome} in ${where}`,
						);
					outcomes.set(number, { outcome: each.outcome, where, at: each.markerOffset });
				}
			}
			this.#checkRecords(partition, told, where);
		}
		for (const [number, { outcome, where }] of outcomes) this.#checkOutcome(number, outcome, where);
		this.#checkOffsets(broker, outcomes);
		this.checks++;
	}

	#checkOutcome(number: number, outcome: Told["outcome"], where: string): void {
		const transaction = this.transactions.get(number);
		if (transaction === undefined) throw new Violation(`${where} has records of nobody's transaction ${number}`);
		if (outcome === "commit" && !transaction.isCommitAsked)
			throw new Violation(`transaction ${number} was committed in ${where}; nobody asked for it`);
		if (transaction.end !== undefined && transaction.end !== outcome)
			throw new Violation(`transaction ${number} was acknowledged as ${transaction.end}; in ${where} it is ${outcome}`);
	}

	/** All that is said to be in a committed transaction is there, in order, once, and nothing else. */
	#checkRecords(partition: Partition, told: readonly Told[], where: string): void {
		const found = new Map<number, string[]>();
		const outcomeOf = new Map<number, Told["outcome"]>();
		for (const { outcome, batches } of told) {
			for (const { values } of batches) {
				for (const value of values) {
					const number = numberOf(value);
					outcomeOf.set(number, outcome);
					const list = found.get(number);
					if (list === undefined) found.set(number, [value]);
					else list.push(value);
				}
			}
		}
		for (const transaction of this.transactions.values()) {
			const { number, records, end } = transaction;
			const expected = (records.get(partition.id) ?? []).filter(({ offset }) => offset >= partition.logStartOffset);
			if (end !== "commit" && outcomeOf.get(number) !== "commit") continue;
			const actual = (found.get(number) ?? []).join();
			if (actual !== expected.map(({ value }) => value).join())
				throw new Violation(
					`committed transaction ${number} in ${where}: [${actual}], not [${expected.map(({ value }) => value).join()}]`,
				);
		}
	}

	/** What readers of committed records are told is what records and markers say. */
	#checkReaders(partition: Partition, told: readonly Told[], where: string): void {
		const open = told.filter(({ outcome }) => outcome === undefined).map(({ firstOffset }) => firstOffset);
		const stable = Math.min(partition.highWatermark, ...open);
		if (partition.lastStableOffset !== stable)
			throw new Violation(`${where}: last stable offset ${partition.lastStableOffset}, not ${stable}`);
		for (const { batches, outcome } of told) {
			for (const { header } of batches) {
				if (header.baseOffset >= stable) continue;
				if (partition.isVisible(header) !== (outcome === "commit"))
					throw new Violation(`${where}: the batch at ${header.baseOffset} is of a transaction that is ${outcome}`);
			}
		}
		const { logStartOffset } = partition;
		const aborted = told.filter(({ outcome }) => outcome === "abort");
		for (let i = 0; i < 8; i++) {
			const from = logStartOffset + Math.floor(((stable - logStartOffset) * i) / 8);
			const to = from + Math.ceil((stable - from) / (1 + (i % 3)));
			const expected = aborted
				.filter(({ firstOffset, markerOffset }) => markerOffset >= from && firstOffset < to)
				.map(({ producerId, markerOffset }) => `${producerId}:${markerOffset}`);
			const actual = partition.transactions
				.aborted(from, to)
				// Of those whose records retention took nothing but the marker may be left.
				.filter(({ producerId, lastOffset, firstOffset }) => {
					const isThere = aborted.some((one) => one.producerId === producerId && one.markerOffset === lastOffset);
					return isThere || firstOffset >= logStartOffset;
				})
				.map(({ producerId, lastOffset }) => `${producerId}:${lastOffset}`);
			if (actual.join() !== expected.join())
				throw new Violation(`${where}: aborted from ${from} to ${to}: [${actual}], not [${expected}]`);
		}
	}

	/** The group of a transactional id has the offset of its newest transaction that was committed with one. */
	#checkOffsets(broker: Broker, outcomes: ReadonlyMap<number, { outcome: Told["outcome"] }>): void {
		const newest = new Map<string, LedgerTransaction>();
		const doubtful = new Set<string>();
		for (const transaction of this.transactions.values()) {
			const { number, transactionalId, offset, end, isCommitAsked } = transaction;
			if (offset === undefined) continue;
			if (end === "commit" || outcomes.get(number)?.outcome === "commit") {
				newest.set(transactionalId, transaction);
				doubtful.delete(transactionalId);
			} else if (isCommitAsked && !outcomes.has(number)) {
				// Its records went with their topic or with time: who can say?
				doubtful.add(transactionalId);
			}
		}
		for (const transactionalId of new Set([...this.transactions.values()].map((each) => each.transactionalId))) {
			if (doubtful.has(transactionalId)) continue;
			const committed = broker.groups.offsets.fetch(groupOf(transactionalId), OFFSETS_TOPIC, 0)?.offset;
			const expected = newest.get(transactionalId)?.offset;
			if (committed !== expected)
				throw new Violation(`group ${groupOf(transactionalId)} has offset ${committed}, not ${expected}`);
		}
	}
}

/** The topic whose offsets the producers commit. */
export const OFFSETS_TOPIC = "in";

export function groupOf(transactionalId: string): string {
	return `group of ${transactionalId}`;
}

/** Of the transaction that a record's value is of. */
function numberOf(value: string): number {
	return Number(value.split("/")[0]);
}

/** Every durable record, by transaction, in the order of their beginnings. */
async function readAll(partition: Partition, finish: <T>(promise: Promise<T>) => Promise<T>): Promise<Told[]> {
	const told: Told[] = [];
	const open = new Map<number, Told>();
	for (let offset = partition.logStartOffset; offset < partition.highWatermark; ) {
		const bytes = await finish(partition.read(offset, 64 * 1024, partition.highWatermark));
		if (bytes.length === 0) throw new Violation(`nothing to read at ${offset} of ${partition.highWatermark}`);
		for (let at = 0; at < bytes.length; ) {
			const header = readBatchHeader(bytes, at);
			const records = decodeRecords(bytes, at);
			at += header.sizeBytes;
			offset = header.lastOffset + 1;
			const { producerId } = header;
			if (header.isControl) {
				const ended = open.get(producerId);
				if (ended === undefined) continue;
				ended.outcome = decodeControlKey(records[0]?.key ?? null).type === 1 ? "commit" : "abort";
				ended.markerOffset = header.baseOffset;
				open.delete(producerId);
				continue;
			}
			const values = records.map(({ value }) => String(value));
			const numbers = new Set(values.map(numberOf));
			let transaction = open.get(producerId);
			if (transaction === undefined) {
				const firstOffset = header.baseOffset;
				transaction = { producerId, firstOffset, outcome: undefined, markerOffset: -1, numbers, batches: [] };
				open.set(producerId, transaction);
				told.push(transaction);
			}
			for (const number of numbers) transaction.numbers.add(number);
			if (transaction.numbers.size > 1) throw new Violation(`two transactions in one: ${[...transaction.numbers]}`);
			transaction.batches.push({ header, values });
		}
	}
	// As readers are told of them: by the offset of their markers.
	return told.sort((a, b) => a.markerOffset - b.markerOffset);
}

/** Kafka's name of what went wrong; throws what is no refusal. */
export function codeOf(error: unknown): string {
	if (error instanceof BrokerError) return error.code;
	throw error;
}
