/** Memory of what is read from the object store: shared while it is used, bounded, and given back at once and not too early. */
import { describe, expect, it } from "vitest";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { readBatchHeader } from "../../../src/record/batch.ts";
import { crc32c } from "../../../src/record/crc32c.ts";
import { type Block, storeBlock } from "../../../tiering/bundle/block.ts";
import type { Compression } from "../../../tiering/bundle/compression.ts";
import { BlockMemory } from "../../../tiering/read/block-memory.ts";
import { freeMemory } from "../../../tiering/read/free-memory.ts";
import { TieredRange } from "../../../tiering/read/tiered-range.ts";
import { WindowMemory } from "../../../tiering/read/window-memory.ts";
import { batchAt } from "../../support/bundles.ts";
import { inlineCompression } from "../../support/inline-compression.ts";

const KIB = 1024;
const KEY = "gw/0000000001/1.bundle";
const noise = new SimulatedRandom("memory").bytes(100 * KIB);

/** A block of one batch of some 100 KiB, at its own position. */
async function blockOf(
	number: number,
	value: Buffer = Buffer.alloc(100 * KIB, number),
): Promise<{ block: Block; stored: Buffer }> {
	const raw = batchAt(number, [value]);
	const { stored, codec } = await storeBlock(raw, false, inlineCompression);
	const { maxTimestamp } = readBatchHeader(raw, 0);
	const place = { baseOffset: number, nextOffset: number + 1, position: number * 1000 };
	const sizes = { storedBytes: stored.length, rawBytes: raw.length, crc: crc32c(stored) };
	return { block: { ...place, ...sizes, maxTimestamp, codec }, stored };
}

/** Decompresses when it is told to. */
class HeldCompression implements Compression {
	readonly zstd = inlineCompression.zstd;
	readonly gzip = inlineCompression.gzip;
	readonly gunzip = inlineCompression.gunzip;
	readonly held: (() => void)[] = [];
	/** What came out. */
	readonly made: Buffer[] = [];

	async unzstd(bytes: Uint8Array, rawBytes: number): Promise<Buffer> {
		await new Promise<void>((resolve) => this.held.push(resolve));
		const raw = await inlineCompression.unzstd(bytes, rawBytes);
		this.made.push(raw);
		return raw;
	}

	async letGo(): Promise<void> {
		for (const resolve of this.held.splice(0)) resolve();
		await new Promise((resolve) => setImmediate(resolve));
	}
}

const isFreed = (buffer: Buffer | undefined) => buffer?.length === 0;

