/** DeleteAcls: there is no authorizer, and so there are no ACLs; answered as Kafka without one. */
import { ERROR_CODES } from "../../base/errors.ts";
import { api } from "../api.ts";
import { NO_AUTHORIZER } from "../outcome.ts";
import { DeleteAclsRequest, DeleteAclsResponse } from "../protocol/messages/31-delete-acls.ts";

export const deleteAcls = api({
	request: DeleteAclsRequest,
	response: DeleteAclsResponse,
	versions: [1, 3],
	handle: ({ filters }) => ({
		filterResults: filters.map(() => ({ errorCode: ERROR_CODES.SECURITY_DISABLED, errorMessage: NO_AUTHORIZER })),
	}),
	refuse: ({ filters }, errorCode, errorMessage) => ({
		filterResults: filters.map(() => ({ errorCode, errorMessage })),
	}),
});
