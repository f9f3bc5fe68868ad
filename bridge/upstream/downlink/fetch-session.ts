/**
 * Fetches from one broker, incrementally (KIP-227): the broker remembers what is wanted, so that a long poll in which nothing
 * comes costs some eighty bytes however many partitions there are. A broker that keeps no sessions, or has no place for another,
 * is told everything each time.
 */
import type { FetchResponse } from "../../../src/kafka/protocol/messages/01-fetch.ts";
import { type DecodedOf, ZERO_UUID } from "../../../src/kafka/protocol/schema.ts";
import { FETCH } from "../client/apis.ts";
import type { Cluster } from "../client/cluster.ts";
import type { Fetched } from "../client/committed.ts";
import { kafkaError } from "../client/kafka-error.ts";
import { LinkError } from "../client/link-error.ts";

/** Where one partition is to be read; the caller moves it on. */
export interface Wanted {
	readonly topic: string;
	readonly topicId: string;
	readonly partition: number;
	readonly next: number;
	/** Of the batch before `next`; below 0: not known. The broker tells by it whether it still has what was read. */
	readonly epoch: number;
}

export interface FetchAnswer<W extends Wanted> {
	readonly wanted: W;
	readonly errorCode: number;
	/** Set where the broker's log has other records before `next` than were read: how far it has those of `epoch`. */
	readonly divergedAt: number | undefined;
	readonly fetched: Fetched;
}

export interface FetchLimits {
	readonly maxWaitMs: number;
	/** Of the whole answer, but for a first batch that is larger. */
	readonly maxBytes: number;
	readonly signal: AbortSignal;
}

const NO_EPOCH = -1;
const TOPIC_IDS_FROM = 13;
/** Topics without an id are asked for by name. */
const NAMES_UP_TO = TOPIC_IDS_FROM - 1;
const READ_COMMITTED = 1;
const FETCH_SESSION_ID_NOT_FOUND = 70;
const INVALID_FETCH_SESSION_EPOCH = 71;
const FETCH_SESSION_TOPIC_ID_ERROR = 106;
const OUT_OF_STEP: readonly number[] = [
	FETCH_SESSION_ID_NOT_FOUND,
	INVALID_FETCH_SESSION_EPOCH,
	FETCH_SESSION_TOPIC_ID_ERROR,
];
const NOTHING = Buffer.alloc(0);
const EPOCH_MAX = 0x7fff_ffff;
/** Long polls go over a connection of their own. */
const LANE = "downlink";

export class FetchSession {
	readonly #nodeId: number;
	/** 0: the broker keeps none. */
	#id = 0;
	/** 0: the next request says everything. */
	#epoch = 0;
	/** What the broker knows is wanted. */
	#told = new Map<string, { readonly next: number; readonly epoch: number }>();

	constructor(nodeId: number) {
		this.#nodeId = nodeId;
	}

	/** The next request says everything: other partitions are wanted from now on, or an answer was missed. */
	restart(): void {
		this.#epoch = 0;
		this.#told.clear();
	}

	/**
	 * `wanted`: always the same partitions, until `restart`; those that stand first come first where there is too much for one
	 * answer. The answers are about those of which there is something to say. Rejects with LinkError and KafkaError: the next
	 * fetch begins anew then.
	 */
	async fetch<W extends Wanted>(
		cluster: Cluster,
		wanted: readonly W[],
		limits: FetchLimits,
	): Promise<FetchAnswer<W>[]> {
		try {
			const answers = await this.#fetch(cluster, wanted, limits);
			return answers ?? (await this.#fetch(cluster, wanted, limits)) ?? this.#fail();
		} catch (error) {
			this.restart();
			throw error;
		}
	}

	#fail(): never {
		throw kafkaError(INVALID_FETCH_SESSION_EPOCH, "Fetch");
	}

