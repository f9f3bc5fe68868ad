import zlib from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DamageError } from "../../../src/base/errors.ts";
import { CODECS } from "../../../src/record/batch-header.ts";
import { crc32c } from "../../../src/record/crc32c.ts";
import { type Block, decodeBlock, forEachBatch } from "../../../tiering/bundle/block.ts";
import { decodeBlocks, encodeBlocks } from "../../../tiering/bundle/block-index.ts";
import { bundleRecords } from "../../../tiering/bundle/export.ts";
import { encodeTrailer, TRAILER_BYTES } from "../../../tiering/bundle/layout.ts";
import { readBundleFooter, readSnapshot } from "../../../tiering/bundle/reader.ts";
import { verifyBundle } from "../../../tiering/bundle/verify.ts";
import { batchAt, type DescribedRange, sourceOf, TELEMETRY, writeBundle } from "../../support/bundles.ts";

/** A batch behind a gap, with so many records of about so many bytes each. */
interface Described {
	readonly gap: number;
	readonly records: number;
	readonly bytes: number;
	readonly codec: (typeof CODECS)[number];
	readonly compressible: boolean;
	readonly timestamp: number;
	/** undefined: no transaction. */
	readonly producerId: number | undefined;
}

const described: fc.Arbitrary<Described> = fc.record({
	gap: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat(1000)),
	records: fc.integer({ min: 1, max: 4 }),
	bytes: fc.oneof({ weight: 4, arbitrary: fc.nat(300) }, fc.nat(90_000)),
	codec: fc.constantFrom(...CODECS),
	compressible: fc.boolean(),
	timestamp: fc.oneof(fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }), fc.constantFrom(0, 2 ** 52)),
	producerId: fc.option(fc.nat(3), { nil: undefined }),
});

interface DescribedPartition {
	readonly baseOffset: number;
	readonly batches: readonly Described[];
	readonly tail: number;
	/** How many batches are handed over at a time. */
	readonly together: number;
	/** Of the range's offsets, in per cent, where transactions that were aborted begin and end. */
	readonly aborted: readonly [producerId: number, from: number, to: number][];
}

const partition: fc.Arbitrary<DescribedPartition> = fc.record({
	baseOffset: fc.oneof(fc.nat(1000), fc.constant(2 ** 40)),
	batches: fc.array(described, { maxLength: 8 }),
	tail: fc.nat(3),
	together: fc.integer({ min: 1, max: 5 }),
	aborted: fc.array(fc.tuple(fc.nat(3), fc.nat(100), fc.nat(100)), { maxLength: 3 }),
});

function rangeOf({ baseOffset, batches, tail, together, aborted }: DescribedPartition, i: number): DescribedRange {
	const made: Buffer[] = [];
	let next = baseOffset;
	let seed = 1;
	for (const { gap, records, bytes, codec, compressible, timestamp, producerId } of batches) {
		const values = Array.from({ length: records }, () => {
			const value = Buffer.alloc(bytes, "telemetry ");
			if (!compressible) for (let at = 0; at < bytes; at++) value[at] = seed = (seed * 48_271) % 2_147_483_647;
			return value;
		});
		const transaction = producerId === undefined ? {} : { producerId, producerEpoch: 0, isTransactional: true };
		made.push(batchAt(next + gap, values, { codec, timestamp, ...transaction }));
		next += gap + records;
	}
	const nextOffset = Math.max(next + tail, baseOffset + 1);
	const span = nextOffset - baseOffset;
	const rows = aborted.map(([producerId, from, to]) => {
		const firstOffset = baseOffset + Math.floor((Math.min(from, to) * (span - 1)) / 100);
		return { producerId, firstOffset, lastOffset: baseOffset + Math.floor((Math.max(from, to) * (span - 1)) / 100) };
	});
	const handed: Buffer[] = [];
	for (let at = 0; at < made.length; at += together) handed.push(Buffer.concat(made.slice(at, at + together)));
	return {
		topic: { ...TELEMETRY, partitions: 100 },
		partition: i,
		baseOffset,
		nextOffset,
		batches: handed,
		aborted: [...new Map(rows.map((row) => [row.lastOffset, row])).values()],
	};
}

