/** What is taken of producers' batches and what is not: the errors of a real Apache Kafka 4.3.1, and of what is refused nothing is stored. */
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../../src/base/errors.ts";
import { appendProducerBatch, RefusedRecords } from "../../../src/broker/append-batch.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { decodeRecords, type EncodableRecord, validateBatch } from "../../../src/record/batch.ts";
import type { Codec } from "../../../src/record/compression.ts";
import { compress } from "../../../src/record/compression.ts";
import { crc32c } from "../../../src/record/crc32c.ts";
import type { World } from "../../simulation/world.ts";
import { appendTo, batchOf, record, START_MS, startWorld } from "../../support/producer-batches.ts";

const CODECS: readonly Codec[] = ["none", "gzip", "snappy", "lz4", "zstd"];

function newWorld(config: Record<string, string> = {}): { world: World; partition: Partition } {
	const world = startWorld();
	return { world, partition: world.broker.topics.create({ name: "t", config }).partitions[0] as Partition };
}

function refusalOf(work: () => unknown): BrokerError {
	try {
		work();
	} catch (error) {
		if (error instanceof BrokerError) return error;
		throw error;
	}
	throw new Error("it was taken");
}

async function stored(world: World, partition: Partition): Promise<Buffer> {
	await world.finish(world.log.whenCommitted());
	return await world.finish(partition.read(0, 1 << 20));
}

/** The batch of `batchOf`, spoilt after its checksum was made. */
function spoilt(change: (batch: Buffer) => void): Buffer {
	const batch = batchOf(["v"]);
	change(batch);
	return batch;
}

const REFUSED: readonly (readonly [what: string, code: string, bytes: Buffer])[] = [
	["nothing", "INVALID_RECORD", Buffer.alloc(0)],
	["a part of a batch", "INVALID_RECORD", batchOf(["v"]).subarray(0, 50)],
	["two batches", "INVALID_RECORD", Buffer.concat([batchOf(["v"]), batchOf(["v"])])],
	["format 0", "INVALID_RECORD", batchOf(["v"], {}, (b) => b.writeInt8(0, 16))],
	["format 1", "INVALID_RECORD", batchOf(["v"], {}, (b) => b.writeInt8(1, 16))],
	["format 3", "CORRUPT_MESSAGE", batchOf(["v"], {}, (b) => b.writeInt8(3, 16))],
	["format -1", "CORRUPT_MESSAGE", batchOf(["v"], {}, (b) => b.writeInt8(-1, 16))],
	["a length of 13", "CORRUPT_MESSAGE", spoilt((b) => b.writeInt32BE(13, 8))],
	["a length that leaves no header", "CORRUPT_MESSAGE", spoilt((b) => b.writeInt32BE(20, 8))],
	["a length of -1", "CORRUPT_MESSAGE", spoilt((b) => b.writeInt32BE(-1, 8))],
	["a length near 2^31", "INVALID_RECORD", spoilt((b) => b.writeInt32BE(0x7fff_ffff, 8))],
	["a wrong checksum", "CORRUPT_MESSAGE", spoilt((b) => b.writeUInt32BE(5, 17))],
	["a flipped bit", "CORRUPT_MESSAGE", spoilt((b) => b.writeUInt8((b.at(-1) ?? 0) ^ 4, b.length - 1))],
	["a base offset", "INVALID_RECORD", spoilt((b) => b.writeInt32BE(5, 4))],
	["a control batch", "INVALID_RECORD", batchOf([record("v", { key: Buffer.alloc(4) })], { isControl: true })],
	["a count that is too large", "INVALID_RECORD", batchOf(["v"], {}, (b) => b.writeInt32BE(2, 57))],
	["a count of 0", "INVALID_RECORD", batchOf(["v"], {}, (b) => b.writeInt32BE(0, 57))],
	["a count of -1", "INVALID_RECORD", batchOf(["v"], {}, (b) => b.writeInt32BE(-1, 57))],
	["a count near 2^31", "INVALID_RECORD", batchOf(["v"], {}, (b) => b.writeInt32BE(0x7fff_ffff, 57))],
	["a last offset delta of -1", "INVALID_RECORD", batchOf(["v"], {}, (b) => b.writeInt32BE(-1, 23))],
	[
		"more records than are there",
		"INVALID_RECORD",
		batchOf(["v"], {}, (b) => {
			b.writeInt32BE(2, 57);
			b.writeInt32BE(1, 23);
		}),
	],
	[
		"fewer records than are there",
		"INVALID_RECORD",
		batchOf(["v", "w"], {}, (b) => {
			b.writeInt32BE(1, 57);
			b.writeInt32BE(0, 23);
		}),
	],
	["a record of nonsense", "INVALID_RECORD", batchOf(["v"], {}, (b) => b.writeUInt8(0x7f, 61))],
	["an unknown codec", "UNSUPPORTED_COMPRESSION_TYPE", batchOf(["v"], {}, (b) => b.writeInt16BE(7, 21))],
	["a delete horizon", "INVALID_RECORD", batchOf(["v"], {}, (b) => b.writeInt16BE(0x40, 21))],
	["the log's timestamp type", "INVALID_TIMESTAMP", batchOf(["v"], { timestampType: "append" })],
	["a producer without a sequence", "INVALID_RECORD", batchOf(["v"], { producerId: 4, producerEpoch: 0 })],
	["a transaction without a producer", "INVALID_RECORD", batchOf(["v"], { isTransactional: true })],
	...([1, 2, 3, 4] as const).map(
		(codec) =>
			[
				`what ${CODECS[codec]} cannot read`,
				"INVALID_RECORD",
				batchOf(["v"], {}, (b) => b.writeInt16BE(codec, 21)),
			] as const,
	),
];

