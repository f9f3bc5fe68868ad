/** SyncGroup, API key 14. */
import { array, bytes, int16, int32, message, string, struct } from "../schema.ts";

export const SyncGroupRequest = message(
	14,
	"SyncGroupRequest",
	{ versions: [0, 5], flexible: 4 },
	{
		groupId: string,
		generationId: int32,
		memberId: string,
		groupInstanceId: string.nullable().or(null).in(3),
		protocolType: string.nullable().or(null).in(5),
		protocolName: string.nullable().or(null).in(5),
		assignments: array(
			struct({
				memberId: string,
				assignment: bytes,
			}),
		),
	},
);

export const SyncGroupResponse = message(
	14,
	"SyncGroupResponse",
	{ versions: [0, 5], flexible: 4 },
	{
		throttleTimeMs: int32.in(1),
		errorCode: int16,
		protocolType: string.nullable().or(null).in(5),
		protocolName: string.nullable().or(null).in(5),
		assignment: bytes,
	},
);
