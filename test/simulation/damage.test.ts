/**
 * Bytes that change on the medium after they were acknowledged: found, reported with their place, and no more lost
 * than what was damaged. And bytes that were never acknowledged, or long ago: not taken for anything.
 */
import { describe, expect, it } from "vitest";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { encodeHeadersBlock, encodeKeyBlock } from "../../src/record/builder.ts";
import { LogModel, type ModelPartition } from "./log-model.ts";
import { DATA_FOLDER, World, type WorldOptions } from "./world.ts";

const OPTIONS: WorldOptions = {
	journalFileBytes: 128 * 1024,
	journalFilesMax: 3,
	lingerMs: 0,
	topicDefaults: { "log.segment.bytes": "1048576", "log.index.interval.bytes": "512" },
	tearNeighbours: true,
	syncMs: 1,
};

const BLOCK_BYTES = 4096;

class Scene {
	readonly world: World;
	readonly model = new LogModel();
	readonly random: SimulatedRandom;

	constructor(seed: number, partitions: number) {
		this.random = new SimulatedRandom(seed);
		this.world = new World(this.random, OPTIONS);
		this.world.start();
		this.world.broker.topics.create({ name: "t", partitions });
		this.model.createTopic("t", partitions);
	}

	/** One commit with one record in each of `partitions`; returns when it is acknowledged. */
	async commit(valueBytes: number, partitions: readonly number[] = [0]): Promise<void> {
		const group = this.model.begin();
		for (const number of partitions) {
			const partition = this.model.partition("t", number);
			const value = this.random.bytes(valueBytes);
			const timestamp = this.world.clock.now();
			const real = this.world.partition("t", number)!;
			const offset = real.appendRecord(timestamp, encodeKeyBlock(null), value, 0, value.length, encodeHeadersBlock([]));
			group.append(partition, { offset, timestamp, key: null, value, headers: [] });
		}
		await this.world.finish(this.world.log.whenCommitted());
		group.acknowledge();
	}

	async restart(kind: "power cut" | "kill" = "power cut"): Promise<void> {
		await this.world.crash(kind, this.random);
		this.world.lines.length = 0;
		this.world.start();
	}

	partition(number: number): ModelPartition {
		return this.model.partition("t", number);
	}

	/** What the restarted log shows is the model's but for what was marked as damaged. */
	async compare(): Promise<void> {
		this.model.restart(await this.world.observe());
	}

	journalFiles(): [string, Buffer][] {
		return [...this.world.disk.files()].filter(([name]) => name.endsWith(".journal"));
	}

	/** File and position of `bytes` in some file whose name ends so. */
	find(suffix: string, bytes: Buffer): { file: string; position: number } {
		for (const [file, content] of this.world.disk.files()) {
			const position = file.endsWith(suffix) ? content.indexOf(bytes) : -1;
			if (position >= 0) return { file, position };
		}
		throw new Error(`no ${suffix} file has these bytes`);
	}

	reports(): string {
		return this.world.lines.map(({ message, fields }) => `${message} ${JSON.stringify(fields)}`).join("\n");
	}
}

const value = (partition: ModelPartition, offset: number) => partition.records[offset]?.value as Buffer;

