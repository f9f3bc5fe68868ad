/** One damaged byte anywhere in a partition's files costs the batch it is in and no other record, wherever a reader begins. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { readBatchHeader } from "../../../src/record/batch.ts";
import { EMPTY_HEADERS_BLOCK, NULL_KEY_BLOCK } from "../../../src/record/builder.ts";
import { recordsIn, World } from "../../simulation/world.ts";

function batchStarts(content: Buffer): number[] {
	const starts: number[] = [];
	for (let at = 0; at < content.length; at += readBatchHeader(content, at).sizeBytes) starts.push(at);
	return starts;
}

it("costs one batch at most, is passed over from every offset, and is counted once", async () => {
	await fc.assert(
		fc.asyncProperty(fc.nat(), async (seed) => {
			const random = new SimulatedRandom(seed);
			const world = new World(random, {
				journalFileBytes: 256 * 1024,
				journalFilesMax: 3,
				lingerMs: 0,
				topicDefaults: {
					"log.index.interval.bytes": random.pick(["200", "100000"]),
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
			for (let i = 0; i < 20; i++) {
				for (let n = random.between(1, 5); n > 0; n--) {
					const value = random.bytes(random.between(0, 200));
					values.push(value);
					world
						.partition("t", 0)
						?.appendRecord(values.length, NULL_KEY_BLOCK, value, 0, value.length, EMPTY_HEADERS_BLOCK);
				}
				await world.finish(world.log.whenCommitted());
			}
			await world.stop();
			const files = [...world.disk.files()].filter(([name]) => /\/t-0\/.*(log|index)$/.test(name));
			const logsOnly = random.chance(0.7);
			const [file, content] = random.pick(
				files.filter(([name, bytes]) => bytes.length > 0 && (logsOnly ? name.endsWith(".log") : true)),
			) as [string, Buffer];
			// Half of the time where it hurts most: a length or format that leads a walk astray.
			const starts = file.endsWith(".log") && random.chance(0.5) ? batchStarts(content) : [];
			const at =
				starts.length > 0 ? random.pick(starts) + random.pick([9, 10, 11, 16]) : random.between(0, content.length - 1);
			let damaged = { from: 0, to: 0 };
			if (file.endsWith(".log")) {
				for (let position = 0; position <= at; ) {
					const { baseOffset, lastOffset, sizeBytes } = readBatchHeader(content, position);
					damaged = { from: baseOffset, to: lastOffset + 1 };
					position += sizeBytes;
				}
			}
			world.disk.flip(file, at, random.between(1, 255));
			world.start();
			const partition = world.partition("t", 0) as Partition;
			const begins = Array.from(values.keys()).sort(() => random.fraction() - 0.5);
			for (const begin of begins) {
				const seen = new Set<number>();
				for (let offset = begin; offset < values.length; ) {
					const bytes = await world.finish(partition.read(offset, random.pick([0, 300, 5000])));
					const records = recordsIn(bytes);
					if (records.length === 0) break;
					for (const record of records) {
						expect(record.value, `offset ${record.offset}`).toEqual(values[record.offset]);
						seen.add(record.offset);
					}
					offset = (records.at(-1)?.offset as number) + 1;
				}
				for (let offset = begin; offset < values.length; offset++)
					if (offset < damaged.from || offset >= damaged.to) expect(seen.has(offset), `offset ${offset}`).toBe(true);
			}
			const lost = world.broker.catalog.losses();
			expect(lost.length).toBeLessThanOrEqual(1);
			for (const { firstOffset, count } of lost) {
				expect(firstOffset).toBeGreaterThanOrEqual(damaged.from);
				expect(firstOffset + count).toBeLessThanOrEqual(damaged.to);
			}
		}),
		{ numRuns: 30 },
	);
});
