/**
 * The four codecs of record batches, both ways, synchronous. What comes out is bounded before it is
 * allocated: bytes from outside may claim, and hold, anything. gzip and zstd are Node's own; snappy and
 * lz4 are ours, because the packages there are either native code with its memory or do not bound their
 * output.
 */
import { CompressionError, corrupt, tooLarge } from "./compression-error.ts";
import { compressLz4, decompressLz4 } from "./lz4.ts";
import { compressSnappy, decompressSnappy } from "./snappy.ts";
import { zstdChunkBytes } from "./zstd-frame.ts";

export type Codec = "none" | "gzip" | "snappy" | "lz4" | "zstd";

/**
 * Above it zstd takes seconds for a batch, in which nobody else has a turn, and hundreds of megabytes of memory, for some
 * per cent of its size.
 */
const ZSTD_LEVEL_MAX = 9;

/** `level`: of gzip (1 to 9) and zstd (1 to 22, of which those above 9 are as 9); the others have none. */
export function compress(codec: Codec, bytes: Uint8Array, level?: number): Buffer {
	switch (codec) {
		case "none":
			return Buffer.from(bytes);
		case "gzip":
			return zlib().gzipSync(bytes, level === undefined ? {} : { level });
		case "snappy":
			return compressSnappy(bytes);
		case "lz4":
			return compressLz4(bytes);
		case "zstd":
			return zlib().zstdCompressSync(bytes, {
				chunkSize: zstdChunkBytes(bytes.length),
				...(level === undefined
					? {}
					: { params: { [zlib().constants.ZSTD_c_compressionLevel]: Math.min(level, ZSTD_LEVEL_MAX) } }),
			});
	}
}

/** Throws CompressionError: CORRUPT_MESSAGE, or RECORD_LIST_TOO_LARGE when more than `maxBytes` would come out. */
export function decompress(codec: Codec, bytes: Uint8Array, maxBytes: number): Buffer {
	switch (codec) {
		case "none":
			if (bytes.length > maxBytes) throw tooLarge(maxBytes);
			return Buffer.from(bytes);
		case "gzip":
			return byZlib(zlib().gunzipSync, bytes, maxBytes);
		case "snappy":
			return decompressSnappy(asBuffer(bytes), maxBytes);
		case "lz4":
			return decompressLz4(asBuffer(bytes), maxBytes);
		case "zstd":
			return byZlib(zlib().zstdDecompressSync, bytes, maxBytes);
	}
}

interface ZlibOptions {
	readonly maxOutputLength: number;
	readonly info: true;
}

/** With `info`, Node gives the engine too, which knows how much it took: its types do not say so. */
interface ZlibResult {
	readonly buffer: Buffer;
	readonly engine: { readonly bytesWritten: number };
}

function byZlib(
	work: (bytes: Uint8Array, options: ZlibOptions) => unknown,
	bytes: Uint8Array,
	maxBytes: number,
): Buffer {
	if (bytes.length === 0) throw corrupt("there is nothing");
	let result: ZlibResult;
	try {
		// Node takes no limit of 0.
		result = work(bytes, { maxOutputLength: Math.max(maxBytes, 1), info: true }) as ZlibResult;
	} catch (error) {
		if ((error as { code?: string }).code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(maxBytes);
		throw new CompressionError("CORRUPT_MESSAGE", (error as Error).message, { cause: error });
	}
	if (result.buffer.length > maxBytes) throw tooLarge(maxBytes);
	const rest = bytes.length - result.engine.bytesWritten;
	if (rest !== 0) throw corrupt(`${rest} bytes after the end`);
	return result.buffer;
}

function asBuffer(bytes: Uint8Array): Buffer {
	return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
/** Loaded with the first compressed batch. */
const zlib = () => process.getBuiltinModule("node:zlib");
