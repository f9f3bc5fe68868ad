/**
 * An object store in a folder: a USB stick, a second disk, a share, or `objects` in the data directory. An object is a file
 * under its key. What a call has promised is on the medium: the file synced, then given its name, then the name synced.
 * How a folder becomes a store, and why not every folder is one: `store-folder.ts`.
 */
import { fileURLToPath } from "node:url";
import type { Disk, DiskFile } from "../src/base/disk.ts";
import { type Random, systemRandom } from "../src/base/random.ts";
import { DirectoryUploads } from "./directory/directory-uploads.ts";
import { StoreFolder } from "./directory/store-folder.ts";
import {
	type ObjectInfo,
	type ObjectPage,
	type ObjectStore,
	type ObjectStoreOptions,
	requireKey,
	requirePrefix,
	StoreError,
	type StoreErrorKind,
	type UploadId,
} from "./object-store.ts";

const PAGE_OBJECTS = 1000;
const PUT = ".put";
/** What a process that ended left in the staging folder, and nobody will ask for. */
const LEFTOVER_MS = 24 * 60 * 60 * 1000;
/** What a name may be that is part of a key; files of others are passed over. */
const PART = /^[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,199}$/;

export class DirectoryStore implements ObjectStore {
	readonly name: string;
	readonly partBytes: number;
	readonly #folder: StoreFolder;
	readonly #uploads: DirectoryUploads;
	/** Goes up with `close`: what began before is under way no more. */
	#opening = 0;
	#tidied = false;

	/** Throws StoreError `refused` where the URL is none of a folder. */
	constructor(
		{ url, partBytes }: Pick<ObjectStoreOptions, "url" | "partBytes">,
		disk: Disk,
		random: Random = systemRandom,
	) {
		this.#folder = new StoreFolder(disk, random, folderOf(url));
		this.name = this.#folder.name;
		this.partBytes = partBytes;
		this.#uploads = new DirectoryUploads(this.#folder, partBytes);
	}

