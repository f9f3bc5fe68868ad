/**
 * LZ4 in its frame format 1.6 (https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md, and
 * lz4_Block_format.md beside it), as Kafka's clients use it.
 *
 * Writing: independent blocks of 64 KiB, no sizes or checksums but the header's, as Kafka's own producer. Reading:
 * every option but dictionaries; one frame, nothing after it.
 */
import { corrupt, tooLarge } from "./compression-error.ts";
import { copyLiterals, copyMatch, hash32, read32 } from "./lz77.ts";
import { xxhash32 } from "./xxhash32.ts";

const MAGIC = 0x184d2204;
const FLAGS_VERSION_1 = 0x40;
const FLAG_INDEPENDENT = 0x20;
const FLAG_BLOCK_CHECKSUM = 0x10;
const FLAG_CONTENT_SIZE = 0x08;
const FLAG_CONTENT_CHECKSUM = 0x04;
const FLAG_RESERVED = 0x02;
const FLAG_DICTIONARY = 0x01;
const BLOCK_64_KIB = 4;
const BLOCK_BYTES = 64 * 1024;
const STORED = 0x8000_0000;

const MIN_MATCH = 4;
/** The last bytes of a block are literals, and no match begins within the last twelve. */
const LAST_LITERALS = 5;
const NO_MATCH_WITHIN = 12;
const HASH_BITS = 13;
/** A byte of a match's length stands for 255. */
const MAX_RATIO = 255;

/** Position + 1 of the last place with that hash within the block; made when first used. */
let table: Int32Array | undefined;

export function compressLz4(bytes: Uint8Array): Buffer {
	const blocks = Math.ceil(bytes.length / BLOCK_BYTES);
	const target = Buffer.allocUnsafe(7 + bytes.length + blocks * 4 + 4);
	target.writeUInt32LE(MAGIC, 0);
	target[4] = FLAGS_VERSION_1 | FLAG_INDEPENDENT;
	target[5] = BLOCK_64_KIB << 4;
	target[6] = (xxhash32(target, 4, 6) >>> 8) & 0xff;
	let at = 7;
	for (let start = 0; start < bytes.length; start += BLOCK_BYTES) {
		const end = Math.min(start + BLOCK_BYTES, bytes.length);
		const size = compressBlock(bytes, start, end, target, at + 4, at + 4 + (end - start));
		if (size === 0) {
			target.writeUInt32LE(STORED + (end - start), at);
			at = copyLiterals(target, at + 4, bytes, start, end - start);
		} else {
			target.writeUInt32LE(size, at);
			at += 4 + size;
		}
	}
	target.writeUInt32LE(0, at);
	return target.subarray(0, at + 4);
}

/** Bytes written from `at`; 0 when it would not stay below `limit`. */
function compressBlock(
	source: Uint8Array,
	start: number,
	end: number,
	target: Buffer,
	at: number,
	limit: number,
): number {
	table ??= new Int32Array(1 << HASH_BITS);
	table.fill(0);
	let to = at;
	let literals = start;
	let from = start;
	const lastMatch = end - NO_MATCH_WITHIN;
	while (from <= lastMatch) {
		const word = read32(source, from);
		const hash = hash32(word, HASH_BITS);
		const candidate = start + (table[hash] as number) - 1;
		table[hash] = from - start + 1;
		if (candidate < start || read32(source, candidate) !== word) {
			// What does not compress is passed over faster and faster.
			from += 1 + ((from - literals) >> 6);
			continue;
		}
		let length = MIN_MATCH;
		while (from + length < end - LAST_LITERALS && source[candidate + length] === source[from + length]) length += 1;
		if (to + sequenceBytes(from - literals, length) >= limit) return 0;
		to = writeLiterals(source, literals, from, target, to, Math.min(length - MIN_MATCH, 15));
		target[to++] = (from - candidate) & 0xff;
		target[to++] = (from - candidate) >>> 8;
		if (length - MIN_MATCH >= 15) to = writeLength(target, to, length - MIN_MATCH - 15);
		from += length;
		literals = from;
	}
	if (to + sequenceBytes(end - literals, MIN_MATCH) >= limit) return 0;
	return writeLiterals(source, literals, end, target, to, 0) - at;
}

/** At most: token, literals, distance, both lengths. */
function sequenceBytes(literals: number, match: number): number {
	return 5 + literals + Math.floor(literals / 255) + Math.floor(match / 255);
}

function writeLiterals(
	source: Uint8Array,
	start: number,
	end: number,
	target: Buffer,
	at: number,
	matchCode: number,
): number {
	const length = end - start;
	target[at] = (Math.min(length, 15) << 4) | matchCode;
	const to = length >= 15 ? writeLength(target, at + 1, length - 15) : at + 1;
	return copyLiterals(target, to, source, start, length);
}

function writeLength(target: Buffer, at: number, length: number): number {
	let to = at;
	let rest = length;
	for (; rest >= 255; rest -= 255) target[to++] = 255;
	target[to++] = rest;
	return to;
}

