/** Compression within the call: in a simulation nothing happens on threads, which have a time of their own. */
import zlib from "node:zlib";
import type { Compression } from "../../tiering/bundle/compression.ts";

export const inlineCompression: Compression = {
	zstd: async (bytes) => zlib.zstdCompressSync(bytes),
	gzip: async (bytes) => zlib.gzipSync(bytes),
	unzstd: async (bytes, rawBytes) =>
		exactly(rawBytes, zlib.zstdDecompressSync(bytes, { maxOutputLength: rawBytes + 1 })),
	gunzip: async (bytes, rawBytes) => exactly(rawBytes, zlib.gunzipSync(bytes, { maxOutputLength: rawBytes + 1 })),
};

function exactly(rawBytes: number, bytes: Buffer): Buffer {
	if (bytes.length !== rawBytes) throw new Error(`${bytes.length} bytes came out, not ${rawBytes}`);
	return bytes;
}
