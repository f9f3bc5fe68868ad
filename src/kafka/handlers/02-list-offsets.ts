/** ListOffsets: the offset that belongs to a time, or to one of the times that Kafka gives a meaning of their own. */

import { BrokerError } from "../../base/errors.ts";
import type { Broker } from "../../broker/broker.ts";
import { type Isolation, readableEnd } from "../../broker/data-wait.ts";
import { newestTimestamp, offsetForTimestamp } from "../../log/partition-times.ts";
import { api } from "../api.ts";
import { errorNumber } from "../error-number.ts";
import { findPartition } from "../find-partition.ts";
import { checkLeaderEpoch, LEADER_EPOCH } from "../leader-epoch.ts";
import { ListOffsetsRequest, ListOffsetsResponse } from "../protocol/messages/02-list-offsets.ts";
import type { DecodedOf } from "../protocol/schema.ts";

type Wanted = DecodedOf<typeof ListOffsetsRequest>["topics"][number]["partitions"][number];

const LATEST = -1;
const EARLIEST = -2;
const MAX_TIMESTAMP = -3;
const EARLIEST_LOCAL = -4;
const LATEST_TIERED = -5;
/** Special time -> first version that has it. */
const SPECIAL_TIMES: ReadonlyMap<number, number> = new Map([
	[LATEST, 1],
	[EARLIEST, 1],
	[MAX_TIMESTAMP, 7],
	[EARLIEST_LOCAL, 8],
	[LATEST_TIERED, 9],
]);
const READ_COMMITTED = 1;

interface Place {
	readonly timestamp: number;
	readonly offset: number;
	readonly leaderEpoch: number;
}

const NOWHERE: Place = { timestamp: -1, offset: -1, leaderEpoch: -1 };

export const listOffsets = api({
	request: ListOffsetsRequest,
	response: ListOffsetsResponse,
	versions: [1, 9],
	waitsForEarlier: true,
	async handle({ topics, isolationLevel }, { services: { broker }, version, peer }) {
		const isolation = isolationLevel === READ_COMMITTED ? "committed" : "uncommitted";
		const answers = [];
		for (const { name, partitions } of topics) {
			const duplicates = duplicatesOf(partitions);
			const found = [];
			for (const wanted of partitions) {
				// Each may take a look at a file.
				if (peer.closed) return undefined;
				const { partitionIndex } = wanted;
				try {
					if (duplicates.has(partitionIndex))
						throw new BrokerError("INVALID_REQUEST", `partition ${partitionIndex} of ${name} twice in a request`);
					const place = await placeOf(broker, name, wanted, isolation, version);
					found.push({ partitionIndex, errorCode: 0, ...place });
				} catch (error) {
					found.push({ partitionIndex, errorCode: errorNumber(error), ...NOWHERE });
				}
			}
			answers.push({ name, partitions: found });
		}
		return { topics: answers };
	},
	refuse({ topics }, errorCode) {
		return {
			topics: topics.map(({ name, partitions }) => ({
				name,
				partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode, ...NOWHERE })),
			})),
		};
	},
});

function duplicatesOf(partitions: readonly Wanted[]): Set<number> {
	const seen = new Set<number>();
	const twice = new Set<number>();
	for (const { partitionIndex } of partitions) (seen.has(partitionIndex) ? twice : seen).add(partitionIndex);
	return twice;
}

async function placeOf(
	broker: Broker,
	topic: string,
	{ partitionIndex, currentLeaderEpoch, timestamp }: Wanted,
	isolation: Isolation,
	version: number,
): Promise<Place> {
	if (timestamp < 0 && version < (SPECIAL_TIMES.get(timestamp) ?? Number.POSITIVE_INFINITY))
		throw new BrokerError("UNSUPPORTED_VERSION", `version ${version} has no timestamp ${timestamp}`);
	const partition = findPartition(broker, topic, partitionIndex);
	const refusal = checkLeaderEpoch(currentLeaderEpoch);
	if (refusal !== undefined) throw refusal;
	switch (timestamp) {
		case LATEST:
			return { timestamp: -1, offset: readableEnd(partition, isolation), leaderEpoch: LEADER_EPOCH };
		case EARLIEST:
		case EARLIEST_LOCAL:
			return { timestamp: -1, offset: partition.logStartOffset, leaderEpoch: LEADER_EPOCH };
		case LATEST_TIERED:
			return NOWHERE;
	}
	const found =
		timestamp === MAX_TIMESTAMP ? await newestTimestamp(partition) : await offsetForTimestamp(partition, timestamp);
	if (found === undefined || found.offset >= readableEnd(partition, isolation)) return NOWHERE;
	return { ...found, leaderEpoch: LEADER_EPOCH };
}
