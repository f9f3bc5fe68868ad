/**
 * The disk's simulated twin: a file system in memory that keeps what POSIX promises and, at a power
 * cut, nothing more. Reads see the cached state; durable are bytes and size after a finished sync of
 * their file, names after `syncDirectory` of their folder. Everything that may go wrong is drawn
 * from the seed: the same seed and the same calls give the same bytes.
 *
 * Faults on order: no space, errors of chosen operations, a sync that lies, bit rot, a power cut or
 * the end of the process at the nth operation from now.
 */
import type { Disk, DiskFile, FileStatus } from "./disk.ts";
import {
	type DiskOperation,
	type FileCounters,
	type FileHost,
	PowerLossError,
	SimulatedFile,
	systemError,
} from "./file-simulated.ts";
import { SimulatedContent } from "./medium-simulated.ts";
import { SimulatedRandom } from "./random-simulated.ts";

export interface DiskFault {
	readonly operation: DiskOperation;
	/** Node's error code: "EIO", "ENOSPC" ... */
	readonly code: string;
	/** Which paths; all without it. */
	readonly file?: RegExp;
	/** How many operations that match are let through first; 0 without it. */
	readonly after?: number;
	/** How many fail then; 1 without it, `Infinity` for a disk that stays broken. */
	readonly times?: number;
}

export interface SimulatedDiskOptions {
	readonly random?: SimulatedRandom;
	/** Decides when an asynchronous operation ends, by calling `complete` once. Without it: in a microtask. */
	readonly schedule?: (complete: () => void, operation: "read" | "sync") => void;
	/** See `TearOptions`; true without it. */
	readonly tearNeighbours?: boolean;
	/** The clock that files are dated by, milliseconds since 1970; without it they are of 1970. */
	readonly now?: () => number;
	/** Called when the power goes, before anything can react to it. */
	readonly onStop?: () => void;
}

type Entry = FileEntry | FolderEntry;

class FileEntry {
	readonly content = new SimulatedContent();
	modifiedMs: number;

	constructor(nowMs: number) {
		this.modifiedMs = nowMs;
	}
}

class FolderEntry {
	cached = new Map<string, Entry>();
	durable = new Map<string, Entry>();
}

/** One change of names; it happens as a whole or not at all, as a rename does in a journalling file system. */
type NameChange = readonly { readonly folder: FolderEntry; readonly name: string; readonly entry: Entry | undefined }[];

export class SimulatedDisk implements Disk {
	/** Bytes that all files may hold together. */
	capacityBytes = Number.POSITIVE_INFINITY;
	/** A disk that acknowledges syncs and does nothing: what a test of the tests plants. */
	syncLies = false;
	bytesWritten = 0;
	syncs = 0;
	/** Every operation so far. */
	operations = 0;
	#root = new FolderEntry();
	#unsyncedNames: NameChange[] = [];
	#boot = 0;
	#off = false;
	#stopAt = Number.POSITIVE_INFINITY;
	#faults: { fault: DiskFault; passed: number; failed: number }[] = [];
	#counters = new Map<string, FileCounters>();
	readonly #random: SimulatedRandom;
	readonly #schedule: (complete: () => void, operation: "read" | "sync") => void;
	readonly #tear: { readonly tearNeighbours: boolean };
	readonly #now: () => number;
	readonly #onStop: () => void;

	constructor(options: SimulatedDiskOptions = {}) {
		this.#random = options.random ?? new SimulatedRandom("disk");
		this.#schedule = options.schedule ?? ((complete) => queueMicrotask(complete));
		this.#tear = { tearNeighbours: options.tearNeighbours ?? true };
		this.#now = options.now ?? (() => 0);
		this.#onStop = options.onStop ?? (() => {});
	}

	// What the simulation does to it.

	/** True from the operation at which it stopped until `powerCut` or `kill`. */
	get off(): boolean {
		return this.#off;
	}

	/** The power goes (or the process ends) in the middle of the `count`th operation from now; 1 is the next. */
	stopAfter(count: number): void {
		this.#stopAt = this.operations + count;
	}