describe("a damaged journal", () => {
	it("costs the one record whose batch is damaged, in the middle, and says where it was", async () => {
		const scene = new Scene(1, 2);
		for (let i = 0; i < 5; i++) await scene.commit(300, [0, 1]);
		const { file, position } = scene.find(".journal", value(scene.partition(0), 2));
		scene.world.disk.flip(file, position + 100);
		await scene.restart();
		scene.partition(0).damaged.add(2);
		await scene.compare();
		expect(scene.world.broker.recovery.damages).toBeGreaterThan(0);
		const reported = scene.world.lines.find(({ message }) => message.includes("damaged"));
		expect(file.endsWith(String(reported?.fields.file).replace(/^.*\//, ""))).toBe(true);
		const at = Number(reported?.fields.position);
		expect(at).toBeLessThanOrEqual(position + 100);
		expect(at).toBeGreaterThan(position - BLOCK_BYTES);
		const records = scene.world.broker.catalog.losses().map((loss) => [loss.partition, loss.firstOffset, loss.count]);
		expect(records).toEqual([[0, 2, 1]]);
	});

	it("costs the one commit whose head is damaged, and keeps those behind it", async () => {
		const scene = new Scene(2, 2);
		for (let i = 0; i < 5; i++) await scene.commit(300, [0, 1]);
		const { file, position } = scene.find(".journal", value(scene.partition(0), 2));
		// The head stands before the first batch, at the beginning of the block.
		scene.world.disk.flip(file, position - (position % BLOCK_BYTES) + 50);
		await scene.restart();
		for (const number of [0, 1]) scene.partition(number).damaged.add(2);
		await scene.compare();
		expect(scene.reports()).toContain("damaged");
	});

	it("survives the loss of a block of the file's header", async () => {
		for (const block of [0, 1]) {
			const scene = new Scene(3, 1);
			for (let i = 0; i < 3; i++) await scene.commit(300);
			const { file } = scene.find(".journal", value(scene.partition(0), 0));
			for (let i = 0; i < BLOCK_BYTES; i++) scene.world.disk.flip(file, block * BLOCK_BYTES + i, 0x5a);
			await scene.restart();
			await scene.compare();
		}
	});
});

describe("a damaged segment", () => {
	async function checkpointed(seed: number): Promise<Scene> {
		const scene = new Scene(seed, 1);
		for (let i = 0; i < 12; i++) await scene.commit(700);
		await scene.world.stop();
		scene.world.start();
		return scene;
	}

	it("costs the damaged batch, in the middle, and says where it is", async () => {
		const scene = await checkpointed(4);
		const { file, position } = scene.find(".log", value(scene.partition(0), 5));
		scene.world.disk.flip(file, position + 10);
		await scene.restart();
		scene.partition(0).damaged.add(5);
		await scene.compare();
		expect(scene.reports()).toContain(file);
		const losses = scene.world.broker.catalog.losses();
		expect(losses.map((loss) => [loss.firstOffset, loss.count])).toEqual([[5, 1]]);
		expect(losses[0]?.reason).toMatch(/at byte \d+/);
		// Told once, however often it is read.
		await scene.world.observe();
		expect(scene.world.broker.catalog.losses()).toHaveLength(1);
		// And the log goes on.
		await scene.commit(100);
		await scene.restart();
		await scene.compare();
	});

	it("costs one batch where a length is damaged, which leads nowhere", async () => {
		const scene = await checkpointed(5);
		const { file, position } = scene.find(".log", value(scene.partition(0), 5));
		const content = scene.world.disk.files().get(file)!;
		// batchLength is at byte 8 of the batch; the batch begins with its base offset, 5.
		const base = Buffer.alloc(8);
		base.writeBigInt64BE(5n);
		const start = content.lastIndexOf(base, position);
		scene.world.disk.flip(file, start + 10, 0x40);
		await scene.restart();
		scene.partition(0).damaged.add(5);
		await scene.compare();
	});
});

describe("what a recycled journal file still holds", () => {
	it("is never replayed, however much of the file was used before", async () => {
		for (let seed = 10; seed < 30; seed++) {
			const scene = new Scene(seed, 2);
			const generations = new Set<string>();
			for (let i = 0; i < 30; i++) {
				await scene.commit(scene.random.between(1, 12_000), [scene.random.between(0, 1)]);
				if (scene.random.chance(0.3)) await scene.world.finish(scene.world.log.checkpoint());
				for (const [name, content] of scene.journalFiles())
					generations.add(`${name} ${content.toString("hex", 8, 16)}`);
			}
			await scene.restart();
			await scene.compare();
			expect(scene.reports()).toBe("");
			// Files were used again, and entries of the earlier use are still in some of them.
			expect(generations.size).toBeGreaterThan(scene.journalFiles().length);
		}
	});

	it("is not taken for the newest entry when a power cut tears that one", async () => {
		for (let seed = 40; seed < 100; seed++) {
			const scene = new Scene(seed, 1);
			for (let i = 0; i < 20; i++) await scene.commit(scene.random.between(3000, 9000));
			const group = scene.model.begin();
			const bytes = scene.random.bytes(20_000);
			const timestamp = scene.world.clock.now();
			const real = scene.world.partition("t", 0)!;
			const offset = real.appendRecord(timestamp, encodeKeyBlock(null), bytes, 0, bytes.length, encodeHeadersBlock([]));
			group.append(scene.partition(0), { offset, timestamp, key: null, value: bytes, headers: [] });
			// Written, and not yet synced.
			await scene.world.clock.settle();
			await scene.restart();
			await scene.compare();
			expect(scene.reports()).toBe("");
		}
	});
});

it("keeps its data beside files that it does not know", async () => {
	const scene = new Scene(200, 1);
	await scene.commit(100);
	const { disk, log } = scene.world;
	// The folder is made with the first segment.
	log.flush();
	disk.open(`${DATA_FOLDER}/topics/t-0/notes.txt`, "create").write([Buffer.from("mine")], 0);
	await scene.restart("kill");
	await scene.compare();
	expect(disk.exists(`${DATA_FOLDER}/topics/t-0/notes.txt`)).toBe(true);
});
