import { describe, expect, it } from "vitest";
import { crc32c, crc32cByTables } from "../../../src/record/crc32c.ts";

describe.each([
	["crc32c", crc32c],
	["crc32cByTables", crc32cByTables],
])("%s", (_, sum) => {
	it("gives the check value of the CRC catalogue", () => {
		expect(sum(Buffer.from("123456789"))).toBe(0xe3069283);
	});

	it("gives RFC 3720's values (appendix B.4)", () => {
		expect(sum(Buffer.alloc(32))).toBe(0x8a9136aa);
		expect(sum(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
		expect(sum(Buffer.from(Array.from({ length: 32 }, (_, i) => i)))).toBe(0x46dd794e);
	});

	it("sums a whole in pieces, of any sizes and at any place", () => {
		const bytes = Buffer.from(Array.from({ length: 1_500 }, (_, i) => (i * 31) & 0xff));
		const whole = crc32cByTables(bytes);
		for (const cut of [0, 1, 7, 8, 9, 255, 256, 257, 900, 1_500]) {
			expect(sum(bytes, cut, bytes.length, sum(bytes, 0, cut))).toBe(whole);
		}
		expect(sum(Buffer.concat([Buffer.alloc(3), bytes, Buffer.alloc(3)]), 3, 1_503)).toBe(whole);
	});
});

it("goes on the same when native code takes over, after enough bytes to be worth it", () => {
	const piece = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => (i * i) >>> 3));
	const expected = crc32cByTables(piece);
	for (let i = 0; i < 66; i++) expect(crc32c(piece)).toBe(expected);
	for (const length of [255, 256, 257, 1_000, 65_537]) {
		expect(crc32c(piece, 5, 5 + length, 0x1234_5678)).toBe(crc32cByTables(piece, 5, 5 + length, 0x1234_5678));
		expect(crc32c(piece, 5, 5 + length, 0xffff_ffff)).toBe(crc32cByTables(piece, 5, 5 + length, 0xffff_ffff));
	}
});