	/** The power goes (or the process ends) now, between two operations. */
	stop(): void {
		if (this.#off) return;
		this.#off = true;
		this.#onStop();
	}

	/** The power goes and comes back: the disk as the next start finds it. Every open file is dead. */
	powerCut(random: SimulatedRandom = this.#random): void {
		this.#restart();
		this.#settleNames(random);
		const seen = new Set<FolderEntry>();
		const restore = (folder: FolderEntry): void => {
			if (seen.has(folder)) return;
			seen.add(folder);
			folder.cached = new Map(folder.durable);
			for (const entry of folder.cached.values()) {
				if (entry instanceof FolderEntry) restore(entry);
				else entry.content.powerCut(random, this.#tear);
			}
		};
		restore(this.#root);
	}

	/** The process ends as by SIGKILL: every open file is dead, nothing is lost from the cache. */
	kill(): void {
		this.#restart();
	}

	#restart(): void {
		this.#boot++;
		this.#off = false;
		this.#stopAt = Number.POSITIVE_INFINITY;
	}

	#settleNames(random: SimulatedRandom): void {
		const changes = this.#unsyncedNames;
		this.#unsyncedNames = [];
		const style = random.weighted({ all: 2, none: 2, prefix: 3, each: 2 });
		const prefix = random.between(0, changes.length);
		const happened = changes.map(
			(_, i) => style === "all" || (style === "prefix" && i < prefix) || (style === "each" && random.chance(0.5)),
		);
		// A change that happened to a file brings with it the earlier ones of the same file: no file gets two names.
		const moved = new Set<Entry>();
		for (let i = changes.length - 1; i >= 0; i--) {
			const entries = (changes[i] as NameChange).flatMap(({ entry }) => entry ?? []);
			if (entries.some((entry) => moved.has(entry))) happened[i] = true;
			if (happened[i]) for (const entry of entries) moved.add(entry);
		}
		changes.forEach((change, i) => {
			if (happened[i]) makeDurable(change);
		});
	}

	/** Makes operations fail; the function returned ends it. */
	inject(fault: DiskFault): () => void {
		const entry = { fault, passed: 0, failed: 0 };
		this.#faults.push(entry);
		return () => {
			this.#faults = this.#faults.filter((other) => other !== entry);
		};
	}

	clearFaults(): void {
		this.#faults = [];
	}

	/** Bit rot: inverts the bits of `mask` in one stored byte. */
	flip(file: string, position: number, mask = 0x01): void {
		this.#file(file, "flip").content.flip(position, mask);
	}

	/** Since the beginning, by the path with which the file was opened. */
	counters(file: string): Readonly<FileCounters> {
		return this.#counters.get(normal(file)) ?? { writes: 0, bytesWritten: 0, syncs: 0 };
	}

	/** Every file's bytes as reads see them, by path, sorted. */
	files(): Map<string, Buffer> {
		const found: [string, Buffer][] = [];
		const walk = (folder: FolderEntry, at: string): void => {
			for (const [name, entry] of folder.cached) {
				if (entry instanceof FolderEntry) walk(entry, `${at}/${name}`);
				else found.push([`${at}/${name}`, entry.content.cached()]);
			}
		};
		walk(this.#root, "");
		return new Map(found.sort(([a], [b]) => (a < b ? -1 : 1)));
	}

	// The interface.

	open(file: string, mode: "read" | "write" | "create"): DiskFile {
		return this.#perform("open", file, () => {
			const { folder, name } = this.#parent(file, "open");
			let entry = folder.cached.get(name);
			if (entry === undefined && mode === "create") {
				entry = new FileEntry(this.#now());
				this.#rename([{ folder, name, entry }]);
			}
			if (entry === undefined) throw systemError("ENOENT", "open", file);
			if (entry instanceof FolderEntry) throw systemError("EISDIR", "open", file);
			return new SimulatedFile(this.#handle(file, entry), entry.content, mode !== "read");
		});
	}

	exists(name: string): boolean {
		this.#enter();
		return this.#lookup(name) !== undefined;
	}

	fileSize(file: string): number | undefined {
		this.#enter();
		const entry = this.#lookup(file);
		return entry instanceof FileEntry ? entry.content.sizeBytes : entry === undefined ? undefined : 4096;
	}

	status(name: string): FileStatus | undefined {
		this.#enter();
		const entry = this.#lookup(name);
		if (entry === undefined) return undefined;
		if (entry instanceof FolderEntry) return { kind: "folder", sizeBytes: 4096, modifiedMs: 0 };
		return { kind: "file", sizeBytes: entry.content.sizeBytes, modifiedMs: entry.modifiedMs };
	}

	list(folder: string): string[] {
		this.#enter();
		const entry = this.#lookup(folder);
		if (entry === undefined) return [];
		if (entry instanceof FileEntry) throw systemError("ENOTDIR", "scandir", folder);
		return [...entry.cached.keys()];
	}

	makeDirectory(folder: string): void {
		this.#perform("makeDirectory", folder, () => {
			let at = this.#root;
			for (const name of split(folder)) {
				let next = at.cached.get(name);
				if (next instanceof FileEntry) throw systemError("EEXIST", "mkdir", folder);
				if (next === undefined) {
					next = new FolderEntry();
					this.#rename([{ folder: at, name, entry: next }]);
				}
				at = next;
			}
		});
	}

