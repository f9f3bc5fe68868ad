/**
 * The disk seam: every file the broker touches, but for SQLite's own, goes through a `Disk`.
 * It promises what POSIX promises and no more: bytes written are durable after a finished `sync`
 * of their file, a name after `syncDirectory` of its folder. The simulated twin
 * (`disk-simulated.ts`) takes everything else away at a power cut.
 *
 * Errors are Node's own (`code` ENOENT, ENOSPC, EIO ...).
 */
import fs from "node:fs";
import path from "node:path";

export interface DiskFile {
	readonly path: string;
	/** Bytes. */
	size(): number;
	/** Fills `target` from `position`; returns the bytes read, fewer only at the end of the file. */
	readSync(target: Uint8Array, position: number): number;
	/** As `readSync`, off the event loop. */
	read(target: Uint8Array, position: number): Promise<number>;
	/** Writes all of `parts`, in order, from `position` on; throws with nothing promised of any byte. */
	write(parts: readonly Uint8Array[], position: number): void;
	/** fdatasync, off the event loop. After a rejection nothing written since the last good sync is to be trusted. */
	sync(): Promise<void>;
	/** fdatasync, blocking: for start and stop only. */
	syncNow(): void;
	truncate(sizeBytes: number): void;
	close(): void;
}

/** What there is by a name. */
export interface FileStatus {
	/** A symbolic link is `other`, whatever it leads to. */
	readonly kind: "file" | "folder" | "other";
	readonly sizeBytes: number;
	/** By the clock of the machine that has the file system, milliseconds since 1970; FAT knows even seconds only. */
	readonly modifiedMs: number;
}

export interface Disk {
	/** `read`: must exist. `write`: must exist. `create`: opened for reading and writing, made when missing. */
	open(file: string, mode: "read" | "write" | "create"): DiskFile;
	exists(name: string): boolean;
	/** Bytes, or undefined when there is no such file. */
	fileSize(file: string): number | undefined;
	/** undefined when there is nothing by that name. */
	status(name: string): FileStatus | undefined;
	/** Names in a folder, unsorted; empty when there is no such folder. */
	list(folder: string): string[];
	/** With its parents; no error when it exists. */
	makeDirectory(folder: string): void;
	rename(from: string, to: string): void;
	/** Gives a file a second name, in one step; EEXIST where there is something by that name. FAT knows no such thing: EPERM. */
	link(from: string, to: string): void;
	remove(file: string): void;
	/** With all that is in it; no error when it does not exist. */
	removeDirectory(folder: string): void;
	syncDirectory(folder: string): void;
	/** Bytes that may still be written to the file system that holds `folder`. */
	freeBytes(folder: string): number;
	/** Bytes of the file system that holds `folder`. */
	totalBytes(folder: string): number;
}

class NodeFile implements DiskFile {
	readonly path: string;
	#fd: number;

	constructor(file: string, flags: number) {
		this.path = file;
		this.#fd = fs.openSync(file, flags, 0o640);
	}

