/** ElectLeaders, API key 43. */
import { array, int8, int16, int32, message, string, struct } from "../schema.ts";

export const ElectLeadersRequest = message(
	43,
	"ElectLeadersRequest",
	{ versions: [0, 2], flexible: 2 },
	{
		electionType: int8.in(1),
		topicPartitions: array(
			struct({
				topic: string,
				partitions: array(int32),
			}),
		).nullable(),
		timeoutMs: int32.or(60000),
	},
);

export const ElectLeadersResponse = message(
	43,
	"ElectLeadersResponse",
	{ versions: [0, 2], flexible: 2 },
	{
		throttleTimeMs: int32,
		errorCode: int16.in(1),
		replicaElectionResults: array(
			struct({
				topic: string,
				partitionResult: array(
					struct({
						partitionId: int32,
						errorCode: int16,
						errorMessage: string.nullable(),
					}),
				),
			}),
		),
	},
);
