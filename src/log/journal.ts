/**
 * The shared journal: every commit of every partition is one entry here, and the fdatasync of this
 * file is the only one an acknowledgement waits for.
 *
 * Promises:
 * - an entry is written only when the one before it is durable, so at most one is in doubt;
 * - a block that holds a durable entry is written again only after a checkpoint has made the entry
 *   superfluous and the file is used anew under another generation;
 * - each start begins a new use of a file, so nothing is ever written behind a doubtful tail.
 */
import { type Disk, type DiskFile, joinPath } from "../base/disk.ts";
import type { Logger } from "../base/logger.ts";
import type { Random } from "../base/random.ts";
import {
	type AppendOperation,
	BLOCK_BYTES,
	headBytesFor,
	paddedBytes,
	type StateOperation,
	writeHead,
} from "./entry.ts";
import {
	findLaterEntry,
	HEADER_BYTES,
	JOURNAL_SUFFIX,
	type JournalHeader,
	MAX_ENTRY_BYTES,
	type NoEntry,
	positionAfter,
	type ReadEntry,
	readEntry,
	readJournalHeader,
	soundAppends,
	writeJournalHeader,
} from "./journal-file.ts";

export interface JournalOptions {
	/** Size of a journal file made ahead of need, bytes; a multiple of 4096. */
	readonly fileBytes: number;
	/** How many such files there may be. */
	readonly filesMax: number;
}

interface OpenFile {
	readonly file: DiskFile;
	readonly name: string;
	readonly sizeBytes: number;
}

interface UsedFile extends OpenFile {
	readonly header: JournalHeader;
	/** Of the last entry in it. */
	lastSequence: number;
	position: number;
}

/** What replay reports besides sound entries. */
export interface ReplayVisitor {
	/** It is durable, unless `inDoubt` was called: what it has may be written elsewhere. */
	entry(entry: ReadEntry): void;
	/** The entry that comes next, the last, may still be lost: there is no room to write it once more. */
	inDoubt?(): void;
	/** Acknowledged bytes that are no longer what they were. */
	damage(file: string, position: number, what: string): void;
}

/** A file made on the spot because no spare one is ready is no larger than it needs to be. */
const SMALL_FILE_BYTES = 256 * 1024;
const FILL_BYTES = 128 * 1024;

export class Journal {
	readonly #disk: Disk;
	readonly #folder: string;
	readonly #options: JournalOptions;
	readonly #random: Random;
	readonly #logger: Logger;
	/** In the order of their generations; the last is written to once `begin` was called. */
	readonly #used: UsedFile[] = [];
	readonly #spare: OpenFile[] = [];
	#current: UsedFile | undefined;
	/** Entries up to it are superfluous: what became of them is nobody's concern. */
	#checkpointSequence = 0;
	/** The newest entry found by replay; not visited yet. */
	#newest: ReadEntry | undefined;
	#generation = 0;
	#sequence = 0;
	#nextName = 1;
	#filling = false;
	#closed = false;
	#head = Buffer.allocUnsafeSlow(BLOCK_BYTES);
	readonly #header = Buffer.alloc(HEADER_BYTES);
	readonly #zeros = Buffer.alloc(BLOCK_BYTES);
	/** Since the process started. */
	entriesWritten = 0;
	bytesWritten = 0;

	constructor(disk: Disk, folder: string, options: JournalOptions, random: Random, logger: Logger) {
		this.#disk = disk;
		this.#folder = folder;
		this.#options = options;
		this.#random = random;
		this.#logger = logger;
		disk.makeDirectory(folder);
		// A process that was killed may have made names that nothing has made durable since.
		disk.syncDirectory(folder);
		for (const name of disk.list(folder)) {
			if (!name.endsWith(JOURNAL_SUFFIX)) {
				if (name.endsWith(".new")) disk.remove(joinPath(folder, name));
				continue;
			}
			this.#nextName = Math.max(this.#nextName, Number.parseInt(name, 10) + 1);
			this.#adopt(name);
		}
		this.#used.sort((a, b) => a.header.generation - b.header.generation);
		this.#generation = this.#used.at(-1)?.header.generation ?? 0;
	}

	/** Sequence of the newest entry, durable or about to be. */
	get sequence(): number {
		return this.#sequence;
	}

