/** ListTransactions, API key 66. */
import { array, int16, int32, int64, message, string, struct } from "../schema.ts";

export const ListTransactionsRequest = message(
	66,
	"ListTransactionsRequest",
	{ versions: [0, 2], flexible: 0 },
	{
		stateFilters: array(string),
		producerIdFilters: array(int64),
		durationFilter: int64.or(-1).in(1),
		transactionalIdPattern: string.nullable().or(null).in(2),
	},
);

export const ListTransactionsResponse = message(
	66,
	"ListTransactionsResponse",
	{ versions: [0, 2], flexible: 0 },
	{
		throttleTimeMs: int32,
		errorCode: int16,
		unknownStateFilters: array(string),
		transactionStates: array(
			struct({
				transactionalId: string,
				producerId: int64,
				transactionState: string,
			}),
		),
	},
);
