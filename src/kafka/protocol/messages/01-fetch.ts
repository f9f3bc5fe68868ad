/** Fetch, API key 1. */
import { array, int8, int16, int32, int64, message, records, string, struct, uuid } from "../schema.ts";

export const FetchRequest = message(
	1,
	"FetchRequest",
	{ versions: [4, 18], flexible: 12 },
	{
		clusterId: string.nullable().or(null).in(12).tagged(0),
		replicaId: int32.or(-1).in(0, 14),
		replicaState: struct({
			replicaId: int32.or(-1).in(15),
			replicaEpoch: int64.or(-1).in(15),
		})
			.in(15)
			.tagged(1),
		maxWaitMs: int32,
		minBytes: int32,
		maxBytes: int32.or(2147483647),
		isolationLevel: int8,
		sessionId: int32.in(7),
		sessionEpoch: int32.or(-1).in(7),
		topics: array(
			struct({
				topic: string.in(0, 12),
				topicId: uuid.in(13),
				partitions: array(
					struct({
						partition: int32,
						currentLeaderEpoch: int32.or(-1).in(9),
						fetchOffset: int64,
						lastFetchedEpoch: int32.or(-1).in(12),
						logStartOffset: int64.or(-1).in(5),
						partitionMaxBytes: int32,
						replicaDirectoryId: uuid.in(17).tagged(0),
						highWatermark: int64
							.or(2 ** 63)
							.in(18)
							.tagged(1),
					}),
				),
			}),
		),
		forgottenTopicsData: array(
			struct({
				topic: string.in(7, 12),
				topicId: uuid.in(13),
				partitions: array(int32).in(7),
			}),
		).in(7),
		rackId: string.in(11),
	},
);

export const FetchResponse = message(
	1,
	"FetchResponse",
	{ versions: [4, 18], flexible: 12 },
	{
		throttleTimeMs: int32,
		errorCode: int16.in(7),
		sessionId: int32.in(7),
		responses: array(
			struct({
				topic: string.in(0, 12),
				topicId: uuid.in(13),
				partitions: array(
					struct({
						partitionIndex: int32,
						errorCode: int16,
						highWatermark: int64,
						lastStableOffset: int64.or(-1),
						logStartOffset: int64.or(-1).in(5),
						divergingEpoch: struct({
							epoch: int32.or(-1).in(12),
							endOffset: int64.or(-1).in(12),
						})
							.in(12)
							.tagged(0),
						currentLeader: struct({
							leaderId: int32.or(-1).in(12),
							leaderEpoch: int32.or(-1).in(12),
						})
							.in(12)
							.tagged(1),
						snapshotId: struct({
							endOffset: int64.or(-1),
							epoch: int32.or(-1),
						})
							.in(12)
							.tagged(2),
						abortedTransactions: array(
							struct({
								producerId: int64,
								firstOffset: int64,
							}),
						).nullable(),
						preferredReadReplica: int32.or(-1).in(11),
						records: records,
					}),
				),
			}),
		),
		nodeEndpoints: array(
			struct({
				nodeId: int32.in(16),
				host: string.in(16),
				port: int32.in(16),
				rack: string.nullable().or(null).in(16),
			}),
		)
			.in(16)
			.tagged(0),
	},
);
