/** AlterPartitionReassignments, API key 45. */
import { array, bool, int16, int32, message, string, struct } from "../schema.ts";

export const AlterPartitionReassignmentsRequest = message(
	45,
	"AlterPartitionReassignmentsRequest",
	{ versions: [0, 1], flexible: 0 },
	{
		timeoutMs: int32.or(60000),
		allowReplicationFactorChange: bool.or(true).in(1),
		topics: array(
			struct({
				name: string,
				partitions: array(
					struct({
						partitionIndex: int32,
						replicas: array(int32).nullable().or(null),
					}),
				),
			}),
		),
	},
);

export const AlterPartitionReassignmentsResponse = message(
	45,
	"AlterPartitionReassignmentsResponse",
	{ versions: [0, 1], flexible: 0 },
	{
		throttleTimeMs: int32,
		allowReplicationFactorChange: bool.or(true).in(1),
		errorCode: int16,
		errorMessage: string.nullable(),
		responses: array(
			struct({
				name: string,
				partitions: array(
					struct({
						partitionIndex: int32,
						errorCode: int16,
						errorMessage: string.nullable(),
					}),
				),
			}),
		),
	},
);
