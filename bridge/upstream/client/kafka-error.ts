/** An error answer of the central cluster: what it is, what is to be done about it by whom, said so that a person can act. */
import { type ErrorClass, errorRow } from "./error-table.ts";

export type { ErrorClass } from "./error-table.ts";

/** Codes that are looked at one by one. */
export const ErrorCode = {
	CORRUPT_MESSAGE: 2,
	UNKNOWN_TOPIC_OR_PARTITION: 3,
	LEADER_NOT_AVAILABLE: 5,
	MESSAGE_TOO_LARGE: 10,
	TOPIC_AUTHORIZATION_FAILED: 29,
	CLUSTER_AUTHORIZATION_FAILED: 31,
	INVALID_TIMESTAMP: 32,
	TOPIC_ALREADY_EXISTS: 36,
	NOT_CONTROLLER: 41,
	DUPLICATE_SEQUENCE_NUMBER: 46,
	INVALID_PRODUCER_EPOCH: 47,
	INVALID_TXN_STATE: 48,
	CONCURRENT_TRANSACTIONS: 51,
	OPERATION_NOT_ATTEMPTED: 55,
	INVALID_RECORD: 87,
} as const;

export interface ErrorContext {
	readonly topic?: string | undefined;
	readonly transactionalId?: string | undefined;
	/** The broker's own words. */
	readonly message?: string | null | undefined;
	/** It stayed so for as long as one waits: what was to pass soon holds up its topic now. */
	readonly lasting?: boolean;
}

export class KafkaError extends Error {
	override readonly name = "KafkaError";
	readonly code: number;
	/** Kafka's, as NOT_LEADER_OR_FOLLOWER. */
	readonly name_: string;
	readonly errorClass: ErrorClass;
	/** The request's, as Produce. */
	readonly api: string;
	/** What a person can do; undefined: nothing need be done. */
	readonly action: string | undefined;

	constructor(code: number, errorClass: ErrorClass, api: string, message: string, action: string | undefined) {
		// An answer, not a fault: where it was thrown concerns nobody.
		const { stackTraceLimit } = Error;
		Error.stackTraceLimit = 0;
		super(message);
		Error.stackTraceLimit = stackTraceLimit;
		this.code = code;
		this.name_ = errorRow(code).name;
		this.errorClass = errorClass;
		this.api = api;
		this.action = action;
	}
}

/** What error `code` (not 0) of an answer to `api` (as `Produce`) means. */
export function kafkaError(code: number, api: string, context: ErrorContext = {}): KafkaError {
	const { name, meaning } = errorRow(code);
	const errorClass = classOf(code, api, context);
	const parts = [`${subject(api, context)}: ${name} (${code})`];
	if (meaning !== undefined) parts.push(meaning);
	const own = context.message?.trim();
	if (own) parts.push(`the broker says: ${own}`);
	return new KafkaError(code, errorClass, api, parts.join("; "), actionFor(code, errorClass, api, context));
}

function subject(api: string, { topic, transactionalId }: ErrorContext): string {
	if (topic !== undefined) return `${api} of topic ${topic}`;
	return transactionalId === undefined ? api : `${api} of transactional id ${transactionalId}`;
}

/** Requests that a transaction's coordinator answers about the producer itself. */
const OF_COORDINATOR: ReadonlySet<string> = new Set(["InitProducerId", "AddPartitionsToTxn", "EndTxn"]);

function classOf(code: number, api: string, { topic, lasting }: ErrorContext): ErrorClass {
	const { errorClass } = errorRow(code);
	switch (code) {
		case ErrorCode.INVALID_PRODUCER_EPOCH:
			// Coordinators before PRODUCER_FENCED was (KIP-588) say it this way. A leader may only know less than we do.
			return OF_COORDINATOR.has(api) ? "fenced" : errorClass;
		case ErrorCode.CLUSTER_AUTHORIZATION_FAILED:
			// A person can make the topic instead.
			return api === "CreateTopics" ? "topic" : errorClass;
		case ErrorCode.CORRUPT_MESSAGE:
			return api === "Produce" ? errorClass : "topic";
		case ErrorCode.MESSAGE_TOO_LARGE:
		case ErrorCode.INVALID_TIMESTAMP:
		case ErrorCode.INVALID_RECORD:
			// There are no records in other requests.
			return api === "Produce" ? errorClass : "retry";
		default:
			if (lasting && topic !== undefined && (errorClass === "retry" || errorClass === "metadata")) return "topic";
			return errorClass;
	}
}

/** A command of Kafka's own that grants `operation`. */
const grant = (operation: string, resource: string): string =>
	`kafka-acls.sh --bootstrap-server SERVER:PORT --add --allow-principal User:NAME --operation ${operation} ${resource}`;

/** What a user needs for a request about a topic. */
const OPERATIONS: Readonly<Record<string, string>> = {
	Produce: "Write",
	AddPartitionsToTxn: "Write",
	Fetch: "Read",
	ListOffsets: "Describe",
	Metadata: "Describe",
	DescribeConfigs: "DescribeConfigs",
	CreateTopics: "Create",
};

const SIZE_ACTION =
	"The batch is divided and sent again; a single record that is too large goes to the quarantine topic.";
const ASK_THE_BROKER = "If it stays so, look into the broker's log.";
const REPORT = "Please report it with the cluster's version: this should not happen.";

