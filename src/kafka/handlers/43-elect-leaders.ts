/** ElectLeaders: this node leads every partition already. */
import { BrokerError, ERROR_CODES } from "../../base/errors.ts";
import { api } from "../api.ts";
import { outcomeOf } from "../outcome.ts";
import { ElectLeadersRequest, ElectLeadersResponse } from "../protocol/messages/43-elect-leaders.ts";

/** Kafka's number of the last kind: 0 elects the preferred leader, 1 may elect an unclean one. */
const ELECTION_TYPE_MAX = 1;

export const electLeaders = api({
	request: ElectLeadersRequest,
	response: ElectLeadersResponse,
	versions: [0, 2],
	handle: ({ electionType, topicPartitions }, { services: { broker } }) => {
		const known = electionType >= 0 && electionType <= ELECTION_TYPE_MAX;
		return {
			errorCode: known ? 0 : ERROR_CODES.INVALID_REQUEST,
			// Of all partitions only those that had need of it would be told of.
			replicaElectionResults: (topicPartitions ?? []).map(({ topic, partitions }) => ({
				topic,
				partitionResult: partitions.map((partitionId) => ({
					partitionId,
					...outcomeOf(() => {
						if (!known) throw new BrokerError("INVALID_REQUEST", `unknown type of election ${electionType}`);
						if (broker.topics.get(topic)?.partitions[partitionId] === undefined)
							throw new BrokerError("UNKNOWN_TOPIC_OR_PARTITION", `there is no partition ${topic}-${partitionId}`);
						throw new BrokerError("ELECTION_NOT_NEEDED", "this node leads the partition, and there is no other");
					}),
				})),
			})),
		};
	},
	refuse: ({ topicPartitions }, errorCode, errorMessage) => ({
		errorCode,
		replicaElectionResults: (topicPartitions ?? []).map(({ topic, partitions }) => ({
			topic,
			partitionResult: partitions.map((partitionId) => ({ partitionId, errorCode, errorMessage })),
		})),
	}),
});