const bundles = fc
	.tuple(fc.array(partition, { maxLength: 5 }), fc.option(fc.uint8Array({ maxLength: 300 }), { nil: undefined }))
	.map(([partitions, snapshot]) => ({
		ranges: partitions.map(rangeOf),
		...(snapshot === undefined ? {} : { snapshot: Buffer.from(snapshot) }),
	}));

describe("a bundle", () => {
	it("gives back what went in, in blocks that can each be read alone", async () => {
		await fc.assert(
			fc.asyncProperty(bundles, async ({ ranges, ...options }) => {
				const { bytes, footer } = await writeBundle(ranges, options);
				const source = sourceOf(bytes);
				const read = await readBundleFooter(source);
				expect(read).toEqual({ ...footer, sizeBytes: bytes.length });
				expect(await readSnapshot(source, read)).toEqual(options.snapshot);
				expect(read.ranges).toHaveLength(ranges.length);
				for (const [i, range] of read.ranges.entries()) {
					const raw: Buffer[] = [];
					for (const block of decodeBlocks(encodeBlocks(range.blocks, range.baseOffset), range.baseOffset))
						raw.push(await decodeBlock(await source.get(block.position, block.storedBytes), block, "b"));
					expect(Buffer.concat(raw).equals(Buffer.concat(ranges[i]?.batches ?? []))).toBe(true);
				}
				const damages: DamageError[] = [];
				await verifyBundle(source, (error) => void damages.push(error));
				expect(damages).toEqual([]);
			}),
			{ numRuns: 60 },
		);
	});

	it("gives out the records that a consumer of committed ones would get, and all of them to who asks", async () => {
		await fc.assert(
			fc.asyncProperty(bundles, fc.nat(40), fc.boolean(), async ({ ranges }, percent, withAborted) => {
				const { bytes, footer } = await writeBundle(ranges);
				const from = (ranges[0]?.baseOffset ?? 0) + percent;
				const expected: [partition: number, offset: number][] = [];
				for (const { partition = 0, batches, aborted = [] } of ranges) {
					forEachBatch(Buffer.concat(batches), ({ baseOffset, count, isTransactional, producerId }) => {
						const isAborted = aborted.some(
							(one) => one.producerId === producerId && one.firstOffset <= baseOffset && baseOffset <= one.lastOffset,
						);
						if (isTransactional && isAborted && !withAborted) return;
						for (let i = 0; i < count; i++) if (baseOffset + i >= from) expected.push([partition, baseOffset + i]);
					});
				}
				const got: [partition: number, offset: number][] = [];
				const filter = { topic: undefined, partition: undefined, from, withAborted };
				for await (const record of bundleRecords(sourceOf(bytes), footer, filter))
					got.push([record.partition, record.offset]);
				expect(got).toEqual(expected);
			}),
			{ numRuns: 60 },
		);
	});
});

