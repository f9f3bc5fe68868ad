/** ListOffsets: the offset that belongs to a time, or to one of the times that Kafka gives a meaning of their own. */

import { BrokerError } from "../../base/errors.ts";
import { Patience } from "../../base/patience.ts";
import type { Broker } from "../../broker/broker.ts";
import { type Isolation, readableEnd } from "../../broker/data-wait.ts";
import type { Partition } from "../../log/partition.ts";
import { newestTimestamp, offsetForTimestamp } from "../../log/partition-times.ts";
import { api } from "../api.ts";
import { errorNumber } from "../error-number.ts";
import { findPartition } from "../find-partition.ts";
import { checkLeaderEpoch } from "../leader-epoch.ts";
import { ListOffsetsRequest, ListOffsetsResponse } from "../protocol/messages/02-list-offsets.ts";
import type { DecodedOf } from "../protocol/schema.ts";

type Wanted = DecodedOf<typeof ListOffsetsRequest>["topics"][number]["partitions"][number];

const LATEST = -1;
const EARLIEST = -2;
const MAX_TIMESTAMP = -3;
const EARLIEST_LOCAL = -4;
const LATEST_TIERED = -5;
const EARLIEST_PENDING_UPLOAD = -6;
/** Special time -> first version that has it. */
const SPECIAL_TIMES: ReadonlyMap<number, number> = new Map([
	[LATEST, 1],
	[EARLIEST, 1],
	[MAX_TIMESTAMP, 7],
	[EARLIEST_LOCAL, 8],
	[LATEST_TIERED, 9],
	[EARLIEST_PENDING_UPLOAD, 11],
]);
const READ_COMMITTED = 1;
/** Partitions that are looked into at one time, each with a read of the log: one may have to wait for the object store. */
const LOOKS_AT_ONCE = 4;
const TIMEOUT_FROM = 10;
/** For the object store, all partitions together, where the request has no time-out of its own: clients wait for 30 s by default. */
const PATIENCE_MS = 20_000;
/** Of the request's time-out; the rest is for the way. */
const PATIENCE_PART = 0.9;

interface Place {
	readonly timestamp: number;
	readonly offset: number;
	readonly leaderEpoch: number;
}

/** What holds for all partitions of a request. */
interface Asked {
	readonly broker: Broker;
	readonly version: number;
	readonly isolation: Isolation;
	readonly patience: Patience;
}

const NOWHERE: Place = { timestamp: -1, offset: -1, leaderEpoch: -1 };

export const listOffsets = api({
	request: ListOffsetsRequest,
	response: ListOffsetsResponse,
	versions: [1, 11],
	waitsForEarlier: true,
	async handle({ topics, isolationLevel, timeoutMs }, { services: { broker }, version, peer }) {
		const patienceMs = version < TIMEOUT_FROM ? PATIENCE_MS : Math.max(0, timeoutMs * PATIENCE_PART);
		const asked: Asked = {
			broker,
			version,
			isolation: isolationLevel === READ_COMMITTED ? "committed" : "uncommitted",
			patience: new Patience(broker.clock, patienceMs),
		};
		const answers = topics.map(({ name, partitions }) => ({
			name,
			partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode: 0, ...NOWHERE })),
		}));
		const looks = (function* () {
			for (const [i, { name, partitions }] of topics.entries()) {
				const duplicates = duplicatesOf(partitions);
				const answer = answers[i] as (typeof answers)[number];
				for (const [at, wanted] of partitions.entries())
					yield async () => {
						const { partitionIndex } = wanted;
						try {
							if (duplicates.has(partitionIndex))
								throw new BrokerError("INVALID_REQUEST", `partition ${partitionIndex} of ${name} twice in a request`);
							answer.partitions[at] = { partitionIndex, errorCode: 0, ...(await placeOf(name, wanted, asked)) };
						} catch (error) {
							answer.partitions[at] = { partitionIndex, errorCode: errorNumber(error), ...NOWHERE };
						}
					};
			}
		})();
		const work = async (): Promise<void> => {
			for (const look of looks) {
				if (peer.closed) return;
				await look();
			}
		};
		await Promise.all(Array.from({ length: LOOKS_AT_ONCE }, work));
		return peer.closed ? undefined : { topics: answers };
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
	topic: string,
	{ partitionIndex, currentLeaderEpoch, timestamp }: Wanted,
	{ broker, version, isolation, patience }: Asked,
): Promise<Place> {
	if (timestamp < 0 && version < (SPECIAL_TIMES.get(timestamp) ?? Number.POSITIVE_INFINITY))
		throw new BrokerError("UNSUPPORTED_VERSION", `version ${version} has no timestamp ${timestamp}`);
	const partition = findPartition(broker, topic, partitionIndex);
	const refusal = checkLeaderEpoch(partition, currentLeaderEpoch);
	if (refusal !== undefined) throw refusal;
	const { logStartOffset, localStartOffset, tieredOffset } = partition;
	switch (timestamp) {
		case LATEST:
			return { timestamp: -1, offset: readableEnd(partition, isolation), leaderEpoch: partition.epochs.current };
		case EARLIEST:
			return placeAt(partition, logStartOffset);
		case EARLIEST_LOCAL:
			return placeAt(partition, localStartOffset);
		case LATEST_TIERED:
			return tieredOffset > logStartOffset ? placeAt(partition, tieredOffset - 1) : NOWHERE;
		case EARLIEST_PENDING_UPLOAD:
			return partition.config.tier.enabled ? placeAt(partition, Math.max(tieredOffset, logStartOffset)) : NOWHERE;
	}
	const found =
		timestamp === MAX_TIMESTAMP
			? await newestTimestamp(partition, patience)
			: await offsetForTimestamp(partition, timestamp, patience);
	if (found === undefined || found.offset >= readableEnd(partition, isolation)) return NOWHERE;
	return placeAt(partition, found.offset, found.timestamp);
}

function placeAt({ epochs }: Partition, offset: number, timestamp = -1): Place {
	return { timestamp, offset, leaderEpoch: epochs.at(offset) };
}
