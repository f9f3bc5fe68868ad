/** Produce, API key 0. */
import { array, int16, int32, int64, message, records, string, struct, uuid } from "../schema.ts";

export const ProduceRequest = message(
	0,
	"ProduceRequest",
	{ versions: [3, 13], flexible: 9 },
	{
		transactionalId: string.nullable().or(null),
		acks: int16,
		timeoutMs: int32,
		topicData: array(
			struct({
				name: string.in(0, 12),
				topicId: uuid.in(13),
				partitionData: array(
					struct({
						index: int32,
						records: records,
					}),
				),
			}),
		),
	},
);

export const ProduceResponse = message(
	0,
	"ProduceResponse",
	{ versions: [3, 13], flexible: 9 },
	{
		responses: array(
			struct({
				name: string.in(0, 12),
				topicId: uuid.in(13),
				partitionResponses: array(
					struct({
						index: int32,
						errorCode: int16,
						baseOffset: int64,
						logAppendTimeMs: int64.or(-1),
						logStartOffset: int64.or(-1).in(5),
						recordErrors: array(
							struct({
								batchIndex: int32.in(8),
								batchIndexErrorMessage: string.nullable().or(null).in(8),
							}),
						).in(8),
						errorMessage: string.nullable().or(null).in(8),
						currentLeader: struct({
							leaderId: int32.or(-1).in(10),
							leaderEpoch: int32.or(-1).in(10),
						})
							.in(10)
							.tagged(0),
					}),
				),
			}),
		),
		throttleTimeMs: int32,
		nodeEndpoints: array(
			struct({
				nodeId: int32.in(10),
				host: string.in(10),
				port: int32.in(10),
				rack: string.nullable().or(null).in(10),
			}),
		)
			.in(10)
			.tagged(0),
	},
);
