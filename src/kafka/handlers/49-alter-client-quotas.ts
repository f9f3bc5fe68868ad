/** AlterClientQuotas: refused, because nothing here would keep to a quota. */
import { ERROR_CODES } from "../../base/errors.ts";
import { api } from "../api.ts";
import { AlterClientQuotasRequest, AlterClientQuotasResponse } from "../protocol/messages/49-alter-client-quotas.ts";

export const alterClientQuotas = api({
	request: AlterClientQuotasRequest,
	response: AlterClientQuotasResponse,
	versions: [0, 1],
	handle: ({ entries }) => ({
		entries: entries.map(({ entity }) => ({
			errorCode: ERROR_CODES.UNSUPPORTED_VERSION,
			errorMessage: "this gateway has no client quotas",
			entity,
		})),
	}),
	refuse: ({ entries }, errorCode, errorMessage) => ({
		entries: entries.map(({ entity }) => ({ errorCode, errorMessage, entity })),
	}),
});
