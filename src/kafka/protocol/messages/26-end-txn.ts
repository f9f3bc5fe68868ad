/** EndTxn, API key 26. */
import { bool, int16, int32, int64, message, string } from "../schema.ts";

export const EndTxnRequest = message(
	26,
	"EndTxnRequest",
	{ versions: [0, 5], flexible: 3 },
	{
		transactionalId: string,
		producerId: int64,
		producerEpoch: int16,
		committed: bool,
	},
);

export const EndTxnResponse = message(
	26,
	"EndTxnResponse",
	{ versions: [0, 5], flexible: 3 },
	{
		throttleTimeMs: int32,
		errorCode: int16,
		producerId: int64.or(-1).in(5),
		producerEpoch: int16.or(-1).in(5),
	},
);
