/** What leaves the card and what leaves the whole, when an object store has records; and what the catalog knows then. */
import { describe, expect, it } from "vitest";
import type { BrokerError } from "../../../src/base/errors.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { deleteRecordsBefore } from "../../../src/log/delete-records.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { offsetForTimestamp } from "../../../src/log/partition-times.ts";
import { enforceRetention } from "../../../src/log/retention.ts";
import type { Tier } from "../../../src/log/tier.ts";
import { tierHoles } from "../../../src/log/verify-tier.ts";
import { EMPTY_HEADERS_BLOCK, encodeKeyBlock } from "../../../src/record/builder.ts";
import { DATA_FOLDER, recordsIn, World } from "../../simulation/world.ts";

const VALUE_BYTES = 3000;
const KEY = encodeKeyBlock(Buffer.from("k"));
/** A record's timestamp is its offset times this. */
const STEP_MS = 1000;

/** Ten records, two to a segment. */
async function newWorld(config: Record<string, string>): Promise<World> {
	const world = new World(new SimulatedRandom(7), {
		journalFileBytes: 1024 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: { "log.segment.bytes": "7000", "log.retention.ms": "-1", "log.index.interval.bytes": "4096" },
		tearNeighbours: true,
		syncMs: 1,
	});
	world.start();
	world.broker.topics.create({ name: "t", config: { "remote.storage.enable": "true", ...config } });
	for (let i = 0; i < 10; i++) await append(world, i);
	await world.finish(world.log.checkpoint());
	await world.clock.advance(10 * STEP_MS - world.clock.now());
	return world;
}

async function append(world: World, i: number): Promise<void> {
	const value = Buffer.alloc(VALUE_BYTES, i);
	one(world).appendRecord(i * STEP_MS, KEY, value, 0, value.length, EMPTY_HEADERS_BLOCK);
	await world.finish(world.log.whenCommitted());
}

const one = (world: World) => world.partition("t", 0) as Partition;
const bases = (world: World) => one(world).segments.list.map(({ baseOffset }) => baseOffset);
const starts = (world: World) => [one(world).logStartOffset, one(world).localStartOffset];

/** As an upload of `from` to `to` does, each `per` offsets in a bundle of their own. */
function upload(world: World, from: number, to: number, per = to - from): void {
	const { tier } = world.broker.catalog;
	for (let base = from; base < to; base += per) {
		const nextOffset = Math.min(base + per, to);
		const sequence = tier.lastSequence() + 1;
		const id = tier.beginBundle({ incarnation: 1, sequence, key: `g/1/${sequence}`, createdMs: 0 });
		const bytes = (nextOffset - base) * VALUE_BYTES;
		tier.commitBundle(id, bytes, [
			{
				partitionId: one(world).id,
				baseOffset: base,
				nextOffset,
				storedBytes: bytes,
				rawBytes: bytes,
				maxTimestamp: (nextOffset - 1) * STEP_MS,
				blocks: Buffer.alloc(0),
			},
		]);
		one(world).tiered(nextOffset);
	}
}

const stored = (world: World) => world.broker.catalog.tier.bundles("stored").map(({ sequence }) => sequence);
const deleting = (world: World) => world.broker.catalog.tier.bundles("deleting").map(({ sequence }) => sequence);

