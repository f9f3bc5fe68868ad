/** The system's clock, which a test may move ahead: what would be due after minutes is due now. */
import { type Clock, systemClock, type Timer } from "../../src/base/clock.ts";

interface Pending {
	readonly dueMs: number;
	readonly task: () => void;
	timer: Timer;
}

export class SkippingClock implements Clock {
	#aheadMs = 0;
	#isStopped = false;
	readonly #pending = new Set<Pending>();

	now(): number {
		return Math.round(systemClock.now() + this.#aheadMs);
	}

	monotonic(): number {
		return systemClock.monotonic() + this.#aheadMs;
	}

	after(delayMs: number, task: () => void): Timer {
		const pending: Pending = { dueMs: this.monotonic() + delayMs, task, timer: { cancel: () => undefined } };
		if (this.#isStopped) return pending.timer;
		this.#pending.add(pending);
		this.#set(pending);
		return {
			cancel: () => {
				this.#pending.delete(pending);
				pending.timer.cancel();
			},
		};
	}

	#set(pending: Pending): void {
		pending.timer = systemClock.after(Math.max(0, pending.dueMs - this.monotonic()), () => {
			this.#pending.delete(pending);
			if (!this.#isStopped) pending.task();
		});
	}

	soon(task: () => void): void {
		systemClock.soon(() => {
			if (!this.#isStopped) task();
		});
	}

	advance(ms: number): void {
		this.#aheadMs += ms;
		for (const pending of this.#pending) {
			pending.timer.cancel();
			this.#set(pending);
		}
	}

	/** Whoever goes by it does nothing more by itself, as after kill -9. */
	stop(): void {
		this.#isStopped = true;
		for (const { timer } of this.#pending) timer.cancel();
		this.#pending.clear();
	}
}
