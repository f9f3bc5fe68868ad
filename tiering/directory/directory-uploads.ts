/**
 * Uploads in parts to a folder. Each is two files in the store's staging folder, so that it goes on after its process ended:
 *
 *     <id>.data    the parts, in the order in which they came
 *     <id>.index   a line of JSON for the key, and one for each part: where it is in the data
 *
 * Parts that come in order, each once, lie as the object has them: completing is a rename, and nothing is written twice. Else
 * they are copied into a file of their own first (`<id>.whole`). An upload is one while it has both files.
 */
import type { DiskFile } from "../../src/base/disk.ts";
import { StoreError, type UploadId } from "../object-store.ts";
import type { StoreFolder } from "./store-folder.ts";

const INDEX = ".index";
const DATA = ".data";
const WHOLE = ".whole";
const ID = /^[0-9a-f]{16}$/;
const COPY_BYTES = 1024 * 1024;

interface PlacedPart {
	readonly number: number;
	/** In the data. */
	readonly position: number;
	readonly bytes: number;
}

interface Upload {
	readonly key: string;
	/** In the order in which they came; of those with one number the last counts. */
	readonly parts: readonly PlacedPart[];
	/** What of the index could be read: the next line goes there. */
	readonly indexBytes: number;
	/** Where the next part goes; what a failed call left there is overwritten. */
	readonly endBytes: number;
}

export class DirectoryUploads {
	readonly #folder: StoreFolder;
	readonly #leastPartBytes: number;
	/** What is done to one upload is done one after the other. */
	readonly #turns = new Map<string, Promise<unknown>>();

	constructor(folder: StoreFolder, leastPartBytes: number) {
		this.#folder = folder;
		this.#leastPartBytes = leastPartBytes;
	}

	begin(key: string): UploadId {
		// A key that cannot be is found out before all is sent.
		this.#folder.fileOf(key);
		const id = this.#folder.newName();
		this.#folder.disk.open(this.#folder.stagingFile(id + DATA, true), "create").close();
		const index = this.#folder.disk.open(this.#folder.stagingFile(id + INDEX), "create");
		try {
			index.write([line({ key })], 0);
			index.syncNow();
		} finally {
			index.close();
		}
		this.#folder.syncStaging();
		return { key, id };
	}

