/**
 * The clock seam. Wall time may step in either direction at any moment (a gateway has no clock
 * battery); monotonic time never does. Timers follow monotonic time.
 */
export interface Timer {
	cancel(): void;
}

export interface Clock {
	/** Wall clock, milliseconds since 1970-01-01T00:00:00Z. */
	now(): number;
	/** Milliseconds since some fixed instant, with fractions; never steps. */
	monotonic(): number;
	/** Runs `task` once, `delayMs` from now. A pending timer does not keep the process alive. */
	after(delayMs: number, task: () => void): Timer;
	/** Runs `task` once what is readable now has been read: Node's check phase. */
	soon(task: () => void): void;
}

export const systemClock: Clock = {
	now: () => Date.now(),
	monotonic: () => performance.now(),
	after(delayMs, task) {
		const timeout = setTimeout(task, delayMs);
		timeout.unref();
		return { cancel: () => clearTimeout(timeout) };
	},
	soon: (task) => void setImmediate(task),
};
