/** Kafka's error numbers, with those that only a cluster of several brokers gives. */
import { ERROR_CODES } from "../../../src/base/errors.ts";

export const CODES = {
	...ERROR_CODES,
	NOT_ENOUGH_REPLICAS: 19,
	NOT_ENOUGH_REPLICAS_AFTER_APPEND: 20,
	TRANSACTION_ABORTABLE: 120,
} as const;

/** A refusal of one thing in a request. */
export class Refusal extends Error {
	override readonly name = "Refusal";
	readonly code: number;
	/** The records that are to blame, where it is theirs. */
	readonly records: readonly { readonly batchIndex: number; readonly batchIndexErrorMessage: string }[];

	constructor(code: number, message: string, records: Refusal["records"] = []) {
		super(message);
		this.code = code;
		this.records = records;
	}
}

/** The number of what `work` refuses, or 0. */
export function codeOf(work: () => void): number {
	try {
		work();
		return CODES.NONE;
	} catch (error) {
		if (!(error instanceof Refusal)) throw error;
		return error.code;
	}
}
