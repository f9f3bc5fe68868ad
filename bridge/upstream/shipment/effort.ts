/**
 * How hard batches are compressed: as configured while nobody has to wait for it. Where a backlog would wait for the compressor
 * rather than for the link, it is quicker to send some more bytes.
 */

/** Of zstd, and near it of gzip: a third of level 9's time, for a sixth more bytes of telemetry. */
const QUICK_LEVEL = 3;

export class Effort {
	readonly #level: number | undefined;
	#isHurried = false;

	/** `level`: the most. */
	constructor(level: number | undefined) {
		this.#level = level;
	}

	/** For the next shipment. */
	get level(): number | undefined {
		return this.#isHurried && this.#level !== undefined ? Math.min(this.#level, QUICK_LEVEL) : this.#level;
	}

	/** A shipment was made ready in that time, and sent in that. */
	took(madeMs: number, sentMs: number): void {
		if (madeMs > sentMs) this.#isHurried = true;
	}

	/** Nothing was left to send. */
	rested(): void {
		this.#isHurried = false;
	}
}
