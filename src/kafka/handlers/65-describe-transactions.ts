/** DescribeTransactions: what there is of transactional ids. */
import { ERROR_CODES } from "../../base/errors.ts";
import type { TransactionRow } from "../../broker/transactions/transaction-row.ts";
import type { Log } from "../../log/log.ts";
import { api } from "../api.ts";
import {
	DescribeTransactionsRequest,
	DescribeTransactionsResponse,
} from "../protocol/messages/65-describe-transactions.ts";

export const describeTransactions = api({
	request: DescribeTransactionsRequest,
	response: DescribeTransactionsResponse,
	versions: [0, 0],
	waitsForEarlier: true,
	hasLargeAnswer: true,
	async handle({ transactionalIds }, { services: { broker } }) {
		const { transactions, log } = broker;
		// Each once: an answer may be large.
		const transactionStates = [...new Set(transactionalIds)].map((transactionalId) => {
			if (transactionalId === "") return { transactionalId, errorCode: ERROR_CODES.INVALID_REQUEST };
			const row = transactions.describe(transactionalId);
			if (row === undefined) return { transactionalId, errorCode: ERROR_CODES.TRANSACTIONAL_ID_NOT_FOUND };
			return {
				transactionalId,
				transactionState: row.state,
				transactionTimeoutMs: row.timeoutMs,
				transactionStartTimeMs: row.startedMs,
				producerId: row.producerId,
				producerEpoch: row.producerEpoch,
				topics: topicsOf(row, log),
			};
		});
		await log.whenCommitted();
		return { transactionStates };
	},
	refuse: ({ transactionalIds }, errorCode) => ({
		transactionStates: transactionalIds.map((transactionalId) => ({ transactionalId, errorCode })),
	}),
});

function topicsOf(row: TransactionRow, log: Log) {
	const topics = new Map<string, number[]>();
	for (const id of row.partitions) {
		const partition = log.partitions.get(id);
		// Its topic was deleted.
		if (partition === undefined) continue;
		const numbers = topics.get(partition.topic);
		if (numbers === undefined) topics.set(partition.topic, [partition.number]);
		else numbers.push(partition.number);
	}
	return [...topics].map(([topic, partitions]) => ({ topic, partitions }));
}
