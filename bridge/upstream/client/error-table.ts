/**
 * Every error that a Kafka cluster can answer with, up to Kafka 4.3 (https://kafka.apache.org/protocol#protocol_error_codes),
 * and what a producer and reader of topics makes of each, whichever request it answers; kafka-error.ts has the few where
 * the request decides.
 */

/** What is to be done about an error. */
export type ErrorClass =
	/** The same request again after a wait. */
	| "retry"
	/** The leader moved: learn where to, then again. */
	| "metadata"
	/** The coordinator moved or is loading: find it, then again. */
	| "coordinator"
	/** The transaction cannot be finished: InitProducerId anew; its outcome is what the cluster says. */
	| "reinitialise"
	/** The cluster knows the producer id no more: InitProducerId from nothing, and progress is read again. */
	| "expired"
	/** The transactional id was initialised since, or the cluster ended a transaction that took too long. */
	| "fenced"
	/** These records are not wanted: never again as they are. */
	| "record"
	/** The batch is too large. */
	| "size"
	/** This topic cannot be written or read now; others can. */
	| "topic"
	/** Nothing goes before a person acts. */
	| "fatal";

export interface ErrorRow {
	readonly name: string;
	readonly errorClass: ErrorClass;
	/** For people; undefined: the name says it, or it answers no request that is made here. */
	readonly meaning: string | undefined;
}

/**
 * What answers no request made here (groups, share groups, tokens, controllers) is "retry", as is what no version known
 * here has: patience ends it, and the outcome is asked for anew.
 */
