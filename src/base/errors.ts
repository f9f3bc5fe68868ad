/**
 * Errors that cross a layer. Their codes are Kafka's error names, because Kafka's model is ours and
 * every door can map them: the number beside each is Kafka's own
 * (https://kafka.apache.org/protocol#protocol_error_codes).
 */
export const ERROR_CODES = {
	UNKNOWN_SERVER_ERROR: -1,
	NONE: 0,
	OFFSET_OUT_OF_RANGE: 1,
	CORRUPT_MESSAGE: 2,
	UNKNOWN_TOPIC_OR_PARTITION: 3,
	LEADER_NOT_AVAILABLE: 5,
	NOT_LEADER_OR_FOLLOWER: 6,
	REQUEST_TIMED_OUT: 7,
	MESSAGE_TOO_LARGE: 10,
	OFFSET_METADATA_TOO_LARGE: 12,
	COORDINATOR_LOAD_IN_PROGRESS: 14,
	COORDINATOR_NOT_AVAILABLE: 15,
	NOT_COORDINATOR: 16,
	INVALID_TOPIC_EXCEPTION: 17,
	RECORD_LIST_TOO_LARGE: 18,
	INVALID_REQUIRED_ACKS: 21,
	ILLEGAL_GENERATION: 22,
	INCONSISTENT_GROUP_PROTOCOL: 23,
	INVALID_GROUP_ID: 24,
	UNKNOWN_MEMBER_ID: 25,
	INVALID_SESSION_TIMEOUT: 26,
	REBALANCE_IN_PROGRESS: 27,
	INVALID_COMMIT_OFFSET_SIZE: 28,
	TOPIC_AUTHORIZATION_FAILED: 29,
	GROUP_AUTHORIZATION_FAILED: 30,
	CLUSTER_AUTHORIZATION_FAILED: 31,
	INVALID_TIMESTAMP: 32,
	UNSUPPORTED_SASL_MECHANISM: 33,
	ILLEGAL_SASL_STATE: 34,
	UNSUPPORTED_VERSION: 35,
	TOPIC_ALREADY_EXISTS: 36,
	INVALID_PARTITIONS: 37,
	INVALID_REPLICATION_FACTOR: 38,
	INVALID_REPLICA_ASSIGNMENT: 39,
	INVALID_CONFIG: 40,
	NOT_CONTROLLER: 41,
	INVALID_REQUEST: 42,
	UNSUPPORTED_FOR_MESSAGE_FORMAT: 43,
	POLICY_VIOLATION: 44,
	OUT_OF_ORDER_SEQUENCE_NUMBER: 45,
	DUPLICATE_SEQUENCE_NUMBER: 46,
	INVALID_PRODUCER_EPOCH: 47,
	INVALID_TXN_STATE: 48,
	INVALID_PRODUCER_ID_MAPPING: 49,
	INVALID_TRANSACTION_TIMEOUT: 50,
	CONCURRENT_TRANSACTIONS: 51,
	TRANSACTION_COORDINATOR_FENCED: 52,
	TRANSACTIONAL_ID_AUTHORIZATION_FAILED: 53,
	SECURITY_DISABLED: 54,
	OPERATION_NOT_ATTEMPTED: 55,
	KAFKA_STORAGE_ERROR: 56,
	LOG_DIR_NOT_FOUND: 57,
	SASL_AUTHENTICATION_FAILED: 58,
	UNKNOWN_PRODUCER_ID: 59,
	NON_EMPTY_GROUP: 68,
	GROUP_ID_NOT_FOUND: 69,
	FETCH_SESSION_ID_NOT_FOUND: 70,
	INVALID_FETCH_SESSION_EPOCH: 71,
	TOPIC_DELETION_DISABLED: 73,
	FENCED_LEADER_EPOCH: 74,
	UNKNOWN_LEADER_EPOCH: 75,
	UNSUPPORTED_COMPRESSION_TYPE: 76,
	OFFSET_NOT_AVAILABLE: 78,
	MEMBER_ID_REQUIRED: 79,
	PREFERRED_LEADER_NOT_AVAILABLE: 80,
	GROUP_MAX_SIZE_REACHED: 81,
	FENCED_INSTANCE_ID: 82,
	ELIGIBLE_LEADERS_NOT_AVAILABLE: 83,
	ELECTION_NOT_NEEDED: 84,
	NO_REASSIGNMENT_IN_PROGRESS: 85,
	GROUP_SUBSCRIBED_TO_TOPIC: 86,
	INVALID_RECORD: 87,
	UNSTABLE_OFFSET_COMMIT: 88,
	THROTTLING_QUOTA_EXCEEDED: 89,
	PRODUCER_FENCED: 90,
	RESOURCE_NOT_FOUND: 91,
	DUPLICATE_RESOURCE: 92,
	UNACCEPTABLE_CREDENTIAL: 93,
	UNKNOWN_TOPIC_ID: 100,
	TRANSACTIONAL_ID_NOT_FOUND: 105,
	MISMATCHED_ENDPOINT_TYPE: 114,
	UNSUPPORTED_ENDPOINT_TYPE: 115,
} as const;

export type ErrorCode = Exclude<keyof typeof ERROR_CODES, "NONE">;

/** A refusal with a reason that may be told to a peer. The message says what is wrong and, where one can, what to do. */
export class BrokerError extends Error {
	override readonly name = "BrokerError";
	readonly code: ErrorCode;

	constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
		// An answer, not a fault: where it was thrown concerns nobody, and one request may call for 100,000 of them. To
		// find that out takes ten times as long as all else about it.
		const { stackTraceLimit } = Error;
		Error.stackTraceLimit = 0;
		super(message, options);
		Error.stackTraceLimit = stackTraceLimit;
		this.code = code;
	}
}

/** Stored bytes that are not what they must be; `file` and `position` (bytes) say where. */
export class DamageError extends Error {
	override readonly name = "DamageError";
	readonly file: string;
	readonly position: number;

	constructor(file: string, position: number, what: string) {
		super(`${file} at byte ${position}: ${what}`);
		this.file = file;
		this.position = position;
	}
}

/** Start-up cannot go on: what is wrong and what to do, for the person at the terminal. */
export class StartError extends Error {
	override readonly name = "StartError";
}

/** Whether the disk, or SQLite on it, has no space: that passes. */
export function isDiskFull(error: unknown): boolean {
	const { code } = error as { code?: unknown };
	return code === "ENOSPC" || code === "EDQUOT" || code === "SQLITE_FULL";
}
