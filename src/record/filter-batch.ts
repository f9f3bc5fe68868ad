/**
 * A batch with some of its records taken out, as compaction does it: base offset, last offset, producer and codec
 * stay, what is left of the records keeps its offsets and timestamps. Where tombstones or a marker wait to be
 * removed, the batch carries when that may be (Kafka's delete horizon: it takes the place of the base timestamp).
 */
import {
	ATTRIBUTE_DELETE_HORIZON,
	BATCH_HEADER_BYTES,
	type BatchHeader,
	CRC_COVERS_FROM,
	CRC_POSITION,
	writeBatchHeader,
} from "./batch-header.ts";
import { compress } from "./compression.ts";
import { crc32c } from "./crc32c.ts";
import { RecordView } from "./record-view.ts";
import { varintSize, varlongSize, writeVarint, writeVarlong } from "./varint.ts";

/** `until the horizon`: it stays, and the batch gets a delete horizon unless it has one. */
export type Fate = "goes" | "stays" | "stays until the horizon";

export interface FilterOptions {
	/** Milliseconds since 1970: what a batch without a delete horizon gets, where it needs one. */
	readonly horizonMs: number;
	/** Of gzip and zstd, where the records are compressed anew. */
	readonly level: number | undefined;
	readonly maxDecompressedBytes: number;
}

/** For each record that stays: where it begins, where its key does, where it ends, its offset and its timestamp. */
const FIELDS = 5;

/**
 * `batch` itself where nothing changes, undefined where no record is left. `batch` begins at its buffer's start and
 * `header` is its own. Does not check the checksum. Throws BatchError.
 */
export function filterBatch(
	batch: Buffer,
	header: BatchHeader,
	fate: (view: RecordView) => Fate,
	options: FilterOptions,
): Buffer | undefined {
	const view = new RecordView(batch, 0, header, options.maxDecompressedBytes);
	const kept: number[] = [];
	let waits = false;
	let maxTimestamp = -1;
	while (view.next()) {
		const its = fate(view);
		if (its === "goes") continue;
		if (its === "stays until the horizon") waits = true;
		if (view.timestamp > maxTimestamp) maxTimestamp = view.timestamp;
		kept.push(view.start, view.keyLengthStart, view.end, view.offset, view.timestamp);
	}
	const count = kept.length / FIELDS;
	const setsHorizon = waits && !header.hasDeleteHorizon;
	if (count === header.count && !setsHorizon) return batch;
	if (count === 0) return undefined;
	const baseTimestamp = setsHorizon ? options.horizonMs : header.baseTimestamp;
	const plain = setsHorizon ? rewritten(view.source, kept, header, baseTimestamp) : copied(view.source, kept);
	const body = header.codec === "none" ? plain : compress(header.codec, plain, options.level);
	const filtered = Buffer.allocUnsafeSlow(BATCH_HEADER_BYTES + body.length);
	writeBatchHeader(filtered, filtered.length, {
		...header,
		attributes: header.attributes | (setsHorizon ? ATTRIBUTE_DELETE_HORIZON : 0),
		baseTimestamp,
		maxTimestamp: header.timestampType === "append" ? header.maxTimestamp : maxTimestamp,
		count,
	});
	body.copy(filtered, BATCH_HEADER_BYTES);
	filtered.writeUInt32BE(crc32c(filtered, CRC_COVERS_FROM), CRC_POSITION);
	return filtered;
}

/** Their bytes as they are: what they count from has not changed. */
function copied(source: Buffer, kept: readonly number[]): Buffer {
	let size = 0;
	for (let i = 0; i < kept.length; i += FIELDS) size += (kept[i + 2] as number) - (kept[i] as number);
	const bytes = Buffer.allocUnsafe(size);
	let at = 0;
	for (let i = 0; i < kept.length; i += FIELDS) at += source.copy(bytes, at, kept[i] as number, kept[i + 2] as number);
	return bytes;
}

/** With timestamps that count from `baseTimestamp`. */
function rewritten(source: Buffer, kept: readonly number[], header: BatchHeader, baseTimestamp: number): Buffer {
	const sizes: number[] = [];
	let size = 0;
	for (let i = 0; i < kept.length; i += FIELDS) {
		const [, body, end, offset, timestamp] = kept.slice(i, i + FIELDS) as [number, number, number, number, number];
		const inner = 1 + varlongSize(timestamp - baseTimestamp) + varintSize(offset - header.baseOffset) + (end - body);
		sizes.push(inner);
		size += varintSize(inner) + inner;
	}
	const bytes = Buffer.allocUnsafe(size);
	let at = 0;
	for (let i = 0; i < kept.length; i += FIELDS) {
		const [, body, end, offset, timestamp] = kept.slice(i, i + FIELDS) as [number, number, number, number, number];
		at = writeVarint(bytes, at, sizes[i / FIELDS] as number);
		bytes[at++] = 0;
		at = writeVarlong(bytes, at, timestamp - baseTimestamp);
		at = writeVarint(bytes, at, offset - header.baseOffset);
		at += source.copy(bytes, at, body, end);
	}
	return bytes;
}