	rename(from: string, to: string): void {
		this.#perform("rename", from, () => {
			const source = this.#parent(from, "rename");
			const target = this.#parent(to, "rename");
			const entry = source.folder.cached.get(source.name);
			if (entry === undefined) throw systemError("ENOENT", "rename", from);
			const replaced = target.folder.cached.get(target.name);
			if (replaced === entry) return;
			if (replaced instanceof FolderEntry) {
				if (entry instanceof FileEntry) throw systemError("EISDIR", "rename", from);
				if (replaced.cached.size > 0) throw systemError("ENOTEMPTY", "rename", from);
			} else if (replaced !== undefined && entry instanceof FolderEntry) throw systemError("ENOTDIR", "rename", from);
			this.#rename([
				{ ...target, entry },
				{ ...source, entry: undefined },
			]);
		});
	}

	link(from: string, to: string): void {
		this.#perform("link", from, () => {
			const entry = this.#lookup(from);
			if (entry === undefined) throw systemError("ENOENT", "link", from);
			if (entry instanceof FolderEntry) throw systemError("EPERM", "link", from);
			const target = this.#parent(to, "link");
			if (target.folder.cached.has(target.name)) throw systemError("EEXIST", "link", from);
			this.#rename([{ ...target, entry }]);
		});
	}

	remove(file: string): void {
		this.#perform("remove", file, () => {
			const entry = this.#lookup(file);
			if (entry === undefined) return;
			if (entry instanceof FolderEntry) throw systemError("ERR_FS_EISDIR", "rm", file);
			this.#rename([{ ...this.#parent(file, "rm"), entry: undefined }]);
		});
	}

	removeDirectory(folder: string): void {
		const entry = this.#lookup(folder);
		// One operation for each name: the power may go between any two.
		if (entry instanceof FolderEntry) {
			for (const [name, inner] of [...entry.cached]) {
				if (inner instanceof FolderEntry) this.removeDirectory(`${folder}/${name}`);
				else this.remove(`${folder}/${name}`);
			}
		}
		this.#perform("remove", folder, () => {
			if (entry !== undefined) this.#rename([{ ...this.#parent(folder, "rm"), entry: undefined }]);
		});
	}

	syncDirectory(folder: string): void {
		const stops = this.#enter();
		const entry = this.#lookup(folder);
		if (!(entry instanceof FolderEntry)) throw systemError("ENOENT", "open", folder);
		if (stops) this.#stopNow();
		this.#fail("syncDirectory", folder);
		if (this.syncLies) return;
		this.#unsyncedNames = this.#unsyncedNames.filter((change) => {
			if (!change.some((one) => one.folder === entry)) return true;
			makeDurable(change);
			return false;
		});
	}

	freeBytes(_folder: string): number {
		this.#enter();
		return Math.max(0, Math.min(2 ** 50, this.capacityBytes - this.#usedBytes()));
	}

	totalBytes(_folder: string): number {
		return Math.min(2 ** 50, this.capacityBytes);
	}

	// Within.

	#handle(file: string, entry: FileEntry): FileHost {
		const boot = this.#boot;
		const counters = this.#counters.get(normal(file)) ?? { writes: 0, bytesWritten: 0, syncs: 0 };
		this.#counters.set(normal(file), counters);
		return {
			path: file,
			counters,
			random: this.#random,
			tear: this.#tear,
			alive: () => boot === this.#boot && !this.#off,
			lies: () => this.syncLies,
			perform: (operation, task) => {
				if (boot !== this.#boot) throw new PowerLossError(`${file} was opened before the restart`);
				if (operation === "write" || operation === "truncate") entry.modifiedMs = this.#now();
				return this.#perform(operation, file, task);
			},
			fault: (operation) => this.#fault(operation, file),
			schedule: this.#schedule,
			room: (growthBytes) =>
				growthBytes <= 0 || this.capacityBytes === Number.POSITIVE_INFINITY
					? growthBytes
					: Math.max(0, this.capacityBytes - this.#usedBytes()),
			wrote: (bytes) => {
				this.bytesWritten += bytes;
				counters.writes++;
				counters.bytesWritten += bytes;
			},
			syncStarted: () => {
				this.syncs++;
				counters.syncs++;
			},
		};
	}

	/** Counts an operation; true when the power goes in its middle. */
	#enter(): boolean {
		if (this.#off) throw new PowerLossError("the disk is off");
		return ++this.operations >= this.#stopAt;
	}

	#stopNow(): never {
		this.stop();
		throw new PowerLossError(`the power went at operation ${this.operations}`);
	}

	/** An operation whose effect is not durable by itself: where the power goes in its middle it is among the unsynced. */
	#perform<T>(operation: DiskOperation | undefined, file: string, task: () => T): T {
		const stops = this.#enter();
		if (operation !== undefined) this.#fail(operation, file);
		const result = task();
		if (stops) this.#stopNow();
		return result;
	}

	#fail(operation: DiskOperation, file: string): void {
		const error = this.#fault(operation, file);
		if (error !== undefined) throw error;
	}

	#fault(operation: DiskOperation, file: string): Error | undefined {
		for (const entry of this.#faults) {
			const { fault } = entry;
			if (fault.operation !== operation || (fault.file !== undefined && !fault.file.test(file))) continue;
			if (entry.passed < (fault.after ?? 0)) {
				entry.passed++;
			} else if (entry.failed < (fault.times ?? 1)) {
				entry.failed++;
				return systemError(fault.code, operation, file);
			}
		}
		return undefined;
	}

	#rename(change: NameChange): void {
		for (const { folder, name, entry } of change) setName(folder.cached, name, entry);
		this.#unsyncedNames.push(change);
	}

	#lookup(name: string): Entry | undefined {
		let at: Entry | undefined = this.#root;
		for (const part of split(name)) {
			if (!(at instanceof FolderEntry)) return undefined;
			at = at.cached.get(part);
		}
		return at;
	}

	#file(name: string, operation: string): FileEntry {
		const entry = this.#lookup(name);
		if (entry instanceof FileEntry) return entry;
		throw systemError("ENOENT", operation, name);
	}

	#parent(name: string, operation: string): { folder: FolderEntry; name: string } {
		const parts = split(name);
		const last = parts.pop();
		const folder = this.#lookup(parts.join("/"));
		if (folder === undefined || last === undefined) throw systemError("ENOENT", operation, name);
		if (folder instanceof FileEntry) throw systemError("ENOTDIR", operation, name);
		return { folder, name: last };
	}

	/** A file counts once, however many names it has. */
	#usedBytes(): number {
		const files = new Set<FileEntry>();
		const walk = (folder: FolderEntry): void => {
			for (const entry of folder.cached.values()) {
				if (entry instanceof FolderEntry) walk(entry);
				else files.add(entry);
			}
		};
		walk(this.#root);
		let used = 0;
		for (const { content } of files) used += content.sizeBytes;
		return used;
	}
}

function makeDurable(change: NameChange): void {
	for (const { folder, name, entry } of change) setName(folder.durable, name, entry);
}

function setName(names: Map<string, Entry>, name: string, entry: Entry | undefined): void {
	if (entry === undefined) names.delete(name);
	else names.set(name, entry);
}

function split(name: string): string[] {
	const parts: string[] = [];
	for (const part of name.split("/")) {
		if (part === "..") parts.pop();
		else if (part !== "" && part !== ".") parts.push(part);
	}
	return parts;
}

function normal(name: string): string {
	return split(name).join("/");
}
