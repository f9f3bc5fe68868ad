/** ListGroups: every group, or those in given states. */
import { ERROR_CODES } from "../../base/errors.ts";
import { api } from "../api.ts";
import { ListGroupsRequest, ListGroupsResponse } from "../protocol/messages/16-list-groups.ts";

/** The protocol of all groups here. */
const TYPE = "classic";

export const listGroups = api({
	request: ListGroupsRequest,
	response: ListGroupsResponse,
	versions: [0, 5],
	waitsForEarlier: true,
	hasLargeAnswer: true,
	handle({ statesFilter, typesFilter }, { services: { broker } }) {
		const states = lowered(statesFilter);
		const types = lowered(typesFilter);
		const wanted = (state: string) =>
			(states.size === 0 || states.has(state.toLowerCase())) && (types.size === 0 || types.has(TYPE));
		return {
			errorCode: ERROR_CODES.NONE,
			groups: broker.groups
				.list()
				.filter(({ state }) => wanted(state))
				.map(({ group, protocolType, state }) => ({
					groupId: group,
					protocolType,
					groupState: state,
					groupType: TYPE,
				})),
		};
	},
	refuse(_request, errorCode) {
		return { errorCode };
	},
});

function lowered(filter: readonly string[]): ReadonlySet<string> {
	return new Set(filter.map((each) => each.toLowerCase()));
}
