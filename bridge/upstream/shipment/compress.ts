/**
 * Compression of batches for the link, one at a time, off the event loop. The encoder is kept from batch to batch: a new
 * one for each, as Node's one-shot functions make it, costs 1.5 MB of allocations a batch at zstd's level 3, which the
 * C library does not give back; kept, it costs them once.
 */
import type { Gzip, ZstdCompress } from "node:zlib";
import { type Codec, compress as compressNow } from "../../../src/record/compression.ts";
import { zstdFrameBytes } from "../../../src/record/zstd-frame.ts";

/** `level`: of gzip and zstd. What comes out is not touched any more; `bytes` must not change before. */
export type Compress = (codec: Codec, bytes: Buffer, level: number | undefined) => Promise<Buffer>;

/** What comes out shares memory in pieces of this size: who keeps it copies it. Most of what comes out fits one as a whole. */
const CHUNK_BYTES = 256 * 1024;

export class Compressor {
	#encoder: Encoder | undefined;
	/** Of the last that was asked for: its turn comes after those before. */
	#last: Promise<unknown> = Promise.resolve();

	readonly compress: Compress = async (codec, bytes, level) => {
		// Ours have no state, and are done within a few milliseconds.
		if (codec !== "gzip" && codec !== "zstd") return codec === "none" ? bytes : compressNow(codec, bytes);
		const turn = this.#last.then(() => this.#encode(codec, bytes, level));
		this.#last = turn.catch(() => {});
		return turn;
	};

	/** Gives the encoder's memory back; the next batch makes another. Not while one is compressed. */
	close(): void {
		this.#encoder?.close();
		this.#encoder = undefined;
	}

	async #encode(codec: EncodedBy, bytes: Buffer, level: number | undefined): Promise<Buffer> {
		if (this.#encoder?.codec !== codec || this.#encoder.level !== level) {
			this.close();
			this.#encoder = new Encoder(codec, level);
		}
		try {
			return await this.#encoder.encode(bytes);
		} catch (error) {
			this.close();
			throw error;
		}
	}
}

type EncodedBy = "gzip" | "zstd";

/** Loaded with the first batch. */
const zlib = () => process.getBuiltinModule("node:zlib");

/** A stream that ends a frame with every write. */
class Encoder {
	readonly codec: EncodedBy;
	readonly level: number | undefined;
	readonly #stream: Gzip | ZstdCompress;
	/** Makes it ready for the next frame; returns what of its output is the one that it was given for. */
	readonly #end: (output: Buffer) => Buffer;
	#parts: Buffer[] = [];

	constructor(codec: EncodedBy, level: number | undefined) {
		this.codec = codec;
		this.level = level;
		const { createGzip, createZstdCompress, constants } = zlib();
		if (codec === "gzip") {
			const options = { flush: constants.Z_FINISH, chunkSize: CHUNK_BYTES };
			// Its types do not say that it has one.
			const gzip = createGzip(level === undefined ? options : { ...options, level }) as Gzip & { reset(): void };
			this.#stream = gzip;
			this.#end = (output) => {
				gzip.reset();
				return output;
			};
		} else {
			// With all of a frame's content and its end in one call, the frame has its size, which bounds its window.
			const options = { flush: constants.ZSTD_e_end, chunkSize: CHUNK_BYTES };
			const params = level === undefined ? {} : { [constants.ZSTD_c_compressionLevel]: level };
			this.#stream = createZstdCompress({ ...options, params });
			this.#end = (output) => output.subarray(0, zstdFrameBytes(output));
		}
		this.#stream.on("data", (part: Buffer) => void this.#parts.push(part));
		// Whoever is waiting learns of it by its write.
		this.#stream.on("error", () => {});
	}

	async encode(bytes: Buffer): Promise<Buffer> {
		await new Promise<void>((resolve, reject) => {
			this.#stream.write(bytes, (error) => (error == null ? resolve() : reject(error)));
		});
		const parts = this.#parts;
		this.#parts = [];
		return this.#end(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts));
	}

	close(): void {
		this.#stream.close();
	}
}
