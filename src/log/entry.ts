/**
 * Journal entries: the bytes of one commit. docs/disk-format.md has the layout.
 *
 *   head   fixed header, then one operation after another; one CRC-32C over all of it
 *   body   the record batches that the append operations name, in their order; each has its own
 *          CRC-32C, and the bytes of it that Kafka's CRC does not cover stand in the operation
 *
 * An entry begins on a block boundary and is padded to one, so that no later entry shares a block
 * with it: a block that holds acknowledged bytes is never written again.
 */
import { crc32c } from "../record/crc32c.ts";

export const BLOCK_BYTES = 4096;
export const ENTRY_MAGIC = 0x48574a45; // "HWJE"
export const ENTRY_FORMAT = 1;
export const ENTRY_HEADER_BYTES = 40;
const CRC_POSITION = 36;

const OP_APPEND = 1;
const OP_PUT = 2;
const OP_DELETE = 3;
const APPEND_BYTES = 1 + 4 + 8 + 4 + 4 + 4;

/**
 * What ties an entry to one use of one journal file. The salt is random and seeds the CRC: bytes of
 * an earlier use, or bytes that a client chose, never pass for an entry.
 */
export interface FileStamp {
	readonly generation: number;
	readonly salt: number;
}

/** A batch and the partition it goes to. */
export interface AppendOperation {
	readonly partitionId: number;
	readonly batch: Buffer;
	readonly baseOffset: number;
	/** Records, by offsets: the next batch begins at baseOffset + offsets. */
	readonly offsets: number;
	/** Whether the batch's memory is a buffer of the log's pool, and its alone. */
	readonly pooled: boolean;
}

/** Memory that holding a batch takes. A pool's buffer is held whole; others share one with what they came with. */
export function heldBytes({ batch, pooled }: AppendOperation): number {
	return pooled ? batch.buffer.byteLength : batch.length;
}

export interface StateOperation {
	readonly space: number;
	readonly key: string;
	/** undefined deletes. */
	readonly value: Uint8Array | undefined;
}

export interface EntryHeader {
	readonly generation: number;
	readonly sequence: number;
	readonly headBytes: number;
	/** Head and body, without the padding. */
	readonly totalBytes: number;
	readonly operations: number;
}

/** An append as read back: its batch lies at `position` of the body and is not yet checked. */
export interface StoredAppend {
	readonly partitionId: number;
	readonly baseOffset: number;
	readonly offsets: number;
	readonly batchCrc: number;
	/** From the entry's first byte. */
	readonly position: number;
	readonly sizeBytes: number;
}

/** Bytes of the blocks that an entry of `totalBytes` takes. */
export function paddedBytes(totalBytes: number): number {
	return Math.ceil(totalBytes / BLOCK_BYTES) * BLOCK_BYTES;
}

export function headBytesFor(appends: number, state: readonly StateOperation[]): number {
	let bytes = ENTRY_HEADER_BYTES + appends * APPEND_BYTES;
	for (const { key, value } of state)
		bytes += 4 + Buffer.byteLength(key) + (value === undefined ? 0 : 4 + value.length);
	return bytes;
}

/** Writes the head into `target`, which has `headBytesFor` bytes or more; returns how many it took. */
export function writeHead(
	target: Buffer,
	stamp: FileStamp,
	sequence: number,
	appends: readonly AppendOperation[],
	state: readonly StateOperation[],
): number {
	let at = ENTRY_HEADER_BYTES;
	let totalBytes = 0;
	for (const { partitionId, batch, baseOffset, offsets } of appends) {
		target[at] = OP_APPEND;
		target.writeUInt32BE(partitionId, at + 1);
		writeUint53(target, baseOffset, at + 5);
		target.writeUInt32BE(batch.length, at + 13);
		batch.copy(target, at + 17, 17, 21); // the batch's own CRC
		target.writeUInt32BE(offsets, at + 21);
		at += APPEND_BYTES;
		totalBytes += batch.length;
	}
	for (const { space, key, value } of state) {
		const keyBytes = Buffer.byteLength(key);
		target[at] = value === undefined ? OP_DELETE : OP_PUT;
		target[at + 1] = space;
		target.writeUInt16BE(keyBytes, at + 2);
		at += 4;
		if (value !== undefined) {
			target.writeUInt32BE(value.length, at);
			at += 4;
		}
		at += target.write(key, at);
		if (value !== undefined) {
			target.set(value, at);
			at += value.length;
		}
	}
	target.writeUInt32BE(ENTRY_MAGIC, 0);
	target.writeUInt16BE(ENTRY_FORMAT, 4);
	target.writeUInt16BE(0, 6);
	writeUint53(target, stamp.generation, 8);
	writeUint53(target, sequence, 16);
	target.writeUInt32BE(at, 24);
	target.writeUInt32BE(at + totalBytes, 28);
	target.writeUInt32BE(appends.length + state.length, 32);
	target.writeUInt32BE(headCrc(target, at, stamp.salt), CRC_POSITION);
	return at;
}

