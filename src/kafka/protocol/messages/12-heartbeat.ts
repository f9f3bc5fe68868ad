/** Heartbeat, API key 12. */
import { int16, int32, message, string } from "../schema.ts";

export const HeartbeatRequest = message(
	12,
	"HeartbeatRequest",
	{ versions: [0, 4], flexible: 4 },
	{
		groupId: string,
		generationId: int32,
		memberId: string,
		groupInstanceId: string.nullable().or(null).in(3),
	},
);

export const HeartbeatResponse = message(
	12,
	"HeartbeatResponse",
	{ versions: [0, 4], flexible: 4 },
	{
		throttleTimeMs: int32.in(1),
		errorCode: int16,
	},
);
