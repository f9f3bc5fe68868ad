/** OffsetCommit: a group's place in partitions, answered when it is durable. */
import { type BrokerError, ERROR_CODES } from "../../base/errors.ts";
import type { OffsetEntry } from "../../broker/groups/group-offsets.ts";
import { api, type Call } from "../api.ts";
import { errorNumber } from "../error-number.ts";
import { OffsetCommitRequest, OffsetCommitResponse } from "../protocol/messages/08-offset-commit.ts";
import type { DecodedOf } from "../protocol/schema.ts";

type Request = DecodedOf<typeof OffsetCommitRequest>;

/** The broker's own retention holds. */
const DEFAULT_RETENTION = -1;

export const offsetCommit = api({
	request: OffsetCommitRequest,
	response: OffsetCommitResponse,
	versions: [2, 9],
	async handle(request, call) {
		const { groups, log, clock } = call.services.broker;
		const now = clock.now();
		const { entries, errors } = sorted(request, call, now);
		if (errors.every((each) => each?.code === "UNKNOWN_TOPIC_OR_PARTITION")) return answer(request, errors);
		try {
			groups.checkCommit({
				group: request.groupId,
				generation: request.generationIdOrMemberEpoch,
				memberId: request.memberId,
				instanceId: request.groupInstanceId,
			});
			const bytes = groups.offsets.bytesOf(request.groupId, entries);
			log.group(bytes, () => groups.offsets.commit(request.groupId, entries, now));
			if (entries.length > 0) await log.whenCommitted();
		} catch (error) {
			return answer(request, errors, toldOf(errorNumber(error)));
		}
		return answer(request, errors);
	},
	refuse(request, error) {
		return answer(request, [], error);
	},
});

/** As clients understand it: a full disk is to be tried again. */
function toldOf(error: number): number {
	if (error === ERROR_CODES.KAFKA_STORAGE_ERROR) return ERROR_CODES.COORDINATOR_NOT_AVAILABLE;
	return error === ERROR_CODES.RECORD_LIST_TOO_LARGE ? ERROR_CODES.INVALID_COMMIT_OFFSET_SIZE : error;
}

/** What can be committed, and in the order of the request what is wrong with the others. */
function sorted(request: Request, { services }: Call, now: number) {
	const { groups } = services.broker;
	const entries: OffsetEntry[] = [];
	const errors: (BrokerError | undefined)[] = [];
	const expires = request.retentionTimeMs === DEFAULT_RETENTION ? {} : { expiresMs: now + request.retentionTimeMs };
	for (const { name: topic, partitions } of request.topics) {
		for (const {
			partitionIndex: partition,
			committedOffset: offset,
			committedLeaderEpoch,
			committedMetadata,
		} of partitions) {
			const error = groups.checkOffset({ topic, partition, metadata: committedMetadata });
			errors.push(error);
			if (error !== undefined) continue;
			const metadata = committedMetadata ?? "";
			entries.push({ topic, partition, offset, leaderEpoch: committedLeaderEpoch, metadata, ...expires });
		}
	}
	return { entries, errors };
}

/** `all`: for every partition that there is. */
function answer(request: Request, errors: readonly (BrokerError | undefined)[], all: number = ERROR_CODES.NONE) {
	let at = 0;
	return {
		topics: request.topics.map(({ name, partitions }) => ({
			name,
			partitions: partitions.map(({ partitionIndex }) => {
				const error = errors[at++];
				const own = error === undefined ? all : errorNumber(error);
				const errorCode = all !== ERROR_CODES.NONE && error?.code !== "UNKNOWN_TOPIC_OR_PARTITION" ? all : own;
				return { partitionIndex, errorCode };
			}),
		})),
	};
}
