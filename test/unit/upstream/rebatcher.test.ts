/** Re-batching of a real partition: what its readers may see, whatever its producers left there. */
import { describe, expect, it } from "vitest";
import type { Compress } from "../../../bridge/upstream/shipment/compress.ts";
import type { SealedBatch } from "../../../bridge/upstream/shipment/outgoing-batch.ts";
import { Rebatcher } from "../../../bridge/upstream/shipment/rebatcher.ts";
import type { Target } from "../../../bridge/upstream/shipment/target.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { decodeRecords, encodeBatch, validateBatch } from "../../../src/record/batch.ts";
import { stampAppendTime } from "../../../src/record/batch-rewrite.ts";
import { compress as compressNow } from "../../../src/record/compression.ts";
import { World } from "../../simulation/world.ts";
import { TransactionalWriter } from "../../support/transactional-writer.ts";

const TARGET: Target = { topic: "there", partitions: 1, partitioner: "key" };
const LIMITS = { batchBytes: 10_000, recordsMax: Number.POSITIVE_INFINITY };
const compress: Compress = async (codec, bytes, level) => compressNow(codec, bytes, level);

function open(): { world: World; partition: Partition } {
	const world = new World(new SimulatedRandom("rebatcher"), {
		journalFileBytes: 1024 * 1024,
		journalFilesMax: 4,
		lingerMs: 0,
		topicDefaults: {},
		tearNeighbours: false,
		syncMs: 1,
	});
	world.start();
	world.broker.topics.create({ name: "t" });
	return { world, partition: world.partition("t", 0) as Partition };
}

const plain = (...values: string[]) =>
	encodeBatch(values.map((value, i) => ({ timestamp: 100 + i, key: null, value: Buffer.from(value), headers: [] })));
const values = (batches: readonly SealedBatch[]) =>
	batches.map(({ batch }) => decodeRecords(batch).map(({ value }) => String(value)));

