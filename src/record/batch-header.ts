/**
 * The 61 bytes in front of every record batch, format v2 (Kafka's message format:
 * https://kafka.apache.org/documentation/#recordbatch), all numbers big-endian:
 *
 *     0 baseOffset i64          23 lastOffsetDelta i32    51 producerEpoch i16
 *     8 batchLength i32         27 baseTimestamp i64      53 baseSequence i32
 *    12 partitionLeaderEpoch i32 35 maxTimestamp i64      57 count i32
 *    16 magic i8 = 2            43 producerId i64         61 records
 *    17 crc u32 (CRC-32C of bytes 21 to the end)
 *    21 attributes i16: bits 0-2 codec, 3 log-append time, 4 transactional, 5 control, 6 delete horizon
 *
 * 64-bit fields are JavaScript numbers; what does not fit 53 bits is refused.
 */
import type { Codec } from "./compression.ts";

export const BATCH_HEADER_BYTES = 61;
export const CRC_POSITION = 17;
/** What the checksum covers begins here. */
export const CRC_COVERS_FROM = 21;
/** baseOffset and batchLength, which batchLength does not count. */
export const LENGTH_COUNTS_FROM = 12;
/** The smallest record: length, attributes, timestamp delta, offset delta, key length, value length, header count; a byte each. */
export const SMALLEST_RECORD_BYTES = 7;

/** By their value in the attributes. */
export const CODECS: readonly Codec[] = ["none", "gzip", "snappy", "lz4", "zstd"];

export const ATTRIBUTE_CODEC = 0x07;
export const ATTRIBUTE_APPEND_TIME = 0x08;
export const ATTRIBUTE_TRANSACTIONAL = 0x10;
export const ATTRIBUTE_CONTROL = 0x20;
export const ATTRIBUTE_DELETE_HORIZON = 0x40;
const ATTRIBUTES_UNKNOWN = ~0x7f;

/** Kafka's names of errors (src/base/errors.ts) that a batch can be refused with. */
export type BatchErrorReason =
	| "CORRUPT_MESSAGE"
	| "INVALID_RECORD"
	| "UNSUPPORTED_COMPRESSION_TYPE"
	| "RECORD_LIST_TOO_LARGE";

/** Why bytes are not a sound record batch; `position` (bytes) is where in the buffer given. */
export class BatchError extends Error {
	override readonly name = "BatchError";
	readonly position: number;
	readonly reason: BatchErrorReason;

	constructor(position: number, reason: BatchErrorReason, what: string, options?: ErrorOptions) {
		super(`record batch, byte ${position}: ${what}`, options);
		this.position = position;
		this.reason = reason;
	}
}

export interface BatchHeader {
	readonly baseOffset: number;
	/** Of the whole batch: 12 + batchLength. */
	readonly sizeBytes: number;
	readonly leaderEpoch: number;
	readonly crc: number;
	readonly attributes: number;
	readonly codec: Codec;
	/** Who set the timestamps: the producer, or the log when it stored the batch (then every record has `maxTimestamp`). */
	readonly timestampType: "create" | "append";
	readonly isTransactional: boolean;
	/** Holds transaction markers, not records of people. */
	readonly isControl: boolean;
	/** `baseTimestamp` is when tombstones may go (set by Kafka's compaction). */
	readonly hasDeleteHorizon: boolean;
	readonly lastOffsetDelta: number;
	readonly lastOffset: number;
	/** Milliseconds since 1970; -1: none. */
	readonly baseTimestamp: number;
	readonly maxTimestamp: number;
	/** -1: none. */
	readonly producerId: number;
	readonly producerEpoch: number;
	readonly baseSequence: number;
	/** Of records; 0 only in what compaction left. */
	readonly count: number;
}

const TWO_32 = 0x1_0000_0000;

/**
 * Reads and checks the header of the batch that begins at `position`; not its checksum, not its records
 * (`validateBatch`). `end` is where the batch must end at the latest: more than `bytes` holds when only
 * its beginning has been read. Throws BatchError.
 */
