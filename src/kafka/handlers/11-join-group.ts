/** JoinGroup: answered when the next generation of the group begins. */
import { api } from "../api.ts";
import { codeNumber } from "../error-number.ts";
import { JoinGroupRequest, JoinGroupResponse } from "../protocol/messages/11-join-group.ts";

/** First version in which a member is given its id before it joins. */
const MEMBER_ID_FROM = 4;
/** First version that knows `skipAssignment`. */
const SKIP_FROM = 9;
/** First version that may have no protocol name. */
const NULL_NAME_FROM = 7;

export const joinGroup = api({
	request: JoinGroupRequest,
	response: JoinGroupResponse,
	versions: [0, 9],
	// The leader is told of all members, and as often as it asks.
	waitsForEarlier: true,
	async handle(request, call) {
		const {
			services: { broker },
			peer,
			clientId,
			version,
		} = call;
		const { error, memberId, members, generation, protocolType, protocolName, leader, skipAssignment } =
			await broker.groups.join({
				group: request.groupId,
				memberId: request.memberId,
				instanceId: request.groupInstanceId,
				clientId: clientId ?? "",
				clientHost: `/${peer.host}`,
				sessionTimeoutMs: request.sessionTimeoutMs,
				rebalanceTimeoutMs: version === 0 ? request.sessionTimeoutMs : request.rebalanceTimeoutMs,
				protocolType: request.protocolType,
				protocols: request.protocols,
				requiresMemberId: version >= MEMBER_ID_FROM,
				canSkipAssignment: version >= SKIP_FROM,
			});
		// It is the leader that is told of all others.
		let bytes = 0;
		for (const { memberId, metadata } of members) bytes += memberId.length + metadata.length;
		const room = bytes === 0 ? undefined : call.claimRoom(bytes);
		if (room !== undefined) await room;
		return {
			errorCode: codeNumber(error),
			generationId: generation,
			protocolType,
			protocolName: version < NULL_NAME_FROM ? (protocolName ?? "") : protocolName,
			leader,
			skipAssignment,
			memberId,
			members: members.map((member) => ({
				memberId: member.memberId,
				groupInstanceId: member.instanceId,
				metadata: member.metadata,
			})),
		};
	},
	refuse(request, errorCode, _message, { version }) {
		const protocolName = version < NULL_NAME_FROM ? "" : null;
		return { errorCode, protocolName, memberId: request.memberId };
	},
});
