import { describe, expect, it } from "vitest";
import { BufferPool } from "../../../src/base/buffer-pool.ts";

describe("BufferPool", () => {
	it.each([
		[0, 4096],
		[4096, 4096],
		[4097, 8192],
		[65_537, 131_072],
		[4_194_304, 4_194_304],
		[4_194_305, 4_198_400],
	])("lends at least %i bytes: %i, alone in its memory", (minBytes, bytes) => {
		const buffer = new BufferPool(0).take(minBytes);
		expect(buffer.length).toBe(bytes);
		expect(buffer.buffer.byteLength).toBe(bytes);
	});

	it("lends again what it was given back, and only once", () => {
		const pool = new BufferPool(8192);
		const lent = pool.take(5000);
		pool.give(lent);
		expect(pool.idleBytes).toBe(8192);
		expect(pool.take(8000).buffer).toBe(lent.buffer);
		expect(pool.idleBytes).toBe(0);
		expect(pool.take(8000).buffer).not.toBe(lent.buffer);
	});

	it("keeps no more than it may", () => {
		const pool = new BufferPool(12_000);
		const lent = [pool.take(1), pool.take(1), pool.take(1)];
		for (const buffer of lent) pool.give(buffer);
		expect(pool.idleBytes).toBe(8192);
	});

	it("keeps nothing larger than 4 MiB", () => {
		const pool = new BufferPool(1e9);
		pool.give(pool.take(4_194_305));
		expect(pool.idleBytes).toBe(0);
	});

	it("refuses what is not a whole buffer of its own sizes", () => {
		const pool = new BufferPool(1e6);
		expect(() => pool.give(pool.take(8192).subarray(0, 4096))).toThrow(RangeError);
		expect(() => pool.give(Buffer.allocUnsafeSlow(12_288))).toThrow(RangeError);
		expect(() => pool.give(Buffer.allocUnsafeSlow(100))).toThrow(RangeError);
		expect(pool.idleBytes).toBe(0);
	});
});
