/** The data types of section 1.5, written strictly: what the standard does not allow is a TypeError, never bytes. */
import { MAX_REMAINING_LENGTH } from "./framing.ts";

/** Room kept before a packet's body for its fixed header, whose length is known only after the body. */
const HEADER_BYTES = 5;

export class Writer {
	#buffer = Buffer.allocUnsafe(256);
	#end = HEADER_BYTES;

	/** Bytes of body so far. */
	get length(): number {
		return this.#end - HEADER_BYTES;
	}

	byte(value: number): void {
		this.#reserve(1);
		this.#buffer[this.#end++] = value;
	}

	uint16(value: number, what: string): void {
		checkInteger(value, 0xffff, what);
		this.#reserve(2);
		this.#end = this.#buffer.writeUInt16BE(value, this.#end);
	}

	uint32(value: number, what: string): void {
		checkInteger(value, 0xffff_ffff, what);
		this.#reserve(4);
		this.#end = this.#buffer.writeUInt32BE(value, this.#end);
	}

	variableByteInteger(value: number, what: string): void {
		checkInteger(value, MAX_REMAINING_LENGTH, what);
		this.#reserve(4);
		this.#end = writeVariableByteInteger(this.#buffer, this.#end, value);
	}

	text(value: string, what: string): void {
		if (typeof value !== "string") throw new TypeError(`${what} must be a string`);
		if (!value.isWellFormed())
			throw new TypeError(`${what} holds a lone surrogate, which UTF-8 cannot say [MQTT-1.5.4-1]`);
		if (value.includes("\0")) throw new TypeError(`${what} holds U+0000 [MQTT-1.5.4-2]`);
		const length = Buffer.byteLength(value);
		this.#checkLength(length, what);
		this.uint16(length, what);
		this.#reserve(length);
		this.#end += this.#buffer.write(value, this.#end);
	}

	binary(value: Uint8Array, what: string): void {
		this.#checkLength(value.length, what);
		this.uint16(value.length, what);
		this.bytes(value);
	}

	bytes(value: Uint8Array): void {
		this.#reserve(value.length);
		this.#buffer.set(value, this.#end);
		this.#end += value.length;
	}

	packetId(value: number): void {
		if (value === 0) throw new TypeError("the Packet Identifier must not be 0");
		this.uint16(value, "the Packet Identifier");
	}

	/** The packet: fixed header with this first byte, and the body written so far. */
	packet(firstByte: number): Buffer {
		const sizeBytes = variableByteIntegerSize(this.#remaining("the packet"));
		const start = HEADER_BYTES - 1 - sizeBytes;
		this.#buffer[start] = firstByte;
		writeVariableByteInteger(this.#buffer, start + 1, this.length);
		return this.#buffer.subarray(start, this.#end);
	}

	/** The body with its length before it, as properties are framed. */
	lengthPrefixed(): Buffer {
		const start = HEADER_BYTES - variableByteIntegerSize(this.#remaining("the properties"));
		writeVariableByteInteger(this.#buffer, start, this.length);
		return this.#buffer.subarray(start, this.#end);
	}

	#remaining(what: string): number {
		if (this.length > MAX_REMAINING_LENGTH) {
			throw new TypeError(`${what} would be longer than ${MAX_REMAINING_LENGTH} bytes`);
		}
		return this.length;
	}

	#checkLength(length: number, what: string): void {
		if (length > 0xffff) throw new TypeError(`${what} has ${length} bytes; 65535 are the most`);
	}

	#reserve(bytes: number): void {
		const needed = this.#end + bytes;
		if (needed <= this.#buffer.length) return;
		const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
		this.#buffer.copy(larger, 0, 0, this.#end);
		this.#buffer = larger;
	}
}

function checkInteger(value: number, maximum: number, what: string): void {
	if (!Number.isInteger(value) || value < 0 || value > maximum) {
		throw new TypeError(`${what} must be a whole number from 0 to ${maximum}, not ${value}`);
	}
}

/** Bytes that `value` takes as a Variable Byte Integer. */
export function variableByteIntegerSize(value: number): number {
	return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4;
}

/** Writes `value` (0 to 268,435,455) in the fewest bytes [MQTT-1.5.5-1]; returns the position after it. */
export function writeVariableByteInteger(target: Uint8Array, at: number, value: number): number {
	let rest = value;
	let next = at;
	while (rest >= 0x80) {
		target[next++] = (rest & 0x7f) | 0x80;
		rest >>>= 7;
	}
	target[next++] = rest;
	return next;
}
