/**
 * What a simulated object store holds, as a server of S3 holds it: objects with all their recent versions, so that it can
 * show yesterday's news, and uploads in parts. It survives whatever becomes of the gateways that use it (`simulated-store.ts`).
 */
import { createHash } from "node:crypto";
import type { SimulatedClock } from "../../src/base/clock-simulated.ts";
import { type ObjectInfo, StoreError, type UploadId } from "../../tiering/object-store.ts";

interface Version {
	/** By the monotonic clock. */
	readonly sinceMs: number;
	/** undefined: deleted. */
	readonly object: StoredObject | undefined;
}

interface StoredObject {
	readonly info: ObjectInfo;
	readonly bytes: Buffer;
}

interface Upload {
	readonly key: string;
	readonly parts: Map<number, { readonly bytes: Buffer; readonly etag: string }>;
}

export interface SimulatedBucketOptions {
	readonly clock: SimulatedClock;
	/** The least that a part before the last may have. */
	readonly leastPartBytes?: number;
}

export class SimulatedBucket {
	/** Bytes of all objects and parts together. */
	capacityBytes = Number.POSITIVE_INFINITY;
	/** There is none of that name. */
	missing = false;
	/** What this server's clock is ahead of true time, which goes on evenly while a gateway's clock is set. */
	skewMs = 0;
	/** How long old versions are kept, to be shown by a store that lies. */
	historyMs = 0;
	/** An object may begin where another ends: one change, or several, in an instant have their order. */
	readonly #versions = new Map<string, Version[]>();
	readonly #uploads = new Map<string, Upload>();
	readonly #clock: SimulatedClock;
	readonly #leastPartBytes: number;
	readonly #startMs: number;
	#uploadsBegun = 0;

	constructor({ clock, leastPartBytes = 0 }: SimulatedBucketOptions) {
		this.#clock = clock;
		this.#leastPartBytes = leastPartBytes;
		this.#startMs = clock.now() - clock.monotonic();
	}

	// What a test does to it, past every gateway.

	/** Every object's bytes, by key, sorted. */
	objects(): Map<string, Buffer> {
		const found = new Map<string, Buffer>();
		for (const key of [...this.#versions.keys()].sort()) {
			const object = this.find(key);
			if (object !== undefined) found.set(key, object.bytes);
		}
		return found;
	}

	/** Puts `bytes` there, whatever was. */
	plant(key: string, bytes: Uint8Array): void {
		this.#store(key, Buffer.from(bytes), md5(bytes));
	}

	/** Inverts the bits of `mask` in one byte. */
	flip(key: string, position: number, mask = 0x01): void {
		const object = this.#mustFind(key);
		object.bytes[position] = (object.bytes[position] as number) ^ mask;
	}

	/** Cuts the object off; it is as it was in all else. */
	truncate(key: string, sizeBytes: number): void {
		const { info, bytes } = this.#mustFind(key);
		this.#store(key, bytes.subarray(0, sizeBytes), info.etag);
	}

	/** By its own clock, milliseconds since 1970. */
	now(): number {
		return Math.floor(this.#startMs + this.#clock.monotonic() + this.skewMs);
	}

	get usedBytes(): number {
		let used = 0;
		for (const bytes of this.objects().values()) used += bytes.length;
		for (const { parts } of this.#uploads.values()) for (const { bytes } of parts.values()) used += bytes.length;
		return used;
	}

	// What a gateway does with it. `agoMs`: as it was then.

	find(key: string, agoMs = 0): StoredObject | undefined {
		const versions = this.#versions.get(key) ?? [];
		const then = this.#clock.monotonic() - agoMs;
		return versions.findLast(({ sinceMs }) => sinceMs <= then)?.object;
	}

	/** Sorted. */
	keys(prefix: string, agoMs = 0): string[] {
		return [...this.#versions.keys()]
			.filter((key) => key.startsWith(prefix) && this.find(key, agoMs) !== undefined)
			.sort();
	}

	/** Returns the etag. */
	put(key: string, bytes: Uint8Array): string {
		this.#mustHaveRoom(key, bytes.length);
		const etag = md5(bytes);
		this.#store(key, Buffer.from(bytes), etag);
		return etag;
	}

	delete(key: string): void {
		if (this.find(key) !== undefined) this.#add(key, undefined);
	}

	begin(key: string): UploadId {
		const id = `upload-${++this.#uploadsBegun}`;
		this.#uploads.set(id, { key, parts: new Map() });
		return { key, id };
	}

	/** Returns the etag. */
	putPart(upload: UploadId, number: number, bytes: Uint8Array): string {
		const { parts } = this.#mustFindUpload(upload);
		this.#mustHaveRoom(upload.key, bytes.length);
		const etag = md5(bytes);
		parts.set(number, { bytes: Buffer.from(bytes), etag });
		return etag;
	}

	/** `short`: with the last bytes missing, as if nobody had looked. */
	complete(upload: UploadId, etags: readonly string[], short = false): void {
		const { parts } = this.#mustFindUpload(upload);
		const chosen = etags.map((etag, i) => {
			const part = parts.get(i + 1);
			if (part?.etag === etag) return part.bytes;
			throw new StoreError("refused", `${upload.key}: part ${i + 1} is not what was sent`);
		});
		if (chosen.length === 0 || chosen.slice(0, -1).some((part) => part.length < this.#leastPartBytes))
			throw new StoreError("refused", `${upload.key}: a part has less than ${this.#leastPartBytes} bytes`);
		const bytes = Buffer.concat(chosen);
		this.#uploads.delete(upload.id);
		const etag = `${md5(Buffer.from(etags.join(""), "hex"))}-${etags.length}`;
		this.#store(upload.key, short ? bytes.subarray(0, shortened(bytes.length)) : bytes, etag);
	}

	abort(upload: UploadId): void {
		if (this.#uploads.get(upload.id)?.key === upload.key) this.#uploads.delete(upload.id);
	}

	uploads(prefix = ""): UploadId[] {
		return [...this.#uploads].filter(([, { key }]) => key.startsWith(prefix)).map(([id, { key }]) => ({ key, id }));
	}

	#mustFind(key: string): StoredObject {
		const object = this.find(key);
		if (object === undefined) throw new Error(`there is no object ${key}`);
		return object;
	}

	#mustFindUpload({ key, id }: UploadId): Upload {
		const upload = this.#uploads.get(id);
		if (upload?.key === key) return upload;
		throw new StoreError("no-such-upload", `${key}: there is no upload ${id}`);
	}

	#mustHaveRoom(key: string, bytes: number): void {
		if (this.usedBytes + bytes > this.capacityBytes)
			throw new StoreError("full", `${key} does not fit: the bucket takes ${this.capacityBytes} bytes`);
	}

	#store(key: string, bytes: Buffer, etag: string | undefined): void {
		this.#add(key, { bytes, info: { key, sizeBytes: bytes.length, modifiedMs: this.now(), etag } });
	}

	#add(key: string, object: StoredObject | undefined): void {
		const sinceMs = this.#clock.monotonic();
		const versions = [...(this.#versions.get(key) ?? []), { sinceMs, object }];
		// The newest that is old enough for everyone, and what came after it.
		const first = versions.findLastIndex((version) => version.sinceMs <= sinceMs - this.historyMs);
		this.#versions.set(key, versions.slice(Math.max(0, first)));
	}
}

/** Of an object of `sizeBytes` that is cut off. */
export function shortened(sizeBytes: number): number {
	return Math.floor(sizeBytes / 2);
}

function md5(bytes: Uint8Array): string {
	return createHash("md5").update(bytes).digest("hex");
}
