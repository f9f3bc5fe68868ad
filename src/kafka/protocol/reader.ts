/** Reads the primitive types of Kafka's protocol from received bytes; every length is checked before it is believed. */
import { STRING_MAX_BYTES } from "./writer.ts";

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
export const ELEMENTS_MAX = 100_000;

export class Reader {
	readonly #source: Buffer;
	readonly #end: number;
	#elements = 0;
	position: number;
	/** Memory of the elements of all arrays decoded so far, roughly: it may be many times what they took on the wire. */
	decodedBytes = 0;

	/** Of `source[start..end)`. */
	constructor(source: Buffer, start = 0, end = source.length) {
		this.#source = source;
		this.position = start;
		this.#end = end;
	}

	get remaining(): number {
		return this.#end - this.position;
	}

	bool(): boolean {
		return this.int8() !== 0;
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
		const at = this.#take(16);
		const hex = this.#source.toString("hex", at, at + 16);
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

	/** Null where `nullable`. What is not UTF-8 is replaced by U+FFFD, as Kafka does it. */
	text(compact: boolean, nullable: boolean): string | null {
		const length = this.#length(compact ? this.unsignedVarint() - 1 : this.int16(), nullable);
		if (length < 0) return null;
		if (length > STRING_MAX_BYTES) throw new MalformedMessage(this.position, `a string of ${length} bytes`);
		const at = this.#take(length);
		const end = at + length;
		for (let i = at; i < end; i++) {
			if ((this.#source[i] as number) >= 0x80) return this.#source.toString("utf8", at, end);
		}
		return this.#source.toString("latin1", at, end);
	}

	/** A view; null where `nullable`. */
	bytes(compact: boolean, nullable: boolean): Buffer | null {
		const length = this.#length(compact ? this.unsignedVarint() - 1 : this.int32(), nullable);
		if (length < 0) return null;
		const at = this.#take(length);
		return this.#source.subarray(at, at + length);
	}

	/**
	 * How many elements follow, each of at least `smallestBytes` bytes here and of about `decodedBytes` when it is decoded:
	 * no more than there can be. -1: null, where `nullable`.
	 */
	arrayLength(compact: boolean, nullable: boolean, smallestBytes: number, decodedBytes: number): number {
		const length = this.#length(compact ? this.unsignedVarint() - 1 : this.int32(), nullable);
		if (length > 0) {
			this.#expectElements(length, smallestBytes);
			this.decodedBytes += length * decodedBytes;
		}
		return length;
	}

	/**
	 * Tagged fields (KIP-482), in any order, as Kafka takes them: `read` is called with each of `known` that is there;
	 * the others are skipped.
	 */
	taggedFields<T extends { readonly tag: number }>(known: readonly T[], read: (field: T) => void): void {
		const count = this.unsignedVarint();
		this.#expectElements(count, 2);
		for (let i = 0; i < count; i++) {
			const tag = this.unsignedVarint();
			const size = this.unsignedVarint();
			const field = known.find((each) => each.tag === tag);
			if (field === undefined) this.#take(size);
			else {
				const end = this.position + size;
				read(field);
				if (this.position !== end)
					throw new MalformedMessage(this.position, `tagged field ${tag} is not ${size} bytes`);
			}
		}
	}

	/** Tagged fields of which none is known. */
	skipTags(): void {
		this.taggedFields([], () => {});
	}

	/** Throws where bytes are left. */
	end(): void {
		if (this.remaining > 0) throw new MalformedMessage(this.position, `${this.remaining} bytes after the message`);
	}

	#length(length: number, nullable: boolean): number {
		if (length >= 0 && length <= 0x7fff_ffff) return length;
		if (length === -1 && nullable) return -1;
		throw new MalformedMessage(this.position, length === -1 ? "null where there is no null" : `length ${length}`);
	}

	/** Before anything is made for them. */
	#expectElements(count: number, smallestBytes: number): void {
		this.#elements += count;
		if (count * smallestBytes > this.remaining)
			throw new MalformedMessage(this.position, `${count} elements in ${this.remaining} bytes`);
		if (this.#elements > ELEMENTS_MAX)
			throw new MalformedMessage(this.position, `more than ${ELEMENTS_MAX} elements in one message`);
	}

	#take(length: number): number {
		const at = this.position;
		if (length < 0 || length > this.#end - at)
			throw new MalformedMessage(at, `${length} bytes are called for, ${this.#end - at} are there`);
		this.position = at + length;
		return at;
	}
}
