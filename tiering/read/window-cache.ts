/**
 * Windows of objects kept on this machine's disk, so that what is read from the store again and again is fetched once. It
 * outlives a restart and stays within its bounds. Nothing depends on it: what it gives back is checked by who asked, a file
 * that cannot be read is a miss, and where the disk is full or broken it stands aside for a while.
 *
 * To spare flash a window is written only when it comes from the store a second time within living memory: a single scan
 * through years of records writes nothing. Nothing is synced.
 */
import type { Clock } from "../../src/base/clock.ts";
import { type Disk, type DiskFile, joinPath } from "../../src/base/disk.ts";
import type { Logger } from "../../src/base/logger.ts";
import { crc32c } from "../../src/record/crc32c.ts";

/** Consecutive bytes of an object. */
export interface ObjectWindow {
	/** The object's. */
	readonly key: string;
	/** In the object, bytes. */
	readonly position: number;
	readonly sizeBytes: number;
}

export interface WindowCacheOptions {
	/** Its own; made when there is something to keep. */
	readonly folder: string;
	/** Of all files; 0: nothing is kept, and what an earlier run kept goes. */
	readonly maxBytes: number;
	readonly disk: Disk;
	readonly clock: Clock;
	readonly logger: Logger;
}

export interface WindowCacheStats {
	readonly files: number;
	readonly bytes: number;
	/** Windows written since the start. */
	readonly written: number;
	/** Files that could not be read or written, or did not hold what they were to hold. */
	readonly errors: number;
}

const SUFFIX = ".window";
/** Each is an inode, and a name in memory. */
const FILES_MAX = 4096;
/** Windows that came from the store once, remembered by a hash: one that is taken for another is written too early, no more. */
const SEEN_MAX = 4096;
/** Copies that wait to be written. */
const PENDING_BYTES_MAX = 1024 * 1024;
/** Written at once: it holds up the event loop. */
const SLICE_BYTES = 64 * 1024;
/** Left to the log on the disk. */
const RESERVE_BYTES = 64 * 1024 * 1024;
/** After an error of the disk. */
const ASIDE_MS = 60_000;

interface CachedFile {
	readonly key: string;
	readonly sizeBytes: number;
}

export class WindowCache {
	readonly #options: WindowCacheOptions;
	/** By name, the least recently used first; undefined until the folder has been looked at. */
	#files: Map<string, CachedFile> | undefined;
	#bytes = 0;
	readonly #seen = new Set<number>();
	/** By name. */
	readonly #pending = new Map<string, { readonly window: ObjectWindow; readonly bytes: Buffer }>();
	#pendingBytes = 0;
	#writing: Promise<void> | undefined;
	#asideUntilMs = Number.NEGATIVE_INFINITY;
	#isAside = false;
	#closed = false;
	#written = 0;
	#errors = 0;

	constructor(options: WindowCacheOptions) {
		this.#options = options;
	}

	has(window: ObjectWindow): boolean {
		return this.#open().has(nameOf(window));
	}

	/** Its bytes, as many as it says, whatever they are; undefined where they are not here. */
	async read(window: ObjectWindow): Promise<Buffer | undefined> {
		const files = this.#open();
		const name = nameOf(window);
		const found = files.get(name);
		if (found === undefined) return undefined;
		files.delete(name);
		files.set(name, found);
		let file: DiskFile | undefined;
		try {
			file = this.#options.disk.open(this.#path(name), "read");
			const bytes = Buffer.allocUnsafeSlow(window.sizeBytes);
			if ((await file.read(bytes, 0)) === bytes.length) return bytes;
		} catch {
			// A miss: the store has it.
		} finally {
			file?.close();
		}
		this.discard(window);
		return undefined;
	}

