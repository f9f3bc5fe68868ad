import fc from "fast-check";
import { expect, it } from "vitest";
import {
	VarintError,
	VarintReader,
	varintSize,
	varlongSize,
	writeVarint,
	writeVarlong,
} from "../../../src/record/varint.ts";

/** Zigzag as the format has it, by BigInt. */
function reference(value: number): Buffer {
	let rest = value < 0 ? -2n * BigInt(value) - 1n : 2n * BigInt(value);
	const bytes: number[] = [];
	for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
	return Buffer.from([...bytes, Number(rest)]);
}

it("varlongs are zigzag numbers, whatever the value", () => {
	fc.assert(
		fc.property(fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.integer({ min: -70, max: 70 })), (value) => {
			const target = Buffer.alloc(10);
			const written = target.subarray(0, writeVarlong(target, 0, value));
			expect(written).toEqual(reference(value));
			expect(varlongSize(value)).toBe(written.length);
			expect(new VarintReader(written).varlong()).toBe(value);
		}),
		{ numRuns: 1000 },
	);
});

it("varints are zigzag numbers, whatever the value", () => {
	fc.assert(
		fc.property(fc.oneof(fc.integer(), fc.integer({ min: -70, max: 70 })), (value) => {
			const target = Buffer.alloc(10);
			const written = target.subarray(0, writeVarint(target, 0, value));
			expect(written).toEqual(reference(value));
			expect(varintSize(value)).toBe(written.length);
			expect(new VarintReader(written).varint()).toBe(value);
		}),
		{ numRuns: 500 },
	);
});

it("any bytes are a number in its only form, or refused", () => {
	fc.assert(
		fc.property(fc.uint8Array({ maxLength: 10 }), (bytes) => {
			const reader = new VarintReader(bytes);
			let value: number;
			try {
				value = reader.varlong();
			} catch (error) {
				expect(error).toBeInstanceOf(VarintError);
				return;
			}
			expect(reference(value)).toEqual(Buffer.from(bytes.subarray(0, reader.position)));
		}),
		{ numRuns: 1000 },
	);
});
