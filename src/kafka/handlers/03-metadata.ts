/** Metadata: the one node, and topics with their partitions; a topic asked for by name is made where that is wanted. */
import { BrokerError, ERROR_CODES } from "../../base/errors.ts";
import { checkTopicName, type Topic, type Topics } from "../../broker/topics.ts";
import { advertisedTo, api, type Call } from "../api.ts";
import { errorNumber } from "../error-number.ts";
import { CLUSTER_OPERATIONS, NOT_ASKED, TOPIC_OPERATIONS } from "../operations.ts";
import { MetadataRequest, MetadataResponse } from "../protocol/messages/03-metadata.ts";
import { type DecodedOf, type EncodableOf, ZERO_UUID } from "../protocol/schema.ts";

type Request = DecodedOf<typeof MetadataRequest>;
type TopicAnswer = NonNullable<EncodableOf<typeof MetadataResponse>["topics"]>[number];

/** From here on topics may be asked for by their ids. */
const BY_ID_FROM = 12;
/** Kafka's own topics. */
const INTERNAL = new Set(["__consumer_offsets", "__transaction_state", "__share_group_state"]);
/** Making a topic takes milliseconds of the event loop: what is beyond this is told to ask again. */
const CREATED_AT_ONCE_MAX = 16;

export const metadata = api({
	request: MetadataRequest,
	response: MetadataResponse,
	versions: [0, 12],
	waitsForEarlier: true,
	hasLargeAnswer: true,
	handle(request, call) {
		const { broker, options, clusterId } = call.services;
		checkNames(request, call.version);
		return {
			brokers: [{ nodeId: options.nodeId, ...advertisedTo(call) }],
			clusterId,
			controllerId: options.nodeId,
			topics: wanted(request, call, broker.topics),
			clusterAuthorizedOperations: request.includeClusterAuthorizedOperations ? CLUSTER_OPERATIONS : NOT_ASKED,
		};
	},
	refuse: (request, errorCode) => ({
		topics: (request.topics ?? []).map(({ name, topicId }) => ({ errorCode, name: name ?? "", topicId })),
	}),
});

function checkNames({ topics }: Request, version: number): void {
	if (version >= BY_ID_FROM || topics === null) return;
	for (const { name, topicId } of topics) {
		if (name === null) throw new BrokerError("INVALID_REQUEST", `version ${version} has no topics without a name`);
		if (topicId !== ZERO_UUID)
			throw new BrokerError("INVALID_REQUEST", `version ${version} does not ask for topics by id`);
	}
}

function wanted(request: Request, call: Call, topics: Topics): TopicAnswer[] {
	const described = (topic: Topic) => describe(topic, request, call);
	// In version 0 no names are all names.
	if (request.topics === null || (call.version === 0 && request.topics.length === 0))
		return topics.list().map(described);
	const ids = new Set(request.topics.map(({ topicId }) => topicId));
	ids.delete(ZERO_UUID);
	if (ids.size > 0) {
		return [...ids].map((topicId) => {
			const topic = topics.getById(topicId);
			return topic ? described(topic) : { errorCode: ERROR_CODES.UNKNOWN_TOPIC_ID, topicId, name: null };
		});
	}
	const create = request.allowAutoTopicCreation && call.services.options.autoCreateTopics;
	let created = 0;
	return [...new Set(request.topics.map(({ name }) => name ?? ""))].map((name) => {
		const topic = topics.get(name);
		if (topic !== undefined) return described(topic);
		try {
			checkTopicName(name);
			if (!create || INTERNAL.has(name)) return missing(name, ERROR_CODES.UNKNOWN_TOPIC_OR_PARTITION, request);
			if (created === CREATED_AT_ONCE_MAX) return missing(name, ERROR_CODES.LEADER_NOT_AVAILABLE, request);
			created++;
			return described(topics.create({ name }));
		} catch (error) {
			if (!(error instanceof BrokerError)) throw error;
			return missing(name, errorNumber(error), request);
		}
	});
}

function missing(name: string, errorCode: number, request: Request): TopicAnswer {
	return { errorCode, name, isInternal: INTERNAL.has(name), topicAuthorizedOperations: operations(request) };
}

function operations({ includeTopicAuthorizedOperations: asked }: Request): number {
	return asked ? TOPIC_OPERATIONS : NOT_ASKED;
}

function describe(topic: Topic, request: Request, { services }: Call): TopicAnswer {
	const nodes = [services.options.nodeId];
	return {
		errorCode: ERROR_CODES.NONE,
		name: topic.name,
		topicId: topic.id,
		isInternal: INTERNAL.has(topic.name),
		partitions: topic.partitions.map(({ number, epochs }) => ({
			errorCode: ERROR_CODES.NONE,
			partitionIndex: number,
			leaderId: services.options.nodeId,
			leaderEpoch: epochs.current,
			replicaNodes: nodes,
			isrNodes: nodes,
		})),
		topicAuthorizedOperations: operations(request),
	};
}
