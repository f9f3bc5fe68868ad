/**
 * Where a central topic is to be read: at its rules' beginning, where it was left, or elsewhere because it is not the topic any
 * more that it was. What was decided is durable before anything is read, and said where records may be missing for it.
 *
 * | what is found                            | goes on                                            |
 * |------------------------------------------|----------------------------------------------------|
 * | no position                              | `from` of the rule                                 |
 * | no position, and no such topic yet       | at its start, once it is there                     |
 * | more partitions than before              | the new ones from their start                      |
 * | another id, or fewer partitions          | from its start: it was deleted and made again      |
 * | another cluster                          | `from` of the rule                                 |
 * | position before the log's start          | at the start: retention has taken what is between  |
 * | position behind the end                  | at the end: the log was cut back                   |
 * | other records there than were read       | where they begin to differ, as far as that is known |
 */
import { ZERO_UUID } from "../../../src/kafka/protocol/schema.ts";
import { listOffset } from "../client/admin.ts";
import type { Cluster, TopicMetadata } from "../client/cluster.ts";
import { kafkaError } from "../client/kafka-error.ts";
import { NO_EPOCH, type PositionRow } from "./position-row.ts";
import type { FeedPartition, TopicFeed } from "./topic-feed.ts";

const UNKNOWN_TOPIC_OR_PARTITION = 3;
const LEADER_NOT_AVAILABLE = 5;
const OFFSET_NOT_AVAILABLE = 78;
const UNKNOWN_TOPIC_ID = 100;
const ASKED_AT_ONCE = 16;
const ASKED_BEFORE_BELIEVED = 3;

/** Rejects with LinkError, KafkaError, BrokerError, the signal's reason. */
export async function placeTopic(cluster: Cluster, feed: TopicFeed, signal: AbortSignal): Promise<void> {
	const metadata = cluster.topic(feed.name);
	const errorCode = metadata === undefined ? UNKNOWN_TOPIC_OR_PARTITION : metadata.errorCode;
	const row = feed.partitions.length > 0 ? feed.row : feed.load();
	const { clusterId } = cluster;
	if (metadata === undefined || errorCode !== 0) {
		if (errorCode === UNKNOWN_TOPIC_OR_PARTITION && row === undefined) await feed.expect(clusterId, signal);
		throw kafkaError(errorCode, "Metadata", { topic: feed.name, lasting: true });
	}
	const { id, leaders } = metadata;
	const offsets = (from: number, at: "earliest" | "committed") => list(cluster, feed.name, from, leaders, at, signal);
	const placeAnew = (next: readonly number[], formerId?: string) =>
		feed.place({ clusterId, topicId: id, formerId, next, epochs: next.map(() => NO_EPOCH) }, signal);
	if (row === undefined || isOther(row.clusterId, clusterId)) {
		// Of several rules, who wants more gets it: the others have filters.
		const earliest = feed.targets.some(({ rule }) => rule.from === "earliest");
		const next = await offsets(0, earliest ? "earliest" : "committed");
		if (row !== undefined)
			feed.note(
				`this is cluster ${clusterId}, and ${feed.name} was read in ${row.clusterId}: it begins as its rule says`,
				undefined,
			);
		await placeAnew(next);
		return;
	}
	const known = row.topicId === ZERO_UUID ? id : row.topicId;
	if (isMadeAgain(feed, row, known, metadata)) {
		const next = await offsets(0, "earliest");
		feed.note(
			`${feed.name} was deleted in the central cluster and made again: it is read from its new start; what the old one still had is gone`,
			undefined,
		);
		await placeAnew(next, known);
		return;
	}
	const added = await offsets(row.next.length, "earliest");
	const now: PositionRow = {
		clusterId: clusterId ?? row.clusterId,
		topicId: known,
		formerId: row.formerId,
		next: [...row.next, ...added],
		epochs: [...row.epochs, ...added.map(() => NO_EPOCH)],
	};
	const isSame = added.length === 0 && now.clusterId === row.clusterId && now.topicId === row.topicId;
	if (!isSame) await feed.place(now, signal);
	else if (feed.partitions.length === 0) feed.resume(now);
}

