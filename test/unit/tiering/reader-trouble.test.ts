/** Reading back from a store that is slow, away or wrong: what readers are told, what it costs, and that nothing is passed over. */
import { describe, expect, it } from "vitest";
import { blocksOf, noiseBatch, refused, storedBlocks, TieredPartition } from "../../support/tiered-partition.ts";

const GET = { calls: ["get"] } as const;

describe("a slow store", () => {
	it("is waited for as long as the reader has patience; what comes then waits for the next read", async () => {
		const { world, batches } = await storedBlocks(4);
		world.store.latencyMs = [2000, 2000];
		const begun = world.clock.monotonic();
		await expect(world.read(1, 1, 500)).rejects.toEqual(refused("OFFSET_NOT_AVAILABLE", /simulated:\/\/bucket/));
		expect(world.clock.monotonic() - begun).toBe(500);
		await world.clock.advance(2000);
		expect(await world.read(1, 1, 0)).toEqual(batches[1]);
		expect(world.gets).toBe(1);
	});

	it("is asked once, however often a reader asks", async () => {
		const { world, batches } = await storedBlocks(4);
		world.store.latencyMs = [2000, 2000];
		for (let i = 0; i < 4; i++) await expect(world.read(1, 1, 400)).rejects.toEqual(refused("OFFSET_NOT_AVAILABLE"));
		expect(await world.read(1, 1, 1000)).toEqual(batches[1]);
		expect(world.gets).toBe(1);
	});

	it("is not asked any more for what nobody has asked for in a while", async () => {
		const world = new TieredPartition({ windowBytes: 1000 });
		await world.addRange(blocksOf(10), { baseOffset: 0, nextOffset: 20 });
		world.store.latencyMs = [15_000, 15_000];
		for (let i = 0; i < 10; i++) await expect(world.read(2 * i, 1, 0)).rejects.toThrow();
		await world.clock.advance(60_000);
		expect(world.gets).toBe(4);
	});
});

describe("a store that is away", () => {
	it("is told with object and cause, and nobody waits for it again for a while that grows", async () => {
		const { world, batches } = await storedBlocks(4);
		world.store.away = true;
		await expect(world.read(1)).rejects.toEqual(refused("KAFKA_STORAGE_ERROR", /there is no link/));
		for (let i = 0; i < 5; i++) await expect(world.read(i)).rejects.toEqual(refused("KAFKA_STORAGE_ERROR"));
		expect(world.gets).toBe(1);
		const asked: number[] = [];
		for (let second = 1; second <= 70; second++) {
			await world.clock.advance(1000);
			const before = world.gets;
			await expect(world.read(1)).rejects.toThrow();
			if (world.gets > before) asked.push(second);
		}
		expect(asked).toEqual([1, 3, 7, 15, 31, 61]);
		expect(world.reader.stats()).toMatchObject({ errors: 7, problem: expect.stringMatching(/no link/) });
		world.store.away = false;
		await world.clock.advance(30_000);
		expect(await world.read(1)).toEqual(batches[1]);
		expect(world.reader.stats().problem).toBeUndefined();
		expect(world.messages("warn")).toHaveLength(1);
		expect(world.messages("info")).toHaveLength(1);
	});

	it("is asked by one reader, and the others do not wait for what that finds out", async () => {
		const { world, batches } = await storedBlocks(8);
		world.store.away = true;
		await expect(world.read(1)).rejects.toThrow();
		world.store.away = false;
		world.store.latencyMs = [5000, 5000];
		await world.clock.advance(1000);
		const first = world.reader.read(world, 1, 1, 30_000);
		await world.clock.settle();
		await expect(world.read(8)).rejects.toEqual(refused("KAFKA_STORAGE_ERROR"));
		expect(await world.finish(first)).toEqual(batches[1]);
		expect(await world.read(8)).toEqual(batches[8]);
	});

	it("refuses at once whoever waits in the queue", async () => {
		const world = new TieredPartition({ windowBytes: 1000 });
		await world.addRange(blocksOf(10), { baseOffset: 0, nextOffset: 20 });
		world.store.inject({ ...GET, effect: "none", answer: "denied", times: 4 });
		const reads = Array.from({ length: 10 }, (_, i) => world.reader.read(world, 2 * i, 1, 30_000));
		const outcomes = await world.finish(Promise.allSettled(reads));
		expect(outcomes.map(({ status }) => status)).toEqual(Array(10).fill("rejected"));
		expect(world.gets).toBe(4);
		expect(world.messages("warn")).toHaveLength(1);
	});

	it("does not keep anybody from what is in memory or on the disk", async () => {
		const { world, batches } = await storedBlocks(8, { cacheBytes: 1 << 20 });
		for (let i = 0; i < 2; i++) {
			await world.read(0);
			await world.clock.advance(60_000);
		}
		expect(world.cached().size).toBe(1);
		await world.read(4);
		world.store.away = true;
		await expect(world.read(8)).rejects.toThrow();
		expect(await world.read(5)).toEqual(batches[5]);
		expect(await world.read(1)).toEqual(batches[1]);
	});

	it.each(["denied", "skewed", "no-bucket", "unreachable", "full"] as const)(
		"is one that answers %s",
		async (answer) => {
			const { world } = await storedBlocks(4);
			world.store.inject({ ...GET, effect: "none", answer });
			await expect(world.read(0)).rejects.toEqual(refused("KAFKA_STORAGE_ERROR", /failed on order/));
			expect(world.reader.stats().problem).toMatch(answer);
		},
	);
});

