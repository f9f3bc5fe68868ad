/** OffsetFetch: where groups stand. What is told is durable. */
import { BrokerError, ERROR_CODES } from "../../base/errors.ts";
import type { Broker } from "../../broker/broker.ts";
import { api, type Call } from "../api.ts";
import { OffsetFetchRequest, OffsetFetchResponse } from "../protocol/messages/09-offset-fetch.ts";

/** First version that asks for several groups. */
const GROUPS_FROM = 8;
/** First version whose answer has an error of its own. */
const ERROR_FROM = 2;
const NOTHING = { committedOffset: -1, committedLeaderEpoch: -1, metadata: "", errorCode: ERROR_CODES.NONE };
const UNSTABLE = { ...NOTHING, errorCode: ERROR_CODES.UNSTABLE_OFFSET_COMMIT };

/** Of all offsets in one answer, characters: thousands of partitions may have kilobytes each. */
const METADATA_MAX = 4 * 1024 * 1024;
const TOO_MUCH = { ...NOTHING, errorCode: ERROR_CODES.OFFSET_METADATA_TOO_LARGE };

type Asked = readonly { readonly name: string; readonly partitionIndexes: Iterable<number> }[];

export const offsetFetch = api({
	request: OffsetFetchRequest,
	response: OffsetFetchResponse,
	versions: [1, 9],
	waitsForEarlier: true,
	hasLargeAnswer: true,
	async handle(request, { services: { broker }, version }) {
		const { requireStable } = request;
		const metadata = { left: METADATA_MAX };
		const of = (group: string, topics: Asked | null) => offsets(broker, group, topics, requireStable, metadata);
		const answer =
			version < GROUPS_FROM
				? { topics: of(request.groupId, request.topics), errorCode: ERROR_CODES.NONE }
				: {
						groups: eachOnce(request.groups).map(({ groupId, topics }) => ({
							groupId,
							topics: of(groupId, topics),
							errorCode: ERROR_CODES.NONE,
						})),
					};
		if (!broker.log.idle) {
			// What was read may not be durable yet; on a full disk it stays so, and consumers are to go on all the same:
			// but for those that must not pass over what a transaction takes back.
			if (broker.log.refusal === undefined) await broker.log.whenCommitted();
			else if (requireStable) throw new BrokerError("COORDINATOR_LOAD_IN_PROGRESS", "the offsets are not durable yet");
		}
		return answer;
	},
	refuse(request, errorCode, _message, { version }: Call) {
		if (version >= GROUPS_FROM)
			return { groups: request.groups.map(({ groupId }) => ({ groupId, topics: [], errorCode })) };
		if (version >= ERROR_FROM) return { topics: [], errorCode };
		const topics = request.topics ?? [];
		return {
			topics: topics.map(({ name, partitionIndexes }) => ({
				name,
				partitions: partitionIndexes.map((partitionIndex) => ({ ...NOTHING, partitionIndex, errorCode })),
			})),
		};
	},
});

function offsets(
	broker: Broker,
	group: string,
	topics: Asked | null,
	requireStable: boolean,
	allowed: { left: number },
) {
	const { offsets } = broker.groups;
	const at = (topic: string, partition: number) => {
		if (requireStable && offsets.hasPending(group, topic, partition)) return { partitionIndex: partition, ...UNSTABLE };
		const found = offsets.fetch(group, topic, partition);
		if (found === undefined) return { partitionIndex: partition, ...NOTHING };
		const { offset, leaderEpoch, metadata } = found;
		allowed.left -= metadata.length;
		if (allowed.left < 0) return { partitionIndex: partition, ...TOO_MUCH };
		return {
			partitionIndex: partition,
			committedOffset: offset,
			committedLeaderEpoch: leaderEpoch,
			metadata,
			errorCode: ERROR_CODES.NONE,
		};
	};
	return (topics === null ? allOf(broker, group) : merged(topics)).map(({ name, partitionIndexes }) => ({
		name,
		partitions: Array.from(partitionIndexes, (partition) => at(name, partition)),
	}));
}

function allOf(broker: Broker, group: string): Asked {
	const { offsets } = broker.groups;
	const byTopic = new Map<string, number[]>();
	for (const { topic, partition } of [...offsets.all(group), ...offsets.pendingPartitions(group)]) {
		const partitions = byTopic.get(topic);
		if (partitions === undefined) byTopic.set(topic, [partition]);
		else partitions.push(partition);
	}
	return merged([...byTopic].map(([name, list]) => ({ name, partitionIndexes: list.sort((a, b) => a - b) })));
}

/** Each partition once: its metadata may be a thousand times what it takes to ask for it. */
function merged(topics: Asked): Asked {
	const byName = new Map<string, Set<number>>();
	for (const { name, partitionIndexes } of topics) {
		const partitions = byName.get(name) ?? new Set<number>();
		for (const partition of partitionIndexes) partitions.add(partition);
		byName.set(name, partitions);
	}
	return [...byName].map(([name, partitionIndexes]) => ({ name, partitionIndexes }));
}

function eachOnce<G extends { readonly groupId: string }>(groups: readonly G[]): G[] {
	return [...new Map(groups.map((group) => [group.groupId, group])).values()];
}