/** Throws KafkaError where a broker that is behind the others may only not know yet what another has said. */
function isMadeAgain(feed: TopicFeed, row: PositionRow, known: string, { id, leaders }: TopicMetadata): boolean {
	const topic = feed.name;
	if (id !== ZERO_UUID && known !== id) {
		if (id === row.formerId) throw kafkaError(UNKNOWN_TOPIC_ID, "Metadata", { topic, lasting: true });
		return true;
	}
	if (row.next.length <= leaders.length) return false;
	if (id !== ZERO_UUID) throw kafkaError(UNKNOWN_TOPIC_OR_PARTITION, "Metadata", { topic, lasting: true });
	// Without an id nothing else tells; but no broker is behind for so long.
	if (feed.failures >= ASKED_BEFORE_BELIEVED) return true;
	throw kafkaError(UNKNOWN_TOPIC_OR_PARTITION, "Fetch", { topic, lasting: true });
}

async function list(
	cluster: Cluster,
	topic: string,
	from: number,
	leaders: readonly number[],
	at: "earliest" | "committed",
	signal: AbortSignal,
): Promise<number[]> {
	// Nobody waits here for one to be elected: other topics are to be read.
	if (leaders.slice(from).includes(-1)) throw kafkaError(LEADER_NOT_AVAILABLE, "Metadata", { topic, lasting: true });
	const to = leaders.length;
	const offsets: number[] = [];
	for (let next = from; next < to; next += ASKED_AT_ONCE) {
		const numbers = Array.from({ length: Math.min(ASKED_AT_ONCE, to - next) }, (_, i) => next + i);
		offsets.push(...(await Promise.all(numbers.map((each) => listOffset(cluster, topic, each, at, signal)))));
	}
	return offsets;
}

function isOther(before: string | undefined, now: string | undefined): boolean {
	return before !== undefined && now !== undefined && before !== now;
}

/** The broker has nothing at the partition's position: OFFSET_OUT_OF_RANGE. Rejects as `placeTopic`. */
export async function placeInRange(cluster: Cluster, partition: FeedPartition, signal: AbortSignal): Promise<void> {
	const { feed, topic, partition: number, next } = partition;
	const start = await listOffset(cluster, topic, number, "earliest", signal);
	const end = await listOffset(cluster, topic, number, "latest", signal);
	if (next < start) {
		feed.note(
			`${topic}-${number} of the central cluster begins at offset ${start} now, and was read up to ${next}: ${start - next} offsets were deleted there before they came here`,
			"Raise retention.ms or retention.bytes of the topic in the central cluster above the longest outage.",
		);
		await feed.move(partition, start, signal);
	} else if (next > end) {
		const stable = await listOffset(cluster, topic, number, "committed", signal);
		feed.note(
			`${topic}-${number} of the central cluster ends at offset ${end}, and was read up to ${next}: it lost records there. It is read on from its end; records that have been written there since may be missing here`,
			undefined,
		);
		await feed.move(partition, stable, signal);
	} else if (partition.epoch >= 0) {
		// It knows nothing of the leader that the last record was read from.
		feed.note(
			`${topic}-${number} of the central cluster has another history than what was read up to offset ${next}; it is read on from there`,
			undefined,
		);
		await feed.move(partition, next, signal);
	} else throw kafkaError(OFFSET_NOT_AVAILABLE, "Fetch", { topic });
}

/** The broker's log is another one from `endOffset` on than that which was read. Rejects as `placeTopic`. */
export async function placeDiverged(partition: FeedPartition, endOffset: number, signal: AbortSignal): Promise<void> {
	const { feed, topic, partition: number, next } = partition;
	const at = Math.min(endOffset, next);
	feed.note(
		`${topic}-${number} of the central cluster lost records that were read here, from offset ${at} on; it is read on from there`,
		undefined,
	);
	await feed.move(partition, at, signal);
}
