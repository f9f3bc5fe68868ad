/** From stored record batches to the records of an answer: which of them, and how many fit. */
import { BrokerError } from "../base/errors.ts";
import { type BatchHeader, MAX_DECOMPRESSED_BYTES, RecordView, readBatchHeader } from "../record/batch.ts";
import { CborWriter } from "./codec/writer.ts";

/** What a frame of records takes beside them, at most, bytes. */
export const RECORDS_FRAME_OVERHEAD = 64;

export interface RecordsSpec {
	/** Where they come from. */
	readonly partition: { isVisible(header: BatchHeader): boolean };
	/** The first offset wanted. */
	readonly from: number;
	/** The first offset not wanted. */
	readonly end: number;
	readonly maxRecords: number;
	/** No record is begun beyond this, but there is always one. */
	readonly softBytes: number;
	/** No record may make it longer than this. */
	readonly hardBytes: number;
}

export interface EncodedRecords {
	readonly count: number;
	/** `count` CBOR items. */
	readonly bytes: Buffer;
	/** The offset to go on from. */
	readonly next: number;
	/** The batches hold nothing more that is wanted. */
	readonly exhausted: boolean;
	/** The record at `next` is larger than `hardBytes`. */
	readonly tooLarge: BrokerError | undefined;
}

/** Encodes records of whole batches. A batch may begin before `from`, and offsets may be missing. */
export function encodeRecords(batches: readonly Buffer[], spec: RecordsSpec): EncodedRecords {
	const writer = new CborWriter(4096);
	let { from: next } = spec;
	let count = 0;
	for (const bytes of batches) {
		for (let at = 0; at < bytes.length; ) {
			const header = readBatchHeader(bytes, at);
			if (header.baseOffset >= spec.end) return done(true, undefined);
			if (header.lastOffset >= next && spec.partition.isVisible(header)) {
				const record = new RecordView(bytes, at, header, MAX_DECOMPRESSED_BYTES);
				while (record.next()) {
					if (record.offset < next) continue;
					if (record.offset >= spec.end) return done(true, undefined);
					const size = recordBytes(record);
					const total = writer.sizeBytes + size;
					if (total > spec.hardBytes && count === 0) return done(false, tooLarge(record.offset, size, spec.hardBytes));
					if (count === spec.maxRecords || (count > 0 && total > spec.softBytes) || total > spec.hardBytes) {
						return done(false, undefined);
					}
					writeRecord(writer, record);
					count++;
					next = record.offset + 1;
				}
			}
			next = Math.max(next, header.lastOffset + 1);
			at += header.sizeBytes;
		}
	}
	return done(true, undefined);

	function done(exhausted: boolean, error: BrokerError | undefined): EncodedRecords {
		return {
			count,
			bytes: writer.take(),
			next: Math.min(next, Math.max(spec.end, spec.from)),
			exhausted,
			tooLarge: error,
		};
	}
}

function tooLarge(offset: number, size: number, hardBytes: number): BrokerError {
	return new BrokerError(
		"MESSAGE_TOO_LARGE",
		`the record at offset ${offset} takes ${size} bytes and the client's largest frame has room for ${hardBytes}`,
	);
}

function writeRecord(writer: CborWriter, record: RecordView): void {
	const { headerCount, source } = record;
	writer
		.array(headerCount > 0 ? 5 : 4)
		.uint(record.offset)
		.uint(Math.max(0, record.timestamp));
	writeBytes(writer, source, record.keyStart, record.keyEnd);
	writeBytes(writer, source, record.valueStart, record.valueEnd);
	if (headerCount === 0) return;
	writer.array(headerCount);
	for (let i = 0; i < headerCount; i++) {
		record.header(i);
		writer.array(2).textOf(source, record.headerKeyStart, record.headerKeyEnd);
		writeBytes(writer, source, record.headerValueStart, record.headerValueEnd);
	}
}

function writeBytes(writer: CborWriter, source: Buffer, start: number, end: number): void {
	if (start < 0) writer.null();
	else writer.bytesOf(source, start, end);
}

/** What `writeRecord` writes. */
function recordBytes(record: RecordView): number {
	let bytes = 1 + CborWriter.headBytes(record.offset) + CborWriter.headBytes(Math.max(0, record.timestamp));
	bytes += stringBytes(record.keyStart, record.keyEnd) + stringBytes(record.valueStart, record.valueEnd);
	if (record.headerCount === 0) return bytes;
	bytes += CborWriter.headBytes(record.headerCount);
	for (let i = 0; i < record.headerCount; i++) {
		record.header(i);
		bytes += 1 + stringBytes(record.headerKeyStart, record.headerKeyEnd);
		bytes += stringBytes(record.headerValueStart, record.headerValueEnd);
	}
	return bytes;
}

function stringBytes(start: number, end: number): number {
	return start < 0 ? 1 : CborWriter.headBytes(end - start) + end - start;
}
