/** AddOffsetsToTxn: the producer is going to commit offsets of a consumer group in its transaction. */
import { api } from "../api.ts";
import { AddOffsetsToTxnRequest, AddOffsetsToTxnResponse } from "../protocol/messages/25-add-offsets-to-txn.ts";
import { transactionError } from "../transaction-error.ts";

const FENCED_FROM = 2;

export const addOffsetsToTxn = api({
	request: AddOffsetsToTxnRequest,
	response: AddOffsetsToTxnResponse,
	versions: [0, 4],
	async handle(request, { services: { broker } }) {
		broker.transactions.addGroup(request, request.groupId);
		await broker.log.whenCommitted();
		return {};
	},
	refuse: (_request, error, _message, { version }) => ({ errorCode: transactionError(error, version, FENCED_FROM) }),
});
