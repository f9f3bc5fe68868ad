/**
 * The folder that is an object store: whether it is there at all, where its files are, and how one comes there whole and
 * durably. Nothing outside of it is touched: every folder on the way to a file is looked at, and must not be a link.
 *
 * A file `.headwater-store` says that it is a store. An empty folder may be the place of a medium that is not mounted: what
 * would be written there fills the disk below, and is gone from sight when the medium comes back. So a folder becomes a
 * store only by `found`, which is asked of it once in a gateway's life.
 *
 * Where a file system knows no syncing of folders (CIFS) or no hard links (FAT), it is done without.
 */
import { type Disk, type FileStatus, joinPath } from "../../src/base/disk.ts";
import type { Random } from "../../src/base/random.ts";
import { StoreError } from "../object-store.ts";

const MARKER = ".headwater-store";
const MARKER_TEXT =
	"This folder is an object store of Headwater. Leave this file here: without it Headwater takes the folder for the place\n" +
	"of a medium that is not mounted, and neither reads nor writes in it.\n";
/** What is not yet an object. No key begins with a dot. */
const STAGING = ".uploads";
/** Left free for whatever else is on the disk; on a small one a fiftieth of it. */
const RESERVE_BYTES = 32 * 1024 * 1024;
/** The file system does not know how: nothing is the matter, and nothing can be done. */
const NO_FOLDER_SYNC = ["EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EROFS"];
const NO_LINKS = ["EPERM", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EMLINK"];

export class StoreFolder {
	/** For people. */
	readonly name: string;
	readonly disk: Disk;
	readonly #path: string;
	readonly #random: Random;
	/** Folders whose names, and those above them, are durable for certain: a start, or an error, may have left others. */
	readonly #durable = new Set<string>();

	/** `path`: absolute. */
	constructor(disk: Disk, random: Random, path: string) {
		this.disk = disk;
		this.#random = random;
		this.#path = path;
		this.name = `file://${path}`;
	}

	get isStore(): boolean {
		return this.disk.status(joinPath(this.#path, MARKER))?.kind === "file";
	}

	/** Throws `no-bucket` where it is none. */
	mustBeStore(): void {
		if (this.isStore) return;
		this.#durable.clear();
		throw new StoreError(
			"no-bucket",
			`${this.#path} is no object store: it has no file ${MARKER}. If it is the place of a medium, that is not mounted; ` +
				"if the store was copied there without this file, make an empty one",
		);
	}

	/** Makes it a store where it is none; the folder itself, too, but none above it. Throws `no-bucket` where that is missing. */
	found(): void {
		if (this.isStore) return;
		this.#durable.clear();
		const { disk } = this;
		const above = joinPath(this.#path, "..");
		const made = !disk.exists(this.#path);
		if (made) {
			if (!disk.exists(above))
				throw new StoreError(
					"no-bucket",
					`there is no folder ${above} to make ${this.#path} in: is its medium mounted? If it is right, make it`,
				);
			disk.makeDirectory(this.#path);
		}
		try {
			this.#syncFolder(above);
		} catch (error) {
			// Somebody else's: it has been there for long.
			if (made || !isOneOf(error, ["EACCES", "EPERM"])) throw error;
		}
		// Its name becomes durable with that of the staging folder, before there is any object.
		this.#write(joinPath(this.#path, MARKER), Buffer.from(MARKER_TEXT));
	}

	#write(file: string, bytes: Uint8Array): void {
		const open = this.disk.open(file, "create");
		try {
			open.write([bytes], 0);
			open.syncNow();
		} finally {
			open.close();
		}
	}

	/** Throws `full` where `bytes` more would leave too little. */
	mustHaveRoom(key: string, bytes: number): void {
		const reserve = Math.min(RESERVE_BYTES, Math.floor(this.disk.totalBytes(this.#path) / 50));
		const free = this.disk.freeBytes(this.#path);
		if (free - bytes >= reserve) return;
		throw new StoreError(
			"full",
			`${key} (${bytes} bytes) does not fit: ${this.name} has ${free} bytes free, of which ${reserve} stay free. Delete something there`,
		);
	}

	/** Where an object's file is, or would be. Throws `refused` where the way there leads through what is no folder. */
	fileOf(key: string): string {
		const parts = key.split("/");
		let path = this.#path;
		for (const part of parts.slice(0, -1)) {
			path = joinPath(path, part);
			const kind = this.disk.status(path)?.kind;
			if (kind === undefined) break;
			if (kind !== "folder")
				throw new StoreError("refused", `${key} cannot be in ${this.name}: ${path} is no folder but a file or a link`);
		}
		return joinPath(this.#path, key);
	}

	/** What is at an object's file, undefined where that is no plain one. */
	statusOf(key: string): FileStatus | undefined {
		const status = this.disk.status(this.fileOf(key));
		return status?.kind === "file" ? status : undefined;
	}

	/** What has that name, a folder maybe; undefined where nothing has. */
	kindOf(key: string): FileStatus["kind"] | undefined {
		return this.disk.status(joinPath(this.#path, key))?.kind;
	}

	/** What is in one of its folders (`""`: itself), unsorted; empty where there is no such folder. */
	names(folder: string): string[] {
		return this.disk.list(joinPath(this.#path, folder));
	}

	/** What is not yet an object: a file for `name`, in a folder of its own, which is made when `make` is set. */
	stagingFile(name: string, make = false): string {
		const folder = joinPath(this.#path, STAGING);
		if (make) this.#makeDurable([STAGING]);
		return joinPath(folder, name);
	}

	stagingNames(): string[] {
		return this.names(STAGING);
	}

	syncStaging(): void {
		const folder = joinPath(this.#path, STAGING);
		if (this.disk.exists(folder)) this.#syncFolder(folder);
	}

	/** For something in the staging folder: 16 hexadecimal digits that nothing else has. */
	newName(): string {
		return this.#random.bytes(8).toString("hex");
	}

	/**
	 * Makes a synced file of the staging folder the object of `key`, in place of another. It is durable when this returns;
	 * that it has left the staging folder is, after `syncStaging`.
	 */
	place(staged: string, key: string): void {
		// The medium may have gone while the file was synced: its place is not to be filled.
		this.mustBeStore();
		const target = this.fileOf(key);
		this.#makeDurable(key.split("/").slice(0, -1));
		this.disk.rename(staged, target);
		this.syncFolderOf(key);
	}

	/** As `place`, but throws `exists` where there is something by that key. */
	placeIfAbsent(staged: string, key: string): void {
		this.mustBeStore();
		const target = this.fileOf(key);
		this.#makeDurable(key.split("/").slice(0, -1));
		try {
			this.disk.link(staged, target);
		} catch (error) {
			if (isOneOf(error, ["EEXIST"])) throw this.#exists(key);
			if (!isOneOf(error, NO_LINKS)) throw error;
			// No other machine has this medium, and nothing comes between these two but another process on this one.
			if (this.disk.exists(target)) throw this.#exists(key);
			this.disk.rename(staged, target);
		}
		this.syncFolderOf(key);
		this.disk.remove(staged);
	}

	#exists(key: string): StoreError {
		if (this.kindOf(key) === "folder")
			return new StoreError("refused", `${key} cannot be in ${this.name}: it is the folder of other objects`);
		return new StoreError("exists", `${key} is in ${this.name} already: nothing was put`);
	}

	/** Whatever became of earlier calls: that an object is there, or is not, is durable when this returns. */
	syncFolderOf(key: string): void {
		const folders = key.split("/").slice(0, -1);
		const path = joinPath(this.#path, ...folders);
		if (!this.disk.exists(path)) return;
		this.#makeDurable(folders);
		this.#syncFolder(path);
	}

	/** Makes folders below one another where they are missing, and sees to it once that they are durable. */
	#makeDurable(names: readonly string[]): void {
		let path = this.#path;
		for (const name of names) {
			const above = path;
			path = joinPath(path, name);
			const isThere = this.disk.exists(path);
			if (isThere && this.#durable.has(path)) continue;
			if (!isThere) this.disk.makeDirectory(path);
			this.#syncFolder(above);
			this.#durable.add(path);
		}
	}

	#syncFolder(path: string): void {
		try {
			this.disk.syncDirectory(path);
		} catch (error) {
			if (!isOneOf(error, NO_FOLDER_SYNC)) throw error;
		}
	}
}

function isOneOf(error: unknown, codes: readonly string[]): boolean {
	return codes.includes((error as { code?: string }).code ?? "");
}
