/** SyncGroup: the leader tells who gets what, and everybody is told. */
import { BrokerError } from "../../base/errors.ts";
import { api } from "../api.ts";
import { codeNumber } from "../error-number.ts";
import { SyncGroupRequest, SyncGroupResponse } from "../protocol/messages/14-sync-group.ts";

/** First version that must tell the protocol. */
const PROTOCOL_FROM = 5;

export const syncGroup = api({
	request: SyncGroupRequest,
	response: SyncGroupResponse,
	versions: [0, 5],
	async handle(request, { services: { broker }, version }) {
		const { groupId, generationId, memberId, groupInstanceId, protocolType, protocolName, assignments } = request;
		if (version >= PROTOCOL_FROM && (protocolType === null || protocolName === null))
			throw new BrokerError("INCONSISTENT_GROUP_PROTOCOL", "SyncGroup has to tell the group's protocol");
		const { error, ...answer } = await broker.groups.sync({
			group: groupId,
			generation: generationId,
			memberId,
			instanceId: groupInstanceId,
			protocolType,
			protocolName,
			assignments,
		});
		return { errorCode: codeNumber(error), ...answer };
	},
	refuse(_request, errorCode) {
		return { errorCode };
	},
});
