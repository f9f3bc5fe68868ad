import zlib from "node:zlib";
import { describe, expect, it } from "vitest";
import { Compressor } from "../../../bridge/upstream/shipment/compress.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { CODECS } from "../../../src/record/batch-header.ts";
import { type Codec, decompress } from "../../../src/record/compression.ts";
import { zstdFrameBytes } from "../../../src/record/zstd-frame.ts";

/** What comes out of one encoder shares memory in pieces of so many bytes. */
const CHUNK_BYTES = 64 * 1024;
const noise = new SimulatedRandom("noise").bytes(200_000);
const text = (bytes: number, seed = 0) =>
	Buffer.from(Array.from({ length: bytes / 10 }, (_, i) => `${(i * 7919 + seed) % 10_007}`.padStart(10)).join(""));

describe("the kept encoder", () => {
	it.each(CODECS)("of %s makes of each batch what its decoder takes, whatever came before", async (codec) => {
		const { compress } = new Compressor();
		for (const bytes of [text(100_000), noise.subarray(0, 3), text(20), noise, text(250_000, 3), text(100_000)])
			expect(decompress(codec, await compress(codec, bytes, undefined), bytes.length).equals(bytes)).toBe(true);
	});

	it("gives each what is its own, with several at a time and codecs in turn, and after it was closed", async () => {
		const compressor = new Compressor();
		const jobs = Array.from({ length: 24 }, (_, i) => ({
			codec: (["zstd", "zstd", "gzip", "lz4"] as const)[i % 4] as Codec,
			bytes: text(10 * (1 + ((i * 977) % 5000)), i),
			level: i < 12 ? 1 : 5,
		}));
		for (const round of [jobs, jobs.toReversed()]) {
			const found = await Promise.all(round.map(({ codec, bytes, level }) => compressor.compress(codec, bytes, level)));
			round.forEach(({ codec, bytes }, i) => {
				expect(decompress(codec, found[i] as Buffer, bytes.length).equals(bytes)).toBe(true);
			});
			compressor.close();
		}
	});

	it("goes by the level", async () => {
		const { compress } = new Compressor();
		for (const codec of ["zstd", "gzip"] as const) {
			const [quick, small] = [await compress(codec, text(100_000), 1), await compress(codec, text(100_000), 9)];
			expect([quick.length, small.length]).toEqual([
				codec === "zstd" ? zstdBytes(1) : zlib.gzipSync(text(100_000), { level: 1 }).length,
				codec === "zstd" ? zstdBytes(9) : zlib.gzipSync(text(100_000), { level: 9 }).length,
			]);
		}
	});

	it("of zstd writes the content's size, which bounds the window that a reader needs", async () => {
		const { compress } = new Compressor();
		for (const bytes of [text(300), text(1000), text(250_000)]) {
			const frame = await compress("zstd", bytes, 3);
			// A single segment: its window is its content.
			expect((frame[4] as number) & 0x20).toBe(0x20);
			expect(zstdFrameBytes(frame)).toBe(frame.length);
		}
	});

	it("of zstd has one frame also where that ends just where its memory does", async () => {
		// What does not compress is stored: a frame has the content, its header and three bytes for each block of 128 KiB.
		const overhead =
			(await new Compressor().compress("zstd", noise.subarray(0, CHUNK_BYTES - 100), 3)).length - CHUNK_BYTES + 100;
		const bytes = noise.subarray(0, CHUNK_BYTES - overhead);
		const { compress } = new Compressor();
		for (let i = 0; i < 3; i++) {
			const frame = await compress("zstd", bytes, 3);
			expect(frame.length).toBe(CHUNK_BYTES);
			expect(decompress("zstd", frame, bytes.length).equals(bytes)).toBe(true);
		}
		// Without the care that is taken here there would be an empty frame behind it.
		const plain = zlib.zstdCompressSync(bytes, { chunkSize: CHUNK_BYTES });
		expect([plain.length > CHUNK_BYTES, zstdFrameBytes(plain)]).toEqual([true, CHUNK_BYTES]);
	});
});

function zstdBytes(level: number): number {
	return zlib.zstdCompressSync(text(100_000), { params: { [zlib.constants.ZSTD_c_compressionLevel]: level } }).length;
}
