import { randomBytes } from "node:crypto";
import zlib from "node:zlib";
import { describe, expect, it } from "vitest";
import { type Codec, compress, decompress } from "../../../src/record/compression.ts";
import { xxhash32 } from "../../../src/record/xxhash32.ts";

const TEXT = Buffer.from("headwater headwater headwater 0123456789".repeat(3));
/** What others wrote of TEXT: python-lz4 4 (liblz4), kafka-python 3.0.12, python-snappy. */
const FOREIGN: [string, Codec, string][] = [
	[
		"lz4 with content size, block and content checksums, linked blocks",
		"lz4",
		"04224d187c4078000000000000001429000000af686561647761746572200a0001af303132333435363738391e00010614000f28001a503536373839b9c0024b00000000148e965c",
	],
	[
		"lz4 with independent blocks and nothing else",
		"lz4",
		"04224d1860408229000000af686561647761746572200a0001af303132333435363738391e00010614000f28001a50353637383900000000",
	],
	[
		"lz4 of kafka-python",
		"lz4",
		"04224d18684078000000000000008129000000af686561647761746572200a0001af303132333435363738391e00010614000f28001a50353637383900000000",
	],
	[
		"framed snappy of kafka-python",
		"snappy",
		"82534e41505059000000000100000001000000227824686561647761746572204e0a0024303132333435363738394e1e001914c62800",
	],
	["raw snappy", "snappy", "7824686561647761746572204e0a0024303132333435363738394e1e001914c62800"],
];

