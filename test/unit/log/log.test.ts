/** Commits: what is in one, when it is durable, who is told and in which order, and what a disk that fails does to it. */
import { describe, expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { dumpFile } from "../../../src/log/dump.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { decodeRecords, readBatchHeader } from "../../../src/record/batch.ts";
import { EMPTY_HEADERS_BLOCK, NULL_KEY_BLOCK } from "../../../src/record/builder.ts";
import { DATA_FOLDER, World, type WorldOptions } from "../../simulation/world.ts";

const OPTIONS: WorldOptions = {
	journalFileBytes: 8 * 1024 * 1024,
	journalFilesMax: 3,
	lingerMs: 0,
	topicDefaults: { "log.segment.bytes": "1048576", "log.index.interval.bytes": "512", "message.max.bytes": "1048588" },
	tearNeighbours: true,
	syncMs: 1,
};

function newWorld(options: Partial<WorldOptions> = {}): World {
	const world = new World(new SimulatedRandom(7), { ...OPTIONS, ...options });
	world.start();
	world.broker.topics.create({ name: "t", partitions: 2 });
	return world;
}

const partition = (world: World, number = 0) => world.partition("t", number) as Partition;

function append(world: World, value: Buffer, number = 0): number {
	return partition(world, number).appendRecord(5, NULL_KEY_BLOCK, value, 0, value.length, EMPTY_HEADERS_BLOCK);
}

/** Entries of the journal, oldest first: how many records each has of which partition, and how many state operations. */
function journalEntries(world: World): { records: [number, number][]; state: number }[] {
	const names = [...world.disk.files().keys()].filter((name) => name.endsWith(".journal"));
	return names
		.flatMap((name) => [...dumpFile(world.disk, name)])
		.filter(({ kind }) => kind === "entry")
		.sort((a, b) => Number(a.sequence) - Number(b.sequence))
		.map(({ appends, state }) => ({
			records: (appends as { partitionId: number; records: number }[]).map((one) => [one.partitionId, one.records]),
			state: (state as unknown[]).length,
		}));
}

async function valuesIn(world: World, number = 0): Promise<Buffer[]> {
	const values: Buffer[] = [];
	const from = partition(world, number);
	for (let offset = from.logStartOffset; offset < from.highWatermark; ) {
		const bytes = await world.finish(from.read(offset, 1 << 20));
		for (let at = 0; at < bytes.length; at += readBatchHeader(bytes, at).sizeBytes) {
			for (const record of decodeRecords(bytes, at)) {
				expect(record.offset).toBe(offset++);
				values.push(record.value as Buffer);
			}
		}
	}
	return values;
}

const text = (value: string) => Buffer.from(value);

describe("a commit", () => {
	it("has all that was added in one turn, of every partition, and state with it, in one entry", async () => {
		const world = newWorld();
		for (const value of ["a", "b"]) append(world, text(value));
		append(world, text("c"), 1);
		world.log.putState(1, "key", text("value"));
		world.log.deleteState(1, "other");
		await world.finish(world.log.whenCommitted());
		expect(journalEntries(world)).toEqual([
			{
				records: [
					[1, 2],
					[2, 1],
				],
				state: 2,
			},
		]);
	});

	it("is closed at 1 MiB, but never within a group", async () => {
		const world = newWorld();
		const value = Buffer.alloc(300 * 1024);
		for (let i = 0; i < 5; i++) append(world, value);
		await world.finish(world.log.whenCommitted());
		expect(journalEntries(world).map(({ records }) => records.length)).toEqual([3, 2]);
		append(world, text("before"));
		world.log.group(5 * value.length, () => {
			for (let i = 0; i < 5; i++) append(world, value, i % 2);
		});
		append(world, text("after"));
		await world.finish(world.log.whenCommitted());
		expect(journalEntries(world).slice(2)).toEqual([
			{ records: [[1, 1]], state: 0 },
			{
				records: [
					[1, 1],
					[1, 1],
					[1, 1],
					[2, 1],
					[2, 1],
				],
				state: 0,
			},
			{ records: [[1, 1]], state: 0 },
		]);
	});

	it("lingers, unless it is large already", async () => {
		const world = newWorld({ lingerMs: 50 });
		append(world, text("a"));
		await world.clock.advance(49);
		append(world, text("b"));
		expect(world.log.counters.commits).toBe(0);
		await world.clock.advance(5);
		expect(world.log.counters.commits).toBe(1);
		for (let i = 0; i < 5; i++) append(world, Buffer.alloc(300 * 1024));
		await world.clock.advance(10);
		expect(world.log.counters.commits).toBeGreaterThanOrEqual(2);
	});

	it("tells its listeners in their order, once, when it is durable, and before the watchers", async () => {
		const world = newWorld();
		const told: string[] = [];
		partition(world).watch({ advanced: () => told.push("watcher") });
		for (const name of ["first", "second", "third"]) {
			append(world, text(name));
			world.log.onCommit({ committed: () => told.push(`${name} ${partition(world).highWatermark}`) });
		}
		expect(partition(world).highWatermark).toBe(0);
		await world.finish(world.log.whenCommitted());
		expect(told).toEqual(["first 3", "second 3", "third 3", "watcher"]);
		await world.finish(world.log.whenCommitted());
		expect(told).toHaveLength(4);
	});

	it("refuses a state key that its journal entry has no room for, and goes on", async () => {
		const world = newWorld();
		expect(() => world.log.putState(1, "é".repeat(32768), text("v"))).toThrow("state key");
		world.log.putState(1, "k".repeat(0xffff), text("v"));
		await world.finish(world.log.whenCommitted());
		expect(world.log.failed).toBeUndefined();
		await world.crash("kill", new SimulatedRandom(1));
		world.start();
		expect(Buffer.from(world.log.getState(1, "k".repeat(0xffff)) as Uint8Array)).toEqual(text("v"));
	});

	it("takes what is longer than a journal file, and refuses what the journal could never hold", async () => {
		const world = newWorld({ journalFileBytes: 256 * 1024, journalFilesMax: 4 });
		for (let i = 0; i < 12; i++) {
			append(world, Buffer.alloc(400 * 1024, i), i % 2);
			await world.finish(world.log.whenCommitted());
		}
		expect(world.log.counters.checkpoints).toBeGreaterThan(1);
		expect(() => append(world, Buffer.alloc(600 * 1024))).toThrow(/journal takes/);
		expect(() => world.log.group(600 * 1024, () => 1)).toThrow(/journal takes/);
		append(world, text("still here"));
		await world.finish(world.log.whenCommitted());
		expect((await valuesIn(world)).at(-1)).toEqual(text("still here"));
	});
});

describe("a full disk", () => {
	/** Until the log refuses. What was acknowledged, and what still waits. */
	async function fillUp(world: World): Promise<{ acknowledged: Buffer[]; waiting: Buffer[] }> {
		append(world, text("first"));
		await world.clock.advance(100);
		world.disk.capacityBytes = [...world.disk.files().values()].reduce((sum, { length }) => sum + length, 0) + 100_000;
		const acknowledged = [text("first")];
		const appended = [text("first")];
		for (let i = 0; i < 100 && world.log.refusal === undefined; i++) {
			const value = Buffer.alloc(50_000, i);
			append(world, value);
			appended.push(value);
			world.log.onCommit({ committed: () => acknowledged.push(value) });
			await world.clock.advance(20);
		}
		expect(world.log.refusal?.code).toBe("KAFKA_STORAGE_ERROR");
		expect(acknowledged.length).toBeGreaterThan(1);
		return { acknowledged, waiting: appended.slice(acknowledged.length) };
	}

	it("refuses appends, keeps what was acknowledged readable, and goes on when there is space", async () => {
		const world = newWorld();
		const { acknowledged, waiting } = await fillUp(world);
		expect(() => append(world, text("x"))).toThrow("the disk is full");
		expect(() => world.log.putState(1, "x", text("x"))).toThrow("the disk is full");
		const before = [...acknowledged];
		expect(await valuesIn(world)).toEqual(before);
		await world.clock.advance(3000);
		expect(() => append(world, text("x"))).toThrow("the disk is full");
		world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		await world.clock.advance(3000);
		append(world, text("again"));
		await world.finish(world.log.whenCommitted());
		expect(await valuesIn(world)).toEqual([...before, ...waiting, text("again")]);
		expect(world.failure).toBeUndefined();
	});

	it("lets the log stop, and the next start finds everything", async () => {
		const world = newWorld();
		const { acknowledged } = await fillUp(world);
		await world.stop();
		world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		world.start();
		expect(await valuesIn(world)).toEqual(acknowledged);
	});

	it("under the catalog loses nothing, though the next checkpoint succeeds and the power goes", async () => {
		for (let seed = 0; seed < 20; seed++) {
			const world = newWorld();
			const values = [Buffer.alloc(3000, 1), Buffer.alloc(3000, 2), Buffer.alloc(3000, 3)];
			append(world, values[0] as Buffer);
			await world.finish(world.log.whenCommitted());
			const { catalog } = world.broker;
			const checkpoint = catalog.checkpoint.bind(catalog);
			catalog.checkpoint = () => {
				throw Object.assign(new Error("database or disk is full"), { code: "SQLITE_FULL" });
			};
			await expect(world.finish(world.log.checkpoint())).rejects.toThrow("full");
			catalog.checkpoint = checkpoint;
			await world.clock.advance(2000);
			await world.finish(world.log.checkpoint());
			for (const value of values.slice(1)) {
				append(world, value);
				await world.finish(world.log.whenCommitted());
			}
			// Written again, that last block, and not yet synced when the power goes.
			world.log.flush();
			await world.crash("power cut", new SimulatedRandom(seed));
			world.start();
			expect(await valuesIn(world)).toEqual(values);
		}
	});
});

describe("a failed sync", () => {
	it("of the journal is final: nobody is told it was stored, and the log takes nothing more", async () => {
		const world = newWorld();
		append(world, text("stored"));
		await world.finish(world.log.whenCommitted());
		world.disk.inject({ operation: "sync", code: "EIO", file: /\.journal$/ });
		append(world, text("lost"));
		const told: string[] = [];
		world.log.onCommit({ committed: () => told.push("committed"), failed: ({ message }) => told.push(message) });
		await expect(world.finish(world.log.whenCommitted())).rejects.toThrow("EIO");
		expect(told).toEqual([expect.stringContaining("EIO")]);
		expect(world.log.failed?.message).toContain("EIO");
		expect(world.failure).toBe(world.log.failed);
		expect(partition(world).highWatermark).toBe(1);
		expect(() => append(world, text("more"))).toThrow("storage failed");
		await expect(world.log.whenCommitted()).rejects.toThrow("EIO");
	});

	it("of a segment is final too, whatever its code", async () => {
		for (const code of ["EIO", "ENOSPC"]) {
			const world = newWorld();
			append(world, text("stored"));
			await world.finish(world.log.whenCommitted());
			world.disk.inject({ operation: "sync", code, file: /\.log$/ });
			await expect(world.finish(world.log.checkpoint())).rejects.toThrow(code);
			expect(world.failure?.message).toContain(code);
			await world.crash("power cut", new SimulatedRandom(3));
			world.start();
			expect(await valuesIn(world)).toEqual([text("stored")]);
		}
	});
});

describe("stopping", () => {
	it("makes durable what was gathered, and leaves nothing to replay", async () => {
		const world = newWorld({ lingerMs: 1000 });
		append(world, text("gathered"));
		world.log.putState(1, "key", text("value"));
		await world.stop();
		world.start();
		expect(world.broker.recovery).toEqual({ entries: 0, batches: 0, damages: 0 });
		expect(await valuesIn(world)).toEqual([text("gathered")]);
		expect(Buffer.from(world.log.getState(1, "key") as Uint8Array)).toEqual(text("value"));
	});

	it("waits for the commits and the checkpoint under way", async () => {
		const world = newWorld();
		const values = Array.from({ length: 8 }, (_, i) => Buffer.alloc(400_000, i));
		append(world, text("first"));
		await world.finish(world.log.whenCommitted());
		const early = world.log.checkpoint();
		for (const value of values) append(world, value);
		await world.stop();
		await early;
		world.start();
		expect(world.broker.recovery.entries).toBe(0);
		expect(await valuesIn(world)).toEqual([text("first"), ...values]);
	});
});

it("keeps an index durable that was written while a checkpoint was under way", async () => {
	for (let seed = 0; seed < 10; seed++) {
		const world = newWorld({ topicDefaults: { ...OPTIONS.topicDefaults, "log.segment.bytes": "65536" } });
		append(world, text("other"), 1);
		await world.finish(world.log.whenCommitted());
		const early = world.log.checkpoint();
		const values = Array.from({ length: 60 }, (_, i) => Buffer.alloc(2000, i));
		for (const value of values) {
			append(world, value);
			await world.clock.settle();
		}
		await world.finish(world.log.whenCommitted());
		world.log.flush();
		await world.finish(early);
		await world.finish(world.log.checkpoint());
		const files = [...world.disk.files()].filter(([name]) => name.startsWith(`${DATA_FOLDER}/topics`));
		await world.crash("power cut", new SimulatedRandom(seed));
		const after = world.disk.files();
		for (const [name, content] of files) expect(after.get(name), name).toEqual(content);
	}
});

it("a few records in each of many commits take little memory while they wait for their file", async () => {
	const world = newWorld();
	for (let i = 0; i < 50; i++) {
		append(world, text(`record ${i}`));
		await world.finish(world.log.whenCommitted());
	}
	expect(partition(world).tailBytes).toBeGreaterThan(0);
	expect(partition(world).tailBytes).toBeLessThan(50 * 150);
	expect((await valuesIn(world)).map(String)).toEqual(Array.from({ length: 50 }, (_, i) => `record ${i}`));
});
