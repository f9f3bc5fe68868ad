/**
 * Whether the object store is worth asking. After a failure nobody waits for it for a while that grows, one request at a
 * time finds out whether it is back, and all others are answered at once with what went wrong: a store that is away costs
 * readers nothing. An outage is one line in the log, and so is its end.
 */
import type { Clock } from "../../src/base/clock.ts";
import { BrokerError } from "../../src/base/errors.ts";
import type { Logger } from "../../src/base/logger.ts";

const DELAY_LEAST_MS = 1000;
const DELAY_MOST_MS = 30_000;

interface Outage {
	readonly sinceMs: number;
	message: string;
	delayMs: number;
	untilMs: number;
	/** A request is finding out. */
	probing: boolean;
}

export class StoreHealth {
	readonly #services: { readonly clock: Clock; readonly logger: Logger; readonly store: string };
	#outage: Outage | undefined;

	/** `store`: its name, for people. */
	constructor(services: { readonly clock: Clock; readonly logger: Logger; readonly store: string }) {
		this.#services = services;
	}

	/** What is wrong, undefined while all is well. */
	get problem(): string | undefined {
		return this.#outage?.message;
	}

	/** Throws KAFKA_STORAGE_ERROR while it is no use asking. */
	check(): void {
		const outage = this.#outage;
		if (outage === undefined || this.#mayProbe(outage)) return;
		throw unreachable(outage.message);
	}

	/** A request is about to be made. Returns whether it is the one that finds out. Throws as `check`. */
	begin(): boolean {
		this.check();
		const outage = this.#outage;
		if (outage !== undefined) outage.probing = true;
		return outage !== undefined;
	}

	#mayProbe({ probing, untilMs }: Outage): boolean {
		return !probing && this.#services.clock.monotonic() >= untilMs;
	}

	/** The store has answered. */
	succeeded(): void {
		const outage = this.#outage;
		if (outage === undefined) return;
		this.#outage = undefined;
		const { clock, logger, store } = this.#services;
		logger.info("the object store can be read again", {
			store,
			outageMs: Math.round(clock.monotonic() - outage.sinceMs),
		});
	}

	/** It has not. `isProbe`: as `begin` said. Returns what readers are told. */
	failed(message: string, isProbe: boolean): BrokerError {
		const { clock, logger, store } = this.#services;
		const nowMs = clock.monotonic();
		const outage = this.#outage;
		if (outage === undefined) {
			this.#outage = {
				sinceMs: nowMs,
				message,
				delayMs: DELAY_LEAST_MS,
				untilMs: nowMs + DELAY_LEAST_MS,
				probing: false,
			};
			logger.warn("the object store cannot be read; what is on this machine is served", { store, error: message });
		} else if (isProbe) {
			outage.message = message;
			outage.delayMs = Math.min(outage.delayMs * 2, DELAY_MOST_MS);
			outage.untilMs = nowMs + outage.delayMs;
			outage.probing = false;
		}
		return unreachable(message);
	}
}

function unreachable(message: string): BrokerError {
	return new BrokerError("KAFKA_STORAGE_ERROR", `the object store cannot be read: ${message}`);
}
