/**
 * Fetch: whole record batches of any number of partitions, or a wait for them. Without sessions: every request says all
 * that it wants, and every answer has all partitions that were asked for.
 */
import { Loan } from "../../base/buffer-pool.ts";
import { BrokerError } from "../../base/errors.ts";
import { Patience } from "../../base/patience.ts";
import { DataWait, type Isolation, readableEnd } from "../../broker/data-wait.ts";
import type { Partition } from "../../log/partition.ts";
import { comesLater } from "../../log/tier.ts";
import { BATCH_HEADER_BYTES, readBatchHeader } from "../../record/batch.ts";
import { api, type Call } from "../api.ts";
import { errorNumber } from "../error-number.ts";
import { checkLeaderEpoch } from "../leader-epoch.ts";
import { FetchRequest, FetchResponse } from "../protocol/messages/01-fetch.ts";
import type { DecodedOf, EncodableOf } from "../protocol/schema.ts";
import { TieredReads } from "../tiered-reads.ts";

type Request = DecodedOf<typeof FetchRequest>;
type Response = EncodableOf<typeof FetchResponse>;
type PartitionAnswer = NonNullable<NonNullable<Response["responses"]>[number]["partitions"]>[number];
type Wanted = Request["topics"][number]["partitions"][number];

const TOPIC_IDS_FROM = 13;
const TOP_LEVEL_ERROR_FROM = 7;
const READ_COMMITTED = 1;
/** Of a request that is whole in itself: the first of a session that it asks for, or of none. */
const WHOLE_REQUEST_EPOCHS: readonly number[] = [0, -1];
/** So much is read where the broker is over its memory budget, bytes: slow progress, not none. */
const BYTES_UNDER_PRESSURE = 64 * 1024;
/** Partitions that all waiting requests together may wait for: some 10 MB. */
const POLLED_MAX = 20_000;
/** Of the memory budget each of them takes so much, and all together no more than a quarter. */
const POLLED_BYTES = 320;
/** An answer without records about more partitions than these is large all the same: so much for each, while it is made. */
const FEW_PARTITIONS = 200;
const PARTITION_BYTES = 512;
const LEAST_BYTES_MAX = 64 * 1024;
const NOTHING = Buffer.alloc(0);
/** As Kafka's remote.fetch.max.wait.ms. */
const REMOTE_WAIT_MS = 500;
/** Who has enough records that are here waits no longer for others, and gets those with the next request. */
const REMOTE_WAIT_WITH_RECORDS_MS = 20;
/** Of records that are still to come from the object store, or cannot, a client with nothing else hears this late: it asks again at once. */
const COMES_LATER_MS = 500;

/** One partition of a request. */
interface Target {
	readonly wanted: Wanted;
	readonly partition: Partition | undefined;
	/** Why nothing is read of it. */
	readonly refusal: BrokerError | undefined;
}

interface Found {
	readonly answer: PartitionAnswer;
	/** Of records. */
	readonly bytes: number;
	/** Nothing is to be waited for: the client must hear of this. */
	readonly isUrgent: boolean;
	/** There are records, which the object store does not give now. */
	readonly comesLater?: boolean;
}

/** A read of the object store that has begun. */
interface Begun {
	readonly target: Target;
	/** What it is to bring, bytes, but for a first batch that is larger. */
	readonly most: number;
	/** Rejects with what nobody foresaw alone. */
	readonly found: Promise<Found>;
}

