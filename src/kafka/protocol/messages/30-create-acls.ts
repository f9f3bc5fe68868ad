/** CreateAcls, API key 30. */
import { array, int8, int16, int32, message, string, struct } from "../schema.ts";

export const CreateAclsRequest = message(
	30,
	"CreateAclsRequest",
	{ versions: [1, 3], flexible: 2 },
	{
		creations: array(
			struct({
				resourceType: int8,
				resourceName: string,
				resourcePatternType: int8.or(3),
				principal: string,
				host: string,
				operation: int8,
				permissionType: int8,
			}),
		),
	},
);

export const CreateAclsResponse = message(
	30,
	"CreateAclsResponse",
	{ versions: [1, 3], flexible: 2 },
	{
		throttleTimeMs: int32,
		results: array(
			struct({
				errorCode: int16,
				errorMessage: string.nullable(),
			}),
		),
	},
);
