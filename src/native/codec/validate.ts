/**
 * Looks over the raw bytes of one CBOR item (RFC 8949) before anything is made of them. Afterwards the
 * decoder cannot be led into allocating what the bytes do not hold. Accepted is what the protocol
 * uses: integers of 53 bits, byte and text strings, arrays, maps with integer or text keys, false, true, null;
 * definite lengths only, depth and counts bounded, text in UTF-8, not a byte behind the item.
 */
import { isUtf8 } from "node:buffer";
import { ProtocolError } from "./protocol.ts";

export interface ItemLimits {
	/** Arrays and maps within each other. */
	readonly maxDepth: number;
	/** Items of any kind, those inside others too. */
	readonly maxItems: number;
	readonly maxMaps: number;
}

/** What a client may send. An empty map costs one byte to send and some hundred to hold: hence the counts. */
export const REQUEST_LIMITS: ItemLimits = { maxDepth: 8, maxItems: 131_072, maxMaps: 16 };
/** What a gateway may send: a list of many topics has a map for each. */
export const ANSWER_LIMITS: ItemLimits = { maxDepth: 8, maxItems: 4_194_304, maxMaps: 262_144 };

const MAX_DEPTH = 8;

function fail(position: number, what: string): never {
	throw new ProtocolError(
		"INVALID_REQUEST",
		`not CBOR as this protocol uses it: byte ${position} of the frame: ${what}`,
	);
}

/** Throws a ProtocolError unless bytes[0..length) is exactly one acceptable item. Allocates nothing that grows with it. */
export function validateItem(bytes: Buffer, limits: ItemLimits): void {
	const end = bytes.length;
	// Items left to read at each level; a map's count is doubled, and an even count left means that a key comes next.
	const left = [1, 0, 0, 0, 0, 0, 0, 0, 0];
	const isMap = [false, false, false, false, false, false, false, false, false];
	const maxDepth = Math.min(limits.maxDepth, MAX_DEPTH);
	let depth = 0;
	let items = 0;
	let maps = 0;
	let position = 0;
	for (;;) {
		while (left[depth] === 0) {
			if (depth === 0) {
				if (position !== end) fail(position, `${end - position} bytes behind the item`);
				return;
			}
			depth--;
		}
		const isKey = isMap[depth] === true && ((left[depth] as number) & 1) === 0;
		(left[depth] as number)--;
		if (++items > limits.maxItems) fail(position, `more than ${limits.maxItems} items in one frame`);
		const start = position;
		if (position >= end) fail(position, "the item is cut short");
		const first = bytes[position++] as number;
		const major = first >> 5;
		let argument = first & 31;
		if (argument >= 24) {
			if (argument > 27) fail(start, argument === 31 ? "an indefinite length" : "a reserved additional information");
			const width = 1 << (argument - 24);
			if (end - position < width) fail(start, "the item is cut short");
			if (major === 7) fail(start, width === 1 ? "a simple value other than false, true and null" : "a float");
			if (width === 1) argument = bytes[position] as number;
			else if (width === 2) argument = bytes.readUInt16BE(position);
			else if (width === 4) argument = bytes.readUInt32BE(position);
			else {
				const high = bytes.readUInt32BE(position);
				if (high > 0x1fffff) fail(start, "a number of more than 53 bits");
				argument = high * 0x1_0000_0000 + bytes.readUInt32BE(position + 4);
			}
			position += width;
		}
		if (isKey && major !== 0 && major !== 1 && major !== 3) fail(start, "a map key that is neither integer nor text");
		switch (major) {
			case 0:
				break;
			case 1:
				if (argument === Number.MAX_SAFE_INTEGER) fail(start, "a number of more than 53 bits");
				break;
			case 2:
			case 3:
				if (argument > end - position) fail(start, `a string of ${argument} bytes where ${end - position} are left`);
				if (major === 3 && !isText(bytes, position, position + argument)) fail(start, "text that is not UTF-8");
				position += argument;
				break;
			case 4:
			case 5: {
				const count = major === 5 ? argument * 2 : argument;
				if (count > end - position) fail(start, `a count of ${argument} where ${end - position} bytes are left`);
				if (depth === maxDepth) fail(start, `more than ${maxDepth} levels of arrays and maps`);
				if (major === 5 && ++maps > limits.maxMaps) fail(start, `more than ${limits.maxMaps} maps in one frame`);
				depth++;
				left[depth] = count;
				isMap[depth] = major === 5;
				break;
			}
			case 6:
				fail(start, "a tag");
				break;
			default:
				if (argument < 20 || argument > 22) fail(start, "a simple value other than false, true and null");
		}
	}
}

function isText(bytes: Buffer, start: number, end: number): boolean {
	for (let i = start; i < end; i++) {
		if ((bytes[i] as number) >= 0x80) return isUtf8(bytes.subarray(start, end));
	}
	return true;
}
