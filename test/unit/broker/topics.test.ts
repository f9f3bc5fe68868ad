/** Topics: made, altered, described, deleted, each with what it refuses; and what a crash or a full disk leaves of them. */
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../../src/base/errors.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { EMPTY_HEADERS_BLOCK, NULL_KEY_BLOCK } from "../../../src/record/builder.ts";
import { DATA_FOLDER, recordsIn, World } from "../../simulation/world.ts";

function newWorld(): World {
	const world = new World(new SimulatedRandom(11), {
		journalFileBytes: 1024 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: {
			"log.index.interval.bytes": "4096",
			"log.retention.bytes": "-1",
			"log.retention.ms": "604800000",
			"log.roll.ms": "604800000",
			"log.segment.bytes": "1048576",
			"message.max.bytes": "1048588",
		},
		tearNeighbours: true,
		syncMs: 1,
	});
	world.start();
	return world;
}

function codeOf(work: () => unknown): string {
	try {
		work();
	} catch (error) {
		if (error instanceof BrokerError) return error.code;
		throw error;
	}
	return "none";
}

function append(partition: Partition | undefined, value: string): void {
	const bytes = Buffer.from(value);
	partition?.appendRecord(5, NULL_KEY_BLOCK, bytes, 0, bytes.length, EMPTY_HEADERS_BLOCK);
}

async function values(world: World, topic: string, number = 0): Promise<string[]> {
	const partition = world.partition(topic, number) as Partition;
	const found: string[] = [];
	for (let offset = partition.logStartOffset; offset < partition.highWatermark; ) {
		const records = recordsIn(await world.finish(partition.read(offset, 1 << 20)));
		for (const { value } of records) found.push(String(value));
		offset = (records.at(-1)?.offset ?? Number.POSITIVE_INFINITY) + 1;
	}
	return found;
}

const folders = (world: World) => world.disk.list(`${DATA_FOLDER}/topics`).sort();

describe("making a topic", () => {
	it("refuses names, numbers and settings that cannot be, and changes nothing", () => {
		const { topics } = newWorld().broker;
		topics.create({ name: "a.b" });
		const refused: [string, Parameters<typeof topics.create>[0]][] = [
			["TOPIC_ALREADY_EXISTS", { name: "a.b" }],
			["INVALID_TOPIC_EXCEPTION", { name: "a_b" }],
			["INVALID_TOPIC_EXCEPTION", { name: "" }],
			["INVALID_TOPIC_EXCEPTION", { name: ".." }],
			["INVALID_TOPIC_EXCEPTION", { name: "a/b" }],
			["INVALID_TOPIC_EXCEPTION", { name: "x".repeat(250) }],
			["INVALID_PARTITIONS", { name: "n", partitions: 0 }],
			["INVALID_PARTITIONS", { name: "n", partitions: 1.5 }],
			["INVALID_PARTITIONS", { name: "n", partitions: 10_001 }],
			["INVALID_CONFIG", { name: "n", config: { "retention.msx": "1" } }],
			["INVALID_CONFIG", { name: "n", config: { "retention.ms": "-2" } }],
			["INVALID_CONFIG", { name: "n", config: { "segment.bytes": "many" } }],
		];
		for (const [code, spec] of refused)
			expect([spec.name.slice(0, 9), codeOf(() => topics.create(spec))]).toEqual([spec.name.slice(0, 9), code]);
		expect(topics.list().map(({ name }) => name)).toEqual(["a.b"]);
		expect(topics.create({ name: "a.b", ifNotExists: true })).toBe(topics.get("a.b"));
	});

	it("changes nothing where the catalog has no space", () => {
		const { topics, catalog } = newWorld().broker;
		topics.create({ name: "t" });
		const before = topics.list();
		const full = () => {
			throw Object.assign(new Error("database or disk is full"), { code: "SQLITE_FULL" });
		};
		Object.assign(catalog, { createTopic: full, alterTopic: full, deleteTopic: full });
		expect(codeOf(() => topics.create({ name: "n" }))).toBe("KAFKA_STORAGE_ERROR");
		expect(codeOf(() => topics.alter("t", { partitions: 2, set: { "retention.ms": "1" } }))).toBe(
			"KAFKA_STORAGE_ERROR",
		);
		expect(codeOf(() => topics.delete("t"))).toBe("KAFKA_STORAGE_ERROR");
		expect(topics.list()).toEqual(before);
	});

	it("says what would be made, or changed, and makes or changes nothing", () => {
		const { topics } = newWorld().broker;
		topics.create({ name: "t" });
		expect(topics.checkNew({ name: "n", config: { "retention.ms": " 5 " } })).toEqual({
			partitions: 1,
			config: { "retention.ms": "5" },
		});
		expect(topics.checkChanges("t", { partitions: 3, set: { "retention.ms": "1" } })).toMatchObject({
			partitions: 3,
			config: { "retention.ms": "1" },
		});
		expect(topics.list()).toMatchObject([{ name: "t", config: {}, partitions: [{ number: 0 }] }]);
	});
});

