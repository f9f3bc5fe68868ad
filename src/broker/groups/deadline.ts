/** A moment at which something is done unless it is put off: putting it off costs no timer, for every heartbeat does it. */
import type { Clock, Timer } from "../../base/clock.ts";

/** The longest that a timer of Node.js takes. */
const TIMER_MAX_MS = 2 ** 31 - 1;

export class Deadline {
	readonly #clock: Clock;
	readonly #expired: () => void;
	/** On the monotonic clock; undefined: not set. */
	#at: number | undefined;
	#firesAt = 0;
	#timer: Timer | undefined;

	constructor(clock: Clock, expired: () => void) {
		this.#clock = clock;
		this.#expired = expired;
	}

	/** In place of what was set before. */
	set(delayMs: number): void {
		const at = this.#clock.monotonic() + Math.max(delayMs, 0);
		this.#at = at;
		if (this.#timer !== undefined && this.#firesAt <= at) return;
		this.#timer?.cancel();
		this.#arm(at);
	}

	cancel(): void {
		this.#at = undefined;
		this.#timer?.cancel();
		this.#timer = undefined;
	}

	#arm(at: number): void {
		const delayMs = Math.min(Math.max(at - this.#clock.monotonic(), 0), TIMER_MAX_MS);
		this.#firesAt = this.#clock.monotonic() + delayMs;
		this.#timer = this.#clock.after(delayMs, this.#fired);
	}

	readonly #fired = (): void => {
		this.#timer = undefined;
		const at = this.#at;
		if (at === undefined) return;
		if (at > this.#clock.monotonic()) {
			this.#arm(at);
			return;
		}
		this.#at = undefined;
		this.#expired();
	};
}
