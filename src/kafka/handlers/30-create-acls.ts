/** CreateAcls: there is no authorizer that could keep to them; answered as Kafka without one. */
import { ERROR_CODES } from "../../base/errors.ts";
import { api } from "../api.ts";
import { NO_AUTHORIZER } from "../outcome.ts";
import { CreateAclsRequest, CreateAclsResponse } from "../protocol/messages/30-create-acls.ts";

export const createAcls = api({
	request: CreateAclsRequest,
	response: CreateAclsResponse,
	versions: [1, 3],
	handle: ({ creations }) => ({
		results: creations.map(() => ({ errorCode: ERROR_CODES.SECURITY_DISABLED, errorMessage: NO_AUTHORIZER })),
	}),
	refuse: ({ creations }, errorCode, errorMessage) => ({ results: creations.map(() => ({ errorCode, errorMessage })) }),
});
