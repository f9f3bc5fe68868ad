/** Somebody waits for something to do; others say that there may be something. Said while nobody waits, it is remembered. */
import type { Clock, Timer } from "../../src/base/clock.ts";

export class Wake {
	readonly #clock: Clock;
	#isSet = false;
	#resolve: (() => void) | undefined;

	constructor(clock: Clock) {
		this.#clock = clock;
	}

	set(): void {
		this.#isSet = true;
		this.#resolve?.();
	}

	/** Resolves when it is set, or after `ms` (undefined: only then), or when the signal is aborted. */
	async wait(ms: number | undefined, signal: AbortSignal): Promise<void> {
		let timer: Timer | undefined;
		const { promise, resolve } = Promise.withResolvers<void>();
		signal.addEventListener("abort", resolve as () => void, { once: true });
		if (!this.#isSet && !signal.aborted) {
			this.#resolve = resolve;
			if (ms !== undefined) timer = this.#clock.after(ms, resolve);
			await promise;
		}
		signal.removeEventListener("abort", resolve as () => void);
		timer?.cancel();
		this.#resolve = undefined;
		this.#isSet = false;
	}
}
