/**
 * The hot path of every door: records straight into one growing batch (format v2, batch-header.ts),
 * nothing allocated per record. A key and headers come as blocks encoded once and used for many records:
 * a device's key and its route's headers rarely change.
 *
 *     record: length varint, attributes i8 = 0, timestampDelta varlong, offsetDelta varint,
 *             key block, value length varint (-1: null), value, headers block
 */
import type { BufferPool } from "../base/buffer-pool.ts";
import { BATCH_HEADER_BYTES, CRC_COVERS_FROM, CRC_POSITION, writeBatchHeader } from "./batch-header.ts";
import { crc32c } from "./crc32c.ts";
import type { RecordHeader } from "./record-view.ts";
import {
	MAX_VARINT_BYTES,
	MAX_VARLONG_BYTES,
	varintSize,
	varlongSize,
	writeUnsignedVarint,
	writeVarint,
	writeVarlong,
} from "./varint.ts";

/** A record's most, but for key, value and headers: three varints, its attributes, its timestamp. */
const RECORD_OVERHEAD_BYTES = 3 * MAX_VARINT_BYTES + 1 + MAX_VARLONG_BYTES;
/** Measured: a loop copies fewer bytes faster than Buffer.copy, whose call costs what 60 bytes do. */
const COPY_BY_LOOP_BYTES = 64;
/** A new batch begins with room for the last one's bytes, up to this; a larger guess would hold memory for nothing. */
const FIRST_BYTES_MAX = 64 * 1024;

const copyBytes = Buffer.prototype.copy;

/** Varint length (-1 for null) and bytes. */
export function encodeKeyBlock(key: Uint8Array | null): Buffer {
	if (key === null) return Buffer.from(NULL_KEY_BLOCK);
	const block = Buffer.allocUnsafe(varintSize(key.length) + key.length);
	block.set(key, writeVarint(block, 0, key.length));
	return block;
}

/** Varint count, then per header: varint length and UTF-8 key, varint length (-1 for null) and value. */
export function encodeHeadersBlock(headers: readonly RecordHeader[]): Buffer {
	let bytes = varintSize(headers.length);
	for (const { key, value } of headers) {
		const keyBytes = Buffer.byteLength(key);
		bytes += varintSize(keyBytes) + keyBytes + (value === null ? 1 : varintSize(value.length) + value.length);
	}
	const block = Buffer.allocUnsafe(bytes);
	let at = writeVarint(block, 0, headers.length);
	for (const { key, value } of headers) {
		at = writeVarint(block, at, Buffer.byteLength(key));
		at += block.write(key, at);
		at = writeVarint(block, at, value === null ? -1 : value.length);
		if (value === null) continue;
		block.set(value, at);
		at += value.length;
	}
	return block;
}

export const NULL_KEY_BLOCK: Uint8Array = Uint8Array.of(1);
export const EMPTY_HEADERS_BLOCK: Uint8Array = Uint8Array.of(0);

export class BatchBuilder {
	/** Of the first record; after `seal` of the next. */
	baseOffset = 0;
	/** Of records so far. */
	count = 0;
	/** Of the batch so far, header included; 0 when none is begun. */
	sizeBytes = 0;
	/** Largest timestamp so far, milliseconds; -1 before the first record. */
	maxTimestamp = -1;
	readonly #pool: BufferPool;
	readonly #leaderEpoch: number;
	#buffer: Buffer = NONE;
	#baseTimestamp = 0;
	#firstBytes = 0;

	/** `leaderEpoch`: of all its batches. */
	constructor(pool: BufferPool, leaderEpoch = 0) {
		this.#pool = pool;
		this.#leaderEpoch = leaderEpoch;
	}

