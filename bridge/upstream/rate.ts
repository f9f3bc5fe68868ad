/** What passed over the last minute, per second, in a fixed amount of memory. */
import type { Clock } from "../../src/base/clock.ts";

const SLOT_MS = 5000;
const SLOTS = 12;

export class Rate {
	readonly #clock: Clock;
	readonly #amounts = new Float64Array(SLOTS);
	readonly #sinceMs: number;
	/** Slots since it began. */
	#slot = 0;

	constructor(clock: Clock) {
		this.#clock = clock;
		this.#sinceMs = clock.monotonic();
	}

	add(amount: number): void {
		this.#turn();
		this.#amounts[this.#slot % SLOTS] = (this.#amounts[this.#slot % SLOTS] as number) + amount;
	}

	get perSecond(): number {
		this.#turn();
		const passedMs = Math.min(SLOTS * SLOT_MS, Math.max(SLOT_MS, this.#clock.monotonic() - this.#sinceMs));
		return (this.#amounts.reduce((sum, each) => sum + each, 0) * 1000) / passedMs;
	}

	#turn(): void {
		const slot = Math.floor((this.#clock.monotonic() - this.#sinceMs) / SLOT_MS);
		if (slot - this.#slot >= SLOTS) this.#amounts.fill(0);
		else for (let i = this.#slot + 1; i <= slot; i++) this.#amounts[i % SLOTS] = 0;
		this.#slot = slot;
	}
}
