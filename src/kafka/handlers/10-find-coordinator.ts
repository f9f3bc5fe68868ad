/** FindCoordinator: this node is the coordinator of every group and every transactional id. */
import { BrokerError, ERROR_CODES } from "../../base/errors.ts";
import { advertisedTo, api, type Call } from "../api.ts";
import { FindCoordinatorRequest, FindCoordinatorResponse } from "../protocol/messages/10-find-coordinator.ts";

const GROUP = 0;
const TRANSACTION = 1;
/** First version that asks for several at once. */
const BATCHED_FROM = 4;
const NOBODY = { nodeId: -1, host: "", port: -1 };

export const findCoordinator = api({
	request: FindCoordinatorRequest,
	response: FindCoordinatorResponse,
	versions: [0, 5],
	handle(request, call) {
		if (request.keyType !== GROUP && request.keyType !== TRANSACTION)
			throw new BrokerError("INVALID_REQUEST", `key type ${request.keyType} is neither a group's nor a transaction's`);
		const here = { nodeId: call.services.options.nodeId, ...advertisedTo(call), errorCode: ERROR_CODES.NONE };
		if (call.version < BATCHED_FROM) return { ...here, errorMessage: "NONE" };
		return { coordinators: request.coordinatorKeys.map((key) => ({ key, ...here })) };
	},
	refuse(request, errorCode, errorMessage, call: Call) {
		const refused = { ...NOBODY, errorCode, errorMessage };
		if (call.version < BATCHED_FROM) return refused;
		return { coordinators: request.coordinatorKeys.map((key) => ({ key, ...refused })) };
	},
});
