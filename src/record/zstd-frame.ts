/** A fault of Node's zstd, and the ways round it that every caller takes. */

const MARGIN_BYTES = 1024;

/**
 * More than the zstd frame of so many bytes has: the chunk for Node's zstdCompress. Behind a frame that ends just where a chunk
 * does Node (24.21) puts an empty one, and who expects one frame takes that for damage.
 */
export function zstdChunkBytes(rawBytes: number): number {
	return rawBytes + (rawBytes >>> 8) + MARGIN_BYTES;
}

const HEADER_MIN_BYTES = 5;
const SINGLE_SEGMENT = 0x20;
const CONTENT_CHECKSUM = 0x04;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;
const BLOCK_HEAD_BYTES = 3;
const RLE_BLOCK = 1;

/** Length of the whole frame that `bytes`, from this encoder, begin with: RFC 8878, 3.1.1. For who cannot choose the chunk. */
export function zstdFrameBytes(bytes: Buffer): number {
	const descriptor = bytes.readUInt8(HEADER_MIN_BYTES - 1);
	const isSingle = (descriptor & SINGLE_SEGMENT) !== 0;
	const sizeBytes = CONTENT_SIZE_BYTES[(descriptor >>> 6) as 0 | 1 | 2 | 3];
	let at = HEADER_MIN_BYTES + DICTIONARY_ID_BYTES[(descriptor & 3) as 0 | 1 | 2 | 3];
	// A single segment has its size, of one byte at least, in the place of a window.
	at += isSingle ? Math.max(sizeBytes, 1) : sizeBytes + 1;
	for (let isLast = false; !isLast; ) {
		const head = bytes.readUIntLE(at, BLOCK_HEAD_BYTES);
		isLast = (head & 1) === 1;
		at += BLOCK_HEAD_BYTES + (((head >>> 1) & 3) === RLE_BLOCK ? 1 : head >>> 3);
	}
	return at + ((descriptor & CONTENT_CHECKSUM) === 0 ? 0 : 4);
}
