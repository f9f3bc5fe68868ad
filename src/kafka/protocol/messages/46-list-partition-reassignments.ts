/** ListPartitionReassignments, API key 46. */
import { array, int16, int32, message, string, struct } from "../schema.ts";

export const ListPartitionReassignmentsRequest = message(
	46,
	"ListPartitionReassignmentsRequest",
	{ versions: [0, 0], flexible: 0 },
	{
		timeoutMs: int32.or(60000),
		topics: array(
			struct({
				name: string,
				partitionIndexes: array(int32),
			}),
		)
			.nullable()
			.or(null),
	},
);

export const ListPartitionReassignmentsResponse = message(
	46,
	"ListPartitionReassignmentsResponse",
	{ versions: [0, 0], flexible: 0 },
	{
		throttleTimeMs: int32,
		errorCode: int16,
		errorMessage: string.nullable(),
		topics: array(
			struct({
				name: string,
				partitions: array(
					struct({
						partitionIndex: int32,
						replicas: array(int32),
						addingReplicas: array(int32),
						removingReplicas: array(int32),
					}),
				),
			}),
		),
	},
);
