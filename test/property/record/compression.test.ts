import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compress, decompress } from "../../../src/record/compression.ts";
import { CompressionError } from "../../../src/record/compression-error.ts";

const bytes = fc.uint8Array({ maxLength: 3_000 }).map((array) => Buffer.from(array));
const repetitive = fc
	.array(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 200 })), { maxLength: 40 })
	.map((runs) => Buffer.concat(runs.flatMap(([run, times]) => Array.from({ length: times }, () => run))));
/** Crosses the codecs' blocks of 32 and 64 KiB. */
const large = fc
	.tuple(fc.integer({ min: 30_000, max: 200_000 }), fc.integer({ min: 1, max: 0xffff }), fc.nat(7))
	.map(([length, seed, mask]) => {
		const made = Buffer.alloc(length);
		let state = seed;
		for (let i = 0; i < length; i++) {
			state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
			made[i] = (state >>> 16) & (mask === 0 ? 0xff : mask);
		}
		return made;
	});

describe.each(["none", "gzip", "snappy", "lz4", "zstd"] as const)("%s", (codec) => {
	it.each([
		["anything, empty too", bytes, 60],
		["what repeats itself", repetitive, 40],
		["more than a block", large, 12],
	])("gives back %s, and never more than allowed", (_, input, numRuns) => {
		fc.assert(
			fc.property(input, (plain) => {
				const packed = compress(codec, plain);
				expect(decompress(codec, packed, plain.length).equals(plain)).toBe(true);
				if (plain.length > 0) {
					expect(() => decompress(codec, packed, plain.length - 1)).toThrow(
						expect.objectContaining({ reason: "RECORD_LIST_TOO_LARGE" }),
					);
				}
			}),
			{ numRuns },
		);
	});
});

describe.each(["gzip", "snappy", "lz4", "zstd"] as const)("damaged %s", (codec) => {
	const takenOrRefused = (packed: Buffer): void => {
		try {
			expect(decompress(codec, packed, 10_000).length).toBeLessThanOrEqual(10_000);
		} catch (error) {
			expect(error).toBeInstanceOf(CompressionError);
		}
	};

	it("ends in its own error or within its bound", () => {
		fc.assert(
			fc.property(fc.oneof(bytes, repetitive), fc.nat(), fc.nat(255), fc.nat(), (plain, at, byte, cut) => {
				const packed = compress(codec, plain);
				takenOrRefused(packed.subarray(0, cut % packed.length));
				packed[at % packed.length] = byte;
				takenOrRefused(packed);
				takenOrRefused(plain);
			}),
			{ numRuns: 150 },
		);
	});
});
