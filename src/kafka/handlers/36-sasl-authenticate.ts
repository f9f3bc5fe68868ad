/** SaslAuthenticate: on a listener without SASL everybody is in already. */
import { ERROR_CODES } from "../../base/errors.ts";
import { api } from "../api.ts";
import { SaslAuthenticateRequest, SaslAuthenticateResponse } from "../protocol/messages/36-sasl-authenticate.ts";

export const saslAuthenticate = api({
	request: SaslAuthenticateRequest,
	response: SaslAuthenticateResponse,
	versions: [0, 2],
	handle: () => ({
		errorCode: ERROR_CODES.ILLEGAL_SASL_STATE,
		errorMessage: "this listener takes no SASL authentication: connect with security.protocol=PLAINTEXT",
	}),
	refuse: (_request, errorCode, errorMessage) => ({ errorCode, errorMessage }),
});
