/** What was seen in the course of a run, sample by sample, and drawn as columns of equal time: rates, what waits, who was down. */

export interface Sample {
	/** Milliseconds from the first event. */
	readonly atMs: number;
	/** Events acknowledged to sensors, seen at the hub, in bundles: so far. */
	readonly acked: number;
	readonly hub: number;
	readonly store: number;
	readonly kills: number;
	readonly gatewayUp: boolean;
	readonly linkUp: boolean;
}

export interface Column {
	/** Per second. */
	readonly acked: number;
	readonly hub: number;
	/** Events that came in this column. */
	readonly stored: number;
	/** Acknowledged and not yet seen at the hub. */
	readonly waiting: number;
	readonly killed: boolean;
	readonly gatewayUp: boolean;
	readonly linkUp: boolean;
}

/** Transactions come in steps; a rate over less than this shows the steps. */
const SMOOTH_MS = 1200;

const NOTHING: Sample = { atMs: 0, acked: 0, hub: 0, store: 0, kills: 0, gatewayUp: true, linkUp: true };

export class History {
	readonly #samples: Sample[] = [];

	add(sample: Sample): void {
		this.#samples.push(sample);
	}

	get last(): Sample {
		return this.#samples.at(-1) ?? NOTHING;
	}

	/** The columns that have begun, of `width` that share `totalMs`. */
	columns(width: number, totalMs: number): Column[] {
		const columns: Column[] = [];
		const spanMs = totalMs / width;
		for (let i = 0; i < width && i * spanMs <= this.last.atMs && this.#samples.length > 0; i++) {
			const from = this.#at(i * spanMs);
			const to = this.#at((i + 1) * spanMs);
			columns.push({
				acked: this.rate("acked", to.atMs, spanMs),
				hub: this.rate("hub", to.atMs, spanMs),
				stored: to.store - from.store,
				waiting: Math.max(0, to.acked - to.hub),
				killed: to.kills > from.kills,
				gatewayUp: to.gatewayUp,
				linkUp: to.linkUp,
			});
		}
		return columns;
	}

	/** Per second, over the time before `atMs`. */
	rate(what: "acked" | "hub", atMs = this.last.atMs, overMs = SMOOTH_MS): number {
		const from = this.#at(atMs - Math.max(overMs, SMOOTH_MS));
		const to = this.#at(atMs);
		return to.atMs > from.atMs ? ((to[what] - from[what]) * 1000) / (to.atMs - from.atMs) : 0;
	}

	/** The last sample up to then. */
	#at(ms: number): Sample {
		let low = 0;
		let high = this.#samples.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if (this.#samples[middle]!.atMs <= ms) low = middle + 1;
			else high = middle;
		}
		return this.#samples[low - 1] ?? NOTHING;
	}
}
