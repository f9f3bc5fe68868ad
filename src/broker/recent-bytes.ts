/** How much went over the link in the last hours, for a forecast: by the hour, for a day, in memory alone. */
import type { Clock } from "../base/clock.ts";

const HOUR_MS = 3_600_000;
const HOURS = 24;

export class RecentBytes {
	readonly #clock: Clock;
	readonly #beganMs: number;
	/** Of the hour that has begun and of those before it, each in the place that its number since the beginning gives it. */
	readonly #bytes = new Array<number>(HOURS + 1).fill(0);
	#hour = 0;

	constructor(clock: Clock) {
		this.#clock = clock;
		this.#beganMs = clock.monotonic();
	}

	add(bytes: number): void {
		this.#turn();
		const at = this.#hour % this.#bytes.length;
		this.#bytes[at] = (this.#bytes[at] as number) + bytes;
	}

	/** Of the last `hours` (at most 24) and of what has passed of this one, and how long that is. `isWhole`: there were so many. */
	last(hours: number): { readonly bytes: number; readonly ms: number; readonly isWhole: boolean } {
		this.#turn();
		const passedMs = this.#clock.monotonic() - this.#beganMs;
		let bytes = 0;
		for (let hour = Math.max(0, this.#hour - hours); hour <= this.#hour; hour++)
			bytes += this.#bytes[hour % this.#bytes.length] as number;
		return {
			bytes: Math.max(0, bytes),
			ms: Math.min(passedMs, hours * HOUR_MS + (passedMs % HOUR_MS)),
			isWhole: this.#hour >= hours,
		};
	}

	#turn(): void {
		const hour = Math.floor((this.#clock.monotonic() - this.#beganMs) / HOUR_MS);
		for (let i = Math.max(this.#hour + 1, hour - HOURS); i <= hour; i++) this.#bytes[i % this.#bytes.length] = 0;
		this.#hour = hour;
	}
}
