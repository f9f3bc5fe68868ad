/** Asking again: how long to wait between the attempts at one thing, and when patience is over. All of it ends with the signal. */
import type { Clock } from "../../../src/base/clock.ts";
import { Patience } from "../../../src/base/patience.ts";
import type { Random } from "../../../src/base/random.ts";

const FIRST_MS = 100;
const LONGEST_MS = 5000;

export interface AttemptsOptions {
	readonly clock: Clock;
	readonly random: Random;
	/** For all attempts together. */
	readonly patienceMs: number;
	readonly signal: AbortSignal;
}

export class Attempts {
	readonly #options: AttemptsOptions;
	readonly #patience: Patience;
	#failures = 0;

	constructor(options: AttemptsOptions) {
		this.#options = options;
		this.#patience = new Patience(options.clock, options.patienceMs);
	}

	/**
	 * Waits before the next attempt: `firstMs`, then twice as long each time, with jitter. False: there is none, patience is
	 * over. Rejects with the signal's reason.
	 */
	async again(firstMs = FIRST_MS): Promise<boolean> {
		const { clock, random, signal } = this.#options;
		const { leftMs } = this.#patience;
		if (leftMs === 0) return false;
		await pause(clock, Math.min(leftMs, backoffMs(random, this.#failures, firstMs)), signal);
		this.#failures++;
		return true;
	}
}

/** After so many failures before the last. */
export function backoffMs(random: Random, failures: number, firstMs = FIRST_MS): number {
	const stepMs = Math.min(LONGEST_MS, firstMs * 2 ** Math.min(failures, 16));
	return Math.ceil(stepMs * (0.5 + random.u32() / 2 ** 33));
}

/** Rejects with the signal's reason. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
	signal.throwIfAborted();
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	const abort = (): void => {
		timer.cancel();
		reject(signal.reason as Error);
	};
	const timer = clock.after(ms, () => {
		signal.removeEventListener("abort", abort);
		resolve();
	});
	signal.addEventListener("abort", abort, { once: true });
	return promise;
}