	putIfAbsent(key: string, body: Uint8Array): Promise<void> {
		return this.#perform(key, "put", async () => {
			this.#mustFit(key, body);
			this.#folder.found();
			if (this.#folder.statusOf(key) !== undefined)
				throw new StoreError("exists", `${key} is in ${this.name} already: nothing was put`);
			await this.#stage(key, body, (staged) => this.#folder.placeIfAbsent(staged, key));
		});
	}

	put(key: string, body: Uint8Array): Promise<undefined> {
		return this.#perform(key, "put", async () => {
			this.#mustFit(key, body);
			this.#folder.mustBeStore();
			await this.#stage(key, body, (staged) => this.#folder.place(staged, key));
			return undefined;
		});
	}

	beginUpload(key: string): Promise<UploadId> {
		return this.#perform(key, "begin an upload of", async () => {
			this.#folder.mustBeStore();
			return this.#uploads.begin(key);
		});
	}

	putPart(upload: UploadId, number: number, body: Uint8Array): Promise<string> {
		return this.#perform(upload.key, `put part ${number} of`, async () => {
			this.#folder.mustBeStore();
			return this.#uploads.putPart(upload, number, body);
		});
	}

	completeUpload(upload: UploadId, etags: readonly string[]): Promise<void> {
		return this.#perform(upload.key, "complete the upload of", async () => {
			this.#folder.mustBeStore();
			await this.#uploads.complete(upload, etags);
		});
	}

	abortUpload(upload: UploadId): Promise<void> {
		return this.#perform(upload.key, "abort the upload of", async () => {
			this.#folder.mustBeStore();
			await this.#uploads.abort(upload);
		});
	}

	uploads(prefix: string): Promise<UploadId[]> {
		return this.#perform(
			prefix,
			"list the uploads of",
			async () => {
				this.#folder.mustBeStore();
				return this.#uploads.list(prefix);
			},
			requirePrefix,
		);
	}

	get(key: string, position: number, bytes: number): Promise<Buffer> {
		return this.#perform(key, "read", () =>
			this.#withObject(key, async (file) => {
				const target = Buffer.allocUnsafe(Math.max(0, Math.min(bytes, file.size() - position)));
				return target.subarray(0, await file.read(target, position));
			}),
		);
	}

	getLast(key: string, bytes: number): Promise<{ readonly bytes: Buffer; readonly sizeBytes: number }> {
		return this.#perform(key, "read", () =>
			this.#withObject(key, async (file) => {
				const sizeBytes = file.size();
				const target = Buffer.allocUnsafe(Math.min(bytes, sizeBytes));
				const count = await file.read(target, sizeBytes - target.length);
				return { bytes: target.subarray(0, count), sizeBytes };
			}),
		);
	}

	head(key: string): Promise<ObjectInfo | undefined> {
		return this.#perform(key, "look for", async () => {
			this.#folder.mustBeStore();
			const info = this.#infoOf(key);
			// A call that failed may have got as far as the name. Who is told that it is there builds on it.
			if (info !== undefined) this.#folder.syncFolderOf(key);
			return info;
		});
	}

	list(prefix: string, after = ""): Promise<ObjectPage> {
		return this.#perform(
			prefix,
			"list",
			async () => {
				this.#folder.mustBeStore();
				const objects: ObjectInfo[] = [];
				for (const key of this.#keysIn("", prefix, after)) {
					if (objects.length === PAGE_OBJECTS) return { objects, more: true };
					const info = this.#infoOf(key);
					if (info !== undefined) objects.push(info);
				}
				return { objects, more: false };
			},
			requirePrefix,
		);
	}

	delete(key: string): Promise<void> {
		return this.#perform(key, "delete", async () => {
			this.#folder.mustBeStore();
			if (this.#folder.statusOf(key) !== undefined) this.#folder.disk.remove(this.#folder.fileOf(key));
			// Or what an earlier call removed, and could not sync.
			this.#folder.syncFolderOf(key);
		});
	}

	async close(): Promise<void> {
		this.#opening++;
	}

	#mustFit(key: string, body: Uint8Array): void {
		if (body.length <= this.partBytes) return;
		throw new StoreError(
			"refused",
			`${key} has ${body.length} bytes, and at most ${this.partBytes} are put at once: upload it in parts`,
		);
	}

	/** Writes the body to a file of its own, which `place` then gives its name. */
	async #stage(key: string, body: Uint8Array, place: (staged: string) => void): Promise<void> {
		const { disk } = this.#folder;
		this.#folder.fileOf(key);
		this.#folder.mustHaveRoom(key, body.length);
		const staged = this.#folder.stagingFile(this.#folder.newName() + PUT, true);
		const file = disk.open(staged, "create");
		try {
			try {
				file.write([body], 0);
				await file.sync();
			} finally {
				file.close();
			}
			this.#tidy(staged);
			place(staged);
		} catch (error) {
			this.#discard(staged);
			throw error;
		}
		this.#folder.syncStaging();
	}

	#discard(staged: string): void {
		try {
			this.#folder.disk.remove(staged);
		} catch {
			// It goes when a later process tidies up. What failed first is what is told.
		}
	}

	/** Once in a process: removes what others left that ended in the middle. `staged` says what time it is by the medium's clock. */
	#tidy(staged: string): void {
		if (this.#tidied) return;
		this.#tidied = true;
		const { disk } = this.#folder;
		const nowMs = disk.status(staged)?.modifiedMs ?? 0;
		for (const name of this.#folder.stagingNames()) {
			const file = this.#folder.stagingFile(name);
			const status = disk.status(file);
			if (status?.kind !== "file" || status.modifiedMs > nowMs - LEFTOVER_MS || this.#uploads.has(name)) continue;
			disk.remove(file);
		}
	}

	async #withObject<T>(key: string, task: (file: DiskFile) => Promise<T>): Promise<T> {
		this.#folder.mustBeStore();
		if (this.#folder.statusOf(key) === undefined) throw this.#notFound(key);
		const file = this.#folder.disk.open(this.#folder.fileOf(key), "read");
		try {
			return await task(file);
		} finally {
			file.close();
		}
	}

	#notFound(key: string): StoreError {
		return new StoreError("not-found", `${key} is not in ${this.name}`);
	}

	#infoOf(key: string): ObjectInfo | undefined {
		const status = this.#folder.statusOf(key);
		if (status === undefined) return undefined;
		return { key, sizeBytes: status.sizeBytes, modifiedMs: status.modifiedMs, etag: undefined };
	}

	/** Keys of files in a folder (`""`, or one that ends with a slash) and those below, in the order of their bytes. */
	*#keysIn(folder: string, prefix: string, after: string): Generator<string> {
		const keys = this.#folder
			.names(folder)
			.filter((name) => PART.test(name))
			.map((name) => folder + name)
			.filter((key) => key.startsWith(prefix) || prefix.startsWith(`${key}/`))
			// Behind `after` is what is in a folder by that name if any of it may be.
			.filter((key) => key > after || `${key}/` > after || after.startsWith(`${key}/`))
			.sort();
		// A folder's keys stand where its name with a slash does: `a-b` comes before `a/b`.
		const folders: string[] = [];
		for (const key of keys) {
			while ((folders[0] ?? key) < key) yield* this.#keysIn(folders.shift() as string, prefix, after);
			const kind = this.#folder.kindOf(key);
			if (kind === "folder") {
				folders.push(`${key}/`);
				folders.sort();
			} else if (kind === "file" && key > after && key.startsWith(prefix)) yield key;
		}
		for (const each of folders) yield* this.#keysIn(each, prefix, after);
	}

	/** `what` is done to `key`, for messages; `require` throws where that is none. */
	async #perform<T>(key: string, what: string, task: () => Promise<T>, require = requireKey): Promise<T> {
		const opening = this.#opening;
		let outcome: T;
		try {
			require(key);
			outcome = await task();
		} catch (error) {
			throw this.#translate(error, `cannot ${what} ${key === "" ? "all" : key} in ${this.name}`);
		}
		if (opening !== this.#opening)
			throw new StoreError("unreachable", `could not ${what} ${key} in ${this.name}: it was closed meanwhile`);
		return outcome;
	}

	#translate(error: unknown, what: string): unknown {
		const { code, message } = error as NodeJS.ErrnoException;
		// What has no code is no error of the disk.
		if (error instanceof StoreError || typeof code !== "string") return error;
		if (code === "ENOENT" && !this.#folder.isStore) {
			const why = `${what}: the folder went away, with its medium maybe`;
			return new StoreError("no-bucket", why, { cause: error });
		}
		const [kind, why] = CAUSES.get(code) ?? ["unreachable", "the disk failed"];
		return new StoreError(kind, `${what}: ${why} (${message})`, { cause: error });
	}
}

