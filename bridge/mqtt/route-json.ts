/**
 * Fields of JSON payloads for routes, found in place in one pass: nothing of the payload is made into objects, only the
 * positions of the fields that routes ask for are kept. Bounded: a payload that is large, deep or not JSON (RFC 8259) has no
 * fields. A name that comes twice counts where it comes last, as JSON.parse has it.
 */
import { isUtf8 } from "node:buffer";

export const JSON_BYTES_MAX = 65_536;
export const JSON_DEPTH_MAX = 32;
/** A field lies in as many objects and arrays as its path has names. */
export const PATH_NAMES_MAX = JSON_DEPTH_MAX;

const NONE = Buffer.alloc(0);
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

class PathNode {
	readonly name: string;
	readonly bytes: Buffer;
	/** As an array's index; -1: it is none. */
	readonly index: number;
	readonly children: PathNode[] = [];
	slot = -1;

	constructor(name: string) {
		this.name = name;
		this.bytes = Buffer.from(name, "utf8");
		this.index = /^(0|[1-9][0-9]{0,8})$/.test(name) ? Number(name) : -1;
	}
}

export class JsonFields {
	readonly #root = new PathNode("");
	/** By slot; -1: not there. */
	readonly #starts: number[] = [];
	readonly #ends: number[] = [];
	#source: Buffer = NONE;
	#at = 0;
	#end = 0;
	/** Whether the string last scanned has a backslash. */
	#escaped = false;

	/** The slot of a field, given by the names on the way to it; the same path, the same slot. */
	add(path: readonly string[]): number {
		let node = this.#root;
		for (const name of path) {
			let child = node.children.find((each) => each.name === name);
			if (child === undefined) {
				child = new PathNode(name);
				node.children.push(child);
			}
			node = child;
		}
		if (node.slot < 0) node.slot = this.#starts.push(-1) - 1;
		return node.slot;
	}

	/** Reads source[start..end), which has to stay as it is until the last `text`. */
	read(source: Buffer, start: number, end: number): void {
		this.#starts.fill(-1);
		if (end - start > JSON_BYTES_MAX || !isUtf8(source.subarray(start, end))) return;
		this.#source = source;
		this.#at = start;
		this.#end = end;
		this.#space();
		const sound = this.#value(this.#root, 0);
		this.#space();
		if (!sound || this.#at !== end) this.#starts.fill(-1);
	}

	/** A string's characters, a number as it is written, true or false; undefined for null, objects, arrays, and no field. */
	text(slot: number): string | undefined {
		const start = this.#starts[slot]!;
		if (start < 0) return undefined;
		const first = this.#source[start]!;
		if (first === 0x7b || first === 0x5b || first === 0x6e) return undefined;
		const written = this.#source.toString("utf8", start, this.#ends[slot]);
		if (first !== QUOTE) return written;
		if (!written.includes("\\")) return written.slice(1, -1);
		const text = JSON.parse(written) as string;
		return text.isWellFormed() ? text : undefined; // half a surrogate pair is no character
	}

	/** Whether it is a number. */
	isNumber(slot: number): boolean {
		const start = this.#starts[slot]!;
		if (start < 0) return false;
		const first = this.#source[start]!;
		return first === 0x2d || isDigit(first);
	}

	#space(): void {
		while (this.#at < this.#end) {
			const byte = this.#source[this.#at]!;
			if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
			this.#at++;
		}
	}

