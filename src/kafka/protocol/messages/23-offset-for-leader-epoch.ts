/** OffsetForLeaderEpoch, API key 23. */
import { array, int16, int32, int64, message, string, struct } from "../schema.ts";

export const OffsetForLeaderEpochRequest = message(
	23,
	"OffsetForLeaderEpochRequest",
	{ versions: [2, 4], flexible: 4 },
	{
		replicaId: int32.or(-2).in(3),
		topics: array(
			struct({
				topic: string,
				partitions: array(
					struct({
						partition: int32,
						currentLeaderEpoch: int32.or(-1),
						leaderEpoch: int32,
					}),
				),
			}),
		),
	},
);

export const OffsetForLeaderEpochResponse = message(
	23,
	"OffsetForLeaderEpochResponse",
	{ versions: [2, 4], flexible: 4 },
	{
		throttleTimeMs: int32,
		topics: array(
			struct({
				topic: string,
				partitions: array(
					struct({
						errorCode: int16,
						partition: int32,
						leaderEpoch: int32.or(-1),
						endOffset: int64.or(-1),
					}),
				),
			}),
		),
	},
);