describe("a look at many partitions", () => {
	const many = Array.from({ length: 20 }, (_, i) => i);

	async function manyUploaded(config: Record<string, string>): Promise<World> {
		const world = await newWorld(config);
		world.broker.topics.create({
			name: "many",
			partitions: many.length,
			config: { "remote.storage.enable": "true", ...config },
		});
		const partitions = many.map((number) => world.partition("many", number) as Partition);
		for (let i = 0; i < 3; i++) {
			for (const partition of partitions) {
				const value = Buffer.alloc(VALUE_BYTES * 2);
				partition.appendRecord(i * STEP_MS, KEY, value, 0, value.length, EMPTY_HEADERS_BLOCK);
			}
			await world.finish(world.log.whenCommitted());
		}
		// One may be under way already, of what was there when it began.
		await world.finish(world.log.checkpoint());
		await world.finish(world.log.checkpoint());
		const { tier } = world.broker.catalog;
		const id = tier.beginBundle({ incarnation: 1, sequence: 1, key: "g/1/1", createdMs: 0 });
		const range = {
			baseOffset: 0,
			nextOffset: 3,
			storedBytes: 1,
			rawBytes: 3 * VALUE_BYTES,
			maxTimestamp: 2 * STEP_MS,
		};
		tier.commitBundle(
			id,
			1,
			partitions.map((partition) => ({ ...range, partitionId: partition.id, blocks: Buffer.alloc(0) })),
		);
		for (const partition of partitions) partition.tiered(3);
		return world;
	}

	it("moves their starts in one transaction, which takes a sync", async () => {
		const world = await manyUploaded({ "local.retention.ms": "1", "retention.ms": String(100 * STEP_MS) });
		let commits = world.commits;
		enforceRetention(world.log);
		expect(many.map((number) => world.partition("many", number)?.localStartOffset)).toEqual(many.map(() => 2));
		expect(world.commits - commits).toBe(1);
		await world.clock.advance(200 * STEP_MS);
		commits = world.commits;
		enforceRetention(world.log);
		expect(many.map((number) => world.partition("many", number)?.logStartOffset)).toEqual(many.map(() => 3));
		expect(world.commits - commits).toBe(1);
	});
});

describe("what is kept here", () => {
	it("goes by local.retention.ms, and only as far as the object store has it", async () => {
		const world = await newWorld({ "local.retention.ms": String(3 * STEP_MS) });
		enforceRetention(world.log);
		expect(bases(world)).toEqual([0, 2, 4, 6, 8]);
		upload(world, 0, 5);
		enforceRetention(world.log);
		expect(bases(world)).toEqual([4, 6, 8]);
		expect(starts(world)).toEqual([0, 4]);
		upload(world, 5, 10);
		enforceRetention(world.log);
		// The segment with offset 7 is not too old.
		expect(bases(world)).toEqual([6, 8]);
		expect(starts(world)).toEqual([0, 6]);
	});

	it("goes by local.retention.bytes", async () => {
		const world = await newWorld({ "local.retention.bytes": "7000" });
		upload(world, 0, 10);
		enforceRetention(world.log);
		expect(bases(world)).toEqual([6, 8]);
	});

	it("is as much as retention.ms says by default, and all where compaction is the only policy", async () => {
		const world = await newWorld({ "retention.ms": "-1" });
		upload(world, 0, 10);
		enforceRetention(world.log);
		expect(bases(world)).toEqual([0, 2, 4, 6, 8]);
		world.broker.topics.alter("t", { set: { "retention.ms": "1000", "cleanup.policy": "compact" } });
		enforceRetention(world.log);
		expect(bases(world)).toEqual([0, 2, 4, 6, 8]);
	});

	it("is known after a start, also when a crash came before the files went", async () => {
		const world = await newWorld({ "local.retention.ms": "0" });
		upload(world, 0, 10);
		enforceRetention(world.log);
		await world.crash("power cut", new SimulatedRandom(1));
		world.start();
		expect(starts(world)).toEqual([0, 8]);
		expect(one(world).tieredOffset).toBe(10);
		expect(bases(world)).toContain(8);
		enforceRetention(world.log);
		expect(bases(world)).toEqual([8]);
		const rest = await world.finish(one(world).read(8, 1 << 20));
		expect(recordsIn(rest).map(({ offset }) => offset)).toEqual([8, 9]);
	});
});

