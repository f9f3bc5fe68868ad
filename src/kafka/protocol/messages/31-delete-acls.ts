/** DeleteAcls, API key 31. */
import { array, int8, int16, int32, message, string, struct } from "../schema.ts";

export const DeleteAclsRequest = message(
	31,
	"DeleteAclsRequest",
	{ versions: [1, 3], flexible: 2 },
	{
		filters: array(
			struct({
				resourceTypeFilter: int8,
				resourceNameFilter: string.nullable(),
				patternTypeFilter: int8.or(3),
				principalFilter: string.nullable(),
				hostFilter: string.nullable(),
				operation: int8,
				permissionType: int8,
			}),
		),
	},
);

export const DeleteAclsResponse = message(
	31,
	"DeleteAclsResponse",
	{ versions: [1, 3], flexible: 2 },
	{
		throttleTimeMs: int32,
		filterResults: array(
			struct({
				errorCode: int16,
				errorMessage: string.nullable(),
				matchingAcls: array(
					struct({
						errorCode: int16,
						errorMessage: string.nullable(),
						resourceType: int8,
						resourceName: string,
						patternType: int8.or(3),
						principal: string,
						host: string,
						operation: int8,
						permissionType: int8,
					}),
				),
			}),
		),
	},
);