	/** The window came from the store: it is kept if it did before. `bytes` are copied. */
	fetched(window: ObjectWindow, bytes: Buffer): void {
		const { maxBytes, clock } = this.#options;
		if (window.sizeBytes > maxBytes || this.#closed) return;
		const name = nameOf(window);
		if (!this.#wasSeen(name) || this.#pending.has(name) || this.#open().has(name)) return;
		if (this.#pendingBytes + bytes.length > PENDING_BYTES_MAX && this.#pending.size > 0) return;
		if (clock.monotonic() < this.#asideUntilMs) return;
		this.#pending.set(name, { window, bytes: Buffer.from(bytes) });
		this.#pendingBytes += bytes.length;
		this.#writing ??= this.#write();
	}

	/** Whether it came before; from now on it did. */
	#wasSeen(name: string): boolean {
		const hash = crc32c(Buffer.from(name)) >>> 1;
		const wasSeen = this.#seen.delete(hash);
		if (this.#seen.size >= SEEN_MAX) {
			const [oldest] = this.#seen;
			this.#seen.delete(oldest as number);
		}
		this.#seen.add(hash);
		return wasSeen;
	}

	/** What was read of it is not what the object has. */
	discard(window: ObjectWindow): void {
		if (this.#remove(nameOf(window))) this.#errors += 1;
	}

	/** The object is gone from the store. */
	forget(key: string): void {
		this.#retain((other) => other !== key);
	}

	/** At start: what belongs to objects that are no more goes. */
	retain(isThere: (key: string) => boolean): void {
		this.#retain(isThere);
	}

	#retain(isThere: (key: string) => boolean): void {
		const there = new Map<string, boolean>();
		for (const [name, { key }] of [...this.#open()]) {
			const known = there.get(key) ?? isThere(key);
			there.set(key, known);
			if (!known) this.#remove(name);
		}
		for (const [name, { window, bytes }] of [...this.#pending]) {
			if (isThere(window.key)) continue;
			this.#pending.delete(name);
			this.#pendingBytes -= bytes.length;
		}
	}

	stats(): WindowCacheStats {
		return { files: this.#files?.size ?? 0, bytes: this.#bytes, written: this.#written, errors: this.#errors };
	}

	/** Ends with what is being written; nothing is written after it. */
	async close(): Promise<void> {
		this.#closed = true;
		await this.#writing;
	}

	#path(name: string): string {
		return joinPath(this.#options.folder, name);
	}

	/** What an earlier run left, when it is first asked for. */
	#open(): Map<string, CachedFile> {
		if (this.#files !== undefined) return this.#files;
		const { disk, folder, maxBytes } = this.#options;
		const files = new Map<string, CachedFile>();
		this.#files = files;
		try {
			if (maxBytes === 0) {
				disk.removeDirectory(folder);
				return files;
			}
			// The names sort as the objects were made: the oldest are the first to go.
			for (const name of disk.list(folder).sort()) {
				if (!name.endsWith(SUFFIX)) continue;
				const window = windowOf(name);
				// One cut short by the end of the process, or of the power, does not have its length.
				if (window === undefined || disk.fileSize(this.#path(name)) !== window.sizeBytes) {
					disk.remove(this.#path(name));
					continue;
				}
				files.set(name, window);
				this.#bytes += window.sizeBytes;
			}
			this.#shrink(0);
		} catch (error) {
			this.#standAside(error);
		}
		return files;
	}

	async #write(): Promise<void> {
		for (const [name, { window, bytes }] of this.#pending) {
			await this.#writeFile(name, window, bytes);
			if (this.#pending.delete(name)) this.#pendingBytes -= bytes.length;
			if (this.#closed) break;
		}
		this.#writing = undefined;
	}

	async #writeFile(name: string, window: ObjectWindow, bytes: Buffer): Promise<void> {
		const { disk, folder, clock, logger } = this.#options;
		let file: DiskFile | undefined;
		try {
			await this.#pause();
			disk.makeDirectory(folder);
			if (!this.#makeRoom(bytes.length)) return;
			file = disk.open(this.#path(name), "create");
			for (let at = 0; at < bytes.length && !this.#closed; at += SLICE_BYTES) {
				file.write([bytes.subarray(at, at + SLICE_BYTES)], at);
				await this.#pause();
			}
			file.close();
			file = undefined;
			// Its object may have gone meanwhile.
			if (this.#closed || !this.#pending.has(name)) {
				disk.remove(this.#path(name));
				return;
			}
			this.#open().set(name, { key: window.key, sizeBytes: bytes.length });
			this.#bytes += bytes.length;
			this.#written += 1;
			if (this.#isAside) logger.info("the cache of the object store is written to again", { folder });
			this.#isAside = false;
			this.#asideUntilMs = clock.monotonic();
		} catch (error) {
			this.#errors += 1;
			this.#removeQuietly(name, file);
			this.#standAside(error);
		}
	}

	#pause(): Promise<void> {
		return new Promise((resolve) => this.#options.clock.soon(resolve));
	}

	/** False where the disk has too little left for others. */
	#makeRoom(bytes: number): boolean {
		const { disk, folder } = this.#options;
		this.#shrink(bytes);
		while (disk.freeBytes(folder) < RESERVE_BYTES + bytes) if (!this.#removeOldest()) return false;
		return true;
	}

	/** Until `bytes` more are within the bounds. */
	#shrink(bytes: number): void {
		const { maxBytes } = this.#options;
		const files = this.#open();
		while (this.#bytes + bytes > maxBytes || files.size >= FILES_MAX) if (!this.#removeOldest()) return;
	}

	#removeOldest(): boolean {
		const oldest = this.#open().keys().next();
		return oldest.done !== true && this.#remove(oldest.value);
	}

	/** Whether it was there. */
	#remove(name: string): boolean {
		const files = this.#open();
		const found = files.get(name);
		if (found === undefined) return false;
		files.delete(name);
		this.#bytes -= found.sizeBytes;
		this.#removeQuietly(name, undefined);
		return true;
	}

	#removeQuietly(name: string, file: DiskFile | undefined): void {
		try {
			file?.close();
			this.#options.disk.remove(this.#path(name));
		} catch {
			// It takes space until the next start looks at the folder.
		}
	}

	#standAside(error: unknown): void {
		const { clock, logger, folder } = this.#options;
		this.#asideUntilMs = clock.monotonic() + ASIDE_MS;
		if (this.#isAside) return;
		this.#isAside = true;
		logger.warn("the cache of the object store cannot be used for now; reads go on from the store", {
			folder,
			error: String(error),
		});
	}
}

/** Keys have no `+`. */
function nameOf({ key, position, sizeBytes }: ObjectWindow): string {
	return `${key.replaceAll("/", "+")}+${position}+${sizeBytes}${SUFFIX}`;
}

function windowOf(name: string): ObjectWindow | undefined {
	const parts = /^(.+)\+(\d{1,15})\+(\d{1,15})\.window$/.exec(name);
	if (parts === null) return undefined;
	const [, key = "", position, sizeBytes] = parts;
	return { key: key.replaceAll("+", "/"), position: Number(position), sizeBytes: Number(sizeBytes) };
}
