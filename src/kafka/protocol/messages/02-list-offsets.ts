/** ListOffsets, API key 2. */
import { array, int8, int16, int32, int64, message, string, struct } from "../schema.ts";

export const ListOffsetsRequest = message(
	2,
	"ListOffsetsRequest",
	{ versions: [1, 11], flexible: 6 },
	{
		replicaId: int32,
		isolationLevel: int8.in(2),
		topics: array(
			struct({
				name: string,
				partitions: array(
					struct({
						partitionIndex: int32,
						currentLeaderEpoch: int32.or(-1).in(4),
						timestamp: int64,
					}),
				),
			}),
		),
		timeoutMs: int32.in(10),
	},
);

export const ListOffsetsResponse = message(
	2,
	"ListOffsetsResponse",
	{ versions: [1, 11], flexible: 6 },
	{
		throttleTimeMs: int32.in(2),
		topics: array(
			struct({
				name: string,
				partitions: array(
					struct({
						partitionIndex: int32,
						errorCode: int16,
						timestamp: int64.or(-1),
						offset: int64.or(-1),
						leaderEpoch: int32.or(-1).in(4),
					}),
				),
			}),
		),
	},
);
