/** A partition read at every offset, with any size, from memory, from files or across both: always what was appended. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { offsetForTimestamp } from "../../../src/log/partition-times.ts";
import { readBatchHeader } from "../../../src/record/batch.ts";
import { EMPTY_HEADERS_BLOCK, NULL_KEY_BLOCK } from "../../../src/record/builder.ts";
import { recordsIn, World } from "../../simulation/world.ts";

const actions = fc.array(
	fc.oneof(
		{ weight: 8, arbitrary: fc.array(fc.integer({ min: 0, max: 900 }), { minLength: 1, maxLength: 5 }) },
		{ weight: 2, arbitrary: fc.constantFrom("flush" as const, "checkpoint" as const) },
		{ weight: 1, arbitrary: fc.constant("restart" as const) },
	),
	{ minLength: 1, maxLength: 25 },
);

const TIMESTAMPS = [50, 10, 70, 70, 20, 90, 0];
const timestampOf = (offset: number) => TIMESTAMPS[offset % TIMESTAMPS.length] as number;

async function build(list: typeof actions extends fc.Arbitrary<infer T> ? T : never, random: SimulatedRandom) {
	const world = new World(random, {
		journalFileBytes: 256 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: {
			"log.index.interval.bytes": "300",
			"log.roll.ms": "604800000",
			"log.segment.bytes": "4096",
			"message.max.bytes": "1000000",
		},
		tearNeighbours: true,
		syncMs: 1,
	});
	world.start();
	world.broker.topics.create({ name: "t" });
	const values: Buffer[] = [];
	for (const action of list) {
		if (action === "flush") world.log.flush();
		else if (action === "checkpoint") await world.finish(world.log.checkpoint());
		else if (action === "restart") {
			await world.crash("power cut", random);
			world.start();
		} else {
			for (const bytes of action) {
				const value = random.bytes(bytes);
				const partition = world.partition("t", 0) as Partition;
				const offset = partition.appendRecord(
					timestampOf(values.length),
					NULL_KEY_BLOCK,
					value,
					0,
					bytes,
					EMPTY_HEADERS_BLOCK,
				);
				expect(offset).toBe(values.length);
				values.push(value);
			}
			await world.finish(world.log.whenCommitted());
		}
	}
	return { world, values, partition: world.partition("t", 0) as Partition };
}

describe("a partition", () => {
	it("gives whole batches from the one that holds the offset, up to the size asked for", async () => {
		await fc.assert(
			fc.asyncProperty(actions, fc.nat(), async (list, seed) => {
				const { world, values, partition } = await build(list, new SimulatedRandom(seed));
				expect([partition.endOffset, partition.highWatermark]).toEqual([values.length, values.length]);
				for (const maxBytes of [0, 61, 700, 5000, 1 << 20]) {
					for (let offset = 0; offset < values.length; offset++) {
						const bytes = await world.finish(partition.read(offset, maxBytes));
						const records = recordsIn(bytes);
						const first = readBatchHeader(bytes, 0);
						expect(first.baseOffset).toBeLessThanOrEqual(offset);
						expect(first.lastOffset).toBeGreaterThanOrEqual(offset);
						expect(bytes.length <= maxBytes || bytes.length === first.sizeBytes).toBe(true);
						for (const [i, record] of records.entries()) {
							expect(record.offset).toBe(first.baseOffset + i);
							expect(record.value).toEqual(values[record.offset]);
						}
					}
				}
				expect(await partition.read(values.length, 100)).toHaveLength(0);
				for (const offset of [-1, values.length + 1])
					await expect(partition.read(offset, 100)).rejects.toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
				expect(world.broker.catalog.losses()).toEqual([]);
			}),
			{ numRuns: 25 },
		);
	});

	it("finds the first record of a time or later, though timestamps go back and forth", async () => {
		await fc.assert(
			fc.asyncProperty(actions, fc.nat(), async (list, seed) => {
				const { world, values, partition } = await build(list, new SimulatedRandom(seed));
				for (let timestamp = 0; timestamp <= 100; timestamp += 10) {
					const first = values.findIndex((_, offset) => timestampOf(offset) >= timestamp);
					const expected = first < 0 ? undefined : { offset: first, timestamp: timestampOf(first) };
					expect(await world.finish(offsetForTimestamp(partition, timestamp))).toEqual(expected);
				}
			}),
			{ numRuns: 25 },
		);
	});

	it("reads on while batches move from memory to files, segments roll and places move", async () => {
		await fc.assert(
			fc.asyncProperty(actions, fc.nat(), async (list, seed) => {
				const random = new SimulatedRandom(seed);
				const { world, values, partition } = await build(list, random);
				const size = values.length;
				const reads: Promise<Buffer>[] = [];
				for (let offset = 0; offset < size; offset++) {
					reads.push(partition.read(offset, random.pick([0, 800, 9000])));
					if (random.chance(0.3)) world.log.flush();
					if (random.chance(0.2)) void world.log.checkpoint();
					if (random.chance(0.3)) {
						const value = random.bytes(200);
						values.push(value);
						partition.appendRecord(timestampOf(values.length - 1), NULL_KEY_BLOCK, value, 0, 200, EMPTY_HEADERS_BLOCK);
						await world.clock.settle();
					}
				}
				for (const [offset, reading] of reads.entries()) {
					const records = recordsIn(await world.finish(reading));
					expect(records.find((record) => record.offset === offset)?.value).toEqual(values[offset]);
					for (const record of records) expect(record.value).toEqual(values[record.offset]);
				}
				expect(world.broker.catalog.losses()).toEqual([]);
			}),
			{ numRuns: 25 },
		);
	});
});