describe("a partition's folder", () => {
	it("is made with its first segment; a full disk then costs nothing that was acknowledged", async () => {
		const world = newWorld();
		const { topics } = world.broker;
		topics.create({ name: "t", partitions: 3 });
		expect(folders(world)).toEqual([]);
		append(world.partition("t", 2), "x");
		await world.finish(world.log.whenCommitted());
		const full = world.disk.inject({ operation: "write", code: "ENOSPC", file: /partition\.metadata/ });
		await expect(world.finish(world.log.checkpoint())).rejects.toThrow("ENOSPC");
		expect(await values(world, "t", 2)).toEqual(["x"]);
		full();
		append(world.partition("t", 2), "y");
		await world.finish(world.log.whenCommitted());
		expect(await values(world, "t", 2)).toEqual(["x", "y"]);
		await world.finish(world.log.checkpoint());
		expect(folders(world)).toEqual(["t-2"]);
		await world.crash("power cut", new SimulatedRandom(1));
		world.start();
		expect(await values(world, "t", 2)).toEqual(["x", "y"]);
		expect(folders(world)).toEqual(["t-2"]);
	});

	it("is there with its metadata after any power cut that follows a checkpoint, and what is half made before one costs nothing", async () => {
		for (let seed = 0; seed < 16; seed++) {
			const world = newWorld();
			world.broker.topics.create({ name: "t", partitions: 2 });
			append(world.partition("t", 0), "a");
			await world.finish(world.log.whenCommitted());
			if (seed % 2 === 0) await world.finish(world.log.checkpoint());
			else world.log.flush();
			await world.crash("power cut", new SimulatedRandom(seed));
			world.start();
			expect(world.broker.recovery.damages).toBe(0);
			expect(world.lines).toEqual([]);
			expect(await values(world, "t")).toEqual(["a"]);
			await world.finish(world.log.checkpoint());
			await world.crash("power cut", new SimulatedRandom(seed));
			world.start();
			expect(await values(world, "t")).toEqual(["a"]);
			expect(folders(world)).toEqual(["t-0"]);
			const metadata = world.disk.open(`${DATA_FOLDER}/topics/t-0/partition.metadata`, "read");
			const bytes = Buffer.alloc(metadata.size());
			metadata.readSync(bytes, 0);
			expect(bytes.toString()).toBe(`version: 0\ntopic_id: ${world.broker.topics.get("t")?.id}\n`);
		}
	});
});

describe("altering a topic", () => {
	it("changes settings at once and for good, and adds partitions", async () => {
		const world = newWorld();
		const { topics } = world.broker;
		topics.create({ name: "t", config: { "retention.ms": "1000", "segment.bytes": "4096" } });
		let told = 0;
		topics.onChange(() => told++);
		const altered = topics.alter("t", {
			set: { "max.message.bytes": " 600 " },
			unset: ["retention.ms"],
			partitions: 3,
		});
		expect(told).toBe(1);
		expect(altered.config).toEqual({ "max.message.bytes": "600", "segment.bytes": "4096" });
		expect(topics.get("t")).toBe(altered);
		expect(codeOf(() => append(altered.partitions[0], "x".repeat(600)))).toBe("MESSAGE_TOO_LARGE");
		expect(codeOf(() => append(altered.partitions[2], "x".repeat(600)))).toBe("MESSAGE_TOO_LARGE");
		const { configs, partitions } = topics.describe("t");
		expect(configs.find(({ name }) => name === "retention.ms")).toMatchObject({ value: "604800000", isDefault: true });
		expect(configs.find(({ name }) => name === "segment.bytes")).toMatchObject({ value: "4096", isDefault: false });
		expect(partitions.map(({ number, endOffset, segments }) => [number, endOffset, segments])).toEqual([
			[0, 0, 0],
			[1, 0, 0],
			[2, 0, 0],
		]);
		await world.crash("power cut", new SimulatedRandom(1));
		world.start();
		expect(world.broker.topics.get("t")?.config).toEqual(altered.config);
		expect(world.broker.topics.get("t")?.partitions).toHaveLength(3);
	});

	it("refuses all of it when it refuses a part", () => {
		const { topics } = newWorld().broker;
		topics.create({ name: "t", partitions: 2 });
		const before = topics.get("t");
		expect(codeOf(() => topics.alter("t", { set: { "retention.ms": "1" }, partitions: 1 }))).toBe("INVALID_PARTITIONS");
		expect(codeOf(() => topics.alter("t", { set: { "retention.ms": "x" }, partitions: 3 }))).toBe("INVALID_CONFIG");
		expect(codeOf(() => topics.alter("t", { unset: ["retention"] }))).toBe("INVALID_CONFIG");
		expect(topics.get("t")).toBe(before);
		for (const work of [() => topics.alter("n", {}), () => topics.describe("n"), () => topics.delete("n")])
			expect(codeOf(work)).toBe("UNKNOWN_TOPIC_OR_PARTITION");
	});
});

