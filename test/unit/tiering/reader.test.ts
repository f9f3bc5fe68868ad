/** Reading back what only the object store has: the right bytes, few requests, bounded memory. */
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../../src/base/errors.ts";
import { batchAt } from "../../support/bundles.ts";
import { blocksOf, noiseBatch, refused, storedBlocks, TieredPartition } from "../../support/tiered-partition.ts";

describe("reading back", () => {
	it("gives the batch that holds the offset, and with room those behind it", async () => {
		const { world, batches } = await storedBlocks(6);
		expect(await world.read(3)).toEqual(batches[3]);
		expect(await world.read(0, 10_000)).toEqual(Buffer.concat(batches.slice(0, 4)));
		expect(await world.read(1, (batches[1] as Buffer).length * 2)).toEqual(Buffer.concat(batches.slice(1, 3)));
		expect(await world.read(1, (batches[1] as Buffer).length * 2 - 1)).toEqual(batches[1]);
	});

	it("gives a batch that is larger than was asked for, whole", async () => {
		const world = new TieredPartition();
		const large = noiseBatch(0, 50_000);
		await world.addRange([[large], [noiseBatch(1)]], { baseOffset: 0, nextOffset: 2 });
		expect(await world.read(0, 100)).toEqual(large);
	});

	it("reads into the memory that it is given", async () => {
		const { world, batches } = await storedBlocks(2);
		const taken: Buffer[] = [];
		const take = (bytes: number) => {
			const buffer = Buffer.alloc(bytes + 1000, 0xff);
			taken.push(buffer);
			return buffer;
		};
		const bytes = await world.finish(world.reader.read(world, 0, 3000, 1000, take));
		expect(bytes).toEqual(Buffer.concat(batches.slice(0, 2)));
		expect(taken).toHaveLength(1);
		expect(bytes.buffer).toBe(taken[0]?.buffer);
	});

	it("finds a record in the middle of a batch", async () => {
		const world = new TieredPartition();
		const many = batchAt(10, ["a", "b", "c"]);
		await world.addRange([[many, noiseBatch(13)]], { baseOffset: 10, nextOffset: 14 });
		expect(await world.read(12)).toEqual(many);
	});

	it("goes on from range to range, through what compaction left out", async () => {
		const world = new TieredPartition();
		const kept = [noiseBatch(2), noiseBatch(7), noiseBatch(8), noiseBatch(25), noiseBatch(40)];
		await world.addRange([[kept[0] as Buffer], kept.slice(1, 3)], { baseOffset: 0, nextOffset: 20 });
		await world.addRange([], { baseOffset: 20, nextOffset: 22 });
		await world.addRange([kept.slice(3, 4)], { baseOffset: 22, nextOffset: 30 });
		await world.addRange([kept.slice(4)], { baseOffset: 30, nextOffset: 41 });
		for (const maxBytes of [1, 2500, 1 << 20]) expect(await world.readOn(0, maxBytes)).toEqual(kept);
		expect(await world.read(9)).toEqual(kept[3]);
		expect(await world.read(26)).toEqual(kept[4]);
		expect(world.losses).toEqual([]);
	});

	it("is empty where compaction left nothing before the local start", async () => {
		const world = new TieredPartition();
		await world.addRange([[noiseBatch(0)]], { baseOffset: 0, nextOffset: 20 });
		expect(await world.read(1)).toHaveLength(0);
		world.localStartOffset = 10;
		expect(await world.read(1)).toHaveLength(0);
	});

	it("is empty where what comes next begins at the local start or behind it: that is read here", async () => {
		const world = new TieredPartition();
		await world.addRange([[noiseBatch(0)], [noiseBatch(10)]], { baseOffset: 0, nextOffset: 20 });
		world.localStartOffset = 10;
		expect(await world.read(1)).toHaveLength(0);
		expect(world.gets).toBe(0);
	});

	it("says what no object has, and goes on behind it", async () => {
		const world = new TieredPartition();
		const rest = noiseBatch(10);
		await world.addRange([[rest]], { baseOffset: 10, nextOffset: 11 });
		expect(await world.read(4)).toEqual(rest);
		expect(world.losses).toEqual(["4..10"]);
		world.localStartOffset = 15;
		expect(await world.read(12)).toHaveLength(0);
		expect(world.losses).toEqual(["4..10", "12..15"]);
	});

	it("says so too where both sides of it are in memory", async () => {
		const world = new TieredPartition();
		const batches = [noiseBatch(0), noiseBatch(5)];
		await world.addRange([[batches[0] as Buffer]], { baseOffset: 0, nextOffset: 1 });
		await world.addRange([[batches[1] as Buffer]], { baseOffset: 5, nextOffset: 6 });
		await world.read(5);
		expect(await world.read(0, 1 << 20)).toEqual(batches[0]);
		expect(await world.read(1, 1 << 20)).toEqual(batches[1]);
		expect(world.losses).toEqual(["1..5"]);
	});
});

