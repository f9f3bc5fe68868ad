import { describe, expect, it } from "vitest";
import { encodeResponse } from "../../../../src/kafka/protocol/header.ts";
import { Reader } from "../../../../src/kafka/protocol/reader.ts";
import { int32, message, records } from "../../../../src/kafka/protocol/schema.ts";
import { Writer } from "../../../../src/kafka/protocol/writer.ts";

const hex = (write: (writer: Writer) => void): string => {
	const writer = new Writer();
	write(writer);
	return Buffer.concat(writer.take()).toString("hex");
};

describe("a writer", () => {
	it("writes varints of one byte for each 7 bits, and the reader reads them", () => {
		const known: [number, string][] = [
			[0, "00"],
			[127, "7f"],
			[128, "8001"],
			[16_383, "ff7f"],
			[16_384, "808001"],
			[2 ** 21 - 1, "ffff7f"],
			[2 ** 21, "80808001"],
			[2 ** 28, "8080808001"],
			[2 ** 32 - 1, "ffffffff0f"],
		];
		for (const [value, bytes] of known) {
			expect(hex((w) => w.unsignedVarint(value))).toBe(bytes);
			expect(new Reader(Buffer.from(bytes, "hex")).unsignedVarint()).toBe(value);
		}
	});

	it("writes 64-bit integers, and for what is beyond 53 bits the nearest that Kafka has", () => {
		const known: [number, string][] = [
			[-1, "ffffffffffffffff"],
			[-(2 ** 32), "ffffffff00000000"],
			[2 ** 32 + 1, "0000000100000001"],
			[Number.MAX_SAFE_INTEGER, "001fffffffffffff"],
			[Number.MIN_SAFE_INTEGER, "ffe0000000000001"],
			[2 ** 62, "4000000000000000"],
			[2 ** 63, "7fffffffffffffff"],
			[Number.POSITIVE_INFINITY, "7fffffffffffffff"],
			[Number.NEGATIVE_INFINITY, "8000000000000000"],
		];
		for (const [value, bytes] of known) expect(hex((w) => w.int64(value))).toBe(bytes);
		expect(() => hex((w) => w.int64(1.5))).toThrow(RangeError);
		expect(() => hex((w) => w.int64(Number.NaN))).toThrow(RangeError);
	});

	it("takes no value that its type cannot say", () => {
		for (const write of [
			(w: Writer) => w.int8(128),
			(w: Writer) => w.int16(-32_769),
			(w: Writer) => w.uint16(-1),
			(w: Writer) => w.int32(2 ** 31),
			(w: Writer) => w.uint32(2 ** 32),
			(w: Writer) => w.uuid("00000000-0000-0000-0000-00000000000"),
			(w: Writer) => w.uuid("not-a-uuid-at-all-0000-000000000000"),
			(w: Writer) => w.text("x".repeat(32_768), true),
			(w: Writer) => w.text("x".repeat(32_768), false),
		]) {
			expect(() => hex(write)).toThrow(RangeError);
		}
		expect(() => hex((w) => w.nullLength(true, 4, false))).toThrow(TypeError);
	});

	it("passes large parts on as they are and copies small ones between what it writes itself", () => {
		const large = Buffer.alloc(10_000, 1);
		const small = Buffer.alloc(100, 2);
		const writer = new Writer();
		writer.int32(7);
		writer.parts([small, large, small, small, large], false);
		writer.int8(9);
		expect(writer.sizeBytes).toBe(4 + 4 + 20_300 + 1);
		const parts = writer.take();
		expect(parts.map((part) => part.length)).toEqual([108, 10_000, 200, 10_000, 1]);
		expect([parts[1] === large, parts[3] === large]).toEqual([true, true]);
		small.fill(0);
		expect(Buffer.concat([small, small]).equals(parts[2] as Buffer)).toBe(false);
	});

	it("holds all that was written, wherever its first bytes end", () => {
		for (let before = 0; before < 300; before++) {
			const written = hex((w) => {
				for (let i = 0; i < before; i++) w.int8(i & 0x7f);
				w.unsignedVarint(300);
				w.bytes(Buffer.from("abc"), true);
				w.text("é", false);
				w.uuid("01234567-89ab-cdef-0123-456789abcdef");
				w.sized((inner) => inner.text("in", true));
				w.int64(-2);
			});
			const own = Buffer.from(Array.from({ length: before }, (_, i) => i & 0x7f)).toString("hex");
			expect(written).toBe(`${own}ac02046162630002c3a90123456789abcdef0123456789abcdef0303696efffffffffffffffe`);
		}
	});
});

describe("an answer", () => {
	const Answer = message(1, "AnswerResponse", { versions: [0, 1], flexible: 1 }, { number: int32, records });

	it("has its size and its request's correlation id before it, and large batches as they are", () => {
		const batch = Buffer.alloc(5000, 7);
		const parts = encodeResponse(Answer, 1, 99, { number: 5, records: [batch, batch] });
		expect([parts[1] === batch, parts[2] === batch]).toEqual([true, true]);
		const whole = Buffer.concat(parts);
		expect(whole.readInt32BE(0)).toBe(whole.length - 4);
		expect(whole.subarray(4, 16).toString("hex")).toBe("00000063" + "00" + "00000005" + "914e" + "07");
		expect(whole.at(-1)).toBe(0);
	});
});