describe("deleting a topic", () => {
	it("and making it anew at once gives an empty one, also across a crash at any instant", async () => {
		for (let seed = 0; seed < 25; seed++) {
			const world = newWorld();
			world.broker.topics.create({ name: "t", partitions: 2 });
			for (let i = 0; i < 6; i++) {
				append(world.partition("t", i % 2), `old ${i}`);
				if (i < 4) await world.finish(world.log.whenCommitted());
				if (i === 2) await world.finish(world.log.checkpoint());
			}
			// Two of them are only gathered when the topic goes.
			const old = world.partition("t", 0) as Partition;
			world.broker.topics.delete("t");
			world.broker.topics.create({ name: "t", partitions: 2 });
			expect(await values(world, "t")).toEqual([]);
			append(world.partition("t", 0), "new");
			await world.finish(world.log.whenCommitted());
			expect(await values(world, "t")).toEqual(["new"]);
			expect(await old.read(0, 100).then(String, (error: BrokerError) => error.code)).toBe(
				"UNKNOWN_TOPIC_OR_PARTITION",
			);
			await world.crash(seed % 2 === 0 ? "power cut" : "kill", new SimulatedRandom(seed));
			world.start();
			expect(await values(world, "t")).toEqual(["new"]);
			expect(await values(world, "t", 1)).toEqual([]);
			expect(folders(world)).toEqual(["t-0"]);
		}
	});

	it("lets go of a topic with the longest name", async () => {
		const world = newWorld();
		const name = "n".repeat(249);
		for (const partition of world.broker.topics.create({ name, partitions: 11 }).partitions) append(partition, "x");
		await world.finish(world.log.whenCommitted());
		await world.finish(world.log.checkpoint());
		const renamed: string[] = [];
		const rename = world.disk.rename.bind(world.disk);
		world.disk.rename = (from, to) => {
			renamed.push(to.slice(to.lastIndexOf("/") + 1));
			rename(from, to);
		};
		world.broker.topics.delete(name);
		expect(folders(world)).toEqual([]);
		expect(Math.max(...renamed.map((to) => to.length))).toBeLessThanOrEqual(255);
		expect(new Set(renamed).size).toBe(11);
	});

	it("removes very many folders a few at a time, and the rest at the next start", async () => {
		const world = newWorld();
		const { topics } = world.broker;
		for (const partition of topics.create({ name: "t", partitions: 40 }).partitions) append(partition, "x");
		await world.finish(world.log.whenCommitted());
		await world.finish(world.log.checkpoint());
		topics.delete("t");
		expect(folders(world).length).toBe(24);
		expect(folders(world).every((name) => name.endsWith("-delete"))).toBe(true);
		topics.create({ name: "t", partitions: 2 });
		await world.finish(new Promise<void>((resolve) => world.clock.after(1, resolve)));
		expect(folders(world)).toEqual([]);
		expect(world.broker.catalog.deletedTopics()).toEqual([]);
		for (const partition of topics.create({ name: "u", partitions: 40 }).partitions) append(partition, "x");
		await world.finish(world.log.whenCommitted());
		await world.finish(world.log.checkpoint());
		topics.delete("u");
		await world.crash("kill", new SimulatedRandom(1));
		world.start();
		expect(folders(world)).toEqual([]);
		expect(world.broker.topics.list().map(({ name }) => name)).toEqual(["t"]);
	});

	it("does not disturb a checkpoint under way", async () => {
		const world = newWorld();
		for (const name of ["a", "b", "c"]) {
			world.broker.topics.create({ name });
			append(world.partition(name, 0), name);
		}
		await world.finish(world.log.whenCommitted());
		const checkpoint = world.log.checkpoint();
		world.broker.topics.delete("a");
		world.broker.topics.delete("c");
		world.broker.topics.create({ name: "c" });
		await world.finish(checkpoint);
		expect(world.failure).toBeUndefined();
		await world.crash("power cut", new SimulatedRandom(5));
		world.start();
		expect(await values(world, "b")).toEqual(["b"]);
		expect(await values(world, "c")).toEqual([]);
	});
});

it("sets aside a folder that belongs to no topic, and never reads or removes it", async () => {
	const world = newWorld();
	world.broker.topics.create({ name: "t" });
	append(world.partition("t", 0), "mine");
	await world.stop();
	const { disk } = world;
	const stray = `${DATA_FOLDER}/topics/stray-0`;
	disk.makeDirectory(stray);
	disk.open(`${stray}/partition.metadata`, "create").write([Buffer.from("version: 0\ntopic_id: foreign\n")], 0);
	disk.open(`${stray}/00000000000000000000.log`, "create").write([Buffer.from("theirs")], 0);
	world.start();
	expect(folders(world)).toEqual(["stray-0.foreign-stray", "t-0"]);
	expect(world.lines.map(({ message }) => message)).toContainEqual(expect.stringContaining("set aside"));
	expect(world.broker.topics.get("stray")).toBeUndefined();
	await world.stop();
	world.start();
	expect(folders(world)).toEqual(["stray-0.foreign-stray", "t-0"]);
	expect(await values(world, "t")).toEqual(["mine"]);
});
