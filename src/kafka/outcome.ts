/** How one of several things that a request asks for went. */
import { BrokerError } from "../base/errors.ts";
import { errorNumber } from "./error-number.ts";

export interface Outcome {
	readonly errorCode: number;
	readonly errorMessage: string | null;
}

export const DONE: Outcome = { errorCode: 0, errorMessage: null };

/** Refusals become outcomes; throws what nobody foresaw. */
export function failure(error: unknown): Outcome {
	if (!(error instanceof BrokerError)) throw error;
	return { errorCode: errorNumber(error), errorMessage: error.message };
}

/** DONE, or why `work` refused. */
export function outcomeOf(work: () => void): Outcome {
	try {
		work();
		return DONE;
	} catch (error) {
		return failure(error);
	}
}

/** Those of `list` that occur more than once. */
export function repeated<T>(list: Iterable<T>): ReadonlySet<T> {
	const seen = new Set<T>();
	const twice = new Set<T>();
	for (const each of list) (seen.has(each) ? twice : seen).add(each);
	return twice;
}

/** What is said to whoever asks for, or would change, ACLs. */
export const NO_AUTHORIZER = "there is no authorizer on this gateway";