describe("what a read costs", () => {
	it("a first record costs one request, of a window", async () => {
		const { world, batches, range } = await storedBlocks(40);
		expect(await world.read(33)).toEqual(batches[33]);
		expect(world.gets).toBe(1);
		const [, , first, second] = range.blocks.slice(14) as [
			unknown,
			unknown,
			{ storedBytes: number },
			{ storedBytes: number },
		];
		expect(world.store.bytesReceived).toBe(first.storedBytes + second.storedBytes);
		expect(world.reader.stats()).toMatchObject({ gets: 1, bytes: world.store.bytesReceived, errors: 0 });
	});

	it("what is in memory costs nothing", async () => {
		const { world, batches } = await storedBlocks(4);
		for (let i = 0; i < 4; i++) expect(await world.read(3 - i)).toEqual(batches[3 - i]);
		expect(world.gets).toBe(1);
	});

	it("readers of the same window share a request", async () => {
		const { world, batches } = await storedBlocks(4);
		world.store.latencyMs = [50, 50];
		const found = await world.finish(Promise.all([0, 1, 2, 0].map((at) => world.reader.read(world, at, 1, 1000))));
		expect(found).toEqual([0, 1, 2, 0].map((at) => batches[at]));
		expect(world.gets).toBe(1);
	});

	it("who goes on finds what comes next there already, by requests that grow", async () => {
		const { world, batches } = await storedBlocks(160);
		world.store.latencyMs = [20, 20];
		let waits = 0;
		for (let offset = 0; offset < 320; offset++) {
			const before = world.clock.monotonic();
			expect(await world.read(offset)).toEqual(batches[offset]);
			if (world.clock.monotonic() > before) waits += 1;
			// A reader that does something with it.
			await world.clock.advance(20);
		}
		expect(waits).toBeLessThanOrEqual(2);
		// 80 windows; twice for each doubling.
		expect(world.gets).toBeLessThanOrEqual(16);
		expect(world.store.bytesReceived).toBe(world.reader.stats().bytes);
	});

	it("nothing is fetched twice, nor beyond the range's blocks or the local start", async () => {
		const { world, range } = await storedBlocks(64);
		await world.addRange(blocksOf(10, 128), { baseOffset: 128, nextOffset: 148 });
		world.localStartOffset = 101;
		await world.readOn(0, 2000);
		const windows = range.blocks.slice(0, 52).reduce((sum, { storedBytes }) => sum + storedBytes, 0);
		expect(world.store.bytesReceived).toBe(windows);
	});

	it("who reads for long is read ahead for by few requests, not one for each step", async () => {
		const world = new TieredPartition({ windowBytes: 64 * 1024 });
		await world.addRange(blocksOf(240, 0, 32_000), { baseOffset: 0, nextOffset: 480 });
		world.store.latencyMs = [5, 5];
		for (let offset = 0; offset < 480; offset += 2) {
			await world.read(offset, 65_000);
			await world.clock.advance(5);
		}
		// 240 windows, 15 MB.
		expect(world.gets).toBeLessThanOrEqual(35);
	});

	it("what another reader has brought is not brought again", async () => {
		const { world } = await storedBlocks(64);
		for (const offset of [20, 60, 90]) await world.read(offset);
		await world.readOn(0, 2000);
		expect(world.store.bytesReceived).toBe(
			[...world.store.bucket.objects().values()].reduce((sum, { length }) => sum + length - 116, 0),
		);
	});

	it("small ranges one behind the other are fetched ahead too", async () => {
		const world = new TieredPartition({ windowBytes: 4500 });
		for (let i = 0; i < 20; i++) await world.addRange(blocksOf(1, 2 * i), { baseOffset: 2 * i, nextOffset: 2 * i + 2 });
		world.store.latencyMs = [20, 20];
		let waits = 0;
		for (let offset = 0; offset < 40; offset++) {
			const before = world.clock.monotonic();
			await world.read(offset);
			if (world.clock.monotonic() > before) waits += 1;
			await world.clock.advance(20);
		}
		expect(waits).toBeLessThanOrEqual(2);
		expect(world.gets).toBe(20);
	});

	it("at most four requests are under way, and partitions take turns", async () => {
		const world = new TieredPartition({ windowBytes: 1000 });
		const other = { id: world.id + 1, topic: world.topic, number: 1, logStartOffset: 0, localStartOffset: 2 };
		await world.addRange(blocksOf(10), { baseOffset: 0, nextOffset: 20 });
		await world.addRange(blocksOf(1), { baseOffset: 0, nextOffset: 2, partitionId: other.id });
		world.store.latencyMs = [100, 100];
		const done: string[] = [];
		const reads = Array.from({ length: 10 }, (_, i) =>
			world.reader.read(world, 2 * i, 1, 30_000).then(() => done.push(`a${i}`)),
		);
		reads.push(world.reader.read(other, 0, 1, 30_000).then(() => done.push("b")));
		await world.clock.settle();
		expect(world.store.running).toBe(4);
		await world.clock.advance(100);
		expect(world.store.running).toBe(4);
		await world.finish(Promise.all(reads));
		expect(done.indexOf("b")).toBeLessThan(8);
		expect(world.gets).toBe(11);
	});
});

