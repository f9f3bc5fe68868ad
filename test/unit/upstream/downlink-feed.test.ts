import { afterEach, describe, expect, it } from "vitest";
import type { Fetched } from "../../../bridge/upstream/client/fetch.ts";
import { type Retain, Target } from "../../../bridge/upstream/downlink/target.ts";
import { type FeedPartition, TopicFeed } from "../../../bridge/upstream/downlink/topic-feed.ts";
import { BrokerError } from "../../../src/base/errors.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { DownlinkRule } from "../../../src/config/definition.ts";
import { type EncodableRecord, encodeBatch, readBatchHeader, setBaseOffset } from "../../../src/record/batch.ts";
import type { Codec } from "../../../src/record/compression.ts";
import { crc32c } from "../../../src/record/crc32c.ts";
import type { ModelRecord } from "../../simulation/log-model.ts";
import { World } from "../../simulation/world.ts";

const RULE: DownlinkRule = { topic: "central", to: "here", from: "earliest", retain: false };
const NOT_ABORTED = new AbortController().signal;

function newWorld(options: { journalFileBytes?: number } = {}): World {
	return new World(new SimulatedRandom("downlink"), {
		journalFileBytes: 256 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: {},
		tearNeighbours: false,
		syncMs: 1,
		...options,
	});
}

let world: World;

function start(rules: readonly DownlinkRule[] = [RULE], retain?: Retain): TopicFeed {
	world.start();
	return newFeed(rules, retain);
}

function newFeed(rules: readonly DownlinkRule[], retain?: Retain): TopicFeed {
	const targets = rules.map((rule) => new Target(world.broker, rule, "gw", retain));
	return new TopicFeed(world.broker, "central", targets);
}

afterEach(async () => {
	await world.crash("kill", new SimulatedRandom(1));
});

/** Its partitions, as they are at the beginning or as an earlier run left them. */
async function open(feed: TopicFeed, partitions = 2): Promise<readonly FeedPartition[]> {
	const row = feed.load();
	const next = Array.from({ length: partitions }, () => 0);
	if (row !== undefined) feed.resume(row);
	else {
		const epochs = next.map(() => -1);
		await world.finish(feed.place({ clusterId: "c", topicId: "t", next, epochs }, NOT_ABORTED));
	}
	return feed.partitions;
}

function record(key: string | null, value: string | null, more: Partial<EncodableRecord> = {}): EncodableRecord {
	const bytes = (text: string | null) => (text === null ? null : Buffer.from(text));
	return { timestamp: 1_600_000_000_000, key: bytes(key), value: bytes(value), headers: [], ...more };
}

interface BatchOptions {
	readonly codec?: Codec;
	readonly epoch?: number;
	readonly producerId?: number;
	readonly isControl?: boolean;
}

function batch(baseOffset: number, records: readonly EncodableRecord[], options: BatchOptions = {}): Buffer {
	const { codec = "none", epoch = 3, producerId, isControl } = options;
	const transaction =
		producerId === undefined ? {} : { producerId, producerEpoch: 0, baseSequence: 0, isTransactional: true };
	const bytes = encodeBatch(records, { codec, ...transaction, ...(isControl === true ? { isControl } : {}) });
	setBaseOffset(bytes, 0, baseOffset, epoch);
	return bytes;
}

function fetched(batches: readonly Buffer[], end: number, aborted: Fetched["aborted"] = []): Fetched {
	return { records: Buffer.concat(batches), highWatermark: end, lastStableOffset: end, logStartOffset: 0, aborted };
}

function take(feed: TopicFeed, partition: number, answer: Fetched): Promise<void> {
	return world.finish(feed.take(feed.partitions[partition] as FeedPartition, answer, NOT_ABORTED), 3000);
}

async function stored(topic = "here"): Promise<ModelRecord[]> {
	const found: ModelRecord[] = [];
	const { partition } = await world.observe();
	const count = world.broker.topics.get(topic)?.partitions.length ?? 0;
	for (let i = 0; i < count; i++) found.push(...(partition(topic, i)?.records ?? []));
	return found;
}

const valuesOf = (records: readonly ModelRecord[]): string[] => records.map(({ value }) => String(value));

