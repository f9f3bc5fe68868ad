/** A request that asks for very many things gives others their turn in between. */
import type { Clock } from "../base/clock.ts";

/** Milliseconds of the event loop that one request may take at a time. */
const AT_ONCE_MS = 20;

export class Turns {
	readonly #clock: Clock;
	#beganMs: number;

	constructor(clock: Clock) {
		this.#clock = clock;
		this.#beganMs = clock.monotonic();
	}

	/** Between two of its steps: undefined while it may go on at once. */
	next(): Promise<void> | undefined {
		if (this.#clock.monotonic() - this.#beganMs < AT_ONCE_MS) return undefined;
		return new Promise((resolve) =>
			this.#clock.soon(() => {
				this.#beganMs = this.#clock.monotonic();
				resolve();
			}),
		);
	}
}
