/**
 * Blocks: what of a bundle is read, checked and kept at a time. A block is whole record batches of one partition, as a Fetch
 * answers them, one behind the other, compressed together where that helps.
 */
import { DamageError } from "../../src/base/errors.ts";
import { BatchError, type BatchHeader, readBatchHeader } from "../../src/record/batch.ts";
import { CRC_COVERS_FROM } from "../../src/record/batch-header.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { type Compression, threadCompression } from "./compression.ts";

/** How a block's bytes are stored: 0 as they are, 1 as a zstd frame. */
type BlockCodec = 0 | 1;

export interface Block {
	/** Of its first batch. */
	readonly baseOffset: number;
	/** After its last batch. Between this and the next block's first offset there is nothing: compaction left a gap. */
	readonly nextOffset: number;
	/** In the object. */
	readonly position: number;
	readonly storedBytes: number;
	/** As record batches. */
	readonly rawBytes: number;
	/** Largest of its records; -1: none has one. */
	readonly maxTimestamp: number;
	/** CRC-32C of the stored bytes. */
	readonly crc: number;
	readonly codec: BlockCodec;
}

/** What compression must take away for a block to be stored compressed: this part of it. */
const LEAST_GAIN = 1 / 8;

/** `incompressible`: the batches are compressed already, it need not be tried. */
export async function storeBlock(
	raw: Buffer,
	incompressible: boolean,
	compression: Compression,
): Promise<{ readonly stored: Buffer; readonly codec: BlockCodec }> {
	if (!incompressible) {
		const stored = await compression.zstd(raw);
		if (stored.length <= raw.length * (1 - LEAST_GAIN)) return { stored, codec: 1 };
	}
	return { stored: raw, codec: 0 };
}

/**
 * The record batches of a block, checked: the checksum of what is stored, its size, every batch's own checksum and its
 * offsets. `stored` is what `name` has at `block.position`. Rejects with DamageError. The result may be a view of `stored`.
 */
export async function decodeBlock(
	stored: Buffer,
	block: Block,
	name: string,
	compression: Compression = threadCompression,
): Promise<Buffer> {
	const damaged = (what: string) =>
		new DamageError(name, block.position, `the block from offset ${block.baseOffset}: ${what}`);
	if (stored.length !== block.storedBytes) throw damaged(`${stored.length} bytes of ${block.storedBytes}`);
	if (crc32c(stored) !== block.crc) throw damaged("its CRC-32C is wrong");
	let raw = stored;
	if (block.codec === 1) {
		try {
			raw = await compression.unzstd(stored, block.rawBytes);
		} catch (error) {
			throw damaged(`zstd: ${(error as Error).message}`);
		}
	}
	let next = block.baseOffset;
	let maxTimestamp = -1;
	let first = true;
	try {
		forEachBatch(raw, (header) => {
			if (first ? header.baseOffset !== next : header.baseOffset < next)
				throw damaged(`offset ${header.baseOffset} where ${next} was due`);
			first = false;
			next = header.lastOffset + 1;
			maxTimestamp = Math.max(maxTimestamp, header.maxTimestamp);
		});
	} catch (error) {
		throw error instanceof BatchError ? damaged(error.message) : error;
	}
	if (next !== block.nextOffset) throw damaged(`it ends before offset ${next}, not ${block.nextOffset}`);
	if (maxTimestamp !== block.maxTimestamp)
		throw damaged(`its largest timestamp is ${maxTimestamp}, not ${block.maxTimestamp}`);
	return raw;
}

/** Checks each batch of `bytes`, which must be whole ones, header and checksum, and visits it. Throws BatchError. */
export function forEachBatch(bytes: Buffer, visit: (header: BatchHeader, position: number) => void): void {
	for (let at = 0; at < bytes.length; ) {
		const header = checkBatch(bytes, at);
		visit(header, at);
		at += header.sizeBytes;
	}
}

/** The header of the batch at `position`, whose bytes are all there and have the checksum that it says. Throws BatchError. */
export function checkBatch(bytes: Buffer, position: number): BatchHeader {
	const header = readBatchHeader(bytes, position);
	if (crc32c(bytes, position + CRC_COVERS_FROM, position + header.sizeBytes) !== header.crc)
		throw new BatchError(position, "CORRUPT_MESSAGE", "its CRC-32C is wrong");
	return header;
}
