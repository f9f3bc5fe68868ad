/** Records that somebody still needs: retention leaves them while there is room, and the ledger has what goes all the same. */
import { describe, expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { deleteRecordsBefore } from "../../../src/log/delete-records.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { enforceRetention } from "../../../src/log/retention.ts";
import type { RetentionHolder } from "../../../src/log/retention-holder.ts";
import { EMPTY_HEADERS_BLOCK, encodeKeyBlock } from "../../../src/record/builder.ts";
import { World } from "../../simulation/world.ts";

const VALUE_BYTES = 3000;
/** A segment of two such records, with what comes with it. */
const SEGMENT_BYTES = 6200;
/** A record's timestamp is its offset times this. */
const STEP_MS = 1000;
const NO_SPACE = "the disk had too little space to keep them until they were sent home";
const DELETED = "deleted before they were sent home";

/** Needs every record from its position on. */
class Holder implements RetentionHolder {
	readonly purpose = "sent home";
	minFreeBytes = 0;
	/** By topic; none: nothing of it. */
	readonly positions = new Map<string, number>();
	readonly told: unknown[] = [];

	neededFrom({ topic }: Partition): number | undefined {
		return this.positions.get(topic);
	}

	taken({ topic }: Partition, from: number, to: number, why: string): void {
		this.told.push([topic, from, to, why]);
	}
}

interface Held {
	readonly world: World;
	readonly holder: Holder;
}

/** Topics of ten records each, two to a segment, of which all but the last segment is to go; `a`'s are the older ones. */
async function newWorld(topics: readonly string[], config: Record<string, string> = {}): Promise<Held> {
	const world = new World(new SimulatedRandom(7), {
		journalFileBytes: 1024 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: { "log.segment.bytes": "7000", "log.retention.ms": "-1", "log.index.interval.bytes": "4096" },
		tearNeighbours: true,
		syncMs: 1,
		cleaner: { backoffMs: 15_000, dedupeBufferBytes: 65_536, ioBytesPerSecond: 1 << 30 },
	});
	world.start();
	const holder = hold(world);
	for (const topic of topics) {
		world.broker.topics.create({ name: topic, config: { "retention.bytes": "0", ...config } });
		for (let i = 0; i < 10; i++) await append(world, topic, i);
		holder.positions.set(topic, 0);
	}
	// One may be under way already, of what was there when it began.
	await world.finish(world.log.checkpoint());
	await world.finish(world.log.checkpoint());
	return { world, holder };
}

function hold(world: World): Holder {
	const holder = new Holder();
	world.log.holders.add(holder);
	return holder;
}

async function append(world: World, topic: string, i: number, key: string | null = null): Promise<void> {
	const value = Buffer.alloc(VALUE_BYTES, i);
	const block = encodeKeyBlock(key === null ? null : Buffer.from(key));
	one(world, topic).appendRecord(i * STEP_MS, block, value, 0, value.length, EMPTY_HEADERS_BLOCK);
	await world.finish(world.log.whenCommitted());
}

const one = (world: World, topic = "a") => world.partition(topic, 0) as Partition;
const bases = (world: World, topic = "a") => one(world, topic).segments.list.map(({ baseOffset }) => baseOffset);
const losses = (world: World) =>
	world.broker.catalog.losses().map(({ topic, firstOffset, count, reason }) => [topic, firstOffset, count, reason]);

/** Two records to a bundle. */
function upload(world: World, to: number): void {
	const { tier } = world.broker.catalog;
	for (let base = 0; base < to; base += 2) {
		const id = tier.beginBundle({ incarnation: 1, sequence: base + 1, key: `g/1/${base}`, createdMs: 0 });
		const range = { baseOffset: base, nextOffset: base + 2, storedBytes: 1, rawBytes: 2 * VALUE_BYTES };
		const partitionId = one(world).id;
		tier.commitBundle(id, 1, [{ partitionId, ...range, maxTimestamp: (base + 1) * STEP_MS, blocks: Buffer.alloc(0) }]);
	}
	one(world).tiered(to);
}

/** So many bytes are free from now on. */
function free(world: World, bytes: number): void {
	let used = 0;
	for (const content of world.disk.files().values()) used += content.length;
	world.disk.capacityBytes = used + bytes;
}

describe("while there is room, retention", () => {
	it("takes what is not needed any more, whole segments of it, and no loss is told", async () => {
		const { world, holder } = await newWorld(["a"]);
		enforceRetention(world.log);
		expect(bases(world)).toEqual([0, 2, 4, 6, 8]);
		for (const [position, left] of [
			[1, [0, 2, 4, 6, 8]],
			[2, [2, 4, 6, 8]],
			[5, [4, 6, 8]],
			[10, [8]],
		] as const) {
			holder.positions.set("a", position);
			enforceRetention(world.log);
			expect(bases(world)).toEqual(left);
			expect(one(world).logStartOffset).toBe(left[0]);
		}
		expect([losses(world), holder.told]).toEqual([[], []]);
	});

	it("waits for the last of several, and for nobody who has left or wants nothing", async () => {
		const { world, holder } = await newWorld(["a"]);
		const other = hold(world);
		holder.positions.set("a", 7);
		other.positions.set("a", 3);
		enforceRetention(world.log);
		expect(bases(world)).toEqual([2, 4, 6, 8]);
		other.positions.delete("a");
		enforceRetention(world.log);
		expect(bases(world)).toEqual([6, 8]);
		world.log.holders.remove(holder);
		enforceRetention(world.log);
		expect(bases(world)).toEqual([8]);
		expect(losses(world)).toEqual([]);
	});
});

describe("where too little is free, retention", () => {
	it("takes the oldest of what it would have taken long ago, as much as makes room, and the ledger has it", async () => {
		const { world, holder } = await newWorld(["b", "a"]);
		holder.positions.set("b", 1);
		holder.minFreeBytes = 50_000;
		free(world, 50_000 - SEGMENT_BYTES - 1000);
		enforceRetention(world.log);
		// Of the same age: both topics lose their first.
		expect([bases(world, "a"), bases(world, "b")]).toEqual([
			[2, 4, 6, 8],
			[2, 4, 6, 8],
		]);
		expect(losses(world).sort()).toEqual([
			["a", 0, 2, NO_SPACE],
			["b", 1, 1, NO_SPACE],
		]);
		expect(holder.told.sort()).toEqual([
			["a", 0, 2, NO_SPACE],
			["b", 1, 2, NO_SPACE],
		]);
		enforceRetention(world.log);
		expect(losses(world)).toHaveLength(2);
		await world.crash("power cut", new SimulatedRandom(1));
		world.start();
		expect(one(world).logStartOffset).toBe(2);
		expect(losses(world)).toHaveLength(2);
	});

	it("says in one row what goes bit by bit", async () => {
		const { world, holder } = await newWorld(["a"]);
		holder.minFreeBytes = 50_000;
		for (const left of [8, 6, 4]) {
			free(world, 50_000 - 1);
			enforceRetention(world.log);
			expect(bases(world)).toHaveLength(left / 2);
		}
		expect(losses(world)).toEqual([["a", 0, 6, NO_SPACE]]);
		expect(holder.told).toHaveLength(3);
		// What was sent meanwhile is not part of it.
		holder.positions.set("a", 7);
		free(world, 50_000 - SEGMENT_BYTES - 1000);
		enforceRetention(world.log);
		expect(losses(world)).toEqual([
			["a", 0, 6, NO_SPACE],
			["a", 7, 1, NO_SPACE],
		]);
	});

	it("takes no more than the topic's configuration asks, however little is free", async () => {
		const { world, holder } = await newWorld(["a"], { "retention.bytes": "13000" });
		holder.minFreeBytes = 1e16;
		enforceRetention(world.log);
		const left = bases(world);
		expect(left).toEqual([4, 6, 8]);
		world.broker.topics.alter("a", { set: { "retention.bytes": "-1" } });
		enforceRetention(world.log);
		expect(bases(world)).toEqual(left);
	});

	it("lets go of the copy here of what an object store has, and nothing is lost", async () => {
		const { world, holder } = await newWorld(["a"], { "remote.storage.enable": "true", "local.retention.bytes": "0" });
		upload(world, 6);
		holder.minFreeBytes = 50_000;
		free(world, 50_000 - SEGMENT_BYTES);
		enforceRetention(world.log);
		expect([one(world).logStartOffset, one(world).localStartOffset]).toEqual([0, 6]);
		for (const [position, start] of [
			[1, 0],
			[3, 2],
			[4, 4],
			[5, 4],
		] as const) {
			holder.positions.set("a", position);
			enforceRetention(world.log);
			expect([one(world).logStartOffset, bases(world)]).toEqual([start, [6, 8]]);
		}
		expect(losses(world)).toEqual([]);
		// Only what is not there yet makes room, with all before it.
		free(world, 49_999);
		enforceRetention(world.log);
		expect([one(world).logStartOffset, bases(world)]).toEqual([8, [8]]);
		expect(losses(world)).toEqual([["a", 5, 3, NO_SPACE]]);
	});

	it("leaves what is needed behind a hole in what the object store has", async () => {
		const { world, holder } = await newWorld(["a"], { "remote.storage.enable": "true", "local.retention.bytes": "0" });
		upload(world, 4);
		one(world).tiered(6);
		enforceRetention(world.log);
		holder.positions.set("a", 5);
		enforceRetention(world.log);
		expect([one(world).logStartOffset, one(world).localStartOffset]).toEqual([4, 6]);
		expect(losses(world)).toEqual([]);
	});

	it("passes over what was deleted and is not synced yet", async () => {
		const { world, holder } = await newWorld(["a"]);
		for (let i = 10; i < 20; i++) await append(world, "a", i);
		world.log.flush();
		holder.positions.set("a", 15);
		deleteRecordsBefore(world.log, one(world), 15);
		expect(bases(world)[0]).toBeLessThan(14);
		holder.minFreeBytes = 1e16;
		enforceRetention(world.log);
		expect(one(world).logStartOffset).toBe(15);
	});

	it("counts the records that compaction left", async () => {
		const { world } = await newWorld([]);
		world.broker.topics.create({
			name: "c",
			config: { "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01" },
		});
		for (let i = 0; i < 10; i++) await append(world, "c", i, `key ${i % 3}`);
		await world.finish(world.log.checkpoint());
		await world.finish(world.log.checkpoint());
		await world.clock.advance(120_000);
		const partition = one(world, "c");
		expect(partition.segments.list.filter(({ isCleaned }) => isCleaned).length).toBeGreaterThan(0);
		const offsets = (await world.observe()).partition("c", 0)?.records.map(({ offset }) => offset) ?? [];
		expect(offsets.length).toBeLessThan(8);
		const holder = hold(world);
		for (let from = 0; from <= 10; from++) {
			holder.positions.set("c", from);
			for (let to = from; to <= 10; to++) {
				const count = offsets.filter((offset) => offset >= from && offset < to).length;
				const taking = world.log.holders.taking(partition, to, "space");
				expect(taking === undefined).toBe(from === to);
				expect(taking?.losses.map(({ row }) => row.count) ?? []).toEqual(count === 0 ? [] : [count]);
			}
		}
	});
});

describe("a full disk", () => {
	it.each([0, 50_000])(
		"begins retention at once, and again while that was too little, so that there is room soon (%i bytes are to be free)",
		async (minFreeBytes) => {
			const { world, holder } = await newWorld(["a"]);
			for (let i = 10; i < 110; i++) await append(world, "a", i);
			await world.finish(world.log.checkpoint());
			await world.finish(world.log.checkpoint());
			holder.minFreeBytes = minFreeBytes;
			free(world, 0);
			const value = Buffer.alloc(VALUE_BYTES);
			for (let i = 110; i < 1000 && world.log.refusal === undefined; i++) {
				one(world).appendRecord(i, encodeKeyBlock(null), value, 0, VALUE_BYTES, EMPTY_HEADERS_BLOCK);
				await world.clock.advance(5);
			}
			expect(world.log.refusal).toBeDefined();
			await world.clock.advance(minFreeBytes > 0 ? 5000 : 30_000);
			expect(world.log.refusal).toBeUndefined();
			const { logStartOffset } = one(world);
			expect(logStartOffset).toBeGreaterThanOrEqual(16);
			expect(logStartOffset).toBeLessThan(100);
			expect(losses(world)).toEqual([["a", 0, logStartOffset, NO_SPACE]]);
			expect(holder.told.length).toBeGreaterThan(1);
			await append(world, "a", 1000);
		},
	);
});

describe("what a person deletes", () => {
	it("goes at once, and what was still needed of it is in the ledger", async () => {
		const { world, holder } = await newWorld(["a"]);
		holder.positions.set("a", 3);
		deleteRecordsBefore(world.log, one(world), 3);
		expect(losses(world)).toEqual([]);
		deleteRecordsBefore(world.log, one(world), 7);
		expect(losses(world)).toEqual([["a", 3, 4, DELETED]]);
		expect(holder.told).toEqual([["a", 3, 7, DELETED]]);
	});

	it("with its whole topic, also when one of the same name follows", async () => {
		const { world, holder } = await newWorld(["a"]);
		holder.positions.set("a", 6);
		world.broker.topics.delete("a");
		expect(losses(world)).toEqual([["a", 6, 4, DELETED]]);
		expect(holder.told).toEqual([["a", 6, 10, DELETED]]);
		world.broker.topics.create({ name: "a" });
		for (let i = 0; i < 8; i++) await append(world, "a", i);
		world.broker.topics.delete("a");
		expect(losses(world)).toEqual([
			["a", 6, 4, DELETED],
			["a", 6, 2, DELETED],
		]);
	});

	it("with the object store's copies, when tiering is switched off", async () => {
		const { world, holder } = await newWorld(["a"], { "remote.storage.enable": "true", "local.retention.bytes": "0" });
		upload(world, 6);
		enforceRetention(world.log);
		holder.positions.set("a", 4);
		world.broker.topics.alter("a", {
			set: { "remote.storage.enable": "false", "remote.log.delete.on.disable": "true" },
		});
		expect(losses(world)).toEqual([["a", 4, 2, DELETED]]);
		expect(holder.told).toEqual([["a", 4, 6, DELETED]]);
	});

	it("is in no ledger where it could not be taken", async () => {
		const { world, holder } = await newWorld(["a"]);
		const { catalog } = world.broker;
		const full = () => {
			throw Object.assign(new Error("full"), { code: "SQLITE_FULL" });
		};
		Object.assign(catalog, { setLogStartOffsets: full, deleteTopic: full });
		expect(() => deleteRecordsBefore(world.log, one(world), 7)).toThrow("the disk is full");
		expect(() => world.broker.topics.delete("a")).toThrow("the disk is full");
		expect([losses(world), holder.told]).toEqual([[], []]);
	});
});
