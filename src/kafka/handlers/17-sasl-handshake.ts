/** SaslHandshake: on a listener without SASL there is nothing to agree on, and Kafka says so in this way. */
import { ERROR_CODES } from "../../base/errors.ts";
import { api } from "../api.ts";
import { SaslHandshakeRequest, SaslHandshakeResponse } from "../protocol/messages/17-sasl-handshake.ts";

export const saslHandshake = api({
	request: SaslHandshakeRequest,
	response: SaslHandshakeResponse,
	versions: [0, 1],
	handle: () => ({ errorCode: ERROR_CODES.ILLEGAL_SASL_STATE }),
	refuse: (_request, errorCode) => ({ errorCode }),
});
