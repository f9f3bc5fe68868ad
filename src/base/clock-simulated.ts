/**
 * The clock's simulated twin. Time stands still until the simulation moves it; wall time may be
 * stepped either way, monotonic time only goes forward. `soon` tasks run in the order in which they
 * were asked for, as Node's check phase runs them; timers by due time, and those due at the same
 * instant in an order that `random` chooses (without one, the order in which they were set).
 */
import type { Clock, Timer } from "./clock.ts";
import type { SimulatedRandom } from "./random-simulated.ts";

const ROUNDS_MAX = 2000;

interface PendingTimer {
	readonly dueMs: number;
	readonly rank: number;
	readonly number: number;
	readonly task: () => void;
}

export class SimulatedClock implements Clock {
	#monotonicMs = 0;
	/** Wall time less monotonic time. */
	#wallOffsetMs: number;
	#timers: PendingTimer[] = [];
	#soon: (() => void)[] = [];
	#made = 0;
	readonly #random: SimulatedRandom | undefined;

	/** `startMs`: the wall clock at the beginning. */
	constructor(options: { startMs?: number; random?: SimulatedRandom } = {}) {
		this.#wallOffsetMs = options.startMs ?? 1_700_000_000_000;
		this.#random = options.random;
	}

	now(): number {
		return Math.floor(this.#monotonicMs + this.#wallOffsetMs);
	}

	monotonic(): number {
		return this.#monotonicMs;
	}

	after(delayMs: number, task: () => void): Timer {
		const timer: PendingTimer = {
			dueMs: this.#monotonicMs + Math.max(0, delayMs),
			rank: this.#random?.u32() ?? 0,
			number: this.#made++,
			task,
		};
		this.#timers.push(timer);
		return {
			cancel: () => {
				this.#timers = this.#timers.filter((other) => other !== timer);
			},
		};
	}

	soon(task: () => void): void {
		this.#soon.push(task);
	}

	/** Timers and `soon` tasks not yet run. */
	get pending(): number {
		return this.#timers.length + this.#soon.length;
	}

	/** Steps the wall clock by `ms`, which may be negative. */
	step(ms: number): void {
		this.#wallOffsetMs += ms;
	}

	/** Runs the `soon` tasks asked for up to now, not those that they ask for. Returns how many ran. */
	runSoon(): number {
		const tasks = this.#soon;
		this.#soon = [];
		for (const task of tasks) task();
		return tasks.length;
	}

	/** Lets promises and `soon` tasks run until none is left; time does not move. Throws when that never ends. */
	async settle(): Promise<void> {
		for (let round = 0; round < ROUNDS_MAX; round++) {
			await drainMicrotasks();
			if (this.runSoon() === 0) return;
		}
		throw new Error(`${ROUNDS_MAX} rounds of soon tasks and no end: something turns in a circle without waiting`);
	}

	/** Moves time on by `ms`, runs every timer that comes due, and settles before, between and after. */
	async advance(ms: number): Promise<void> {
		const endMs = this.#monotonicMs + ms;
		await this.settle();
		for (let timer = this.#takeDue(endMs); timer !== undefined; timer = this.#takeDue(endMs)) {
			this.#monotonicMs = Math.max(this.#monotonicMs, timer.dueMs);
			timer.task();
			await this.settle();
		}
		this.#monotonicMs = endMs;
	}

	/** Moves time to the next timer, if there is one, and runs it. False when there was none. */
	async advanceToNext(): Promise<boolean> {
		await this.settle();
		const timer = this.#takeDue(Number.POSITIVE_INFINITY);
		if (timer === undefined) return false;
		this.#monotonicMs = Math.max(this.#monotonicMs, timer.dueMs);
		timer.task();
		await this.settle();
		return true;
	}

	/** Forgets every timer and task, as the end of a process does. */
	drop(): void {
		this.#timers = [];
		this.#soon = [];
	}

	#takeDue(endMs: number): PendingTimer | undefined {
		let next: PendingTimer | undefined;
		for (const timer of this.#timers) {
			if (timer.dueMs <= endMs && (next === undefined || comesBefore(timer, next))) next = timer;
		}
		if (next !== undefined) this.#timers = this.#timers.filter((other) => other !== next);
		return next;
	}
}

function comesBefore(a: PendingTimer, b: PendingTimer): boolean {
	if (a.dueMs !== b.dueMs) return a.dueMs < b.dueMs;
	return a.rank !== b.rank ? a.rank < b.rank : a.number < b.number;
}

/** Node empties the microtask queue before the next macrotask, however long the chain of promises. */
function drainMicrotasks(): Promise<void> {
	return new Promise((resolve) => setImmediate(resolve));
}
