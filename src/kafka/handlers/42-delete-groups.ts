/** DeleteGroups: groups without members, with their offsets. */
import { api } from "../api.ts";
import { outcomeOf } from "../outcome.ts";
import { DeleteGroupsRequest, DeleteGroupsResponse } from "../protocol/messages/42-delete-groups.ts";

export const deleteGroups = api({
	request: DeleteGroupsRequest,
	response: DeleteGroupsResponse,
	versions: [0, 2],
	async handle({ groupsNames }, { services: { broker } }) {
		const results = [...new Set(groupsNames)].map((groupId) => {
			const { errorCode } = outcomeOf(() => broker.groups.delete(groupId));
			return { groupId, errorCode };
		});
		await broker.log.whenCommitted();
		return { results };
	},
	refuse({ groupsNames }, errorCode) {
		return { results: groupsNames.map((groupId) => ({ groupId, errorCode })) };
	},
});
