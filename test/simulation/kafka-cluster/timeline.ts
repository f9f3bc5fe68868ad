/**
 * What is still going to happen in the cluster. It goes on when a gateway's process ends, and the simulated clock forgets
 * all timers then: so the errands are kept here, and the clock only wakes the timeline for the next one (`rearm`).
 */
import type { Clock, Timer } from "../../../src/base/clock.ts";

const ERRANDS_MAX = 1_000_000;

interface Errand {
	readonly atMs: number;
	readonly run: () => void;
}

export class Timeline {
	readonly #clock: Clock;
	readonly #wallOffsetMs: number;
	#errands: Errand[] = [];
	#timer: Timer | undefined;

	constructor(clock: Clock) {
		this.#clock = clock;
		this.#wallOffsetMs = clock.now() - clock.monotonic();
	}

	/** Monotonic. */
	get nowMs(): number {
		return this.#clock.monotonic();
	}

	/** The brokers' wall clock, which nobody steps, whatever happens to the gateway's. */
	get wallMs(): number {
		return Math.floor(this.#clock.monotonic() + this.#wallOffsetMs);
	}

	/** Those due at the same instant run in the order in which they were asked for. Returns what takes it back. */
	after(delayMs: number, run: () => void): () => void {
		const errand: Errand = { atMs: this.nowMs + Math.max(0, delayMs), run };
		this.#errands.push(errand);
		this.rearm();
		return () => {
			this.#errands = this.#errands.filter((other) => other !== errand);
			this.rearm();
		};
	}

	/** Asks the clock to be woken, whether or not it was asked before. */
	rearm(): void {
		this.#timer?.cancel();
		const next = this.#next();
		this.#timer =
			next === undefined ? undefined : this.#clock.after(next.atMs - this.nowMs, () => this.#run(this.nowMs));
	}

	/** All that is still to come, in order, and what comes of it; time does not move. */
	runAll(): void {
		this.#run(Number.POSITIVE_INFINITY);
	}

	#run(untilMs: number): void {
		for (let i = 0; i < ERRANDS_MAX; i++) {
			const next = this.#next();
			if (next === undefined || next.atMs > untilMs) {
				this.rearm();
				return;
			}
			this.#errands.splice(this.#errands.indexOf(next), 1);
			next.run();
		}
		throw new Error(`${ERRANDS_MAX} errands and no end`);
	}

	#next(): Errand | undefined {
		let next: Errand | undefined;
		for (const errand of this.#errands) if (next === undefined || errand.atMs < next.atMs) next = errand;
		return next;
	}
}
