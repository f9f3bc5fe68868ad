/**
 * Kafka's variable-length integers (org.apache.kafka.common.utils.ByteUtils): zigzag varints and
 * varlongs inside records, unsigned varints in flexible protocol messages. Seven bits a byte, lowest
 * first, the high bit says that more follow.
 *
 * Writing: `write…(target, at, value)` returns the position after; the target must have room.
 * Reading: a `VarintReader` keeps its position. It is strict: a number cut short by `end`, too large, or
 * with bytes that it does not need (overlong) is a VarintError.
 *
 * Varlongs are JavaScript numbers: exact within ±(2^53 - 1), an error beyond.
 */
export const MAX_VARINT_BYTES = 5;
/** Of a varlong within ±(2^53 - 1). */
export const MAX_VARLONG_BYTES = 8;

/** A malformed variable-length integer at `position`. */
export class VarintError extends Error {
	override readonly name = "VarintError";
	readonly position: number;

	constructor(position: number, what: string) {
		super(`byte ${position}: ${what}`);
		this.position = position;
	}
}

/** `value`: an unsigned integer of 32 bits. */
export function unsignedVarintSize(value: number): number {
	if (value < 1 << 7) return 1;
	if (value < 1 << 14) return 2;
	if (value < 1 << 21) return 3;
	return value < 1 << 28 ? 4 : 5;
}

/** `value`: an integer of 32 bits. */
export function varintSize(value: number): number {
	return unsignedVarintSize(((value << 1) ^ (value >> 31)) >>> 0);
}

/** `value`: an integer within ±(2^53 - 1). */
export function varlongSize(value: number): number {
	if (value === (value | 0)) return varintSize(value);
	// Zigzag makes 2v of v and -2v - 1 of -v; up to 2^54 that halves and doubles exactly, the last bit apart.
	let half = value < 0 ? -(value + 1) : value;
	let size = 1;
	half = Math.floor(half / 64);
	while (half > 0) {
		size += 1;
		half = Math.floor(half / 128);
	}
	return size;
}

export function writeUnsignedVarint(target: Uint8Array, at: number, value: number): number {
	let rest = value >>> 0;
	let next = at;
	while (rest > 0x7f) {
		target[next++] = (rest & 0x7f) | 0x80;
		rest >>>= 7;
	}
	target[next++] = rest;
	return next;
}

export function writeVarint(target: Uint8Array, at: number, value: number): number {
	return writeUnsignedVarint(target, at, (value << 1) ^ (value >> 31));
}

/** Throws RangeError beyond ±(2^53 - 1). */
export function writeVarlong(target: Uint8Array, at: number, value: number): number {
	if (value === (value | 0)) return writeVarint(target, at, value);
	if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not an integer within 53 bits`);
	const half = value < 0 ? -(value + 1) : value;
	let next = at;
	let low = (half % 64) * 2 + (value < 0 ? 1 : 0);
	let rest = Math.floor(half / 64);
	while (rest > 0) {
		target[next++] = low | 0x80;
		low = rest % 128;
		rest = Math.floor(rest / 128);
	}
	target[next++] = low;
	return next;
}

export class VarintReader {
	bytes: Uint8Array;
	position: number;
	end: number;

	/** Reads `bytes` from `position` up to `end`, which must lie within. */
	constructor(bytes: Uint8Array, position = 0, end: number = bytes.length) {
		this.bytes = bytes;
		this.position = position;
		this.end = end;
	}

	unsignedVarint(): number {
		const { bytes, end } = this;
		const start = this.position;
		let at = start;
		if (at >= end) throw new VarintError(start, "a number is cut short");
		let byte = bytes[at++] as number;
		if (byte < 0x80) {
			this.position = at;
			return byte;
		}
		let value = byte & 0x7f;
		for (let shift = 7; shift <= 28; shift += 7) {
			if (at >= end) throw new VarintError(start, "a number is cut short");
			byte = bytes[at++] as number;
			if (byte < 0x80) {
				if (byte === 0) throw new VarintError(start, "a number is written longer than it needs");
				if (shift === 28 && byte > 0x0f) break;
				this.position = at;
				return (value | (byte << shift)) >>> 0;
			}
			value |= (byte & 0x7f) << shift;
		}
		throw new VarintError(start, "a number is larger than 32 bits");
	}

	varint(): number {
		const value = this.unsignedVarint();
		return (value >>> 1) ^ -(value & 1);
	}

	varlong(): number {
		const { bytes, end } = this;
		const start = this.position;
		let at = start;
		if (at >= end) throw new VarintError(start, "a number is cut short");
		let byte = bytes[at++] as number;
		const negative = (byte & 1) === 1;
		// The value without its zigzag bit, so that it stays exact.
		let half = (byte & 0x7f) >>> 1;
		let factor = 64;
		while (byte >= 0x80) {
			if (at >= end) throw new VarintError(start, "a number is cut short");
			byte = bytes[at++] as number;
			if (byte === 0) throw new VarintError(start, "a number is written longer than it needs");
			half += (byte & 0x7f) * factor;
			factor *= 128;
			if (half > Number.MAX_SAFE_INTEGER || at - start > MAX_VARLONG_BYTES) {
				throw new VarintError(start, "a number is larger than 53 bits");
			}
		}
		if (negative && half === Number.MAX_SAFE_INTEGER) throw new VarintError(start, "a number is larger than 53 bits");
		this.position = at;
		return negative ? -half - 1 : half;
	}
}
