/** What is asked of the central cluster about its topics: that one is there, how it is configured, where a partition begins and ends. */
import type { DecodedOf } from "../../../src/kafka/protocol/schema.ts";
import { CREATE_TOPICS, DESCRIBE_CONFIGS, LIST_OFFSETS, METADATA } from "./apis.ts";
import { askLeader } from "./ask-leader.ts";
import { Attempts } from "./attempts.ts";
import type { Cluster } from "./cluster.ts";
import { ErrorCode, KafkaError, kafkaError } from "./kafka-error.ts";
import { LinkError } from "./link-error.ts";

export interface TopicWish {
	/** -1: the cluster's default. */
	readonly partitions: number;
	/** -1: the cluster's default. */
	readonly replicationFactor: number;
	readonly configs: Readonly<Record<string, string>>;
	/** Whether to make it where it is missing. */
	readonly create: boolean;
	readonly signal: AbortSignal;
}

/** What follows from them is all that is asked for: a cluster tells forty of each topic otherwise. */
const CONFIGS = [
	"cleanup.policy",
	"max.message.bytes",
	"message.timestamp.after.max.ms",
	"message.timestamp.before.max.ms",
	"message.timestamp.difference.max.ms",
	"message.timestamp.type",
	"min.insync.replicas",
	"retention.bytes",
	"retention.ms",
];
const TOPIC_RESOURCE = 2;
const LINK_ERRORS_MAX = 2;
const ISOLATION_COMMITTED = 1;
const EARLIEST = -2;
const LATEST = -1;

/**
 * Resolves when the topic is there, and has leaders if it was made. Rejects with LinkError; with KafkaError, of class topic where it is missing
 * and may not be made, its action being the command that makes it.
 */
export async function ensureTopic(cluster: Cluster, name: string, wish: TopicWish): Promise<"exists" | "created"> {
	const { clock, random, requestTimeoutMs: patienceMs } = cluster.options;
	const attempts = new Attempts({ clock, random, patienceMs, signal: wish.signal });
	let result: "exists" | "created" = "exists";
	let isMade = false;
	let linkErrors = 0;
	for (;;) {
		let problem: KafkaError | LinkError;
		try {
			await cluster.refresh([name], wish.signal);
			const topic = cluster.topic(name);
			const code = topic?.errorCode ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
			if (code === 0 && (!isMade || topic?.leaders.every((leader) => leader >= 0) === true)) return result;
			if (code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION && !isMade) {
				if (!wish.create) throw withCommand(kafkaError(code, "Metadata", { topic: name, lasting: true }), name, wish);
				const made = await createTopic(cluster, name, wish);
				isMade = made === undefined || made.code === ErrorCode.TOPIC_ALREADY_EXISTS;
				if (made === undefined) {
					result = "created";
					// Most brokers know of it at once.
					continue;
				}
				problem = made;
			} else problem = kafkaError(code || ErrorCode.LEADER_NOT_AVAILABLE, "Metadata", { topic: name });
		} catch (error) {
			if (!(error instanceof KafkaError || error instanceof LinkError)) throw error;
			problem = error;
		}
		if (problem instanceof LinkError) {
			if (problem.lasting || linkErrors++ >= LINK_ERRORS_MAX || !(await attempts.again())) throw problem;
			continue;
		}
		const { errorClass, code } = problem;
		const passes = errorClass === "retry" || errorClass === "metadata" || code === ErrorCode.TOPIC_ALREADY_EXISTS;
		if (!passes) throw problem;
		if (!(await attempts.again())) throw kafkaError(code, problem.api, { topic: name, lasting: true });
	}
}

/** Resolves with why it was not made. */
async function createTopic(cluster: Cluster, name: string, wish: TopicWish): Promise<KafkaError | undefined> {
	const { partitions, replicationFactor, configs, signal } = wish;
	const value = {
		topics: [
			{
				name,
				numPartitions: partitions,
				replicationFactor,
				configs: Object.entries(configs).map(([key, setting]) => ({ name: key, value: setting })),
			},
		],
		timeoutMs: cluster.options.requestTimeoutMs,
	};
	const outcomeOf = ({ topics }: CreateAnswer): KafkaError | undefined => {
		const answer = topics.find((topic) => topic.name === name);
		if (answer === undefined)
			throw new LinkError("malformed", `the answer to CreateTopics does not have topic ${name}`);
		const { errorCode, errorMessage: message } = answer;
		return errorCode === 0 ? undefined : kafkaError(errorCode, "CreateTopics", { topic: name, message });
	};
	let error = outcomeOf((await cluster.toAny(CREATE_TOPICS, value, { signal })).body);
	if (error?.code === ErrorCode.NOT_CONTROLLER) {
		// Brokers of Kafka before 4 that use ZooKeeper do not pass it on.
		const { body } = await cluster.toAny(METADATA, { topics: [], allowAutoTopicCreation: false }, { signal });
		error = outcomeOf((await cluster.toNode(body.controllerId, CREATE_TOPICS, value, { signal })).body);
	}
	return error?.errorClass === "topic" && error.code !== ErrorCode.TOPIC_ALREADY_EXISTS
		? withCommand(error, name, wish)
		: error;
}