describe("the whole", () => {
	it("goes by retention.ms, first over the object store's ranges and then over the segments; the bundles are to be removed", async () => {
		const world = await newWorld({ "local.retention.ms": String(3 * STEP_MS), "retention.ms": String(8 * STEP_MS) });
		upload(world, 0, 10, 2);
		enforceRetention(world.log);
		expect(starts(world)).toEqual([2, 6]);
		expect(deleting(world)).toEqual([1]);
		await world.clock.advance(5 * STEP_MS);
		enforceRetention(world.log);
		expect(starts(world)).toEqual([6, 8]);
		await world.clock.advance(100 * STEP_MS);
		enforceRetention(world.log);
		// The active segment stays, and the newest bundle: it has the snapshot.
		expect(starts(world)).toEqual([8, 8]);
		expect(bases(world)).toEqual([8]);
		expect(deleting(world)).toEqual([1, 2, 3, 4]);
		expect(stored(world)).toEqual([5]);
	});

	it("goes by retention.bytes over both together", async () => {
		const world = await newWorld({ "local.retention.bytes": "6000", "retention.bytes": "16000" });
		upload(world, 0, 10, 2);
		enforceRetention(world.log);
		enforceRetention(world.log);
		expect(starts(world)).toEqual([4, 8]);
	});

	it("is not held up by what was never uploaded", async () => {
		const world = await newWorld({ "retention.ms": String(5 * STEP_MS) });
		enforceRetention(world.log);
		expect(starts(world)).toEqual([4, 4]);
	});

	it("keeps a bundle as long as one partition needs it", async () => {
		const world = await newWorld({});
		world.broker.topics.create({ name: "u", config: { "remote.storage.enable": "true" } });
		const other = world.partition("u", 0) as Partition;
		const { tier } = world.broker.catalog;
		const range = { storedBytes: 1, rawBytes: 1, maxTimestamp: 0, blocks: Buffer.alloc(0) };
		const begin = (sequence: number) =>
			tier.beginBundle({ incarnation: 1, sequence, key: `g/1/${sequence}`, createdMs: 0 });
		tier.commitBundle(begin(1), 1, [
			{ ...range, partitionId: one(world).id, baseOffset: 0, nextOffset: 4 },
			{ ...range, partitionId: other.id, baseOffset: 0, nextOffset: 4 },
		]);
		tier.commitBundle(begin(2), 1, []);
		deleteRecordsBefore(world.log, one(world), 4);
		expect(stored(world)).toEqual([1, 2]);
		world.broker.topics.delete("u");
		expect(stored(world)).toEqual([2]);
		expect(deleting(world)).toEqual([1]);
	});

	it("keeps the newest bundle that has a snapshot, though newer ones without one are there", async () => {
		const world = await newWorld({});
		const { tier } = world.broker.catalog;
		const range = { partitionId: one(world).id, storedBytes: 1, rawBytes: 1, maxTimestamp: 0, blocks: Buffer.alloc(0) };
		for (const [sequence, hasSnapshot] of [true, true, false, false].entries()) {
			const id = tier.beginBundle({ incarnation: 1, sequence, key: `g/1/${sequence}`, createdMs: 0 });
			tier.commitBundle(id, 1, [{ ...range, baseOffset: sequence, nextOffset: sequence + 1 }], hasSnapshot);
		}
		deleteRecordsBefore(world.log, one(world), 4);
		expect(stored(world)).toEqual([1]);
		expect(deleting(world)).toEqual([0, 2, 3]);
	});

	it("loses what is deleted by request in the object store too, however far that is", async () => {
		const world = await newWorld({ "local.retention.ms": "0" });
		upload(world, 0, 10, 5);
		enforceRetention(world.log);
		expect(deleteRecordsBefore(world.log, one(world), 3)).toBe(3);
		expect(starts(world)).toEqual([3, 8]);
		expect(deleting(world)).toEqual([]);
		deleteRecordsBefore(world.log, one(world), 6);
		expect(deleting(world)).toEqual([1]);
	});
});

describe("a partition whose last records damage took", () => {
	it("goes on behind what the object store has, and gives no offset out twice", async () => {
		const world = await newWorld({ "local.retention.ms": "4000" });
		upload(world, 0, 10);
		world.broker.catalog.tier.commitBundle(
			world.broker.catalog.tier.beginBundle({ incarnation: 1, sequence: 9, key: "g/1/9", createdMs: 0 }),
			1,
			[
				{
					partitionId: one(world).id,
					baseOffset: 10,
					nextOffset: 20,
					storedBytes: 1,
					rawBytes: 1,
					maxTimestamp: 1,
					blocks: Buffer.alloc(0),
				},
			],
		);
		await world.crash("kill", new SimulatedRandom(2));
		for (let start = 0; start < 3; start++) {
			world.start();
			expect([one(world).endOffset, one(world).localStartOffset, one(world).tieredOffset]).toEqual([
				20 + start,
				20,
				20,
			]);
			expect(world.lines).toEqual([]);
			await append(world, 30);
			for (let offset = 20; offset <= 20 + start; offset++) {
				const [record] = recordsIn(await world.finish(one(world).read(offset, 100)));
				expect(record?.offset).toBeLessThanOrEqual(offset);
			}
			await world.crash("power cut", new SimulatedRandom(start));
		}
	});
});

