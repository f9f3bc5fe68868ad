/** What a log changes in a batch before it stores it, where its topic asks for that: its time, its codec. */
import {
	ATTRIBUTE_APPEND_TIME,
	ATTRIBUTE_CODEC,
	BATCH_HEADER_BYTES,
	BatchError,
	type BatchHeader,
	CODECS,
	CRC_COVERS_FROM,
	CRC_POSITION,
	LENGTH_COUNTS_FROM,
	setMaxTimestamp,
} from "./batch-header.ts";
import { type Codec, compress, decompress } from "./compression.ts";
import { CompressionError } from "./compression-error.ts";
import { crc32c } from "./crc32c.ts";

/** Makes `timestampMs` the time of every record of the batch, in place: the log set it, not the producer. */
export function stampAppendTime(batch: Buffer, timestampMs: number): void {
	batch.writeInt16BE(batch.readInt16BE(21) | ATTRIBUTE_APPEND_TIME, 21);
	setMaxTimestamp(batch, 0, timestampMs);
	sum(batch);
}

/**
 * The same batch with its records in another codec; `header` is that of `batch`. `level` as for `compress`. Throws
 * BatchError RECORD_LIST_TOO_LARGE where more than `maxDecompressedBytes` come out of it.
 */
export function recompress(
	batch: Buffer,
	header: BatchHeader,
	codec: Codec,
	level: number | undefined,
	maxDecompressedBytes: number,
): Buffer {
	let plain: Buffer = batch.subarray(BATCH_HEADER_BYTES, header.sizeBytes);
	if (header.codec !== "none") {
		try {
			plain = decompress(header.codec, plain, maxDecompressedBytes);
		} catch (error) {
			if (!(error instanceof CompressionError)) throw error;
			throw new BatchError(BATCH_HEADER_BYTES, error.reason, error.message, { cause: error });
		}
	}
	const body = codec === "none" ? plain : compress(codec, plain, level);
	const changed = Buffer.allocUnsafeSlow(BATCH_HEADER_BYTES + body.length);
	batch.copy(changed, 0, 0, BATCH_HEADER_BYTES);
	body.copy(changed, BATCH_HEADER_BYTES);
	changed.writeInt32BE(changed.length - LENGTH_COUNTS_FROM, 8);
	changed.writeInt16BE((batch.readInt16BE(21) & ~ATTRIBUTE_CODEC) | CODECS.indexOf(codec), 21);
	sum(changed);
	return changed;
}

function sum(batch: Buffer): void {
	batch.writeUInt32BE(crc32c(batch, CRC_COVERS_FROM), CRC_POSITION);
}
