/** Which segments retention takes, and readers and checkpoints that are under way meanwhile. */

import { describe, expect, it } from "vitest";
import type { BrokerError } from "../../../src/base/errors.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { enforceRetention } from "../../../src/log/retention.ts";
import { EMPTY_HEADERS_BLOCK, encodeKeyBlock } from "../../../src/record/builder.ts";
import { DATA_FOLDER, recordsIn, World } from "../../simulation/world.ts";

const VALUE_BYTES = 3000;
const KEY = encodeKeyBlock(Buffer.from("k"));

/** A partition with a segment of two records for every two appended, all of it in synced files. */
async function newWorld(records: number, timestampOf: (i: number) => number = (i) => i): Promise<World> {
	const world = new World(new SimulatedRandom(5), {
		journalFileBytes: 1024 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: {
			"log.index.interval.bytes": "4096",
			"log.retention.bytes": "-1",
			"log.retention.ms": "-1",
			"log.roll.ms": "1000",
			"log.segment.bytes": "7000",
			"message.max.bytes": "1048588",
		},
		tearNeighbours: true,
		syncMs: 1,
	});
	world.start();
	world.broker.topics.create({ name: "t" });
	await append(world, records, timestampOf);
	await world.finish(world.log.checkpoint());
	return world;
}

async function append(world: World, records: number, timestampOf: (i: number) => number): Promise<void> {
	for (let i = 0; i < records; i++) {
		const value = Buffer.alloc(VALUE_BYTES, i);
		one(world).appendRecord(timestampOf(i), KEY, value, 0, value.length, EMPTY_HEADERS_BLOCK);
		await world.finish(world.log.whenCommitted());
	}
}

const one = (world: World) => world.partition("t", 0) as Partition;
const bases = (world: World) => one(world).segments.list.map(({ baseOffset }) => baseOffset);
const logFiles = (world: World) => world.disk.list(`${DATA_FOLDER}/topics/t-0`).filter((name) => name.endsWith(".log"));

describe("segments", () => {
	it("begin anew when they are full, and when they are old", async () => {
		expect(bases(await newWorld(7))).toEqual([0, 2, 4, 6]);
		expect(bases(await newWorld(4, (i) => i * 1001))).toEqual([0, 1, 2, 3]);
	});

	it("of a compacted topic begin anew in time for max.compaction.lag.ms", async () => {
		const roll = async (set: Record<string, string>) => {
			const world = await newWorld(0);
			world.broker.topics.alter("t", { set: { "segment.bytes": "1000000", "max.compaction.lag.ms": "300", ...set } });
			await append(world, 9, (i) => i * 100);
			await world.finish(world.log.checkpoint());
			return bases(world);
		};
		expect(await roll({})).toEqual([0]);
		expect(await roll({ "cleanup.policy": "compact" })).toEqual([0, 4, 8]);
	});

	it("end earlier by a jitter of up to segment.jitter.ms, each by its own, the same after a restart", async () => {
		const world = await newWorld(0);
		world.broker.topics.alter("t", { set: { "segment.bytes": "1000000", "segment.jitter.ms": "800" } });
		await append(world, 120, (i) => i * 50);
		await world.finish(world.log.checkpoint());
		const lengths = bases(world).map((base, i, all) => (all[i + 1] ?? Number.NaN) - base);
		lengths.pop();
		expect(new Set(lengths).size).toBeGreaterThan(2);
		// A segment ends with the first record that is more than its age limit younger than its first.
		expect(Math.min(...lengths)).toBeGreaterThanOrEqual(200 / 50);
		expect(Math.max(...lengths)).toBeLessThanOrEqual(1000 / 50 + 1);
		const [segment] = one(world).segments.list;
		const { config } = one(world);
		const age = segment && one(world).segments.rollAfterMs(segment, config);
		await world.stop();
		world.start();
		const [again] = one(world).segments.list;
		expect(again && one(world).segments.rollAfterMs(again, config)).toBe(age);
	});
});

