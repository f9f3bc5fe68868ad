/** Reads the primitive types of Kafka's protocol from received bytes; every length is checked before it is believed. */
import { isUtf8 } from "node:buffer";

/** Bytes that are not the message they should be; `position` is where. */
export class MalformedMessage extends Error {
	override readonly name = "MalformedMessage";
	readonly position: number;

	constructor(position: number, what: string) {
		super(`byte ${position}: ${what}`);
		this.position = position;
	}
}

/** All arrays of a message together: each element costs an object, however few bytes it took on the wire. */
const ELEMENTS_MAX = 250_000;
const HEX = 16;

export class Reader {
	readonly #source: Buffer;
	readonly #end: number;
	#elements = 0;
	position: number;

	/** Of `source[start..end)`. */
	constructor(source: Buffer, start = 0, end = source.length) {
		this.#source = source;
		this.position = start;
		this.#end = end;
	}

	get remaining(): number {
		return this.#end - this.position;
	}

	int8(): number {
		return this.#source.readInt8(this.#take(1));
	}

	int16(): number {
		return this.#source.readInt16BE(this.#take(2));
	}

	uint16(): number {
		return this.#source.readUInt16BE(this.#take(2));
	}

	int32(): number {
		return this.#source.readInt32BE(this.#take(4));
	}

	uint32(): number {
		return this.#source.readUInt32BE(this.#take(4));
	}

	/** Rounded beyond 53 bits. */
	int64(): number {
		const at = this.#take(8);
		return this.#source.readInt32BE(at) * 0x1_0000_0000 + this.#source.readUInt32BE(at + 4);
	}

	float64(): number {
		return this.#source.readDoubleBE(this.#take(8));
	}

	uuid(): string {
		const hex = this.bytes(HEX).toString("hex");
		return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
	}

	unsignedVarint(): number {
		let value = 0;
		for (let shift = 0; shift < 35; shift += 7) {
			const byte = this.#source[this.#take(1)] as number;
			value += (byte & 0x7f) * 2 ** shift;
			if (byte < 0x80) {
				if (value > 0xffff_ffff) break;
				return value;
			}
		}
		throw new MalformedMessage(this.position, "a varint beyond 32 bits");
	}

	/** A length in flexible versions: one is added to it, 0 is null (-1). */
	compactLength(): number {
		const value = this.unsignedVarint() - 1;
		if (value > 0x7fff_ffff) throw new MalformedMessage(this.position, `length ${value}`);
		return value;
	}

	text(length: number): string {
		const at = this.#take(length);
		const end = at + length;
		for (let i = at; i < end; i++) {
			if ((this.#source[i] as number) < 0x80) continue;
			if (!isUtf8(this.#source.subarray(at, end))) throw new MalformedMessage(at, "a string is not UTF-8");
			return this.#source.toString("utf8", at, end);
		}
		return this.#source.toString("latin1", at, end);
	}

	/** A view. */
	bytes(length: number): Buffer {
		const at = this.#take(length);
		return this.#source.subarray(at, at + length);
	}

	skip(length: number): void {
		this.#take(length);
	}

	/** Before anything is made for `count` elements of at least `smallestBytes` each. */
	expectElements(count: number, smallestBytes: number): void {
		this.#elements += count;
		if (count * smallestBytes > this.remaining)
			throw new MalformedMessage(this.position, `${count} elements in ${this.remaining} bytes`);
		if (this.#elements > ELEMENTS_MAX)
			throw new MalformedMessage(this.position, `more than ${ELEMENTS_MAX} elements in one message`);
	}

	/** Throws where bytes are left. */
	end(): void {
		if (this.remaining > 0) throw new MalformedMessage(this.position, `${this.remaining} bytes after the message`);
	}

	#take(length: number): number {
		const at = this.position;
		if (length < 0 || length > this.#end - at)
			throw new MalformedMessage(at, `${length} bytes are called for, ${this.#end - at} are there`);
		this.position = at + length;
		return at;
	}
}
