/** How long to wait before another try: twice as long each time, up to a limit, with jitter so that many gateways do not come back as one. */
import type { Random } from "./random.ts";

const FIRST_MS = 1000;
const LONGEST_MS = 60_000;
/** A refusal, as of a password, does not pass by itself: the first wait is longer. */
const REFUSED_FIRST_MS = 10_000;

export class Backoff {
	readonly #random: Random;
	#failures = 0;

	constructor(random: Random) {
		this.#random = random;
	}

	/** Milliseconds to wait after one more failure: from half of the step to all of it. */
	next(refused = false): number {
		const stepMs = Math.min(LONGEST_MS, (refused ? REFUSED_FIRST_MS : FIRST_MS) * 2 ** Math.min(this.#failures, 16));
		this.#failures++;
		return Math.round(stepMs * (0.5 + this.#random.u32() / 2 ** 33));
	}

	/** It has worked for a while. */
	reset(): void {
		this.#failures = 0;
	}
}
