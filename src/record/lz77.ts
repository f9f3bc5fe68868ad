/** What the codecs of the LZ77 family share: finding and repeating what was there before. */

const copyBytes = Buffer.prototype.copy;
/** Measured for records as for matches: a loop is faster below. */
const COPY_BY_LOOP_BYTES = 48;

/** Copies `source[start..start + length)` to `target[at…]`; returns the position after. */
export function copyLiterals(target: Buffer, at: number, source: Uint8Array, start: number, length: number): number {
	if (length >= COPY_BY_LOOP_BYTES) {
		copyBytes.call(source, target, at, start, start + length);
	} else {
		for (let i = 0; i < length; i++) target[at + i] = source[start + i] as number;
	}
	return at + length;
}

/** Repeats `length` bytes from `distance` back, which may overlap what is being written; returns the position after. */
export function copyMatch(target: Buffer, at: number, distance: number, length: number): number {
	if (distance >= length && length >= COPY_BY_LOOP_BYTES) {
		target.copyWithin(at, at - distance, at - distance + length);
	} else if (distance === 1) {
		target.fill(target[at - 1] as number, at, at + length);
	} else {
		for (let i = 0; i < length; i++) target[at + i] = target[at + i - distance] as number;
	}
	return at + length;
}

export function read32(bytes: Uint8Array, at: number): number {
	return (
		(bytes[at] as number) |
		((bytes[at + 1] as number) << 8) |
		((bytes[at + 2] as number) << 16) |
		((bytes[at + 3] as number) << 24)
	);
}

/** A hash of four bytes, `bits` wide (the multiplier is Knuth's 2^32 / golden ratio). */
export function hash32(word: number, bits: number): number {
	return Math.imul(word, 0x9e3779b1) >>> (32 - bits);
}
