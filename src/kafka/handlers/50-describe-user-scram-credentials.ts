/** DescribeUserScramCredentials: connections are not authenticated, so no user has credentials. */
import { BrokerError } from "../../base/errors.ts";
import { api } from "../api.ts";
import { failure, repeated } from "../outcome.ts";
import {
	DescribeUserScramCredentialsRequest,
	DescribeUserScramCredentialsResponse,
} from "../protocol/messages/50-describe-user-scram-credentials.ts";

export const describeUserScramCredentials = api({
	request: DescribeUserScramCredentialsRequest,
	response: DescribeUserScramCredentialsResponse,
	versions: [0, 0],
	handle: ({ users }) => {
		const names = (users ?? []).map(({ name }) => name);
		const twice = repeated(names);
		return {
			errorMessage: null,
			results: [...new Set(names)].map((user) => ({
				user,
				...failure(
					twice.has(user)
						? new BrokerError("DUPLICATE_RESOURCE", `user ${user} is in the request more than once`)
						: new BrokerError("RESOURCE_NOT_FOUND", `user ${user} has no SCRAM credentials`),
				),
			})),
		};
	},
	refuse: (_request, errorCode, errorMessage) => ({ errorCode, errorMessage }),
});
