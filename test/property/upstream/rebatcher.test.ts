/** Whatever lies in the log here, in whatever pieces it is read: each visible record goes out once, in order, sound, and can be traced back. */
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { Compressor } from "../../../bridge/upstream/shipment/compress.ts";
import type { SealedBatch } from "../../../bridge/upstream/shipment/outgoing-batch.ts";
import { Rebatcher } from "../../../bridge/upstream/shipment/rebatcher.ts";
import type { Limits, Target } from "../../../bridge/upstream/shipment/target.ts";
import type { Partition } from "../../../src/log/partition.ts";
import {
	BATCH_HEADER_BYTES,
	type BatchHeader,
	decodeRecords,
	type EncodableRecord,
	encodeBatch,
	readBatchHeader,
	validateBatch,
} from "../../../src/record/batch.ts";
import { CODECS } from "../../../src/record/batch-header.ts";
import { filterBatch } from "../../../src/record/filter-batch.ts";
import { partitionForKey } from "../../../src/record/partitioner.ts";

const ABORTED_PRODUCER = 66;
/** More than a record has beside its key, value and headers, and a batch beside its records. */
const OVERHEAD_BYTES = BATCH_HEADER_BYTES + 40;

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
const record: fc.Arbitrary<EncodableRecord> = fc.record({
	timestamp: fc.oneof(
		fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }),
		fc.constantFrom(-1, 0, Number.MAX_SAFE_INTEGER),
	),
	key: fc.option(
		fc.constantFrom("", "a", "b", "pump-17", "a key that is longer than 16").map((text) => Buffer.from(text)),
	),
	value: fc.option(
		fc.oneof({ weight: 5, arbitrary: bytes(90) }, { weight: 1, arbitrary: fc.constant(Buffer.alloc(9000, 7)) }),
	),
	headers: fc.array(fc.record({ key: fc.string(), value: fc.option(bytes(20)) }), { maxLength: 2 }),
});
/** Of one batch: no time is further from the first than its delta can say. */
const withinReach = (records: EncodableRecord[]) =>
	records.map((one) => {
		const first = (records[0] as EncodableRecord).timestamp;
		return Number.isSafeInteger(one.timestamp - first) ? one : { ...one, timestamp: first };
	});
const localBatch = fc.record({
	records: fc.array(record, { minLength: 1, maxLength: 12 }).map(withinReach),
	codec: fc.constantFrom(...CODECS),
	kind: fc.constantFrom(
		"plain",
		"plain",
		"plain",
		"append time",
		"aborted",
		"committed",
		"control",
		"compacted" as const,
	),
	/** Offsets that compaction left nothing of. */
	gap: fc.oneof(fc.constant(0), fc.nat(3), fc.constant(2 ** 33)),
	/** Of the compacted ones. */
	kept: fc.nat(),
});
const world = fc.record({
	partitions: fc.array(fc.array(localBatch, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 3 }),
	targets: fc.array(
		fc.record({
			topic: fc.constantFrom("x", "y"),
			partitions: fc.integer({ min: 1, max: 5 }),
			partitioner: fc.constantFrom("key" as const, "same" as const),
		}),
		{ minLength: 3, maxLength: 3 },
	),
	limits: fc.record({
		batchBytes: fc.integer({ min: 80, max: 20_000 }),
		recordsMax: fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.integer({ min: 1, max: 9 })),
	}),
	rawBytesMax: fc.oneof(fc.integer({ min: 0, max: 3000 }), fc.constant(1_000_000)),
	readBatches: fc.integer({ min: 1, max: 4 }),
	excludeEvery: fc.integer({ min: 2, max: 9 }),
	from: fc.nat(5),
	short: fc.nat(5),
	codec: fc.constantFrom(...CODECS),
});

interface Sent extends EncodableRecord {
	readonly offset: number;
}

/** A partition here: what it has, what of it people see, and what reading it gives. */
class Local {
	readonly partition: Partition;
	readonly batches: Buffer[] = [];
	readonly visible: Sent[] = [];
	readonly endOffset: number;

	constructor(number: number, its: readonly (typeof localBatch extends fc.Arbitrary<infer T> ? T : never)[]) {
		this.partition = {
			number,
			isVisible: (header: BatchHeader) => !header.isControl && header.producerId !== ABORTED_PRODUCER,
		} as Partition;
		let next = 0;
		for (const { records, codec, kind, gap, kept } of its) {
			const baseOffset = next + gap;
			next = baseOffset + records.length;
			const isTransactional = kind === "aborted" || kind === "committed";
			const batch = encodeBatch(kind === "control" ? [CONTROL] : records, {
				baseOffset,
				codec,
				isTransactional,
				isControl: kind === "control",
				producerId: kind === "aborted" ? ABORTED_PRODUCER : isTransactional ? 1 : -1,
				timestampType: kind === "append time" ? "append" : "create",
			});
			const options = { horizonMs: 0, level: undefined, maxDecompressedBytes: 1 << 24 };
			const stored =
				kind === "compacted"
					? filterBatch(
							batch,
							readBatchHeader(batch, 0),
							({ offset }) => ((kept >> (offset - baseOffset)) & 1 ? "stays until the horizon" : "goes"),
							options,
						)
					: batch;
			if (stored === undefined) continue;
			this.batches.push(stored);
			if (this.partition.isVisible(readBatchHeader(stored, 0))) this.visible.push(...decodeRecords(stored));
		}
		this.endOffset = next;
	}

