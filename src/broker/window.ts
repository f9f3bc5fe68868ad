/**
 * The minutes in which something may use the link by itself, as a cron expression of the local wall clock names them. The
 * clock steps: who waits for the window to open looks again now and then.
 */
import type { Clock } from "../base/clock.ts";
import { CronTimes } from "../base/cron.ts";

export class Window {
	readonly #clock: Clock;
	readonly #times: CronTimes | undefined;

	private constructor(clock: Clock, times: CronTimes | undefined) {
		this.#clock = clock;
		this.#times = times;
	}

	/** Empty: always open. The expression has been checked with the configuration: rejects with RangeError where it is wrong all the same. */
	static async open(clock: Clock, text: string): Promise<Window> {
		if (text === "") return new Window(clock, undefined);
		const times = await CronTimes.read(text);
		if (times instanceof CronTimes) return new Window(clock, times);
		throw new RangeError(`${times.wrong}: ${times.right}`);
	}

	get isOpen(): boolean {
		return this.#times?.matches(this.#clock.now()) ?? true;
	}

	/** When it opens, by the wall clock as it goes now; undefined where it is open, or does not open for years. */
	nextMs(): number | undefined {
		return this.isOpen ? undefined : this.#times?.after(this.#clock.now());
	}
}
