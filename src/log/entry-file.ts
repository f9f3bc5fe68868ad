/**
 * A file of fixed-size entries in rising order: what an offset index (8 bytes: relative offset,
 * position) and a time index (12 bytes: timestamp, relative offset) are. Not kept in memory: a
 * look-up is a binary search by reads of the page cache.
 */
import type { Disk, DiskFile } from "../base/disk.ts";

export class EntryFile {
	readonly path: string;
	readonly #disk: Disk;
	readonly #entryBytes: number;
	readonly #entry: Buffer;
	#file: DiskFile | undefined;
	/** Written since the last sync, whether it is open or not. */
	#dirty = false;
	#retired = false;
	#count: number | undefined;

	constructor(disk: Disk, path: string, entryBytes: number) {
		this.#disk = disk;
		this.path = path;
		this.#entryBytes = entryBytes;
		this.#entry = Buffer.alloc(entryBytes);
	}

	/** Whole entries in the file. */
	get count(): number {
		this.#count ??= Math.floor((this.#disk.fileSize(this.path) ?? 0) / this.#entryBytes);
		return this.#count;
	}

	/** Of its whole entries. */
	get sizeBytes(): number {
		return this.count * this.#entryBytes;
	}

	/** Appends `bytes`, whole entries. */
	append(bytes: Buffer): void {
		this.#dirty = true;
		this.#open().write([bytes], this.count * this.#entryBytes);
		this.#count = this.count + bytes.length / this.#entryBytes;
	}

	/** The entry at `index`; the buffer is used again by the next call. */
	at(index: number): Buffer {
		this.#open().readSync(this.#entry, index * this.#entryBytes);
		return this.#entry;
	}

	/** Index of the last entry for which `holds`, -1 if there is none; `holds` is true up to some entry and false after it. */
	lastWhere(holds: (entry: Buffer) => boolean): number {
		let low = -1;
		let high = this.count;
		while (high - low > 1) {
			const middle = (low + high) >>> 1;
			if (holds(this.at(middle))) low = middle;
			else high = middle;
		}
		return low;
	}

	/** Up to `bytes` before the end of entry `count`: what shares the file's last block with what comes next. */
	lastBytes(count: number, bytes: number): Buffer {
		const target = Buffer.alloc(Math.min(bytes, count * this.#entryBytes));
		this.#open().readSync(target, count * this.#entryBytes - target.length);
		return target;
	}

	/** Entries from `count` on count as never appended; the next append overwrites them. */
	forget(count: number): void {
		this.#count = count;
	}

	truncate(count: number): void {
		this.#dirty = true;
		this.#open().truncate(count * this.#entryBytes);
		this.#count = count;
	}

	/** Writes the last block once more, as it is: a cache that lost the dirt of its pages would never write it. */
	rewriteLastBlock(blockBytes: number): void {
		const bytes = this.lastBytes(this.count, (this.count * this.#entryBytes) % blockBytes);
		if (bytes.length === 0) return;
		this.#dirty = true;
		this.#open().write([bytes], this.count * this.#entryBytes - bytes.length);
	}

	/** Makes the file, empty, if it is not there yet. */
	make(): void {
		this.#open();
	}

	async sync(): Promise<void> {
		if (!this.#dirty) return;
		this.#dirty = false;
		await this.#open().sync();
	}

	close(): void {
		this.#file?.close();
		this.#file = undefined;
	}

	/** Closed for good: its name may be another file's by now. */
	retire(): void {
		this.close();
		this.#retired = true;
	}

	#open(): DiskFile {
		if (this.#retired) throw new Error(`${this.path} was removed`);
		this.#file ??= this.#disk.open(this.path, "create");
		return this.#file;
	}
}
