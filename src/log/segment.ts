/**
 * One segment of a partition: record batches in Kafka's file layout with a sparse offset index and
 * time index beside them, such that Kafka's own tools read them. The segment holds committed
 * batches only, in offset order; it is durable as far as the last checkpoint, the journal has the rest.
 */

import type { TakeBuffer } from "../base/buffer-pool.ts";
import { type Disk, type DiskFile, joinPath } from "../base/disk.ts";
import type { SegmentExtent, SegmentState } from "../catalog/partition-rows.ts";
import { BATCH_HEADER_BYTES, type BatchHeader, readBatchHeader } from "../record/batch.ts";
import { crc32c } from "../record/crc32c.ts";
import { BLOCK_BYTES, readUint53, writeUint53 } from "./entry.ts";
import { EntryFile } from "./entry-file.ts";
import { INDEX_SUFFIX, LOG_SUFFIX, segmentName, TIME_INDEX_SUFFIX } from "./layout.ts";

export const INDEX_ENTRY_BYTES = 8;
export const TIME_ENTRY_BYTES = 12;
/** An index entry has 31 bits for offsets and positions. */
const RELATIVE_MAX = 0x7fff_ffff;
const SCAN_BYTES = 256 * 1024;
/** So many index entries are tried, from the best one back, before all of the segment is walked. */
const LOOK_UP_TRIES = 4;

/** What a scan of a segment's batches came to. */
export interface ScanResult {
	/** Bytes of sound batches from where the scan began, and the file position after them. */
	readonly endPosition: number;
	/** Offset after the last sound batch. */
	readonly nextOffset: number;
	/** Why it ended before the end of the file. */
	readonly problem: string | undefined;
}

export class Segment {
	readonly baseOffset: number;
	readonly path: string;
	readonly #disk: Disk;
	readonly #index: EntryFile;
	readonly #timeIndex: EntryFile;
	#file: DiskFile | undefined;
	#reads = 0;
	#closeWanted = false;
	#retired = false;
	sizeBytes: number;
	/** Written since the last sync. */
	dirty = false;
	/** Largest timestamp of a record, and the last offset of the batch it is in; -1 while empty. */
	#maxTimestamp: number | undefined;
	#maxTimestampOffset = -1;
	/** Timestamp of the first batch: the segment's age counts from it. -1 while empty. */
	firstTimestamp = -1;
	/** Compaction wrote it: offsets may be missing in it, and it is right so. */
	readonly isCleaned: boolean;
	#sinceIndexEntry = 0;

	/** `suffix` comes behind the names of its files: one that is not a part of the log yet. */
	constructor(disk: Disk, folder: string, baseOffset: number, { isCleaned = false, suffix = "" } = {}) {
		this.#disk = disk;
		this.baseOffset = baseOffset;
		this.isCleaned = isCleaned;
		const name = joinPath(folder, segmentName(baseOffset));
		this.path = name + LOG_SUFFIX + suffix;
		this.#index = new EntryFile(disk, name + INDEX_SUFFIX + suffix, INDEX_ENTRY_BYTES);
		this.#timeIndex = new EntryFile(disk, name + TIME_INDEX_SUFFIX + suffix, TIME_ENTRY_BYTES);
		this.sizeBytes = disk.fileSize(this.path) ?? 0;
	}

	/** Largest record timestamp; from the time index where the segment was not written by this process, if that tells the truth. */
	get maxTimestamp(): number {
		if (this.#maxTimestamp === undefined) {
			const last = this.#timeEntry(this.#timeIndex.count - 1);
			this.#maxTimestamp = last?.timestamp ?? this.#largestInHeaders();
		}
		return this.#maxTimestamp;
	}

