/** Warnings about single events: the first of its kind is logged, then one a minute with how many there were. */
import type { Clock } from "../../../src/base/clock.ts";
import type { LogFields, Logger } from "../../../src/base/logger.ts";

const INTERVAL_MS = 60_000;

export class RareLog {
	readonly #logger: Logger;
	readonly #clock: Clock;
	/** By message: few, for they are ours. */
	readonly #kinds = new Map<string, { loggedMs: number; since: number }>();

	constructor(logger: Logger, clock: Clock) {
		this.#logger = logger;
		this.#clock = clock;
	}

	warn(message: string, fields: LogFields): void {
		const nowMs = this.#clock.monotonic();
		const kind = this.#kinds.get(message);
		if (kind !== undefined && nowMs - kind.loggedMs < INTERVAL_MS) {
			kind.since++;
			return;
		}
		const before = kind?.since ?? 0;
		this.#kinds.set(message, { loggedMs: nowMs, since: 0 });
		this.#logger.warn(message, before === 0 ? fields : { ...fields, notLogged: before });
	}
}
