/**
 * The native protocol's numbers and its error: what docs/native-protocol.md says, for both sides.
 * A message is the CBOR array [type, request id, body]; the body is a map with small integer keys.
 */
import { ERROR_CODES } from "../../base/errors.ts";

export const PROTOCOL_VERSION_MIN = 1;
export const PROTOCOL_VERSION_MAX = 1;

export const MESSAGE = {
	/** Gateway to client only: the answer when a request is refused; request id 0: the connection ends. */
	ERROR: 0,
	HELLO: 1,
	PRODUCE: 2,
	FETCH: 3,
	SUBSCRIBE: 4,
	UNSUBSCRIBE: 5,
	CREDIT: 6,
	OFFSETS: 7,
	TOPIC_LIST: 8,
	TOPIC_CREATE: 9,
	TOPIC_DESCRIBE: 10,
	TOPIC_ALTER: 11,
	TOPIC_DELETE: 12,
	STATUS: 13,
	PING: 14,
	BYE: 15,
	GROUP_LIST: 16,
	GROUP_DESCRIBE: 17,
	GROUP_OFFSETS: 18,
	GROUP_DELETE: 19,
	TIER_STATUS: 20,
	TIER_RUN: 21,
	TIER_RANGES: 22,
	TIER_VERIFY: 23,
	UPSTREAM_STATUS: 24,
	UPSTREAM_PAUSE: 25,
	UPSTREAM_RESUME: 26,
	UPSTREAM_RESET: 27,
	/** Gateway to client only, with the id of the subscribe request. */
	RECORDS: 32,
	END: 33,
	/** Gateway to client only, with the id of the verify request: what it found so far. */
	TIER_FINDINGS: 34,
} as const;

/** Where reading starts: the first item of a `position`. */
export const POSITION = { EARLIEST: 0, LATEST: 1, OFFSET: 2, TIMESTAMP: 3, OFFSETS: 4 } as const;

/** Where a reset of upstream goes on: the number is the place in the list. */
export const RESET_TO = ["progress", "local", "earliest", "latest"] as const;

/** How many of a client id's last produce requests the gateway knows the answers of. Part of what is stored: never changed. */
export const PRODUCER_WINDOW = 16;

/** Bytes of a frame's length. */
export const FRAME_HEADER_BYTES = 4;
/** The smallest frame limit that a client may ask for, and the limit before hello. */
export const MIN_FRAME_BYTES = 1024;

/** What a client may have unanswered on one connection; beyond it the gateway reads no further. */
export const MAX_REQUESTS_IN_FLIGHT = 64;
export const MAX_SUBSCRIPTIONS = 64;
/** Idle time-out: what a client may ask for, milliseconds. */
export const MIN_IDLE_MS = 1_000;
export const MAX_IDLE_MS = 3_600_000;
/** The longest long poll, milliseconds. */
export const MAX_WAIT_MS = 60_000;
/** Ranges of the object store in one answer. */
export const MAX_RANGES = 1000;
export const MAX_CREDITS = 2 ** 31 - 1;
export const MAX_CLIENT_ID_BYTES = 200;

/** Kafka's error names and numbers, and those that only a door needs. */
export const WIRE_ERRORS: Readonly<Record<string, number>> = {
	...ERROR_CODES,
	SASL_AUTHENTICATION_FAILED: 58,
};

/** The peer does not keep to the protocol: it is told `code` and the message, and the connection ends. */
export class ProtocolError extends Error {
	override readonly name = "ProtocolError";
	readonly code: string;

	constructor(code: string, message: string) {
		super(message);
		this.code = code;
	}
}