describe("an object that is missing or damaged", () => {
	it("missing: is told, logged once, and asked for again after a while that grows", async () => {
		const { world, range, batches } = await storedBlocks(4);
		const bytes = world.store.bucket.objects().get(range.key) as Buffer;
		world.store.bucket.delete(range.key);
		for (let second = 0; second < 40; second++) {
			await expect(world.read(0)).rejects.toEqual(refused("KAFKA_STORAGE_ERROR", new RegExp(range.key)));
			await world.clock.advance(1000);
		}
		expect(world.gets).toBe(6);
		expect(world.messages("error")).toHaveLength(1);
		expect(world.reader.stats()).toMatchObject({ errors: 6, damaged: 1, problem: expect.stringMatching(/is not in/) });
		world.store.bucket.put(range.key, bytes);
		await world.clock.advance(300_000);
		expect(await world.read(0)).toEqual(batches[0]);
		expect(world.reader.stats().damaged).toBe(0);
	});

	it("damaged: readers come up to the block and no further, with object and position, and nobody else is concerned", async () => {
		const { world, range, batches } = await storedBlocks(6);
		const { position } = range.blocks[1] as { position: number };
		world.store.bucket.flip(range.key, position + 100);
		expect(await world.read(0, 1 << 20)).toEqual(Buffer.concat(batches.slice(0, 2)));
		const told = refused("KAFKA_STORAGE_ERROR", new RegExp(`${range.key} at byte ${position}`));
		await expect(world.read(2)).rejects.toEqual(told);
		await expect(world.read(3, 1 << 20)).rejects.toEqual(told);
		expect(await world.read(4)).toEqual(batches[4]);
		expect(await world.read(0)).toEqual(batches[0]);
		expect(world.messages("error")).toHaveLength(1);
		expect(world.losses).toEqual([]);
		world.store.bucket.flip(range.key, position + 100);
		await expect(world.read(2)).rejects.toEqual(told);
		await world.clock.advance(1000);
		expect(await world.read(2)).toEqual(batches[2]);
		expect(world.messages("info")).toHaveLength(1);
	});

	it("cut short: what is there is read, and the rest is told", async () => {
		const { world, range, batches } = await storedBlocks(8, { windowBytes: 2200 });
		const bytes = world.store.bucket.objects().get(range.key) as Buffer;
		const { position } = range.blocks[4] as { position: number };
		world.store.bucket.put(range.key, bytes.subarray(0, position + 10));
		const read: Buffer[] = [];
		for (let offset = 0; offset < 8; offset++) read.push(await world.read(offset));
		expect(read).toEqual(batches.slice(0, 8));
		await expect(world.read(8)).rejects.toEqual(refused("KAFKA_STORAGE_ERROR", /ends at byte/));
		await expect(world.read(10)).rejects.toEqual(refused("KAFKA_STORAGE_ERROR", /ends at byte/));
	});

	it("one that the store refuses to give is no reason not to read others", async () => {
		const { world, batches } = await storedBlocks(8);
		world.store.inject({ ...GET, effect: "none", answer: "refused" });
		await expect(world.read(0)).rejects.toEqual(refused("KAFKA_STORAGE_ERROR"));
		expect(await world.read(4)).toEqual(batches[4]);
	});

	it("gone as it should: a reader behind the new log start never hears of it", async () => {
		const { world, range } = await storedBlocks(4);
		const later = noiseBatch(8);
		await world.addRange([[later]], { baseOffset: 8, nextOffset: 9 });
		world.store.latencyMs = [1000, 1000];
		const read = world.reader.read(world, 1, 1, 30_000);
		world.catalog.setLogStartOffsets([[world.id, 8]]);
		world.logStartOffset = 8;
		world.store.bucket.delete(range.key);
		await expect(world.finish(read)).rejects.toEqual(refused("OFFSET_OUT_OF_RANGE"));
		expect(world.messages("error")).toEqual([]);
		expect(world.losses).toEqual([]);
		expect(await world.read(8)).toEqual(later);
	});

	it("gone, and the records in another: they are found there", async () => {
		const { world, range, batches } = await storedBlocks(4);
		await world.read(0);
		world.catalog.forgetTiered(world.id, 0);
		world.store.bucket.delete(range.key);
		const anew = [batches.slice(0, 8) as Buffer[]];
		await world.addRange(anew, { baseOffset: 0, nextOffset: 8 });
		expect(await world.read(5)).toEqual(batches[5]);
		expect(world.messages("error")).toEqual([]);
	});
});

