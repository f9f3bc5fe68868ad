/**
 * Whether a commit is better synced on the event loop or off it. Off it, other connections are served
 * meanwhile; but for a single waiting one on a quick disk (0.15 ms) the two hops through the thread pool
 * cost more than the wait. Measured on an NVMe disk: 0.47 -> 0.38 ms from PUBLISH to PUBACK. A disk that was slow of late,
 * as every SD card is, is never waited for.
 */

/** How much the newest sync counts in the average. */
const WEIGHT = 0.1;
/** Bytes that a single write takes no longer for than a few. */
const SMALL_BYTES = 64 * 1024;

export class SyncPace {
	readonly #inlineBelowMs: number;
	#averageMs = Number.POSITIVE_INFINITY;

	/** A disk that syncs in less than `inlineBelowMs` on the average may be waited for; 0: never. */
	constructor(inlineBelowMs: number) {
		this.#inlineBelowMs = inlineBelowMs;
	}

	inline(waiting: number, bytes: number): boolean {
		return waiting <= 1 && bytes <= SMALL_BYTES && this.#averageMs < this.#inlineBelowMs;
	}

	/** A sync took that long. */
	took(ms: number): void {
		this.#averageMs = Number.isFinite(this.#averageMs) ? this.#averageMs + (ms - this.#averageMs) * WEIGHT : ms;
	}
}
