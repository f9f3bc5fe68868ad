/** How fast compaction goes: so many bytes a second, and between any two slices everybody else has a turn. */
import type { Clock, Timer } from "../base/clock.ts";

/** Thrown where a pause ends because everything does. */
export class CleanerStopped extends Error {
	override readonly name = "CleanerStopped";
}

/** What was not used while there was nothing to do may be used at once, up to this, milliseconds. */
const BURST_MS = 100;
/** A timer is no more exact than this. */
const LEAST_PAUSE_MS = 1;

export class CleanerPace {
	readonly #clock: Clock;
	readonly #bytesPerMs: number;
	/** When what was done so far is paid for, by the monotonic clock. */
	#paidMs = 0;
	#stopped = false;
	#timer: Timer | undefined;
	#wake: (() => void) | undefined;

	constructor(clock: Clock, bytesPerSecond: number) {
		this.#clock = clock;
		this.#bytesPerMs = bytesPerSecond / 1000;
	}

	/** Resolves when the next slice may begin after `bytes` were read or written. Rejects with CleanerStopped. */
	async spent(bytes: number): Promise<void> {
		if (this.#stopped) throw new CleanerStopped("the cleaner was stopped");
		const now = this.#clock.monotonic();
		this.#paidMs = Math.max(this.#paidMs, now - BURST_MS) + bytes / this.#bytesPerMs;
		const waitMs = this.#paidMs - now;
		await new Promise<void>((resolve) => {
			if (waitMs < LEAST_PAUSE_MS) {
				this.#clock.soon(resolve);
				return;
			}
			this.#wake = resolve;
			this.#timer = this.#clock.after(waitMs, resolve);
		});
		this.#wake = undefined;
		if (this.#stopped) throw new CleanerStopped("the cleaner was stopped");
	}

	/** The pause under way ends, and there are no others. */
	stop(): void {
		this.#stopped = true;
		this.#timer?.cancel();
		this.#wake?.();
	}
}