describe("what has left the card", () => {
	it("is asked of the tier, also when it goes while it is read", async () => {
		const world = await newWorld({ "local.retention.ms": "0" });
		await expect(world.finish(one(world).read(0, 100))).resolves.toBeDefined();
		const kept = await world.finish(one(world).read(0, 1 << 20));
		upload(world, 0, 10);
		const asked: number[] = [];
		world.log.tier = {
			read: async (_, offset) => {
				asked.push(offset);
				return kept;
			},
			lookUpTime: (_, timestampMs, from) => (timestampMs <= 7000 ? Math.max(from, 4) : undefined),
			maxTimestamp: () => 7000,
		} satisfies Tier;
		const before = one(world).read(0, 100);
		enforceRetention(world.log);
		await world.finish(before);
		await world.finish(one(world).read(3, 100));
		expect(asked.at(-1)).toBe(3);
		expect(await world.finish(offsetForTimestamp(one(world), 9000))).toEqual({ offset: 9, timestamp: 9000 });
	});

	it("is passed over where compaction left nothing of it: a reader goes on with what is kept here", async () => {
		const world = await newWorld({ "local.retention.ms": "0" });
		upload(world, 0, 10);
		enforceRetention(world.log);
		const tier: Tier = {
			read: async () => Buffer.alloc(0),
			lookUpTime: () => undefined,
			maxTimestamp: () => -1,
		};
		world.log.tier = tier;
		const bytes = await world.finish(one(world).read(5, 1 << 20));
		expect(recordsIn(bytes).map(({ offset }) => offset)).toEqual([8, 9]);
	});

	it("cannot be read where no object store is open, and that is no reason to go on elsewhere", async () => {
		const world = await newWorld({ "local.retention.ms": "0" });
		upload(world, 0, 10);
		enforceRetention(world.log);
		const error = await world.finish(one(world).read(0, 100)).catch((error: BrokerError) => error);
		expect((error as BrokerError).code).toBe("KAFKA_STORAGE_ERROR");
	});

	it("is known to the catalog without a hole, and one is told", async () => {
		const world = await newWorld({ "local.retention.ms": "0" });
		upload(world, 0, 4);
		upload(world, 6, 10);
		enforceRetention(world.log);
		const row = world.broker.catalog.allPartitions().get(world.broker.topics.get("t")?.id as string)?.[0];
		expect([...tierHoles(world.broker.catalog.tier, row as NonNullable<typeof row>, "t-0")]).toEqual([
			"t-0: offsets 4 to 5 are neither here nor in the object store",
		]);
		expect(world.disk.exists(`${DATA_FOLDER}/topics/t-0`)).toBe(true);
	});
});

describe("a topic that leaves tiered storage", () => {
	it("says what becomes of what is there, and begins with what is kept here", async () => {
		const world = await newWorld({ "local.retention.ms": "3000" });
		upload(world, 0, 10, 5);
		enforceRetention(world.log);
		const { topics } = world.broker;
		expect(() => topics.alter("t", { set: { "remote.storage.enable": "false" } })).toThrow(
			/remote.log.delete.on.disable=true/,
		);
		expect(() => topics.alter("t", { unset: ["remote.storage.enable"] })).toThrow(/remote.log.delete.on.disable=true/);
		topics.alter("t", { set: { "remote.storage.enable": "false", "remote.log.delete.on.disable": "true" } });
		expect(starts(world)).toEqual([6, 6]);
		expect(one(world).tieredOffset).toBe(0);
		expect(deleting(world)).toEqual([1]);
		await world.stop();
		world.start();
		expect(starts(world)).toEqual([6, 6]);
		expect(one(world).tieredOffset).toBe(0);
	});
});