describe("a topic's feed", () => {
	it("appends key, value, headers and timestamp as they are, and knows where it stands", async () => {
		world = newWorld();
		const feed = start();
		await open(feed);
		const headers = [
			{ key: "a", value: Buffer.from("1") },
			{ key: "b", value: null },
		];
		const records = [
			record("k", "v", { headers }),
			record(null, "no key", { timestamp: 1_600_000_000_007 }),
			record("gone", null, { headers: [{ key: "", value: Buffer.alloc(0) }] }),
		];
		await take(feed, 1, fetched([batch(40, records)], 43));
		expect(feed.row).toEqual({ clusterId: "c", topicId: "t", next: [0, 43], epochs: [-1, 3] });
		expect(feed.load()).toEqual(feed.row);
		const found = await stored();
		expect(found).toHaveLength(3);
		expect(found).toContainEqual(
			expect.objectContaining({
				key: Buffer.from("k"),
				value: Buffer.from("v"),
				timestamp: 1_600_000_000_000,
				headers: [
					["a", Buffer.from("1")],
					["b", null],
				],
			}),
		);
		expect(found).toContainEqual(
			expect.objectContaining({ key: null, value: Buffer.from("no key"), timestamp: 1_600_000_000_007 }),
		);
		expect(found).toContainEqual(
			expect.objectContaining({ key: Buffer.from("gone"), value: null, headers: [["", Buffer.alloc(0)]] }),
		);
	});

	it.each<Codec>(["gzip", "snappy", "lz4", "zstd"])("reads %s", async (codec) => {
		world = newWorld();
		const feed = start();
		await open(feed, 1);
		const records = Array.from({ length: 50 }, (_, i) => record(`k${i}`, `v${i}`));
		await take(feed, 0, fetched([batch(0, records, { codec })], 50));
		expect(valuesOf(await stored()).sort()).toEqual(records.map(({ value }) => String(value)).sort());
	});

	it("begins in the middle of a batch", async () => {
		world = newWorld();
		const feed = start();
		const [partition] = await open(feed, 1);
		await world.finish(feed.move(partition as FeedPartition, 2, NOT_ABORTED));
		await take(
			feed,
			0,
			fetched(
				[
					batch(
						0,
						["a", "b", "c", "d"].map((each) => record(each, each)),
					),
				],
				4,
			),
		);
		expect(valuesOf(await stored())).toEqual(["c", "d"]);
		expect(feed.row.next).toEqual([4]);
	});

	it("passes over what was aborted, and markers, and stands behind them", async () => {
		world = newWorld();
		const feed = start();
		await open(feed, 1);
		const marker = (type: number) => record(null, null, { key: Buffer.from([0, 0, 0, type]), value: Buffer.alloc(6) });
		const batches = [
			batch(0, [record("a", "aborted")], { producerId: 7 }),
			batch(1, [record("a", "committed")], { producerId: 8 }),
			batch(2, [marker(0)], { producerId: 7, isControl: true }),
			batch(3, [record("a", "later")], { producerId: 7 }),
			batch(4, [marker(1)], { producerId: 8, isControl: true, epoch: 4 }),
			batch(5, [marker(1)], { producerId: 7, isControl: true, epoch: 5 }),
		];
		await take(feed, 0, fetched(batches, 6, [{ producerId: 7, firstOffset: 0 }]));
		expect(valuesOf(await stored())).toEqual(["committed", "later"]);
		expect(feed.row).toMatchObject({ next: [6], epochs: [5] });
	});

	it("keeps the order of each key, and without keys that of the partition", async () => {
		world = newWorld();
		const feed = start();
		await open(feed, 4);
		const keyed = Array.from({ length: 40 }, (_, i) => record(`k${i % 5}`, `${i}`));
		const plain = Array.from({ length: 10 }, (_, i) => record(null, `plain ${i}`));
		await take(feed, 2, fetched([batch(0, keyed), batch(40, plain)], 50));
		const found = await stored();
		for (let key = 0; key < 5; key++) {
			const of = found.filter((each) => String(each.key) === `k${key}`).map(({ value }) => Number(value));
			expect(of).toEqual(of.toSorted((a, b) => a - b));
			expect(of).toHaveLength(8);
		}
		const { partition } = await world.observe();
		expect(valuesOf(partition("here", 2)?.records.filter(({ key }) => key === null) ?? [])).toEqual(
			plain.map(({ value }) => String(value)),
		);
	});

	it("believes of what a cluster has said of an epoch only what is said of later ones", async () => {
		world = newWorld();
		const feed = start();
		const [partition] = await open(feed, 1);
		await take(feed, 0, fetched([batch(0, [record("a", "1")], { epoch: 3 })], 1));
		await world.finish(feed.move(partition as FeedPartition, 0, NOT_ABORTED));
		expect(feed.load()).toMatchObject({ next: [0], epochs: [-5] });
		await take(feed, 0, fetched([batch(0, [record("a", "1")], { epoch: 3 })], 1));
		expect(feed.load()).toMatchObject({ next: [1], epochs: [-5] });
		await take(feed, 0, fetched([batch(1, [record("a", "2")], { epoch: 4 })], 2));
		expect(feed.load()).toMatchObject({ next: [2], epochs: [4] });
	});

	it("counts what a rule does not want, and writes down only now and then that it has passed it", async () => {
		world = newWorld();
		const feed = start([{ ...RULE, key: "mine" }]);
		await open(feed, 1);
		const commits = world.log.counters.commits;
		for (let i = 0; i < 50; i++) await take(feed, 0, fetched([batch(i, [record("other", "x")])], i + 1));
		expect(world.log.counters.commits).toBe(commits);
		expect(feed.load()?.next).toEqual([0]);
		await take(feed, 0, fetched([batch(50, [record("mine", "y")])], 60));
		expect(feed.load()?.next).toEqual([51]);
		expect(feed.status()).toMatchObject([{ receivedRecords: 1, filteredRecords: 50, lag: 9, problem: undefined }]);
		await take(feed, 0, fetched([batch(51, [record("other", "x".repeat(300_000))])], 60));
		expect(feed.load()?.next).toEqual([52]);
	});

	it("gives each rule what it wants of one topic", async () => {
		world = newWorld();
		const feed = start([
			{ ...RULE, to: "all" },
			{ ...RULE, to: "some", key: "a*" },
		]);
		await open(feed, 1);
		await take(feed, 0, fetched([batch(0, [record("a1", "1"), record("b", "2")])], 2));
		expect(valuesOf(await stored("all"))).toEqual(["1", "2"]);
		expect(valuesOf(await stored("some"))).toEqual(["1"]);
		expect(feed.status().map(({ to, receivedRecords }) => [to, receivedRecords])).toEqual([
			["all", 2],
			["some", 1],
		]);
	});

	it("makes the topic here with as many partitions as there, up to a bound, and makes it again", async () => {
		world = newWorld();
		const feed = start();
		await open(feed, 100);
		expect(world.broker.topics.get("here")?.partitions).toHaveLength(32);
		world.broker.topics.delete("here");
		await take(feed, 99, fetched([batch(0, [record(null, "v")])], 1));
		expect(valuesOf(await stored())).toEqual(["v"]);
	});

	it("passes over what the topic here does not take, tells it, and has it in the ledger once", async () => {
		world = newWorld();
		let feed = start();
		world.broker.topics.create({ name: "here", partitions: 1, config: { "max.message.bytes": "1000" } });
		await open(feed, 1);
		const answer = fetched([batch(5, [record("a", "1"), record("a", "x".repeat(2000)), record("a", "3")])], 8);
		await take(feed, 0, answer);
		expect(valuesOf(await stored())).toEqual(["1", "3"]);
		expect(feed.row.next).toEqual([8]);
		expect(world.broker.catalog.losses()).toMatchObject([
			{
				topic: "central:central",
				partition: 0,
				firstOffset: 6,
				count: 1,
				reason: expect.stringContaining("max.message.bytes"),
			},
		]);
		expect(feed.status()[0]?.problem).toMatchObject({ message: expect.stringContaining("offset 6") });
		// As after a crash that lost the position.
		feed = newFeed([RULE]);
		feed.resume({ clusterId: "c", topicId: "t", next: [5], epochs: [-1] });
		await take(feed, 0, answer);
		expect(world.broker.catalog.losses()).toHaveLength(1);
	});

	it("passes over a record that no entry of the journal can take", async () => {
		world = newWorld({ journalFileBytes: 128 * 1024 });
		const feed = start();
		await open(feed, 1);
		const large = "x".repeat(world.log.groupBytesMax);
		await take(feed, 0, fetched([batch(0, [record("a", "1"), record("a", large), record("a", "3")])], 3));
		expect(valuesOf(await stored())).toEqual(["1", "3"]);
		expect(feed.row.next).toEqual([3]);
		expect(world.broker.catalog.losses()).toMatchObject([{ firstOffset: 1, count: 1 }]);
	});

	it("passes over a batch that nobody can read though its checksum is right", async () => {
		world = newWorld();
		const feed = start();
		await open(feed, 1);
		const bad = batch(1, [record("a", "x"), record("a", "y")], { codec: "gzip" });
		bad.fill(0xff, 61);
		const answer = [batch(0, [record("a", "1")]), withCrc(bad), batch(3, [record("a", "2")])];
		await take(feed, 0, fetched(answer, 4));
		expect(valuesOf(await stored())).toEqual(["1", "2"]);
		expect(world.broker.catalog.losses()).toMatchObject([{ firstOffset: 1, count: 2 }]);
	});

	it("takes nothing from a batch with a wrong checksum on", async () => {
		world = newWorld();
		const feed = start();
		await open(feed, 1);
		const bad = batch(1, [record("a", "x")]);
		bad[bad.length - 2] = (bad[bad.length - 2] as number) ^ 1;
		const answer = fetched([batch(0, [record("a", "1")]), bad, batch(2, [record("a", "2")])], 3);
		await expect(take(feed, 0, answer)).rejects.toThrow(/checksum/);
		await expect(take(feed, 0, fetched([bad], 3))).rejects.toThrow(/checksum/);
		expect(valuesOf(await stored())).toEqual(["1"]);
		expect(feed.row.next).toEqual([1]);
	});

	it("stands where it stood when nothing can be stored", async () => {
		world = newWorld();
		const feed = start();
		await open(feed, 1);
		const answer = fetched([batch(0, [record("a", "1")])], 1);
		const refused = new BrokerError("KAFKA_STORAGE_ERROR", "the disk is full");
		const { log } = world;
		const admit = log.admit.bind(log);
		log.admit = () => {
			throw refused;
		};
		await expect(take(feed, 0, answer)).rejects.toBe(refused);
		expect(feed.row.next).toEqual([0]);
		log.admit = admit;
		await take(feed, 0, answer);
		expect(valuesOf(await stored())).toEqual(["1"]);
	});

	it("retains in the same commit, and stores also what cannot be retained", async () => {
		world = newWorld();
		const kept: (readonly [string, number, number])[] = [];
		const retain: Retain = (partition, { key }) =>
			String(key) === "none"
				? undefined
				: {
						bytes: 100,
						work: (offset) => {
							if (String(key) === "full") throw new BrokerError("POLICY_VIOLATION", "there are too many");
							kept.push([String(key), partition.id, offset]);
						},
					};
		const feed = start([{ ...RULE, retain: true }], retain);
		const [partition] = await open(feed, 1);
		expect(partition).toBeDefined();
		const id = world.broker.topics.get("here")?.partitions[0]?.id;
		await take(
			feed,
			0,
			fetched(
				[
					batch(
						0,
						["a", "none", "full", "b"].map((key) => record(key, "v")),
					),
				],
				4,
			),
		);
		expect(kept).toEqual([
			["a", id, 0],
			["b", id, 3],
		]);
		expect(await stored()).toHaveLength(4);
		expect(feed.status()[0]?.problem?.message).toContain("there are too many");
	});
});

