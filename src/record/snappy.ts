/**
 * Snappy (https://github.com/google/snappy/blob/main/format_description.txt), raw and in the framing of
 * snappy-java that Kafka's clients use: magic, version, oldest compatible version, then blocks, each behind
 * its length (i32, big-endian).
 *
 * Writing: framed, blocks of 32 KiB, as snappy-java. Reading: either.
 */
import { corrupt, tooLarge } from "./compression-error.ts";
import { copyLiterals, copyMatch, hash32, read32 } from "./lz77.ts";

const MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const VERSION = 1;
const HEADER_BYTES = 16;
const BLOCK_BYTES = 32 * 1024;
const HASH_BITS = 13;
/** A copy of three bytes makes 64: the most that comes out of one is 21 1/3. */
const MAX_RATIO = 22;

/** Position + 1 of the last place with that hash within the block; made when first used. */
let table: Uint16Array | undefined;

export function compressSnappy(bytes: Uint8Array): Buffer {
	const blocks = Math.ceil(bytes.length / BLOCK_BYTES);
	// Incompressible: per block its two lengths and one literal's, 3 bytes each at most; a literal after a copy costs no more than the copy saved.
	const target = Buffer.allocUnsafe(HEADER_BYTES + bytes.length + Math.ceil(bytes.length / 6) + blocks * 16);
	MAGIC.copy(target);
	target.writeInt32BE(VERSION, 8);
	target.writeInt32BE(VERSION, 12);
	let at = HEADER_BYTES;
	for (let start = 0; start < bytes.length; start += BLOCK_BYTES) {
		const end = Math.min(start + BLOCK_BYTES, bytes.length);
		const next = compressBlock(bytes, start, end, target, at + 4);
		target.writeInt32BE(next - at - 4, at);
		at = next;
	}
	return target.subarray(0, at);
}

function compressBlock(source: Uint8Array, start: number, end: number, target: Buffer, at: number): number {
	table ??= new Uint16Array(1 << HASH_BITS);
	table.fill(0);
	let to = at;
	for (let length = end - start; ; length >>>= 7) {
		target[to++] = length > 0x7f ? (length & 0x7f) | 0x80 : length;
		if (length <= 0x7f) break;
	}
	let literals = start;
	let from = start;
	while (from + 4 <= end) {
		const word = read32(source, from);
		const hash = hash32(word, HASH_BITS);
		const candidate = start + (table[hash] as number) - 1;
		table[hash] = from - start + 1;
		if (candidate < start || read32(source, candidate) !== word) {
			// What does not compress is passed over faster and faster.
			from += 1 + ((from - literals) >> 5);
			continue;
		}
		to = writeLiteral(source, literals, from, target, to);
		let length = 4;
		while (from + length < end && source[candidate + length] === source[from + length]) length += 1;
		to = writeCopy(from - candidate, length, target, to);
		from += length;
		literals = from;
	}
	return writeLiteral(source, literals, end, target, to);
}

function writeLiteral(source: Uint8Array, start: number, end: number, target: Buffer, at: number): number {
	const length = end - start;
	if (length === 0) return at;
	let to = at;
	const code = length - 1;
	if (code < 60) target[to++] = code << 2;
	else if (code < 0x100) {
		target[to++] = 60 << 2;
		target[to++] = code;
	} else {
		target[to++] = 61 << 2;
		target[to++] = code & 0xff;
		target[to++] = code >>> 8;
	}
	return copyLiterals(target, to, source, start, length);
}

/** Copies of up to 64 bytes with a distance of 16 bits. */
function writeCopy(distance: number, matchLength: number, target: Buffer, at: number): number {
	let to = at;
	for (let length = matchLength; length > 0; ) {
		const part = Math.min(length, 64);
		target[to++] = ((part - 1) << 2) | 2;
		target[to++] = distance & 0xff;
		target[to++] = distance >>> 8;
		length -= part;
	}
	return to;
}

/** Throws CompressionError. */
export function decompressSnappy(source: Buffer, maxBytes: number): Buffer {
	if (source.length < MAGIC.length || !source.subarray(0, MAGIC.length).equals(MAGIC)) {
		const raw = Buffer.allocUnsafeSlow(announced(source, 0, source.length, maxBytes));
		readBlock(source, 0, source.length, raw, 0, raw.length);
		return raw;
	}
	if (source.length < HEADER_BYTES) throw corrupt("the header is cut short");
	if (source.readInt32BE(12) < VERSION) throw corrupt(`a format older than ${VERSION}`);
	let total = 0;
	for (let at = HEADER_BYTES; at < source.length; ) {
		if (source.length - at < 4) throw corrupt("a block's length is cut short");
		const length = source.readInt32BE(at);
		at += 4;
		if (length < 0 || length > source.length - at) throw corrupt(`a block of ${length} bytes`);
		total += announced(source, at, at + length, maxBytes);
		if (total > maxBytes) throw tooLarge(maxBytes);
		at += length;
	}
	const target = Buffer.allocUnsafeSlow(total);
	let to = 0;
	for (let at = HEADER_BYTES; at < source.length; ) {
		const end = at + 4 + source.readInt32BE(at);
		const length = announced(source, at + 4, end, maxBytes);
		readBlock(source, at + 4, end, target, to, to + length);
		to += length;
		at = end;
	}
	return target;
}

/** How much a block says will come out of it, as far as that is possible. */
function announced(source: Buffer, start: number, end: number, maxBytes: number): number {
	let length = 0;
	for (let i = 0; ; i++) {
		if (start + i >= end || i === 5) throw corrupt("no length");
		const byte = source[start + i] as number;
		length += (byte & 0x7f) * 2 ** (7 * i);
		if (byte < 0x80) break;
	}
	if (length > maxBytes) throw tooLarge(maxBytes);
	if (length > (end - start) * MAX_RATIO) throw corrupt(`${length} bytes cannot come out of ${end - start}`);
	return length;
}

/** Fills target[to..targetEnd) exactly. */
function readBlock(source: Buffer, start: number, end: number, target: Buffer, to: number, targetEnd: number): void {
	let at = start;
	while ((source[at++] as number) > 0x7f) {
		// The length has been read.
	}
	let out = to;
	while (at < end) {
		const tag = source[at++] as number;
		const kind = tag & 3;
		if (kind === 0) {
			let length = (tag >>> 2) + 1;
			if (length > 60) {
				const extra = length - 60;
				if (extra > end - at) throw corrupt("a literal's length is cut short");
				length = source.readUIntLE(at, extra) + 1;
				at += extra;
			}
			if (length > end - at || length > targetEnd - out) throw corrupt(`a literal of ${length} bytes`);
			out = copyLiterals(target, out, source, at, length);
			at += length;
			continue;
		}
		const extra = kind === 3 ? 4 : kind;
		if (extra > end - at) throw corrupt("a copy is cut short");
		const length = kind === 1 ? 4 + ((tag >>> 2) & 7) : 1 + (tag >>> 2);
		const distance = kind === 1 ? ((tag >>> 5) << 8) | (source[at] as number) : source.readUIntLE(at, extra);
		at += extra;
		if (distance === 0 || distance > out - to) throw corrupt(`a copy from ${distance} back`);
		if (length > targetEnd - out) throw corrupt("more bytes than were announced");
		out = copyMatch(target, out, distance, length);
	}
	if (out !== targetEnd) throw corrupt(`${out - to} bytes where ${targetEnd - to} were announced`);
}
