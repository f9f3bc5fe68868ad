/**
 * The bytes of a retained message's row, which has its topic as the key. Version 1, big-endian:
 *   u8 1, u8 QoS, f64 timestamp (milliseconds), f64 seconds to its expiry (-1: never), i48 partition, f64 offset,
 *   u32 bytes of the properties, properties (MQTT 5, encoded), payload, u32 CRC-32C of all before it
 */
import { crc32c } from "../../src/record/crc32c.ts";
import type { RetainedMessage } from "./retained-store.ts";

const VERSION = 1;
const QOS_AT = 1;
const TIMESTAMP_AT = 2;
const EXPIRY_AT = 10;
const PARTITION_AT = 18;
const PARTITION_BYTES = 6;
const OFFSET_AT = PARTITION_AT + PARTITION_BYTES;
const PROPERTIES_AT = 32;
const HEAD_BYTES = 36;
const CRC_BYTES = 4;
/** Of every row. */
export const FRAME_BYTES = HEAD_BYTES + CRC_BYTES;

/** The memory that rows are taken out of, and where it is free. */
const PIECE_BYTES = 32 * 1024;
let piece = Buffer.alloc(0);
let pieceAt = 0;

export function encodeRow({
	payload,
	qos,
	timestampMs,
	expirySeconds,
	propertiesBlock,
	partition,
	offset,
}: RetainedMessage): Buffer {
	const row = take(FRAME_BYTES + propertiesBlock.length + payload.length);
	row[0] = VERSION;
	row[QOS_AT] = qos;
	row.writeDoubleBE(timestampMs, TIMESTAMP_AT);
	row.writeDoubleBE(expirySeconds, EXPIRY_AT);
	row.writeIntBE(partition, PARTITION_AT, PARTITION_BYTES);
	row.writeDoubleBE(offset, OFFSET_AT);
	row.writeUInt32BE(propertiesBlock.length, PROPERTIES_AT);
	let at = HEAD_BYTES;
	at += propertiesBlock.copy(row, at);
	at += payload.copy(row, at);
	row.writeUInt32BE(crc32c(row, 0, at), at);
	return row;
}

/**
 * Memory for a row that stays until the next checkpoint. Out of pieces that only rows share: in Node's pool their
 * short-lived neighbours would stay with them, and memory of its own for each costs more than a small row.
 */
function take(bytes: number): Buffer {
	if (bytes > PIECE_BYTES / 8) return Buffer.allocUnsafeSlow(bytes);
	if (pieceAt + bytes > piece.length) {
		piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
		pieceAt = 0;
	}
	pieceAt += bytes;
	return piece.subarray(pieceAt - bytes, pieceAt);
}

/** Undefined: it does not prove sound. */
export function decodeRow(topic: string, row: Buffer): RetainedMessage | undefined {
	const end = row.length - CRC_BYTES;
	if (end < HEAD_BYTES || row[0] !== VERSION || row.readUInt32BE(end) !== crc32c(row, 0, end)) return undefined;
	const qos = row[QOS_AT];
	const payloadAt = HEAD_BYTES + row.readUInt32BE(PROPERTIES_AT);
	if ((qos !== 0 && qos !== 1 && qos !== 2) || payloadAt > end) return undefined;
	return {
		topic,
		payload: row.subarray(payloadAt, end),
		qos,
		timestampMs: row.readDoubleBE(TIMESTAMP_AT),
		expirySeconds: row.readDoubleBE(EXPIRY_AT),
		propertiesBlock: row.subarray(HEAD_BYTES, payloadAt),
		partition: row.readIntBE(PARTITION_AT, PARTITION_BYTES),
		offset: row.readDoubleBE(OFFSET_AT),
	};
}

export function expires(row: Buffer): boolean {
	return row.length >= FRAME_BYTES && row.readDoubleBE(EXPIRY_AT) >= 0;
}

export function isExpired(row: Buffer, nowMs: number): boolean {
	return expires(row) && row.readDoubleBE(TIMESTAMP_AT) + row.readDoubleBE(EXPIRY_AT) * 1000 <= nowMs;
}

export function payloadBytes(row: Buffer): number {
	return row.length < FRAME_BYTES ? 0 : Math.max(0, row.length - FRAME_BYTES - row.readUInt32BE(PROPERTIES_AT));
}

export function bufferOf(bytes: Uint8Array): Buffer {
	return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
