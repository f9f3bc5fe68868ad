/**
 * The seam to object storage: what tiering asks of a store, and no more. An S3 service and a folder stand behind it, and a
 * simulated one in tests; one contract suite holds for all (test/contract/object-store). Every call may be repeated after
 * a failure whose outcome is unknown: nothing is appended to, an object appears whole or not at all.
 *
 * Keys are of `a-z A-Z 0-9 . _ - /`, in the order of their bytes; those that begin with the same folder are listed together.
 * What stands between slashes is not empty, begins with no dot and has at most 200 characters, a whole key 512; no key is
 * the folder of another. Another key, or beginning of one, is `refused` by every call.
 */

export interface ObjectInfo {
	readonly key: string;
	readonly sizeBytes: number;
	/** By the store's own clock. */
	readonly modifiedMs: number;
	/** As S3 has it, without quotes: in most services the MD5 of an object made in one request. undefined where there is none. */
	readonly etag: string | undefined;
}

/** An object being uploaded in parts. It is there once `completeUpload` says so. */
export interface UploadId {
	readonly key: string;
	readonly id: string;
}

export interface ObjectPage {
	/** By key. */
	readonly objects: readonly ObjectInfo[];
	/** There may be more behind the last. */
	readonly more: boolean;
}

/** Every method rejects with StoreError. */
export interface ObjectStore {
	/** For people, without secrets: `s3://bucket/prefix at https://host`, `file:///mnt/usb`. */
	readonly name: string;
	/** The most that `put` takes, and the least but for the last of what `putPart` takes, in bytes. */
	readonly partBytes: number;
	/**
	 * In one request. Rejects with `exists` where the key is taken: whoever was first keeps it, whole. At most `partBytes`.
	 * It is what a gateway does first in a store, and the one call that makes a folder a store where it is none yet. All
	 * others reject with `no-bucket` there: it may be the place of a medium that is not mounted.
	 */
	putIfAbsent(key: string, body: Uint8Array): Promise<void>;
	/** In one request. The key must be one that nobody else uses. At most `partBytes`. Resolves to the etag, if there is one. */
	put(key: string, body: Uint8Array): Promise<string | undefined>;
	beginUpload(key: string): Promise<UploadId>;
	/** `number` counts from 1. A part sent again takes the place of the first. Resolves to its etag. Rejects with `no-such-upload`. */
	putPart(upload: UploadId, number: number, body: Uint8Array): Promise<string>;
	/** `etags` of all parts, in order. A second call after a first of unknown outcome may reject with `no-such-upload`: look whether the object is there. */
	completeUpload(upload: UploadId, etags: readonly string[]): Promise<void>;
	/** No error where there is no such upload any more. */
	abortUpload(upload: UploadId): Promise<void>;
	/** Uploads that were begun and neither completed nor aborted, of keys that begin with `prefix`. */
	uploads(prefix: string): Promise<UploadId[]>;
	/** `bytes` from `position` on, in memory that is the caller's alone; fewer only at the object's end. Rejects with `not-found`. */
	get(key: string, position: number, bytes: number): Promise<Buffer>;
	/** The last `bytes`, and how large the object is: one request. Rejects with `not-found`. */
	getLast(key: string, bytes: number): Promise<{ readonly bytes: Buffer; readonly sizeBytes: number }>;
	head(key: string): Promise<ObjectInfo | undefined>;
	/** A page of at most 1000 objects whose keys begin with `prefix` and come behind `after`. */
	list(prefix: string, after?: string): Promise<ObjectPage>;
	/** No error where there is no such object. */
	delete(key: string): Promise<void>;
	/** Lets go of connections and memory. What is under way rejects. It may be used again all the same. */
	close(): Promise<void>;
}

/** Why a store did not do what it was asked to. */
export type StoreErrorKind =
	/** No answer, a cut connection, a time-out, 5xx, slow down: try again. The outcome of a change is unknown. */
	| "unreachable"
	/** Wrong, missing or expired credentials, or a policy that forbids this. */
	| "denied"
	/** The gateway's clock is too far from the store's. */
	| "skewed"
	/** There is no such bucket or folder; or the folder is no store, as where a medium is not mounted. */
	| "no-bucket"
	| "not-found"
	| "exists"
	| "no-such-upload"
	/** The store, or the disk under it, takes no more. */
	| "full"
	/** Anything else that it answered: it is no use trying again. */
	| "refused";

/** `message` names the object, the cause and, where one can, what to do; no secrets. */
export class StoreError extends Error {
	override readonly name = "StoreError";
	readonly kind: StoreErrorKind;

	constructor(kind: StoreErrorKind, message: string, options?: ErrorOptions) {
		super(message, options);
		this.kind = kind;
	}

	/** Whether the same call may succeed later without a person doing anything. */
	get isTransient(): boolean {
		return this.kind === "unreachable" || this.kind === "full" || this.kind === "skewed";
	}
}

/** Throws `refused` for what is no key. */
export function requireKey(key: string): void {
	if (!KEY.test(key) || key.length > KEY_LENGTH_MAX) refuseKey(key);
}

/** Throws `refused` for what no key begins with. */
export function requirePrefix(prefix: string): void {
	if (prefix !== "" && (!PREFIX.test(prefix) || prefix.length > KEY_LENGTH_MAX)) refuseKey(prefix);
}

const KEY_LENGTH_MAX = 512;
/** A part begins with no dot: so there is no `..`, and a store has names of its own. */
const PART = "[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,199}";
const KEY = new RegExp(`^${PART}(/${PART})*$`);
const PREFIX = new RegExp(`^${PART}(/${PART})*/?$`);

function refuseKey(key: string): never {
	throw new StoreError("refused", `${JSON.stringify(key)} is no key of an object: ${KEYS_ARE}`);
}

const KEYS_ARE =
	"letters, digits, dots, underscores and hyphens, in parts of 1 to 200 that begin with no dot, with slashes between, 512 in all";

/** How to reach a store; src/config has the keys (`objectStore.*`) and fills it. */
export interface ObjectStoreOptions {
	/** `s3://bucket/prefix` or `file:///folder`. What is before the first key, slashes trimmed, is the store's own affair. */
	readonly url: string;
	/** `https://host:port`; undefined: AWS's of the region. */
	readonly endpoint: string | undefined;
	readonly region: string | undefined;
	/** `path`: endpoint/bucket/key; `virtual`: bucket.endpoint/key; `auto`: virtual at AWS, else path. */
	readonly addressing: "auto" | "path" | "virtual";
	/** undefined: from the environment, then the credentials file, then the machine's role, as AWS's tools look. */
	readonly accessKey: string | undefined;
	readonly secretKey: string | undefined;
	readonly sessionToken: string | undefined;
	/** Of AWS's form; undefined: AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials. */
	readonly credentialsFile: string | undefined;
	readonly profile: string | undefined;
	/** PEM file of the authorities that may have signed the server's certificate. */
	readonly caFile: string | undefined;
	/** A request without an answer, or without a byte, for so long has failed. */
	readonly timeoutMs: number;
	/** 5 MiB (S3's least) or more. */
	readonly partBytes: number;
	/** What leaves in uploads, at most, bytes per second; 0: no limit. */
	readonly bytesPerSecond: number;
}
