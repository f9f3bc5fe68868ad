/** InitProducerId, API key 22. */
import { bool, int16, int32, int64, message, string } from "../schema.ts";

export const InitProducerIdRequest = message(
	22,
	"InitProducerIdRequest",
	{ versions: [0, 6], flexible: 2 },
	{
		transactionalId: string.nullable(),
		transactionTimeoutMs: int32,
		producerId: int64.or(-1).in(3),
		producerEpoch: int16.or(-1).in(3),
		enable2Pc: bool.in(6),
		keepPreparedTxn: bool.in(6),
	},
);

export const InitProducerIdResponse = message(
	22,
	"InitProducerIdResponse",
	{ versions: [0, 6], flexible: 2 },
	{
		throttleTimeMs: int32,
		errorCode: int16,
		producerId: int64.or(-1),
		producerEpoch: int16,
		ongoingTxnProducerId: int64.or(-1).in(6),
		ongoingTxnProducerEpoch: int16.or(-1).in(6),
	},
);
