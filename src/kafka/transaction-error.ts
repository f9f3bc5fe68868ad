/** How the errors of transactions are told to producers. */
import { ERROR_CODES } from "../base/errors.ts";

/**
 * Kafka's number as producers of that version know it: `fencedFrom` is the first version with PRODUCER_FENCED. A full
 * disk passes; what it refuses is to be asked again.
 */
export function transactionError(error: number, version: number, fencedFrom: number): number {
	if (error === ERROR_CODES.PRODUCER_FENCED && version < fencedFrom) return ERROR_CODES.INVALID_PRODUCER_EPOCH;
	if (error === ERROR_CODES.KAFKA_STORAGE_ERROR) return ERROR_CODES.COORDINATOR_NOT_AVAILABLE;
	return error;
}