describe("decompress", () => {
	it.each(FOREIGN)("reads %s", (_, codec, hex) => {
		expect(decompress(codec, Buffer.from(hex, "hex"), TEXT.length).toString()).toBe(TEXT.toString());
	});

	it("reads what node:zlib compressed", () => {
		expect(decompress("gzip", zlib.gzipSync(TEXT), 1000).equals(TEXT)).toBe(true);
		expect(decompress("zstd", zlib.zstdCompressSync(TEXT), 1000).equals(TEXT)).toBe(true);
	});

	it.each(["gzip", "snappy", "lz4", "zstd"] as const)(
		"stops a bomb of %s before it allocates what it holds",
		(codec) => {
			const bomb = compress(codec, Buffer.alloc(64 * 1024 * 1024));
			const before = process.memoryUsage().arrayBuffers;
			expect(() => decompress(codec, bomb, 100_000)).toThrow(
				expect.objectContaining({ reason: "RECORD_LIST_TOO_LARGE" }),
			);
			expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * 1024 * 1024);
		},
	);

	it("allocates nothing for a size that is only claimed", () => {
		const before = process.memoryUsage().arrayBuffers;
		expect(() => decompress("snappy", Buffer.from("ffffff7f00", "hex"), 2 ** 31)).toThrow(/cannot come out/);
		// Content size 1 GiB, then nothing.
		const frame = Buffer.from("04224d1868400000004000000000aa00000000", "hex");
		frame[14] = (xxhash32(frame, 4, 14) >>> 8) & 0xff;
		expect(() => decompress("lz4", frame, 2 ** 31)).toThrow(/announced/);
		expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
	});

	it.each([
		["an unknown version", "04224d18a0408200000000", /version/],
		["a dictionary", "04224d1861408200000000", /dictionary/],
		["a wrong header checksum", "04224d1860408300000000", /header's checksum/],
		["a match from before the beginning", "04224d18604082050000001041020000" + "00000000", /from 2 back/],
		["a distance of 0", "04224d18604082050000001041000000" + "00000000", /from 0 back/],
		["a block that ends with a match", "04224d186040820400000010410100" + "00000000", /last literals/],
		["literals that are cut short", "04224d18604082020000002041" + "00000000", /literals are cut short/],
		["a block larger than the frame allows", "04224d18604082010001001041" + "00000000", /a block of 65537 bytes/],
		["no end mark", "04224d18604082", /size is cut short/],
	])("refuses an lz4 frame with %s", (_, hex, what) => {
		const refused = () => decompress("lz4", Buffer.from(hex, "hex"), 1000);
		expect(refused).toThrow(what);
		expect(refused).toThrow(expect.objectContaining({ name: "CompressionError", reason: "CORRUPT_MESSAGE" }));
	});

	it("lets a block of lz4 repeat from an earlier one only where they are linked", () => {
		const frame = (flags: number): Buffer => {
			const bytes = Buffer.from("04224d1800400001000080410400000000010000" + "00000000", "hex");
			bytes[4] = flags;
			bytes[6] = (xxhash32(bytes, 4, 6) >>> 8) & 0xff;
			return bytes;
		};
		expect(decompress("lz4", frame(0x40), 1000).toString()).toBe("AAAAA");
		expect(() => decompress("lz4", frame(0x60), 1000)).toThrow(/from 1 back/);
	});

	it.each([
		[44, /block's checksum/],
		[60, /block's checksum/],
		[71, /content's checksum/],
	])("refuses an lz4 frame with byte %i flipped", (position, what) => {
		const frame = Buffer.from(FOREIGN[0]?.[2] ?? "", "hex");
		frame[position] = (frame[position] as number) ^ 1;
		expect(() => decompress("lz4", frame, 1000)).toThrow(what);
	});

	it.each([
		["nothing at all", ""],
		["fewer bytes than announced", "020041"],
		["more bytes than announced", "01044142"],
		["a copy from before the beginning", "0500410105"],
		["a literal that is cut short", "0a1c4142"],
		["a framed block longer than what is there", "82534e4150505900000000010000000100000009010041"],
	])("refuses snappy with %s", (_, hex) => {
		expect(() => decompress("snappy", Buffer.from(hex, "hex"), 1000)).toThrow(
			expect.objectContaining({ name: "CompressionError", reason: "CORRUPT_MESSAGE" }),
		);
	});

	it("takes levels of zstd that would hold up everybody for a lower one", () => {
		const text = Buffer.from(Array.from({ length: 20_000 }, (_, i) => `${(i * 7919) % 10_007} `).join(""));
		expect(compress("zstd", text, 22).equals(compress("zstd", text, 9))).toBe(true);
		expect(compress("zstd", text, 1).equals(compress("zstd", text, 9))).toBe(false);
	});

	it.each(["gzip", "snappy", "lz4", "zstd"] as const)("refuses bytes after the end of %s", (codec) => {
		const bytes = Buffer.concat([compress(codec, TEXT), Buffer.from([1, 2, 3])]);
		expect(() => decompress(codec, bytes, 1000)).toThrow(expect.objectContaining({ reason: "CORRUPT_MESSAGE" }));
	});
});

describe("compress", () => {
	it("writes what liblz4 and snappy read (these bytes were given to python-lz4 and kafka-python)", () => {
		expect(compress("lz4", TEXT).toString("hex")).toBe(
			"04224d1860408229000000af686561647761746572200a0001af303132333435363738391e00010614000f28001a50353637383900000000",
		);
		expect(compress("snappy", TEXT).toString("hex")).toBe(
			"82534e41505059000000000100000001000000237824686561647761746572204e0a0024303132333435363738394e1e00261400c62800",
		);
	});

	it("writes lz4 frames as Kafka's producer: independent blocks of 64 KiB, the header's checksum", () => {
		expect(compress("lz4", TEXT).toString("hex", 0, 7)).toBe("04224d18604082");
	});

	it("writes snappy in snappy-java's framing", () => {
		expect(compress("snappy", TEXT).toString("hex", 0, 16)).toBe("82534e41505059000000000100000001");
	});

	it("makes more of a higher level", () => {
		const text = Buffer.from(Array.from({ length: 5000 }, (_, i) => `{"t":${(i * i * 7919) % 9973}}`).join(""));
		for (const codec of ["gzip", "zstd"] as const) {
			expect(compress(codec, text, 9).length).toBeLessThan(compress(codec, text, 1).length);
		}
	});
});

it.each([
	["", 0x02cc5d05],
	["abc", 0x32d153ff],
	["Nobody inspects the spammish repetition", 0xe2293b2f],
])("xxhash32 of %j is the reference's", (text, hash) => {
	expect(xxhash32(Buffer.from(text))).toBe(hash);
});

it("makes one frame of zstd, whatever it comes to", () => {
	const empty = Buffer.from("28b52ffd2000010000", "hex");
	for (let rawBytes = 16_384 - 24; rawBytes <= 16_384; rawBytes++)
		expect(compress("zstd", randomBytes(rawBytes)).subarray(-empty.length)).not.toEqual(empty);
});
