/** InitProducerId: an idempotent or transactional producer begins. */
import { ERROR_CODES } from "../../base/errors.ts";
import { api } from "../api.ts";
import { InitProducerIdRequest, InitProducerIdResponse } from "../protocol/messages/22-init-producer-id.ts";
import { transactionError } from "../transaction-error.ts";

const FENCED_FROM = 4;

export const initProducerId = api({
	request: InitProducerIdRequest,
	response: InitProducerIdResponse,
	versions: [0, 5],
	async handle({ transactionalId, transactionTimeoutMs, producerId, producerEpoch }, { services: { broker } }) {
		const timeoutMs = transactionTimeoutMs;
		const begun = broker.transactions.initProducerId({ transactionalId, timeoutMs, producerId, producerEpoch });
		await broker.log.whenCommitted();
		return { producerId: begun.producerId, producerEpoch: begun.producerEpoch };
	},
	refuse({ transactionalId }, error, _message, { version }) {
		const told = transactionError(error, version, FENCED_FROM);
		// Who has no transactional id has no coordinator to look for: this, too, is asked again.
		const isLost = told === ERROR_CODES.COORDINATOR_NOT_AVAILABLE && transactionalId === null;
		return {
			errorCode: isLost ? ERROR_CODES.COORDINATOR_LOAD_IN_PROGRESS : told,
			producerId: -1,
			producerEpoch: -1,
		};
	},
});