/** Throws CompressionError. */
export function decompressLz4(source: Buffer, maxBytes: number): Buffer {
	if (source.length < 7) throw corrupt("the frame's header is cut short");
	if (source.readUInt32LE(0) !== MAGIC) throw corrupt("no LZ4 frame");
	const flags = source[4] as number;
	const descriptor = source[5] as number;
	if ((flags & 0xc0) !== FLAGS_VERSION_1 || (flags & FLAG_RESERVED) !== 0 || (descriptor & 0x8f) !== 0) {
		throw corrupt("an unknown version of the frame format");
	}
	if ((flags & FLAG_DICTIONARY) !== 0) throw corrupt("a dictionary is asked for");
	const sizeCode = descriptor >>> 4;
	if (sizeCode < BLOCK_64_KIB) throw corrupt("an unknown block size");
	const blockBytes = 1 << (8 + 2 * sizeCode);
	const sized = (flags & FLAG_CONTENT_SIZE) !== 0;
	let at = sized ? 14 : 6;
	if (at >= source.length) throw corrupt("the frame's header is cut short");
	if (((xxhash32(source, 4, at) >>> 8) & 0xff) !== source[at]) throw corrupt("the frame header's checksum is wrong");
	const contentBytes = sized ? source.readUInt32LE(6) + source.readUInt32LE(10) * 0x1_0000_0000 : -1;
	if (contentBytes > maxBytes) throw tooLarge(maxBytes);
	at += 1;

	const output = new Output(source, Math.min(maxBytes, source.length * MAX_RATIO), contentBytes);
	while (true) {
		if (source.length - at < 4) throw corrupt("a block's size is cut short");
		const word = source.readUInt32LE(at);
		at += 4;
		if (word === 0) break;
		const stored = word >= STORED;
		const size = stored ? word - STORED : word;
		const checksumBytes = (flags & FLAG_BLOCK_CHECKSUM) === 0 ? 0 : 4;
		if (size > blockBytes || size + checksumBytes > source.length - at) throw corrupt(`a block of ${size} bytes`);
		const end = at + size;
		if (checksumBytes !== 0 && source.readUInt32LE(end) !== xxhash32(source, at, end)) {
			throw corrupt("a block's checksum is wrong");
		}
		output.beginBlock(blockBytes, (flags & FLAG_INDEPENDENT) !== 0, maxBytes);
		if (stored) output.literals(at, size);
		else readBlock(source, at, end, output);
		at = end + checksumBytes;
	}
	const result = output.result();
	if (sized && result.length !== contentBytes) {
		throw corrupt(`${result.length} bytes where ${contentBytes} were announced`);
	}
	if ((flags & FLAG_CONTENT_CHECKSUM) !== 0) {
		if (source.length - at < 4) throw corrupt("the content's checksum is cut short");
		if (source.readUInt32LE(at) !== xxhash32(result)) throw corrupt("the content's checksum is wrong");
		at += 4;
	}
	if (at !== source.length) throw corrupt(`${source.length - at} bytes after the end`);
	return result;
}

function readBlock(source: Buffer, start: number, end: number, output: Output): void {
	let at = start;
	while (at < end) {
		const token = source[at++] as number;
		let literals = token >>> 4;
		if (literals === 15) {
			let byte = 255;
			while (byte === 255) {
				if (at >= end) throw corrupt("a length is cut short");
				byte = source[at++] as number;
				literals += byte;
			}
		}
		if (literals > end - at) throw corrupt("literals are cut short");
		output.literals(at, literals);
		at += literals;
		// The last sequence ends with its literals.
		if (at === end) return;
		if (end - at < 2) throw corrupt("a distance is cut short");
		const distance = (source[at] as number) | ((source[at + 1] as number) << 8);
		at += 2;
		let match = (token & 15) + MIN_MATCH;
		if (match === 15 + MIN_MATCH) {
			let byte = 255;
			while (byte === 255) {
				if (at >= end) throw corrupt("a length is cut short");
				byte = source[at++] as number;
				match += byte;
			}
		}
		output.match(distance, match);
	}
	throw corrupt("a block without its last literals");
}

/** What has come out so far, in one piece, because linked blocks repeat from it; grows as it has to, never beyond the limit. */
class Output {
	readonly #source: Buffer;
	readonly #most: number;
	#bytes: Buffer;
	#length = 0;
	/** Matches may reach back to here. */
	#historyStart = 0;
	#blockEnd = 0;
	#maxBytes = 0;

	constructor(source: Buffer, most: number, expected: number) {
		this.#source = source;
		this.#most = most;
		this.#bytes = Buffer.allocUnsafeSlow(Math.min(most, expected < 0 ? 4 * source.length : expected));
	}

	beginBlock(blockBytes: number, independent: boolean, maxBytes: number): void {
		this.#blockEnd = this.#length + blockBytes;
		this.#maxBytes = maxBytes;
		if (independent) this.#historyStart = this.#length;
	}

	literals(start: number, length: number): void {
		this.#reserve(length);
		this.#length = copyLiterals(this.#bytes, this.#length, this.#source, start, length);
	}

	match(distance: number, length: number): void {
		if (distance === 0 || distance > this.#length - this.#historyStart) throw corrupt(`a match from ${distance} back`);
		this.#reserve(length);
		this.#length = copyMatch(this.#bytes, this.#length, distance, length);
	}

	result(): Buffer {
		return this.#bytes.subarray(0, this.#length);
	}

	#reserve(length: number): void {
		const needed = this.#length + length;
		if (needed > this.#maxBytes) throw tooLarge(this.#maxBytes);
		if (needed > this.#blockEnd) throw corrupt("a block is larger than the frame allows");
		if (needed <= this.#bytes.length) return;
		const grown = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(this.#most, 2 * this.#bytes.length)));
		this.#bytes.copy(grown, 0, 0, this.#length);
		this.#bytes = grown;
	}
}
