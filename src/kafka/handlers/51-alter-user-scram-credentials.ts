/** AlterUserScramCredentials: refused, because connections are not authenticated. */
import { BrokerError } from "../../base/errors.ts";
import { api } from "../api.ts";
import { failure } from "../outcome.ts";
import {
	AlterUserScramCredentialsRequest,
	AlterUserScramCredentialsResponse,
} from "../protocol/messages/51-alter-user-scram-credentials.ts";
import type { DecodedOf } from "../protocol/schema.ts";

export const alterUserScramCredentials = api({
	request: AlterUserScramCredentialsRequest,
	response: AlterUserScramCredentialsResponse,
	versions: [0, 0],
	handle: (request) => {
		const upserted = new Set(request.upsertions.map(({ name }) => name));
		return {
			results: usersOf(request).map((user) => ({
				user,
				...failure(
					upserted.has(user)
						? new BrokerError("UNSUPPORTED_VERSION", "this gateway does not authenticate, and keeps no credentials")
						: new BrokerError("RESOURCE_NOT_FOUND", `user ${user} has no SCRAM credentials`),
				),
			})),
		};
	},
	refuse: (request, errorCode, errorMessage) => ({
		results: usersOf(request).map((user) => ({ user, errorCode, errorMessage })),
	}),
});

function usersOf({ deletions, upsertions }: DecodedOf<typeof AlterUserScramCredentialsRequest>): string[] {
	return [...new Set([...deletions, ...upsertions].map(({ name }) => name))];
}