function withCrc(bytes: Buffer): Buffer {
	bytes.writeUInt32BE(crc32c(bytes, 21), 17);
	return bytes;
}

/** A story of three answers, in which every record is one of its own. */
function story(): { partition: number; answer: Fetched }[] {
	const many = (from: number, count: number, name: string) =>
		Array.from({ length: count }, (_, i) => record(`k${(from + i) % 7}`, `${name} ${from + i} ${"x".repeat(1500)}`));
	return [
		{ partition: 0, answer: fetched([batch(0, many(0, 40, "p0")), batch(40, many(40, 40, "p0"))], 120) },
		{ partition: 1, answer: fetched([batch(0, many(0, 10, "p1"), { codec: "gzip" })], 10) },
		{ partition: 0, answer: fetched([batch(80, many(80, 40, "p0"))], 120) },
	];
}

/** Goes on where the rows say. */
async function live(feed: TopicFeed): Promise<void> {
	await open(feed);
	for (const { partition, answer } of story()) {
		const next = feed.row.next[partition] as number;
		const batches = offsetsOf(answer).filter(({ last }) => last >= next);
		const records = Buffer.concat(batches.map(({ bytes }) => bytes));
		await take(feed, partition, { ...answer, records });
	}
}

function offsetsOf({ records }: Fetched): { bytes: Buffer; last: number }[] {
	const found: { bytes: Buffer; last: number }[] = [];
	for (let at = 0; at < records.length; ) {
		const { sizeBytes, lastOffset } = readBatchHeader(records, at);
		found.push({ bytes: records.subarray(at, at + sizeBytes), last: lastOffset });
		at += sizeBytes;
	}
	return found;
}

describe("a feed whose gateway is cut short", () => {
	it("has everything once after a power cut or a kill in any step", { timeout: 120_000 }, async () => {
		const random = new SimulatedRandom("cuts");
		world = newWorld({ journalFileBytes: 128 * 1024 });
		await live(start());
		const steps = world.disk.operations;
		const expected = valuesOf(await stored()).sort();
		expect(expected).toHaveLength(130);
		let cuts = 0;
		let between = 0;
		for (let step = 1; step <= steps; step++) {
			const kind = random.pick(["power cut", "kill"] as const);
			await world.crash("kill", random);
			world = newWorld({ journalFileBytes: 128 * 1024 });
			world.disk.stopAfter(step);
			await (async () => live(start()))().catch(() => {});
			if (world.disk.off) cuts += 1;
			await world.crash(kind, random);
			const feed = start();
			const before = feed.load()?.next ?? [];
			if (before.some((next) => next > 0) && before[0] !== 120) between += 1;
			await live(feed);
			const found = valuesOf(await stored()).sort();
			expect(found, `${kind} in step ${step}`).toEqual(expected);
		}
		expect(cuts).toBeGreaterThan(20);
		expect(between).toBeGreaterThan(5);
	});
});