	#largestInHeaders(): number {
		let largest = -1;
		let position = 0;
		for (let header = this.headerAt(0); header !== undefined; header = this.headerAt(position)) {
			largest = Math.max(largest, header.maxTimestamp);
			position += header.sizeBytes;
		}
		return largest;
	}

	/** The time index's entry `i`, if the batch that it names is there and has that timestamp. */
	#timeEntry(i: number): { timestamp: number; offset: number } | undefined {
		if (i < 0) return undefined;
		const entry = this.#timeIndex.at(i);
		const timestamp = readTimestamp(entry);
		const offset = this.baseOffset + entry.readUInt32BE(8);
		let position = this.lookUp(offset);
		let header = this.headerAt(position);
		while (header !== undefined && header.lastOffset < offset) {
			position += header.sizeBytes;
			header = this.headerAt(position);
		}
		return header?.lastOffset === offset && header.maxTimestamp === timestamp ? { timestamp, offset } : undefined;
	}

	/** Bytes of its three files. */
	get footprintBytes(): number {
		return this.sizeBytes + this.#index.count * INDEX_ENTRY_BYTES + this.#timeIndex.count * TIME_ENTRY_BYTES;
	}

	/**
	 * How far it is good once it is synced. The last block of each file will be written again, by the
	 * next append, and a power cut then may spoil all of it: the log's is kept, the indexes' are known
	 * by a checksum.
	 */
	state(): SegmentState {
		return {
			tail: this.readNow(this.sizeBytes - (this.sizeBytes % BLOCK_BYTES), BLOCK_BYTES).toString("base64"),
			indexTailCrc: crc32c(this.#index.lastBytes(this.#index.count, BLOCK_BYTES)),
			timeIndexTailCrc: crc32c(this.#timeIndex.lastBytes(this.#timeIndex.count, BLOCK_BYTES)),
			baseOffset: this.baseOffset,
			sizeBytes: this.sizeBytes,
			indexEntries: this.#index.count,
			timeIndexEntries: this.#timeIndex.count,
			sinceIndexEntry: this.#sinceIndexEntry,
			firstTimestamp: this.firstTimestamp,
			maxTimestamp: this.maxTimestamp,
			maxTimestampOffset: this.#maxTimestampOffset,
		};
	}

	/** Goes on from the checkpoint, as its files are: nothing was written to them since. */
	resume(extent: SegmentExtent): void {
		this.#sinceIndexEntry = extent.sinceIndexEntry;
		this.firstTimestamp = extent.firstTimestamp;
		this.#maxTimestamp = extent.maxTimestamp;
		this.#maxTimestampOffset = extent.maxTimestampOffset;
	}

	/** Whether its files are as long as they were then. */
	isAsLongAs({ sizeBytes, indexEntries, timeIndexEntries }: SegmentExtent): boolean {
		return (
			this.sizeBytes === sizeBytes && this.#index.count === indexEntries && this.#timeIndex.count === timeIndexEntries
		);
	}

	/**
	 * Goes back to the checkpoint: what is behind it is cut off (the journal has it), and the last block
	 * of each file is written once more, since neither a power cut nor a cache that outlived a failed
	 * sync can be told from the outside. Returns what is wrong before the checkpoint, if anything.
	 */
	restore(state: SegmentState, indexIntervalBytes: number): { position: number; what: string } | undefined {
		this.resume(state);
		this.dirty = true;
		if (this.sizeBytes > state.sizeBytes) {
			this.#open().truncate(state.sizeBytes);
			this.sizeBytes = state.sizeBytes;
		}
		const tail = Buffer.from(state.tail, "base64");
		const tailPosition = state.sizeBytes - tail.length;
		if (tail.length > 0 && this.sizeBytes >= tailPosition) {
			this.#open().write([tail], tailPosition);
			this.sizeBytes = state.sizeBytes;
		}
		if (
			this.sizeBytes === state.sizeBytes &&
			restoreEntries(this.#index, state.indexEntries, state.indexTailCrc) &&
			restoreEntries(this.#timeIndex, state.timeIndexEntries, state.timeIndexTailCrc)
		)
			return undefined;
		const scan = this.rebuildIndexes(indexIntervalBytes);
		if (scan.problem !== undefined) return { position: scan.endPosition, what: scan.problem };
		if (this.sizeBytes < state.sizeBytes)
			return { position: this.sizeBytes, what: `the file had ${state.sizeBytes} bytes at the last checkpoint` };
		return undefined;
	}

	fits(lastOffset: number, bytes: number, maxBytes: number): boolean {
		return this.sizeBytes + bytes <= Math.min(maxBytes, RELATIVE_MAX) && lastOffset - this.baseOffset <= RELATIVE_MAX;
	}

	/** Appends sealed batches and the index entries they call for. Throws ENOSPC and EIO with nothing changed here. */
	append(batches: readonly Buffer[], indexIntervalBytes: number): void {
		let bytes = 0;
		for (const batch of batches) bytes += batch.length;
		// Before the write: one that fails may have spoilt part of the last block all the same.
		this.dirty = true;
		this.#open().write(batches, this.sizeBytes);
		const positions = this.sizeBytes;
		this.#note(batches, positions, indexIntervalBytes);
		this.sizeBytes = positions + bytes;
	}

	/** Index entries for `batches`, which lie one behind the other from `position` on. */
	#note(batches: readonly Buffer[], position: number, indexIntervalBytes: number): void {
		let at = position;
		const index: number[] = [];
		const times: { timestamp: number; offset: number }[] = [];
		let lastIndexed = this.#lastIndexedTimestamp();
		const sinceBefore = this.#sinceIndexEntry;
		for (const batch of batches) {
			const header = readBatchHeader(batch, 0);
			if (this.firstTimestamp < 0) this.firstTimestamp = header.maxTimestamp;
			if (header.maxTimestamp > this.maxTimestamp) {
				this.#maxTimestamp = header.maxTimestamp;
				this.#maxTimestampOffset = header.lastOffset;
			}
			if (this.#sinceIndexEntry > indexIntervalBytes) {
				index.push(header.lastOffset, at);
				if (this.maxTimestamp > lastIndexed && this.#maxTimestampOffset >= 0) {
					lastIndexed = this.maxTimestamp;
					times.push({ timestamp: lastIndexed, offset: this.#maxTimestampOffset });
				}
				this.#sinceIndexEntry = 0;
			}
			this.#sinceIndexEntry += batch.length;
			at += batch.length;
		}
		const before = { index: this.#index.count, times: this.#timeIndex.count };
		try {
			if (index.length > 0) this.#index.append(this.#indexBytes(index));
			for (const { timestamp, offset } of times) this.#timeIndex.append(this.#timeBytes(timestamp, offset));
		} catch (error) {
			this.#index.forget(before.index);
			this.#timeIndex.forget(before.times);
			this.#sinceIndexEntry = sinceBefore;
			throw error;
		}
	}

	/** No more will be appended: both indexes are there, and the time index has the segment's largest timestamp as its last entry. */
	seal(): void {
		if (this.sizeBytes > 0) {
			this.#index.make();
			this.#timeIndex.make();
		}
		if (this.maxTimestamp > this.#lastIndexedTimestamp() && this.#maxTimestampOffset >= 0) {
			this.#timeIndex.append(this.#timeBytes(this.maxTimestamp, this.#maxTimestampOffset));
			this.dirty = true;
		}
	}

	/** As `seal`, and makes its three files, whether there is anything in them or not. */
	finish(): void {
		this.#open();
		this.#index.make();
		this.#timeIndex.make();
		this.seal();
		this.dirty = true;
	}

	/** Makes its three files durable. */
	async sync(): Promise<void> {
		if (!this.dirty) return;
		this.dirty = false;
		this.#reads += 1;
		try {
			await this.#open().sync();
			await this.#index.sync();
			await this.#timeIndex.sync();
		} finally {
			this.#doneReading();
		}
	}

	/**
	 * Where to begin looking for the batch that holds `offset`: a position at or before it. An index entry is
	 * believed only where the batch that it names lies there: a damaged index costs time, never a record.
	 */
	lookUp(offset: number): number {
		const relative = offset - this.baseOffset;
		const best = this.#index.lastWhere((entry) => entry.readUInt32BE(0) <= relative);
		for (let i = best; i >= 0 && i > best - LOOK_UP_TRIES; i--) {
			const entry = this.#index.at(i);
			const ends = entry.readUInt32BE(0);
			const position = entry.readUInt32BE(4);
			if (ends <= relative && this.headerAt(position)?.lastOffset === this.baseOffset + ends) return position;
		}
		return 0;
	}

	/** An offset before which no record is younger than `timestampMs`, by the time index. */
	lookUpTime(timestampMs: number): number {
		const found = this.#timeIndex.lastWhere((entry) => readTimestamp(entry) < timestampMs);
		return this.#timeEntry(found)?.offset ?? this.baseOffset;
	}

	/** Reads up to `bytes` from `position`; fewer only at the end. Off the event loop. */
	read(position: number, bytes: number, take: TakeBuffer = Buffer.allocUnsafeSlow): Promise<Buffer> {
		const wanted = Math.max(0, Math.min(bytes, this.sizeBytes - position));
		return this.readInto(take(wanted).subarray(0, wanted), position);
	}

	/** As `read`, into `target`. */
	async readInto(target: Buffer, position: number): Promise<Buffer> {
		const wanted = target.subarray(0, Math.max(0, Math.min(target.length, this.sizeBytes - position)));
		this.#reads += 1;
		try {
			return wanted.subarray(0, await this.#open().read(wanted, position));
		} finally {
			this.#doneReading();
		}
	}

	readNow(position: number, bytes: number): Buffer {
		const target = Buffer.allocUnsafeSlow(Math.max(0, Math.min(bytes, this.sizeBytes - position)));
		return target.subarray(0, this.#open().readSync(target, position));
	}

	/** The batch header at `position`; undefined when what is there cannot be one. */
	headerAt(position: number): BatchHeader | undefined {
		try {
			const header = readBatchHeader(this.readNow(position, BATCH_HEADER_BYTES), 0, Number.MAX_SAFE_INTEGER);
			return header.baseOffset >= this.baseOffset && position + header.sizeBytes <= this.sizeBytes ? header : undefined;
		} catch {
			return undefined;
		}
	}

	/**
	 * Walks the batches from `position`, which must begin with the first offset at or after
	 * `expectedOffset`, and checks each wholly. `visit` gets the batch's bytes for the time of the call.
	 */
	scan(
		position: number,
		expectedOffset: number,
		visit: (batch: Buffer, header: BatchHeader, position: number) => void,
	): ScanResult {
		let at = position;
		let next = expectedOffset;
		let window: Buffer = Buffer.alloc(0);
		let windowAt = position;
		while (at < this.sizeBytes) {
			if (windowAt + window.length - at < BATCH_HEADER_BYTES) {
				window = this.readNow(at, SCAN_BYTES);
				windowAt = at;
			}
			let header: BatchHeader;
			try {
				header = readBatchHeader(window, at - windowAt, Number.MAX_SAFE_INTEGER);
				if (at + header.sizeBytes > this.sizeBytes) return { endPosition: at, nextOffset: next, problem: "cut short" };
				if (at - windowAt + header.sizeBytes > window.length) {
					window = this.readNow(at, Math.max(SCAN_BYTES, header.sizeBytes));
					windowAt = at;
				}
			} catch (error) {
				return { endPosition: at, nextOffset: next, problem: (error as Error).message };
			}
			const batch = window.subarray(at - windowAt, at - windowAt + header.sizeBytes);
			const problem = batchProblem(batch, header, next);
			if (problem !== undefined) return { endPosition: at, nextOffset: next, problem };
			visit(batch, header, at);
			at += header.sizeBytes;
			next = header.lastOffset + 1;
		}
		return { endPosition: at, nextOffset: next, problem: undefined };
	}

	/** The first sound batch after `position` that begins at or after `expectedOffset`; bytes between are damaged. */
	findSound(position: number, expectedOffset: number): { position: number; header: BatchHeader } | undefined {
		const overlap = BATCH_HEADER_BYTES - 1;
		for (let at = position; at < this.sizeBytes; at += SCAN_BYTES) {
			const window = this.readNow(at, SCAN_BYTES + overlap);
			for (let i = 0; i + BATCH_HEADER_BYTES <= window.length && i < SCAN_BYTES; i++) {
				if (window[i + 16] !== 2) continue; // magic
				if (window[i] !== 0 || window[i + 8] !== 0) continue; // offsets and lengths stay below 2^56 and 2^24
				const header = this.#soundAt(window, i, at + i, expectedOffset);
				if (header !== undefined) return { position: at + i, header };
			}
		}
		return undefined;
	}

	#soundAt(window: Buffer, i: number, position: number, expectedOffset: number): BatchHeader | undefined {
		try {
			const header = readBatchHeader(window.subarray(i, i + BATCH_HEADER_BYTES), 0, Number.MAX_SAFE_INTEGER);
			if (position + header.sizeBytes > this.sizeBytes) return undefined;
			const batch = this.readNow(position, header.sizeBytes);
			return batchProblem(batch, header, expectedOffset) === undefined ? header : undefined;
		} catch {
			return undefined;
		}
	}

	/**
	 * Writes both indexes anew from the batches before `endPosition`, which must be sound; needed when
	 * the process did not write them itself, or their end is in doubt.
	 */
	rebuildIndexes(indexIntervalBytes: number): ScanResult {
		this.#index.truncate(0);
		this.#timeIndex.truncate(0);
		this.#maxTimestamp = -1;
		this.#maxTimestampOffset = -1;
		this.firstTimestamp = -1;
		this.#sinceIndexEntry = 0;
		this.dirty = true;
		return this.scan(0, this.baseOffset, (batch, _header, position) =>
			this.#note([batch], position, indexIntervalBytes),
		);
	}

	/** Its indexes, for `verify`. */
	get indexes(): { readonly offsets: EntryFile; readonly times: EntryFile } {
		return { offsets: this.#index, times: this.#timeIndex };
	}

	/** Closes its files; they open again when needed. Waits for reads under way. */
	release(): void {
		if (this.#reads > 0) {
			this.#closeWanted = true;
			return;
		}
		this.#closeWanted = false;
		this.#file?.close();
		this.#file = undefined;
		if (this.#retired) {
			this.#index.retire();
			this.#timeIndex.retire();
		} else {
			this.#index.close();
			this.#timeIndex.close();
		}
	}

	/** No file is opened any more: its names may be another segment's by now. Reads under way end. */
	retire(): void {
		this.#retired = true;
		this.release();
	}

	remove(): void {
		this.retire();
		for (const path of [this.path, this.#index.path, this.#timeIndex.path]) this.#disk.remove(path);
	}

	#doneReading(): void {
		this.#reads -= 1;
		if (this.#reads === 0 && this.#closeWanted) this.release();
	}

	#open(): DiskFile {
		if (this.#file === undefined) {
			if (this.#retired) throw new Error(`${this.path} was removed`);
			this.#file = this.#disk.open(this.path, "create");
		}
		return this.#file;
	}

	#lastIndexedTimestamp(): number {
		const count = this.#timeIndex.count;
		return count === 0 ? -1 : readTimestamp(this.#timeIndex.at(count - 1));
	}

	#indexBytes(pairs: readonly number[]): Buffer {
		const bytes = Buffer.alloc(pairs.length * 4);
		for (let i = 0; i < pairs.length; i += 2) {
			bytes.writeUInt32BE((pairs[i] as number) - this.baseOffset, i * 4);
			bytes.writeUInt32BE(pairs[i + 1] as number, i * 4 + 4);
		}
		return bytes;
	}

	#timeBytes(timestamp: number, offset: number): Buffer {
		const bytes = Buffer.alloc(TIME_ENTRY_BYTES);
		writeUint53(bytes, timestamp, 0);
		bytes.writeUInt32BE(offset - this.baseOffset, 8);
		return bytes;
	}
}

/** What is wrong with a whole batch, if anything. Offsets may skip (compaction), never go back. */
export function batchProblem(batch: Buffer, header: BatchHeader, expectedOffset: number): string | undefined {
	if (header.baseOffset < expectedOffset) return `offset ${header.baseOffset} where ${expectedOffset} was due`;
	if (crc32c(batch, 21, header.sizeBytes) !== header.crc) return "the batch's CRC-32C is wrong";
	return undefined;
}

/** Cuts an index back to `count` entries; false when they are not the ones that were there at the checkpoint. */
function restoreEntries(entries: EntryFile, count: number, tailCrc: number): boolean {
	if (entries.count < count || crc32c(entries.lastBytes(count, BLOCK_BYTES)) !== tailCrc) return false;
	entries.truncate(count);
	entries.rewriteLastBlock(BLOCK_BYTES);
	return true;
}

/** Of a time index's entry. */
export function readTimestamp(entry: Buffer): number {
	return readUint53(entry, 0);
}