describe("refused, and nothing stored:", () => {
	for (const [what, code, bytes] of REFUSED) {
		it(what, () => {
			const { world, partition } = newWorld();
			expect(refusalOf(() => appendTo(world, partition, Buffer.from(bytes))).code).toBe(code);
			expect([partition.endOffset, world.log.idle]).toEqual([0, true]);
		});
	}

	it("what is larger than max.message.bytes", () => {
		const { world, partition } = newWorld({ "max.message.bytes": "1000" });
		const refusal = refusalOf(() => appendTo(world, partition, batchOf(["x".repeat(1000)])));
		expect(refusal.code).toBe("MESSAGE_TOO_LARGE");
		appendTo(world, partition, batchOf(["x".repeat(20_000)], { codec: "gzip" }));
		expect(partition.endOffset).toBe(1);
	});

	it("what is larger than max.message.bytes as it came, though the topic's own codec would make it small", () => {
		const { world, partition } = newWorld({ "max.message.bytes": "1000", "compression.type": "gzip" });
		expect(refusalOf(() => appendTo(world, partition, batchOf(["x".repeat(1000)]))).code).toBe("MESSAGE_TOO_LARGE");
		expect([partition.endOffset, world.log.idle]).toEqual([0, true]);
	});

	it("what becomes larger than max.message.bytes in the topic's own codec", () => {
		const { world, partition } = newWorld({ "max.message.bytes": "1000", "compression.type": "uncompressed" });
		const grows = batchOf(["x".repeat(1000)], { codec: "gzip" });
		expect(grows.length).toBeLessThan(1000);
		expect(refusalOf(() => appendTo(world, partition, grows)).code).toBe("MESSAGE_TOO_LARGE");
		expect([partition.endOffset, world.log.idle]).toEqual([0, true]);
		appendTo(world, partition, batchOf(["x".repeat(900)], { codec: "gzip" }));
		expect(partition.endOffset).toBe(1);
	});

	it("zstd where the request is too old for it", () => {
		const { world, partition } = newWorld();
		const request = { transactionalId: null, decompressedBytes: 1 << 20, allowsZstd: false };
		const append = (codec: Codec) => appendProducerBatch(world.broker, partition, batchOf(["v"], { codec }), request);
		expect(refusalOf(() => append("zstd")).code).toBe("UNSUPPORTED_COMPRESSION_TYPE");
		expect(append("lz4").baseOffset).toBe(0);
	});

	it("records without a key in a compacted topic, each by its number", () => {
		const { world, partition } = newWorld({ "cleanup.policy": "compact" });
		const batch = batchOf(["a", record("b", { key: null }), "c", record("d", { key: null })]);
		const refusal = refusalOf(() => appendTo(world, partition, batch));
		expect(refusal).toBeInstanceOf(RefusedRecords);
		expect(refusal.code).toBe("INVALID_RECORD");
		expect((refusal as RefusedRecords).records.map(({ index }) => index)).toEqual([1, 3]);
		expect(partition.endOffset).toBe(0);
	});
});

