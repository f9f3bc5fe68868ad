/** How long something may be waited for in all, however many steps it takes. */
import type { Clock } from "./clock.ts";

export class Patience {
	readonly #clock: Clock;
	readonly #beganMs: number;
	readonly #ms: number;

	constructor(clock: Clock, ms: number) {
		this.#clock = clock;
		this.#beganMs = clock.monotonic();
		this.#ms = ms;
	}

	/** Milliseconds since it began. */
	get spentMs(): number {
		return this.#clock.monotonic() - this.#beganMs;
	}

	/** Whether most of it was spent: who failed sooner would fail as soon again, and had better pause. */
	get isSpent(): boolean {
		return this.spentMs >= this.#ms / 2;
	}

	/** Milliseconds; 0: wait no more. */
	get leftMs(): number {
		return Math.max(0, this.#ms - this.spentMs);
	}
}