function actionFor(code: number, errorClass: ErrorClass, api: string, context: ErrorContext): string | undefined {
	const topic = context.topic ?? "TOPIC";
	const id = context.transactionalId ?? "ID";
	switch (errorRow(code).name) {
		case "UNKNOWN_SERVER_ERROR":
			return ASK_THE_BROKER;
		case "OFFSET_OUT_OF_RANGE":
			return undefined;
		case "CORRUPT_MESSAGE":
		case "INVALID_RECORD":
			return errorClass === "topic"
				? `The cluster's copy of ${topic} is damaged; see the broker's log.`
				: "The record goes to the quarantine topic; see its reason there. A compacted topic takes no record without key.";
		case "UNKNOWN_TOPIC_OR_PARTITION":
			return (
				`Create it in the central cluster: kafka-topics.sh --bootstrap-server SERVER:PORT --create --topic ${topic}. ` +
				`If it is there, this user may not see it: ${grant("Describe", `--topic ${topic}`)}`
			);
		case "LEADER_NOT_AVAILABLE":
		case "NOT_LEADER_OR_FOLLOWER":
		case "BROKER_NOT_AVAILABLE":
		case "REPLICA_NOT_AVAILABLE":
		case "KAFKA_STORAGE_ERROR":
		case "PREFERRED_LEADER_NOT_AVAILABLE":
		case "ELIGIBLE_LEADERS_NOT_AVAILABLE":
			return errorClass === "topic"
				? `See which brokers are down: kafka-topics.sh --bootstrap-server SERVER:PORT --describe --topic ${topic}`
				: undefined;
		case "MESSAGE_TOO_LARGE":
			return `${SIZE_ACTION} To take larger ones: kafka-configs.sh --bootstrap-server SERVER:PORT --alter --entity-type topics --entity-name ${topic} --add-config max.message.bytes=BYTES`;
		case "RECORD_LIST_TOO_LARGE":
			return SIZE_ACTION;
		case "INVALID_TOPIC_EXCEPTION":
			return `Choose another name for the central topic: \`to\` of its rule in upstream.topics.`;
		case "NOT_ENOUGH_REPLICAS":
		case "NOT_ENOUGH_REPLICAS_AFTER_APPEND":
			return `See which brokers are down: kafka-topics.sh --bootstrap-server SERVER:PORT --describe --topic ${topic} --under-min-isr-partitions`;
		case "TOPIC_AUTHORIZATION_FAILED":
			return `Let the user do it: ${grant(OPERATIONS[api] ?? "All", `--topic ${topic}`)}`;
		case "GROUP_AUTHORIZATION_FAILED":
			return `Let the user do it: ${grant("Read", "--group GROUP")}`;
		case "CLUSTER_AUTHORIZATION_FAILED":
			if (api === "CreateTopics") {
				return `Create the topic yourself, or let the user do it: ${grant("Create", "--cluster")}`;
			}
			return `Let the user do it: ${grant("IdempotentWrite", "--cluster")}`;
		case "INVALID_TIMESTAMP":
			return `The record goes to the quarantine topic. What the cluster takes: message.timestamp.before.max.ms and message.timestamp.after.max.ms of ${topic}.`;
		case "UNSUPPORTED_SASL_MECHANISM":
		case "ILLEGAL_SASL_STATE":
			return "Set upstream.sasl.mechanism and upstream.security.protocol to what the cluster's listener has.";
		case "UNSUPPORTED_VERSION":
			return "The central cluster must be Apache Kafka 2.1 or later, or speak its protocol as that does.";
		case "INVALID_PARTITIONS":
			return "Set upstream.partitions to a number that the cluster takes, or create the topic yourself.";
		case "INVALID_REPLICATION_FACTOR":
			return "Set upstream.replication.factor to at most the number of brokers, or create the topic yourself.";
		case "INVALID_REPLICA_ASSIGNMENT":
		case "INVALID_CONFIG":
		case "POLICY_VIOLATION":
			return `Create the topic yourself, as the cluster's policy wants it: kafka-topics.sh --bootstrap-server SERVER:PORT --create --topic ${topic}`;
		case "UNSUPPORTED_FOR_MESSAGE_FORMAT":
			return `Raise the topic's message.format.version to 0.11 or later, or send to another topic.`;
		case "INVALID_TRANSACTION_TIMEOUT":
			return "Lower upstream.transaction.timeout.ms, or raise the cluster's transaction.max.timeout.ms.";
		case "TRANSACTIONAL_ID_AUTHORIZATION_FAILED":
			return `Let the user do it: ${grant("Write --operation Describe", `--transactional-id ${id}`)}`;
		case "SASL_AUTHENTICATION_FAILED":
			return "Correct upstream.sasl.username and upstream.sasl.password, or the user in the cluster.";
		case "UNSUPPORTED_COMPRESSION_TYPE":
			return "Set upstream.compression.type to one that the cluster knows, as gzip.";
		case "THROTTLING_QUOTA_EXCEEDED":
			return "If it stays so, raise the user's quotas in the cluster.";
		case "PRODUCER_FENCED":
		case "INVALID_PRODUCER_EPOCH":
			return errorClass === "fenced" ? FENCED : undefined;
		case "INCONSISTENT_CLUSTER_ID":
			return "Look at upstream.bootstrap.servers: its addresses belong to more than one cluster.";
		case "MISMATCHED_ENDPOINT_TYPE":
		case "UNSUPPORTED_ENDPOINT_TYPE":
			return "Let upstream.bootstrap.servers name a listener of brokers, not of controllers.";
		case "PRINCIPAL_DESERIALIZATION_FAILURE":
			return ASK_THE_BROKER;
		default:
			if (errorClass === "fatal") return REPORT;
			return errorClass === "topic" ? ASK_THE_BROKER : undefined;
	}
}

const FENCED =
	"If it happens again and again, another gateway uses the same transactional id: give each its own gateway.id or upstream.transactional.id.";
