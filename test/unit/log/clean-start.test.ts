/** A start writes to the segments of partitions that the journal has entries of, and to no others, unless their files tell that they must be restored. */
import { describe, expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { EMPTY_HEADERS_BLOCK, NULL_KEY_BLOCK } from "../../../src/record/builder.ts";
import { DATA_FOLDER, recordsIn, World } from "../../simulation/world.ts";

const logFile = (number: number) => `${DATA_FOLDER}/topics/t-${number}/00000000000000000000.log`;

const JOURNAL = { journalFileBytes: 1024 * 1024, journalFilesMax: 3 };
/** One file, and no spare one. */
const SMALL_JOURNAL = { journalFileBytes: 64 * 1024, journalFilesMax: 1 };

function newWorld(partitions = 1, journal = JOURNAL, seed = 7): World {
	const world = new World(new SimulatedRandom(seed), {
		...journal,
		lingerMs: 0,
		topicDefaults: { "log.index.interval.bytes": "64" },
		tearNeighbours: true,
		syncMs: 1,
	});
	world.start();
	world.broker.topics.create({ name: "t", partitions });
	return world;
}

async function stoppedWorld(): Promise<World> {
	const world = newWorld();
	await append(world, 50);
	await world.stop();
	return world;
}

/** Two partitions, so many records in each, all of them in a checkpoint. */
async function checkpointedWorld(records = 50, journal = JOURNAL, seed = 7): Promise<World> {
	const world = newWorld(2, journal, seed);
	for (const number of [0, 1]) await append(world, records, number);
	await world.finish(world.log.checkpoint());
	return world;
}

const partition = (world: World, number = 0) => world.partition("t", number) as Partition;

function appendNow(world: World, number = 0): void {
	const value = Buffer.from(`record ${partition(world, number).endOffset}`);
	partition(world, number).appendRecord(5, NULL_KEY_BLOCK, value, 0, value.length, EMPTY_HEADERS_BLOCK);
}

async function append(world: World, count: number, number = 0): Promise<void> {
	for (let i = 0; i < count; i++) {
		appendNow(world, number);
		await world.finish(world.log.whenCommitted());
	}
}

async function values(world: World, number = 0): Promise<string[]> {
	const bytes = await world.finish(partition(world, number).read(0, 1 << 20));
	return recordsIn(bytes).map(({ value }) => String(value));
}

async function restart(world: World, kind: "kill" | "power cut" = "kill"): Promise<void> {
	await world.crash(kind, new SimulatedRandom(1));
	world.start();
}

/** Of the power, at each operation of a start. */
const CUTS = 2;
/** A seed with which nothing of the newest entry reaches the medium. */
const LOSES_ENTRY = 2;

const expected = (count: number) => Array.from({ length: count }, (_, i) => `record ${i}`);
const noRoomForJournal = (disk: World["disk"]) =>
	disk.inject({ operation: "write", code: "ENOSPC", file: /journal$/, times: Number.POSITIVE_INFINITY });
const written = (world: World, number = 0) => world.disk.counters(logFile(number)).writes;

describe("after a clean stop", () => {
	it("writes nothing, and appends where that ended", async () => {
		const world = await stoppedWorld();
		const before = written(world);
		world.start();
		expect(written(world)).toBe(before);
		expect(partition(world).segments.dirty).toBe(false);
		expect(await values(world)).toEqual(expected(50));
		await append(world, 30);
		await world.stop();
		world.start();
		expect(await values(world)).toEqual(expected(80));
		expect(partition(world).segments.list[0]?.lookUp(60)).toBeGreaterThan(0);
	});

	it("reads no more of the journal than which files it has", async () => {
		const world = await stoppedWorld();
		const files = [...world.disk.files().keys()].filter((name) => name.endsWith(".journal"));
		world.disk.inject({ operation: "read", code: "EIO", file: /journal$/, after: files.length });
		world.start();
		expect(await values(world)).toEqual(expected(50));
	});

	it("reads the journal where that was written to since", async () => {
		const world = await stoppedWorld();
		world.start();
		await append(world, 1);
		await restart(world);
		expect(await values(world)).toEqual(expected(51));
	});

	it("restores a file that has not the length it was left with", async () => {
		const world = await stoppedWorld();
		const file = world.disk.open(logFile(0), "write");
		const size = file.size();
		file.write([Buffer.from("behind the end")], size);
		file.close();
		world.start();
		expect(world.disk.fileSize(logFile(0))).toBe(size);
		expect(await values(world)).toEqual(expected(50));
	});
});

describe("after a kill", () => {
	it("writes nothing where a checkpoint has it all", async () => {
		const world = await checkpointedWorld();
		const before = [written(world, 0), written(world, 1)];
		await restart(world);
		expect([written(world, 0), written(world, 1)]).toEqual(before);
		expect(partition(world).needsCheckpoint).toBe(false);
		expect(await values(world)).toEqual(expected(50));
	});

	it("restores the partition that the journal has an entry of, and no other", async () => {
		const world = await checkpointedWorld();
		await append(world, 1, 1);
		const before = [written(world, 0), written(world, 1)];
		await restart(world);
		expect(written(world, 0)).toBe(before[0]);
		// The last block, then the record.
		expect(written(world, 1)).toBe((before[1] as number) + 2);
		expect(await values(world, 0)).toEqual(expected(50));
		expect(await values(world, 1)).toEqual(expected(51));
	});

	it("restores all where the journal is damaged", async () => {
		const world = await checkpointedWorld();
		for (let i = 0; i < 3; i++) await append(world, 1, 1);
		const [file, bytes] = [...world.disk.files()].find(
			([name, content]) => name.endsWith(".journal") && content.includes("record 51"),
		) as [string, Buffer];
		world.disk.flip(file, bytes.indexOf("record 51"));
		const before = written(world, 0);
		await restart(world);
		expect(world.broker.recovery.damages).toBe(1);
		expect(written(world, 0)).toBe(before + 1);
	});

	it("restores again what it restored without a reason in the journal, until a checkpoint has it", async () => {
		const world = await checkpointedWorld();
		const file = world.disk.open(logFile(0), "write");
		file.write([Buffer.from("behind the end")], file.size());
		file.close();
		const before = written(world, 1);
		await restart(world);
		await restart(world, "power cut");
		expect(written(world, 1)).toBe(before + 2);
		expect(partition(world, 1).segments.dirty).toBe(true);
		await world.finish(world.log.checkpoint());
		await restart(world);
		expect(written(world, 1)).toBe(before + 2);
		for (const number of [0, 1]) expect(await values(world, number)).toEqual(expected(50));
	});

	/** Both partitions with two records in a checkpoint, and a third of partition 1 in the cache only, for good: its sync failed. */
	async function failedWorld(seed: number): Promise<World> {
		const world = await checkpointedWorld(2, SMALL_JOURNAL, seed);
		world.disk.inject({ operation: "sync", code: "EIO", file: /journal$/ });
		appendNow(world, 1);
		await world.clock.advance(5);
		expect(world.failure).toBeDefined();
		world.disk.clearFaults();
		return world;
	}

	it.each([
		["is written once more", () => {}],
		["has no room to be written once more", ({ disk }: World) => noRoomForJournal(disk)],
	])(
		"loses nothing when the power goes in such a start, where the newest entry %s",
		{ timeout: 60_000 },
		async (_, prepare) => {
			const doomed = await failedWorld(LOSES_ENTRY);
			await restart(doomed, "power cut");
			expect(await values(doomed, 1)).toEqual(expected(2));
			let begun = false;
			for (let operation = 1; !begun; operation++) {
				for (let cut = 1; cut <= CUTS; cut++) {
					const world = await failedWorld(LOSES_ENTRY);
					await world.crash("kill", new SimulatedRandom(0));
					prepare(world);
					world.disk.stopAfter(operation);
					try {
						world.start();
					} catch (error) {
						if (!world.disk.off) throw error;
					}
					begun = !world.disk.off;
					world.disk.clearFaults();
					await world.crash("power cut", new SimulatedRandom(`${operation} ${cut}`));
					world.start();
					expect(await values(world, 0)).toEqual(expected(2));
					expect((await values(world, 1)).slice(0, 2)).toEqual(expected(2));
				}
			}
		},
	);
});
