/**
 * Errors that cross a layer. Their codes are Kafka's error names, because Kafka's model is ours and
 * every door can map them: the number beside each is Kafka's own
 * (https://kafka.apache.org/protocol#protocol_error_codes).
 */
export const ERROR_CODES = {
	UNKNOWN_SERVER_ERROR: -1,
	OFFSET_OUT_OF_RANGE: 1,
	CORRUPT_MESSAGE: 2,
	UNKNOWN_TOPIC_OR_PARTITION: 3,
	NOT_LEADER_OR_FOLLOWER: 6,
	REQUEST_TIMED_OUT: 7,
	MESSAGE_TOO_LARGE: 10,
	INVALID_TOPIC_EXCEPTION: 17,
	RECORD_LIST_TOO_LARGE: 18,
	INVALID_TIMESTAMP: 32,
	UNSUPPORTED_VERSION: 35,
	TOPIC_ALREADY_EXISTS: 36,
	INVALID_PARTITIONS: 37,
	INVALID_REPLICATION_FACTOR: 38,
	INVALID_CONFIG: 40,
	INVALID_REQUEST: 42,
	POLICY_VIOLATION: 44,
	OUT_OF_ORDER_SEQUENCE_NUMBER: 45,
	DUPLICATE_SEQUENCE_NUMBER: 46,
	INVALID_PRODUCER_EPOCH: 47,
	KAFKA_STORAGE_ERROR: 56,
	UNSUPPORTED_COMPRESSION_TYPE: 76,
	INVALID_RECORD: 87,
	THROTTLING_QUOTA_EXCEEDED: 89,
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** A refusal with a reason that may be told to a peer. The message says what is wrong and, where one can, what to do. */
export class BrokerError extends Error {
	override readonly name = "BrokerError";
	readonly code: ErrorCode;

	constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
		super(message, options);
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