	/** undefined: the broker has lost the session. */
	async #fetch<W extends Wanted>(
		cluster: Cluster,
		wanted: readonly W[],
		{ maxWaitMs, maxBytes, signal }: FetchLimits,
	): Promise<FetchAnswer<W>[] | undefined> {
		const changed = wanted.filter((one) => !this.#knows(one));
		const value = {
			maxWaitMs,
			minBytes: 1,
			maxBytes,
			isolationLevel: READ_COMMITTED,
			sessionId: this.#id,
			sessionEpoch: this.#epoch,
			topics: byTopic(changed, maxBytes),
		};
		const hasIds = wanted.every(({ topicId }) => topicId !== ZERO_UUID);
		const { body, version } = await cluster.toNode(this.#nodeId, FETCH, value, {
			timeoutMs: maxWaitMs + cluster.options.requestTimeoutMs,
			lane: LANE,
			signal,
			...(hasIds ? {} : { atMost: NAMES_UP_TO }),
		});
		if (OUT_OF_STEP.includes(body.errorCode)) {
			// One that it does not know needs no end.
			if (body.errorCode === FETCH_SESSION_ID_NOT_FOUND) this.#id = 0;
			this.restart();
			return undefined;
		}
		if (body.errorCode !== 0) throw kafkaError(body.errorCode, "Fetch");
		if (this.#epoch > 0 && body.sessionId !== this.#id)
			throw new LinkError("malformed", `an answer of fetch session ${body.sessionId} to one of ${this.#id}`);
		this.#id = body.sessionId;
		if (this.#id === 0) this.restart();
		else {
			this.#epoch = this.#epoch === EPOCH_MAX ? 1 : this.#epoch + 1;
			for (const one of changed) this.#told.set(keyOf(one.topic, one.partition), { next: one.next, epoch: one.epoch });
		}
		return answersOf(body.responses, wanted, version);
	}

	#knows({ topic, partition, next, epoch }: Wanted): boolean {
		const told = this.#told.get(keyOf(topic, partition));
		return told !== undefined && told.next === next && told.epoch === epoch;
	}
}

interface Asked {
	readonly partition: number;
	readonly fetchOffset: number;
	readonly lastFetchedEpoch: number;
	readonly partitionMaxBytes: number;
}

function byTopic(wanted: readonly Wanted[], maxBytes: number) {
	const topics = new Map<string, { topic: string; topicId: string; partitions: Asked[] }>();
	for (const { topic, topicId, partition, next, epoch } of wanted) {
		let entry = topics.get(topic);
		if (entry === undefined) {
			entry = { topic, topicId, partitions: [] };
			topics.set(topic, entry);
		}
		entry.partitions.push({
			partition,
			fetchOffset: next,
			lastFetchedEpoch: Math.max(epoch, NO_EPOCH),
			partitionMaxBytes: maxBytes,
		});
	}
	return [...topics.values()];
}

function answersOf<W extends Wanted>(
	responses: DecodedOf<typeof FetchResponse>["responses"],
	wanted: readonly W[],
	version: number,
): FetchAnswer<W>[] {
	const byId = version >= TOPIC_IDS_FROM;
	const found = new Map(wanted.map((one) => [keyOf(byId ? one.topicId : one.topic, one.partition), one]));
	const answers: FetchAnswer<W>[] = [];
	for (const { topic, topicId, partitions } of responses) {
		for (const answer of partitions) {
			const one = found.get(keyOf(byId ? topicId : topic, answer.partitionIndex));
			if (one === undefined)
				throw new LinkError(
					"malformed",
					`an answer about ${byId ? topicId : topic}-${answer.partitionIndex}, which was not asked for`,
				);
			const { errorCode, divergingEpoch, highWatermark, lastStableOffset, logStartOffset } = answer;
			const records = answer.records ?? NOTHING;
			const aborted = answer.abortedTransactions ?? [];
			answers.push({
				wanted: one,
				errorCode,
				divergedAt: divergingEpoch.endOffset >= 0 ? divergingEpoch.endOffset : undefined,
				fetched: { records, highWatermark, lastStableOffset, logStartOffset, aborted },
			});
		}
	}
	return answers;
}

function keyOf(topic: string, partition: number): string {
	return `${topic}/${partition}`;
}
