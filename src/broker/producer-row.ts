/**
 * The row of one idempotent producer in one partition:
 *
 *     format u8 = 1, epoch i16, coordinatorEpoch i32, lastTimestamp i64, writtenMs i64, count u8,
 *     count times: baseSequence i32, lastSequence i32, baseOffset i64, timestamp i64
 */

/** So many of a producer's last batches are known again when they come once more. */
export const PRODUCER_BATCHES = 5;

const FORMAT = 1;
const HEAD_BYTES = 24;
const BATCH_BYTES = 24;

interface ProducerBatch {
	readonly baseSequence: number;
	readonly lastSequence: number;
	readonly baseOffset: number;
	/** The largest of its records', milliseconds since 1970. */
	readonly timestamp: number;
}

export interface ProducerRow {
	readonly epoch: number;
	/** -1: no marker of it was written. */
	readonly coordinatorEpoch: number;
	/** Of its last batch or marker, milliseconds since 1970. */
	readonly lastTimestamp: number;
	/** When it wrote last by the broker's clock. */
	readonly writtenMs: number;
	/** Of this epoch, oldest first. */
	readonly batches: readonly ProducerBatch[];
}

export function encodeProducerRow(row: ProducerRow): Buffer {
	const bytes = Buffer.allocUnsafe(HEAD_BYTES + row.batches.length * BATCH_BYTES);
	bytes[0] = FORMAT;
	bytes.writeInt16BE(row.epoch, 1);
	bytes.writeInt32BE(row.coordinatorEpoch, 3);
	writeInt53(bytes, row.lastTimestamp, 7);
	writeInt53(bytes, row.writtenMs, 15);
	bytes[23] = row.batches.length;
	let at = HEAD_BYTES;
	for (const batch of row.batches) {
		bytes.writeInt32BE(batch.baseSequence, at);
		bytes.writeInt32BE(batch.lastSequence, at + 4);
		writeInt53(bytes, batch.baseOffset, at + 8);
		writeInt53(bytes, batch.timestamp, at + 16);
		at += BATCH_BYTES;
	}
	return bytes;
}

export function decodeProducerRow(value: Uint8Array): ProducerRow {
	const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
	if (bytes[0] !== FORMAT) throw new Error(`a producer's row in format ${bytes[0]}; this version knows ${FORMAT}`);
	const batches: ProducerBatch[] = [];
	for (let at = HEAD_BYTES, i = bytes[23] as number; i > 0; i--, at += BATCH_BYTES)
		batches.push({
			baseSequence: bytes.readInt32BE(at),
			lastSequence: bytes.readInt32BE(at + 4),
			baseOffset: readInt53(bytes, at + 8),
			timestamp: readInt53(bytes, at + 16),
		});
	return {
		epoch: bytes.readInt16BE(1),
		coordinatorEpoch: bytes.readInt32BE(3),
		lastTimestamp: readInt53(bytes, 7),
		writtenMs: readInt53(bytes, 15),
		batches,
	};
}

function writeInt53(bytes: Buffer, value: number, at: number): void {
	const high = Math.floor(value / 0x1_0000_0000);
	bytes.writeInt32BE(high, at);
	bytes.writeUInt32BE(value - high * 0x1_0000_0000, at + 4);
}

function readInt53(bytes: Buffer, at: number): number {
	return bytes.readInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
}