type CreateAnswer = DecodedOf<typeof CREATE_TOPICS.response>;

/** The same error, its action being the command that makes the topic as it is meant. */
function withCommand(
	error: KafkaError,
	name: string,
	{ partitions, replicationFactor, configs }: TopicWish,
): KafkaError {
	const command = [
		`kafka-topics.sh --bootstrap-server SERVER:PORT --create --topic ${name}`,
		...(partitions > 0 ? [`--partitions ${partitions}`] : []),
		...(replicationFactor > 0 ? [`--replication-factor ${replicationFactor}`] : []),
		...Object.entries(configs).map(([key, value]) => `--config ${key}=${value}`),
	].join(" ");
	const { code, errorClass, api, message, action } = error;
	const isRefused = code === ErrorCode.TOPIC_AUTHORIZATION_FAILED || code === ErrorCode.CLUSTER_AUTHORIZATION_FAILED;
	const more = isRefused && action !== undefined ? `. ${action}` : "";
	return new KafkaError(code, errorClass, api, message, `Create it: ${command}${more}`);
}

/** Of each topic what is of interest here, by Kafka's names; or why it is not told. Rejects with LinkError, KafkaError. */
export async function topicConfigs(
	cluster: Cluster,
	names: readonly string[],
	signal: AbortSignal,
): Promise<Map<string, ReadonlyMap<string, string> | KafkaError>> {
	const found = new Map<string, ReadonlyMap<string, string> | KafkaError>();
	if (names.length === 0) return found;
	const resources = names.map((resourceName) => ({
		resourceType: TOPIC_RESOURCE,
		resourceName,
		configurationKeys: CONFIGS,
	}));
	const { body } = await cluster.toAny(DESCRIBE_CONFIGS, { resources }, { signal });
	for (const { errorCode, errorMessage: message, resourceName: topic, configs } of body.results) {
		if (errorCode !== 0) {
			found.set(topic, kafkaError(errorCode, "DescribeConfigs", { topic, message }));
			continue;
		}
		const values = new Map<string, string>();
		for (const { name, value } of configs) if (value !== null) values.set(name, value);
		found.set(topic, values);
	}
	for (const name of names)
		if (!found.has(name)) throw new LinkError("malformed", `the answer to DescribeConfigs does not have topic ${name}`);
	return found;
}

/**
 * Where a partition begins, where it ends, where what is committed ends (the last stable offset), or, for a time (ms), the
 * first record that is not older; its end, where none is. Rejects with LinkError, KafkaError.
 */
export async function listOffset(
	cluster: Cluster,
	topic: string,
	partition: number,
	at: "earliest" | "latest" | "committed" | number,
	signal: AbortSignal,
): Promise<number> {
	const timestamp = typeof at === "number" ? at : at === "earliest" ? EARLIEST : LATEST;
	const find = ({ topics }: ListAnswer) =>
		topics.find(({ name }) => name === topic)?.partitions.find(({ partitionIndex }) => partitionIndex === partition);
	const value = {
		replicaId: -1,
		isolationLevel: at === "committed" ? ISOLATION_COMMITTED : 0,
		topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp }] }],
	};
	const codeOf = (body: ListAnswer): number | undefined => find(body)?.errorCode;
	const body = await askLeader(cluster, { topic, partition }, LIST_OFFSETS, value, { signal, codeOf });
	const offset = find(body)?.offset ?? -1;
	if (offset >= 0) return offset;
	if (typeof at === "number") return await listOffset(cluster, topic, partition, "latest", signal);
	throw new LinkError(
		"malformed",
		`the answer to ListOffsets gives offset ${offset} for partition ${partition} of topic ${topic}`,
	);
}

type ListAnswer = DecodedOf<typeof LIST_OFFSETS.response>;
