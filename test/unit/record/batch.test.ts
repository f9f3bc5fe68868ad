import { describe, expect, it } from "vitest";
import { BufferPool } from "../../../src/base/buffer-pool.ts";
import {
	BatchError,
	decodeControlKey,
	decodeRecords,
	encodeBatch,
	forEachRecord,
	readBatchHeader,
	repairMaxTimestamp,
	setBaseOffset,
	validateBatch,
} from "../../../src/record/batch.ts";
import { setMaxTimestamp } from "../../../src/record/batch-header.ts";
import { BatchBuilder, encodeHeadersBlock, encodeKeyBlock, NULL_KEY_BLOCK } from "../../../src/record/builder.ts";
import { crc32cByTables } from "../../../src/record/crc32c.ts";

/** Two records as kafka-python 3.0.12 writes them; each field is the format's (batch-header.ts, builder.ts). */
const GOLDEN = [
	"0000000000000000", // baseOffset
	"0000005b", // batchLength: 91
	"00000000", // partitionLeaderEpoch
	"02", // magic
	"f1122226", // CRC-32C
	"0000", // attributes
	"00000001", // lastOffsetDelta
	"0000018bcfe56800", // baseTimestamp 1700000000000
	"0000018bcfe56800", // maxTimestamp
	"ffffffffffffffff", // producerId
	"ffff", // producerEpoch
	"ffffffff", // baseSequence
	"00000002", // count
	"44", // length 34
	"00", // attributes
	"00", // timestampDelta 0
	"00", // offsetDelta 0
	"0864657637", // key "dev7"
	"147b2274223a32312e357d", // value {"t":21.5}
	"04", // two headers
	"0873697465", // "site"
	"0a7369746531", // "site1"
	"026e", // "n"
	"01", // null
	"0c", // length 6
	"00",
	"13", // timestampDelta -10
	"02", // offsetDelta 1
	"01", // key null
	"01", // value null
	"00", // no headers
].join("");

const HEADERS = [
	{ key: "site", value: Buffer.from("site1") },
	{ key: "n", value: null },
];
const RECORDS = [
	{ timestamp: 1_700_000_000_000, key: Buffer.from("dev7"), value: Buffer.from('{"t":21.5}'), headers: HEADERS },
	{ timestamp: 1_699_999_999_990, key: null, value: null, headers: [] },
];
const golden = (): Buffer => Buffer.from(GOLDEN, "hex");

/** The golden batch with other bytes at `position`, and the checksum right again. */
function altered(position: number, hex: string): Buffer {
	const batch = golden();
	Buffer.from(hex, "hex").copy(batch, position);
	batch.writeUInt32BE(crc32cByTables(batch, 21), 17);
	return batch;
}

describe("a batch, byte by byte", () => {
	it("is what encodeBatch writes", () => {
		expect(encodeBatch(RECORDS).toString("hex")).toBe(GOLDEN);
	});

	it("is what the builder writes", () => {
		const builder = new BatchBuilder(new BufferPool(0));
		builder.begin(0, 1_700_000_000_000);
		const value = Buffer.from('..{"t":21.5}..');
		const key = encodeKeyBlock(Buffer.from("dev7"));
		expect(builder.append(1_700_000_000_000, key, value, 2, 12, encodeHeadersBlock(HEADERS))).toBe(0);
		expect(builder.append(1_699_999_999_990, NULL_KEY_BLOCK, value, -1, -1, encodeHeadersBlock([]))).toBe(1);
		expect(builder).toMatchObject({ count: 2, sizeBytes: 103, maxTimestamp: 1_700_000_000_000 });
		expect(builder.seal().toString("hex")).toBe(GOLDEN);
	});

	it("is read as what it holds", () => {
		expect(decodeRecords(golden())).toEqual(RECORDS.map((record, offset) => ({ offset, ...record })));
		expect(validateBatch(golden(), 0)).toMatchObject({
			baseOffset: 0,
			sizeBytes: 103,
			leaderEpoch: 0,
			crc: 0xf1122226,
			codec: "none",
			timestampType: "create",
			isTransactional: false,
			isControl: false,
			lastOffset: 1,
			baseTimestamp: 1_700_000_000_000,
			maxTimestamp: 1_700_000_000_000,
			producerId: -1,
			producerEpoch: -1,
			baseSequence: -1,
			count: 2,
			largestTimestamp: 1_700_000_000_000,
		});
	});

	it("gets its place in a log without a new checksum", () => {
		const batch = Buffer.concat([Buffer.alloc(7), golden()]);
		setBaseOffset(batch, 7, 2 ** 40 + 5, 3);
		expect(validateBatch(batch, 7)).toMatchObject({ baseOffset: 2 ** 40 + 5, lastOffset: 2 ** 40 + 6, leaderEpoch: 3 });
		expect(decodeRecords(batch, 7).map(({ offset }) => offset)).toEqual([2 ** 40 + 5, 2 ** 40 + 6]);
	});
});

