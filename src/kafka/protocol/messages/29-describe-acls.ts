/** DescribeAcls, API key 29. */
import { array, int8, int16, int32, message, string, struct } from "../schema.ts";

export const DescribeAclsRequest = message(
	29,
	"DescribeAclsRequest",
	{ versions: [1, 3], flexible: 2 },
	{
		resourceTypeFilter: int8,
		resourceNameFilter: string.nullable(),
		patternTypeFilter: int8.or(3),
		principalFilter: string.nullable(),
		hostFilter: string.nullable(),
		operation: int8,
		permissionType: int8,
	},
);

export const DescribeAclsResponse = message(
	29,
	"DescribeAclsResponse",
	{ versions: [1, 3], flexible: 2 },
	{
		throttleTimeMs: int32,
		errorCode: int16,
		errorMessage: string.nullable(),
		resources: array(
			struct({
				resourceType: int8,
				resourceName: string,
				patternType: int8.or(3),
				acls: array(
					struct({
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
