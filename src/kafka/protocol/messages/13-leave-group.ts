/** LeaveGroup, API key 13. */
import { array, int16, int32, message, string, struct } from "../schema.ts";

export const LeaveGroupRequest = message(
	13,
	"LeaveGroupRequest",
	{ versions: [0, 5], flexible: 4 },
	{
		groupId: string,
		memberId: string.in(0, 2),
		members: array(
			struct({
				memberId: string.in(3),
				groupInstanceId: string.nullable().or(null).in(3),
				reason: string.nullable().or(null).in(5),
			}),
		).in(3),
	},
);

export const LeaveGroupResponse = message(
	13,
	"LeaveGroupResponse",
	{ versions: [0, 5], flexible: 4 },
	{
		throttleTimeMs: int32.in(1),
		errorCode: int16,
		members: array(
			struct({
				memberId: string.in(3),
				groupInstanceId: string.nullable().in(3),
				errorCode: int16.in(3),
			}),
		).in(3),
	},
);
