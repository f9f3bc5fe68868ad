/** Deleting the records before an offset: at once, for good, and what is refused. */
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../../src/base/errors.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { deleteRecordsBefore } from "../../../src/log/delete-records.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { encodeBatch } from "../../../src/record/batch.ts";
import { DATA_FOLDER, recordsIn, World } from "../../simulation/world.ts";

async function newWorld(records: number, config: Record<string, string> = {}): Promise<World> {
	const world = new World(new SimulatedRandom(5), {
		journalFileBytes: 1024 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: { "log.segment.bytes": "4096" },
		tearNeighbours: true,
		syncMs: 1,
	});
	world.start();
	world.broker.topics.create({ name: "t", config });
	await append(world, records);
	return world;
}

async function append(world: World, records: number): Promise<void> {
	for (let i = 0; i < records; i++) {
		const record = { timestamp: world.clock.now(), key: null, value: Buffer.alloc(1500, i), headers: [] };
		one(world).appendBatch(encodeBatch([record, record]), 2);
		await world.finish(world.log.whenCommitted());
	}
}

const one = (world: World) => world.partition("t", 0) as Partition;
const logFiles = (world: World) => world.disk.list(`${DATA_FOLDER}/topics/t-0`).filter((name) => name.endsWith(".log"));
const codeOf = async (work: () => unknown): Promise<string> => {
	try {
		await work();
	} catch (error) {
		if (error instanceof BrokerError) return error.code;
		throw error;
	}
	return "none";
};

describe("deleting records", () => {
	it("moves the log start at once, removes whole segments, and holds across a crash", async () => {
		const world = await newWorld(10);
		await world.finish(world.log.checkpoint());
		expect(logFiles(world)).toHaveLength(10);
		expect(deleteRecordsBefore(world.log, one(world), 7)).toBe(7);
		expect([one(world).logStartOffset, one(world).endOffset]).toEqual([7, 20]);
		expect(logFiles(world)).toHaveLength(7);
		expect(await codeOf(() => world.finish(one(world).read(6, 100)))).toBe("OFFSET_OUT_OF_RANGE");
		const found = recordsIn(await world.finish(one(world).read(7, 1))).map(({ offset }) => offset);
		expect(found).toContain(7);
		// Fewer than there are deleted already: nothing happens.
		expect(deleteRecordsBefore(world.log, one(world), 3)).toBe(7);
		await world.crash("power cut", new SimulatedRandom(1));
		world.start();
		expect([one(world).logStartOffset, one(world).endOffset]).toEqual([7, 20]);
		expect(await codeOf(() => world.finish(one(world).read(6, 100)))).toBe("OFFSET_OUT_OF_RANGE");
	});

	it("takes records that are in no file yet, and goes on behind them", async () => {
		const world = await newWorld(3);
		expect(deleteRecordsBefore(world.log, one(world), -1)).toBe(6);
		expect(await world.finish(one(world).read(6, 100))).toHaveLength(0);
		await world.crash("power cut", new SimulatedRandom(1));
		world.start();
		expect([one(world).logStartOffset, one(world).endOffset]).toEqual([6, 6]);
		await append(world, 1);
		expect(recordsIn(await world.finish(one(world).read(6, 100))).map(({ offset }) => offset)).toEqual([6, 7]);
		expect(world.broker.catalog.losses()).toEqual([]);
	});

	it("refuses what is not there yet, and a topic that is only compacted; nothing changes", async () => {
		const world = await newWorld(2);
		expect(await codeOf(() => deleteRecordsBefore(world.log, one(world), 5))).toBe("OFFSET_OUT_OF_RANGE");
		expect(await codeOf(() => deleteRecordsBefore(world.log, one(world), -2))).toBe("OFFSET_OUT_OF_RANGE");
		world.broker.topics.alter("t", { set: { "cleanup.policy": "compact" } });
		expect(await codeOf(() => deleteRecordsBefore(world.log, one(world), 2))).toBe("POLICY_VIOLATION");
		world.broker.topics.alter("t", { set: { "cleanup.policy": "compact,delete" } });
		expect(deleteRecordsBefore(world.log, one(world), 2)).toBe(2);
		world.broker.topics.alter("t", { set: { "cleanup.policy": "" } });
		expect(deleteRecordsBefore(world.log, one(world), 4)).toBe(4);
	});

	it("forgets transactions that were aborted before", async () => {
		const world = await newWorld(1);
		const { transactions } = one(world);
		transactions.begin(9, 2);
		await append(world, 1);
		transactions.end(9, 3, "abort");
		await append(world, 1);
		expect(transactions.aborted(0, 6)).toHaveLength(1);
		deleteRecordsBefore(world.log, one(world), 4);
		expect(transactions.aborted(0, 6)).toEqual([]);
	});
});

it("goes on from the log start where damage took all records before it", async () => {
	const world = await newWorld(3);
	deleteRecordsBefore(world.log, one(world), -1);
	const journal = `${DATA_FOLDER}/journal`;
	await world.crash("kill", new SimulatedRandom(1));
	for (const name of world.disk.list(journal)) world.disk.removeDirectory(`${journal}/${name}`);
	world.start();
	expect([one(world).logStartOffset, one(world).endOffset, one(world).highWatermark]).toEqual([6, 6, 6]);
	await append(world, 1);
	expect(recordsIn(await world.finish(one(world).read(6, 100))).map(({ offset }) => offset)).toEqual([6, 7]);
});