const CAUSES: ReadonlyMap<string, readonly [StoreErrorKind, string]> = new Map([
	["ENOSPC", ["full", "the disk is full; delete something there"]],
	["EDQUOT", ["full", "the quota is used up"]],
	["EFBIG", ["refused", "the file system takes no file so large"]],
	["EACCES", ["denied", "the gateway's user may not do this there; check owner and mode"]],
	["EPERM", ["denied", "the file system does not permit it"]],
	["EROFS", ["denied", "the medium is mounted read-only"]],
	["EIO", ["unreachable", "the medium reports an error; it may be failing"]],
	["ENOENT", ["unreachable", "something there was removed meanwhile"]],
	["EISDIR", ["refused", "it is the folder of other objects"]],
	["ENOTDIR", ["refused", "it leads through what is no folder"]],
	["ELOOP", ["refused", "it leads through too many links"]],
	["ENAMETOOLONG", ["refused", "the file system takes no name so long"]],
	["EINVAL", ["refused", "the file system takes no such name"]],
]);

/** Throws `refused` for what is no URL of a folder. */
function folderOf(url: string): string {
	let path = "";
	try {
		path = fileURLToPath(url).replace(/\/+$/, "");
	} catch {
		// Of another scheme, or with a host.
	}
	if (path !== "" && !path.includes("\0")) return path;
	throw new StoreError("refused", `${url} is no folder's URL: it looks like file:///mnt/usb/headwater`);
}
