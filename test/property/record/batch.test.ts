import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BufferPool } from "../../../src/base/buffer-pool.ts";
import {
	BatchError,
	decodeRecords,
	type EncodableRecord,
	encodeBatch,
	readBatchHeader,
	validateBatch,
} from "../../../src/record/batch.ts";
import { CODECS } from "../../../src/record/batch-header.ts";
import { BatchBuilder, encodeHeadersBlock, encodeKeyBlock } from "../../../src/record/builder.ts";
import { crc32c } from "../../../src/record/crc32c.ts";

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
const record: fc.Arbitrary<EncodableRecord> = fc.record({
	timestamp: fc.oneof(
		fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }),
		fc.maxSafeNat(),
		fc.constantFrom(0, Number.MAX_SAFE_INTEGER),
	),
	key: fc.option(bytes(70)),
	value: fc.option(
		fc.oneof(
			bytes(200),
			fc.nat(9_000).map((length) => Buffer.alloc(length, 7)),
		),
	),
	headers: fc.array(fc.record({ key: fc.string({ unit: "grapheme" }), value: fc.option(bytes(80)) }), { maxLength: 4 }),
});
const records = fc.array(record, { minLength: 1, maxLength: 90 });
const codec = fc.constantFrom(...CODECS);
const small = fc.record({ records: fc.array(record, { minLength: 1, maxLength: 3 }), codec });

/** Only its own error may come out. */
function refusalOf(work: () => unknown): BatchError | undefined {
	try {
		work();
		return undefined;
	} catch (error) {
		if (error instanceof BatchError) return error;
		throw error;
	}
}

describe("a batch", () => {
	it("comes back as what it was made of, under every codec", () => {
		fc.assert(
			fc.property(records, codec, fc.nat(), (input, by, baseOffset) => {
				const batch = encodeBatch(input, { codec: by, baseOffset });
				const header = validateBatch(batch, 0);
				expect(header).toMatchObject({ baseOffset, codec: by, count: input.length, sizeBytes: batch.length });
				expect(header.maxTimestamp).toBe(header.largestTimestamp);
				expect(decodeRecords(batch)).toEqual(input.map((one, i) => ({ offset: baseOffset + i, ...one })));
			}),
			{ numRuns: 150 },
		);
	});

	it("is the same from the builder as from encodeBatch, again and again from the same memory", () => {
		const pool = new BufferPool(1 << 20);
		const builder = new BatchBuilder(pool);
		fc.assert(
			fc.property(records, fc.nat(), (input, baseOffset) => {
				builder.begin(baseOffset, input[0]?.timestamp ?? 0);
				input.forEach(({ timestamp, key, value, headers }, i) => {
					const source = Buffer.concat([Buffer.alloc(3), value ?? Buffer.alloc(0), Buffer.alloc(3)]);
					const start = value === null ? -1 : 3;
					const block = encodeHeadersBlock(headers as Parameters<typeof encodeHeadersBlock>[0]);
					const end = source.length - 3;
					expect(builder.append(timestamp, encodeKeyBlock(key), source, start, end, block)).toBe(baseOffset + i);
				});
				const size = builder.sizeBytes;
				const batch = builder.seal();
				expect(batch.length).toBe(size);
				expect(batch.equals(encodeBatch(input, { baseOffset }))).toBe(true);
				pool.give(Buffer.from(batch.buffer as ArrayBuffer));
			}),
			{ numRuns: 100 },
		);
	});

	it("is refused when cut short anywhere", () => {
		fc.assert(
			fc.property(small, ({ records: input, codec: by }) => {
				const batch = encodeBatch(input, { codec: by });
				for (let end = 0; end < batch.length; end += end < 80 ? 1 : 61) {
					expect(refusalOf(() => validateBatch(batch.subarray(0, end), 0))).toBeDefined();
				}
			}),
			{ numRuns: 40 },
		);
	});

	it("with one flipped bit is refused, or differs only in its place in the log", () => {
		fc.assert(
			fc.property(small, fc.nat(), fc.nat(7), ({ records: input, codec: by }, at, bit) => {
				const batch = encodeBatch(input, { codec: by });
				const before = validateBatch(batch, 0);
				const position = at % 2 === 0 ? (at / 2) % 21 : at % batch.length;
				batch[position] = (batch[position] as number) ^ (1 << bit);
				const refusal = refusalOf(() => {
					const after = validateBatch(batch, 0);
					expect(position < 8 || (position >= 12 && position < 16)).toBe(true);
					const place = { baseOffset: 0, lastOffset: 0, leaderEpoch: 0 };
					expect({ ...after, ...place }).toEqual({ ...before, ...place });
				});
				if (position >= 2 && position < 8) expect(refusal).toBeUndefined();
			}),
			{ numRuns: 400 },
		);
	});

	it("with any damage under a right checksum ends in its own error or in records", () => {
		fc.assert(
			fc.property(small, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }), (made, damage) => {
				const batch = encodeBatch(made.records, { codec: made.codec });
				for (const [at, byte] of damage) batch[21 + (at % (batch.length - 21))] = byte;
				batch.writeUInt32BE(crc32c(batch, 21), 17);
				refusalOf(() => validateBatch(batch, 0, { maxDecompressedBytes: 1 << 20 }));
				refusalOf(() => decodeRecords(batch, 0, 1 << 20));
			}),
			{ numRuns: 500 },
		);
	});

	it("of random bytes ends in its own error", () => {
		fc.assert(
			fc.property(bytes(200), fc.nat(120), (random, length) => {
				refusalOf(() => readBatchHeader(random, 0));
				refusalOf(() => readBatchHeader(random, length, Number.MAX_SAFE_INTEGER));
				const batch = Buffer.concat([Buffer.alloc(61), random]);
				batch.writeInt32BE(batch.length - 12, 8);
				batch[16] = 2;
				batch.writeInt32BE(length, 23);
				batch.writeInt32BE(length + 1, 57);
				expect(refusalOf(() => validateBatch(batch, 0))).toBeDefined();
				refusalOf(() => decodeRecords(batch));
			}),
			{ numRuns: 500 },
		);
	});
});