	/** Begins a batch whose first record has this offset and timestamp (milliseconds). */
	begin(baseOffset: number, timestampMs: number): void {
		if (this.#buffer !== NONE) throw new Error("a batch is already begun");
		if (!Number.isSafeInteger(timestampMs)) throw new RangeError(`timestamp ${timestampMs}`);
		this.#buffer = this.#pool.take(this.#firstBytes);
		this.baseOffset = baseOffset;
		this.#baseTimestamp = timestampMs;
		this.count = 0;
		this.maxTimestamp = -1;
		this.sizeBytes = BATCH_HEADER_BYTES;
	}

	/**
	 * Appends one record, whose value is `source[start..end)`, or null when `start` is negative. Blocks
	 * as of `encodeKeyBlock` and `encodeHeadersBlock`. Returns the record's offset.
	 */
	append(
		timestampMs: number,
		keyBlock: Uint8Array,
		source: Uint8Array,
		start: number,
		end: number,
		headersBlock: Uint8Array,
	): number {
		const valueBytes = start < 0 ? -1 : end - start;
		const offsetDelta = this.count;
		const timestampDelta = timestampMs - this.#baseTimestamp;
		const bodyBytes =
			1 +
			varlongSize(timestampDelta) +
			varintSize(offsetDelta) +
			keyBlock.length +
			varintSize(valueBytes) +
			Math.max(valueBytes, 0) +
			headersBlock.length;
		let at = this.sizeBytes;
		let buffer = this.#buffer;
		if (at + bodyBytes + RECORD_OVERHEAD_BYTES > buffer.length) buffer = this.#grow(bodyBytes + RECORD_OVERHEAD_BYTES);
		at = writeUnsignedVarint(buffer, at, bodyBytes << 1);
		buffer[at++] = 0;
		at = writeVarlong(buffer, at, timestampDelta);
		at = writeUnsignedVarint(buffer, at, offsetDelta << 1);
		at = copy(buffer, at, keyBlock, 0, keyBlock.length);
		at = writeVarint(buffer, at, valueBytes);
		if (valueBytes > 0) at = copy(buffer, at, source, start, end);
		at = copy(buffer, at, headersBlock, 0, headersBlock.length);
		this.sizeBytes = at;
		this.count = offsetDelta + 1;
		if (timestampMs > this.maxTimestamp) this.maxTimestamp = timestampMs;
		return this.baseOffset + offsetDelta;
	}

	/**
	 * Writes the header and the checksum. Returns the batch: a view of a whole pool buffer, which is the
	 * caller's from here. The builder holds nothing until the next `begin`.
	 */
	seal(): Buffer {
		const { count, sizeBytes } = this;
		if (count === 0) throw new Error("a batch needs a record");
		const batch = this.#buffer.subarray(0, sizeBytes);
		writeBatchHeader(batch, sizeBytes, {
			baseOffset: this.baseOffset,
			leaderEpoch: this.#leaderEpoch,
			attributes: 0,
			lastOffsetDelta: count - 1,
			baseTimestamp: this.#baseTimestamp,
			maxTimestamp: this.maxTimestamp,
			producerId: -1,
			producerEpoch: -1,
			baseSequence: -1,
			count,
		});
		batch.writeUInt32BE(crc32c(batch, CRC_COVERS_FROM), CRC_POSITION);
		this.#buffer = NONE;
		this.#firstBytes = Math.min(sizeBytes, FIRST_BYTES_MAX);
		this.baseOffset += count;
		this.count = 0;
		this.sizeBytes = 0;
		this.maxTimestamp = -1;
		return batch;
	}

	#grow(moreBytes: number): Buffer {
		const before = this.#buffer;
		if (before === NONE) throw new Error("no batch is begun");
		const after = this.#pool.take(Math.max(this.sizeBytes + moreBytes, 2 * before.length));
		copyBytes.call(before, after, 0, 0, this.sizeBytes);
		this.#pool.give(before);
		this.#buffer = after;
		return after;
	}
}

const NONE = Buffer.alloc(0);

/** Copies `source[start..end)` to `target[at…]`; returns the position after. */
export function copy(target: Buffer, at: number, source: Uint8Array, start: number, end: number): number {
	if (end - start >= COPY_BY_LOOP_BYTES) {
		copyBytes.call(source, target, at, start, end);
		return at + (end - start);
	}
	let to = at;
	let from = start;
	// Eight at a time: half the time of one by one.
	for (const last = end - 8; from <= last; from += 8, to += 8) {
		target[to] = source[from] as number;
		target[to + 1] = source[from + 1] as number;
		target[to + 2] = source[from + 2] as number;
		target[to + 3] = source[from + 3] as number;
		target[to + 4] = source[from + 4] as number;
		target[to + 5] = source[from + 5] as number;
		target[to + 6] = source[from + 6] as number;
		target[to + 7] = source[from + 7] as number;
	}
	for (; from < end; from++) target[to++] = source[from] as number;
	return to;
}
