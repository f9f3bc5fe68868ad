/** TxnOffsetCommit, API key 28. */
import { array, int16, int32, int64, message, string, struct } from "../schema.ts";

export const TxnOffsetCommitRequest = message(
	28,
	"TxnOffsetCommitRequest",
	{ versions: [0, 5], flexible: 3 },
	{
		transactionalId: string,
		groupId: string,
		producerId: int64,
		producerEpoch: int16,
		generationId: int32.or(-1).in(3),
		memberId: string.in(3),
		groupInstanceId: string.nullable().or(null).in(3),
		topics: array(
			struct({
				name: string,
				partitions: array(
					struct({
						partitionIndex: int32,
						committedOffset: int64,
						committedLeaderEpoch: int32.or(-1).in(2),
						committedMetadata: string.nullable(),
					}),
				),
			}),
		),
	},
);

export const TxnOffsetCommitResponse = message(
	28,
	"TxnOffsetCommitResponse",
	{ versions: [0, 5], flexible: 3 },
	{
		throttleTimeMs: int32,
		topics: array(
			struct({
				name: string,
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
