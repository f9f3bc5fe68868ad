/** Batches with records taken out: what is left is as it was, in every codec, and says until when it may stay. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { decodeRecords, encodeBatch, readBatchHeader, validateBatch } from "../../../src/record/batch.ts";
import type { Codec } from "../../../src/record/compression.ts";
import { filterBatch } from "../../../src/record/filter-batch.ts";

const HORIZON = 1_700_000_123_456;
const OPTIONS = { horizonMs: HORIZON, level: undefined, maxDecompressedBytes: 1 << 20 };
const CODECS: readonly Codec[] = ["none", "gzip", "snappy", "lz4", "zstd"];

const record = fc.record({
	timestamp: fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 2 ** 48 })),
	key: fc.option(fc.uint8Array({ maxLength: 12 })),
	value: fc.option(fc.uint8Array({ maxLength: 40 })),
	headers: fc.array(
		fc.record({ key: fc.string({ maxLength: 4 }), value: fc.option(fc.uint8Array({ maxLength: 4 })) }),
		{
			maxLength: 2,
		},
	),
	stays: fc.boolean(),
});

it("keeps records, offsets, timestamps and the producer's fields, whatever goes", () => {
	fc.assert(
		fc.property(
			fc.array(record, { minLength: 1, maxLength: 12 }),
			fc.constantFrom(...CODECS),
			fc.constantFrom("create", "append"),
			fc.boolean(),
			(records, codec, timestampType, tombstonesWait) => {
				const batch = encodeBatch(records, {
					codec,
					timestampType: timestampType as "create" | "append",
					baseOffset: 2 ** 40,
					producerId: 77,
					producerEpoch: 3,
					baseSequence: 12,
				});
				const header = readBatchHeader(batch, 0);
				const all = decodeRecords(batch);
				const filtered = filterBatch(
					batch,
					header,
					({ offset, valueStart }) => {
						if (records[offset - header.baseOffset]?.stays !== true) return "goes";
						return tombstonesWait && valueStart < 0 ? "stays until the horizon" : "stays";
					},
					OPTIONS,
				);
				const left = all.filter((_, i) => records[i]?.stays);
				const waits = tombstonesWait && left.some(({ value }) => value === null);
				if (left.length === 0) {
					expect(filtered).toBeUndefined();
					return;
				}
				if (left.length === all.length && !waits) {
					expect(filtered).toBe(batch);
					return;
				}
				const changed = filtered as Buffer;
				const after = validateBatch(changed, 0, { compacted: true });
				expect(decodeRecords(changed)).toEqual(left);
				const { sizeBytes, crc, count, attributes, hasDeleteHorizon, baseTimestamp, maxTimestamp, ...rest } = header;
				expect(after).toMatchObject({ ...rest, count: left.length, hasDeleteHorizon: waits });
				expect(after.baseTimestamp).toBe(waits ? HORIZON : baseTimestamp);
				expect(after.maxTimestamp).toBe(
					timestampType === "append" ? maxTimestamp : Math.max(...left.map(({ timestamp }) => timestamp)),
				);
			},
		),
	);
});

it("does not move a horizon that a batch has", () => {
	const records = [1, 2].map((i) => ({ timestamp: 5, key: Buffer.from([i]), value: null, headers: [] }));
	const batch = encodeBatch(records);
	const first = filterBatch(batch, readBatchHeader(batch, 0), () => "stays until the horizon", OPTIONS) as Buffer;
	const header = readBatchHeader(first, 0);
	expect(header).toMatchObject({ hasDeleteHorizon: true, baseTimestamp: HORIZON });
	const later = { ...OPTIONS, horizonMs: HORIZON + 1 };
	expect(filterBatch(first, header, () => "stays until the horizon", later)).toBe(first);
	const second = filterBatch(
		first,
		header,
		({ offset }) => (offset === 0 ? "goes" : "stays until the horizon"),
		later,
	) as Buffer;
	expect(readBatchHeader(second, 0)).toMatchObject({ hasDeleteHorizon: true, baseTimestamp: HORIZON, count: 1 });
	expect(decodeRecords(second)).toMatchObject([{ offset: 1, timestamp: 5 }]);
});
