/** OffsetDelete, API key 47. */
import { array, int16, int32, message, string, struct } from "../schema.ts";

export const OffsetDeleteRequest = message(
	47,
	"OffsetDeleteRequest",
	{ versions: [0, 0] },
	{
		groupId: string,
		topics: array(
			struct({
				name: string,
				partitions: array(
					struct({
						partitionIndex: int32,
					}),
				),
			}),
		),
	},
);

export const OffsetDeleteResponse = message(
	47,
	"OffsetDeleteResponse",
	{ versions: [0, 0] },
	{
		errorCode: int16,
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
