/**
 * The buffers that connections gather a turn's packets in. A fan-out needs one for every subscriber and has them back at the
 * turn's end: a bounded number of each size is kept, so that thousands of deliveries a turn leave no garbage.
 */

/** Sizes, and how many of each are kept: two and a half megabytes at most, and only after such a turn. */
const CLASSES: readonly { readonly bytes: number; readonly kept: number }[] = [
	{ bytes: 512, kept: 1024 },
	{ bytes: 4096, kept: 256 },
	{ bytes: 16_384, kept: 64 },
];

export class OutputBuffers {
	readonly #free: Buffer[][] = CLASSES.map(() => []);

	/** At least `bytes` long. */
	take(bytes: number): Buffer {
		for (let i = 0; i < CLASSES.length; i++) {
			if (bytes <= CLASSES[i]!.bytes) return this.#free[i]!.pop() ?? Buffer.allocUnsafeSlow(CLASSES[i]!.bytes);
		}
		return Buffer.allocUnsafeSlow(bytes);
	}

	/** Nobody else has it any more. */
	give(buffer: Buffer): void {
		for (let i = 0; i < CLASSES.length; i++) {
			if (buffer.length !== CLASSES[i]!.bytes) continue;
			if (this.#free[i]!.length < CLASSES[i]!.kept) this.#free[i]!.push(buffer);
			return;
		}
	}

	/** Lets go of half of what is kept: called once a while, so that a burst's buffers do not stay for ever. */
	shrink(): void {
		for (const free of this.#free) free.length >>= 1;
	}
}
