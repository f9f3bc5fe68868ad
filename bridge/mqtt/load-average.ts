/** Rates per minute, averaged over the last one, five and fifteen minutes, the recent past weighing more: as `$SYS` has them. */

/** The last level of the topic's name, and the seconds after which a rate's weight has fallen to 1/e. */
export const WINDOWS: readonly (readonly [name: string, seconds: number])[] = [
	["1min", 60],
	["5min", 300],
	["15min", 900],
];

export class LoadAverage {
	/** Per minute, in the order of WINDOWS. */
	readonly rates: number[] = WINDOWS.map(() => 0);
	#count = 0;

	/** `count` of something since the start, `seconds` after the last call. */
	update(count: number, seconds: number): void {
		if (seconds <= 0) return;
		const perMinute = ((count - this.#count) * 60) / seconds;
		this.#count = count;
		for (let i = 0; i < WINDOWS.length; i++) {
			const kept = Math.exp(-seconds / WINDOWS[i]![1]);
			this.rates[i] = perMinute + kept * (this.rates[i]! - perMinute);
		}
	}
}
