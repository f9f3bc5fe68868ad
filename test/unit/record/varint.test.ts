import { describe, expect, it } from "vitest";
import {
	unsignedVarintSize,
	VarintError,
	VarintReader,
	varintSize,
	varlongSize,
	writeUnsignedVarint,
	writeVarint,
	writeVarlong,
} from "../../../src/record/varint.ts";

const hex = (write: (target: Uint8Array, at: number, value: number) => number, value: number): string => {
	const target = Buffer.alloc(16);
	return target.toString("hex", 1, write(target, 1, value));
};
const read = (text: string, what: "varint" | "unsignedVarint" | "varlong"): number => {
	const reader = new VarintReader(Buffer.from(text, "hex"));
	const value = reader[what]();
	expect(reader.position).toBe(text.length / 2);
	return value;
};

describe("varints", () => {
	it.each([
		[0, "00"],
		[-1, "01"],
		[1, "02"],
		[63, "7e"],
		[-64, "7f"],
		[64, "8001"],
		[-65, "8101"],
		[8191, "fe7f"],
		[8192, "808001"],
		[2_147_483_647, "feffffff0f"],
		[-2_147_483_648, "ffffffff0f"],
	])("writes and reads %i as %s, also as a varlong", (value, text) => {
		expect(hex(writeVarint, value)).toBe(text);
		expect(hex(writeVarlong, value)).toBe(text);
		expect(varintSize(value)).toBe(text.length / 2);
		expect(varlongSize(value)).toBe(text.length / 2);
		expect(read(text, "varint")).toBe(value);
		expect(read(text, "varlong")).toBe(value);
	});

	it.each([
		[2_147_483_648, "8080808010"],
		[-2_147_483_649, "8180808010"],
		[Number.MAX_SAFE_INTEGER, "feffffffffffff1f"],
		[-Number.MAX_SAFE_INTEGER, "fdffffffffffff1f"],
	])("writes and reads the varlong %i as %s", (value, text) => {
		expect(hex(writeVarlong, value)).toBe(text);
		expect(varlongSize(value)).toBe(text.length / 2);
		expect(read(text, "varlong")).toBe(value);
	});

	it.each([
		[0, "00"],
		[127, "7f"],
		[128, "8001"],
		[0xffff_ffff, "ffffffff0f"],
	])("writes and reads the unsigned %i as %s", (value, text) => {
		expect(hex(writeUnsignedVarint, value)).toBe(text);
		expect(unsignedVarintSize(value)).toBe(text.length / 2);
		expect(read(text, "unsignedVarint")).toBe(value);
	});

	it.each([
		["", "varint"],
		["80", "varint"],
		["8000", "varint"],
		["ffffffff10", "varint"],
		["ffffffffff01", "varint"],
		["", "varlong"],
		["ff", "varlong"],
		["808000", "varlong"],
		["ffffffffffffff1f", "varlong"],
		["ffffffffffffffff01", "varlong"],
		["feffffffffffff20", "varlong"],
		[`${"80".repeat(300)}01`, "varlong"],
	] as const)("refuses %s as a %s", (text, what) => {
		expect(() => new VarintReader(Buffer.from(text, "hex"))[what]()).toThrow(VarintError);
	});

	it("does not read beyond its end", () => {
		expect(() => new VarintReader(Buffer.from("8001", "hex"), 0, 1).varint()).toThrow(VarintError);
	});

	it("refuses to write what does not fit 53 bits", () => {
		for (const value of [2 ** 53, -(2 ** 53), Number.NaN, 0.5]) {
			expect(() => writeVarlong(Buffer.alloc(16), 0, value)).toThrow(RangeError);
		}
	});
});
