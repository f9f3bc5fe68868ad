/** Heartbeat: a member lives, and is told when a rebalance is under way. */
import { api } from "../api.ts";
import { codeNumber } from "../error-number.ts";
import { HeartbeatRequest, HeartbeatResponse } from "../protocol/messages/12-heartbeat.ts";

export const heartbeat = api({
	request: HeartbeatRequest,
	response: HeartbeatResponse,
	versions: [0, 4],
	handle(request, { services: { broker } }) {
		const error = broker.groups.heartbeat({
			group: request.groupId,
			generation: request.generationId,
			memberId: request.memberId,
			instanceId: request.groupInstanceId,
		});
		return { errorCode: codeNumber(error) };
	},
	refuse(_request, errorCode) {
		return { errorCode };
	},
});
