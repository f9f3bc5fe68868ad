/** Whatever ranges, blocks and gaps there are, and however they are read, readers get the bytes of the batches, each once and in order. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../../src/base/errors.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { encodeBatch, readBatchHeader } from "../../../src/record/batch.ts";
import { TieredPartition } from "../../support/tiered-partition.ts";

interface Model {
	readonly world: TieredPartition;
	/** By offset. */
	readonly batches: readonly Buffer[];
}

/** Ranges one behind the other, with blocks of any size, offsets left out at any place, values that compress and that do not. */
async function build(random: SimulatedRandom): Promise<Model> {
	const world = new TieredPartition({
		windowBytes: random.pick([1, 500, 2000, 20_000]),
		cacheBytes: random.pick([0, 3000, 1 << 20]),
	});
	world.store.latencyMs = random.pick([
		[0, 0],
		[0, 40],
		[100, 1500],
	] as const);
	const density = random.pick([1, 0.9, 0.5]);
	const batches: Buffer[] = [];
	let offset = random.between(0, 5);
	world.logStartOffset = offset;
	for (let left = random.between(1, 6); left > 0; left--) {
		const from = offset;
		const blocks: Buffer[][] = [];
		for (let count = random.between(0, 6); count > 0; count--) {
			const block: Buffer[] = [];
			for (let inBlock = random.between(1, 4); inBlock > 0; inBlock--) {
				if (!random.chance(density)) offset += random.between(1, 5);
				const batch = newBatch(random, offset);
				block.push(batch);
				offset = readBatchHeader(batch, 0).lastOffset + 1;
			}
			blocks.push(block);
		}
		offset += random.chance(density) && offset > from ? 0 : random.between(1, 3);
		await world.addRange(blocks, { baseOffset: from, nextOffset: offset, before: random.between(16, 500) });
		batches.push(...blocks.flat());
	}
	return { world, batches };
}

function newBatch(random: SimulatedRandom, baseOffset: number): Buffer {
	const records = Array.from({ length: random.between(1, 4) }, (_, i) => ({
		timestamp: 1000 * (baseOffset + i) - random.between(0, 5000) + 10_000,
		key: null,
		value: random.chance(0.5) ? random.bytes(random.between(0, 800)) : Buffer.alloc(random.between(0, 3000), "x"),
		headers: [],
	}));
	return encodeBatch(records, { baseOffset });
}

/** What a read at `offset` has to give, of what there is. */
function from(batches: readonly Buffer[], offset: number): readonly Buffer[] {
	return batches.filter((batch) => readBatchHeader(batch, 0).lastOffset >= offset);
}

/** `bytes` are the first of `expected`, whole ones: one at least, else no more than `maxBytes`. */
function isRightAnswer(bytes: Buffer, expected: readonly Buffer[], maxBytes: number): boolean {
	if (expected.length === 0) return bytes.length === 0;
	let length = 0;
	let count = 0;
	while (count < expected.length && length < bytes.length) length += (expected[count++] as Buffer).length;
	return (
		count > 0 && bytes.equals(Buffer.concat(expected.slice(0, count))) && (count === 1 || bytes.length <= maxBytes)
	);
}

