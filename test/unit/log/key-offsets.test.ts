/** The key map of compaction: the newest offset of each key, in the memory it was given and no more. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KeyOffsets, SLOT_BYTES, sipHash } from "../../../src/log/key-offsets.ts";

const SEED = Buffer.from(Array.from({ length: 16 }, (_, i) => i));

describe("the hash", () => {
	// By a second implementation, whose SipHash-2-4 gives the vectors that SipHash's authors published.
	it.each([
		[0, "e77ebcb22788a5befd62db6add303001"],
		[1, "fc6f370460d3eda85e0573cc2b2ff063"],
		[8, "aa12fee1d5e3dab4724f16ab35f9c799"],
		[9, "81ddb8042cf33994f4720e0094137c42"],
		[15, "c17e5505b2bd526c2921cdec1e7e0109"],
		[63, "4c5800e34efe426f079f6b0aa75260ad"],
	])("is SipHash-1-3 of 128 bits, of %i bytes", (length, expected) => {
		const bytes = Buffer.from(Array.from({ length: length + 3 }, (_, i) => i - 2));
		const out = new Int32Array(4);
		const words = [0, 4, 8, 12].map((at) => SEED.readInt32LE(at)) as [number, number, number, number];
		sipHash(words, bytes, 2, 2 + length, out);
		expect(Buffer.from(out.buffer).toString("hex")).toBe(expected);
	});
});

describe("the key map", () => {
	it("knows what a Map knows, whatever the keys and offsets", () => {
		const key = fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.constantFrom("", "a", "b").map(Buffer.from));
		const offset = fc.oneof(fc.nat(), fc.constantFrom(0, 0xffff_ffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER - 1));
		fc.assert(
			fc.property(fc.array(fc.tuple(key, offset), { maxLength: 80 }), (puts) => {
				const keys = new KeyOffsets(4096, SEED);
				const model = new Map<string, number>();
				for (const [bytes, at] of puts) {
					expect(keys.put(bytes, 0, bytes.length, at)).toBe(true);
					model.set(Buffer.from(bytes).toString("hex"), at);
				}
				expect(keys.size).toBe(model.size);
				for (const [hex, at] of model) {
					const bytes = Buffer.from(hex, "hex");
					expect(keys.get(bytes, 0, bytes.length)).toBe(at);
				}
				expect(keys.get(Buffer.from("another"), 0, 7)).toBe(-1);
				keys.clear();
				expect(keys.size).toBe(0);
				for (const [bytes] of puts) expect(keys.get(bytes, 0, bytes.length)).toBe(-1);
			}),
		);
	});

	it("takes the memory that it was given, refuses what does not fit, and still knows what did", () => {
		const memoryBytes = 64 * 1024;
		const keys = new KeyOffsets(memoryBytes, SEED);
		expect(keys.memoryBytes).toBeLessThanOrEqual(memoryBytes);
		const key = (i: number) => Buffer.from(`device-${i}`);
		let taken = 0;
		while (keys.put(key(taken), 0, key(taken).length, taken)) taken++;
		expect(taken).toBe(Math.floor(Math.floor(memoryBytes / SLOT_BYTES) * 0.75));
		expect(keys.put(key(7), 0, key(7).length, 99)).toBe(true);
		expect(keys.memoryBytes).toBeLessThanOrEqual(memoryBytes);
		for (let i = 0; i < taken; i++) expect(keys.get(key(i), 0, key(i).length)).toBe(i === 7 ? 99 : i);
		expect(keys.get(key(taken), 0, key(taken).length)).toBe(-1);
	});
});