	/** Bytes of entries that no checkpoint has made superfluous yet. */
	get usedBytes(): number {
		let bytes = 0;
		for (const file of this.#used) bytes += file.position;
		return bytes;
	}

	/** Files with entries that no checkpoint has made superfluous yet. */
	get usedFiles(): number {
		return this.#used.length;
	}

	/**
	 * Visits every entry after `checkpointSequence`, in order, but before the newest writes that once more: after a
	 * mere process crash it may be in the page cache only, or (after a failed fdatasync) never reach
	 * the medium from there. All others were durable before their successor was written. Call once,
	 * before anything is written.
	 */
	replay(checkpointSequence: number, visitor: ReplayVisitor): void {
		this.#sequence = checkpointSequence;
		this.#checkpointSequence = checkpointSequence;
		for (const [i, used] of this.#used.entries()) {
			const next = this.#used[i + 1]?.header.firstSequence;
			// The last entry of a file is the one before the next file's first or, where a start wrote it again, that one.
			used.lastSequence = next ?? Number.MAX_SAFE_INTEGER;
			if (used.lastSequence <= checkpointSequence) continue;
			this.#replayFile(used, next, visitor);
		}
		// Files that the checkpoint made superfluous before the process ended make room.
		this.release(checkpointSequence);
		if (this.#newest === undefined) return;
		if (!this.#writeAgain(this.#newest)) visitor.inDoubt?.();
		visitor.entry(this.#newest);
		this.#newest = undefined;
	}

	/** In the place of `replay`, where a checkpoint has every entry there is. */
	skipTo(checkpointSequence: number): void {
		this.#sequence = checkpointSequence;
		this.#checkpointSequence = checkpointSequence;
		for (const used of this.#used) used.lastSequence = checkpointSequence;
		this.release(checkpointSequence);
	}

	/** Whether it is durable now, whatever became of the first copy. */
	#writeAgain(entry: ReadEntry): boolean {
		// A gap behind it was reported: then it was durable.
		if (entry.header.sequence !== this.#sequence) return true;
		const appends = soundAppends(entry);
		const { state } = entry.operations;
		// Under its own sequence: the first copy, if it is lost, is not missed, and if it is sound, the second is passed over.
		this.#sequence -= 1;
		if (!this.#hasRoomNow(appends, state)) {
			// No room before the next checkpoint: what can be done here is to ask for the sync again.
			this.#sequence += 1;
			for (const { file } of this.#used) file.syncNow();
			return false;
		}
		this.write(appends, state);
		(this.#current as UsedFile).file.syncNow();
		return true;
	}

	#hasRoomNow(appends: readonly AppendOperation[], state: readonly StateOperation[]): boolean {
		try {
			return this.makeRoom(appends, state, Number.POSITIVE_INFINITY);
		} catch (error) {
			if ((error as { code?: string }).code === "ENOSPC") return false;
			throw error;
		}
	}

	#replayFile(used: UsedFile, nextFirst: number | undefined, visitor: ReplayVisitor): void {
		const { file, sizeBytes, header, name } = used;
		let position = HEADER_BYTES;
		let expected = header.firstSequence;
		if (expected > this.#sequence + 1)
			visitor.damage(name, 0, `entries ${this.#sequence + 1} to ${expected - 1} are missing before this file`);
		for (;;) {
			let entry: ReadEntry | NoEntry = readEntry(file, sizeBytes, header, position, expected, this.#checkpointSequence);
			if ("why" in entry) {
				const later = findLaterEntry(file, sizeBytes, header, position, expected);
				if (later === undefined) {
					if (nextFirst !== undefined && nextFirst > Math.max(expected, this.#checkpointSequence + 1))
						visitor.damage(name, position, `entries ${expected} to ${nextFirst - 1}: ${entry.why}`);
					break;
				}
				if (later.header.sequence > this.#checkpointSequence + 1)
					visitor.damage(name, position, `entries ${expected} to ${later.header.sequence - 1}: ${entry.why}`);
				entry = later;
			}
			if (entry.bad.length > 0 && !this.#wasDurable(used, entry, nextFirst)) break;
			for (const bad of entry.header.sequence > this.#checkpointSequence ? entry.bad : [])
				visitor.damage(name, entry.position + bad.position, `a batch of entry ${entry.header.sequence} is damaged`);
			if (entry.header.sequence > this.#sequence) {
				if (this.#newest !== undefined) visitor.entry(this.#newest);
				this.#sequence = entry.header.sequence;
				this.#newest = entry;
			}
			expected = entry.header.sequence + 1;
			position = positionAfter(entry);
		}
		used.lastSequence = expected - 1;
		used.position = position;
		if (nextFirst !== undefined && nextFirst > this.#sequence + 1) this.#sequence = nextFirst - 1;
	}

	/** Whether `entry`, whose body is damaged, had been durable: only then was another written after it. */
	#wasDurable(used: UsedFile, entry: ReadEntry, nextFirst: number | undefined): boolean {
		const { sequence } = entry.header;
		if (nextFirst !== undefined && nextFirst > sequence) return true;
		return findLaterEntry(used.file, used.sizeBytes, used.header, entry.position, sequence) !== undefined;
	}

	/** Whether an entry of that many operations and bytes can be written now; when not, a checkpoint must come first. */
	makeRoom(
		appends: readonly AppendOperation[],
		state: readonly StateOperation[],
		quotaBytes = this.#options.fileBytes * this.#options.filesMax,
	): boolean {
		let bytes = headBytesFor(appends.length, state);
		for (const append of appends) bytes += append.batch.length;
		const needed = paddedBytes(bytes);
		if (needed > MAX_ENTRY_BYTES) throw new RangeError(`a journal entry of ${needed} bytes`);
		const current = this.#current;
		if (current !== undefined && (current.position || HEADER_BYTES) + needed <= current.sizeBytes) return true;
		const next = this.#takeSpare(needed) ?? this.#makeSmall(needed, quotaBytes);
		if (next === undefined) return false;
		this.#generation += 1;
		const header = { generation: this.#generation, salt: this.#random.u32(), firstSequence: this.#sequence + 1 };
		this.#current = { ...next, header, lastSequence: this.#sequence, position: 0 };
		this.#used.push(this.#current);
		this.fillAhead();
		return true;
	}

	/** The longest entry for which a checkpoint always makes room: one beside the file in use, which is no longer than that either. */
	get entryBytesMax(): number {
		const { fileBytes, filesMax } = this.#options;
		return Math.min(MAX_ENTRY_BYTES, Math.floor((fileBytes * filesMax) / 2) - HEADER_BYTES);
	}

	/** Writes the next entry; `makeRoom` for the same has just returned true. Durable after `sync`. Returns its bytes. */
	write(appends: readonly AppendOperation[], state: readonly StateOperation[]): number {
		const current = this.#current as UsedFile;
		const headNeeded = headBytesFor(appends.length, state);
		if (headNeeded > this.#head.length) this.#head = Buffer.allocUnsafeSlow(paddedBytes(headNeeded));
		const headBytes = writeHead(this.#head, current.header, this.#sequence + 1, appends, state);
		const parts: Uint8Array[] = [];
		let written = 0;
		if (current.position === 0) {
			writeJournalHeader(this.#header, current.header);
			parts.push(this.#header);
			written = HEADER_BYTES;
		}
		parts.push(this.#head.subarray(0, headBytes));
		let totalBytes = headBytes;
		for (const { batch } of appends) {
			parts.push(batch);
			totalBytes += batch.length;
		}
		const padded = paddedBytes(totalBytes);
		if (padded > totalBytes) parts.push(this.#zeros.subarray(0, padded - totalBytes));
		written += padded;
		current.file.write(parts, current.position);
		current.position += written;
		this.#sequence += 1;
		current.lastSequence = this.#sequence;
		this.entriesWritten += 1;
		this.bytesWritten += written;
		return written;
	}

	/** Makes what was written durable. After a rejection the process must not acknowledge anything more. */
	sync(): Promise<void> {
		return (this.#current as UsedFile).file.sync();
	}

	/** The same, blocking. Throws where it would reject. */
	syncNow(): void {
		(this.#current as UsedFile).file.syncNow();
	}

	/** A checkpoint covers every entry up to `sequence`: files with nothing newer may be used again. */
	release(sequence: number): void {
		while (this.#used.length > 0) {
			const oldest = this.#used[0] as UsedFile;
			if (oldest === this.#current || oldest.lastSequence > sequence) break;
			this.#used.shift();
			this.#keepOrRemove(oldest);
		}
	}

	/** Makes a spare file of full size ready in the background, if there is none. */
	fillAhead(): void {
		if (this.#filling || this.#closed || this.#spare.length > 0) return;
		if (this.totalBytes + this.#options.fileBytes > this.#options.fileBytes * this.#options.filesMax) return;
		this.#filling = true;
		this.#fill().then(
			(spare) => {
				this.#filling = false;
				if (this.#closed) spare?.file.close();
				else if (spare !== undefined) this.#spare.push(spare);
			},
			(error: unknown) => {
				this.#filling = false;
				this.#logger.warn("no journal file could be made ahead of need", { error: String(error) });
			},
		);
	}

	close(): void {
		this.#closed = true;
		for (const { file } of [...this.#used, ...this.#spare]) file.close();
		this.#used.length = 0;
		this.#spare.length = 0;
	}

	#adopt(name: string): void {
		const file = this.#disk.open(joinPath(this.#folder, name), "write");
		const sizeBytes = file.size();
		const header = readJournalHeader(file);
		if (header !== undefined) {
			this.#used.push({ file, name, sizeBytes, header, lastSequence: 0, position: HEADER_BYTES });
		} else this.#keepOrRemove({ file, name, sizeBytes });
	}

	#keepOrRemove(file: OpenFile): void {
		if (file.sizeBytes === this.#options.fileBytes && this.#spare.length < this.#options.filesMax) {
			this.#spare.push({ file: file.file, name: file.name, sizeBytes: file.sizeBytes });
			return;
		}
		file.file.close();
		this.#disk.remove(joinPath(this.#folder, file.name));
	}

	#takeSpare(entryBytes: number): OpenFile | undefined {
		const spare = this.#spare.at(-1);
		if (spare === undefined || spare.sizeBytes < HEADER_BYTES + entryBytes) return undefined;
		return this.#spare.pop();
	}

	#makeSmall(entryBytes: number, quotaBytes: number): OpenFile | undefined {
		const { fileBytes } = this.#options;
		const sizeBytes = Math.max(Math.min(SMALL_FILE_BYTES, fileBytes), HEADER_BYTES + entryBytes);
		// Spare files that are too small for it make way.
		while (this.totalBytes + sizeBytes > quotaBytes && this.#spare.length > 0) {
			const spare = this.#spare.pop() as OpenFile;
			spare.file.close();
			this.#disk.remove(joinPath(this.#folder, spare.name));
		}
		if (this.totalBytes + sizeBytes > quotaBytes) return undefined;
		const name = this.#newName();
		const file = this.#disk.open(joinPath(this.#folder, name), "create");
		try {
			file.write([Buffer.alloc(sizeBytes)], 0);
		} catch (error) {
			file.close();
			this.#disk.remove(joinPath(this.#folder, name));
			throw error;
		}
		this.#disk.syncDirectory(this.#folder);
		return { file, name, sizeBytes };
	}

	async #fill(): Promise<OpenFile | undefined> {
		const name = this.#newName();
		const making = joinPath(this.#folder, `${name}.new`);
		const file = this.#disk.open(making, "create");
		const zeros = Buffer.alloc(Math.min(FILL_BYTES, this.#options.fileBytes));
		try {
			for (let at = 0; at < this.#options.fileBytes; at += zeros.length) {
				file.write([zeros.subarray(0, Math.min(zeros.length, this.#options.fileBytes - at))], at);
				// Synced in pieces: one sync of the whole would hold up the commits beside it.
				if ((at / zeros.length) % 8 === 7) await file.sync();
				if (this.#closed) throw new Error("closed");
			}
			await file.sync();
			this.#disk.rename(making, joinPath(this.#folder, name));
			this.#disk.syncDirectory(this.#folder);
			return { file, name, sizeBytes: this.#options.fileBytes };
		} catch (error) {
			file.close();
			this.#disk.remove(making);
			if (this.#closed) return undefined;
			throw error;
		}
	}

	#newName(): string {
		const name = `${String(this.#nextName).padStart(8, "0")}${JOURNAL_SUFFIX}`;
		this.#nextName += 1;
		return name;
	}

	/** Of all its files on disk. */
	get totalBytes(): number {
		let bytes = 0;
		for (const { sizeBytes } of this.#used) bytes += sizeBytes;
		for (const { sizeBytes } of this.#spare) bytes += sizeBytes;
		return this.#filling ? bytes + this.#options.fileBytes : bytes;
	}
}