describe("decoded blocks", () => {
	it("are decoded once for all who ask meanwhile, two at a time", async () => {
		const compression = new HeldCompression();
		const memory = new BlockMemory(1024 * KIB, compression);
		const blocks = await Promise.all([0, 1, 2].map((number) => blockOf(number)));
		const offsets: number[] = [];
		const uses = [0, 0, 1, 2, 0].map((i) => {
			const { block, stored } = blocks[i] as { block: Block; stored: Buffer };
			return memory.use(KEY, block, stored, (raw) => void offsets.push(readBatchHeader(raw, 0).baseOffset));
		});
		expect(compression.held).toHaveLength(2);
		await compression.letGo();
		expect(compression.held).toHaveLength(1);
		await compression.letGo();
		await Promise.all(uses);
		expect(offsets.sort()).toEqual([0, 0, 0, 1, 2]);
		expect(compression.made).toHaveLength(3);
		const first = blocks[0] as { block: Block; stored: Buffer };
		await memory.use(KEY, first.block, first.stored, () => {});
		expect(compression.made).toHaveLength(3);
	});

	it("are kept within the bound, the least recently used go, and their memory with them", async () => {
		const compression = new HeldCompression();
		const memory = new BlockMemory(250 * KIB, compression);
		const blocks = await Promise.all([0, 1, 2].map((number) => blockOf(number)));
		for (const { block, stored } of blocks) {
			const use = memory.use(KEY, block, stored, () => {});
			await compression.letGo();
			await use;
			// The first is used again and again.
			memory.find(KEY, (blocks[0] as { block: Block }).block);
		}
		expect(memory.bytes).toBeLessThanOrEqual(250 * KIB);
		expect(blocks.map(({ block }) => memory.find(KEY, block) !== undefined)).toEqual([true, false, true]);
		expect(compression.made.map(isFreed)).toEqual([false, true, false]);
		memory.clear();
		expect(memory.bytes).toBe(0);
		expect(compression.made.map(isFreed)).toEqual([true, true, true]);
	});

	it("stay as long as somebody who waited has not used them, though there is no room to keep them", async () => {
		const compression = new HeldCompression();
		const memory = new BlockMemory(10, compression);
		const { block, stored } = await blockOf(0);
		const seen: number[] = [];
		const uses = [1, 2, 3].map(() => memory.use(KEY, block, stored, (raw) => void seen.push(raw.length)));
		await compression.letGo();
		await Promise.all(uses);
		expect(seen).toEqual(Array(3).fill(block.rawBytes));
		expect(memory.bytes).toBe(0);
		expect(compression.made.map(isFreed)).toEqual([true]);
	});

	it("that are stored as they are do not hold, nor free, what they came with", async () => {
		const memory = new BlockMemory(1024 * KIB, inlineCompression);
		const { block, stored } = await blockOf(0, noise);
		expect(block.codec).toBe(0);
		await memory.use(KEY, block, stored, (raw) => expect(raw.buffer).not.toBe(stored.buffer));
		memory.clear();
		expect(stored).toHaveLength(block.storedBytes);
	});

	it("that are damaged are told to all who ask, and asked for anew", async () => {
		const memory = new BlockMemory(1024 * KIB, inlineCompression);
		const { block, stored } = await blockOf(0);
		const bad: Buffer = Buffer.from(stored);
		bad[20] = (bad[20] as number) ^ 1;
		const uses = [1, 2].map(() => memory.use(KEY, block, bad, () => "used"));
		for (const use of uses) await expect(use).rejects.toThrow(KEY);
		expect(await memory.use(KEY, block, stored, () => "used")).toBe("used");
	});
});

