/**
 * Brings a producer's batches to the leaders of their partitions: side by side to each broker, one request at a time to each,
 * at most one batch of a partition in it, so that a partition gets its batches in order. What fails for a reason that passes is
 * sent again with the same bytes and the same sequence: the broker knows what it has already.
 */
import type { Clock } from "../../../src/base/clock.ts";
import { Patience } from "../../../src/base/patience.ts";
import type { Random } from "../../../src/base/random.ts";
import {
	ATTRIBUTE_APPEND_TIME,
	ATTRIBUTE_TRANSACTIONAL,
	CRC_COVERS_FROM,
	CRC_POSITION,
	setProducer,
} from "../../../src/record/batch-header.ts";
import { crc32c } from "../../../src/record/crc32c.ts";
import { PRODUCE } from "./apis.ts";
import { backoffMs } from "./attempts.ts";
import type { Cluster } from "./cluster.ts";
import { ErrorCode, KafkaError, kafkaError } from "./kafka-error.ts";
import { LinkError } from "./link-error.ts";

export interface OutgoingBatch {
	readonly topic: string;
	readonly partition: number;
	/** Format v2, base offset 0. The producer sets id, epoch, sequence, transactional bit and checksum in place. */
	readonly batch: Buffer;
	/** Of records. */
	readonly count: number;
}

export interface BatchOutcome {
	/** -1: not known. */
	readonly baseOffset: number;
	/** undefined: it is there. */
	readonly error: KafkaError | undefined;
	/** Which records the cluster refused, by their place in the batch, where it says so. */
	readonly recordErrors: readonly { readonly index: number; readonly message: string | null }[];
}

export interface DeliveryOptions {
	readonly cluster: Cluster;
	readonly clock: Clock;
	readonly random: Random;
	readonly transactionalId: string | undefined;
	readonly producerId: number;
	readonly epoch: number;
	/** The next of each partition, by `partitionKey`; changed as batches arrive. */
	readonly sequences: Map<string, number>;
	readonly requestTimeoutMs: number;
	/** How long one batch is tried. */
	readonly patienceMs: number;
	/** How long any is. */
	readonly overall: Patience | undefined;
	readonly signal: AbortSignal;
}

/** Of one request, roughly; a larger batch goes alone. */
const REQUEST_BYTES = 1024 * 1024;
/** A request has so much more time for its bytes: a link slower than that is as good as none. */
const SLOWEST_BYTES_PER_MS = 8;
/** The last of transactions version 1: with version 12 partitions add themselves to a transaction (KIP-890). */
const PRODUCE_AT_MOST = 11;
/** A topic that is being made is known everywhere after some seconds; then it is missing. */
export const MISSING_MS = 10_000;
/** A batch may be damaged on its way. */
const DAMAGED_MAX = 2;
const ALL_REPLICAS = -1;
/** Sequences go up to 2^31 - 1 and then begin again. */
const SEQUENCES = 2 ** 31;
const SENT: BatchOutcome = { baseOffset: -1, error: undefined, recordErrors: [] };

export function partitionKey(topic: string, partition: number): string {
	return `${topic}/${partition}`;
}

/** A partition's batches, the head being the one to go. */
interface Queue {
	readonly key: string;
	readonly topic: string;
	readonly partition: number;
	/** Places among all batches. */
	readonly places: number[];
	isBusy: boolean;
	/** Its leader is to be looked up. */
	isStale: boolean;
	isStamped: boolean;
	/** Of the head. */
	failures: number;
	damaged: number;
	patience: Patience | undefined;
	missing: Patience | undefined;
	readyAtMs: number;
}

export class Delivery {
	/** Whether a batch was given up of which it is not known whether it arrived. */
	isInDoubt = false;
	readonly outcomes: (BatchOutcome | undefined)[];
	readonly #options: DeliveryOptions;
	readonly #batches: readonly OutgoingBatch[];
	readonly #queues = new Map<string, Queue>();
	readonly #busyNodes = new Set<number>();
	/** Why nothing more is sent. */
	#failure: { readonly error: unknown } | undefined;
	#wake: () => void = () => {};

