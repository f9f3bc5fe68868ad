/**
 * An open file of the simulated disk. Once the power is gone its calls throw `PowerLossError` and its
 * asynchronous operations never end, as nothing ends in a process that is no more.
 */
import type { DiskFile } from "./disk.ts";
import type { SimulatedContent } from "./medium-simulated.ts";
import type { SimulatedRandom } from "./random-simulated.ts";

export type DiskOperation =
	| "open"
	| "read"
	| "write"
	| "sync"
	| "truncate"
	| "rename"
	| "link"
	| "remove"
	| "makeDirectory"
	| "syncDirectory";

/** Thrown by everything after the power went (or the process was killed), until the disk is started again. */
export class PowerLossError extends Error {
	override readonly name = "PowerLossError";
}

export interface FileCounters {
	writes: number;
	bytesWritten: number;
	syncs: number;
}

/** What an open file needs of its disk. */
export interface FileHost {
	readonly path: string;
	readonly counters: FileCounters;
	readonly random: SimulatedRandom;
	readonly tear: { readonly tearNeighbours: boolean };
	alive(): boolean;
	lies(): boolean;
	/** Counts one operation and runs it; without a name no fault on order applies. */
	perform<T>(operation: DiskOperation | undefined, task: () => T): T;
	fault(operation: DiskOperation): Error | undefined;
	schedule(complete: () => void, operation: "read" | "sync"): void;
	/** How many bytes a file may still grow. */
	room(growthBytes: number): number;
	wrote(bytes: number): void;
	syncStarted(): void;
}

export class SimulatedFile implements DiskFile {
	readonly path: string;
	readonly #host: FileHost;
	readonly #content: SimulatedContent;
	readonly #writable: boolean;
	#closed = false;

	constructor(host: FileHost, content: SimulatedContent, writable: boolean) {
		this.path = host.path;
		this.#host = host;
		this.#content = content;
		this.#writable = writable;
	}

	size(): number {
		return this.#perform(undefined, () => this.#content.sizeBytes, "fstat");
	}

	readSync(target: Uint8Array, position: number): number {
		return this.#perform("read", () => this.#content.read(target, position));
	}

	read(target: Uint8Array, position: number): Promise<number> {
		return this.#later("read", () => {
			const error = this.#host.fault("read");
			if (error !== undefined) throw error;
			return this.#content.read(target, position);
		});
	}

	write(parts: readonly Uint8Array[], position: number): void {
		this.#writes("write");
		this.#perform("write", () => {
			let bytes: Buffer = Buffer.concat(parts);
			const growth = position + bytes.length - this.#content.sizeBytes;
			const room = this.#host.room(growth);
			const full = growth > room;
			// What fits is written, as Linux does, before the error is known.
			if (full) bytes = bytes.subarray(0, Math.max(0, bytes.length - (growth - room)));
			this.#content.write(bytes, position);
			this.#host.wrote(bytes.length);
			if (full) throw systemError("ENOSPC", "write", this.path);
		});
	}

	sync(): Promise<void> {
		const mark = this.#content.mark();
		this.#host.syncStarted();
		return this.#later("sync", () => this.#finishSync(mark));
	}

	syncNow(): void {
		this.#host.syncStarted();
		const mark = this.#content.mark();
		this.#perform(undefined, () => undefined, "fdatasync");
		this.#finishSync(mark);
	}

	truncate(sizeBytes: number): void {
		this.#writes("ftruncate");
		this.#perform("truncate", () => this.#content.truncate(sizeBytes));
	}

	close(): void {
		this.#open("close");
		this.#closed = true;
	}

	#finishSync(mark: number): void {
		if (this.#host.lies()) return;
		const error = this.#host.fault("sync");
		if (error !== undefined) {
			this.#content.syncFailed(mark, this.#host.random, this.#host.tear);
			throw error;
		}
		this.#content.synced(mark);
	}

	#open(syscall: string): void {
		if (this.#closed) throw systemError("EBADF", syscall, this.path);
	}

	#writes(syscall: string): void {
		if (!this.#writable) throw systemError("EBADF", syscall, this.path);
	}

	#perform<T>(operation: DiskOperation | undefined, task: () => T, syscall: string = operation ?? ""): T {
		this.#open(syscall);
		return this.#host.perform(operation, task);
	}

	/** Ends when the scheduler says so; never, when the power goes first. A file closed meanwhile is an error. */
	#later<T>(operation: "read" | "sync", task: () => T): Promise<T> {
		return new Promise((resolve, reject) => {
			try {
				this.#perform(undefined, () => undefined, operation);
			} catch (error) {
				if (!(error instanceof PowerLossError)) reject(error);
				return;
			}
			this.#host.schedule(() => {
				if (!this.#host.alive()) return;
				try {
					this.#open(operation);
					resolve(task());
				} catch (error) {
					reject(error);
				}
			}, operation);
		});
	}
}

/** As Node's: `code`, `syscall`, `path`. */
export function systemError(code: string, syscall: string, file: string): NodeJS.ErrnoException {
	return Object.assign(new Error(`${code}: ${syscall} '${file}'`), { code, syscall, path: file });
}
