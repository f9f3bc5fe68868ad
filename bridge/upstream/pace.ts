/**
 * How much goes into one transaction: as much as the link takes in a few seconds. An open transaction holds up whoever reads
 * committed records there, and what a cut link breaks is sent again; but on a good link a larger one costs less for each record.
 */

const SMALLEST_BYTES = 16 * 1024;
const FIRST_BYTES = 128 * 1024;
/** Of a transaction's time-out, what it may take. */
const SHARE = 4;
const GOAL_MAX_MS = 3000;

export class Pace {
	readonly #goalMs: number;
	readonly #most: number;
	#bytes: number;

	/** `most`: bytes in one transaction, before compression. */
	constructor(most: number, transactionTimeoutMs: number) {
		this.#most = most;
		this.#goalMs = Math.min(GOAL_MAX_MS, transactionTimeoutMs / SHARE);
		this.#bytes = Math.min(FIRST_BYTES, most);
	}

	/** For the next transaction, before compression. */
	get bytes(): number {
		return this.#bytes;
	}

	/** One with so many bytes took so long, from its first request to its end. */
	took(bytes: number, ms: number): void {
		if (ms > this.#goalMs) this.#set((bytes * this.#goalMs) / ms);
		else if (ms < this.#goalMs / 2 && bytes >= this.#bytes / 2) this.#set(this.#bytes * 2);
	}

	/** One did not come to its end. */
	failed(): void {
		this.#set(this.#bytes / 2);
	}

	#set(bytes: number): void {
		this.#bytes = Math.round(Math.min(this.#most, Math.max(SMALLEST_BYTES, bytes)));
	}
}
