/** Kafka's number for what went wrong. */
import { BrokerError, ERROR_CODES, type ErrorCode } from "../base/errors.ts";

/** -1, the unknown server error, for what nobody foresaw. */
export function errorNumber(error: unknown): number {
	return error instanceof BrokerError ? ERROR_CODES[error.code] : ERROR_CODES.UNKNOWN_SERVER_ERROR;
}

/** undefined: nothing did. */
export function codeNumber(code: ErrorCode | undefined): number {
	return ERROR_CODES[code ?? "NONE"];
}
