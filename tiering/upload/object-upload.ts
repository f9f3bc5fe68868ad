/**
 * One object sent to the store as its bytes come, in one part's memory: in one request where it is not larger than a part,
 * else in parts. It is confirmed when the store shows its length and its last bytes.
 *
 * An object is written once under its key. A request whose answer was not heard may reach the store late, and a store may
 * keep what it got of one that was cut off: had the same key been put again meanwhile, that would be in its place, after it was
 * confirmed. So only parts are sent again, which the object is made of by their etags; a whole one takes another key.
 */
import type { Clock } from "../../src/base/clock.ts";
import { type ObjectStore, StoreError, type StoreErrorKind, type UploadId } from "../object-store.ts";
import type { Persistence } from "./persistence.ts";

export interface ObjectUploadServices {
	readonly store: ObjectStore;
	readonly clock: Clock;
	readonly persistence: Persistence;
	/** Resolves when so many bytes may leave. */
	readonly take: (bytes: number) => Promise<void>;
	/** So many have arrived, by the monotonic clock's `fromMs` on. */
	readonly sent: (bytes: number, fromMs: number) => void;
	/** In parts, though it be one: for a link that fails. */
	readonly inParts: boolean;
}

type UploadFailureKind = "cut" | "unsure" | "lost";

/**
 * The object cannot be made under its key: another one may. `cut`: a part was cut off again and again, though the store could be
 * reached in between; a smaller one may get through. `unsure`: it was cut off when it was sent as one; parts may get through.
 * `lost`: the store does not show what it has acknowledged.
 */
export class UploadFailed extends Error {
	override readonly name = "UploadFailed";
	readonly kind: UploadFailureKind;
	/** Of the part. */
	readonly bytes: number;

	constructor(kind: UploadFailureKind, bytes: number, message: string, options?: ErrorOptions) {
		super(message, options);
		this.kind = kind;
		this.bytes = bytes;
	}
}

/** A part that was cut off so often is too large for the link. */
const CUTS_MAX = 3;
/** Smaller ones are tried for ever. */
export const SMALLEST_BODY_BYTES = 64 * 1024;
const GROWTH_BYTES = 256 * 1024;
/** What is read back: the last bytes of a bundle are unlike those of any other. */
const LAST_BYTES = 1024;
/** How often a store is asked for what it has acknowledged: some show it late. */
const LOOKS_MAX = 6;
const LOOK_AGAIN_MS = 1000;

export class ObjectUpload {
	readonly #key: string;
	readonly #services: ObjectUploadServices;
	/** Of a part. It grows as it is filled, and gives its pages back, which memory from the heap would not (see `release`). */
	readonly #memory: ArrayBuffer;
	readonly #part: Buffer;
	#filled = 0;
	#sizeBytes = 0;
	#last = Buffer.alloc(0);
	#upload: UploadId | undefined;
	#begins = 0;
	readonly #etags: string[] = [];
	#cuts = 0;
	/** No call failed or was given up, which might still read the part. */
	#isOurs = true;

	constructor(key: string, services: ObjectUploadServices) {
		this.#key = key;
		this.#services = services;
		this.#memory = new ArrayBuffer(0, { maxByteLength: services.store.partBytes });
		this.#part = Buffer.from(this.#memory);
	}