it("grows in time, wherever a record meets the end of the memory", () => {
	const builder = new BatchBuilder(new BufferPool(0));
	const key = Buffer.from("key");
	const headers = [{ key: "k".repeat(20), value: Buffer.alloc(30, 5) }];
	for (let length = 3_880; length < 4_060; length++) {
		const value = Buffer.alloc(length, length);
		builder.begin(9, 0);
		builder.append(0, encodeKeyBlock(key), value, 0, length, encodeHeadersBlock(headers));
		builder.append(1, encodeKeyBlock(key), value, 0, 10, encodeHeadersBlock(headers));
		const records = [
			{ timestamp: 0, key, value, headers },
			{ timestamp: 1, key, value: value.subarray(0, 10), headers },
		];
		expect(builder.seal().equals(encodeBatch(records, { baseOffset: 9 }))).toBe(true);
	}
});

describe("reading in place", () => {
	it("walks over headers without making any", () => {
		const seen: (string | undefined)[] = [];
		forEachRecord(golden(), 0, (view) => {
			const has = view.findHeader(Buffer.from("site"));
			seen.push(has ? view.source.toString("utf8", view.headerValueStart, view.headerValueEnd) : undefined);
			seen.push(String(view.findHeader(Buffer.from("n")) && view.headerValueStart === -1));
			if (view.headerCount === 0) return;
			view.header(1);
			view.header(0);
			seen.push(view.source.toString("utf8", view.headerKeyStart, view.headerKeyEnd));
			expect(() => view.header(2)).toThrow(RangeError);
		});
		expect(seen).toEqual(["site1", "true", "site", undefined, "false"]);
	});

	it("gives every record the log's time when the log set it", () => {
		const batch = encodeBatch(RECORDS, { timestampType: "append" });
		expect(validateBatch(batch, 0).timestampType).toBe("append");
		expect(decodeRecords(batch).map(({ timestamp }) => timestamp)).toEqual([1_700_000_000_000, 1_700_000_000_000]);
	});

	it("reads a transaction's marker", () => {
		const marker = { timestamp: 5, key: Buffer.from("00000001", "hex"), value: Buffer.alloc(6), headers: [] };
		const batch = encodeBatch([marker], { isControl: true, isTransactional: true, producerId: 7, producerEpoch: 0 });
		expect(validateBatch(batch, 0)).toMatchObject({ isControl: true, isTransactional: true, producerId: 7 });
		expect(decodeControlKey(decodeRecords(batch)[0]?.key ?? null)).toEqual({ version: 0, type: 1 });
		const short = encodeBatch([{ ...marker, key: Buffer.alloc(3) }], { isControl: true });
		expect(() => validateBatch(short, 0)).toThrow(/control record/);
	});

	it("reads the header when only the beginning is there", () => {
		const start = golden().subarray(0, 61);
		expect(readBatchHeader(start, 0, Number.MAX_SAFE_INTEGER).sizeBytes).toBe(103);
		expect(() => readBatchHeader(start, 0)).toThrow(BatchError);
	});

	it("takes gaps between offsets, and no records at all, only of a compacted log", () => {
		const gap = altered(23, "00000005");
		expect(() => validateBatch(gap, 0)).toThrow(/last offset delta 5/);
		expect(validateBatch(gap, 0, { compacted: true }).lastOffset).toBe(5);
		const empty = altered(57, "00000000").subarray(0, 61);
		empty.writeInt32BE(49, 8);
		empty.writeUInt32BE(crc32cByTables(empty, 21), 17);
		expect(() => validateBatch(empty, 0)).toThrow(BatchError);
		expect(validateBatch(empty, 0, { compacted: true }).count).toBe(0);
	});

	it("finds and repairs a largest timestamp that the producer set wrong", () => {
		const batch = golden();
		setMaxTimestamp(batch, 0, 0);
		batch.writeUInt32BE(crc32cByTables(batch, 21), 17);
		const validated = validateBatch(batch, 0);
		expect(validated).toMatchObject({ maxTimestamp: 0, largestTimestamp: 1_700_000_000_000 });
		repairMaxTimestamp(batch, 0, validated);
		expect(batch.toString("hex")).toBe(GOLDEN);
	});
});