export const fetch = api({
	request: FetchRequest,
	response: FetchResponse,
	versions: [4, 17],
	waitsForEarlier: true,
	async handle(request, call) {
		if (call.version >= TOP_LEVEL_ERROR_FROM && !WHOLE_REQUEST_EPOCHS.includes(request.sessionEpoch))
			throw new BrokerError("FETCH_SESSION_ID_NOT_FOUND", "there are no fetch sessions here");
		const loan = new Loan(call.services.buffers);
		call.whenSent(() => loan.giveBack());
		const reading = new Reading(request, call, loan, call.services.options.remoteFetchMaxWaitMs ?? REMOTE_WAIT_MS);
		let found = await reading.all();
		const missing = reading.missing(found);
		const waitMs = reading.mayWait(found) ? reading.waitMs(found) : 0;
		if (waitMs > 0 && mayPoll(call, found.length)) {
			loan.giveBack();
			call.giveRoomBack();
			reading.giveRoomBack();
			// While it waits, as little as possible is held.
			found = [];
			await reading.wait(missing, waitMs);
			if (call.peer.closed) return undefined;
			// Anew: topics may be gone, or others by now. For the object store it has waited.
			found = await new Reading(request, call, loan, 0).all();
		}
		if (call.peer.closed) return undefined;
		let at = 0;
		return {
			responses: request.topics.map(({ topic, topicId, partitions }) => {
				const answers = found.slice(at, at + partitions.length).map(({ answer }) => answer);
				at += partitions.length;
				return { topic, topicId, partitions: answers };
			}),
		};
	},
	refuse(request, error, _message, { version }) {
		if (version >= TOP_LEVEL_ERROR_FROM) return { errorCode: error };
		return {
			responses: request.topics.map(({ topic, partitions }) => ({
				topic,
				partitions: partitions.map(({ partition }) => refused(partition, error)),
			})),
		};
	},
});

/** One request being answered. */
class Reading {
	readonly #request: Request;
	readonly #call: Call;
	readonly #loan: Loan;
	readonly #isolation: Isolation;
	/** Where each partition's readable records ended when it was last looked at. */
	readonly #known = new Map<Partition, number>();
	/** With the object store, all partitions together. */
	#patience: Patience;
	readonly #patienceMs: number;
	#tiered: TieredReads | undefined;

	constructor(request: Request, call: Call, loan: Loan, patienceMs: number) {
		this.#patienceMs = patienceMs;
		this.#patience = new Patience(call.services.broker.clock, patienceMs);
		this.#loan = loan;
		this.#request = request;
		this.#call = call;
		this.#isolation = request.isolationLevel === READ_COMMITTED ? "committed" : "uncommitted";
	}

