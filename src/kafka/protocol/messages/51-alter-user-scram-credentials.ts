/** AlterUserScramCredentials, API key 51. */
import { array, bytes, int8, int16, int32, message, string, struct } from "../schema.ts";

export const AlterUserScramCredentialsRequest = message(
	51,
	"AlterUserScramCredentialsRequest",
	{ versions: [0, 0], flexible: 0 },
	{
		deletions: array(
			struct({
				name: string,
				mechanism: int8,
			}),
		),
		upsertions: array(
			struct({
				name: string,
				mechanism: int8,
				iterations: int32,
				salt: bytes,
				saltedPassword: bytes,
			}),
		),
	},
);

export const AlterUserScramCredentialsResponse = message(
	51,
	"AlterUserScramCredentialsResponse",
	{ versions: [0, 0], flexible: 0 },
	{
		throttleTimeMs: int32,
		results: array(
			struct({
				user: string,
				errorCode: int16,
				errorMessage: string.nullable(),
			}),
		),
	},
);