describe("a batch that is refused, though its checksum is right", () => {
	it.each([
		["another format", 16, "01", "CORRUPT_MESSAGE"],
		["a batch length below the header's", 8, "00000030", "CORRUPT_MESSAGE"],
		["a batch length beyond what is there", 8, "0000005c", "CORRUPT_MESSAGE"],
		["a negative batch length", 8, "ffffffff", "CORRUPT_MESSAGE"],
		["a negative base offset", 0, "ffffffffffffffff", "INVALID_RECORD"],
		["a base offset beyond 2^53", 0, "0020000000000000", "INVALID_RECORD"],
		["unknown attributes", 21, "0080", "INVALID_RECORD"],
		["an unknown codec", 21, "0005", "UNSUPPORTED_COMPRESSION_TYPE"],
		["a codec that its bytes are not of", 21, "0001", "CORRUPT_MESSAGE"],
		["a negative last offset delta", 23, "ffffffff", "INVALID_RECORD"],
		["a timestamp beyond 2^53", 27, "0020000000000000", "INVALID_RECORD"],
		["a timestamp below -1", 35, "fffffffffffffffe", "INVALID_RECORD"],
		["a producer id below -1", 43, "fffffffffffffffe", "INVALID_RECORD"],
		["a transaction without a producer", 21, "0010", "INVALID_RECORD"],
		["more records than its bytes can hold", 57, "7fffffff", "INVALID_RECORD"],
		["fewer records than its offsets", 57, "00000001", "INVALID_RECORD"],
		["a record longer than the batch", 61, "7e", "INVALID_RECORD"],
		["a record of negative length", 61, "01", "INVALID_RECORD"],
		["a record's unknown attributes", 62, "01", "INVALID_RECORD"],
		["a record from before 1970", 27, "0000000000000008", "INVALID_RECORD"],
		["an offset that does not rise", 99, "00", "INVALID_RECORD"],
		["an offset beyond the last", 99, "04", "INVALID_RECORD"],
		["a key length below -1", 100, "03", "INVALID_RECORD"],
		["a key longer than its record", 65, "3e", "INVALID_RECORD"],
		["a value longer than its record", 70, "3e", "INVALID_RECORD"],
		["more headers than fit", 81, "3e", "INVALID_RECORD"],
		["a negative number of headers", 81, "01", "INVALID_RECORD"],
		["fewer headers than its bytes", 81, "02", "INVALID_RECORD"],
		["a header without a key", 82, "01", "INVALID_RECORD"],
		["a header key that is not UTF-8", 94, "ff", "INVALID_RECORD"],
	])("%s", (_, position, hex, reason) => {
		expect(() => validateBatch(altered(position, hex), 0)).toThrow(
			expect.objectContaining({ name: "BatchError", reason }),
		);
	});

	it("a header with more records than its bytes can hold, before any is read", () => {
		const batch = golden();
		batch.writeInt32BE(0x7ffffffe, 23);
		batch.writeInt32BE(0x7fffffff, 57);
		expect(() => readBatchHeader(batch, 0)).toThrow(/2147483647 records in 103 bytes/);
	});

	it("bytes after the last record", () => {
		const batch = Buffer.concat([golden(), Buffer.alloc(1)]);
		batch.writeInt32BE(92, 8);
		batch.writeUInt32BE(crc32cByTables(batch, 21), 17);
		expect(() => validateBatch(batch, 0)).toThrow(/after the last record/);
	});

	it("more than may come out of its compression", () => {
		const batch = encodeBatch([{ timestamp: 0, key: null, value: Buffer.alloc(100_000), headers: [] }], {
			codec: "zstd",
		});
		expect(() => validateBatch(batch, 0, { maxDecompressedBytes: 50_000 })).toThrow(
			expect.objectContaining({ name: "BatchError", reason: "RECORD_LIST_TOO_LARGE" }),
		);
	});
});

it("a wrong checksum is corruption", () => {
	const batch = golden();
	batch[70] = 0;
	expect(() => validateBatch(batch, 0)).toThrow(expect.objectContaining({ reason: "CORRUPT_MESSAGE", position: 17 }));
});
