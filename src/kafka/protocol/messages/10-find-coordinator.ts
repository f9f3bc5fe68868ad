/** FindCoordinator, API key 10. */
import { array, int8, int16, int32, message, string, struct } from "../schema.ts";

export const FindCoordinatorRequest = message(
	10,
	"FindCoordinatorRequest",
	{ versions: [0, 6], flexible: 3 },
	{
		key: string.in(0, 3),
		keyType: int8.in(1),
		coordinatorKeys: array(string).in(4),
	},
);

export const FindCoordinatorResponse = message(
	10,
	"FindCoordinatorResponse",
	{ versions: [0, 6], flexible: 3 },
	{
		throttleTimeMs: int32.in(1),
		errorCode: int16.in(0, 3),
		errorMessage: string.nullable().in(1, 3),
		nodeId: int32.in(0, 3),
		host: string.in(0, 3),
		port: int32.in(0, 3),
		coordinators: array(
			struct({
				key: string.in(4),
				nodeId: int32.in(4),
				host: string.in(4),
				port: int32.in(4),
				errorCode: int16.in(4),
				errorMessage: string.nullable().in(4),
			}),
		).in(4),
	},
);
