/** Metadata, API key 3. */
import { array, bool, int16, int32, message, string, struct, uuid } from "../schema.ts";

export const MetadataRequest = message(
	3,
	"MetadataRequest",
	{ versions: [0, 13], flexible: 9 },
	{
		topics: array(
			struct({
				topicId: uuid.in(10),
				name: string.nullable(10),
			}),
		).nullable(1),
		allowAutoTopicCreation: bool.or(true).in(4),
		includeClusterAuthorizedOperations: bool.in(8, 10),
		includeTopicAuthorizedOperations: bool.in(8),
	},
);

export const MetadataResponse = message(
	3,
	"MetadataResponse",
	{ versions: [0, 13], flexible: 9 },
	{
		throttleTimeMs: int32.in(3),
		brokers: array(
			struct({
				nodeId: int32,
				host: string,
				port: int32,
				rack: string.nullable().or(null).in(1),
			}),
		),
		clusterId: string.nullable().or(null).in(2),
		controllerId: int32.or(-1).in(1),
		topics: array(
			struct({
				errorCode: int16,
				name: string.nullable(12),
				topicId: uuid.in(10),
				isInternal: bool.in(1),
				partitions: array(
					struct({
						errorCode: int16,
						partitionIndex: int32,
						leaderId: int32,
						leaderEpoch: int32.or(-1).in(7),
						replicaNodes: array(int32),
						isrNodes: array(int32),
						offlineReplicas: array(int32).in(5),
					}),
				),
				topicAuthorizedOperations: int32.or(-2147483648).in(8),
			}),
		),
		clusterAuthorizedOperations: int32.or(-2147483648).in(8, 10),
		errorCode: int16.in(13),
	},
);
