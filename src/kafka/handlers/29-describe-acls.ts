/** DescribeAcls: there is no authorizer, and so there are no ACLs; answered as Kafka without one. */
import { ERROR_CODES } from "../../base/errors.ts";
import { api } from "../api.ts";
import { NO_AUTHORIZER } from "../outcome.ts";
import { DescribeAclsRequest, DescribeAclsResponse } from "../protocol/messages/29-describe-acls.ts";

export const describeAcls = api({
	request: DescribeAclsRequest,
	response: DescribeAclsResponse,
	versions: [1, 3],
	handle: () => ({ errorCode: ERROR_CODES.SECURITY_DISABLED, errorMessage: NO_AUTHORIZER }),
	refuse: (_request, errorCode, errorMessage) => ({ errorCode, errorMessage }),
});
