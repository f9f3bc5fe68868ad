/**
 * A range's blocks in few bytes, as the catalog keeps them. A byte for the version, then varlongs: the position of the first
 * block; for each block how far its first offset lies behind the end of the one before (the range's base offset), how many
 * offsets it spans, stored bytes twice with the codec in the lowest bit, raw bytes, its timestamp less that of the one before,
 * and the checksum, four bytes big-endian.
 */
import { MAX_VARLONG_BYTES, VarintReader, writeVarlong } from "../../src/record/varint.ts";
import type { Block } from "./block.ts";

const VERSION = 1;
const CRC_BYTES = 4;
const BLOCK_BYTES_MAX = 5 * MAX_VARLONG_BYTES + CRC_BYTES;

/** What the next timestamp is told from: the one before, as far as the difference of any two such has 53 bits. */
function reference(timestamp: number): number {
	return Math.min(Math.max(timestamp, 0), 2 ** 52);
}

/** `blocks` of one range, one behind the other. `baseOffset`: the range's. */
export function encodeBlocks(blocks: readonly Block[], baseOffset: number): Buffer {
	const bytes = Buffer.allocUnsafe(1 + MAX_VARLONG_BYTES + blocks.length * BLOCK_BYTES_MAX);
	bytes[0] = VERSION;
	let at = writeVarlong(bytes, 1, blocks[0]?.position ?? 0);
	let [next, timestamp] = [baseOffset, 0];
	for (const block of blocks) {
		at = writeVarlong(bytes, at, block.baseOffset - next);
		at = writeVarlong(bytes, at, block.nextOffset - block.baseOffset);
		at = writeVarlong(bytes, at, block.storedBytes * 2 + block.codec);
		at = writeVarlong(bytes, at, block.rawBytes);
		at = writeVarlong(bytes, at, block.maxTimestamp - reference(timestamp));
		at = bytes.writeUInt32BE(block.crc, at);
		next = block.nextOffset;
		timestamp = block.maxTimestamp;
	}
	return Buffer.from(bytes.subarray(0, at));
}

/** What `encodeBlocks` made. Throws Error where it is none. */
export function decodeBlocks(bytes: Uint8Array, baseOffset: number): Block[] {
	const reader = new VarintReader(bytes);
	if (bytes[0] !== VERSION) throw new Error(`a list of blocks of version ${bytes[0]}; only ${VERSION} is known`);
	reader.position = 1;
	let position = reader.varlong();
	let [next, timestamp] = [baseOffset, 0];
	const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
	const blocks: Block[] = [];
	while (reader.position < bytes.length) {
		const from = next + reader.varlong();
		next = from + reader.varlong();
		const stored = reader.varlong();
		const rawBytes = reader.varlong();
		timestamp = reference(timestamp) + reader.varlong();
		const crc = view.readUInt32BE(reader.position);
		reader.position += CRC_BYTES;
		const storedBytes = Math.floor(stored / 2);
		const codec = (stored % 2) as 0 | 1;
		blocks.push({
			baseOffset: from,
			nextOffset: next,
			position,
			storedBytes,
			rawBytes,
			maxTimestamp: timestamp,
			crc,
			codec,
		});
		position += storedBytes;
	}
	return blocks;
}
