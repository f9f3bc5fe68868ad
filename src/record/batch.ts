/**
 * Record batches, format v2: checking, reading, writing. The header's fields are in batch-header.ts, the
 * walk over the records in record-view.ts, the hot path of writing in builder.ts.
 */
import {
	ATTRIBUTE_APPEND_TIME,
	ATTRIBUTE_CONTROL,
	ATTRIBUTE_TRANSACTIONAL,
	BATCH_HEADER_BYTES,
	BatchError,
	type BatchHeader,
	CODECS,
	CRC_COVERS_FROM,
	CRC_POSITION,
	readBatchHeader,
	setMaxTimestamp,
	writeBatchHeader,
} from "./batch-header.ts";
import { type Codec, compress } from "./compression.ts";
import { crc32c } from "./crc32c.ts";
import { type RecordHeader, RecordView } from "./record-view.ts";
import { varintSize, varlongSize, writeVarint, writeVarlong } from "./varint.ts";

export {
	BATCH_HEADER_BYTES,
	BatchError,
	type BatchErrorReason,
	type BatchHeader,
	readBatchHeader,
	setBaseOffset,
} from "./batch-header.ts";
export { type RecordHeader, RecordView } from "./record-view.ts";

/** A record as an object of its own. */
export interface LogRecord {
	readonly offset: number;
	/** Milliseconds since 1970; -1: none. */
	readonly timestamp: number;
	readonly key: Buffer | null;
	readonly value: Buffer | null;
	readonly headers: RecordHeader[];
}

/** What may come out of one batch's compression where the caller sets no limit, in bytes. */
export const MAX_DECOMPRESSED_BYTES = 32 * 1024 * 1024;

export interface ValidateOptions {
	/** What may come out of the compression, in bytes. */
	readonly maxDecompressedBytes?: number;
	/** Takes what compaction leaves too: gaps between offsets, no records at all. What a producer sends has neither. */
	readonly compacted?: boolean;
}

export interface ValidatedBatch extends BatchHeader {
	/** The largest of the records themselves; producers may have set the header's wrong (`repairMaxTimestamp`). */
	readonly largestTimestamp: number;
	/** Of those that have one; Infinity: none has. */
	readonly smallestTimestamp: number;
	/** Records whose key is null. */
	readonly withoutKey: number;
	/** What came out of its compression; 0 without. */
	readonly decompressedBytes: number;
}

/**
 * Checks the whole batch at `position`: header, checksum, and every record. Allocates nothing per record.
 * Throws BatchError.
 */
export function validateBatch(bytes: Buffer, position: number, options: ValidateOptions = {}): ValidatedBatch {
	const header = readBatchHeader(bytes, position);
	const crc = crc32c(bytes, position + CRC_COVERS_FROM, position + header.sizeBytes);
	if (crc !== header.crc) {
		throw new BatchError(
			position + CRC_POSITION,
			"CORRUPT_MESSAGE",
			`the checksum is ${header.crc.toString(16)}, the bytes' is ${crc.toString(16)}`,
		);
	}
	if (options.compacted !== true && (header.count === 0 || header.count !== header.lastOffsetDelta + 1)) {
		throw new BatchError(
			position + 57,
			"INVALID_RECORD",
			`${header.count} records with last offset delta ${header.lastOffsetDelta}`,
		);
	}
	// A sequence without a producer id means nothing: clients in use send 0 there.
	if (header.producerId < 0 && header.isTransactional) {
		throw new BatchError(position + 43, "INVALID_RECORD", "a transaction without a producer id");
	}
	const view = new RecordView(bytes, position, header, options.maxDecompressedBytes ?? MAX_DECOMPRESSED_BYTES);
	let largestTimestamp = -1;
	let smallestTimestamp = Number.POSITIVE_INFINITY;
	let withoutKey = 0;
	while (view.next()) {
		const { timestamp } = view;
		if (timestamp > largestTimestamp) largestTimestamp = timestamp;
		if (timestamp >= 0 && timestamp < smallestTimestamp) smallestTimestamp = timestamp;
		if (view.keyStart < 0) withoutKey += 1;
		if (header.isControl && view.keyEnd - view.keyStart < CONTROL_KEY_BYTES) {
			throw new BatchError(position, "INVALID_RECORD", "a control record's key is cut short");
		}
	}
	const decompressedBytes = header.codec === "none" ? 0 : view.source.length;
	return { ...header, largestTimestamp, smallestTimestamp, withoutKey, decompressedBytes };
}

/** Sets the header's largest timestamp to what the records have, and the checksum. */
export function repairMaxTimestamp(batch: Buffer, position: number, validated: ValidatedBatch): void {
	setMaxTimestamp(batch, position, validated.largestTimestamp);
	const crc = crc32c(batch, position + CRC_COVERS_FROM, position + validated.sizeBytes);
	batch.writeUInt32BE(crc, position + CRC_POSITION);
}

/**
 * Visits each record of the batch at `position` in place. The view is one object used for all of them. Does not
 * check the checksum: what comes from the log has been. Throws BatchError.
 */
export function forEachRecord(
	batch: Buffer,
	position: number,
	visit: (view: RecordView) => void,
	maxDecompressedBytes: number = MAX_DECOMPRESSED_BYTES,
): void {
	const view = new RecordView(batch, position, readBatchHeader(batch, position), maxDecompressedBytes);
	while (view.next()) visit(view);
}