describe("fetched windows", () => {
	/** Windows of 100 KiB, a block each. */
	const range = new TieredRange(
		{ partitionId: 1, key: KEY, baseOffset: 0, nextOffset: 10 },
		Array.from({ length: 10 }, (_, i) => ({
			...{ baseOffset: i, nextOffset: i + 1, position: i * 100 * KIB, storedBytes: 100 * KIB, rawBytes: 100 * KIB },
			...{ maxTimestamp: i, crc: 0, codec: 0 as const },
		})),
		100 * KIB,
	);
	const windows = (...indexes: number[]) => indexes.map((i) => range.windows[i] as (typeof range.windows)[number]);

	function keep(memory: WindowMemory, indexes: number[], isAhead = false): Buffer {
		const bytes = Buffer.alloc(indexes.length * 100 * KIB);
		indexes.forEach((index, i) => {
			bytes.fill(index, i * 100 * KIB, (i + 1) * 100 * KIB);
		});
		expect(memory.reserve(bytes.length, true)).toBe(true);
		memory.keep({ windows: windows(...indexes), bytes, isAhead, isCached: false });
		return bytes;
	}

	it("are found each in what came together", async () => {
		const memory = new WindowMemory(1024 * KIB, new SimulatedClock());
		keep(memory, [3, 4, 5]);
		const [window] = windows(4) as [ReturnType<typeof windows>[number]];
		const found = await memory.use(window, async (bytes) => ({
			length: bytes.length,
			values: [bytes[0], bytes.at(-1)],
		}));
		expect(found).toEqual({ length: 100 * KIB, values: [4, 4] });
		expect(windows(2, 3, 6).map((each) => memory.has(each))).toEqual([false, true, false]);
	});

	it("give their memory back when they go, but for who is working with it", async () => {
		const memory = new WindowMemory(1024 * KIB, new SimulatedClock());
		const bytes = keep(memory, [0, 1]);
		const [window] = windows(1) as [ReturnType<typeof windows>[number]];
		const work = Promise.withResolvers<void>();
		const used = memory.use(window, async (view) => {
			await work.promise;
			return view[0];
		});
		memory.drop(window);
		expect(memory.bytes).toBe(0);
		expect(memory.has(window)).toBe(false);
		expect(isFreed(bytes)).toBe(false);
		work.resolve();
		expect(await used).toBe(1);
		expect(isFreed(bytes)).toBe(true);
	});

	it("make room when they have been read to the end, and what nobody has asked for only for who waits", () => {
		const clock = new SimulatedClock();
		const memory = new WindowMemory(300 * KIB, clock);
		keep(memory, [0]);
		keep(memory, [1]);
		keep(memory, [2], true);
		expect(memory.reserve(100 * KIB, false)).toBe(false);
		memory.finished(windows(1)[0] as ReturnType<typeof windows>[number]);
		expect(memory.reserve(100 * KIB, false)).toBe(true);
		expect(windows(0, 1, 2).map((each) => memory.has(each))).toEqual([true, false, true]);
		expect(memory.reserve(100 * KIB, false)).toBe(false);
		expect(memory.reserve(100 * KIB, true)).toBe(true);
		expect(windows(0, 2).map((each) => memory.has(each))).toEqual([true, false]);
		expect(memory.reserve(100 * KIB, true)).toBe(false);
	});

	it("that were read in part make room for who waits, the least recently used first, but not while they are worked with", async () => {
		const clock = new SimulatedClock();
		const memory = new WindowMemory(300 * KIB, clock);
		for (const index of [0, 1, 2]) keep(memory, [index]);
		const read = async (index: number, work = Promise.resolve()) => {
			await memory.use(windows(index)[0] as ReturnType<typeof windows>[number], () => work);
			await clock.advance(1);
		};
		for (const index of [1, 0, 2]) await read(index);
		expect(memory.reserve(100 * KIB, false)).toBe(false);
		const { promise, resolve } = Promise.withResolvers<void>();
		const working = read(1, promise);
		await clock.advance(1);
		for (const index of [0, 2]) await read(index);
		expect(memory.reserve(100 * KIB, true)).toBe(true);
		expect(windows(0, 1, 2).map((each) => memory.has(each))).toEqual([false, true, true]);
		resolve();
		await working;
		expect(memory.reserve(100 * KIB, true)).toBe(true);
		expect(windows(1, 2).map((each) => memory.has(each))).toEqual([false, true]);
	});

	it("that nobody has come for in five seconds make room", async () => {
		const clock = new SimulatedClock();
		const memory = new WindowMemory(300 * KIB, clock);
		keep(memory, [0, 1, 2]);
		await clock.advance(5000);
		expect(memory.reserve(100 * KIB, true)).toBe(false);
		await clock.advance(1);
		expect(memory.reserve(100 * KIB, true)).toBe(true);
		expect(memory.bytes).toBe(100 * KIB);
	});

	it("may be larger than the bound where nothing else is held", () => {
		const memory = new WindowMemory(100 * KIB, new SimulatedClock());
		expect(memory.reserve(500 * KIB, false)).toBe(true);
		expect(memory.reserve(1, true)).toBe(false);
		memory.giveBack(500 * KIB);
		expect(memory.bytes).toBe(0);
	});
});

describe("memory that is given back", () => {
	it("is none that others may share", () => {
		const small = Buffer.from("a small one, of the pool");
		const large = Buffer.alloc(100 * KIB, 1);
		const part = large.subarray(0, 50 * KIB);
		freeMemory(small);
		freeMemory(part);
		expect(small.toString()).toBe("a small one, of the pool");
		expect(large[99 * KIB]).toBe(1);
		freeMemory(large);
		expect(large).toHaveLength(0);
	});
});