	/** Rejects with UploadFailed, StoreError where it is no use trying again, and what ends the run. */
	async write(bytes: Buffer): Promise<void> {
		this.#services.persistence.throwIfEnded();
		for (let at = 0; at < bytes.length; ) {
			if (this.#filled === this.#memory.maxByteLength) await this.#sendPart();
			const needed = Math.ceil((this.#filled + bytes.length - at) / GROWTH_BYTES) * GROWTH_BYTES;
			if (needed > this.#part.length) this.#memory.resize(Math.min(needed, this.#memory.maxByteLength));
			const copied = bytes.copy(this.#part, this.#filled, at);
			this.#filled += copied;
			at += copied;
		}
	}

	/** Whether a part was cut off. */
	get wasCut(): boolean {
		return this.#cuts > 0;
	}

	/** Sends what is left and confirms the object. Returns its size. Rejects as `write`. */
	async finish(): Promise<number> {
		const { store, inParts } = this.#services;
		if (this.#upload === undefined && !inParts) {
			await this.#send((body) => store.put(this.#key, body), "unsure", 1);
		} else {
			await this.#complete(await this.#sendPart());
		}
		await this.#confirm();
		return this.#sizeBytes;
	}

	/** Gives the memory back, now rather than when it is found to be unused. Nothing may be written any more. */
	release(): void {
		if (this.#isOurs) this.#memory.resize(0);
	}

	async #sendPart(): Promise<UploadId> {
		const { store, persistence } = this.#services;
		this.#upload ??= await persistence.persist(() => {
			this.#begins += 1;
			return store.beginUpload(this.#key);
		});
		const upload = this.#upload;
		const number = this.#etags.length + 1;
		const etag = await this.#send((body) => store.putPart(upload, number, body), "cut", CUTS_MAX);
		this.#etags.push(etag as string);
		return upload;
	}

	/** `failure`: what it is when the part was cut off `cutsMax` times. */
	async #send(
		call: (body: Buffer) => Promise<string | undefined>,
		failure: "cut" | "unsure",
		cutsMax: number,
	): Promise<string | undefined> {
		const { clock, persistence, take, sent } = this.#services;
		const body = this.#part.subarray(0, this.#filled);
		for (let cuts = 0; ; ) {
			await take(body.length);
			const fromMs = clock.monotonic();
			try {
				const etag = await persistence.unlessEnded(call(body));
				persistence.worked();
				sent(body.length, fromMs);
				this.#sizeBytes += body.length;
				this.#last = Buffer.concat([this.#last, body.subarray(-LAST_BYTES)]).subarray(-LAST_BYTES);
				this.#filled = 0;
				return etag;
			} catch (error) {
				this.#isOurs = false;
				if (isKind(error, "no-such-upload")) throw lost(this.#key, "the store has forgotten the upload", error);
				await persistence.afterFailure(error);
				// A store that is away says nothing about the link.
				await persistence.untilAnswered(() => this.#services.store.head(this.#key));
				if (!isKind(error, "unreachable")) continue;
				this.#cuts += 1;
				cuts += 1;
				if (cuts < cutsMax || (failure === "cut" && body.length <= SMALLEST_BODY_BYTES)) continue;
				throw new UploadFailed(failure, body.length, (error as Error).message, { cause: error });
			}
		}
	}

	async #complete(upload: UploadId): Promise<void> {
		const { store, persistence } = this.#services;
		if (this.#begins > 1) await this.#abortOthers(upload);
		for (let unknown = false; ; ) {
			try {
				await persistence.unlessEnded(store.completeUpload(upload, this.#etags));
				return persistence.worked();
			} catch (error) {
				// It is done: the first answer was lost.
				if (isKind(error, "no-such-upload") && unknown) return;
				if (isKind(error, "no-such-upload")) throw lost(this.#key, "the store has forgotten the upload", error);
				// What a part was sent again for came late, and took the other's place.
				if (isKind(error, "refused")) throw lost(this.#key, "the store would not complete it", error);
				unknown ||= isKind(error, "unreachable");
				await persistence.afterFailure(error);
			}
		}
	}

	/** Those whose beginning was not heard of: nobody would ever end them. */
	async #abortOthers(own: UploadId): Promise<void> {
		const { store, persistence } = this.#services;
		const begun = await persistence.persist(() => store.uploads(this.#key));
		for (const upload of begun.filter(({ key, id }) => key === this.#key && id !== own.id))
			await persistence.persist(() => store.abortUpload(upload));
	}

	async #confirm(): Promise<void> {
		const { persistence } = this.#services;
		for (let look = 1; ; look++) {
			const problem = await persistence.persist(() => this.#problem());
			if (problem === undefined) return;
			if (look === LOOKS_MAX) throw lost(this.#key, problem);
			await persistence.sleep(LOOK_AGAIN_MS * 2 ** (look - 1), `${this.#key}: ${problem}`);
		}
	}

	async #problem(): Promise<string | undefined> {
		try {
			const { bytes, sizeBytes } = await this.#services.store.getLast(this.#key, this.#last.length);
			if (sizeBytes !== this.#sizeBytes) return `the store has ${sizeBytes} bytes of ${this.#sizeBytes}`;
			return bytes.equals(this.#last) ? undefined : "its last bytes in the store are not those that were sent";
		} catch (error) {
			if (isKind(error, "not-found")) return "the store does not show it";
			throw error;
		}
	}
}

function isKind(error: unknown, kind: StoreErrorKind): boolean {
	return error instanceof StoreError && error.kind === kind;
}

function lost(key: string, problem: string, cause?: unknown): UploadFailed {
	const why = cause === undefined ? "" : ` (${(cause as Error).message})`;
	return new UploadFailed("lost", 0, `${key} was uploaded, and then ${problem}${why}`, { cause });
}