const UNRELATED: readonly (readonly [number, string])[] = [
	[12, "OFFSET_METADATA_TOO_LARGE"],
	[22, "ILLEGAL_GENERATION"],
	[23, "INCONSISTENT_GROUP_PROTOCOL"],
	[24, "INVALID_GROUP_ID"],
	[25, "UNKNOWN_MEMBER_ID"],
	[26, "INVALID_SESSION_TIMEOUT"],
	[27, "REBALANCE_IN_PROGRESS"],
	[28, "INVALID_COMMIT_OFFSET_SIZE"],
	[57, "LOG_DIR_NOT_FOUND"],
	[61, "DELEGATION_TOKEN_AUTH_DISABLED"],
	[62, "DELEGATION_TOKEN_NOT_FOUND"],
	[63, "DELEGATION_TOKEN_OWNER_MISMATCH"],
	[64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED"],
	[65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED"],
	[66, "DELEGATION_TOKEN_EXPIRED"],
	[67, "INVALID_PRINCIPAL_TYPE"],
	[68, "NON_EMPTY_GROUP"],
	[69, "GROUP_ID_NOT_FOUND"],
	[73, "TOPIC_DELETION_DISABLED"],
	[79, "MEMBER_ID_REQUIRED"],
	[81, "GROUP_MAX_SIZE_REACHED"],
	[82, "FENCED_INSTANCE_ID"],
	[84, "ELECTION_NOT_NEEDED"],
	[85, "NO_REASSIGNMENT_IN_PROGRESS"],
	[86, "GROUP_SUBSCRIBED_TO_TOPIC"],
	[91, "RESOURCE_NOT_FOUND"],
	[92, "DUPLICATE_RESOURCE"],
	[93, "UNACCEPTABLE_CREDENTIAL"],
	[94, "INCONSISTENT_VOTER_SET"],
	[95, "INVALID_UPDATE_VERSION"],
	[96, "FEATURE_UPDATE_FAILED"],
	[98, "SNAPSHOT_NOT_FOUND"],
	[99, "POSITION_OUT_OF_RANGE"],
	[101, "DUPLICATE_BROKER_REGISTRATION"],
	[102, "BROKER_ID_NOT_REGISTERED"],
	[107, "INELIGIBLE_REPLICA"],
	[108, "NEW_LEADER_ELECTED"],
	[110, "FENCED_MEMBER_EPOCH"],
	[111, "UNRELEASED_INSTANCE_ID"],
	[112, "UNSUPPORTED_ASSIGNOR"],
	[113, "STALE_MEMBER_EPOCH"],
	[116, "UNKNOWN_CONTROLLER_ID"],
	[117, "UNKNOWN_SUBSCRIPTION_ID"],
	[118, "TELEMETRY_TOO_LARGE"],
	[119, "INVALID_REGISTRATION"],
	[121, "INVALID_RECORD_STATE"],
	[122, "SHARE_SESSION_NOT_FOUND"],
	[123, "INVALID_SHARE_SESSION_EPOCH"],
	[124, "FENCED_STATE_EPOCH"],
	[125, "INVALID_VOTER_KEY"],
	[126, "DUPLICATE_VOTER"],
	[127, "VOTER_NOT_FOUND"],
	[128, "INVALID_REGULAR_EXPRESSION"],
	[130, "STREAMS_INVALID_TOPOLOGY"],
	[131, "STREAMS_INVALID_TOPOLOGY_EPOCH"],
	[132, "STREAMS_TOPOLOGY_FENCED"],
	[133, "SHARE_SESSION_LIMIT_REACHED"],
];

const RELATED: readonly (readonly [number, string, ErrorClass, string])[] = [
	[-1, "UNKNOWN_SERVER_ERROR", "retry", "the broker failed unexpectedly; its own log says why"],
	[
		1,
		"OFFSET_OUT_OF_RANGE",
		"topic",
		"the partition does not have that offset: deleted by retention, or not yet written",
	],
	[2, "CORRUPT_MESSAGE", "record", "the batch arrived damaged, or has a record without key in a compacted topic"],
	[3, "UNKNOWN_TOPIC_OR_PARTITION", "metadata", "there is no such topic or partition, or this user may not see it"],
	[4, "INVALID_FETCH_SIZE", "fatal", "the cluster refuses the size of a fetch"],
	[5, "LEADER_NOT_AVAILABLE", "metadata", "the partition has no leader"],
	[6, "NOT_LEADER_OR_FOLLOWER", "metadata", "the partition's leader is another broker now"],
	[7, "REQUEST_TIMED_OUT", "retry", "the brokers did not finish in time"],
	[8, "BROKER_NOT_AVAILABLE", "metadata", "the broker is not available"],
	[9, "REPLICA_NOT_AVAILABLE", "metadata", "the replica is not available"],
	[10, "MESSAGE_TOO_LARGE", "size", "the batch is larger than the topic's max.message.bytes"],
	[11, "STALE_CONTROLLER_EPOCH", "retry", "the controller moved"],
	[13, "NETWORK_EXCEPTION", "metadata", "the broker lost a connection of its own"],
	[14, "COORDINATOR_LOAD_IN_PROGRESS", "coordinator", "the coordinator is loading"],
	[15, "COORDINATOR_NOT_AVAILABLE", "coordinator", "there is no coordinator now"],
	[16, "NOT_COORDINATOR", "coordinator", "the coordinator is another broker now"],
	[
		17,
		"INVALID_TOPIC_EXCEPTION",
		"topic",
		"no topic can have that name, or it is one that only the cluster itself writes",
	],
	[18, "RECORD_LIST_TOO_LARGE", "size", "the batch is larger than the topic's segment.bytes"],
	[19, "NOT_ENOUGH_REPLICAS", "retry", "fewer replicas are in sync than min.insync.replicas"],
	[20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "retry", "written, but to fewer replicas than min.insync.replicas"],
	[21, "INVALID_REQUIRED_ACKS", "fatal", "the cluster refuses acks=all"],
	[29, "TOPIC_AUTHORIZATION_FAILED", "topic", "this user may not do that with the topic"],
	[30, "GROUP_AUTHORIZATION_FAILED", "fatal", "this user may not do that with the group"],
	[31, "CLUSTER_AUTHORIZATION_FAILED", "fatal", "this user may not do that with the cluster"],
	[32, "INVALID_TIMESTAMP", "record", "a timestamp is further from the cluster's clock than the topic allows"],
	[33, "UNSUPPORTED_SASL_MECHANISM", "fatal", "the cluster does not know this SASL mechanism"],
	[34, "ILLEGAL_SASL_STATE", "fatal", "the cluster did not expect a login here"],
	[35, "UNSUPPORTED_VERSION", "fatal", "the cluster does not know this version of the request"],
	[36, "TOPIC_ALREADY_EXISTS", "topic", "the topic exists already"],
	[37, "INVALID_PARTITIONS", "topic", "the cluster refuses this number of partitions"],
	[38, "INVALID_REPLICATION_FACTOR", "topic", "the cluster has not as many brokers as the topic is to have replicas"],
	[39, "INVALID_REPLICA_ASSIGNMENT", "topic", "the cluster refuses this assignment of replicas"],
	[40, "INVALID_CONFIG", "topic", "the cluster refuses a configuration of the topic"],
	[41, "NOT_CONTROLLER", "retry", "the controller is another broker"],
	[42, "INVALID_REQUEST", "fatal", "the cluster finds the request invalid"],
	[43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", "topic", "the topic stores an old message format without producer ids"],
	[44, "POLICY_VIOLATION", "topic", "a policy of the cluster refuses it"],
	[45, "OUT_OF_ORDER_SEQUENCE_NUMBER", "reinitialise", "a batch before this one is missing there"],
	[46, "DUPLICATE_SEQUENCE_NUMBER", "retry", "the batch is there already"],
	[47, "INVALID_PRODUCER_EPOCH", "reinitialise", "the producer's epoch is over"],
	[48, "INVALID_TXN_STATE", "reinitialise", "the transaction is not in a state that allows it"],
	[
		49,
		"INVALID_PRODUCER_ID_MAPPING",
		"expired",
		"the cluster knows the transactional id no more, or with another producer id",
	],
	[50, "INVALID_TRANSACTION_TIMEOUT", "fatal", "the transaction time-out is more than the cluster allows"],
	[51, "CONCURRENT_TRANSACTIONS", "retry", "the transaction before is still being completed"],
	[52, "TRANSACTION_COORDINATOR_FENCED", "coordinator", "the transaction's coordinator was replaced"],
	[53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "fatal", "this user may not use the transactional id"],
	[54, "SECURITY_DISABLED", "fatal", "the cluster has no authorizer"],
	[55, "OPERATION_NOT_ATTEMPTED", "retry", "not tried, because something else in the request was refused"],
	[56, "KAFKA_STORAGE_ERROR", "metadata", "the broker's disk failed"],
	[58, "SASL_AUTHENTICATION_FAILED", "fatal", "the cluster refuses user name or password"],
	[59, "UNKNOWN_PRODUCER_ID", "reinitialise", "the partition knows the producer no more"],
	[60, "REASSIGNMENT_IN_PROGRESS", "retry", "partitions are being moved"],
	[70, "FETCH_SESSION_ID_NOT_FOUND", "retry", "the broker forgot the fetch session"],
	[71, "INVALID_FETCH_SESSION_EPOCH", "retry", "the fetch session is out of step"],
	[72, "LISTENER_NOT_FOUND", "metadata", "the leader has no listener of the kind that was asked"],
	[74, "FENCED_LEADER_EPOCH", "metadata", "the leader changed"],
	[75, "UNKNOWN_LEADER_EPOCH", "metadata", "the broker does not know of a change of leader yet"],
	[76, "UNSUPPORTED_COMPRESSION_TYPE", "fatal", "the cluster does not know this compression"],
	[77, "STALE_BROKER_EPOCH", "retry", "the broker has just restarted"],
	[78, "OFFSET_NOT_AVAILABLE", "retry", "a new leader does not know the high watermark yet"],
	[80, "PREFERRED_LEADER_NOT_AVAILABLE", "metadata", "the preferred leader is not available"],
	[83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", "metadata", "no replica can become leader"],
	[87, "INVALID_RECORD", "record", "the cluster refuses a record"],
	[88, "UNSTABLE_OFFSET_COMMIT", "retry", "a transaction with this offset is not ended yet"],
	[89, "THROTTLING_QUOTA_EXCEEDED", "retry", "the user's quota is used up for now"],
	[
		90,
		"PRODUCER_FENCED",
		"fenced",
		"the transactional id has a newer producer, or a transaction took longer than its time-out",
	],
	[97, "PRINCIPAL_DESERIALIZATION_FAILURE", "fatal", "the brokers do not understand each other's users"],
	[
		100,
		"UNKNOWN_TOPIC_ID",
		"metadata",
		"the broker does not know the topic, which may have been deleted and made again",
	],
	[103, "INCONSISTENT_TOPIC_ID", "metadata", "the topic was deleted and made again"],
	[104, "INCONSISTENT_CLUSTER_ID", "fatal", "this is another cluster"],
	[105, "TRANSACTIONAL_ID_NOT_FOUND", "expired", "the cluster does not know the transactional id"],
	[106, "FETCH_SESSION_TOPIC_ID_ERROR", "retry", "the fetch session has to begin anew"],
	[109, "OFFSET_MOVED_TO_TIERED_STORAGE", "retry", "the offset is in the cluster's tiered storage"],
	[114, "MISMATCHED_ENDPOINT_TYPE", "fatal", "this is a listener of controllers, not of brokers"],
	[115, "UNSUPPORTED_ENDPOINT_TYPE", "fatal", "this listener does not serve such requests"],
	[120, "TRANSACTION_ABORTABLE", "reinitialise", "the transaction has to be aborted"],
	[129, "REBOOTSTRAP_REQUIRED", "metadata", "the cluster wants to be asked for its brokers anew"],
];

const ROWS: ReadonlyMap<number, ErrorRow> = new Map([
	...UNRELATED.map(([code, name]): [number, ErrorRow] => [code, { name, errorClass: "retry", meaning: undefined }]),
	...RELATED.map(([code, name, errorClass, meaning]): [number, ErrorRow] => [code, { name, errorClass, meaning }]),
]);

/** Of any code but 0. */
export function errorRow(code: number): ErrorRow {
	return ROWS.get(code) ?? { name: `ERROR_${code}`, errorClass: "retry", meaning: "an error newer than Kafka 4.3's" };
}