	/** Returns what `complete` asks for: where it is. */
	putPart(upload: UploadId, number: number, body: Uint8Array): Promise<string> {
		return this.#inTurn(upload, async () => {
			const { indexBytes, endBytes } = this.#find(upload);
			this.#folder.mustHaveRoom(upload.key, body.length);
			const placed: PlacedPart = { number, position: endBytes, bytes: body.length };
			await this.#withFile(upload.id + DATA, "write", async (data) => {
				data.write([body], endBytes);
				// Now, and not all of it at the end: so much to write at once would hold up who else has the disk.
				await data.sync();
			});
			// Not synced: who lost power begins another upload.
			await this.#withFile(upload.id + INDEX, "write", async (index) => {
				// What a torn line left, or one that is longer.
				index.truncate(indexBytes);
				index.write([line(placed)], indexBytes);
			});
			return etagOf(placed);
		});
	}

	complete(upload: UploadId, etags: readonly string[]): Promise<void> {
		return this.#inTurn(upload, async () => {
			const found = this.#find(upload);
			const parts = this.#choose(found, etags);
			let position = 0;
			let inOrder = true;
			for (const part of parts) {
				inOrder &&= part.position === position;
				position += part.bytes;
			}
			const file = upload.id + (inOrder ? DATA : WHOLE);
			if (inOrder) {
				await this.#withFile(file, "write", async (data) => {
					if (data.size() !== position) data.truncate(position);
					await data.sync();
				});
			} else {
				this.#folder.mustHaveRoom(upload.key, position);
				await this.#copy(upload, parts);
			}
			this.#folder.place(this.#folder.stagingFile(file), upload.key);
			this.#remove(upload.id);
		});
	}

	abort(upload: UploadId): Promise<void> {
		return this.#inTurn(upload, async () => {
			if (ID.test(upload.id) && this.#read(upload.id)?.key === upload.key) this.#remove(upload.id);
			// Or what an earlier call removed, and could not sync.
			else this.#folder.syncStaging();
		});
	}

	list(prefix: string): UploadId[] {
		const found: UploadId[] = [];
		for (const name of this.#folder.stagingNames().sort()) {
			const id = name.slice(0, -INDEX.length);
			if (!name.endsWith(INDEX) || !ID.test(id)) continue;
			const key = this.#read(id)?.key;
			if (key?.startsWith(prefix)) found.push({ key, id });
		}
		return found;
	}

	/** Whether a file of the staging folder belongs to an upload that may go on. */
	has(name: string): boolean {
		const id = name.split(".")[0] ?? "";
		return ID.test(id) && this.#read(id) !== undefined;
	}

	#inTurn<T>({ id }: UploadId, task: () => Promise<T>): Promise<T> {
		const turn = (this.#turns.get(id) ?? Promise.resolve()).then(task, task);
		this.#turns.set(id, turn);
		const end = (): void => {
			if (this.#turns.get(id) === turn) this.#turns.delete(id);
		};
		turn.then(end, end);
		return turn;
	}

	#find(upload: UploadId): Upload {
		const found = ID.test(upload.id) ? this.#read(upload.id) : undefined;
		if (found?.key === upload.key) return found;
		throw new StoreError(
			"no-such-upload",
			`${upload.key}: ${this.#folder.name} has no upload ${upload.id} (any more): it was completed or aborted`,
		);
	}

	#read(id: string): Upload | undefined {
		const { disk } = this.#folder;
		if (!disk.exists(this.#folder.stagingFile(id + DATA))) return undefined;
		const path = this.#folder.stagingFile(id + INDEX);
		const size = disk.status(path)?.sizeBytes;
		if (size === undefined) return undefined;
		const bytes = Buffer.alloc(size);
		const file = disk.open(path, "read");
		try {
			file.readSync(bytes, 0);
		} finally {
			file.close();
		}
		return parse(bytes);
	}

	#choose({ key, parts }: Upload, etags: readonly string[]): PlacedPart[] {
		const newest = new Map(parts.map((part) => [part.number, part]));
		const chosen = etags.map((etag, i) => {
			const part = newest.get(i + 1);
			if (part !== undefined && etagOf(part) === etag) return part;
			const why = part === undefined ? "was never sent" : "was sent again since";
			throw new StoreError("refused", `${key} cannot be completed in ${this.#folder.name}: its part ${i + 1} ${why}`);
		});
		const small = chosen.findIndex(({ bytes }, i) => i < chosen.length - 1 && bytes < this.#leastPartBytes);
		if (chosen.length > 0 && small < 0) return chosen;
		const why =
			chosen.length === 0
				? "it has no parts"
				: `its part ${small + 1} has ${chosen[small]?.bytes} bytes, and only the last may have less than ${this.#leastPartBytes}`;
		throw new StoreError("refused", `${key} cannot be completed in ${this.#folder.name}: ${why}`);
	}

	async #copy({ id }: UploadId, parts: readonly PlacedPart[]): Promise<void> {
		const slice = Buffer.allocUnsafe(COPY_BYTES);
		await this.#withFile(id + DATA, "read", (data) =>
			this.#withFile(id + WHOLE, "create", async (whole) => {
				whole.truncate(0);
				let to = 0;
				for (const { position, bytes } of parts) {
					for (let done = 0; done < bytes; ) {
						const target = slice.subarray(0, Math.min(COPY_BYTES, bytes - done));
						const count = await data.read(target, position + done);
						if (count < target.length)
							throw new StoreError("refused", `${data.path} ends at ${position + done + count}, inside a part`);
						whole.write([target], to);
						done += count;
						to += count;
					}
				}
				await whole.sync();
			}),
		);
	}

	async #withFile<T>(
		name: string,
		mode: "read" | "write" | "create",
		task: (file: DiskFile) => Promise<T>,
	): Promise<T> {
		const file = this.#folder.disk.open(this.#folder.stagingFile(name), mode);
		try {
			return await task(file);
		} finally {
			file.close();
		}
	}

	/** The index first: without it the rest is no upload. */
	#remove(id: string): void {
		for (const suffix of [INDEX, DATA, WHOLE]) this.#folder.disk.remove(this.#folder.stagingFile(id + suffix));
		this.#folder.syncStaging();
	}
}

function etagOf({ position, bytes }: PlacedPart): string {
	return `${position}+${bytes}`;
}

function line(value: object): Buffer {
	return Buffer.from(`${JSON.stringify(value)}\n`);
}

/** As far as it can be read: a line may be torn. */
function parse(bytes: Buffer): Upload | undefined {
	let key: string | undefined;
	const parts: PlacedPart[] = [];
	let at = 0;
	let endBytes = 0;
	for (let end = bytes.indexOf("\n"); end >= 0; end = bytes.indexOf("\n", at)) {
		let value: Partial<PlacedPart & { key: string }> | null;
		try {
			value = JSON.parse(bytes.toString("utf8", at, end));
		} catch {
			break;
		}
		if (value === null) break;
		if (key === undefined) {
			if (typeof value.key !== "string") return undefined;
			key = value.key;
		} else {
			const { number = 0, position = 0, bytes: size = 0 } = value;
			parts.push({ number, position, bytes: size });
			endBytes = Math.max(endBytes, position + size);
		}
		at = end + 1;
	}
	return key === undefined ? undefined : { key, parts, indexBytes: at, endBytes };
}
