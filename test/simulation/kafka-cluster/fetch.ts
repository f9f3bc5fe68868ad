/** Fetch: what is read of a partition, fetch sessions (KIP-227), and waiting for records. */

import type { FetchRequest, FetchResponse } from "../../../src/kafka/protocol/messages/01-fetch.ts";
import type { DecodedOf, EncodableOf } from "../../../src/kafka/protocol/schema.ts";
import { ZERO_UUID } from "../../../src/kafka/protocol/schema.ts";
import type { ClusterState, ModelBroker, ModelTopic } from "./cluster-state.ts";
import { CODES, Refusal } from "./codes.ts";
import type { PartitionLog } from "./partition-log.ts";

type Request = DecodedOf<typeof FetchRequest>;
export type FetchAnswer = EncodableOf<typeof FetchResponse>;
type TopicAnswer = NonNullable<FetchAnswer["responses"]>[number];
type PartitionAnswer = NonNullable<TopicAnswer["partitions"]>[number];

/** Where versions name topics by their ids. */
const IDS_FROM_VERSION = 13;

interface Wanted {
	readonly topic: string;
	readonly topicId: string;
	readonly partition: number;
	fetchOffset: number;
	maxBytes: number;
	currentLeaderEpoch: number;
	/** What the client was told last in this session. */
	told?: string;
}

interface Session {
	readonly broker: ModelBroker;
	readonly life: number;
	nextEpoch: number;
	readonly wanted: Map<string, Wanted>;
}

export class Fetches {
	readonly #cluster: ClusterState;
	#sessions = new Map<number, Session>();
	#sessionIds = 100;

	constructor(cluster: ClusterState) {
		this.#cluster = cluster;
	}

	/** The broker needs the room: whoever comes with one of them begins anew. */
	evictSessions(): void {
		this.#sessions.clear();
	}

	fetch(broker: ModelBroker, version: number, request: Request, respond: (answer: FetchAnswer) => void): void {
		let session: Session | undefined;
		try {
			session = this.#session(broker, request);
		} catch (error) {
			if (!(error instanceof Refusal)) throw error;
			respond({ errorCode: error.code });
			return;
		}
		const wanted = session === undefined ? wantedOf(request) : session.wanted;
		const isIncremental = request.sessionId !== 0 && session !== undefined;
		const sessionId = session === undefined ? 0 : this.#idOf(session);
		const make = () => this.#answer(broker, version, request, [...wanted.values()], isIncremental);
		const first = make();
		const least = Math.max(0, request.minBytes);
		if (first.isUrgent || first.bytes >= least || request.maxWaitMs <= 0) {
			respond({ sessionId, responses: first.remember() });
			return;
		}
		const watched = [...wanted.values()].map((each) => this.#find(version, each).partition);
		let isDone = false;
		const finish = (made: ReturnType<typeof make>) => {
			if (isDone) return;
			isDone = true;
			for (const partition of watched) partition.watchers.delete(look);
			cancel();
			respond({ sessionId, responses: made.remember() });
		};
		const look = () => {
			const made = make();
			if (made.isUrgent || made.bytes >= least) finish(made);
		};
		for (const partition of watched) partition.watchers.add(look);
		const cancel = this.#cluster.timeline.after(request.maxWaitMs, () => finish(make()));
	}

	/** undefined: the request stands for itself. Throws Refusal. */
	#session(broker: ModelBroker, request: Request): Session | undefined {
		const { sessionId, sessionEpoch } = request;
		if (sessionEpoch === -1 || sessionEpoch === 0) this.#sessions.delete(sessionId);
		if (sessionEpoch === -1) return undefined;
		if (sessionEpoch === 0) {
			const session = { broker, life: broker.life, nextEpoch: 1, wanted: wantedOf(request) };
			this.#sessions.set(this.#sessionIds++, session);
			return session;
		}
		const session = this.#sessions.get(sessionId);
		if (session === undefined || session.broker !== broker || session.life !== broker.life)
			throw new Refusal(CODES.FETCH_SESSION_ID_NOT_FOUND, `session ${sessionId}`);
		if (session.nextEpoch !== sessionEpoch)
			throw new Refusal(CODES.INVALID_FETCH_SESSION_EPOCH, `epoch ${sessionEpoch}, not ${session.nextEpoch}`);
		session.nextEpoch += 1;
		for (const [key, wanted] of wantedOf(request)) {
			const told = session.wanted.get(key)?.told;
			session.wanted.set(key, told === undefined ? wanted : { ...wanted, told });
		}
		for (const { topic, topicId, partitions } of request.forgottenTopicsData)
			for (const partition of partitions) session.wanted.delete(`${topic}/${topicId}/${partition}`);
		return session;
	}

	#idOf(session: Session): number {
		for (const [id, each] of this.#sessions) if (each === session) return id;
		return 0;
	}

	#find(version: number, { topic: name, topicId, partition }: Wanted): { topic: ModelTopic; partition: PartitionLog } {
		const topic = version >= IDS_FROM_VERSION ? this.#cluster.topicWithId(topicId) : this.#cluster.topic(name);
		return { topic, partition: this.#cluster.partition(topic, partition) };
	}

