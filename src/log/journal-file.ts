/**
 * One file of the journal: its header, twice in blocks of their own, then entries. Files are made full of zeros and used
 * again and again (a write into an existing block needs no metadata: one flash write, not three);
 * each use has its own generation and salt.
 */

import type { DiskFile } from "../base/disk.ts";
import { DamageError } from "../base/errors.ts";
import { readBatchHeader } from "../record/batch.ts";
import { crc32c } from "../record/crc32c.ts";
import {
	type AppendOperation,
	BLOCK_BYTES,
	type EntryHeader,
	type FileStamp,
	type Operations,
	paddedBytes,
	readEntryHeader,
	readOperations,
	readUint53,
	type StoredAppend,
	writeUint53,
} from "./entry.ts";

export const JOURNAL_SUFFIX = ".journal";
export const JOURNAL_MAGIC = 0x48574a46; // "HWJF"
export const JOURNAL_FORMAT = 1;
const HEADER_CRC_POSITION = 32;
/** The header and its copy: one damaged block must not cost a file of acknowledged entries. */
export const HEADER_BYTES = 2 * BLOCK_BYTES;

/** No entry is longer, its padding included. */
export const MAX_ENTRY_BYTES = 16 * 1024 * 1024;

export interface JournalHeader extends FileStamp {
	readonly firstSequence: number;
}

/** Fills `target`, HEADER_BYTES long. */
export function writeJournalHeader(target: Buffer, header: JournalHeader): void {
	target.fill(0);
	for (const at of [0, BLOCK_BYTES]) {
		target.writeUInt32BE(JOURNAL_MAGIC, at);
		target.writeUInt16BE(JOURNAL_FORMAT, at + 4);
		writeUint53(target, header.generation, at + 8);
		writeUint53(target, header.firstSequence, at + 16);
		target.writeUInt32BE(header.salt, at + 24);
		target.writeUInt32BE(BLOCK_BYTES, at + 28);
		target.writeUInt32BE(crc32c(target, at, at + HEADER_CRC_POSITION), at + HEADER_CRC_POSITION);
	}
}

/** The header of the file's newest use; undefined: never used, or its header was never finished. A newer format throws. */
export function readJournalHeader(file: DiskFile): JournalHeader | undefined {
	return newestHeader(readHeaderCopies(file));
}

/** Where the copies differ, the one of the later use counts. */
export function newestHeader(copies: readonly (JournalHeader | undefined)[]): JournalHeader | undefined {
	return copies.filter((copy) => copy !== undefined).sort((a, b) => b.generation - a.generation)[0];
}

/** Both copies, undefined where one is not sound. */
export function readHeaderCopies(file: DiskFile): (JournalHeader | undefined)[] {
	const bytes = Buffer.alloc(HEADER_BYTES);
	if (file.readSync(bytes, 0) < HEADER_BYTES) return [undefined, undefined];
	return [0, BLOCK_BYTES].map((at) => {
		if (bytes.readUInt32BE(at) !== JOURNAL_MAGIC) return undefined;
		if (bytes.readUInt32BE(at + HEADER_CRC_POSITION) !== crc32c(bytes, at, at + HEADER_CRC_POSITION)) return undefined;
		const format = bytes.readUInt16BE(at + 4);
		if (format !== JOURNAL_FORMAT) throw new DamageError(file.path, at + 4, `journal format ${format} is not known`);
		return {
			generation: readUint53(bytes, at + 8),
			firstSequence: readUint53(bytes, at + 16),
			salt: bytes.readUInt32BE(at + 24),
		};
	});
}

/** An entry as found. `bad` lists appends whose batch is damaged. */
export interface ReadEntry {
	readonly position: number;
	readonly header: EntryHeader;
	/** The whole entry; only its head, where a checkpoint has it. */
	readonly bytes: Buffer;
	readonly operations: Operations;
	readonly bad: readonly StoredAppend[];
}

export interface NoEntry {
	readonly position: number;
	readonly why: string;
}