describe("a list of blocks for the catalog", () => {
	const block = fc.record({
		gap: fc.oneof(fc.constant(0), fc.nat(10_000)),
		offsets: fc.integer({ min: 1, max: 100_000 }),
		storedBytes: fc.integer({ min: 1, max: 16 * 1024 * 1024 }),
		rawBytes: fc.integer({ min: 1, max: 16 * 1024 * 1024 }),
		maxTimestamp: fc.oneof(fc.constant(-1), fc.nat(2 ** 41), fc.maxSafeNat()),
		crc: fc.nat(0xffff_ffff),
		codec: fc.constantFrom(0 as const, 1 as const),
	});
	const blocks = fc.tuple(fc.nat(2 ** 50), fc.nat(2 ** 40), fc.array(block, { maxLength: 20 }));

	it("comes back, at 24 bytes each or less for blocks as they are", () => {
		fc.assert(
			fc.property(blocks, ([baseOffset, start, list]) => {
				let [next, position] = [baseOffset, start];
				const made: Block[] = list.map(({ gap, offsets, ...rest }) => {
					const one = { baseOffset: next + gap, nextOffset: next + gap + offsets, position, ...rest };
					next = one.nextOffset;
					position += one.storedBytes;
					return one;
				});
				expect(decodeBlocks(encodeBlocks(made, baseOffset), baseOffset)).toEqual(made);
				const usual = made.map((one, i) => ({ ...one, maxTimestamp: 1_700_000_000_000 + i * 3_600_000 }));
				expect(encodeBlocks(usual, baseOffset).length).toBeLessThanOrEqual(16 + 24 * usual.length);
			}),
		);
	});

	it("comes back whatever its times are", () => {
		const times = [Number.MAX_SAFE_INTEGER, -1, Number.MAX_SAFE_INTEGER, 0];
		const made = times.map((maxTimestamp, i) => {
			const sizes = { storedBytes: 1, rawBytes: 1, crc: i, codec: 0 as const };
			return { baseOffset: i, nextOffset: i + 1, position: i, maxTimestamp, ...sizes };
		});
		expect(decodeBlocks(encodeBlocks(made, 0), 0)).toEqual(made);
	});

	it("that is none is refused", () => {
		fc.assert(
			fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
				try {
					decodeBlocks(bytes, 0);
				} catch (error) {
					expect(error).toBeInstanceOf(Error);
				}
			}),
		);
		expect(() => decodeBlocks(Buffer.of(2, 0), 0)).toThrow("version 2");
		expect(() => decodeBlocks(Buffer.alloc(0), 0)).toThrow();
	});
});