describe("retention", () => {
	it("by time takes the segments whose newest record is too old, never the last", async () => {
		const world = await newWorld(7, (i) => world0 + i * 100);
		world.broker.topics.alter("t", { set: { "retention.ms": "1000" } });
		world.clock.step(-(world.clock.now() - world0));
		// Newest records at 100, 300, 500, 600.
		await world.clock.advance(1301);
		enforceRetention(world.log);
		expect(bases(world)).toEqual([4, 6]);
		expect(one(world).logStartOffset).toBe(4);
		expect(logFiles(world)).toHaveLength(2);
		await world.clock.advance(100_000);
		enforceRetention(world.log);
		expect(bases(world)).toEqual([6]);
		const gone = await one(world)
			.read(3, 100)
			.then(String, (error: BrokerError) => error.code);
		expect(gone).toBe("OFFSET_OUT_OF_RANGE");
		await world.crash("power cut", new SimulatedRandom(1));
		world.start();
		expect([one(world).logStartOffset, one(world).endOffset]).toEqual([6, 7]);
	});
	const world0 = 1_700_000_000_000;

	it("by size keeps at least that many bytes", async () => {
		const world = await newWorld(8);
		world.broker.topics.alter("t", { set: { "retention.bytes": String(2 * VALUE_BYTES + 500) } });
		enforceRetention(world.log);
		expect(bases(world)).toEqual([4, 6]);
		world.broker.topics.alter("t", { set: { "retention.bytes": "0" } });
		enforceRetention(world.log);
		expect(bases(world)).toEqual([6]);
	});

	it("takes nothing of a topic without delete in its cleanup.policy, whatever its age and size", async () => {
		const world = await newWorld(8);
		for (const policy of ["compact", ""]) {
			world.broker.topics.alter("t", {
				set: { "cleanup.policy": policy, "retention.bytes": "0", "retention.ms": "0" },
			});
			enforceRetention(world.log);
			expect(bases(world)).toEqual([0, 2, 4, 6]);
		}
		world.broker.topics.alter("t", { set: { "cleanup.policy": "compact,delete" } });
		enforceRetention(world.log);
		expect(bases(world)).toEqual([6]);
	});

	it("takes nothing that is not synced yet", async () => {
		const world = await newWorld(0);
		await append(world, 8, (i) => i);
		world.log.flush();
		world.broker.topics.alter("t", { set: { "retention.bytes": "0" } });
		enforceRetention(world.log);
		expect(bases(world)).toEqual([0, 2, 4, 6]);
		await world.finish(world.log.checkpoint());
		enforceRetention(world.log);
		expect(bases(world)).toEqual([6]);
	});

	it("under a reader gives it its records or tells it that they are gone, and loses none besides", async () => {
		for (const maxBytes of [1, 100, 10_000]) {
			const world = await newWorld(8);
			await world.stop();
			world.start();
			world.broker.topics.alter("t", { set: { "retention.bytes": "0" } });
			const reading = one(world)
				.read(1, maxBytes)
				.then(recordsIn, (error: BrokerError) => error.code);
			enforceRetention(world.log);
			const result = await world.finish(reading);
			if (typeof result === "string") expect(result).toBe("OFFSET_OUT_OF_RANGE");
			else expect(result[0]?.offset).toBe(1);
			expect(world.broker.catalog.losses()).toEqual([]);
			expect(logFiles(world)).toEqual([`${"6".padStart(20, "0")}.log`]);
		}
	});

	it("does not disturb a checkpoint under way", async () => {
		const world = await newWorld(8);
		world.broker.topics.alter("t", { set: { "retention.bytes": "0" } });
		// Rolled, and its time index written to, after the last checkpoint.
		await append(world, 3, (i) => 100 + i);
		world.log.flush();
		const checkpoint = world.log.checkpoint();
		enforceRetention(world.log);
		await world.finish(checkpoint);
		expect(world.failure).toBeUndefined();
		expect(bases(world)).toEqual(
			logFiles(world)
				.sort()
				.map((name) => Number.parseInt(name, 10)),
		);
	});
});