	/** `outcomes`: of batches that are not to be sent any more. */
	constructor(options: DeliveryOptions, batches: readonly OutgoingBatch[], outcomes: (BatchOutcome | undefined)[]) {
		this.#options = options;
		this.#batches = batches;
		this.outcomes = outcomes;
		batches.forEach(({ topic, partition }, place) => {
			if (outcomes[place] !== undefined) return;
			const key = partitionKey(topic, partition);
			let queue = this.#queues.get(key);
			if (queue === undefined) {
				queue = newQueue(key, topic, partition);
				this.#queues.set(key, queue);
			}
			queue.places.push(place);
		});
	}

	/** Resolves when each batch has its outcome. Rejects, when nothing is under way any more, where it cannot go on. */
	async run(): Promise<void> {
		const { signal } = this.#options;
		for (;;) {
			if (signal.aborted) this.#failure ??= { error: signal.reason };
			if (this.#failure === undefined) {
				if (this.#queues.size === 0 && this.#busyNodes.size === 0) return;
				await this.#learnLeaders();
				this.#startRequests();
			} else if (this.#busyNodes.size === 0) throw this.#failure.error;
			await this.#change();
		}
	}

	/** Until a request ends, or a batch may be tried again. */
	async #change(): Promise<void> {
		const { clock, signal } = this.#options;
		let atMs = Number.POSITIVE_INFINITY;
		if (this.#failure === undefined) {
			for (const queue of this.#queues.values()) {
				// What is ready waits for its broker, but for a leader nobody knows yet.
				if (!queue.isBusy && !this.#busyNodes.has(this.#leaderOf(queue))) atMs = Math.min(atMs, queue.readyAtMs);
			}
		}
		if (atMs === Number.POSITIVE_INFINITY && this.#busyNodes.size === 0) return;
		const { promise, resolve } = Promise.withResolvers<void>();
		const wake = (): void => resolve();
		this.#wake = wake;
		const delayMs = atMs - clock.monotonic();
		const timer = Number.isFinite(delayMs) ? clock.after(Math.max(0, delayMs), wake) : undefined;
		signal.addEventListener("abort", wake, { once: true });
		await promise;
		signal.removeEventListener("abort", wake);
		timer?.cancel();
	}

	#isReady(queue: Queue): boolean {
		return !queue.isBusy && queue.readyAtMs <= this.#options.clock.monotonic();
	}

	/** -1: not known. */
	#leaderOf({ topic, partition, isStale }: Queue): number {
		return isStale ? -1 : (this.#options.cluster.topic(topic)?.leaders[partition] ?? -1);
	}

	async #learnLeaders(): Promise<void> {
		const { cluster, signal } = this.#options;
		const lost = [...this.#queues.values()].filter((queue) => this.#isReady(queue) && this.#leaderOf(queue) < 0);
		if (lost.length === 0) return;
		for (const queue of lost) queue.isBusy = true;
		try {
			await cluster.refresh([...new Set(lost.map(({ topic }) => topic))], signal);
		} catch (error) {
			for (const queue of lost) queue.isBusy = false;
			this.#failed(lost, error);
			return;
		}
		for (const queue of lost) {
			queue.isBusy = false;
			queue.isStale = false;
			if (this.#leaderOf(queue) >= 0) continue;
			const topic = cluster.topic(queue.topic);
			const isMissing = topic?.errorCode === 0 && queue.partition >= topic.leaders.length;
			const none = isMissing ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : ErrorCode.LEADER_NOT_AVAILABLE;
			this.#refused(queue, topic?.errorCode || none, "Metadata", null, []);
		}
	}

	#startRequests(): void {
		for (const queue of [...this.#queues.values()]) {
			const node = this.#leaderOf(queue);
			if (node < 0 || !this.#isReady(queue) || this.#busyNodes.has(node)) continue;
			this.#busyNodes.add(node);
			void this.#serve(node);
		}
	}

	/** All that is ready for the broker, a request after the other. */
	async #serve(node: number): Promise<void> {
		try {
			for (let heads = this.#take(node); heads.length > 0; heads = this.#take(node)) await this.#request(node, heads);
		} catch (error) {
			this.#failure ??= { error };
		}
		this.#busyNodes.delete(node);
		this.#wake();
	}

	#take(node: number): Queue[] {
		const heads: Queue[] = [];
		if (this.#failure !== undefined) return heads;
		let bytes = 0;
		for (const queue of this.#queues.values()) {
			if (!this.#isReady(queue) || this.#leaderOf(queue) !== node) continue;
			const { length } = this.#head(queue).batch;
			if (bytes > 0 && bytes + length > REQUEST_BYTES) continue;
			bytes += length;
			heads.push(queue);
		}
		return heads;
	}

	#head({ places }: Queue): OutgoingBatch {
		return this.#batches[places[0] as number] as OutgoingBatch;
	}

	async #request(node: number, heads: readonly Queue[]): Promise<void> {
		const { cluster, clock, transactionalId, requestTimeoutMs, patienceMs, signal } = this.#options;
		let bytes = 0;
		const topics = new Map<string, { index: number; records: Buffer }[]>();
		for (const queue of heads) {
			const { batch } = this.#head(queue);
			this.#stamp(queue, batch);
			bytes += batch.length;
			queue.isBusy = true;
			queue.patience ??= new Patience(clock, patienceMs);
			const partitions = topics.get(queue.topic);
			const data = { index: queue.partition, records: batch };
			if (partitions === undefined) topics.set(queue.topic, [data]);
			else partitions.push(data);
		}
		const value = {
			transactionalId: transactionalId ?? null,
			acks: ALL_REPLICAS,
			// The broker is to give up first: it can say why.
			timeoutMs: Math.ceil(requestTimeoutMs * 0.75),
			topicData: [...topics].map(([name, partitionData]) => ({ name, partitionData })),
		};
		const timeoutMs = requestTimeoutMs + Math.ceil(bytes / SLOWEST_BYTES_PER_MS);
		try {
			const { body } = await cluster.toNode(node, PRODUCE, value, { timeoutMs, atMost: PRODUCE_AT_MOST, signal });
			for (const queue of heads) queue.isBusy = false;
			for (const queue of heads) this.#settle(queue, body);
		} catch (error) {
			for (const queue of heads) queue.isBusy = false;
			this.#failed(heads, error);
		}
	}

	#stamp(queue: Queue, batch: Buffer): void {
		if (queue.isStamped) return;
		const { producerId, epoch, sequences, transactionalId } = this.#options;
		const attributes = batch.readInt16BE(21) & ~(ATTRIBUTE_APPEND_TIME | ATTRIBUTE_TRANSACTIONAL);
		batch.writeInt16BE(transactionalId === undefined ? attributes : attributes | ATTRIBUTE_TRANSACTIONAL, 21);
		setProducer(batch, 0, { producerId, producerEpoch: epoch, baseSequence: sequences.get(queue.key) ?? 0 });
		batch.writeUInt32BE(crc32c(batch, CRC_COVERS_FROM), CRC_POSITION);
		queue.isStamped = true;
	}

	#settle(queue: Queue, { responses }: Body): void {
		const answer = responses
			.find(({ name }) => name === queue.topic)
			?.partitionResponses.find(({ index }) => index === queue.partition);
		if (answer === undefined) {
			const what = `Produce of topic ${queue.topic}: the answer lacks partition ${queue.partition}`;
			throw new LinkError("malformed", what, { maybeSent: true });
		}
		const { errorCode, baseOffset, errorMessage, recordErrors } = answer;
		if (errorCode === 0 || errorCode === ErrorCode.DUPLICATE_SEQUENCE_NUMBER) this.#arrived(queue, baseOffset);
		else {
			const records = recordErrors.map(({ batchIndex, batchIndexErrorMessage }) => ({
				index: batchIndex,
				message: batchIndexErrorMessage,
			}));
			this.#refused(queue, errorCode, "Produce", errorMessage, records);
		}
	}

	#arrived(queue: Queue, baseOffset: number): void {
		const { sequences } = this.#options;
		const place = queue.places.shift() as number;
		const { count } = this.#batches[place] as OutgoingBatch;
		this.outcomes[place] = baseOffset < 0 ? SENT : { ...SENT, baseOffset };
		sequences.set(queue.key, ((sequences.get(queue.key) ?? 0) + count) % SEQUENCES);
		if (queue.places.length === 0) this.#queues.delete(queue.key);
		else Object.assign(queue, FRESH);
	}