describe("a rebatcher", () => {
	it("takes what was committed, neither markers nor what was aborted, and goes on behind them", async () => {
		const { world, partition } = open();
		const writer = new TransactionalWriter(world.broker, "w");
		const later = new TransactionalWriter(world.broker, "later");
		await world.finish(writer.write(partition, "k", "gone", "gone too"));
		partition.appendBatch(plain("between"), 1);
		await world.finish(writer.end("abort"));
		await world.finish(writer.write(partition, "k", "stays"));
		await world.finish(writer.end("commit"));
		partition.appendBatch(plain("last"), 1);
		await world.finish(later.write(partition, "k", "open"));
		const rebatcher = new Rebatcher({ codec: "zstd", level: 1, compress });
		const end = partition.lastStableOffset;
		expect([end, partition.highWatermark]).toEqual([7, 8]);
		const bytes = await world.finish(partition.read(0, 100_000));
		expect(rebatcher.add(partition, bytes, 0, end, TARGET, LIMITS, undefined, 10_000)).toBe(end);
		const sealed = await rebatcher.seal();
		expect(values(sealed)).toEqual([["between", "stays", "last"]]);
		expect([0, 1, 2].map((index) => sealed[0]?.sourceOf(index).offset)).toEqual([2, 4, 6]);
		// Only an aborted batch: nothing to send, but a way further.
		expect(rebatcher.add(partition, bytes, 0, 2, TARGET, LIMITS, undefined, 10_000)).toBe(2);
		expect([rebatcher.records, await rebatcher.seal()]).toEqual([0, []]);
	});

	it("uses memory again that was given back, and no other", async () => {
		const { partition } = open();
		const rebatcher = new Rebatcher({ codec: "none", level: undefined, compress });
		// More than a trickle, for which nothing is kept.
		const text = "x".repeat(70_000);
		const sealed = async (value: string): Promise<SealedBatch> => {
			rebatcher.add(partition, plain(value + text), 0, 1, TARGET, LIMITS, undefined, 100_000);
			const [batch] = await rebatcher.seal();
			return batch as SealedBatch;
		};
		const first = await sealed("first");
		const second = await sealed("second");
		first.release();
		const third = await sealed("third");
		expect(third.batch.buffer).toBe(first.batch.buffer);
		expect(values([second, third])).toEqual([[`second${text}`], [`third${text}`]]);
	});

	it("knows where each of many records comes from, the newest first and then older ones", async () => {
		const { partition } = open();
		const other = { ...partition, number: 1, isVisible: () => true } as unknown as Partition;
		const rebatcher = new Rebatcher({ codec: "zstd", level: 1, compress });
		const batch = plain(...Array.from({ length: 300 }, (_, i) => `${i}`));
		const odd = new Set(Array.from({ length: 300 }, (_, i) => i).filter((i) => i % 3 === 1));
		const add = (from: number, end: number, of = partition) =>
			rebatcher.add(of, batch, from, end, TARGET, LIMITS, odd, 100_000);
		expect([add(200, 300), add(0, 80), add(0, 50, other), add(80, 200)]).toEqual([300, 80, 50, 200]);
		const sealed = await rebatcher.seal();
		const found = sealed.flatMap((one) => Array.from({ length: one.count }, (_, i) => one.sourceOf(i)));
		expect(found.map(({ offset }) => `${offset}`)).toEqual(values(sealed).flat());
		expect(found.map((source) => source.partition).filter((one) => one === other).length).toBe(33);
		expect(new Set(found.map((source) => `${source.partition.number} ${source.offset}`)).size).toBe(233);
	});

	it("gives each record the time that the log gave it", async () => {
		const batch = plain("a", "b");
		stampAppendTime(batch, 5000);
		const rebatcher = new Rebatcher({ codec: "none", level: undefined, compress });
		const { partition } = open();
		rebatcher.add(partition, batch, 0, 2, TARGET, LIMITS, undefined, 10_000);
		const [sealed] = await rebatcher.seal();
		expect(decodeRecords(sealed?.batch as Buffer).map(({ timestamp }) => timestamp)).toEqual([5000, 5000]);
		expect(validateBatch(sealed?.batch as Buffer, 0)).toMatchObject({ timestampType: "create", maxTimestamp: 5000 });
	});

	it("compresses what gets shorter by it, and only that", async () => {
		const { partition } = open();
		const noise = new SimulatedRandom("noise").bytes(3000).toString("latin1");
		for (const codec of ["gzip", "snappy", "lz4", "zstd"] as const) {
			const rebatcher = new Rebatcher({ codec, level: undefined, compress });
			rebatcher.add(partition, plain("x".repeat(3000)), 0, 1, TARGET, LIMITS, undefined, 10_000);
			rebatcher.add(
				partition,
				encodeBatch([latin1(noise)]),
				0,
				1,
				{ ...TARGET, topic: "noise" },
				LIMITS,
				undefined,
				10_000,
			);
			const sealed = await rebatcher.seal();
			expect(sealed.map(({ batch }) => validateBatch(batch, 0).codec)).toEqual([codec, "none"]);
			expect(sealed[1]?.batch.length).toBe(sealed[1]?.rawBytes);
		}
	});

	it("is filled anew while the last shipment is compressed, which is not touched by that", async () => {
		const { partition } = open();
		const waiting: (() => void)[] = [];
		const slow: Compress = async (codec, bytes, level) => {
			await new Promise<void>((resolve) => waiting.push(resolve));
			return compressNow(codec, bytes, level);
		};
		const rebatcher = new Rebatcher({ codec: "zstd", level: undefined, compress: slow });
		const add = (value: string) =>
			rebatcher.add(partition, plain(value.repeat(50)), 0, 1, TARGET, LIMITS, undefined, 10_000);
		add("first");
		const first = rebatcher.seal();
		expect([rebatcher.records, rebatcher.rawBytes]).toEqual([0, 0]);
		add("second");
		const second = rebatcher.seal();
		for (let i = 0; i < 2; i++) waiting[i]?.();
		expect(values(await first)).toEqual([["first".repeat(50)]]);
		expect(values(await second)).toEqual([["second".repeat(50)]]);
	});

	it("begins to compress a batch as soon as it is full", async () => {
		const { partition } = open();
		const begun: number[] = [];
		const noting: Compress = async (codec, bytes, level) => {
			begun.push(bytes.length);
			return compressNow(codec, bytes, level);
		};
		const rebatcher = new Rebatcher({ codec: "zstd", level: undefined, compress: noting });
		const limits = { ...LIMITS, recordsMax: 2 };
		rebatcher.add(partition, plain("a", "b", "c", "d", "e"), 0, 5, TARGET, limits, undefined, 10_000);
		expect(begun.length).toBe(2);
		expect(values(await rebatcher.seal())).toEqual([["a", "b"], ["c", "d"], ["e"]]);
		expect(begun.length).toBe(3);
	});

	it("has nothing of a shipment that could not be compressed", async () => {
		const { partition } = open();
		let fails = true;
		const rebatcher = new Rebatcher({
			codec: "zstd",
			level: undefined,
			compress: async (codec, bytes) => {
				if (fails) throw new Error("no memory");
				return compressNow(codec, bytes);
			},
		});
		rebatcher.add(partition, plain("a"), 0, 1, TARGET, LIMITS, undefined, 10_000);
		await expect(rebatcher.seal()).rejects.toThrow("no memory");
		// Those that were compressed before all was there, too.
		rebatcher.add(partition, plain("a", "b", "c"), 0, 3, TARGET, { ...LIMITS, recordsMax: 1 }, undefined, 10_000);
		await new Promise((resolve) => setImmediate(resolve));
		await expect(rebatcher.seal()).rejects.toThrow("no memory");
		fails = false;
		expect(await rebatcher.seal()).toEqual([]);
		rebatcher.add(partition, plain("b"), 0, 1, TARGET, LIMITS, undefined, 10_000);
		expect(values(await rebatcher.seal())).toEqual([["b"]]);
	});

	it("puts records that are too far apart in time into batches of their own", async () => {
		const { partition } = open();
		const rebatcher = new Rebatcher({ codec: "none", level: undefined, compress });
		[Number.MAX_SAFE_INTEGER, -1, 5].forEach((timestamp, offset) => {
			const batch = encodeBatch([{ timestamp, key: null, value: null, headers: [] }], { baseOffset: offset });
			rebatcher.add(partition, batch, offset, 3, TARGET, LIMITS, undefined, 10_000);
		});
		const sealed = await rebatcher.seal();
		expect(sealed.map(({ batch }) => decodeRecords(batch).map(({ timestamp }) => timestamp))).toEqual([
			[Number.MAX_SAFE_INTEGER],
			[-1, 5],
		]);
	});
});

function latin1(text: string): { timestamp: number; key: null; value: Buffer; headers: [] } {
	return { timestamp: 1, key: null, value: Buffer.from(text, "latin1"), headers: [] };
}
