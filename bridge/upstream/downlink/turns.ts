/** Waiting that an abort ends: for a commit, for others to have their turn. */
import type { Clock } from "../../../src/base/clock.ts";
import type { Log } from "../../../src/log/log.ts";

/** What was gathered is durable. Rejects with the signal's reason, though it may become durable all the same, and where storage failed. */
export function committed(log: Log, signal: AbortSignal): Promise<void> {
	signal.throwIfAborted();
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	const abort = (): void => reject(signal.reason as Error);
	signal.addEventListener("abort", abort, { once: true });
	log
		.whenCommitted()
		.then(resolve, reject)
		.finally(() => signal.removeEventListener("abort", abort));
	return promise;
}

/** What else is to be done now is done first. */
export function turn(clock: Clock): Promise<void> {
	return new Promise((resolve) => clock.soon(resolve));
}