export function readBatchHeader(bytes: Buffer, position: number, end: number = bytes.length): BatchHeader {
	if (Math.min(bytes.length, end) - position < BATCH_HEADER_BYTES || position < 0) {
		throw new BatchError(position, "CORRUPT_MESSAGE", "the header is cut short");
	}
	const magic = bytes.readInt8(position + 16);
	if (magic !== 2) throw new BatchError(position + 16, "CORRUPT_MESSAGE", `format ${magic}; only 2 is known`);
	const batchLength = bytes.readInt32BE(position + 8);
	const sizeBytes = batchLength + LENGTH_COUNTS_FROM;
	if (sizeBytes < BATCH_HEADER_BYTES) {
		throw new BatchError(position + 8, "CORRUPT_MESSAGE", `length ${batchLength} is too small`);
	}
	if (position + sizeBytes > end) {
		throw new BatchError(
			position + 8,
			"CORRUPT_MESSAGE",
			`the batch has ${sizeBytes} bytes, ${end - position} are there`,
		);
	}
	const attributes = bytes.readInt16BE(position + 21);
	if ((attributes & ATTRIBUTES_UNKNOWN) !== 0) {
		throw new BatchError(position + 21, "INVALID_RECORD", `unknown attributes 0x${(attributes & 0xffff).toString(16)}`);
	}
	const codec = CODECS[attributes & ATTRIBUTE_CODEC];
	if (codec === undefined) {
		throw new BatchError(
			position + 21,
			"UNSUPPORTED_COMPRESSION_TYPE",
			`unknown codec ${attributes & ATTRIBUTE_CODEC}`,
		);
	}
	const baseOffset = readInt53(bytes, position, 0, "base offset");
	const lastOffsetDelta = bytes.readInt32BE(position + 23);
	const lastOffset = baseOffset + lastOffsetDelta;
	if (lastOffsetDelta < 0 || lastOffset > Number.MAX_SAFE_INTEGER) {
		throw new BatchError(position + 23, "INVALID_RECORD", `last offset delta ${lastOffsetDelta}`);
	}
	const count = bytes.readInt32BE(position + 57);
	const atMost =
		codec === "none" ? Math.floor((sizeBytes - BATCH_HEADER_BYTES) / SMALLEST_RECORD_BYTES) : lastOffsetDelta + 1;
	if (count < 0 || count > lastOffsetDelta + 1 || count > atMost) {
		throw new BatchError(
			position + 57,
			"INVALID_RECORD",
			`${count} records in ${sizeBytes} bytes with last offset delta ${lastOffsetDelta}`,
		);
	}
	const producerEpoch = bytes.readInt16BE(position + 51);
	if (producerEpoch < -1) throw new BatchError(position + 51, "INVALID_RECORD", `producer epoch ${producerEpoch}`);
	const baseSequence = bytes.readInt32BE(position + 53);
	if (baseSequence < -1) throw new BatchError(position + 53, "INVALID_RECORD", `base sequence ${baseSequence}`);
	return {
		baseOffset,
		sizeBytes,
		leaderEpoch: bytes.readInt32BE(position + 12),
		crc: bytes.readUInt32BE(position + 17),
		attributes,
		codec,
		timestampType: (attributes & ATTRIBUTE_APPEND_TIME) === 0 ? "create" : "append",
		isTransactional: (attributes & ATTRIBUTE_TRANSACTIONAL) !== 0,
		isControl: (attributes & ATTRIBUTE_CONTROL) !== 0,
		hasDeleteHorizon: (attributes & ATTRIBUTE_DELETE_HORIZON) !== 0,
		lastOffsetDelta,
		lastOffset,
		baseTimestamp: readInt53(bytes, position + 27, -1, "base timestamp"),
		maxTimestamp: readInt53(bytes, position + 35, -1, "largest timestamp"),
		producerId: readInt53(bytes, position + 43, -1, "producer id"),
		producerEpoch,
		baseSequence,
		count,
	};
}

/** What a header is written from; the rest follows from the bytes after it. */
export interface BatchHeaderFields {
	readonly baseOffset: number;
	readonly leaderEpoch: number;
	readonly attributes: number;
	readonly lastOffsetDelta: number;
	readonly baseTimestamp: number;
	readonly maxTimestamp: number;
	readonly producerId: number;
	readonly producerEpoch: number;
	readonly baseSequence: number;
	readonly count: number;
}

/** Writes the header of a batch of `sizeBytes` at the start of `bytes`, all but its checksum. */
export function writeBatchHeader(bytes: Buffer, sizeBytes: number, fields: BatchHeaderFields): void {
	writeInt53(bytes, 0, fields.baseOffset);
	bytes.writeInt32BE(sizeBytes - LENGTH_COUNTS_FROM, 8);
	bytes.writeInt32BE(fields.leaderEpoch, 12);
	bytes[16] = 2;
	bytes.writeInt16BE(fields.attributes, 21);
	bytes.writeInt32BE(fields.lastOffsetDelta, 23);
	writeInt53(bytes, 27, fields.baseTimestamp);
	writeInt53(bytes, 35, fields.maxTimestamp);
	writeInt53(bytes, 43, fields.producerId);
	bytes.writeInt16BE(fields.producerEpoch, 51);
	bytes.writeInt32BE(fields.baseSequence, 53);
	bytes.writeInt32BE(fields.count, 57);
}

/** Gives the batch at `position` its place in a log; the checksum does not cover these two fields. */
export function setBaseOffset(batch: Buffer, position: number, baseOffset: number, leaderEpoch: number): void {
	writeInt53(batch, position, baseOffset);
	batch.writeInt32BE(leaderEpoch, position + LENGTH_COUNTS_FROM);
}

/** The checksum is the caller's to write. */
export function setMaxTimestamp(batch: Buffer, position: number, timestampMs: number): void {
	writeInt53(batch, position + 35, timestampMs);
}

/** Who wrote the batch at `position`, and its records' place among that producer's; the checksum is the caller's to write. */
export function setProducer(
	batch: Buffer,
	position: number,
	{ producerId, producerEpoch, baseSequence }: Pick<BatchHeaderFields, "producerId" | "producerEpoch" | "baseSequence">,
): void {
	writeInt53(batch, position + 43, producerId);
	batch.writeInt16BE(producerEpoch, position + 51);
	batch.writeInt32BE(baseSequence, position + 53);
}

function readInt53(bytes: Buffer, at: number, least: number, name: string): number {
	const value = bytes.readInt32BE(at) * TWO_32 + bytes.readUInt32BE(at + 4);
	if (value < least || value > Number.MAX_SAFE_INTEGER) {
		throw new BatchError(at, "INVALID_RECORD", `${name} ${bytes.readBigInt64BE(at)}`);
	}
	return value;
}

function writeInt53(bytes: Buffer, at: number, value: number): void {
	if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not an integer within 53 bits`);
	const high = Math.floor(value / TWO_32);
	bytes.writeInt32BE(high, at);
	bytes.writeUInt32BE(value - high * TWO_32, at + 4);
}
