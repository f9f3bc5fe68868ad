/** Writes the primitive types of Kafka's protocol. Record batches are not copied: a message comes out in parts. */

const FIRST_BYTES = 256;
/** Parts below this are copied: each part of its own costs a write more than its bytes do. */
const COPIED_BELOW_BYTES = 2048;
/** Kafka has no longer strings, also where a longer one could be said. */
export const STRING_MAX_BYTES = 0x7fff;

export class Writer {
	readonly #parts: Uint8Array[] = [];
	#partsBytes = 0;
	#buffer: Buffer;
	/** Of `#buffer`: what lies before it is in `#parts`. */
	#begun = 0;
	#at = 0;

	constructor(sizeHint = FIRST_BYTES) {
		this.#buffer = Buffer.allocUnsafe(Math.max(sizeHint, 16));
	}

	/** Bytes written so far. */
	get sizeBytes(): number {
		return this.#partsBytes + this.#at - this.#begun;
	}

	/** All that was written, in order; the writer is used up. */
	take(): Uint8Array[] {
		this.#closePart();
		return this.#parts;
	}

	/** As `take`, where the first four bytes were kept free for the size of all that follows them. */
	takeFrame(): Uint8Array[] {
		const sizeBytes = this.sizeBytes - 4;
		const parts = this.take();
		// What is written first is never a part of somebody else's.
		(parts[0] as Buffer).writeInt32BE(sizeBytes, 0);
		return parts;
	}

	int8(value: number): void {
		const at = this.#room(1);
		this.#buffer.writeInt8(value, at);
	}

	int16(value: number): void {
		const at = this.#room(2);
		this.#buffer.writeInt16BE(value, at);
	}

	uint16(value: number): void {
		const at = this.#room(2);
		this.#buffer.writeUInt16BE(value, at);
	}

	int32(value: number): void {
		const at = this.#room(4);
		this.#buffer.writeInt32BE(value, at);
	}

	uint32(value: number): void {
		const at = this.#room(4);
		this.#buffer.writeUInt32BE(value, at);
	}

	/** An integer; beyond 53 bits the largest or smallest that Kafka has. */
	int64(value: number): void {
		const at = this.#room(8);
		if (Number.isSafeInteger(value)) {
			const high = Math.floor(value / 0x1_0000_0000);
			this.#buffer.writeInt32BE(high, at);
			this.#buffer.writeUInt32BE(value - high * 0x1_0000_0000, at + 4);
		} else {
			if (Number.isNaN(value) || (Number.isFinite(value) && !Number.isInteger(value)))
				throw new RangeError(`${value} is no integer`);
			this.#buffer.writeBigInt64BE(clamp(value), at);
		}
	}

	float64(value: number): void {
		const at = this.#room(8);
		this.#buffer.writeDoubleBE(value, at);
	}

	uuid(value: string): void {
		const at = this.#room(16);
		if (this.#buffer.write(value.replaceAll("-", ""), at, "hex") !== 16)
			throw new RangeError(`${JSON.stringify(value)} is no UUID`);
	}

	unsignedVarint(value: number): void {
		let rest = value;
		while (rest > 0x7f) {
			const at = this.#room(1);
			this.#buffer[at] = (rest & 0x7f) | 0x80;
			rest = Math.floor(rest / 128);
		}
		const at = this.#room(1);
		this.#buffer[at] = rest;
	}

	text(value: string, compact: boolean): void {
		const length = Buffer.byteLength(value);
		if (length > STRING_MAX_BYTES) throw new RangeError(`a string of ${length} bytes`);
		if (compact) this.unsignedVarint(length + 1);
		else this.int16(length);
		const at = this.#room(length);
		this.#buffer.write(value, at);
	}

	bytes(value: Uint8Array, compact: boolean): void {
		this.arrayLength(value.length, compact);
		this.#raw(value);
	}

	/** `parts` as one run of bytes; large ones are not copied and must not change any more. */
	parts(parts: readonly Uint8Array[], compact: boolean): void {
		let length = 0;
		for (const part of parts) length += part.length;
		this.arrayLength(length, compact);
		for (const part of parts) this.#raw(part);
	}

	arrayLength(length: number, compact: boolean): void {
		if (compact) this.unsignedVarint(length + 1);
		else this.int32(length);
	}

	/** Null in place of a length of `bytes` bytes. */
	nullLength(compact: boolean, bytes: 2 | 4, allowed: boolean): void {
		if (!allowed) throw new TypeError("null where this version has no null");
		if (compact) this.unsignedVarint(0);
		else if (bytes === 2) this.int16(-1);
		else this.int32(-1);
	}

	/** What `write` writes, behind its size as a varint. */
	sized(write: (inner: Writer) => void): void {
		const inner = new Writer();
		write(inner);
		this.unsignedVarint(inner.sizeBytes);
		for (const part of inner.take()) this.#raw(part);
	}

	#raw(value: Uint8Array): void {
		if (value.length < COPIED_BELOW_BYTES) {
			const at = this.#room(value.length);
			this.#buffer.set(value, at);
			return;
		}
		this.#closePart();
		this.#parts.push(value);
		this.#partsBytes += value.length;
	}

	#closePart(): void {
		if (this.#at === this.#begun) return;
		this.#parts.push(this.#buffer.subarray(this.#begun, this.#at));
		this.#partsBytes += this.#at - this.#begun;
		this.#begun = this.#at;
	}

	/** Position of the next `bytes` bytes; `#buffer` may be another one afterwards. */
	#room(bytes: number): number {
		const at = this.#at;
		if (at + bytes <= this.#buffer.length) {
			this.#at = at + bytes;
			return at;
		}
		const begun = this.#at - this.#begun;
		const grown = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, begun + bytes + FIRST_BYTES));
		this.#buffer.copy(grown, 0, this.#begun, this.#at);
		this.#buffer = grown;
		this.#begun = 0;
		this.#at = begun + bytes;
		return begun;
	}
}

const INT64_MAX = 0x7fff_ffff_ffff_ffffn;

function clamp(value: number): bigint {
	if (value >= 2 ** 63) return INT64_MAX;
	if (value <= -(2 ** 63)) return -INT64_MAX - 1n;
	return BigInt(value);
}
