/**
 * How old rows are that expire by the wall clock. A gateway's clock may begin in 1970 and step forward by decades when it
 * is set; whoever has been here just before must not be forgotten for that. So nothing expires before the clock is set;
 * what was written before it was, or seems to be of the future, counts from now on; and when wall time has gone on by
 * much more than monotonic time since the last walk over the rows, the walk expires nothing but lets all count from now on.
 */
import type { Clock } from "../base/clock.ts";

/** What becomes of a row; `restamp`: it is to be written anew with the time of the walk. */
export type RowFate = "keep" | "expire" | "restamp";

/** One walk over rows: all of them by the same time. */
export interface AgeWalk {
	/** Milliseconds since 1970, when it began. */
	readonly now: number;
	/** Of a row of the time `sinceMs`, that is to be kept until `untilMs`. */
	fateOf(sinceMs: number, untilMs: number): RowFate;
	/** It has seen all rows. Without this the next walk takes over what a step of the clock asks for. */
	finished(): void;
}

/** A time before this was read from a clock that had not been set. */
export const CLOCK_SET_MS = Date.UTC(2023, 0, 1);
/** Wall time is so much ahead of where monotonic time would have it: it was stepped. */
const STEP_MS = 3_600_000;

export class RowAges {
	readonly #clock: Clock;
	/** Wall time less monotonic time when the last whole walk began. */
	#offsetMs: number;

	constructor(clock: Clock) {
		this.#clock = clock;
		this.#offsetMs = clock.now() - clock.monotonic();
	}

	begin(): AgeWalk {
		const now = this.#clock.now();
		const offsetMs = now - this.#clock.monotonic();
		const hasStepped = offsetMs - this.#offsetMs > STEP_MS;
		return {
			now,
			fateOf(sinceMs, untilMs) {
				if (now < CLOCK_SET_MS) return "keep";
				if (sinceMs < CLOCK_SET_MS || sinceMs > now + STEP_MS) return "restamp";
				if (hasStepped) return sinceMs < now - STEP_MS ? "restamp" : "keep";
				return untilMs <= now ? "expire" : "keep";
			},
			finished: () => {
				this.#offsetMs = offsetMs;
			},
		};
	}
}