describe("timestamps", () => {
	const limits = { "message.timestamp.before.max.ms": "1000", "message.timestamp.after.max.ms": "500" };
	const at = (...deltas: number[]): EncodableRecord[] =>
		deltas.map((delta) => record("v", { timestamp: START_MS + delta }));

	for (const codec of CODECS) {
		it(`out of the topic's range are refused, each by its number (${codec})`, () => {
			const { world, partition } = newWorld(limits);
			const refusal = refusalOf(() => appendTo(world, partition, batchOf(at(0, -1001, 500, 501, -1000), { codec })));
			expect(refusal.code).toBe("INVALID_TIMESTAMP");
			expect((refusal as RefusedRecords).records.map(({ index }) => index)).toEqual([1, 3]);
			expect(partition.endOffset).toBe(0);
			appendTo(world, partition, batchOf(at(0, 500, -1000), { codec }));
		});
	}

	it("may lie an hour ahead and as far back as one likes, where nothing is configured; or be missing", () => {
		const { world, partition } = newWorld();
		expect(refusalOf(() => appendTo(world, partition, batchOf(at(3_600_001)))).code).toBe("INVALID_TIMESTAMP");
		appendTo(world, partition, batchOf(at(3_600_000, -START_MS)));
		appendTo(world, partition, batchOf([record("v", { timestamp: -1 })]));
		expect(partition.endOffset).toBe(3);
	});

	it("are the broker's own in a topic with LogAppendTime, and a duplicate is told the first one's", async () => {
		const { world, partition } = newWorld({ "message.timestamp.type": "LogAppendTime" });
		const own = { producerId: 3, producerEpoch: 0, baseSequence: 0, codec: "lz4" as const };
		const first = appendTo(world, partition, batchOf(at(-7_200_000, 7_200_000), own));
		expect(first).toEqual({ baseOffset: 0, appendTimeMs: START_MS, isDuplicate: false });
		const bytes = await stored(world, partition);
		expect(validateBatch(bytes, 0)).toMatchObject({ timestampType: "append", maxTimestamp: START_MS });
		expect(decodeRecords(bytes).map(({ timestamp }) => timestamp)).toEqual([START_MS, START_MS]);
		await world.clock.advance(5000);
		expect(appendTo(world, partition, batchOf(at(-7_200_000, 7_200_000), own))).toEqual({
			...first,
			isDuplicate: true,
		});
	});

	it("that the header tells wrong are set right", async () => {
		const { world, partition } = newWorld();
		appendTo(
			world,
			partition,
			batchOf(at(-5, -1, -9), {}, (b) => b.writeInt32BE(0, 35)),
		);
		const header = validateBatch(await stored(world, partition), 0);
		expect(header.maxTimestamp).toBe(START_MS - 1);
	});
});

