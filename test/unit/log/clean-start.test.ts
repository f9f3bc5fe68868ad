/** A start after a clean stop writes to no segment and leaves nothing to be synced; after any other end, or with files that changed meanwhile, it restores them. */
import { expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { EMPTY_HEADERS_BLOCK, NULL_KEY_BLOCK } from "../../../src/record/builder.ts";
import { DATA_FOLDER, recordsIn, World } from "../../simulation/world.ts";

const LOG_FILE = `${DATA_FOLDER}/topics/t-0/00000000000000000000.log`;

async function stoppedWorld(): Promise<World> {
	const world = new World(new SimulatedRandom(7), {
		journalFileBytes: 1024 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: { "log.index.interval.bytes": "64" },
		tearNeighbours: true,
		syncMs: 1,
	});
	world.start();
	world.broker.topics.create({ name: "t" });
	await append(world, 50);
	await world.stop();
	return world;
}

const partition = (world: World) => world.partition("t", 0) as Partition;

async function append(world: World, count: number): Promise<void> {
	for (let i = 0; i < count; i++) {
		const value = Buffer.from(`record ${partition(world).endOffset}`);
		partition(world).appendRecord(5, NULL_KEY_BLOCK, value, 0, value.length, EMPTY_HEADERS_BLOCK);
		await world.finish(world.log.whenCommitted());
	}
}

async function values(world: World): Promise<string[]> {
	const bytes = await world.finish(partition(world).read(0, 1 << 20));
	return recordsIn(bytes).map(({ value }) => String(value));
}

const expected = (count: number) => Array.from({ length: count }, (_, i) => `record ${i}`);
const written = (world: World) => world.disk.counters(LOG_FILE).writes;

it("writes nothing after a clean stop, and appends where that ended", async () => {
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

it("restores the files after a kill, also one right after a clean start", async () => {
	const world = await stoppedWorld();
	world.start();
	const before = written(world);
	await world.crash("kill", new SimulatedRandom(1));
	world.start();
	expect(written(world)).toBeGreaterThan(before);
	expect(partition(world).segments.dirty).toBe(true);
	expect(await values(world)).toEqual(expected(50));
});

it("restores a file that has not the size it was left with", async () => {
	const world = await stoppedWorld();
	const file = world.disk.open(LOG_FILE, "write");
	const size = file.size();
	file.write([Buffer.from("behind the end")], size);
	file.close();
	world.start();
	expect(world.disk.fileSize(LOG_FILE)).toBe(size);
	expect(await values(world)).toEqual(expected(50));
});
