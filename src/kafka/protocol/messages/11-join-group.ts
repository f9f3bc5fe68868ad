/** JoinGroup, API key 11. */
import { array, bool, bytes, int16, int32, message, string, struct } from "../schema.ts";

export const JoinGroupRequest = message(
	11,
	"JoinGroupRequest",
	{ versions: [0, 9], flexible: 6 },
	{
		groupId: string,
		sessionTimeoutMs: int32,
		rebalanceTimeoutMs: int32.or(-1).in(1),
		memberId: string,
		groupInstanceId: string.nullable().or(null).in(5),
		protocolType: string,
		protocols: array(
			struct({
				name: string,
				metadata: bytes,
			}),
		),
		reason: string.nullable().or(null).in(8),
	},
);

export const JoinGroupResponse = message(
	11,
	"JoinGroupResponse",
	{ versions: [0, 9], flexible: 6 },
	{
		throttleTimeMs: int32.in(2),
		errorCode: int16,
		generationId: int32.or(-1),
		protocolType: string.nullable().or(null).in(7),
		protocolName: string.nullable(7),
		leader: string,
		skipAssignment: bool.in(9),
		memberId: string,
		members: array(
			struct({
				memberId: string,
				groupInstanceId: string.nullable().or(null).in(5),
				metadata: bytes,
			}),
		),
	},
);
