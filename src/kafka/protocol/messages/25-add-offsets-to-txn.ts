/** AddOffsetsToTxn, API key 25. */
import { int16, int32, int64, message, string } from "../schema.ts";

export const AddOffsetsToTxnRequest = message(
	25,
	"AddOffsetsToTxnRequest",
	{ versions: [0, 4], flexible: 3 },
	{
		transactionalId: string,
		producerId: int64,
		producerEpoch: int16,
		groupId: string,
	},
);

export const AddOffsetsToTxnResponse = message(
	25,
	"AddOffsetsToTxnResponse",
	{ versions: [0, 4], flexible: 3 },
	{
		throttleTimeMs: int32,
		errorCode: int16,
	},
);
