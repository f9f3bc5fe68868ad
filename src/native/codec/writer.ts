/**
 * Writes CBOR (RFC 8949) in its shortest form and frames around it. (cbor-x is not used for this: it writes numbers above 2^32
 * as floats, which a small device should not have to read.)
 */
import { FRAME_HEADER_BYTES } from "./protocol.ts";

export type CborValue =
	| number
	| string
	| boolean
	| null
	| Uint8Array
	| readonly CborValue[]
	| ReadonlyMap<number | string, CborValue>
	| { readonly [name: string]: CborValue };

export class CborWriter {
	#bytes: Buffer;
	#at = 0;
	#frameStart = 0;

	constructor(initialBytes = 256) {
		this.#bytes = Buffer.allocUnsafe(initialBytes);
	}

	/** Bytes written so far, frame headers included. */
	get sizeBytes(): number {
		return this.#at;
	}

	/** All that was written; the writer starts afresh with a buffer of its own. */
	take(): Buffer {
		const taken = this.#bytes.subarray(0, this.#at);
		this.#bytes = Buffer.allocUnsafe(256);
		this.#at = 0;
		return taken;
	}

	/** Leaves room for a frame's length; `endFrame` fills it in. */
	beginFrame(): this {
		this.#need(FRAME_HEADER_BYTES);
		this.#frameStart = this.#at;
		this.#at += FRAME_HEADER_BYTES;
		return this;
	}

	endFrame(): this {
		this.#bytes.writeUInt32BE(this.#at - this.#frameStart - FRAME_HEADER_BYTES, this.#frameStart);
		return this;
	}

	/** The frame [type, id, ...: the caller writes the body and ends the frame. */
	beginMessage(type: number, id: number): this {
		return this.beginFrame().array(3).uint(type).uint(id);
	}

	uint(value: number): this {
		this.#head(0, value);
		return this;
	}

	int(value: number): this {
		if (value < 0) this.#head(0x20, -1 - value);
		else this.#head(0, value);
		return this;
	}

	text(value: string): this {
		const length = Buffer.byteLength(value);
		this.#head(0x60, length);
		this.#need(length);
		this.#at += this.#bytes.write(value, this.#at, length, "utf8");
		return this;
	}

	bytes(value: Uint8Array | null): this {
		return value === null ? this.null() : this.bytesOf(value, 0, value.length);
	}

	bytesOf(source: Uint8Array, start: number, end: number): this {
		this.#head(0x40, end - start);
		return this.raw(source, start, end);
	}

	/** Text that is UTF-8 already. */
	textOf(source: Uint8Array, start: number, end: number): this {
		this.#head(0x60, end - start);
		return this.raw(source, start, end);
	}

	/** Bytes that are CBOR already. */
	raw(source: Uint8Array, start = 0, end = source.length): this {
		this.#need(end - start);
		if (start === 0 && end === source.length) this.#bytes.set(source, this.#at);
		else this.#bytes.set(source.subarray(start, end), this.#at);
		this.#at += end - start;
		return this;
	}

	array(count: number): this {
		this.#head(0x80, count);
		return this;
	}

	map(count: number): this {
		this.#head(0xa0, count);
		return this;
	}

	bool(value: boolean): this {
		this.#need(1);
		this.#bytes[this.#at++] = value ? 0xf5 : 0xf4;
		return this;
	}

	null(): this {
		this.#need(1);
		this.#bytes[this.#at++] = 0xf6;
		return this;
	}

	/** Any value; numbers are rounded to whole ones. */
	value(value: CborValue): this {
		if (value === null) return this.null();
		if (typeof value === "number") return this.int(Math.round(value));
		if (typeof value === "string") return this.text(value);
		if (typeof value === "boolean") return this.bool(value);
		if (value instanceof Uint8Array) return this.bytes(value);
		if (Array.isArray(value)) {
			this.array(value.length);
			for (const item of value) this.value(item);
			return this;
		}
		const entries = value instanceof Map ? [...value] : Object.entries(value);
		this.map(entries.length);
		for (const [key, item] of entries) {
			if (typeof key === "number") this.int(key);
			else this.text(key);
			this.value(item);
		}
		return this;
	}

	/** What a head with this argument takes, in bytes. */
	static headBytes(argument: number): number {
		if (argument < 24) return 1;
		if (argument < 0x100) return 2;
		if (argument < 0x1_0000) return 3;
		return argument < 0x1_0000_0000 ? 5 : 9;
	}

	#head(major: number, argument: number): void {
		this.#need(9);
		const bytes = this.#bytes;
		if (argument < 24) {
			bytes[this.#at++] = major | argument;
		} else if (argument < 0x100) {
			bytes[this.#at++] = major | 24;
			bytes[this.#at++] = argument;
		} else if (argument < 0x1_0000) {
			bytes[this.#at] = major | 25;
			bytes.writeUInt16BE(argument, this.#at + 1);
			this.#at += 3;
		} else if (argument < 0x1_0000_0000) {
			bytes[this.#at] = major | 26;
			bytes.writeUInt32BE(argument, this.#at + 1);
			this.#at += 5;
		} else {
			bytes[this.#at] = major | 27;
			bytes.writeUInt32BE(Math.floor(argument / 0x1_0000_0000), this.#at + 1);
			bytes.writeUInt32BE(argument % 0x1_0000_0000, this.#at + 5);
			this.#at += 9;
		}
	}

	#need(count: number): void {
		if (this.#at + count <= this.#bytes.length) return;
		const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + count));
		larger.set(this.#bytes.subarray(0, this.#at));
		this.#bytes = larger;
	}
}
