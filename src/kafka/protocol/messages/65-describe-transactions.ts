/** DescribeTransactions, API key 65. */
import { array, int16, int32, int64, message, string, struct } from "../schema.ts";

export const DescribeTransactionsRequest = message(
	65,
	"DescribeTransactionsRequest",
	{ versions: [0, 0], flexible: 0 },
	{
		transactionalIds: array(string),
	},
);

export const DescribeTransactionsResponse = message(
	65,
	"DescribeTransactionsResponse",
	{ versions: [0, 0], flexible: 0 },
	{
		throttleTimeMs: int32,
		transactionStates: array(
			struct({
				errorCode: int16,
				transactionalId: string,
				transactionState: string,
				transactionTimeoutMs: int32,
				transactionStartTimeMs: int64,
				producerId: int64,
				producerEpoch: int16,
				topics: array(
					struct({
						topic: string,
						partitions: array(int32),
					}),
				),
			}),
		),
	},
);
