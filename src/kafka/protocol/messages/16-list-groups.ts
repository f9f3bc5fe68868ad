/** ListGroups, API key 16. */
import { array, int16, int32, message, string, struct } from "../schema.ts";

export const ListGroupsRequest = message(
	16,
	"ListGroupsRequest",
	{ versions: [0, 5], flexible: 3 },
	{
		statesFilter: array(string).in(4),
		typesFilter: array(string).in(5),
	},
);

export const ListGroupsResponse = message(
	16,
	"ListGroupsResponse",
	{ versions: [0, 5], flexible: 3 },
	{
		throttleTimeMs: int32.in(1),
		errorCode: int16,
		groups: array(
			struct({
				groupId: string,
				protocolType: string,
				groupState: string.in(4),
				groupType: string.in(5),
			}),
		),
	},
);