/** The header at `position`, or what is wrong with it. The lengths are checked against `limit` bytes, the CRC is not. */
export function readEntryHeader(bytes: Buffer, position: number, limit: number): EntryHeader | string {
	if (bytes.length - position < ENTRY_HEADER_BYTES) return "cut short";
	if (bytes.readUInt32BE(position) !== ENTRY_MAGIC) return "no entry begins here";
	const format = bytes.readUInt16BE(position + 4);
	if (format !== ENTRY_FORMAT) return `entry format ${format} is not known`;
	const header: EntryHeader = {
		generation: readUint53(bytes, position + 8),
		sequence: readUint53(bytes, position + 16),
		headBytes: bytes.readUInt32BE(position + 24),
		totalBytes: bytes.readUInt32BE(position + 28),
		operations: bytes.readUInt32BE(position + 32),
	};
	if (header.headBytes < ENTRY_HEADER_BYTES || header.headBytes > header.totalBytes)
		return "lengths contradict each other";
	if (header.totalBytes > limit) return "longer than the file";
	return header;
}

export interface Operations {
	readonly appends: StoredAppend[];
	readonly state: StateOperation[];
}

/** Checks the head's CRC and reads its operations. `entry` holds at least the head. */
export function readOperations(entry: Buffer, header: EntryHeader, salt: number): Operations | string {
	if (entry.readUInt32BE(CRC_POSITION) !== headCrc(entry, header.headBytes, salt)) return "the head's CRC-32C is wrong";
	const appends: StoredAppend[] = [];
	const state: StateOperation[] = [];
	let at = ENTRY_HEADER_BYTES;
	let body = header.headBytes;
	for (let i = 0; i < header.operations; i++) {
		const left = header.headBytes - at;
		const type = entry[at];
		if (type === OP_APPEND && left >= APPEND_BYTES) {
			const sizeBytes = entry.readUInt32BE(at + 13);
			appends.push({
				partitionId: entry.readUInt32BE(at + 1),
				baseOffset: readUint53(entry, at + 5),
				sizeBytes,
				batchCrc: entry.readUInt32BE(at + 17),
				offsets: entry.readUInt32BE(at + 21),
				position: body,
			});
			body += sizeBytes;
			at += APPEND_BYTES;
		} else if (type === OP_PUT && left >= 8) {
			const space = entry[at + 1] as number;
			const keyEnd = at + 8 + entry.readUInt16BE(at + 2);
			const end = keyEnd + entry.readUInt32BE(at + 4);
			if (end > header.headBytes) return "an operation is cut short";
			state.push({
				space,
				key: entry.toString("utf8", at + 8, keyEnd),
				value: Buffer.from(entry.subarray(keyEnd, end)),
			});
			at = end;
		} else if (type === OP_DELETE && left >= 4) {
			const end = at + 4 + entry.readUInt16BE(at + 2);
			if (end > header.headBytes) return "an operation is cut short";
			state.push({ space: entry[at + 1] as number, key: entry.toString("utf8", at + 4, end), value: undefined });
			at = end;
		} else return `operation ${i} is of unknown type ${type}`;
	}
	if (at !== header.headBytes || body !== header.totalBytes) return "lengths contradict each other";
	return { appends, state };
}

/** Big-endian, as 64 bits; the largest safe integer is enough for 285,000 years of microseconds. */
export function writeUint53(target: Buffer, value: number, at: number): void {
	target.writeUInt32BE(Math.floor(value / 0x1_0000_0000), at);
	target.writeUInt32BE(value >>> 0, at + 4);
}

export function readUint53(source: Buffer, at: number): number {
	return source.readUInt32BE(at) * 0x1_0000_0000 + source.readUInt32BE(at + 4);
}

function headCrc(head: Buffer, headBytes: number, salt: number): number {
	return crc32c(head, CRC_POSITION + 4, headBytes, crc32c(head, 0, CRC_POSITION, salt));
}