	#peek(): number {
		return this.#at < this.#end ? this.#source[this.#at]! : -1;
	}

	/** One value; what `node` asks for is noted. False: this is no JSON, or too deep. */
	#value(node: PathNode | undefined, depth: number): boolean {
		const start = this.#at;
		if (!this.#anyValue(node, depth)) return false;
		if (node !== undefined && node.slot >= 0) {
			this.#starts[node.slot] = start;
			this.#ends[node.slot] = this.#at;
		}
		return true;
	}

	#anyValue(node: PathNode | undefined, depth: number): boolean {
		const first = this.#peek();
		if (first === QUOTE) return this.#string();
		if (first === 0x7b) return depth < JSON_DEPTH_MAX && this.#object(node, depth + 1);
		if (first === 0x5b) return depth < JSON_DEPTH_MAX && this.#array(node, depth + 1);
		if (first === 0x74) return this.#word("true");
		if (first === 0x66) return this.#word("false");
		if (first === 0x6e) return this.#word("null");
		return this.#number();
	}

	#object(node: PathNode | undefined, depth: number): boolean {
		this.#at++;
		this.#space();
		if (this.#peek() === 0x7d) {
			this.#at++;
			return true;
		}
		for (;;) {
			const start = this.#at;
			if (this.#peek() !== QUOTE || !this.#string()) return false;
			const child = node === undefined ? undefined : this.#childNamed(node, start + 1, this.#at - 1);
			if (child !== undefined) this.#forget(child);
			this.#space();
			if (this.#peek() !== 0x3a) return false;
			this.#at++;
			this.#space();
			if (!this.#value(child, depth)) return false;
			this.#space();
			const next = this.#peek();
			this.#at++;
			if (next === 0x7d) return true;
			if (next !== 0x2c) return false;
			this.#space();
		}
	}

	#array(node: PathNode | undefined, depth: number): boolean {
		this.#at++;
		this.#space();
		if (this.#peek() === 0x5d) {
			this.#at++;
			return true;
		}
		for (let index = 0; ; index++) {
			if (
				!this.#value(
					node?.children.find((each) => each.index === index),
					depth,
				)
			)
				return false;
			this.#space();
			const next = this.#peek();
			this.#at++;
			if (next === 0x5d) return true;
			if (next !== 0x2c) return false;
			this.#space();
		}
	}

	#childNamed(node: PathNode, start: number, end: number): PathNode | undefined {
		if (this.#escaped) {
			const name = JSON.parse(this.#source.toString("utf8", start - 1, end + 1)) as string;
			return node.children.find((each) => each.name === name);
		}
		for (const child of node.children) {
			const { bytes } = child;
			if (bytes.length === end - start && this.#source.compare(bytes, 0, bytes.length, start, end) === 0) return child;
		}
		return undefined;
	}

	/** The name comes again: what its former value had is void. */
	#forget(node: PathNode): void {
		if (node.slot >= 0) this.#starts[node.slot] = -1;
		for (const child of node.children) this.#forget(child);
	}

	#string(): boolean {
		this.#escaped = false;
		for (this.#at++; this.#at < this.#end; this.#at++) {
			const byte = this.#source[this.#at]!;
			if (byte === QUOTE) {
				this.#at++;
				return true;
			}
			if (byte < 0x20) return false;
			if (byte !== BACKSLASH) continue;
			this.#escaped = true;
			this.#at++;
			if (!this.#escape()) return false;
		}
		return false;
	}

	/** Ends on the escape's last character. */
	#escape(): boolean {
		const byte = this.#peek();
		if (byte !== 0x75) return byte >= 0 && '"\\/bfnrt'.includes(String.fromCharCode(byte));
		for (let i = 0; i < 4; i++) {
			this.#at++;
			const digit = this.#peek();
			const letter = digit | 0x20;
			if (!isDigit(digit) && (letter < 0x61 || letter > 0x66)) return false;
		}
		return true;
	}

	#word(word: string): boolean {
		for (let i = 0; i < word.length; i++) {
			if (this.#peek() !== word.charCodeAt(i)) return false;
			this.#at++;
		}
		return true;
	}

	#number(): boolean {
		if (this.#peek() === 0x2d) this.#at++;
		if (this.#peek() === 0x30) this.#at++;
		else if (!this.#digits()) return false;
		if (this.#peek() === 0x2e) {
			this.#at++;
			if (!this.#digits()) return false;
		}
		if ((this.#peek() | 0x20) === 0x65) {
			this.#at++;
			const sign = this.#peek();
			if (sign === 0x2b || sign === 0x2d) this.#at++;
			if (!this.#digits()) return false;
		}
		return true;
	}

	#digits(): boolean {
		const start = this.#at;
		while (isDigit(this.#peek())) this.#at++;
		return this.#at > start;
	}
}

function isDigit(byte: number): boolean {
	return byte >= 0x30 && byte <= 0x39;
}