describe("damage", () => {
	const topic = { ...TELEMETRY, config: {} };
	const small = writeBundle(
		[
			{ topic, partition: 0, batches: [batchAt(0, ["x".repeat(200), "y"])] },
			{ topic, partition: 1, batches: [batchAt(5, ["21.5"], { codec: "gzip" })] },
		],
		{ snapshot: Buffer.from("snapshot") },
	);

	async function damagesIn(bytes: Buffer): Promise<DamageError[]> {
		const damages: DamageError[] = [];
		await verifyBundle(sourceOf(bytes, "object"), (error) => void damages.push(error));
		return damages;
	}

	it("to any single byte is found, where it is", async () => {
		const { bytes, footer } = await small;
		expect(footer.ranges.map((range) => range.blocks[0]?.codec)).toEqual([1, 0]);
		const footerPosition = Number(bytes.readBigUInt64BE(bytes.length - 28));
		/** Where the parts of the bundle begin. */
		const starts = [
			0,
			...footer.ranges.map((range) => range.position),
			footer.snapshot?.position ?? 0,
			footerPosition,
			bytes.length - TRAILER_BYTES,
			bytes.length,
		];
		const part = (position: number) => starts.findLastIndex((start) => start <= position);
		for (let at = 0; at < bytes.length; at++) {
			for (const mask of [1 << (at % 8), 0xff]) {
				const spoilt = Buffer.from(bytes);
				spoilt[at] = (spoilt[at] as number) ^ mask;
				const damages = await damagesIn(spoilt);
				expect(
					damages.map(({ file, position }) => [file, part(position)]),
					`byte ${at}`,
				).toEqual([["object", part(at)]]);
			}
		}
	});

	it("is any byte that is missing, at the end, at the beginning or between", async () => {
		const { bytes } = await small;
		for (let length = 0; length < bytes.length; length++) {
			expect(await damagesIn(bytes.subarray(0, length)), `${length} bytes`).toHaveLength(1);
			const cut = Buffer.concat([bytes.subarray(0, length), bytes.subarray(length + 1)]);
			expect((await damagesIn(cut)).length, `without byte ${length}`).toBeGreaterThan(0);
		}
	});

	/** Anything but DamageError fails. */
	async function refusedOrTaken(bytes: Buffer): Promise<void> {
		try {
			const footer = await readBundleFooter(sourceOf(bytes));
			for (const range of footer.ranges) {
				expect(range.position + range.storedBytes).toBeLessThanOrEqual(bytes.length);
				expect(range.nextOffset).toBeGreaterThan(range.baseOffset);
			}
		} catch (error) {
			expect(error).toBeInstanceOf(DamageError);
		}
	}

	function withFooter(bytes: Buffer, json: Buffer): Buffer {
		const footerPosition = Number(bytes.readBigUInt64BE(bytes.length - 28));
		const stored = zlib.gzipSync(json);
		const sizes = { footerPosition, footerBytes: stored.length, footerRawBytes: json.length };
		return Buffer.concat([
			bytes.subarray(0, footerPosition),
			stored,
			encodeTrailer({ ...sizes, footerCrc: crc32c(stored) }),
		]);
	}

	it("in a footer whose checksums are right is told as damage, whatever it says", async () => {
		const { bytes, footer } = await small;
		const json = Buffer.from(JSON.stringify(footer));
		await refusedOrTaken(withFooter(bytes, json));
		expect(await damagesIn(withFooter(bytes, json))).toEqual([]);
		const odd = fc.oneof(
			fc.jsonValue(),
			fc.maxSafeInteger(),
			fc.double(),
			fc.constantFrom(-1, 2 ** 53, 1e300, "", "1"),
		);
		await fc.assert(
			fc.asyncProperty(fc.array(fc.tuple(fc.nat(), odd), { minLength: 1, maxLength: 3 }), async (changes) => {
				const changed = JSON.parse(json.toString()) as object;
				for (const [which, value] of changes) {
					const places: [holder: Record<string, unknown>, name: string][] = [];
					const walk = (holder: object): void => {
						for (const [name, inner] of Object.entries(holder)) {
							places.push([holder as Record<string, unknown>, name]);
							if (typeof inner === "object" && inner !== null) walk(inner);
						}
					};
					walk(changed);
					const place = places[which % Math.max(places.length, 1)];
					if (place !== undefined) place[0][place[1]] = value;
				}
				await refusedOrTaken(withFooter(bytes, Buffer.from(JSON.stringify(changed))));
			}),
			{ numRuns: 600 },
		);
		await fc.assert(
			fc.asyncProperty(fc.jsonValue(), async (value) =>
				refusedOrTaken(withFooter(bytes, Buffer.from(JSON.stringify(value)))),
			),
		);
		await fc.assert(
			fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (any) =>
				refusedOrTaken(withFooter(bytes, Buffer.from(any))),
			),
		);
	});

	it("in a block whose checksum is right is told as damage, whatever it holds", async () => {
		const batch = batchAt(7, ["a", "b"]);
		const place = { baseOffset: 7, nextOffset: 9, position: 16, maxTimestamp: 1_700_000_001_000 };
		const raws = fc.oneof(
			fc.uint8Array({ maxLength: 200 }).map((any) => Buffer.from(any)),
			fc.tuple(fc.nat(batch.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, mask]) => {
				const spoilt = Buffer.from(batch);
				spoilt[at] = (spoilt[at] as number) ^ mask;
				return spoilt;
			}),
		);
		await fc.assert(
			fc.asyncProperty(raws, fc.constantFrom(0 as const, 1 as const), fc.boolean(), async (raw, codec, frame) => {
				const stored = codec === 1 && frame ? zlib.zstdCompressSync(raw) : raw;
				const block = { ...place, storedBytes: stored.length, rawBytes: raw.length, crc: crc32c(stored), codec };
				try {
					await decodeBlock(stored, block, "object");
					// What the batch's checksum does not cover, and nobody minds: the leader epoch.
					expect(Buffer.concat([raw.subarray(0, 12), raw.subarray(16)])).toEqual(
						Buffer.concat([batch.subarray(0, 12), batch.subarray(16)]),
					);
				} catch (error) {
					expect(error).toBeInstanceOf(DamageError);
				}
			}),
			{ numRuns: 500 },
		);
	});
});