	#refused(
		queue: Queue,
		code: number,
		api: string,
		message: string | null,
		recordErrors: BatchOutcome["recordErrors"],
	): void {
		const { transactionalId, clock } = this.#options;
		const context = { topic: queue.topic, transactionalId, message };
		const error = kafkaError(code, api, context);
		const lasting = (): KafkaError => kafkaError(code, api, { ...context, lasting: true });
		if (code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) {
			queue.missing ??= new Patience(clock, MISSING_MS);
			if (queue.missing.leftMs === 0) {
				this.#giveUp(queue, lasting(), []);
				return;
			}
		} else queue.missing = undefined;
		switch (error.errorClass) {
			case "retry":
			case "coordinator":
			case "metadata":
				if (this.#again(queue, error.errorClass === "metadata")) return;
				// Such answers do not say that it is not there.
				this.isInDoubt = true;
				this.#giveUp(queue, lasting(), []);
				return;
			case "record":
				if (code === ErrorCode.CORRUPT_MESSAGE && queue.damaged++ < DAMAGED_MAX && this.#again(queue, false)) return;
				this.#giveUp(queue, error, recordErrors);
				return;
			case "size":
			case "topic":
				this.#giveUp(queue, error, recordErrors);
				return;
			default:
				this.#failure ??= { error };
		}
	}

	/** A request about these partitions came to nothing. */
	#failed(queues: readonly Queue[], error: unknown): void {
		if (error instanceof KafkaError) {
			for (const queue of queues) this.#refused(queue, error.code, error.api, null, []);
			return;
		}
		const passes = error instanceof LinkError && !error.lasting && error.failure !== "malformed";
		for (const queue of queues) {
			if (!passes || !this.#again(queue, true)) this.#failure ??= { error };
		}
	}

	/** False: patience is over. */
	#again(queue: Queue, isStale: boolean): boolean {
		const { clock, random, patienceMs, overall } = this.#options;
		queue.patience ??= new Patience(clock, patienceMs);
		const leftMs = Math.min(queue.patience.leftMs, overall?.leftMs ?? Number.POSITIVE_INFINITY);
		if (leftMs === 0) return false;
		queue.readyAtMs = clock.monotonic() + Math.min(leftMs, backoffMs(random, queue.failures));
		queue.failures++;
		queue.isStale ||= isStale;
		return true;
	}

	/** The batches behind it would leave a gap. */
	#giveUp(queue: Queue, error: KafkaError, recordErrors: BatchOutcome["recordErrors"]): void {
		if (queue.failures > 0) this.isInDoubt = true;
		queue.places.forEach((place, i) => {
			this.outcomes[place] = { baseOffset: -1, error, recordErrors: i === 0 ? recordErrors : [] };
		});
		this.#queues.delete(queue.key);
	}
}

interface Body {
	readonly responses: readonly {
		readonly name: string;
		readonly partitionResponses: readonly {
			readonly index: number;
			readonly errorCode: number;
			readonly baseOffset: number;
			readonly errorMessage: string | null;
			readonly recordErrors: readonly {
				readonly batchIndex: number;
				readonly batchIndexErrorMessage: string | null;
			}[];
		}[];
	}[];
}

/** Of a head that was not tried. */
const FRESH = {
	isStamped: false,
	failures: 0,
	damaged: 0,
	patience: undefined,
	missing: undefined,
	readyAtMs: 0,
};

function newQueue(key: string, topic: string, partition: number): Queue {
	return { key, topic, partition, places: [], isBusy: false, isStale: false, ...FRESH };
}
