/**
 * Fetch: whole record batches of any number of partitions, or a wait for them. Without sessions: every request says all
 * that it wants, and every answer has all partitions that were asked for.
 */
import { Loan } from "../../base/buffer-pool.ts";
import { BrokerError } from "../../base/errors.ts";
import { DataWait, type Isolation, readableEnd } from "../../broker/data-wait.ts";
import type { Partition } from "../../log/partition.ts";
import { BATCH_HEADER_BYTES, readBatchHeader } from "../../record/batch.ts";
import { api, type Call } from "../api.ts";
import { errorNumber } from "../error-number.ts";
import { checkLeaderEpoch, LEADER_EPOCH } from "../leader-epoch.ts";
import { FetchRequest, FetchResponse } from "../protocol/messages/01-fetch.ts";
import type { DecodedOf, EncodableOf } from "../protocol/schema.ts";

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
		const reading = new Reading(request, call, loan);
		let found = await reading.all();
		const missing = reading.missing(found);
		if (reading.mayWait(found) && mayPoll(call, found.length)) {
			loan.giveBack();
			call.giveRoomBack();
			// While it waits, as little as possible is held.
			found = [];
			await reading.wait(missing);
			if (call.peer.closed) return undefined;
			// Anew: topics may be gone, or others by now.
			found = await new Reading(request, call, loan).all();
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

	constructor(request: Request, call: Call, loan: Loan) {
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

	/** Bytes that the request wants beside what was found. */
	missing(found: readonly Found[]): number {
		let missing = Math.min(this.#request.minBytes, this.#maxBytes());
		for (const { bytes } of found) missing -= bytes;
		return missing;
	}

	/** For so many bytes more, if they come in time. */
	async wait(missing: number): Promise<void> {
		const { services, peer } = this.#call;
		const partitions = this.#known.size;
		services.polled.partitions += partitions;
		const wait = new DataWait({
			clock: services.broker.clock,
			isolation: this.#isolation,
			known: this.#known,
			bytes: missing,
			waitMs: this.#request.maxWaitMs,
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
		try {
			for (const target of targets) {
				if (this.#call.peer.closed) return all;
				const most = pressure.over ? Math.min(this.#maxBytes(), BYTES_UNDER_PRESSURE) : this.#maxBytes();
				const found = this.#atEnd(target) ?? (await this.#read(target, most - held, held === 0));
				all.push(found);
				held += found.bytes;
				pressure.add(found.bytes);
			}
			return all;
		} finally {
			// The connection counts what it sends from here on.
			pressure.subtract(held);
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
		if (lastFetchedEpoch > LEADER_EPOCH) return outOfRange(wanted);
		if (lastFetchedEpoch === LEADER_EPOCH && fetchOffset > partition.highWatermark) {
			const divergingEpoch = { epoch: LEADER_EPOCH, endOffset: partition.highWatermark };
			return { answer: { ...this.#empty(wanted, partition), divergingEpoch }, bytes: 0, isUrgent: true };
		}
		if (fetchOffset < partition.logStartOffset || fetchOffset > partition.highWatermark) return outOfRange(wanted);
		if (fetchOffset < end) return undefined;
		return { answer: this.#empty(wanted, partition), bytes: 0, isUrgent: false };
	}

	async #read({ wanted, partition }: Target, left: number, isFirst: boolean): Promise<Found> {
		const { fetchOffset } = wanted;
		const from = partition as Partition;
		const answer = this.#empty(wanted, from);
		const most = Math.max(0, Math.min(left, wanted.partitionMaxBytes));
		if (!isFirst && left < this.#leastBytes()) return { answer, bytes: 0, isUrgent: false };
		const end = readableEnd(from, this.#isolation);
		const { pressure } = this.#call.services.broker;
		// What is read from a file takes its memory now, and is there later.
		const reserved = from.readTail(fetchOffset, end) === undefined ? most : 0;
		pressure.add(reserved);
		try {
			const records = await from.read(fetchOffset, most, end, this.#loan.take);
			// Always a whole batch at least: one that is larger than asked for is only for who could not get on otherwise.
			if (records.length > most && !isFirst) return { answer, bytes: 0, isUrgent: false };
			// With what retention took meanwhile it was forgotten which of it were aborted.
			if (fetchOffset < from.logStartOffset) return outOfRange(wanted);
			const abortedTransactions = this.#isolation === "committed" ? abortedIn(from, fetchOffset, records) : null;
			return { answer: { ...answer, records, abortedTransactions }, bytes: records.length, isUrgent: false };
		} catch (error) {
			if (!(error instanceof BrokerError)) throw error;
			return { answer: refused(wanted.partition, errorNumber(error)), bytes: 0, isUrgent: true };
		} finally {
			pressure.subtract(reserved);
		}
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
			const refusal = partition === undefined ? unknown : checkLeaderEpoch(wanted.currentLeaderEpoch);
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
