/** OffsetCommit, API key 8. */
import { array, int16, int32, int64, message, string, struct, uuid } from "../schema.ts";

export const OffsetCommitRequest = message(
	8,
	"OffsetCommitRequest",
	{ versions: [2, 10], flexible: 8 },
	{
		groupId: string,
		generationIdOrMemberEpoch: int32.or(-1),
		memberId: string,
		groupInstanceId: string.nullable().or(null).in(7),
		retentionTimeMs: int64.or(-1).in(2, 4),
		topics: array(
			struct({
				name: string.in(0, 9),
				topicId: uuid.in(10),
				partitions: array(
					struct({
						partitionIndex: int32,
						committedOffset: int64,
						committedLeaderEpoch: int32.or(-1).in(6),
						committedMetadata: string.nullable(),
					}),
				),
			}),
		),
	},
);

export const OffsetCommitResponse = message(
	8,
	"OffsetCommitResponse",
	{ versions: [2, 10], flexible: 8 },
	{
		throttleTimeMs: int32.in(3),
		topics: array(
			struct({
				name: string.in(0, 9),
				topicId: uuid.in(10),
				partitions: array(
					struct({
						partitionIndex: int32,
						errorCode: int16,
					}),
				),
			}),
		),
	},
);
