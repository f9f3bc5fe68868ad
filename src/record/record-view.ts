/**
 * The records inside a batch, read in place: one RecordView walks over all of them and nothing is
 * allocated per record. Strict: every length is checked against what is there before it is used.
 */
import { isUtf8 } from "node:buffer";
import { BATCH_HEADER_BYTES, BatchError, type BatchHeader, SMALLEST_RECORD_BYTES } from "./batch-header.ts";
import { decompress } from "./compression.ts";
import { CompressionError } from "./compression-error.ts";
import { VarintError, VarintReader } from "./varint.ts";

/** Header of a record; keys are text, values bytes. */
export interface RecordHeader {
	readonly key: string;
	readonly value: Buffer | null;
}

/** A header's key and value take a byte for each length at least. */
const SMALLEST_RECORD_HEADER_BYTES = 2;

/**
 * One record, valid until the visit that it was given to returns. Positions are in `source`: the batch itself,
 * or what came out of its compression. A null key or value has start and end -1.
 */
export class RecordView {
	source: Buffer;
	/** Of the whole record, from its length on. */
	start = 0;
	end = 0;
	/** Where the length of its key stands: all before it counts from the batch's header. */
	keyLengthStart = 0;
	offset = 0;
	/** Milliseconds since 1970; -1: none. */
	timestamp = -1;
	keyStart = -1;
	keyEnd = -1;
	valueStart = -1;
	valueEnd = -1;
	headerCount = 0;
	/** The headers' bytes, without their count. */
	headersStart = 0;
	headersEnd = 0;
	/** Of the header that `header` or `findHeader` came to. */
	headerKeyStart = 0;
	headerKeyEnd = 0;
	headerValueStart = -1;
	headerValueEnd = -1;
	readonly #batch: BatchHeader;
	readonly #batchPosition: number;
	readonly #reader: VarintReader;
	readonly #headerReader: VarintReader;
	#read = 0;
	#offsetDelta = -1;
	#nextHeader = 0;

	/** Of the batch at `position` of `bytes`; decompresses it, to `maxBytes` at the most. Throws BatchError. */
	constructor(bytes: Buffer, position: number, batch: BatchHeader, maxBytes: number) {
		const start = position + BATCH_HEADER_BYTES;
		const end = position + batch.sizeBytes;
		this.#batch = batch;
		this.#batchPosition = position;
		if (batch.codec === "none") {
			this.source = bytes;
			this.#reader = new VarintReader(bytes, start, end);
		} else {
			try {
				this.source = decompress(batch.codec, bytes.subarray(start, end), maxBytes);
			} catch (error) {
				if (!(error instanceof CompressionError)) throw error;
				throw new BatchError(start, error.reason, `${batch.codec}: ${error.message}`, { cause: error });
			}
			this.#reader = new VarintReader(this.source);
		}
		this.#headerReader = new VarintReader(this.source);
	}

	/** Goes on to the next record; false after the last. Throws BatchError. */
	next(): boolean {
		const reader = this.#reader;
		if (this.#read === this.#batch.count) {
			if (reader.position !== reader.end) {
				throw this.#error(reader.position, `${reader.end - reader.position} bytes after the last record`);
			}
			return false;
		}
		const start = reader.position;
		try {
			this.#readRecord(reader);
		} catch (error) {
			if (error instanceof VarintError) throw this.#error(error.position, error.message.replace(/^byte \d+: /, ""));
			throw error;
		}
		this.#read += 1;
		if (reader.position <= start) throw this.#error(start, "an empty record");
		return true;
	}

	/**
	 * Comes to header `index` (below `headerCount`) and sets `headerKeyStart` and the others. In rising order each costs
	 * one step.
	 */
	header(index: number): void {
		if (index < 0 || index >= this.headerCount) throw new RangeError(`header ${index} of ${this.headerCount}`);
		const reader = this.#headerReader;
		if (index < this.#nextHeader || this.#nextHeader === 0) {
			this.#nextHeader = 0;
			reader.position = this.headersStart;
			reader.end = this.headersEnd;
		}
		while (this.#nextHeader <= index) {
			this.#readHeader(reader);
			this.#nextHeader += 1;
		}
	}

	/** Comes to the first header whose key is `name` (UTF-8), if there is one. */
	findHeader(name: Uint8Array): boolean {
		for (let i = 0; i < this.headerCount; i++) {
			this.header(i);
			if (sameBytes(this.source, this.headerKeyStart, this.headerKeyEnd, name)) return true;
		}
		return false;
	}

	/** All headers; the values are views of `source`. */
	headers(): RecordHeader[] {
		const headers: RecordHeader[] = [];
		for (let i = 0; i < this.headerCount; i++) {
			this.header(i);
			headers.push({
				key: this.source.toString("utf8", this.headerKeyStart, this.headerKeyEnd),
				value: this.headerValueStart < 0 ? null : this.source.subarray(this.headerValueStart, this.headerValueEnd),
			});
		}
		return headers;
	}