describe("memory", () => {
	it("is bounded, whatever readers there are, and nobody is starved", async () => {
		const MIB = 1024 * 1024;
		const world = new TieredPartition({ windowBytes: 256 * 1024 });
		const content = blocksOf(100, 0, 100_000);
		await world.addRange(content, { baseOffset: 0, nextOffset: 200 });
		world.store.latencyMs = [10, 50];
		let most = 0;
		const readers = Array.from({ length: 12 }, async (_, i) => {
			for (let offset = i * 16; offset < i * 16 + 16; offset++) {
				const bytes = await world.reader.read(world, offset, 1, 600_000);
				// Many bytes: toEqual would take its time.
				expect(bytes.equals(content.flat()[offset] as Buffer)).toBe(true);
				most = Math.max(most, world.reader.stats().memoryBytes);
			}
		});
		await world.finish(Promise.all(readers));
		expect(most).toBeGreaterThan(MIB);
		expect(most).toBeLessThanOrEqual(8 * MIB);
	});

	it("is not kept for a reader that went away from one that came", async () => {
		const world = new TieredPartition({ windowBytes: 64 * 1024 });
		await world.addRange(blocksOf(240, 0, 32_000), { baseOffset: 0, nextOffset: 480 });
		world.store.latencyMs = [5, 5];
		for (let offset = 0; offset < 150; offset += 2) await world.read(offset, 65_000);
		await world.clock.advance(1000);
		const before = world.clock.monotonic();
		const [ahead, reads] = [world.reader.stats().memoryBytes, [] as Promise<Buffer>[]];
		expect(ahead).toBeGreaterThan(3 * 1024 * 1024);
		for (let i = 180; i < 240; i++) reads.push(world.reader.read(world, 2 * i, 1, 60_000));
		await world.finish(Promise.all(reads));
		expect(world.clock.monotonic() - before).toBeLessThan(1000);
	});

	it("keeps nobody waiting who reads here and there, more than there is room for", async () => {
		const world = new TieredPartition({ windowBytes: 64 * 1024 });
		await world.addRange(blocksOf(240, 0, 32_000), { baseOffset: 0, nextOffset: 480 });
		world.store.latencyMs = [5, 5];
		const before = world.clock.monotonic();
		for (let i = 0; i < 240; i++) await world.read(2 * ((i * 77) % 240));
		expect(world.clock.monotonic() - before).toBe(240 * 5);
	});

	it("goes when nobody reads", async () => {
		const { world } = await storedBlocks(40);
		await world.readOn(0, 3000);
		expect(world.reader.stats().memoryBytes).toBeGreaterThan(0);
		await world.clock.advance(31_000);
		expect(world.reader.stats().memoryBytes).toBe(0);
		expect(world.clock.pending).toBe(0);
	});

	it("goes too when what came was waited for by nobody", async () => {
		const { world } = await storedBlocks(4);
		world.store.latencyMs = [40_000, 40_000];
		await expect(world.read(0, 1, 100)).rejects.toThrow();
		await world.clock.advance(120_000);
		expect(world.reader.stats().memoryBytes).toBe(0);
		expect(world.clock.pending).toBe(0);
	});

	it("what somebody waits for stays until it is read, so that many who come in turn all get on", async () => {
		const world = new TieredPartition({ windowBytes: 256 * 1024 });
		const content = blocksOf(60, 0, 100_000);
		await world.addRange(content, { baseOffset: 0, nextOffset: 120 });
		world.store.latencyMs = [100, 100];
		const left = new Set(Array.from({ length: 60 }, (_, i) => 2 * i));
		// Each asks, is told to come again, and comes in the next round: by then more could have come than there is room for.
		for (let round = 0; round < 20 && left.size > 0; round++) {
			for (const offset of left) {
				const found = await world.finish(world.reader.read(world, offset, 1, 0)).catch(() => undefined);
				if (found === undefined) continue;
				expect(found.equals(content.flat()[offset] as Buffer)).toBe(true);
				left.delete(offset);
			}
			await world.clock.advance(3000);
		}
		expect(left.size).toBe(0);
		expect(world.gets).toBe(60);
	});
});

