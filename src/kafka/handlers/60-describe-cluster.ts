/** DescribeCluster: one node, which is the controller too. */
import { BrokerError } from "../../base/errors.ts";
import { advertisedTo, api } from "../api.ts";
import { CLUSTER_OPERATIONS, NOT_ASKED } from "../operations.ts";
import { DescribeClusterRequest, DescribeClusterResponse } from "../protocol/messages/60-describe-cluster.ts";

const BROKERS = 1;
const CONTROLLERS = 2;

export const describeCluster = api({
	request: DescribeClusterRequest,
	response: DescribeClusterResponse,
	versions: [0, 1],
	handle(request, call) {
		if (request.endpointType === CONTROLLERS)
			throw new BrokerError(
				"MISMATCHED_ENDPOINT_TYPE",
				"this listener is for clients; it knows brokers, not controllers",
			);
		if (request.endpointType !== BROKERS)
			throw new BrokerError("UNSUPPORTED_ENDPOINT_TYPE", `endpoint type ${request.endpointType} is not known`);
		const { options, clusterId } = call.services;
		return {
			clusterId,
			controllerId: options.nodeId,
			brokers: [{ brokerId: options.nodeId, ...advertisedTo(call) }],
			clusterAuthorizedOperations: request.includeClusterAuthorizedOperations ? CLUSTER_OPERATIONS : NOT_ASKED,
		};
	},
	refuse: (_request, errorCode, errorMessage) => ({ errorCode, errorMessage }),
});