	/** Whether the request is to wait for more than was found. */
	mayWait(found: readonly Found[]): boolean {
		const { maxWaitMs } = this.#request;
		if (maxWaitMs <= 0 || found.length === 0 || this.#call.peer.closed) return false;
		return !found.some(({ isUrgent }) => isUrgent) && this.missing(found) > 0;
	}

	/** For how long, milliseconds; 0 where it has waited long enough already. */
	waitMs(found: readonly Found[]): number {
		const { maxWaitMs } = this.#request;
		if (!found.some(({ comesLater }) => comesLater)) return maxWaitMs;
		return Math.min(maxWaitMs, COMES_LATER_MS) - this.#patience.spentMs;
	}

	/** What the object store gave is not needed any more. */
	giveRoomBack(): void {
		this.#tiered?.giveRoomBack();
	}

	/** Bytes that the request wants beside what was found. */
	missing(found: readonly Found[]): number {
		let missing = Math.min(this.#request.minBytes, this.#maxBytes());
		for (const { bytes } of found) missing -= bytes;
		return missing;
	}

	/** For so many bytes more, if they come in time. */
	async wait(missing: number, waitMs: number): Promise<void> {
		const { services, peer } = this.#call;
		const partitions = this.#known.size;
		services.polled.partitions += partitions;
		const wait = new DataWait({
			clock: services.broker.clock,
			isolation: this.#isolation,
			known: this.#known,
			bytes: missing,
			waitMs,
		});
		const stopListening = peer.onClose(() => wait.end());
		await wait.over;
		services.polled.partitions -= partitions;
		stopListening();
	}

	/** Of all partitions together. */
	#maxBytes(): number {
		const { maxBytes } = this.#request;
		return Math.max(0, Math.min(maxBytes, this.#call.services.options.maxFetchBytes));
	}

	/** With less room than this left the answer is full: a read that brings next to nothing costs what a large one does. */
	#leastBytes(): number {
		return Math.max(BATCH_HEADER_BYTES, Math.min(this.#maxBytes() / 8, LEAST_BYTES_MAX));
	}

	/** What there is of each target now, in their order. */
	async all(): Promise<Found[]> {
		const { pressure } = this.#call.services.broker;
		const all: Found[] = [];
		let held = 0;
		let targets = targetsOf(this.#request, this.#call);
		const expected = this.#expectedBytes(targets);
		const room = expected > 0 ? this.#call.claimRoom(expected) : undefined;
		if (room !== undefined) {
			// As little as possible is held here too.
			targets = [];
			await room;
			targets = targetsOf(this.#request, this.#call);
		}
		const begun = this.#beginTiered(targets);
		let promised = 0;
		for (const { most } of begun.values()) promised += most;
		try {
			const late = new Map<number, Begun>();
			for (const target of targets) {
				if (this.#call.peer.closed) return all;
				const most = pressure.over ? Math.min(this.#maxBytes(), BYTES_UNDER_PRESSURE) : this.#maxBytes();
				const tiered = begun.get(target);
				if (tiered !== undefined) late.set(all.length, tiered);
				const found =
					tiered !== undefined || (begun.size > 0 && this.#isTiered(target))
						? this.#full(target)
						: (this.#atEnd(target) ?? (await this.#read(target, most - held - promised, held === 0)));
				all.push(found);
				held += found.bytes;
				pressure.add(found.bytes);
			}
			for (const [at, { found: read, target }] of late) {
				const found = await read;
				// As with those that are here: a batch that is larger than asked for is only for who could not get on otherwise.
				const most = Math.min(this.#maxBytes() - held, target.wanted.partitionMaxBytes);
				if (found.bytes > most && held > 0) continue;
				all[at] = found;
				held += found.bytes;
				pressure.add(found.bytes);
			}
			return all;
		} finally {
			// Nothing may write into memory that is given back.
			await Promise.allSettled([...begun.values()].map(({ found }) => found));
			// The connection counts what it sends from here on.
			pressure.subtract(held);
		}
	}

	/** Whether what the target wants first is in the object store only. */
	#isTiered({ wanted: { fetchOffset }, partition, refusal }: Target): boolean {
		if (partition === undefined || refusal !== undefined || fetchOffset >= partition.localStartOffset) return false;
		return fetchOffset >= partition.logStartOffset && fetchOffset < readableEnd(partition, this.#isolation);
	}

	/** All at once: they arrive while what is here is read. */
	#beginTiered(targets: readonly Target[]): Map<Target, Begun> {
		const begun = new Map<Target, Begun>();
		if (!targets.some((target) => this.#isTiered(target))) return begun;
		const tiered = targets.filter((target) => this.#isTiered(target) && this.#atEnd(target) === undefined);
		let here = 0;
		let sharers = tiered.length;
		for (const target of targets) {
			const bytes = this.#bytesHere(target);
			here += bytes;
			if (bytes > 0) sharers += 1;
		}
		const { clock, pressure } = this.#call.services.broker;
		const isEnough = here > 0 && here >= this.#request.minBytes;
		this.#patience = new Patience(
			clock,
			isEnough ? Math.min(this.#patienceMs, REMOTE_WAIT_WITH_RECORDS_MS) : this.#patienceMs,
		);
		this.#tiered = new TieredReads(this.#call, this.#loan.take, this.#patience);
		const all = pressure.over ? Math.min(this.#maxBytes(), BYTES_UNDER_PRESSURE) : this.#maxBytes();
		// A fair part, so that the others have theirs whether it comes or not.
		const share = Math.max(this.#leastBytes(), Math.floor(all / sharers));
		let left = all - (sharers - tiered.length) * share;
		const first = this.#call.services.tierTurns.count++ % Math.max(1, tiered.length);
		for (const target of [...tiered.slice(first), ...tiered.slice(0, first)]) {
			this.#known.delete(target.partition as Partition);
			if (left < share && begun.size > 0) continue;
			const most = Math.max(0, Math.min(all, share, target.wanted.partitionMaxBytes));
			left -= most;
			const found = this.#readTiered(this.#tiered, target, most);
			// Who waits for it hears of it later.
			found.catch(() => {});
			begun.set(target, { target, most, found });
		}
		return begun;
	}

	/** Of records that are here to be read; Infinity where only a file knows. */
	#bytesHere({ wanted: { fetchOffset }, partition, refusal }: Target): number {
		if (partition === undefined || refusal !== undefined || fetchOffset < partition.localStartOffset) return 0;
		const tail = partition.readTail(fetchOffset, readableEnd(partition, this.#isolation));
		if (tail === undefined) return Number.POSITIVE_INFINITY;
		return tail.reduce((sum, { length }) => sum + length, 0);
	}

	async #readTiered(tiered: TieredReads, target: Target, maxBytes: number): Promise<Found> {
		const partition = target.partition as Partition;
		const end = readableEnd(partition, this.#isolation);
		try {
			const records = await tiered.read({ partition, offset: target.wanted.fetchOffset, maxBytes, end });
			// There is more behind them in any case: nothing is waited for.
			return { ...this.#found(target, records), isUrgent: true };
		} catch (error) {
			return this.#failed(target, error);
		}
	}

	/** Of memory, for what is going to be read: more rather than less. */
	#expectedBytes(targets: readonly Target[]): number {
		const most = this.#maxBytes();
		const count = targets.length;
		let bytes = count > FEW_PARTITIONS ? count * PARTITION_BYTES : 0;
		for (const { wanted, partition } of targets) {
			if (partition === undefined) continue;
			const end = readableEnd(partition, this.#isolation);
			// Those in the object store claim theirs when their turn has come.
			if (wanted.fetchOffset < partition.localStartOffset) continue;
			if (wanted.fetchOffset >= end) continue;
			const tail = partition.readTail(wanted.fetchOffset, end);
			// A batch is whole, however little is asked for.
			if (tail === undefined)
				bytes += Math.max(Math.min(most, wanted.partitionMaxBytes), partition.config.maxMessageBytes);
			else for (const { length } of tail) bytes += length;
			if (bytes >= most + partition.config.maxMessageBytes) return most + partition.config.maxMessageBytes;
		}
		return bytes;
	}

	/** The answer for a target of which nothing needs to be read. */
	#atEnd({ wanted, partition, refusal }: Target): Found | undefined {
		if (partition === undefined || refusal !== undefined)
			return { answer: refused(wanted.partition, errorNumber(refusal)), bytes: 0, isUrgent: true };
		const { fetchOffset, lastFetchedEpoch } = wanted;
		const end = readableEnd(partition, this.#isolation);
		this.#known.set(partition, end);
		const { logStartOffset, highWatermark } = partition;
		if (lastFetchedEpoch >= 0) {
			const last = partition.epochs.endOf(lastFetchedEpoch, logStartOffset, highWatermark);
			if (last === undefined || fetchOffset < logStartOffset) return outOfRange(wanted);
			if (last.epoch < lastFetchedEpoch || last.endOffset < fetchOffset) {
				const answer = { ...this.#empty(wanted, partition), divergingEpoch: last };
				return { answer, bytes: 0, isUrgent: true };
			}
		}
		if (fetchOffset < logStartOffset || fetchOffset > highWatermark) return outOfRange(wanted);
		if (fetchOffset < end) return undefined;
		return { answer: this.#empty(wanted, partition), bytes: 0, isUrgent: false };
	}

	async #read(target: Target, left: number, isFirst: boolean): Promise<Found> {
		const { wanted } = target;
		const from = target.partition as Partition;
		const most = Math.max(0, Math.min(left, wanted.partitionMaxBytes));
		if (!isFirst && left < this.#leastBytes()) return this.#full(target);
		const end = readableEnd(from, this.#isolation);
		const { pressure } = this.#call.services.broker;
		// What is read from a file takes its memory now, and is there later.
		const reserved = from.readTail(wanted.fetchOffset, end) === undefined ? most : 0;
		pressure.add(reserved);
		try {
			const records = await from.read(wanted.fetchOffset, most, end, this.#loan.take, this.#patience.leftMs);
			// Always a whole batch at least: one that is larger than asked for is only for who could not get on otherwise.
			return records.length > most && !isFirst ? this.#full(target) : this.#found(target, records);
		} catch (error) {
			return this.#failed(target, error);
		} finally {
			pressure.subtract(reserved);
		}
	}

	#found({ wanted, partition }: Target, records: Buffer): Found {
		const from = partition as Partition;
		const { fetchOffset } = wanted;
		// With what retention took meanwhile it was forgotten which of it were aborted.
		if (fetchOffset < from.logStartOffset) return outOfRange(wanted);
		const abortedTransactions = this.#isolation === "committed" ? abortedIn(from, fetchOffset, records) : null;
		const answer = { ...this.#empty(wanted, from), records, abortedTransactions };
		return { answer, bytes: records.length, isUrgent: false };
	}

	/** Of what the object store does not give in time the client hears nothing: it asks again. */
	#failed({ wanted, partition }: Target, error: unknown): Found {
		if (!(error instanceof BrokerError)) throw error;
		const isLater = comesLater(error);
		if (isLater) this.#known.delete(partition as Partition);
		const answer =
			error.code === "OFFSET_NOT_AVAILABLE"
				? this.#empty(wanted, partition as Partition)
				: refused(wanted.partition, errorNumber(error));
		return { answer, bytes: 0, isUrgent: !isLater, comesLater: isLater };
	}

	/** There is no room for it in this answer. */
	#full({ wanted, partition }: Target): Found {
		return { answer: this.#empty(wanted, partition as Partition), bytes: 0, isUrgent: false };
	}

	#empty({ partition: partitionIndex }: Wanted, partition: Partition): PartitionAnswer {
		const { highWatermark, lastStableOffset, logStartOffset } = partition;
		const abortedTransactions = this.#isolation === "committed" ? [] : null;
		return { partitionIndex, highWatermark, lastStableOffset, logStartOffset, abortedTransactions, records: NOTHING };
	}
}

/** What waits costs memory for each partition that it waits for; who would be too much is answered at once. */
function mayPoll({ services: { polled, broker } }: Call, partitions: number): boolean {
	const most = Math.min(POLLED_MAX, broker.pressure.budgetBytes / 4 / POLLED_BYTES);
	return polled.partitions + partitions <= most;
}

function targetsOf({ topics }: Request, { services, version }: Call): Target[] {
	const targets: Target[] = [];
	for (const { topic: name, topicId, partitions } of topics) {
		const byId = version >= TOPIC_IDS_FROM;
		const topic = byId ? services.broker.topics.getById(topicId) : services.broker.topics.get(name);
		// Made once: a request may name very many partitions.
		const unknown =
			byId && topic === undefined
				? new BrokerError("UNKNOWN_TOPIC_ID", `there is no topic with the id ${topicId}`)
				: new BrokerError("UNKNOWN_TOPIC_OR_PARTITION", `topic ${name} is not there, or has no such partition`);
		for (const wanted of partitions) {
			const partition = topic?.partitions[wanted.partition];
			const refusal = partition === undefined ? unknown : checkLeaderEpoch(partition, wanted.currentLeaderEpoch);
			targets.push({ wanted, partition, refusal });
		}
	}
	return targets;
}

/** Those that have records among `records`, whole batches from `fetchOffset` on. */
function abortedIn(
	{ transactions }: Partition,
	fetchOffset: number,
	records: Buffer,
): { producerId: number; firstOffset: number }[] {
	if (records.length === 0) return [];
	let last = 0;
	for (let at = 0; at < records.length; at += records.readInt32BE(at + 8) + 12) last = at;
	const end = readBatchHeader(records, last).lastOffset + 1;
	return transactions.aborted(fetchOffset, end).map(({ producerId, firstOffset }) => ({ producerId, firstOffset }));
}

function refused(partitionIndex: number, errorCode: number): PartitionAnswer {
	return { partitionIndex, errorCode, highWatermark: -1, abortedTransactions: null, records: NOTHING };
}

function outOfRange({ partition, fetchOffset }: Wanted): Found {
	const error = new BrokerError("OFFSET_OUT_OF_RANGE", `offset ${fetchOffset} of partition ${partition}`);
	return { answer: refused(partition, errorNumber(error)), bytes: 0, isUrgent: true };
}