	#answer(broker: ModelBroker, version: number, request: Request, wanted: readonly Wanted[], isIncremental: boolean) {
		let bytes = 0;
		let isUrgent = false;
		const made: { each: Wanted; answer: PartitionAnswer; told: string }[] = [];
		for (const each of wanted) {
			const answer = this.#read(broker, version, request, each, request.maxBytes - bytes, bytes === 0);
			bytes += answer.records?.length ?? 0;
			if (answer.errorCode !== CODES.NONE) isUrgent = true;
			const told = `${answer.highWatermark}/${answer.lastStableOffset}/${answer.logStartOffset}`;
			made.push({ each, answer, told });
		}
		const remember = (): TopicAnswer[] => {
			const topics = new Map<string, { topic: string; topicId: string; partitions: PartitionAnswer[] }>();
			for (const { each, answer, told } of made) {
				const isNews = answer.errorCode !== CODES.NONE || (answer.records?.length ?? 0) > 0 || each.told !== told;
				each.told = told;
				if (isIncremental && !isNews) continue;
				const key = `${each.topic}/${each.topicId}`;
				let topic = topics.get(key);
				if (topic === undefined) {
					topic = { topic: each.topic, topicId: each.topicId, partitions: [] };
					topics.set(key, topic);
				}
				topic.partitions.push(answer);
			}
			return [...topics.values()];
		};
		return { bytes, isUrgent, remember };
	}

	#read(
		broker: ModelBroker,
		version: number,
		request: Request,
		wanted: Wanted,
		room: number,
		isFirst: boolean,
	): PartitionAnswer & { records?: Buffer } {
		const partitionIndex = wanted.partition;
		const refused = (errorCode: number) => ({
			partitionIndex,
			errorCode,
			highWatermark: -1,
			lastStableOffset: -1,
			logStartOffset: -1,
			abortedTransactions: null,
			records: Buffer.alloc(0),
		});
		let partition: PartitionLog;
		try {
			const { topic } = this.#find(version, wanted);
			partition = this.#cluster.ledBy(broker, topic, wanted.partition);
		} catch (error) {
			if (!(error instanceof Refusal)) throw error;
			return refused(error.code);
		}
		const { currentLeaderEpoch, fetchOffset } = wanted;
		if (currentLeaderEpoch >= 0 && currentLeaderEpoch !== partition.leaderEpoch)
			return refused(
				currentLeaderEpoch < partition.leaderEpoch ? CODES.FENCED_LEADER_EPOCH : CODES.UNKNOWN_LEADER_EPOCH,
			);
		if (fetchOffset < partition.logStartOffset || fetchOffset > partition.endOffset)
			return refused(CODES.OFFSET_OUT_OF_RANGE);
		const isCommitted = request.isolationLevel === 1;
		const end = isCommitted ? partition.lastStableOffset : partition.endOffset;
		const { records, nextOffset } = slice(partition, fetchOffset, end, Math.min(room, wanted.maxBytes), isFirst);
		return {
			partitionIndex,
			errorCode: CODES.NONE,
			highWatermark: partition.endOffset,
			lastStableOffset: partition.lastStableOffset,
			logStartOffset: partition.logStartOffset,
			abortedTransactions: isCommitted
				? partition.aborted(fetchOffset, nextOffset).map(({ producerId, firstOffset }) => ({ producerId, firstOffset }))
				: null,
			records,
		};
	}
}

/** The bytes of the log from the batch with `offset` on, cut off wherever `room` ends, as Kafka does it; a first batch is whole. */
function slice(partition: PartitionLog, offset: number, end: number, room: number, isFirst: boolean) {
	const parts: Buffer[] = [];
	let bytes = 0;
	let nextOffset = offset;
	for (const batch of partition.batches) {
		if (batch.header.lastOffset < offset || batch.header.baseOffset >= end) continue;
		const left = room - bytes;
		if (left <= 0 && !(isFirst && bytes === 0)) break;
		const isWhole = batch.bytes.length <= left || (isFirst && bytes === 0);
		parts.push(isWhole ? batch.bytes : batch.bytes.subarray(0, left));
		bytes += isWhole ? batch.bytes.length : left;
		nextOffset = batch.header.lastOffset + 1;
		if (!isWhole) break;
	}
	return { records: Buffer.concat(parts), nextOffset };
}

function wantedOf({ topics }: Request): Map<string, Wanted> {
	const wanted = new Map<string, Wanted>();
	for (const { topic, topicId = ZERO_UUID, partitions } of topics) {
		for (const { partition, fetchOffset, partitionMaxBytes: maxBytes, currentLeaderEpoch } of partitions) {
			const key = `${topic}/${topicId}/${partition}`;
			wanted.set(key, { topic, topicId, partition, fetchOffset, maxBytes, currentLeaderEpoch });
		}
	}
	return wanted;
}
