/**
 * Memory for batches being gathered, used again instead of being allocated for every commit: a fresh
 * 64 KiB costs page faults and garbage collection, a used one nothing. What lies idle is bounded.
 *
 * Buffers come in power-of-two sizes from 4 KiB to 4 MiB and each has its ArrayBuffer for itself, so that
 * whoever holds a view of one holds all of it and nothing of anybody else's. They are not zeroed.
 */
const SMALLEST_BITS = 12;
const LARGEST_BITS = 22;
const CLASSES = LARGEST_BITS - SMALLEST_BITS + 1;

/** Size of the smallest buffer, in bytes. */
export const POOL_SMALLEST_BYTES = 1 << SMALLEST_BITS;
/** Size of the largest buffer that is kept, in bytes; larger ones are made to measure and let go. */
export const POOL_LARGEST_BYTES = 1 << LARGEST_BITS;

/** A buffer of at least `minBytes`, with whatever was in it. */
export type TakeBuffer = (minBytes: number) => Buffer;

export class BufferPool {
	readonly maxIdleBytes: number;
	readonly #idle: Buffer[][] = Array.from({ length: CLASSES }, () => []);
	#idleBytes = 0;

	/** At most `maxIdleBytes` are kept for later. */
	constructor(maxIdleBytes: number) {
		this.maxIdleBytes = maxIdleBytes;
	}

	/** Bytes kept and not lent. */
	get idleBytes(): number {
		return this.#idleBytes;
	}

	/** A buffer of at least `minBytes`; its content is whatever was there. The caller owns it until it gives it back, or lets it go. */
	take(minBytes: number): Buffer {
		if (minBytes > POOL_LARGEST_BYTES) {
			const pages = Math.ceil(minBytes / POOL_SMALLEST_BYTES);
			return Buffer.allocUnsafeSlow(pages * POOL_SMALLEST_BYTES);
		}
		const sizeClass = classOf(minBytes);
		const buffer = this.#idle[sizeClass]?.pop();
		if (buffer === undefined) return Buffer.allocUnsafeSlow(1 << (sizeClass + SMALLEST_BITS));
		this.#idleBytes -= buffer.length;
		return buffer;
	}

	/** Lets go of all that is not lent. */
	clear(): void {
		for (const buffers of this.#idle) buffers.length = 0;
		this.#idleBytes = 0;
	}

	/** Takes back a whole buffer that `take` lent, which the caller must not touch again. Throws RangeError for anything else. */
	give(buffer: Buffer): void {
		const bytes = buffer.length;
		if (bytes !== buffer.buffer.byteLength || bytes < POOL_SMALLEST_BYTES || bytes % POOL_SMALLEST_BYTES !== 0) {
			throw new RangeError(`${bytes} bytes of ${buffer.buffer.byteLength} are not a whole buffer of a pool`);
		}
		if (bytes > POOL_LARGEST_BYTES) return;
		const sizeClass = classOf(bytes);
		if (bytes !== 1 << (sizeClass + SMALLEST_BITS)) {
			throw new RangeError(`no buffer of a pool has ${bytes} bytes`);
		}
		if (this.#idleBytes + bytes > this.maxIdleBytes) return;
		this.#idle[sizeClass]?.push(buffer);
		this.#idleBytes += bytes;
	}
}

/** Buffers of a pool that are wanted for one purpose, and given back together. */
export class Loan {
	readonly #pool: BufferPool;
	#lent: Buffer[] = [];

	constructor(pool: BufferPool) {
		this.#pool = pool;
	}

	/** As `BufferPool.take`. */
	readonly take: TakeBuffer = (minBytes) => {
		const buffer = this.#pool.take(minBytes);
		this.#lent.push(buffer);
		return buffer;
	};

	/** Nothing of them may be touched any more. */
	giveBack(): void {
		for (const buffer of this.#lent) this.#pool.give(buffer);
		this.#lent = [];
	}
}

/** Index of the smallest size that holds `bytes`. */
function classOf(bytes: number): number {
	return bytes <= POOL_SMALLEST_BYTES ? 0 : 32 - Math.clz32(bytes - 1) - SMALLEST_BITS;
}
