/** A fault of Node's zstd, and the way round it that every caller takes. */

const MARGIN_BYTES = 1024;

/**
 * More than the zstd frame of so many bytes has: the chunk for Node's zstdCompress. Behind a frame that ends just where a chunk
 * does Node (24.21) puts an empty one, and who expects one frame takes that for damage.
 */
export function zstdChunkBytes(rawBytes: number): number {
	return rawBytes + (rawBytes >>> 8) + MARGIN_BYTES;
}