describe("compression", () => {
	const values = ["first", "second", "x".repeat(3000)];

	for (const codec of CODECS) {
		it(`${codec}: the batch is stored as it came`, async () => {
			const { world, partition } = newWorld();
			const batch = batchOf(values, { codec });
			appendTo(world, partition, batchOf(["before"]));
			expect(appendTo(world, partition, Buffer.from(batch)).baseOffset).toBe(1);
			const bytes = (await stored(world, partition)).subarray(-batch.length);
			expect(bytes.subarray(21)).toEqual(batch.subarray(21));
			expect(validateBatch(bytes, 0)).toMatchObject({ codec, baseOffset: 1, lastOffset: 3, leaderEpoch: 0 });
		});

		it(`${codec}: a topic with compression.type=${codec === "none" ? "uncompressed" : codec} makes it so of any other`, async () => {
			for (const other of CODECS) {
				const type = codec === "none" ? "uncompressed" : codec;
				const { world, partition } = newWorld({ "compression.type": type });
				const own = { codec: other, producerId: 9, producerEpoch: 1, baseSequence: 0 };
				appendTo(world, partition, batchOf(values, own));
				const bytes = await stored(world, partition);
				expect(validateBatch(bytes, 0)).toMatchObject({ codec, count: 3, producerId: 9, producerEpoch: 1 });
				expect(decodeRecords(bytes).map(({ value }) => String(value))).toEqual(values);
			}
		});
	}

	it("that makes more than 16 MiB of a batch is refused: smaller batches would do", () => {
		for (const codec of CODECS.slice(1)) {
			const { world, partition } = newWorld({ "max.message.bytes": "8000000" });
			const batch = batchOf(["v"]);
			const bomb = compress(codec, Buffer.alloc(16 * 1024 * 1024 + 1));
			const bytes = Buffer.concat([batch.subarray(0, 61), bomb]);
			bytes.writeInt32BE(bytes.length - 12, 8);
			bytes.writeInt16BE(CODECS.indexOf(codec), 21);
			bytes.writeUInt32BE(crc32c(bytes, 21), 17);
			expect(refusalOf(() => appendTo(world, partition, bytes)).code).toBe("MESSAGE_TOO_LARGE");
			expect(partition.endOffset).toBe(0);
		}
	});

	it("has a bound for all batches of a request, behind which they are to be sent again", () => {
		const { world, partition } = newWorld();
		const request = { transactionalId: null, decompressedBytes: 150_000, allowsZstd: true };
		const append = () =>
			appendProducerBatch(world.broker, partition, batchOf(["x".repeat(100_000)], { codec: "zstd" }), request);
		append();
		expect(refusalOf(append).code).toBe("REQUEST_TIMED_OUT");
		expect(refusalOf(append).code).toBe("REQUEST_TIMED_OUT");
		appendProducerBatch(world.broker, partition, batchOf(["plain"]), request);
		expect(partition.endOffset).toBe(2);
	});
});

describe("memory", () => {
	it("of a request is not held for a small batch in it, and not copied for a large one", async () => {
		const { world, partition } = newWorld();
		const place = (batch: Buffer, frameBytes: number): Buffer => {
			const frame = Buffer.allocUnsafeSlow(frameBytes);
			batch.copy(frame, 10);
			return frame.subarray(10, 10 + batch.length);
		};
		const small = place(batchOf(["small"]), 60_000);
		const large = place(batchOf(["x".repeat(40_000)]), 60_000);
		appendTo(world, partition, small);
		appendTo(world, partition, large);
		await world.finish(world.log.whenCommitted());
		const [first, second] = partition.readTail(0) ?? [];
		expect([first?.buffer.byteLength, second?.buffer]).toEqual([small.length, large.buffer]);
	});
});

it("takes what follows the batch and is none for nothing", () => {
	const { world, partition } = newWorld();
	appendTo(world, partition, Buffer.concat([batchOf(["v"]), batchOf(["w"]).subarray(0, 40)]));
	appendTo(world, partition, Buffer.concat([batchOf(["v"]), Buffer.alloc(5)]));
	expect(partition.endOffset).toBe(2);
});

it("takes a sequence without a producer, as some clients send it", () => {
	const { world, partition } = newWorld();
	for (let i = 0; i < 2; i++) appendTo(world, partition, batchOf(["v"], { baseSequence: 0 }));
	expect(partition.endOffset).toBe(2);
});
