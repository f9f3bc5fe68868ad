/**
 * Objects, and parts of them, that are missing or damaged in the store. Whoever asks again is told at once, and the store
 * asked again only after a while that grows: a consumer that tries again and again must not use up the uplink.
 */
import type { Clock } from "../../src/base/clock.ts";
import { BrokerError } from "../../src/base/errors.ts";
import type { Logger } from "../../src/base/logger.ts";

const DELAY_LEAST_MS = 1000;
const DELAY_MOST_MS = 300_000;
/** Remembered; the oldest are forgotten first. */
const FAULTS_MAX = 1024;

interface Fault {
	readonly message: string;
	readonly delayMs: number;
	readonly untilMs: number;
}

export class ObjectFaults {
	readonly #services: { readonly clock: Clock; readonly logger: Logger };
	readonly #faults = new Map<string, Fault>();

	constructor(services: { readonly clock: Clock; readonly logger: Logger }) {
		this.#services = services;
	}

	/** Known now. */
	get count(): number {
		return this.#faults.size;
	}

	/** The last one met, for people; undefined: none. */
	get problem(): string | undefined {
		return [...this.#faults.values()].at(-1)?.message;
	}

	/** Whether it was bad, and it is time to look again. Throws KAFKA_STORAGE_ERROR until then. */
	check(id: string): boolean {
		const fault = this.#faults.get(id);
		if (fault === undefined) return false;
		if (this.#services.clock.monotonic() < fault.untilMs) throw lost(fault.message);
		return true;
	}

	/** Returns what readers are told; `message` names object, position and cause. */
	add(id: string, message: string): BrokerError {
		const { clock, logger } = this.#services;
		const before = this.#faults.get(id);
		if (before === undefined) {
			logger.error("tiered records cannot be read: their object is damaged or missing", { error: message });
		}
		const delayMs = before === undefined ? DELAY_LEAST_MS : Math.min(before.delayMs * 2, DELAY_MOST_MS);
		this.#faults.delete(id);
		if (this.#faults.size >= FAULTS_MAX) {
			const [oldest] = this.#faults.keys();
			this.#faults.delete(oldest as string);
		}
		this.#faults.set(id, { message, delayMs, untilMs: clock.monotonic() + delayMs });
		return lost(message);
	}

	/** It is sound now. */
	clear(id: string): void {
		if (this.#faults.delete(id)) this.#services.logger.info("tiered records can be read again", { object: id });
	}
}

function lost(message: string): BrokerError {
	return new BrokerError("KAFKA_STORAGE_ERROR", `tiered records cannot be read: ${message}`);
}
