/** Member ids that were given out to members which have yet to come again with them (MEMBER_ID_REQUIRED), each for a time. */
import type { Clock } from "../../base/clock.ts";
import { Deadline } from "./deadline.ts";
import type { MemberBudget } from "./member.ts";

/** What the engine needs for one. */
const PENDING_BYTES = 512;

export class PendingMembers {
	readonly #clock: Clock;
	readonly #budget: MemberBudget;
	readonly #expired: () => void;
	readonly #ids = new Map<string, Deadline>();

	/** `expired` is called when one did not come in time. */
	constructor(clock: Clock, budget: MemberBudget, expired: () => void) {
		this.#clock = clock;
		this.#budget = budget;
		this.#expired = expired;
	}

	get size(): number {
		return this.#ids.size;
	}

	has(id: string): boolean {
		return this.#ids.has(id);
	}

	add(id: string, forMs: number): void {
		const deadline = new Deadline(this.#clock, () => {
			this.remove(id);
			this.#expired();
		});
		deadline.set(forMs);
		this.#ids.set(id, deadline);
		this.#budget.bytes += bytesOf(id);
	}

	/** Returns whether it was there. */
	remove(id: string): boolean {
		const deadline = this.#ids.get(id);
		if (deadline === undefined) return false;
		deadline.cancel();
		this.#ids.delete(id);
		this.#budget.bytes -= bytesOf(id);
		return true;
	}

	clear(): void {
		for (const id of [...this.#ids.keys()]) this.remove(id);
	}
}

function bytesOf(id: string): number {
	return PENDING_BYTES + 2 * id.length;
}