	/** Whole batches from the one that holds `offset`. */
	read(offset: number, batches: number): Buffer {
		const first = this.batches.findIndex((batch) => readBatchHeader(batch, 0).lastOffset >= offset);
		return first < 0 ? Buffer.alloc(0) : Buffer.concat(this.batches.slice(first, first + batches));
	}
}

const CONTROL: EncodableRecord = { timestamp: 5, key: Buffer.from([0, 0, 0, 1]), value: Buffer.alloc(6), headers: [] };
const sizeOf = ({ key, value, headers }: EncodableRecord) =>
	(key?.length ?? 0) +
	(value?.length ?? 0) +
	headers.reduce((sum, header) => sum + 10 + Buffer.byteLength(header.key) + (header.value?.length ?? 0), 0);

function wanted(target: Target, number: number, { key }: EncodableRecord): number {
	if (target.partitioner === "same" || key === null) return number % target.partitions;
	return partitionForKey(key, target.partitions);
}

/** What each batch promises by itself. */
function checkBatch(one: SealedBatch, limits: Limits): Sent[] {
	const header = validateBatch(one.batch, 0);
	expect(header).toMatchObject({ baseOffset: 0, count: one.count, producerId: -1, timestampType: "create" });
	expect([header.sizeBytes, header.attributes >> 3]).toEqual([one.batch.length, 0]);
	expect(header.maxTimestamp).toBe(header.largestTimestamp);
	expect(one.batch.length).toBeLessThanOrEqual(one.rawBytes);
	expect(one.count).toBeLessThanOrEqual(limits.recordsMax);
	if (one.count > 1) expect(one.rawBytes).toBeLessThanOrEqual(limits.batchBytes);
	expect(() => one.sourceOf(one.count)).toThrow(RangeError);
	return decodeRecords(one.batch);
}

describe("what is batched anew", () => {
	const compressor = new Compressor();
	afterAll(() => compressor.close());

	it("is what was there: once, in order, in the right partition, within the limits", async () => {
		await fc.assert(
			fc.asyncProperty(world, async (given) => {
				const { limits, rawBytesMax, excludeEvery, codec } = given;
				const rebatcher = new Rebatcher({ codec, level: undefined, compress: compressor.compress });
				const shipments: SealedBatch[][] = [];
				const seal = async () => {
					const { rawBytes, records } = rebatcher;
					const batches = await rebatcher.seal();
					expect(batches.reduce((sum, one) => sum + one.rawBytes, 0)).toBe(rawBytes);
					expect(batches.reduce((sum, one) => sum + one.count, 0)).toBe(records);
					if (records > 1) expect(rawBytes).toBeLessThanOrEqual(rawBytesMax);
					expect([rebatcher.rawBytes, rebatcher.records]).toEqual([0, 0]);
					shipments.push(batches);
				};
				const locals = given.partitions.map((its, number) => {
					const local = new Local(number, its);
					const excluded = new Set(
						local.visible.map(({ offset }) => offset).filter((offset) => offset % excludeEvery === 0),
					);
					const end = Math.max(given.from, local.endOffset - given.short);
					const due = local.visible.filter(
						({ offset }) => offset >= given.from && offset < end && !excluded.has(offset),
					);
					return { local, excluded, end, due, target: given.targets[number] as Target };
				});
				const open = locals.map((one) => ({ ...one, next: given.from }));
				for (let turn = 0; open.length > 0; turn++) {
					const one = open[turn % open.length] as (typeof open)[number];
					const { local, excluded, end, due, target, next } = one;
					const read = local.read(next, given.readBatches);
					if (next >= end || read.length === 0) {
						open.splice(open.indexOf(one), 1);
						continue;
					}
					one.next = rebatcher.add(local.partition, read, next, end, target, limits, excluded, rawBytesMax);
					expect(one.next).toBeLessThanOrEqual(end);
					const last = readBatchHeader(
						local.batches.find((batch) => read.subarray(-batch.length).equals(batch)) as Buffer,
						0,
					);
					if (one.next > last.lastOffset || one.next === end) continue;
					// It stopped: at a record that there was no room for.
					const record = due.find(({ offset }) => offset === one.next);
					expect(record).toBeDefined();
					expect(rebatcher.rawBytes + sizeOf(record as Sent) + OVERHEAD_BYTES).toBeGreaterThan(rawBytesMax);
					expect(rebatcher.records).toBeGreaterThan(0);
					await seal();
				}
				await seal();

				const seen = new Map(locals.map(({ local }) => [local.partition, [] as Sent[]]));
				const lastOf = new Map<string, number>();
				for (const one of shipments.flat()) {
					checkBatch(one, limits).forEach((found, index) => {
						const { partition, offset } = one.sourceOf(index);
						seen.get(partition)?.push({ ...found, offset });
						const { target } = locals[partition.number] as (typeof locals)[number];
						expect([one.topic, one.partition]).toEqual([target.topic, wanted(target, partition.number, found)]);
						const way = `${partition.number} ${one.topic} ${one.partition}`;
						expect(offset).toBeGreaterThan(lastOf.get(way) ?? -1);
						lastOf.set(way, offset);
					});
				}
				for (const { local, due } of locals)
					expect(seen.get(local.partition)?.sort((a, b) => a.offset - b.offset)).toEqual(due);
			}),
			{ numRuns: 120 },
		);
	});
});
