import { describe, expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { BatchError } from "../../../src/record/batch.ts";
import { decodeBlock } from "../../../tiering/bundle/block.ts";
import { threadCompression } from "../../../tiering/bundle/compression.ts";
import { bundleKey } from "../../../tiering/bundle/identity.ts";
import { BLOCK_RAW_BYTES } from "../../../tiering/bundle/layout.ts";
import { type BundleSource, readBundleFooter } from "../../../tiering/bundle/reader.ts";
import { BundleWriter } from "../../../tiering/bundle/writer.ts";
import { batchAt, bundleWriter, IDENTITY, sourceOf, TELEMETRY, writeBundle } from "../../support/bundles.ts";

const random = new SimulatedRandom(1);
const START = { topicId: TELEMETRY.id, topic: TELEMETRY.name, partition: 0, partitionId: 9, baseOffset: 10 };
const EPOCHS = [{ epoch: 0, startOffset: 10 }];

/** Batches one behind the other from offset `from` on, each with one record of `bytes` bytes. */
function batches(from: number, count: number, bytes: number, compressible = true): Buffer[] {
	return Array.from({ length: count }, (_, i) =>
		batchAt(from + i, [compressible ? "x".repeat(bytes) : random.bytes(bytes)], { timestamp: 1000 + i }),
	);
}

describe("a range", () => {
	it("says what is in it", async () => {
		const { writer } = bundleWriter();
		writer.beginRange(START);
		const first = batchAt(10, ["a", "b"], { timestamp: 5000 });
		const second = batchAt(14, ["c"], { timestamp: 2000 });
		await writer.addBatches(Buffer.concat([first, second]));
		const range = await writer.endRange(20, [...EPOCHS, { epoch: 3, startOffset: 14 }], []);
		expect(range).toMatchObject({
			...START,
			nextOffset: 20,
			firstTimestamp: 6000,
			maxTimestamp: 6000,
			records: 3,
			position: 16,
			rawBytes: first.length + second.length,
			epochs: [...EPOCHS, { epoch: 3, startOffset: 14 }],
		});
		expect(range.blocks).toEqual([
			{
				baseOffset: 10,
				nextOffset: 15,
				position: 16,
				storedBytes: range.storedBytes,
				rawBytes: range.rawBytes,
				maxTimestamp: 6000,
				crc: range.crc,
				codec: 1,
			},
		]);
	});

	it("is compressed again soon after what does not shrink, which is tried less and less", async () => {
		let tried = 0;
		const zstd = (bytes: Uint8Array) => {
			tried += 1;
			return threadCompression.zstd(bytes);
		};
		const { writer } = bundleWriter({ compression: { ...threadCompression, zstd } });
		writer.beginRange(START);
		await writer.addBatches(Buffer.concat(batches(10, 40, 200_000, false)));
		// Of blocks 1, 3, 7, 15 and 31; one waits for more.
		expect(tried).toBe(5);
		await writer.addBatches(Buffer.concat(batches(50, 40, 200_000)));
		const { blocks } = await writer.endRange(90, EPOCHS, []);
		expect(blocks.filter(({ codec }) => codec === 1).length).toBeGreaterThan(20);
	});

	it("is cut into blocks of whole batches, 256 KiB at most, but for a batch that is larger", async () => {
		const all = [...batches(10, 5, 100_000), ...batches(15, 1, 400_000), ...batches(16, 1, 10)];
		const { bytes, footer } = await writeBundle([{ batches: all }]);
		const blocks = footer.ranges[0]?.blocks ?? [];
		expect(blocks.map(({ baseOffset, nextOffset }) => [baseOffset, nextOffset])).toEqual([
			[10, 12],
			[12, 14],
			[14, 15],
			[15, 16],
			[16, 17],
		]);
		for (const block of blocks) {
			const raw = await decodeBlock(bytes.subarray(block.position, block.position + block.storedBytes), block, "it");
			const from = block.baseOffset - 10;
			expect(raw.equals(Buffer.concat(all.slice(from, block.nextOffset - 10)))).toBe(true);
			expect(block.maxTimestamp).toBe(block.baseOffset < 15 ? 1000 + block.nextOffset - 11 : 1000);
		}
	});

	it("fills a block to its last byte", async () => {
		const overhead = (batches(0, 1, 100_000)[0] as Buffer).length - 100_000;
		const half = batches(10, 2, BLOCK_RAW_BYTES / 2 - overhead);
		const one = batchAt(12, ["a"]);
		const { footer } = await writeBundle([{ batches: [...half, one] }]);
		expect(footer.ranges[0]?.blocks.map((block) => block.rawBytes)).toEqual([BLOCK_RAW_BYTES, one.length]);
	});

	it("is the same however its batches are handed over", async () => {
		const all = batches(10, 40, 30_000);
		const one = await writeBundle([{ batches: [Buffer.concat(all)] }]);
		const many = await writeBundle([{ batches: all }]);
		expect(many.footer.ranges).toEqual(one.footer.ranges);
		expect(one.footer.ranges[0]).toMatchObject({ firstTimestamp: 1000, maxTimestamp: 1039, records: 40 });
	});

	it("is stored compressed where that takes an eighth away, else as it is", async () => {
		const { footer } = await writeBundle([
			{ partition: 0, batches: batches(0, 1, 50_000) },
			{ partition: 1, batches: batches(0, 1, 50_000, false) },
		]);
		const [text, noise] = footer.ranges.map((range) => range.blocks[0]);
		expect(text?.codec).toBe(1);
		expect(text?.storedBytes).toBeLessThan(1000);
		expect(noise?.codec).toBe(0);
		expect(noise?.storedBytes).toBe(noise?.rawBytes);
	});

	it("is not compressed again where nearly all of it is", async () => {
		let tried = 0;
		const compression = {
			...threadCompression,
			zstd: (bytes: Uint8Array) => {
				tried += 1;
				return threadCompression.zstd(bytes);
			},
		};
		const noise = random.bytes(40_000);
		const compressed = batchAt(0, [noise], { codec: "gzip" });
		await writeBundle([{ batches: [compressed, batchAt(1, ["little"])] }], { compression });
		expect(tried).toBe(0);
		await writeBundle([{ batches: [compressed, batchAt(1, ["x".repeat(20_000)])] }], { compression });
		expect(tried).toBe(1);
	});

	it("may have nothing in it: compaction left nothing", async () => {
		const { footer, bytes } = await writeBundle([{ baseOffset: 5, nextOffset: 9, batches: [] }]);
		expect(footer.ranges[0]).toMatchObject({
			records: 0,
			storedBytes: 0,
			firstTimestamp: -1,
			maxTimestamp: -1,
			blocks: [],
		});
		expect((await readBundleFooter(sourceOf(bytes))).ranges).toEqual(footer.ranges);
	});
});

describe("what does not belong into a bundle", () => {
	const refused = async (work: (writer: BundleWriter) => Promise<unknown>) => {
		const { writer } = bundleWriter();
		writer.beginRange(START);
		return work(writer).then(
			() => undefined,
			(error: Error) => error,
		);
	};

	it("is a batch that is damaged, cut short, or out of order", async () => {
		const batch = batchAt(10, ["a"]);
		const spoilt = Buffer.from(batch);
		spoilt[70] = (spoilt[70] as number) ^ 1;
		const wrong: [bytes: Buffer, position: number][] = [
			[Buffer.concat([batch, spoilt]), batch.length],
			[batch.subarray(0, -1), 8],
			[batchAt(9, ["before the range"]), 0],
			[Buffer.concat([batch, batch]), batch.length],
		];
		for (const [bytes, position] of wrong) {
			const error = await refused((writer) => writer.addBatches(bytes));
			expect(error).toBeInstanceOf(BatchError);
			expect((error as BatchError).position).toBe(position);
		}
	});

	it("is an end, an epoch or a transaction that does not fit the range", async () => {
		const ends: [nextOffset: number, epochs: typeof EPOCHS, aborted: [number, number, number][]][] = [
			[10, EPOCHS, []],
			[11, EPOCHS, []],
			[12, [], []],
			[12, [{ epoch: 0, startOffset: 11 }], []],
			[12, [...EPOCHS, { epoch: 0, startOffset: 11 }], []],
			[12, [...EPOCHS, { epoch: 1, startOffset: 12 }], []],
			[12, EPOCHS, [[1, 2, 9]]],
			[12, EPOCHS, [[1, 12, 13]]],
			[12, EPOCHS, [[1, 11, 10]]],
		];
		for (const [nextOffset, epochs, aborted] of ends) {
			const rows = aborted.map(([producerId, firstOffset, lastOffset]) => ({ producerId, firstOffset, lastOffset }));
			const error = await refused(async (writer) => {
				await writer.addBatches(batchAt(10, ["a", "b"]));
				await writer.endRange(nextOffset, epochs, rows);
			});
			expect(error, JSON.stringify([nextOffset, epochs, aborted])).toBeInstanceOf(RangeError);
			if (nextOffset < 12) expect(error?.message).toContain(`with batches before 12 ends at ${nextOffset}`);
		}
		const rows = [
			{ producerId: 2, firstOffset: 11, lastOffset: 30 },
			{ producerId: 1, firstOffset: 2, lastOffset: 10 },
		];
		expect(
			await refused(async (writer) => {
				await writer.addBatches(batchAt(10, ["a", "b"]));
				expect((await writer.endRange(12, EPOCHS, rows)).aborted).toEqual([rows[1], rows[0]]);
			}),
		).toBeUndefined();
	});

	it("is a range of a topic that is not there, a partition that it does not have, an offset twice", async () => {
		for (const topics of [
			[],
			[TELEMETRY, TELEMETRY],
			[{ ...TELEMETRY, name: "other" }],
			[{ ...TELEMETRY, name: "no/name" }],
		]) {
			const error = await refused(async (writer) => {
				await writer.addBatches(batchAt(10, ["a"]));
				await writer.endRange(11, EPOCHS, []);
				await writer.finish(topics, undefined);
			});
			expect(error).toBeInstanceOf(RangeError);
		}
		await expect(writeBundle([{ partition: 3, batches: [batchAt(10, ["a"])] }])).rejects.toThrow("3 partitions");
		const twice = { batches: [batchAt(10, ["a"])] };
		await expect(writeBundle([twice, twice])).rejects.toThrow("lies in the one before");
	});

	it("is an identity from which no key can be made", () => {
		const parts = {
			sink: async () => undefined,
			clock: { ...bundleWriter().writer, now: () => 0 } as never,
			writer: "",
		};
		for (const wrong of [{ gateway: "" }, { gateway: "a/b" }, { gateway: ".." }, { incarnation: -1 }, { attempt: "x" }])
			expect(() => new BundleWriter({ ...IDENTITY, ...wrong }, parts)).toThrow(RangeError);
		expect(bundleKey(IDENTITY)).toBe("gw-1/0000000001/00000000000000000007-0badcafe.bundle");
	});
});

describe("the sink", () => {
	it("gets the next bytes when it has taken those before, and no more are held meanwhile", async () => {
		const waiting: (() => void)[] = [];
		const { writer } = bundleWriter({ sink: () => new Promise<void>((resolve) => waiting.push(resolve)) });
		writer.beginRange(START);
		let done = false;
		const adding = writer.addBatches(Buffer.concat(batches(10, 10, 200_000))).then(() => {
			done = true;
		});
		for (let part = 0; part < 3; part++) {
			while (waiting.length === part) await new Promise((resolve) => setImmediate(resolve));
			for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
			expect(waiting).toHaveLength(part + 1);
			expect(done).toBe(false);
			waiting[part]?.();
		}
		const pump = setInterval(() => {
			for (const resolve of waiting) resolve();
		});
		await adding;
		clearInterval(pump);
	});

	it("ends the bundle with what it rejects with", async () => {
		const gone = new Error("gone");
		const { writer } = bundleWriter({ sink: () => Promise.reject(gone) });
		writer.beginRange(START);
		await writer.addBatches(batchAt(10, ["a"]));
		await expect(writer.endRange(11, EPOCHS, [])).rejects.toBe(gone);
	});

	it("has been given as many bytes as `sizeBytes` says, the trailer last", async () => {
		const { writer, bytes } = bundleWriter();
		expect(() => writer.trailer).toThrow("not finished");
		writer.beginRange(START);
		await writer.addBatches(batchAt(10, ["a"]));
		await writer.endRange(11, EPOCHS, []);
		const whole = () => Buffer.concat(bytes);
		expect(writer.sizeBytes).toBe(whole().length);
		await writer.finish([TELEMETRY], Buffer.from("snapshot"));
		expect(writer.sizeBytes).toBe(whole().length);
		expect(writer.trailer.equals(whole().subarray(-40))).toBe(true);
		const source: BundleSource = sourceOf(whole());
		expect((await readBundleFooter(source)).sizeBytes).toBe(writer.sizeBytes);
	});
});

describe("everybody else", () => {
	it("has a turn between any two slices of the work", async () => {
		let turns = 0;
		const clock = {
			now: () => 0,
			monotonic: () => 0,
			after: () => ({ cancel: () => undefined }),
			soon: (task: () => void) => {
				turns += 1;
				setImmediate(task);
			},
		};
		const { writer } = bundleWriter({ clock });
		writer.beginRange(START);
		const bytes = Buffer.concat(batches(10, 1000, 1000, false));
		await writer.addBatches(bytes);
		expect(turns).toBe(Math.floor(bytes.length / (128 * 1024)));
		await writer.endRange(1010, EPOCHS, []);
		const before = turns;
		for (let i = 0; i < 2000; i++) {
			writer.beginRange({ ...START, baseOffset: 1010 + i });
			await writer.endRange(1011 + i, [{ epoch: 0, startOffset: 1010 + i }], []);
		}
		await writer.finish([TELEMETRY], undefined);
		expect(turns).toBeGreaterThan(before + 3);
	});

	it("is told when the footer is as long as readers take", async () => {
		const { writer } = bundleWriter();
		let ranges = 0;
		for (; !writer.isFull; ranges++) {
			writer.beginRange({ ...START, baseOffset: ranges });
			await writer.endRange(ranges + 1, [{ epoch: 0, startOffset: ranges }], []);
		}
		expect(ranges).toBe(32 * 1024);
	});
});