describe("reading back", () => {
	it("gives the right bytes at any offset, whoever else reads", async () => {
		await fc.assert(
			fc.asyncProperty(fc.integer(), async (seed) => {
				const random = new SimulatedRandom(seed);
				const { world, batches } = await build(random);
				const reads = Array.from({ length: random.between(1, 30) }, () => {
					const offset = random.between(world.logStartOffset, world.localStartOffset - 1);
					const maxBytes = random.pick([1, 300, 2000, 50_000]);
					return { offset, maxBytes };
				});
				const answers = await world.finish(
					Promise.all(reads.map(({ offset, maxBytes }) => world.reader.read(world, offset, maxBytes, 600_000))),
				);
				reads.forEach(({ offset, maxBytes }, i) => {
					expect(isRightAnswer(answers[i] as Buffer, from(batches, offset), maxBytes)).toBe(true);
				});
				expect(world.losses).toEqual([]);
			}),
		);
	});

	it("gives who reads on everything once, through time-outs, outages, restarts and damage that passes", async () => {
		await fc.assert(
			fc.asyncProperty(fc.integer(), async (seed) => {
				const random = new SimulatedRandom(seed);
				const { world, batches } = await build(random);
				const troubleChance = random.pick([0, 0.1, 0.5]);
				const shortChance = random.pick([0, 0.1]);
				const readers = Array.from({ length: random.between(1, 3) }, () => ({
					next: world.logStartOffset,
					maxBytes: random.pick([1, 700, 4000, 100_000]),
					found: [] as Buffer[],
				}));
				for (let step = 0; readers.some(({ next }) => next < world.localStartOffset); step++) {
					// In the end all is well.
					const isBad = step < 40;
					world.store.troubleChance = isBad ? troubleChance : 0;
					if (isBad && random.chance(shortChance))
						world.store.inject({ calls: ["get"], effect: "short", answer: "ok", times: 1 });
					if (isBad && random.chance(0.05)) await world.restart();
					const reader = random.pick(readers);
					if (reader.next >= world.localStartOffset) continue;
					const patienceMs = isBad ? random.pick([0, 20, 5000]) : 60_000;
					try {
						const bytes = await world.read(reader.next, reader.maxBytes, patienceMs);
						if (bytes.length === 0) {
							expect(from(batches, reader.next)).toEqual([]);
							reader.next = world.localStartOffset;
							continue;
						}
						expect(isRightAnswer(bytes, from(batches, reader.next), reader.maxBytes)).toBe(true);
						reader.found.push(bytes);
						let at = 0;
						while (at < bytes.length) {
							const header = readBatchHeader(bytes, at);
							reader.next = header.lastOffset + 1;
							at += header.sizeBytes;
						}
					} catch (error) {
						if (!(error instanceof BrokerError)) throw error;
						expect(["OFFSET_NOT_AVAILABLE", "KAFKA_STORAGE_ERROR"]).toContain(error.code);
						await world.clock.advance(random.pick([10, 1000, 400_000]));
					}
				}
				for (const { found } of readers) expect(Buffer.concat(found).equals(Buffer.concat(batches))).toBe(true);
				expect(world.losses).toEqual([]);
			}),
			{ numRuns: 40 },
		);
	});

	it("finds where to begin looking for a time: before the first record that has it, and in no block that has none", async () => {
		await fc.assert(
			fc.asyncProperty(fc.integer(), async (seed) => {
				const random = new SimulatedRandom(seed);
				const { world, batches } = await build(random);
				world.localStartOffset = random.between(world.logStartOffset + 1, world.localStartOffset);
				const begin = random.between(world.logStartOffset, world.localStartOffset - 1);
				const timestamp = random.between(0, 1000 * (world.localStartOffset + 15));
				const expected = from(batches, begin)
					.map((batch) => readBatchHeader(batch, 0))
					.find((header) => header.maxTimestamp >= timestamp && header.baseOffset < world.localStartOffset);
				const found = world.reader.lookUpTime(world, timestamp, begin);
				if (expected !== undefined) {
					expect(found).toBeGreaterThanOrEqual(begin);
					expect(found).toBeLessThanOrEqual(Math.max(expected.baseOffset, begin));
				}
				if (found !== undefined) {
					expect(found).toBeLessThan(world.localStartOffset);
					// Some block from there on, a handful of batches, has it.
					const near = from(batches, found).slice(0, 4);
					expect(near.some((batch) => readBatchHeader(batch, 0).maxTimestamp >= timestamp)).toBe(true);
				}
				const newest = batches
					.map((batch) => readBatchHeader(batch, 0))
					.filter(({ baseOffset }) => baseOffset < world.localStartOffset)
					.reduce((most, { maxTimestamp }) => Math.max(most, maxTimestamp), -1);
				expect(world.reader.maxTimestamp(world)).toBeGreaterThanOrEqual(newest);
			}),
		);
	});
});
