/** DeleteRecords, API key 21. */
import { array, int16, int32, int64, message, string, struct } from "../schema.ts";

export const DeleteRecordsRequest = message(
	21,
	"DeleteRecordsRequest",
	{ versions: [0, 2], flexible: 2 },
	{
		topics: array(
			struct({
				name: string,
				partitions: array(
					struct({
						partitionIndex: int32,
						offset: int64,
					}),
				),
			}),
		),
		timeoutMs: int32,
	},
);

export const DeleteRecordsResponse = message(
	21,
	"DeleteRecordsResponse",
	{ versions: [0, 2], flexible: 2 },
	{
		throttleTimeMs: int32,
		topics: array(
			struct({
				name: string,
				partitions: array(
					struct({
						partitionIndex: int32,
						lowWatermark: int64,
						errorCode: int16,
					}),
				),
			}),
		),
	},
);