describe("looking for a time", () => {
	it("begins at the first block that has it, and asks the store for nothing", async () => {
		const world = new TieredPartition();
		await world.addRange(blocksOf(5), { baseOffset: 0, nextOffset: 10 });
		await world.addRange(blocksOf(5, 10), { baseOffset: 10, nextOffset: 20 });
		const find = (timestampMs: number, from = 0) => world.reader.lookUpTime(world, timestampMs, from);
		expect(find(0)).toBe(0);
		expect(find(3000)).toBe(2);
		expect(find(3001)).toBe(4);
		expect(find(9500)).toBe(10);
		expect(find(0, 5)).toBe(5);
		expect(find(4000, 7)).toBe(7);
		expect(find(19_000, 7)).toBe(18);
		expect(find(19_001)).toBeUndefined();
		world.localStartOffset = 16;
		expect(find(15_000)).toBe(14);
		expect(find(16_000)).toBeUndefined();
		expect(world.gets).toBe(0);
	});

	it("goes on to a later range where an earlier one has it before the offset only", async () => {
		const world = new TieredPartition();
		const early = [[batchAt(0, ["late"], { timestamp: 9000 })], [batchAt(1, ["early"], { timestamp: 1000 })]];
		await world.addRange(early, { baseOffset: 0, nextOffset: 2 });
		await world.addRange([[batchAt(2, ["later"], { timestamp: 9500 })]], { baseOffset: 2, nextOffset: 3 });
		expect(world.reader.lookUpTime(world, 8000, 0)).toBe(0);
		expect(world.reader.lookUpTime(world, 8000, 1)).toBe(2);
		expect(world.reader.maxTimestamp(world)).toBe(9500);
	});

	it("has no largest timestamp where there are no ranges", () => {
		expect(new TieredPartition().reader.maxTimestamp(new TieredPartition())).toBe(-1);
	});
});

describe("a catalog that makes no sense", () => {
	it("is told, and nothing is passed over", async () => {
		const world = new TieredPartition();
		const id = world.catalog.tier.beginBundle({ incarnation: 1, sequence: 1, key: "gw/1/1.bundle", createdMs: 0 });
		world.catalog.tier.commitBundle(id, 100, [
			{
				partitionId: world.id,
				baseOffset: 0,
				nextOffset: 5,
				storedBytes: 1,
				rawBytes: 1,
				maxTimestamp: 1,
				blocks: Buffer.from([99, 1, 2]),
			},
		]);
		world.localStartOffset = 5;
		await expect(world.read(0)).rejects.toEqual(refused("KAFKA_STORAGE_ERROR", /index of telemetry-0/));
		expect(() => world.reader.lookUpTime(world, 0, 0)).toThrow(BrokerError);
	});
});

describe("closing", () => {
	it("refuses who waits in the queue and who comes, and leaves no timer", async () => {
		const world = new TieredPartition({ windowBytes: 1000 });
		await world.addRange(blocksOf(10), { baseOffset: 0, nextOffset: 20 });
		world.store.latencyMs = [1000, 1000];
		const reads = Array.from({ length: 10 }, (_, i) => world.reader.read(world, 2 * i, 1, 30_000));
		const outcomes = Promise.allSettled(reads);
		await world.clock.settle();
		await world.reader.close();
		await world.store.close();
		expect((await world.finish(outcomes)).map(({ status }) => status)).toEqual(Array(10).fill("rejected"));
		await expect(world.read(0)).rejects.toThrow();
		expect(world.lines).toEqual([]);
		await world.clock.advance(60_000);
		expect(world.clock.pending).toBe(0);
	});
});