/** The records of the batch at `position`; their bytes are views of the batch or of what was decompressed. As `forEachRecord` otherwise. */
export function decodeRecords(batch: Buffer, position = 0, maxDecompressedBytes?: number): LogRecord[] {
	const records: LogRecord[] = [];
	forEachRecord(
		batch,
		position,
		(view) => {
			records.push({
				offset: view.offset,
				timestamp: view.timestamp,
				key: view.keyStart < 0 ? null : view.source.subarray(view.keyStart, view.keyEnd),
				value: view.valueStart < 0 ? null : view.source.subarray(view.valueStart, view.valueEnd),
				headers: view.headers(),
			});
		},
		maxDecompressedBytes,
	);
	return records;
}

const CONTROL_KEY_BYTES = 4;

/** A control record's key: version i16, type i16 (0: the transaction is aborted, 1: it is committed). Throws BatchError. */
export function decodeControlKey(key: Buffer | null): { version: number; type: number } {
	if (key === null || key.length < CONTROL_KEY_BYTES) {
		throw new BatchError(0, "INVALID_RECORD", "a control record's key is cut short");
	}
	return { version: key.readInt16BE(0), type: key.readInt16BE(2) };
}

export interface EncodableRecord {
	/** Milliseconds since 1970. */
	readonly timestamp: number;
	readonly key: Uint8Array | null;
	readonly value: Uint8Array | null;
	readonly headers: readonly { readonly key: string; readonly value: Uint8Array | null }[];
}

export interface EncodeOptions {
	readonly baseOffset?: number;
	readonly leaderEpoch?: number;
	readonly codec?: Codec;
	/** Of gzip (1 to 9) and zstd (1 to 22). */
	readonly level?: number;
	readonly producerId?: number;
	readonly producerEpoch?: number;
	readonly baseSequence?: number;
	readonly isTransactional?: boolean;
	readonly isControl?: boolean;
	readonly timestampType?: "create" | "append";
}

/** One batch of all `records`, which must not be empty; offsets count from `baseOffset`. */
export function encodeBatch(records: readonly EncodableRecord[], options: EncodeOptions = {}): Buffer {
	const baseTimestamp = records[0]?.timestamp;
	if (baseTimestamp === undefined) throw new Error("a batch needs a record");
	const codec = options.codec ?? "none";
	const plain = encodeRecords(records, baseTimestamp);
	const body = codec === "none" ? plain : compress(codec, plain, options.level);
	const batch = Buffer.allocUnsafe(BATCH_HEADER_BYTES + body.length);
	writeBatchHeader(batch, batch.length, {
		baseOffset: options.baseOffset ?? 0,
		leaderEpoch: options.leaderEpoch ?? 0,
		attributes:
			CODECS.indexOf(codec) |
			(options.timestampType === "append" ? ATTRIBUTE_APPEND_TIME : 0) |
			(options.isTransactional === true ? ATTRIBUTE_TRANSACTIONAL : 0) |
			(options.isControl === true ? ATTRIBUTE_CONTROL : 0),
		lastOffsetDelta: records.length - 1,
		baseTimestamp,
		maxTimestamp: records.reduce((most, { timestamp }) => Math.max(most, timestamp), -1),
		producerId: options.producerId ?? -1,
		producerEpoch: options.producerEpoch ?? -1,
		baseSequence: options.baseSequence ?? -1,
		count: records.length,
	});
	body.copy(batch, BATCH_HEADER_BYTES);
	batch.writeUInt32BE(crc32c(batch, CRC_COVERS_FROM), CRC_POSITION);
	return batch;
}

function encodeRecords(records: readonly EncodableRecord[], baseTimestamp: number): Buffer {
	const bodySizes = records.map((record, i) => bodySize(record, record.timestamp - baseTimestamp, i));
	const bytes = Buffer.allocUnsafe(bodySizes.reduce((sum, size) => sum + varintSize(size) + size, 0));
	let at = 0;
	records.forEach((record, i) => {
		at = writeVarint(bytes, at, bodySizes[i] as number);
		bytes[at++] = 0;
		at = writeVarlong(bytes, at, record.timestamp - baseTimestamp);
		at = writeVarint(bytes, at, i);
		at = writeBytes(bytes, at, record.key);
		at = writeBytes(bytes, at, record.value);
		at = writeVarint(bytes, at, record.headers.length);
		for (const { key, value } of record.headers) {
			at = writeBytes(bytes, at, Buffer.from(key));
			at = writeBytes(bytes, at, value);
		}
	});
	return bytes;
}

function bodySize(record: EncodableRecord, timestampDelta: number, offsetDelta: number): number {
	let size = 1 + varlongSize(timestampDelta) + varintSize(offsetDelta);
	size += bytesSize(record.key?.length ?? -1) + bytesSize(record.value?.length ?? -1);
	size += varintSize(record.headers.length);
	for (const { key, value } of record.headers)
		size += bytesSize(Buffer.byteLength(key)) + bytesSize(value?.length ?? -1);
	return size;
}

/** Of bytes behind their varint length; -1: null. */
function bytesSize(length: number): number {
	return varintSize(length) + Math.max(length, 0);
}

function writeBytes(target: Buffer, at: number, bytes: Uint8Array | null): number {
	if (bytes === null) return writeVarint(target, at, -1);
	const start = writeVarint(target, at, bytes.length);
	target.set(bytes, start);
	return start + bytes.length;
}
