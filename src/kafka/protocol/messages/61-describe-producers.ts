/** DescribeProducers, API key 61. */
import { array, int16, int32, int64, message, string, struct } from "../schema.ts";

export const DescribeProducersRequest = message(
	61,
	"DescribeProducersRequest",
	{ versions: [0, 0], flexible: 0 },
	{
		topics: array(
			struct({
				name: string,
				partitionIndexes: array(int32),
			}),
		),
	},
);

export const DescribeProducersResponse = message(
	61,
	"DescribeProducersResponse",
	{ versions: [0, 0], flexible: 0 },
	{
		throttleTimeMs: int32,
		topics: array(
			struct({
				name: string,
				partitions: array(
					struct({
						partitionIndex: int32,
						errorCode: int16,
						errorMessage: string.nullable().or(null),
						activeProducers: array(
							struct({
								producerId: int64,
								producerEpoch: int32,
								lastSequence: int32.or(-1),
								lastTimestamp: int64.or(-1),
								coordinatorEpoch: int32,
								currentTxnStartOffset: int64.or(-1),
							}),
						),
					}),
				),
			}),
		),
	},
);
