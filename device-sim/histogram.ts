/**
 * A latency histogram of fixed size: log-linear, 64 steps for each doubling, so that a percentile is at
 * most 1/64 (1.6 %) above the value that was recorded. From 1 microsecond to more than 12 days; about
 * 20 KB however many values it has seen.
 */
const STEP_BITS = 6;
const STEPS = 1 << STEP_BITS;
const HIGHEST_MICROSECONDS = 2 ** 40 - 1;
const BUCKETS = (40 - STEP_BITS + 1) * STEPS;

export interface LatencySummary {
	readonly count: number;
	/** Milliseconds, as the other fields; 0 when nothing was recorded. */
	readonly p50Ms: number;
	readonly p99Ms: number;
	readonly maxMs: number;
}

export class LatencyHistogram {
	readonly #counts = new Float64Array(BUCKETS);
	#count = 0;
	#maxMicroseconds = 0;

	get count(): number {
		return this.#count;
	}

	/** Records one latency; less than nothing (a stepped clock) counts as 0. */
	record(milliseconds: number): void {
		const microseconds = Math.min(HIGHEST_MICROSECONDS, Math.max(0, Math.round(milliseconds * 1000)));
		const bucket = bucketOf(microseconds);
		this.#counts[bucket] = this.#counts[bucket]! + 1;
		this.#count++;
		if (microseconds > this.#maxMicroseconds) this.#maxMicroseconds = microseconds;
	}

	/** Milliseconds that `fraction` (0 to 1) of the recorded values do not exceed; 0 when there are none. */
	percentile(fraction: number): number {
		if (this.#count === 0) return 0;
		let left = Math.max(1, Math.ceil(fraction * this.#count));
		for (let bucket = 0; bucket < BUCKETS; bucket++) {
			left -= this.#counts[bucket]!;
			if (left <= 0) return Math.min(highestOf(bucket), this.#maxMicroseconds) / 1000;
		}
		return this.#maxMicroseconds / 1000;
	}

	summary(): LatencySummary {
		return {
			count: this.#count,
			p50Ms: this.percentile(0.5),
			p99Ms: this.percentile(0.99),
			maxMs: this.#maxMicroseconds / 1000,
		};
	}
}

/** Below 64 one bucket per value; then the top seven bits of the value and its magnitude. */
function bucketOf(value: number): number {
	if (value < STEPS) return value;
	const magnitude = Math.floor(Math.log2(value)) - STEP_BITS;
	// log2 of a value just below a power of two may round up to it.
	const exact = value < 2 ** (magnitude + STEP_BITS) ? magnitude - 1 : magnitude;
	return (exact + 1) * STEPS + (Math.floor(value / 2 ** exact) - STEPS);
}

/** The highest value that falls into `bucket`. */
function highestOf(bucket: number): number {
	if (bucket < STEPS) return bucket;
	const magnitude = Math.floor(bucket / STEPS) - 1;
	return ((bucket % STEPS) + STEPS + 1) * 2 ** magnitude - 1;
}
