/** DescribeGroups: the state of groups and who is in them. */
import { ERROR_CODES } from "../../base/errors.ts";
import { api } from "../api.ts";
import { GROUP_OPERATIONS, NOT_ASKED } from "../operations.ts";
import { DescribeGroupsRequest, DescribeGroupsResponse } from "../protocol/messages/15-describe-groups.ts";

export const describeGroups = api({
	request: DescribeGroupsRequest,
	response: DescribeGroupsResponse,
	versions: [0, 5],
	waitsForEarlier: true,
	hasLargeAnswer: true,
	handle({ groups, includeAuthorizedOperations }, { services: { broker } }) {
		const authorizedOperations = includeAuthorizedOperations ? GROUP_OPERATIONS : NOT_ASKED;
		return {
			// Each once: an answer may be large.
			groups: [...new Set(groups)].map((groupId) => {
				const described = broker.groups.describe(groupId);
				// A group that is not is told of as one that is dead.
				if (described === undefined) return { groupId, groupState: "Dead", authorizedOperations };
				const { state, protocolType, protocolName, members } = described;
				return {
					groupId,
					groupState: state,
					protocolType,
					protocolData: protocolName,
					members: members.map((member) => ({
						memberId: member.memberId,
						groupInstanceId: member.instanceId,
						clientId: member.clientId,
						clientHost: member.clientHost,
						memberMetadata: member.metadata,
						memberAssignment: member.assignment,
					})),
					authorizedOperations,
					errorCode: ERROR_CODES.NONE,
				};
			}),
		};
	},
	refuse({ groups }, errorCode) {
		return { groups: groups.map((groupId) => ({ groupId, errorCode })) };
	},
});