	size(): number {
		return fs.fstatSync(this.#fd).size;
	}

	readSync(target: Uint8Array, position: number): number {
		let done = 0;
		while (done < target.length) {
			const n = fs.readSync(this.#fd, target, done, target.length - done, position + done);
			if (n === 0) break;
			done += n;
		}
		return done;
	}

	async read(target: Uint8Array, position: number): Promise<number> {
		let done = 0;
		while (done < target.length) {
			const n = await new Promise<number>((resolve, reject) => {
				fs.read(this.#fd, target, done, target.length - done, position + done, (error, bytes) =>
					error ? reject(error) : resolve(bytes),
				);
			});
			if (n === 0) break;
			done += n;
		}
		return done;
	}

	write(parts: readonly Uint8Array[], position: number): void {
		let at = position;
		if (parts.length === 1) {
			const part = parts[0] as Uint8Array;
			for (let done = 0; done < part.length; )
				done += fs.writeSync(this.#fd, part, done, part.length - done, at + done);
			return;
		}
		// IOV_MAX is 1024 on Linux.
		for (let i = 0; i < parts.length; i += 1024) {
			let slice = parts.slice(i, i + 1024);
			let left = 0;
			for (const part of slice) left += part.length;
			while (left > 0) {
				let n = fs.writevSync(this.#fd, slice, at);
				at += n;
				left -= n;
				if (left === 0) break;
				// A short write: go on behind it.
				while (n >= (slice[0] as Uint8Array).length) {
					n -= (slice[0] as Uint8Array).length;
					slice = slice.slice(1);
				}
				slice = [(slice[0] as Uint8Array).subarray(n), ...slice.slice(1)];
			}
		}
	}

	sync(): Promise<void> {
		return new Promise((resolve, reject) => {
			fs.fdatasync(this.#fd, (error) => (error ? reject(error) : resolve()));
		});
	}

	syncNow(): void {
		fs.fdatasyncSync(this.#fd);
	}

	truncate(sizeBytes: number): void {
		fs.ftruncateSync(this.#fd, sizeBytes);
	}

	close(): void {
		if (this.#fd < 0) return;
		const fd = this.#fd;
		// A later use must fail, not reach whatever file has that number then.
		this.#fd = -1;
		fs.closeSync(fd);
	}
}

const OPEN_FLAGS = {
	read: fs.constants.O_RDONLY,
	write: fs.constants.O_RDWR,
	create: fs.constants.O_RDWR | fs.constants.O_CREAT,
};

export class NodeDisk implements Disk {
	open(file: string, mode: "read" | "write" | "create"): DiskFile {
		return new NodeFile(file, OPEN_FLAGS[mode]);
	}

	exists(name: string): boolean {
		return fs.existsSync(name);
	}

	fileSize(file: string): number | undefined {
		return fs.statSync(file, { throwIfNoEntry: false })?.size;
	}

	status(name: string): FileStatus | undefined {
		try {
			const stats = fs.lstatSync(name);
			const kind = stats.isFile() ? "file" : stats.isDirectory() ? "folder" : "other";
			return { kind, sizeBytes: stats.size, modifiedMs: Math.floor(stats.mtimeMs) };
		} catch (error) {
			const { code } = error as NodeJS.ErrnoException;
			if (code === "ENOENT" || code === "ENOTDIR") return undefined;
			throw error;
		}
	}

	list(folder: string): string[] {
		try {
			return fs.readdirSync(folder);
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
			throw error;
		}
	}

	makeDirectory(folder: string): void {
		fs.mkdirSync(folder, { recursive: true, mode: 0o750 });
	}

	rename(from: string, to: string): void {
		fs.renameSync(from, to);
	}

	link(from: string, to: string): void {
		fs.linkSync(from, to);
	}

	remove(file: string): void {
		fs.rmSync(file, { force: true });
	}

	removeDirectory(folder: string): void {
		fs.rmSync(folder, { recursive: true, force: true });
	}

	syncDirectory(folder: string): void {
		const fd = fs.openSync(folder, fs.constants.O_RDONLY);
		try {
			fs.fsyncSync(fd);
		} finally {
			fs.closeSync(fd);
		}
	}

	freeBytes(folder: string): number {
		const stats = fs.statfsSync(folder);
		return stats.bavail * stats.bsize;
	}

	totalBytes(folder: string): number {
		const stats = fs.statfsSync(folder);
		return stats.blocks * stats.bsize;
	}
}

/** `count` bytes from the operating system's random source. */
export function readEntropy(count: number): Buffer {
	const file = new NodeFile("/dev/urandom", fs.constants.O_RDONLY);
	try {
		const bytes = Buffer.alloc(count);
		file.readSync(bytes, 0);
		return bytes;
	} finally {
		file.close();
	}
}

/** Joins path parts; here so that nothing else need import node:path for the broker's files. */
export function joinPath(...parts: string[]): string {
	return path.join(...parts);
}
