/** CreateTopics: makes topics, each durable before the answer; or says what would be made. */
import { BrokerError } from "../../base/errors.ts";
import type { TopicSpec, Topics } from "../../broker/topics.ts";
import { api } from "../api.ts";
import { checkReplicas } from "../assignment.ts";
import { describeTopicConfig } from "../config-description.ts";
import { failure, repeated } from "../outcome.ts";
import { CreateTopicsRequest, CreateTopicsResponse } from "../protocol/messages/19-create-topics.ts";
import type { DecodedOf, EncodableOf } from "../protocol/schema.ts";
import { Turns } from "../turns.ts";

type Wanted = DecodedOf<typeof CreateTopicsRequest>["topics"][number];
type Answer = NonNullable<EncodableOf<typeof CreateTopicsResponse>["topics"]>[number];

/** As Kafka: stands for the broker's own number. */
const DEFAULT = -1;
/** As Kafka's. */
const PARTITIONS_PER_REQUEST_MAX = 10_000;

export const createTopics = api({
	request: CreateTopicsRequest,
	response: CreateTopicsResponse,
	versions: [2, 7],
	async handle({ topics: wanted, validateOnly }, { services: { broker, options } }) {
		const turns = new Turns(broker.clock);
		const twice = repeated(wanted.map(({ name }) => name));
		let partitions = 0;
		const answers = new Map<string, Answer>();
		for (const each of wanted) {
			// Each is a transaction of the catalog.
			const turn = turns.next();
			if (turn !== undefined) await turn;
			const { name } = each;
			if (answers.has(name)) continue;
			try {
				if (twice.has(name)) throw new BrokerError("INVALID_REQUEST", `topic ${name} is in the request more than once`);
				const spec = specOf(each, options.nodeId);
				const checked = broker.topics.checkNew(spec);
				partitions += checked.partitions;
				if (partitions > PARTITIONS_PER_REQUEST_MAX)
					throw new BrokerError(
						"POLICY_VIOLATION",
						`more than ${PARTITIONS_PER_REQUEST_MAX} partitions in one request: fewer at a time would be right`,
					);
				answers.set(name, validateOnly ? made(name, checked, broker.topics) : create(spec, broker.topics));
			} catch (error) {
				answers.set(name, { name, configs: [], ...failure(error) });
			}
		}
		return { topics: [...answers.values()] };
	},
	refuse: ({ topics }, errorCode, errorMessage) => ({
		topics: topics.map(({ name }) => ({ name, errorCode, errorMessage, configs: [] })),
	}),
});

/** Throws INVALID_REPLICATION_FACTOR, INVALID_REPLICA_ASSIGNMENT, INVALID_REQUEST, INVALID_CONFIG. */
function specOf({ name, numPartitions, replicationFactor, assignments, configs }: Wanted, nodeId: number): TopicSpec {
	const config: Record<string, string> = {};
	for (const { name: key, value } of configs) {
		if (value === null) throw new BrokerError("INVALID_CONFIG", `${key} is null: a value would be right`);
		config[key] = value;
	}
	if (assignments.length === 0) {
		if (replicationFactor !== DEFAULT && replicationFactor !== 1)
			throw new BrokerError(
				"INVALID_REPLICATION_FACTOR",
				`replication factor ${replicationFactor}: there is one node, 1 or -1 would be right`,
			);
		return { name, config, ...(numPartitions === DEFAULT ? {} : { partitions: numPartitions }) };
	}
	if (numPartitions !== DEFAULT || replicationFactor !== DEFAULT)
		throw new BrokerError(
			"INVALID_REQUEST",
			"with assignments the number of partitions and the replication factor must be -1",
		);
	const numbers = new Set<number>();
	for (const { partitionIndex, brokerIds } of assignments) {
		numbers.add(partitionIndex);
		if (partitionIndex < 0 || partitionIndex >= assignments.length) throw unnumbered(assignments.length);
		checkReplicas(brokerIds, nodeId);
	}
	if (numbers.size !== assignments.length) throw unnumbered(assignments.length);
	return { name, config, partitions: assignments.length };
}

function unnumbered(count: number): BrokerError {
	return new BrokerError(
		"INVALID_REPLICA_ASSIGNMENT",
		`${count} assignments: one for each partition from 0 to ${count - 1} would be right`,
	);
}

function create(spec: TopicSpec, topics: Topics): Answer {
	const topic = topics.create(spec);
	return {
		...made(spec.name, { partitions: topic.partitions.length, config: topic.config }, topics),
		topicId: topic.id,
	};
}

function made(name: string, { partitions, config }: ReturnType<Topics["checkNew"]>, topics: Topics): Answer {
	return {
		name,
		errorMessage: null,
		numPartitions: partitions,
		replicationFactor: 1,
		configs: describeTopicConfig(config, topics.defaults),
	};
}