describe("the disk cache", () => {
	it("spares the store what was fetched before, over a restart too", async () => {
		const { world, batches } = await storedBlocks(8, { cacheBytes: 1 << 20 });
		for (let i = 0; i < 2; i++) {
			await world.readOn(0, 3000);
			await world.clock.advance(60_000);
		}
		const before = world.gets;
		await world.restart();
		expect(await world.readOn(0, 3000)).toEqual(batches);
		expect(world.gets).toBe(before);
		expect(world.reader.stats()).toMatchObject({ gets: 0, cacheHits: 4 });
	});

	it("that has rotted is a miss", async () => {
		const { world, batches } = await storedBlocks(2, { cacheBytes: 1 << 20 });
		for (let i = 0; i < 2; i++) {
			await world.read(0);
			await world.clock.advance(60_000);
		}
		const [name] = [...world.cached().keys()] as [string];
		world.disk.flip(name, 50);
		expect(await world.read(0)).toEqual(batches[0]);
		expect(world.gets).toBe(3);
		expect(world.messages("error")).toEqual([]);
	});

	it("has nothing of bundles that are gone", async () => {
		const { world, range } = await storedBlocks(2, { cacheBytes: 1 << 20 });
		for (let i = 0; i < 2; i++) {
			await world.read(0);
			await world.clock.advance(60_000);
		}
		expect(world.cached().size).toBe(1);
		world.reader.forgetBundle(range.key);
		expect(world.cached().size).toBe(0);
	});

	it("that is broken is in nobody's way", async () => {
		const { world, batches } = await storedBlocks(8, { cacheBytes: 1 << 20 });
		for (const operation of ["open", "read", "write", "makeDirectory"] as const)
			world.disk.inject({ operation, code: "EIO", times: Number.POSITIVE_INFINITY });
		for (let i = 0; i < 3; i++) {
			expect(await world.readOn(0, 3000)).toEqual(batches);
			await world.clock.advance(60_000);
		}
	});
});
