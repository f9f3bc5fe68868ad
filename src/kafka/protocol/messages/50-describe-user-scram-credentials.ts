/** DescribeUserScramCredentials, API key 50. */
import { array, int8, int16, int32, message, string, struct } from "../schema.ts";

export const DescribeUserScramCredentialsRequest = message(
	50,
	"DescribeUserScramCredentialsRequest",
	{ versions: [0, 0], flexible: 0 },
	{
		users: array(
			struct({
				name: string,
			}),
		).nullable(),
	},
);

export const DescribeUserScramCredentialsResponse = message(
	50,
	"DescribeUserScramCredentialsResponse",
	{ versions: [0, 0], flexible: 0 },
	{
		throttleTimeMs: int32,
		errorCode: int16,
		errorMessage: string.nullable(),
		results: array(
			struct({
				user: string,
				errorCode: int16,
				errorMessage: string.nullable(),
				credentialInfos: array(
					struct({
						mechanism: int8,
						iterations: int32,
					}),
				),
			}),
		),
	},
);
