/** AlterPartitionReassignments: a partition may be assigned to this node, where it is, and to no other; there is never anything to cancel. */
import { BrokerError } from "../../base/errors.ts";
import { api } from "../api.ts";
import { checkReplicas } from "../assignment.ts";
import { outcomeOf } from "../outcome.ts";
import {
	AlterPartitionReassignmentsRequest,
	AlterPartitionReassignmentsResponse,
} from "../protocol/messages/45-alter-partition-reassignments.ts";

export const alterPartitionReassignments = api({
	request: AlterPartitionReassignmentsRequest,
	response: AlterPartitionReassignmentsResponse,
	versions: [0, 1],
	handle: ({ topics, allowReplicationFactorChange }, { services: { broker, options } }) => ({
		allowReplicationFactorChange,
		errorMessage: null,
		responses: topics.map(({ name, partitions }) => ({
			name,
			partitions: partitions.map(({ partitionIndex, replicas }) => ({
				partitionIndex,
				...outcomeOf(() => {
					if (broker.topics.get(name)?.partitions[partitionIndex] === undefined)
						throw new BrokerError("UNKNOWN_TOPIC_OR_PARTITION", `there is no partition ${name}-${partitionIndex}`);
					if (replicas === null)
						throw new BrokerError(
							"NO_REASSIGNMENT_IN_PROGRESS",
							"no reassignment is under way, nor ever is with one node",
						);
					checkReplicas(replicas, options.nodeId);
				}),
			})),
		})),
	}),
	refuse: ({ topics }, errorCode, errorMessage) => ({
		errorCode,
		errorMessage,
		responses: topics.map(({ name, partitions }) => ({
			name,
			partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode, errorMessage })),
		})),
	}),
});