/** Reads the entry at `position` that must have `sequence`, checking all of it; only its head up to `checkpointSequence`. */
export function readEntry(
	file: DiskFile,
	sizeBytes: number,
	stamp: FileStamp,
	position: number,
	sequence: number,
	checkpointSequence = 0,
): ReadEntry | NoEntry {
	const first = readHeaderAt(file, sizeBytes, stamp, position);
	if (typeof first === "string") return { position, why: first };
	if (first.sequence !== sequence) return { position, why: `sequence ${first.sequence} where ${sequence} belongs` };
	return readWhole(file, stamp, position, first, sequence <= checkpointSequence);
}

/**
 * The next entry behind `position` with a sequence above `sequence`, if there is one: the sign that
 * the bytes at `position` were once an acknowledged entry, since entry n+1 is written only when
 * entry n is durable. Looks as far as the longest entry reaches.
 */
export function findLaterEntry(
	file: DiskFile,
	sizeBytes: number,
	stamp: FileStamp,
	position: number,
	sequence: number,
): ReadEntry | undefined {
	const end = Math.min(sizeBytes, position + MAX_ENTRY_BYTES + BLOCK_BYTES);
	for (let at = position + BLOCK_BYTES; at < end; at += BLOCK_BYTES) {
		const header = readHeaderAt(file, sizeBytes, stamp, at);
		if (typeof header === "string" || header.sequence <= sequence) continue;
		const entry = readWhole(file, stamp, at, header);
		if ("operations" in entry) return entry;
	}
	return undefined;
}

const headerBytes = Buffer.alloc(64);

function readHeaderAt(file: DiskFile, sizeBytes: number, stamp: FileStamp, position: number): EntryHeader | string {
	const limit = sizeBytes - position;
	if (limit < BLOCK_BYTES) return "end of file";
	file.readSync(headerBytes, position);
	const header = readEntryHeader(headerBytes, 0, Math.min(limit, MAX_ENTRY_BYTES));
	if (typeof header !== "string" && header.generation !== stamp.generation)
		return "an entry of an earlier use of this file";
	return header;
}

function readWhole(
	file: DiskFile,
	stamp: FileStamp,
	position: number,
	header: EntryHeader,
	headOnly = false,
): ReadEntry | NoEntry {
	const bytes = Buffer.allocUnsafeSlow(headOnly ? header.headBytes : header.totalBytes);
	if (file.readSync(bytes, position) < bytes.length) return { position, why: "cut short" };
	const operations = readOperations(bytes, header, stamp.salt);
	if (typeof operations === "string") return { position, why: operations };
	return {
		position,
		header,
		bytes,
		operations,
		bad: headOnly ? [] : operations.appends.filter((append) => !batchIsSound(bytes, append)),
	};
}

/** Whether the batch is the one that was written: its CRC-32C, and what that does not cover. */
function batchIsSound(entry: Buffer, append: StoredAppend): boolean {
	const { position, sizeBytes } = append;
	try {
		const header = readBatchHeader(entry, position, position + sizeBytes);
		return (
			header.sizeBytes === sizeBytes &&
			header.baseOffset === append.baseOffset &&
			header.crc === append.batchCrc &&
			header.lastOffsetDelta + 1 === append.offsets &&
			crc32c(entry, position + 21, position + sizeBytes) === append.batchCrc
		);
	} catch {
		return false;
	}
}

/** The appends of `entry` whose batches are sound, as they were written; views of its bytes. */
export function soundAppends(entry: ReadEntry): AppendOperation[] {
	return entry.operations.appends
		.filter((append) => !entry.bad.includes(append))
		.map(({ partitionId, baseOffset, offsets, position, sizeBytes }) => {
			const batch = entry.bytes.subarray(position, position + sizeBytes);
			return { partitionId, batch, baseOffset, offsets, pooled: false };
		});
}

/** Where the entry after `entry` begins. */
export function positionAfter(entry: ReadEntry): number {
	return entry.position + paddedBytes(entry.header.totalBytes);
}
