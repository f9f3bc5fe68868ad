/** LeaveGroup: members go at once, without waiting for their sessions to end. */
import { api } from "../api.ts";
import { codeNumber } from "../error-number.ts";
import { LeaveGroupRequest, LeaveGroupResponse } from "../protocol/messages/13-leave-group.ts";

/** First version that names several members. */
const BATCHED_FROM = 3;

export const leaveGroup = api({
	request: LeaveGroupRequest,
	response: LeaveGroupResponse,
	versions: [0, 5],
	handle(request, { services: { broker }, version }) {
		if (version < BATCHED_FROM) {
			const [error] = broker.groups.leave(request.groupId, [{ memberId: request.memberId, instanceId: null }]);
			return { errorCode: codeNumber(error) };
		}
		const leaving = request.members.map(({ memberId, groupInstanceId }) => ({ memberId, instanceId: groupInstanceId }));
		const errors = broker.groups.leave(request.groupId, leaving);
		return {
			members: request.members.map(({ memberId, groupInstanceId }, i) => ({
				memberId,
				groupInstanceId,
				errorCode: codeNumber(errors[i]),
			})),
		};
	},
	refuse(_request, errorCode) {
		return { errorCode };
	},
});
