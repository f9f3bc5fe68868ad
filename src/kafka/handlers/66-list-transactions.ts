/** ListTransactions: every transactional id, by its state, its producer or how long its transaction is open. */
import type { Clock } from "../../base/clock.ts";
import { TRANSACTION_STATES, type TransactionRow } from "../../broker/transactions/transaction-row.ts";
import { api } from "../api.ts";
import { ListTransactionsRequest, ListTransactionsResponse } from "../protocol/messages/66-list-transactions.ts";

/** So many are looked at before others have their turn. */
const AT_ONCE = 1000;

export const listTransactions = api({
	request: ListTransactionsRequest,
	response: ListTransactionsResponse,
	versions: [0, 1],
	waitsForEarlier: true,
	hasLargeAnswer: true,
	async handle({ stateFilters, producerIdFilters, durationFilter }, { services: { broker } }) {
		const { transactions, clock, log } = broker;
		const states = new Set(stateFilters);
		const producers = new Set(producerIdFilters);
		const now = clock.now();
		const isWanted = ({ state, producerId, startedMs }: TransactionRow): boolean =>
			(states.size === 0 || states.has(state)) &&
			(producers.size === 0 || producers.has(producerId)) &&
			(durationFilter < 0 || now - startedMs > durationFilter);
		/** By transactional id. */
		const found = new Map<string, { producerId: number; transactionState: string }>();
		let looked = 0;
		for (const { transactionalId, row } of transactions.list()) {
			if (isWanted(row)) found.set(transactionalId, { producerId: row.producerId, transactionState: row.state });
			if (++looked % AT_ONCE === 0) await turn(clock);
		}
		await log.whenCommitted();
		return {
			unknownStateFilters: stateFilters.filter((state) => !TRANSACTION_STATES.has(state)),
			transactionStates: [...found].map(([transactionalId, rest]) => ({ transactionalId, ...rest })),
		};
	},
	refuse: (_request, errorCode) => ({ errorCode }),
});

function turn(clock: Clock): Promise<void> {
	return new Promise((resolve) => clock.soon(resolve));
}
