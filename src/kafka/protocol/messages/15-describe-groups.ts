/** DescribeGroups, API key 15. */
import { array, bool, bytes, int16, int32, message, string, struct } from "../schema.ts";

export const DescribeGroupsRequest = message(
	15,
	"DescribeGroupsRequest",
	{ versions: [0, 6], flexible: 5 },
	{
		groups: array(string),
		includeAuthorizedOperations: bool.in(3),
	},
);

export const DescribeGroupsResponse = message(
	15,
	"DescribeGroupsResponse",
	{ versions: [0, 6], flexible: 5 },
	{
		throttleTimeMs: int32.in(1),
		groups: array(
			struct({
				errorCode: int16,
				errorMessage: string.nullable().or(null).in(6),
				groupId: string,
				groupState: string,
				protocolType: string,
				protocolData: string,
				members: array(
					struct({
						memberId: string,
						groupInstanceId: string.nullable().or(null).in(4),
						clientId: string,
						clientHost: string,
						memberMetadata: bytes,
						memberAssignment: bytes,
					}),
				),
				authorizedOperations: int32.or(-2147483648).in(3),
			}),
		),
	},
);
