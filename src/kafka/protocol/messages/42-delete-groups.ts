/** DeleteGroups, API key 42. */
import { array, int16, int32, message, string, struct } from "../schema.ts";

export const DeleteGroupsRequest = message(
	42,
	"DeleteGroupsRequest",
	{ versions: [0, 2], flexible: 2 },
	{
		groupsNames: array(string),
	},
);

export const DeleteGroupsResponse = message(
	42,
	"DeleteGroupsResponse",
	{ versions: [0, 2], flexible: 2 },
	{
		throttleTimeMs: int32,
		results: array(
			struct({
				groupId: string,
				errorCode: int16,
			}),
		),
	},
);
