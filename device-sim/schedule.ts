/**
 * When a device's events are due, in closed form: event n of a run is due at a time that anyone can
 * compute, so a backlog of any length is a number, not a queue of events.
 */
import type { SimulatedRandom } from "../src/base/random-simulated.ts";
import type { ProfileName } from "./profiles.ts";

/** Events in one burst of a vibration sensor, and the seconds between two of them. */
const BURST_EVENTS = 10;
const BURST_SPACING_MS = 20;

export class Schedule {
	/** How many events the whole run has. */
	readonly count: number;
	readonly #intervalMs: number;
	readonly #phaseMs: number;
	readonly #burst: number;
	readonly #spacingMs: number;

	/** @param rate events per second, on the average */
	constructor(profile: ProfileName, rate: number, durationMs: number, random: SimulatedRandom) {
		this.#intervalMs = 1000 / rate;
		this.#burst = profile === "vibration" ? BURST_EVENTS : 1;
		this.#spacingMs = Math.min(BURST_SPACING_MS, this.#intervalMs);
		// Devices do not beat in time: each begins somewhere within its first interval (or burst).
		this.#phaseMs = random.fraction() * this.#intervalMs * this.#burst;
		this.count = this.dueBy(durationMs);
	}

	/** Milliseconds from the run's start to event `n` (from 0). */
	dueMs(n: number): number {
		const inBurst = n % this.#burst;
		return this.#phaseMs + (n - inBurst) * this.#intervalMs + inBurst * this.#spacingMs;
	}

	/** How many events are due before `elapsedMs` of the run. */
	dueBy(elapsedMs: number): number {
		const since = elapsedMs - this.#phaseMs;
		if (since <= 0) return 0;
		const bursts = Math.floor(since / (this.#intervalMs * this.#burst));
		const inBurst = since - bursts * this.#intervalMs * this.#burst;
		const guess = bursts * this.#burst + Math.min(this.#burst, Math.ceil(inBurst / this.#spacingMs));
		// Division may round across a boundary: dueMs has the last word.
		if (guess > 0 && this.dueMs(guess - 1) >= elapsedMs) return guess - 1;
		return this.dueMs(guess) < elapsedMs ? guess + 1 : guess;
	}
}
