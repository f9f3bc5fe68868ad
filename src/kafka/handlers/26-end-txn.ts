/** EndTxn: the producer commits or aborts its transaction. */
import { api } from "../api.ts";
import { EndTxnRequest, EndTxnResponse } from "../protocol/messages/26-end-txn.ts";
import { transactionError } from "../transaction-error.ts";

const FENCED_FROM = 2;

export const endTxn = api({
	request: EndTxnRequest,
	response: EndTxnResponse,
	versions: [0, 4],
	async handle(request, { services: { broker } }) {
		broker.transactions.end(request, request.committed ? "commit" : "abort");
		await broker.log.whenCommitted();
		return {};
	},
	refuse: (_request, error, _message, { version }) => ({ errorCode: transactionError(error, version, FENCED_FROM) }),
});