	#readRecord(reader: VarintReader): void {
		const batch = this.#batch;
		const { source } = this;
		const batchEnd = reader.end;
		const start = reader.position;
		const length = reader.varint();
		const recordEnd = reader.position + length;
		if (length < SMALLEST_RECORD_BYTES - 1 || recordEnd > batchEnd) throw this.#error(start, `record length ${length}`);
		// Numbers inside may not reach beyond their record.
		reader.end = recordEnd;
		const attributes = source[reader.position] as number;
		if (attributes !== 0) throw this.#error(reader.position, `unknown record attributes ${attributes}`);
		reader.position += 1;
		const timestampDelta = reader.varlong();
		const timestamp = batch.baseTimestamp + timestampDelta;
		if (timestamp < -1 || timestamp > Number.MAX_SAFE_INTEGER) throw this.#error(start, `timestamp ${timestamp}`);
		this.timestamp = batch.timestampType === "append" ? batch.maxTimestamp : timestamp;
		const offsetDelta = reader.varint();
		// Compaction leaves gaps, so they need only rise.
		if (offsetDelta <= this.#offsetDelta || offsetDelta > batch.lastOffsetDelta) {
			throw this.#error(
				start,
				`offset delta ${offsetDelta} after ${this.#offsetDelta}, the last is ${batch.lastOffsetDelta}`,
			);
		}
		this.#offsetDelta = offsetDelta;
		this.offset = batch.baseOffset + offsetDelta;
		this.start = start;
		this.end = recordEnd;
		this.keyLengthStart = reader.position;
		const keyBytes = this.#lengthOf(reader, "key", true);
		this.keyStart = keyBytes < 0 ? -1 : reader.position;
		this.keyEnd = keyBytes < 0 ? -1 : reader.position + keyBytes;
		if (keyBytes > 0) reader.position += keyBytes;
		const valueBytes = this.#lengthOf(reader, "value", true);
		this.valueStart = valueBytes < 0 ? -1 : reader.position;
		this.valueEnd = valueBytes < 0 ? -1 : reader.position + valueBytes;
		if (valueBytes > 0) reader.position += valueBytes;
		const headersAt = reader.position;
		const headerCount = reader.varint();
		if (headerCount < 0 || headerCount > (recordEnd - reader.position) / SMALLEST_RECORD_HEADER_BYTES) {
			throw this.#error(headersAt, `${headerCount} headers in ${recordEnd - reader.position} bytes`);
		}
		this.headerCount = headerCount;
		this.headersStart = reader.position;
		for (let i = 0; i < headerCount; i++) {
			this.#readHeader(reader);
			if (!isText(source, this.headerKeyStart, this.headerKeyEnd)) {
				throw this.#error(this.headerKeyStart, "a header's key is not UTF-8");
			}
		}
		this.headersEnd = reader.position;
		this.#nextHeader = 0;
		if (reader.position !== recordEnd) {
			throw this.#error(reader.position, `${recordEnd - reader.position} bytes after a record's headers`);
		}
		reader.end = batchEnd;
	}

	#readHeader(reader: VarintReader): void {
		const keyBytes = this.#lengthOf(reader, "header key", false);
		this.headerKeyStart = reader.position;
		this.headerKeyEnd = reader.position += keyBytes;
		const valueBytes = this.#lengthOf(reader, "header value", true);
		this.headerValueStart = valueBytes < 0 ? -1 : reader.position;
		this.headerValueEnd = valueBytes < 0 ? -1 : reader.position + valueBytes;
		if (valueBytes > 0) reader.position += valueBytes;
	}

	#lengthOf(reader: VarintReader, name: string, nullable: boolean): number {
		const at = reader.position;
		const length = reader.varint();
		if (length < (nullable ? -1 : 0) || length > reader.end - reader.position) {
			throw this.#error(at, `${name} of ${length} bytes, ${reader.end - reader.position} are there`);
		}
		return length;
	}

	#error(position: number, what: string): BatchError {
		if (this.#batch.codec === "none") return new BatchError(position, "INVALID_RECORD", what);
		return new BatchError(this.#batchPosition, "INVALID_RECORD", `byte ${position} of what was compressed: ${what}`);
	}
}

function isText(bytes: Buffer, start: number, end: number): boolean {
	for (let at = start; at < end; at++) {
		if ((bytes[at] as number) > 0x7f) return isUtf8(bytes.subarray(at, end));
	}
	return true;
}

function sameBytes(bytes: Uint8Array, start: number, end: number, expected: Uint8Array): boolean {
	if (end - start !== expected.length) return false;
	for (let i = 0; i < expected.length; i++) if (bytes[start + i] !== expected[i]) return false;
	return true;
}
