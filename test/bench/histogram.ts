/** Latencies in buckets 2 % wide: a percentile of any number of them, without keeping them. */

const LOWEST_MS = 0.001;
const GROWTH = Math.log(1.02);
/** Up to 70 s. */
const BUCKETS = 920;

export class Histogram {
	readonly #counts = new Uint32Array(BUCKETS);
	#count = 0;
	#max = 0;

	add(ms: number): void {
		const bucket = ms <= LOWEST_MS ? 0 : Math.min(BUCKETS - 1, Math.ceil(Math.log(ms / LOWEST_MS) / GROWTH));
		this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
		this.#count += 1;
		if (ms > this.#max) this.#max = ms;
	}

	clear(): void {
		this.#counts.fill(0);
		this.#count = 0;
		this.#max = 0;
	}

	get count(): number {
		return this.#count;
	}

	get max(): number {
		return this.#max;
	}

	/** The upper edge of the bucket in which that part of all (0 to 1) is reached; undefined when there are none. */
	percentile(part: number): number | undefined {
		if (this.#count === 0) return undefined;
		const wanted = Math.max(1, Math.ceil(this.#count * part));
		let seen = 0;
		for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
			seen += this.#counts[bucket] as number;
			if (seen >= wanted) return Math.min(this.#max, LOWEST_MS * Math.exp(bucket * GROWTH));
		}
		return this.#max;
	}
}
