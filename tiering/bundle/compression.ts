/**
 * Compression off the event loop, with a bound on what comes out: zstd for blocks and the snapshot, gzip for footers. A
 * seam: a simulation, in which no thread may take its own time, puts a synchronous one in its place.
 */
import { zstdChunkBytes } from "../../src/record/zstd-frame.ts";

export interface Compression {
	/** One frame, with its content's size in it. */
	zstd(bytes: Uint8Array): Promise<Buffer>;
	gzip(bytes: Uint8Array): Promise<Buffer>;
	/** Rejects where other than exactly `rawBytes` come out, or `bytes` do not end with the frame. */
	unzstd(bytes: Uint8Array, rawBytes: number): Promise<Buffer>;
	/** As `unzstd`. */
	gunzip(bytes: Uint8Array, rawBytes: number): Promise<Buffer>;
}

/** Loaded with the first use. */
const zlib = () => process.getBuiltinModule("node:zlib");

/** Measured, on telemetry in record batches: 1 to 3 are alike, 4 takes two and a half times as long for 5 % less (docs/bundle-format.md). */
const ZSTD_LEVEL = 3;
/** A frame may ask for a window as large as it likes. Of blocks none needs more than this, 16 MiB. */
const ZSTD_WINDOW_LOG_MAX = 24;
/** Each is a way through the thread pool of its own. */
const CHUNK_BYTES_MAX = 1024 * 1024;
const CHUNK_BYTES_MIN = 1024;

/** On Node's thread pool. */
export const threadCompression: Compression = {
	zstd: (bytes) =>
		run((done) => {
			const { zstdCompress, constants } = zlib();
			zstdCompress(
				bytes,
				{
					params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL },
					pledgedSrcSize: bytes.length,
					chunkSize: zstdChunkBytes(bytes.length),
				},
				done,
			);
		}),
	gzip: (bytes) => run((done) => zlib().gzip(bytes, { chunkSize: chunkBytes(bytes.length / 4) }, done)),
	unzstd: async (bytes, rawBytes) => {
		const { zstdDecompress, constants } = zlib();
		const params = { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX };
		return exactly(
			rawBytes,
			bytes,
			await run((done) => zstdDecompress(bytes, { ...bounds(rawBytes), params }, done as never)),
		);
	},
	gunzip: async (bytes, rawBytes) =>
		exactly(rawBytes, bytes, await run((done) => zlib().gunzip(bytes, bounds(rawBytes), done as never))),
};

type Done<T> = (error: Error | null, result: T) => void;

function run<T>(work: (done: Done<T>) => void): Promise<T> {
	return new Promise((resolve, reject) => {
		work((error, result) => (error === null ? resolve(result) : reject(error)));
	});
}

/** With `info` Node gives the engine too, which knows how much it took: its types do not say so. */
interface Decompressed {
	readonly buffer: Buffer;
	readonly engine: { readonly bytesWritten: number };
}

/** The chunk has a byte more than is wanted, so that one is enough. */
function bounds(rawBytes: number): { maxOutputLength: number; chunkSize: number; info: true } {
	// Node takes no limit of 0.
	return { maxOutputLength: Math.max(rawBytes, 1), chunkSize: chunkBytes(rawBytes + 1), info: true };
}

function chunkBytes(wanted: number): number {
	return Math.max(CHUNK_BYTES_MIN, Math.min(Math.ceil(wanted), CHUNK_BYTES_MAX));
}

function exactly(rawBytes: number, bytes: Uint8Array, { buffer, engine }: Decompressed): Buffer {
	if (buffer.length !== rawBytes) throw new Error(`${buffer.length} bytes came out, not ${rawBytes}`);
	const rest = bytes.length - engine.bytesWritten;
	if (rest !== 0) throw new Error(`${rest} bytes after the end`);
	return buffer;
}
