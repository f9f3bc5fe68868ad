/** What compaction removes, what it keeps and for how long, and what readers find of a partition meanwhile. */

import { describe, expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { deleteRecordsBefore } from "../../../src/log/delete-records.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { offsetForTimestamp } from "../../../src/log/partition-times.ts";
import { decodeRecords, type EncodableRecord, encodeBatch, readBatchHeader } from "../../../src/record/batch.ts";
import { DATA_FOLDER, World } from "../../simulation/world.ts";

const RETENTION_MS = 10_000;

async function newWorld(config: Record<string, string> = {}, dedupeBufferBytes = 65_536): Promise<World> {
	const world = new World(new SimulatedRandom(3), {
		journalFileBytes: 1024 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		tearNeighbours: true,
		syncMs: 1,
		topicDefaults: { "log.segment.bytes": "4096", "log.index.interval.bytes": "256", "log.retention.ms": "-1" },
		cleaner: { backoffMs: 15_000, dedupeBufferBytes, ioBytesPerSecond: 1 << 30 },
	});
	world.start();
	world.broker.topics.create({
		name: "t",
		config: {
			"cleanup.policy": "compact",
			"delete.retention.ms": String(RETENTION_MS),
			"min.cleanable.dirty.ratio": "0.01",
			...config,
		},
	});
	return world;
}

const one = (world: World) => world.partition("t", 0) as Partition;
const folderOf = () => `${DATA_FOLDER}/topics/t-0`;

type Options = Parameters<typeof encodeBatch>[1];

/** `k=v` or, for a tombstone, `k`; each batch of its own commit. */
async function append(world: World, texts: readonly string[], options: Options = {}): Promise<void> {
	const records: EncodableRecord[] = texts.map((text) => {
		const [key, value] = text.split("=") as [string, string | undefined];
		return {
			timestamp: world.clock.now(),
			key: key === "" ? null : Buffer.from(key),
			value: value === undefined ? null : Buffer.from(value),
			headers: [],
		};
	});
	const batch = encodeBatch(records, options);
	world.log.group(batch.length + 100, () => {
		const offset = one(world).appendBatch(batch, records.length);
		if (options.isTransactional === true) one(world).transactions.begin(options.producerId as number, offset);
	});
	await world.finish(world.log.whenCommitted());
}

async function end(world: World, producerId: number, outcome: "commit" | "abort"): Promise<void> {
	const key = Buffer.from([0, 0, 0, outcome === "commit" ? 1 : 0]);
	const record = { timestamp: world.clock.now(), key, value: Buffer.alloc(6), headers: [] };
	const batch = encodeBatch([record], { producerId, producerEpoch: 0, isTransactional: true, isControl: true });
	world.log.group(batch.length + 200, () => {
		const offset = one(world).appendBatch(batch, 1);
		one(world).transactions.end(producerId, offset, outcome);
	});
	await world.finish(world.log.whenCommitted());
}

/** Records that fill a segment, so that what came before can be compacted, once a checkpoint is there. */
async function fill(world: World): Promise<void> {
	for (let i = 0; i < 2; i++) {
		await append(world, [`filler=${"x".repeat(4000)}`]);
		await world.finish(world.log.checkpoint());
	}
}

async function compact(world: World): Promise<void> {
	await fill(world);
	await world.finish(world.broker.cleaner?.clean() ?? Promise.reject(new Error("no cleaner")));
}

/** Whole log: `offset key=value`, markers as `offset commit`. */
async function read(world: World, maxBytes = 1 << 20): Promise<string[]> {
	const partition = one(world);
	const found: string[] = [];
	for (let offset = partition.logStartOffset; offset < partition.highWatermark; ) {
		const bytes = await world.finish(partition.read(offset, maxBytes, partition.highWatermark));
		for (let at = 0; at < bytes.length; ) {
			const header = readBatchHeader(bytes, at);
			for (const { offset, key, value } of decodeRecords(bytes, at)) {
				if (header.isControl) found.push(`${offset} ${key?.[3] === 1 ? "commit" : "abort"}`);
				else if (String(key) !== "filler") found.push(`${offset} ${key}${value === null ? "" : `=${value}`}`);
			}
			offset = header.lastOffset + 1;
			at += header.sizeBytes;
		}
	}
	return found;
}

describe("compaction", () => {
	it("keeps the newest record of each key with its offset, and the log's end", async () => {
		const world = await newWorld();
		await append(world, ["a=1", "b=1", "a=2"]);
		await append(world, ["c=1", "b=2"], { codec: "zstd" });
		await append(world, ["a=3"]);
		const before = one(world).endOffset;
		await compact(world);
		expect(await read(world)).toEqual(["3 c=1", "4 b=2", "5 a=3"]);
		expect(one(world).endOffset).toBe(before + 2);
		expect(one(world).logStartOffset).toBe(0);
		await world.crash("power cut", new SimulatedRandom(1));
		world.start();
		expect(await read(world)).toEqual(["3 c=1", "4 b=2", "5 a=3"]);
		expect(one(world).endOffset).toBe(before + 2);
	});

	it("keeps batches that are larger than the topic would take now, with the marker behind them", async () => {
		const world = await newWorld();
		const options = { producerId: 5, producerEpoch: 0, isTransactional: true };
		await append(world, [`a=${"x".repeat(2000)}`, "b=1"], options);
		await append(world, ["b=2"], options);
		await fill(world);
		world.broker.topics.alter("t", { set: { "max.message.bytes": "512" } });
		await end(world, 5, "commit");
		expect((await read(world)).length).toBe(4);
		world.broker.topics.alter("t", { set: { "max.message.bytes": "8000" } });
		await fill(world);
		world.broker.topics.alter("t", { set: { "max.message.bytes": "512" } });
		await world.finish(world.broker.cleaner?.clean() ?? Promise.reject(new Error("no cleaner")));
		const left = await read(world);
		expect(left.map((line) => line.slice(0, 5))).toEqual(["0 a=x", "2 b=2", "5 com"]);
	});

	it("drops records without a key, and leaves other topics and policies alone", async () => {
		const world = await newWorld({ "cleanup.policy": "delete" });
		await append(world, ["=1", "a=1", "a=2"]);
		await compact(world);
		expect(await read(world)).toHaveLength(3);
		world.broker.topics.alter("t", { set: { "cleanup.policy": "compact" } });
		await compact(world);
		expect(await read(world)).toEqual(["2 a=2"]);
	});

	it("keeps a tombstone for delete.retention.ms after the pass that first came by it, then drops it", async () => {
		const world = await newWorld();
		await append(world, ["a=1", "b=1"]);
		await append(world, ["a"]);
		await world.clock.advance(3 * RETENTION_MS);
		await compact(world);
		expect(await read(world)).toEqual(["1 b=1", "2 a"]);
		const bytes = await world.finish(one(world).read(2, 1));
		expect(readBatchHeader(bytes, 0)).toMatchObject({ hasDeleteHorizon: true });
		expect(readBatchHeader(bytes, 0).baseTimestamp - world.clock.now()).toBeGreaterThan(RETENTION_MS - 1000);
		await world.clock.advance(RETENTION_MS / 2);
		await compact(world);
		expect(await read(world)).toEqual(["1 b=1", "2 a"]);
		await world.clock.advance(RETENTION_MS / 2 + 1);
		await compact(world);
		expect(await read(world)).toEqual(["1 b=1"]);
	});

	it("drops what was aborted, then, after delete.retention.ms, its marker, and last what is known of it", async () => {
		const world = await newWorld();
		const transactional = { producerId: 5, producerEpoch: 0, isTransactional: true };
		await append(world, ["a=1"]);
		await append(world, ["a=2", "b=2"], transactional);
		await end(world, 5, "abort");
		await append(world, ["c=1"], transactional);
		await end(world, 5, "commit");
		await append(world, ["c=2"]);
		const known = () => one(world).transactions.aborted(0, one(world).lastStableOffset).length;
		await compact(world);
		expect(await read(world)).toEqual(["0 a=1", "3 abort", "5 commit", "6 c=2"]);
		await compact(world);
		expect(await read(world)).toEqual(["0 a=1", "3 abort", "5 commit", "6 c=2"]);
		await world.clock.advance(RETENTION_MS + 1);
		await compact(world);
		expect(await read(world)).toEqual(["0 a=1", "6 c=2"]);
		expect(known()).toBe(1);
		await compact(world);
		expect(known()).toBe(0);
	});

	it("keeps tombstones, markers and what is known of aborted records for good, where an object store has older copies", async () => {
		const world = await newWorld({ "remote.storage.enable": "true" });
		const transactional = { producerId: 5, producerEpoch: 0, isTransactional: true };
		await append(world, ["a=1"]);
		await append(world, ["b=1"], transactional);
		await end(world, 5, "abort");
		await append(world, ["a"]);
		for (let i = 0; i < 3; i++) {
			await compact(world);
			await world.clock.advance(RETENTION_MS + 1);
		}
		expect(await read(world)).toEqual(["2 abort", "3 a"]);
		expect(one(world).transactions.aborted(0, one(world).lastStableOffset)).toEqual([
			{ producerId: 5, firstOffset: 1, lastOffset: 2 },
		]);
	});

	it("keeps a marker while its transaction has records, and waits for one that is open", async () => {
		const world = await newWorld();
		const transactional = { producerId: 5, producerEpoch: 0, isTransactional: true };
		await append(world, ["a=1"], transactional);
		await end(world, 5, "commit");
		for (let i = 0; i < 3; i++) {
			await compact(world);
			await world.clock.advance(RETENTION_MS + 1);
		}
		expect(await read(world)).toEqual(["0 a=1", "1 commit"]);
		await append(world, ["b=1", "b=2"]);
		await append(world, ["a=2"], transactional);
		await compact(world);
		const { cleanedOffset } = one(world).segments;
		expect(cleanedOffset).toBeLessThanOrEqual(one(world).lastStableOffset);
		expect(await read(world)).toContain("0 a=1");
		await end(world, 5, "commit");
		await compact(world);
		expect(await read(world)).not.toContain("0 a=1");
	});

	it("leaves alone what was active at the last checkpoint, so that a start finds it as the catalog knows it", async () => {
		const world = await newWorld();
		await append(world, ["a=1", `b=${"x".repeat(2000)}`]);
		await world.finish(world.log.checkpoint());
		await append(world, ["a=2", `c=${"x".repeat(3000)}`]);
		await append(world, [`d=${"x".repeat(3000)}`]);
		world.log.flush();
		expect(one(world).segments.list.length).toBeGreaterThan(1);
		await world.finish(world.broker.cleaner?.clean() ?? Promise.resolve());
		await world.crash("kill", new SimulatedRandom(1));
		world.start();
		expect((await read(world)).map((text) => text.slice(0, 5))).toEqual(["0 a=1", "1 b=x", "2 a=2", "3 c=x", "4 d=x"]);
		expect(world.lines).toEqual([]);
	});

	it("leaves alone what is younger than min.compaction.lag.ms", async () => {
		const world = await newWorld({ "min.compaction.lag.ms": "60000" });
		await append(world, ["a=1", "a=2"]);
		await compact(world);
		expect(await read(world)).toHaveLength(2);
		await world.clock.advance(60_001);
		await compact(world);
		expect(await read(world)).toEqual(["1 a=2"]);
	});

	it("waits for the dirty ratio, unless something is older than max.compaction.lag.ms", async () => {
		const world = await newWorld({ "min.cleanable.dirty.ratio": "1" });
		await append(world, ["a=1", "a=2"]);
		await compact(world);
		expect(await read(world)).toHaveLength(2);
		world.broker.topics.alter("t", { set: { "max.compaction.lag.ms": "5000" } });
		await world.clock.advance(5001);
		await compact(world);
		expect(await read(world)).toEqual(["1 a=2"]);
	});

	it("begins by itself, and not again while nothing is new", async () => {
		const world = await newWorld({ "min.cleanable.dirty.ratio": "0.5" });
		await append(world, ["a=1", "a=2"]);
		await fill(world);
		await world.clock.advance(15_100);
		expect(await read(world)).toEqual(["1 a=2"]);
		const { bytesWritten } = world.disk;
		await world.clock.advance(150_000);
		expect(world.disk.bytesWritten).toBe(bytesWritten);
	});

	it("takes several passes where the keys do not fit its memory", async () => {
		const world = await newWorld({}, 24 * 12);
		const values = (round: number) => Array.from({ length: 40 }, (_, i) => `key${i}=${round}`);
		for (let round = 0; round < 3; round++) await append(world, values(round));
		await fill(world);
		await world.finish(world.broker.cleaner?.clean() ?? Promise.reject(new Error("no cleaner")));
		expect((await read(world)).map((text) => text.split(" ")[1])).toEqual(values(2));
	});

	it("makes one segment of small ones, whose files go", async () => {
		const world = await newWorld();
		for (let i = 0; i < 12; i++) await append(world, [`a=${i}${"x".repeat(1500)}`]);
		await world.finish(world.log.checkpoint());
		expect(one(world).segments.list.length).toBeGreaterThan(4);
		await compact(world);
		await compact(world);
		expect(one(world).segments.list.filter(({ baseOffset }) => baseOffset < 12).length).toBeLessThan(3);
		const files = world.disk.list(folderOf()).filter((name) => name.endsWith(".log"));
		expect(files).toHaveLength(one(world).segments.list.length);
		expect(world.disk.list(folderOf()).filter((name) => name.endsWith(".cleaned"))).toEqual([]);
	});

	it("does not write a segment anew in which nothing changes", async () => {
		const world = await newWorld();
		await append(world, [`a=${"x".repeat(3000)}`]);
		await append(world, [`b=${"x".repeat(3000)}`]);
		await append(world, [`c=${"x".repeat(3000)}`]);
		await compact(world);
		expect(one(world).segments.list[0]?.isCleaned).toBe(false);
		expect(one(world).segments.cleanedOffset).toBeGreaterThan(2);
	});
});

describe("a reader", () => {
	it("gets many batches with gaps between them in one read, finds its place at any offset, and nothing counts as lost", async () => {
		const world = await newWorld({ "segment.bytes": "40000" });
		for (let i = 0; i < 200; i++) await append(world, [`key${i % 90 < 45 ? i % 45 : i}=${i}`]);
		await append(world, [`filler=${"x".repeat(40_000)}`]);
		await compact(world);
		const partition = one(world);
		const all = (await read(world)).map((text) => Number(text.split(" ")[0]));
		expect(all.length).toBeLessThan(150);
		const bytes = await world.finish(partition.read(0, 1 << 20));
		expect(readBatchHeader(bytes, 0).baseOffset).toBe(all[0]);
		let batches = 0;
		for (let at = 0; at < bytes.length; at += readBatchHeader(bytes, at).sizeBytes) batches++;
		expect(batches).toBeGreaterThan(all.length - 1);
		for (let offset = 0; offset < 200; offset++) {
			const found = readBatchHeader(await world.finish(partition.read(offset, 1)), 0);
			expect(found.baseOffset).toBe(all.find((its) => its >= offset) ?? 200);
		}
		expect(world.broker.catalog.losses()).toEqual([]);
	});

	it("that is in the middle of a segment goes on in the one that takes its place", async () => {
		const world = await newWorld({ "segment.bytes": "40000" });
		for (let i = 0; i < 100; i++) await append(world, [`key${i % 25}=${i}`]);
		await fill(world);
		await append(world, [`filler=${"x".repeat(40_000)}`]);
		await world.finish(world.log.checkpoint());
		const partition = one(world);
		const seen: number[] = [];
		const cleaning = world.broker.cleaner?.clean() as Promise<void>;
		for (let offset = 0; offset < 100; ) {
			const bytes = await world.finish(partition.read(offset, 200));
			const header = readBatchHeader(bytes, 0);
			seen.push(header.baseOffset);
			offset = header.lastOffset + 1;
			if (offset === 50) await world.finish(cleaning);
		}
		expect(seen.slice(0, 3)).toEqual([0, 1, 2]);
		expect(seen.filter((offset) => offset >= 50 && offset < 100)).toEqual(Array.from({ length: 25 }, (_, i) => 75 + i));
		expect(world.broker.catalog.losses()).toEqual([]);
	});

	it("is told a batch of a compacted segment that is damaged as lost, and gets the others", async () => {
		const world = await newWorld({ "segment.bytes": "40000" });
		for (let i = 0; i < 100; i++) await append(world, [`key${i % 60}=${i}`]);
		await append(world, [`filler=${"x".repeat(40_000)}`]);
		await compact(world);
		const [segment] = one(world).segments.list;
		expect(segment?.isCleaned).toBe(true);
		const position = segment?.lookUp(70) as number;
		const lost = segment?.headerAt(position)?.baseOffset as number;
		world.disk.flip(segment?.path as string, position + 70);
		const found = (await read(world)).map((text) => Number(text.split(" ")[0]));
		expect(found).toEqual(Array.from({ length: 60 }, (_, i) => 40 + i).filter((offset) => offset !== lost));
		expect(world.broker.catalog.losses()).toMatchObject([{ firstOffset: lost, count: 1 }]);
	});

	it("looks up by time what is left", async () => {
		const world = await newWorld();
		const times: number[] = [];
		for (let i = 0; i < 20; i++) {
			times.push(world.clock.now());
			await append(world, [`key${i % 7}=${i}`]);
			await world.clock.advance(1000);
		}
		await compact(world);
		const found = await world.finish(offsetForTimestamp(one(world), times[0] as number));
		expect(found?.offset).toBe(13);
		expect((await world.finish(offsetForTimestamp(one(world), times[16] as number)))?.offset).toBe(16);
	});
});

describe("what is taken away meanwhile", () => {
	it("by retention or a deletion ends the pass, and the next compacts the rest", async () => {
		const world = await newWorld({ "cleanup.policy": "compact,delete", "segment.bytes": "8192" });
		for (let i = 0; i < 60; i++) await append(world, [`key${i % 25}=${i}${"x".repeat(500)}`]);
		await fill(world);
		await world.finish(world.log.checkpoint());
		const segments = () => one(world).segments.list.length;
		const before = segments();
		const cleaning = world.broker.cleaner?.clean() as Promise<void>;
		await world.finish(one(world).read(0, 1));
		deleteRecordsBefore(world.log, one(world), 30);
		expect(segments()).toBeLessThan(before);
		await world.finish(cleaning);
		await compact(world);
		const left = (await read(world)).map((text) => Number(text.split(" ")[0]));
		expect(left.filter((offset) => offset < 60)).toEqual(Array.from({ length: 25 }, (_, i) => 35 + i));
		expect(world.lines).toEqual([]);
	});

	it("a topic that is deleted and made anew has nothing of the old one's compaction", async () => {
		const world = await newWorld();
		for (let i = 0; i < 30; i++) await append(world, [`key${i % 5}=${i}${"x".repeat(500)}`]);
		await fill(world);
		await world.finish(world.log.checkpoint());
		const cleaning = world.broker.cleaner?.clean() as Promise<void>;
		await world.finish(one(world).read(0, 1));
		world.broker.topics.delete("t");
		world.broker.topics.create({ name: "t" });
		await append(world, ["a=1"]);
		await world.finish(cleaning);
		expect(await read(world)).toEqual(["0 a=1"]);
		expect(world.disk.list(folderOf()).filter((name) => name.endsWith(".cleaned"))).toEqual([]);
		expect(world.lines).toEqual([]);
	});
});

describe("damage", () => {
	it("keeps a segment out of compaction, and tombstones behind it", async () => {
		const world = await newWorld();
		await append(world, [`a=${"x".repeat(3000)}`]);
		await append(world, [`b=${"x".repeat(3000)}`]);
		await append(world, ["a"]);
		await fill(world);
		await world.finish(world.log.checkpoint());
		const first = one(world).segments.list[0];
		world.disk.flip(first?.path as string, 500);
		for (let i = 0; i < 3; i++) {
			await compact(world);
			await world.clock.advance(RETENTION_MS + 1);
		}
		expect(await read(world)).toContain("2 a");
		expect(first !== undefined && one(world).segments.has(first)).toBe(true);
		expect(world.lines.map(({ message }) => message)).toContain("compaction left a damaged segment as it is");
	});
});

describe("a full disk", () => {
	it("lets compaction wait, and nothing is lost by it", async () => {
		const world = await newWorld();
		await append(world, ["a=1", "a=2"]);
		await fill(world);
		const free = world.disk.freeBytes("/");
		world.disk.capacityBytes = 2 ** 50 - free + 5000;
		await world.finish(world.broker.cleaner?.clean() ?? Promise.resolve());
		expect(await read(world)).toHaveLength(2);
		expect(world.lines.at(-1)?.message).toBe("no space to compact");
		world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		const end = world.disk.inject({ operation: "write", code: "ENOSPC", file: /\.cleaned$/ });
		await world.finish(world.broker.cleaner?.clean() ?? Promise.resolve());
		end();
		expect(world.disk.list(folderOf()).filter((name) => name.endsWith(".cleaned"))).toEqual([]);
		await compact(world);
		expect(await read(world)).toEqual(["1 a=2"]);
	});
});
