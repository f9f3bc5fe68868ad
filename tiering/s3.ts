/**
 * An S3 service as an object store, through the `minio` client and by its public methods alone. Client, TLS and all are
 * loaded with the first call. Nothing is tried again here but what certainly had no effect: the callers know when and
 * how often. Bodies are checked by the service (SHA-256 in the signature, or MD5 where TLS is used), so that one that
 * arrives damaged is refused.
 */
import type { IncomingMessage } from "node:http";
import type { Client } from "minio";
import { type Clock, systemClock } from "../src/base/clock.ts";
import { type Disk, NodeDisk } from "../src/base/disk.ts";
import {
	type ObjectInfo,
	type ObjectPage,
	type ObjectStore,
	type ObjectStoreOptions,
	requireKey,
	requirePrefix,
	StoreError,
	type UploadId,
} from "./object-store.ts";
import { CredentialChain, type Credentials } from "./s3/credentials.ts";
import { DEFAULT_REGION, type S3Address, s3Address } from "./s3/s3-address.ts";
import type { ErrorContext } from "./s3/s3-errors.ts";
import type { S3Transport } from "./s3/s3-transport.ts";
import { readText } from "./s3/text-file.ts";

/** All that is loaded with the first call. */
interface Loaded {
	readonly minio: typeof import("minio");
	readonly errors: typeof import("./s3/s3-errors.ts");
	readonly transports: typeof import("./s3/s3-transport.ts");
	readonly md5: (body: Uint8Array) => string;
}

/** What calls go through as long as credentials and region stay. */
interface Link {
	readonly client: Client;
	readonly credentials: Credentials;
	readonly region: string;
}

const PAGE_OBJECTS = 1000;
/** The client makes several requests of what is larger than its own part size, S3's least at the least. */
const LEAST_PART_BYTES = 5 * 1_048_576;
const NO_BYTES = Buffer.alloc(0);

export interface S3StoreSettings {
	readonly env?: NodeJS.ProcessEnv;
	readonly disk?: Disk;
	readonly clock?: Clock;
}

export class S3Store implements ObjectStore {
	readonly name: string;
	readonly partBytes: number;
	readonly #options: ObjectStoreOptions;
	readonly #disk: Disk;
	readonly #clock: Clock;
	readonly #address: S3Address;
	readonly #chain: CredentialChain;
	#loading: Promise<Loaded> | undefined;
	#transport: S3Transport | undefined;
	#link: Link | undefined;
	/** Where the bucket is, found out from a refusal. */
	#foundRegion: string | undefined;
	/** Rejects each call that is under way. */
	readonly #underWay = new Set<(reason: StoreError) => void>();

	/** Throws StoreError `refused` where the options cannot be right. */
	constructor(options: ObjectStoreOptions, settings: S3StoreSettings = {}) {
		const env = settings.env ?? process.env;
		this.#options = options;
		this.#disk = settings.disk ?? new NodeDisk();
		this.#clock = settings.clock ?? systemClock;
		this.#address = s3Address(options, env);
		this.#chain = new CredentialChain({ ...options, env, disk: this.#disk, clock: this.#clock });
		this.name = this.#address.name;
		this.partBytes = options.partBytes;
	}

	async putIfAbsent(key: string, body: Uint8Array): Promise<void> {
		await this.#putWhole(`put of ${key}, if absent`, key, body, { "If-None-Match": "*" });
	}

	async put(key: string, body: Uint8Array): Promise<string | undefined> {
		return this.#putWhole(`put of ${key}`, key, body, {});
	}

	async beginUpload(key: string): Promise<UploadId> {
		requireKey(key);
		const headers = { "content-type": "application/octet-stream" };
		const id = await this.#call(`begin of an upload of ${key}`, ({ client }) =>
			client.initiateNewMultipartUpload(this.#address.bucket, this.#address.prefix + key, headers),
		);
		return { key, id };
	}

	async putPart(upload: UploadId, number: number, body: Uint8Array): Promise<string> {
		requireKey(upload.key);
		const what = `part ${number} of ${upload.key}`;
		const part = await this.#call(what, ({ client }, { md5 }) => {
			const config = {
				bucketName: this.#address.bucket,
				objectName: this.#address.prefix + upload.key,
				// The client puts it into the query as it is.
				uploadID: encodeURIComponent(upload.id),
				partNumber: number,
				headers: this.#address.tls ? { "content-md5": md5(body) } : {},
			};
			return client.uploadPart(config, asBuffer(body));
		});
		if (!part.etag) throw this.#noEtag(what);
		return part.etag;
	}

	async completeUpload(upload: UploadId, etags: readonly string[]): Promise<void> {
		requireKey(upload.key);
		const parts = etags.map((etag, index) => ({ part: index + 1, etag }));
		await this.#call(`completion of the upload of ${upload.key}`, ({ client }) =>
			client.completeMultipartUpload(this.#address.bucket, this.#address.prefix + upload.key, upload.id, parts),
		);
	}

	async abortUpload(upload: UploadId): Promise<void> {
		requireKey(upload.key);
		const { bucket, prefix } = this.#address;
		const id = encodeURIComponent(upload.id);
		await this.#call(`abort of the upload of ${upload.key}`, ({ client }) =>
			client.abortMultipartUpload(bucket, prefix + upload.key, id).catch(unless("NoSuchUpload", "NoSuchKey")),
		);
	}

	async uploads(prefix: string): Promise<UploadId[]> {
		requirePrefix(prefix);
		const found: UploadId[] = [];
		let marker = "";
		do {
			const page = await this.#call(`list of uploads of ${prefix}*`, ({ client }) =>
				client.listIncompleteUploadsQuery(this.#address.bucket, this.#address.prefix + prefix, marker, "", ""),
			);
			for (const upload of page.uploads) {
				found.push({ key: this.#ownKey(String(upload.key)), id: String(upload.uploadId) });
			}
			marker = page.isTruncated && page.nextKeyMarker !== marker ? String(page.nextKeyMarker) : "";
		} while (marker !== "");
		return found;
	}

	async get(key: string, position: number, bytes: number): Promise<Buffer> {
		requireKey(key);
		const what = `get of ${bytes} bytes of ${key} from ${position}`;
		// No range says "nothing"; whether the object is there is still to be told.
		if (bytes === 0) {
			if ((await this.head(key)) === undefined)
				throw new StoreError("not-found", `${this.name}: ${what}: there is no such object`);
			return NO_BYTES;
		}
		return this.#call(what, async ({ client }) => {
			try {
				const { bucket, prefix } = this.#address;
				const response = await client.getPartialObject(bucket, prefix + key, position, bytes);
				return await readRange(response as IncomingMessage, position, bytes);
			} catch (error) {
				if (isOutside(error)) return NO_BYTES;
				throw error;
			}
		});
	}

	async getLast(key: string, bytes: number): Promise<{ bytes: Buffer; sizeBytes: number }> {
		requireKey(key);
		return this.#call(`get of the last ${bytes} bytes of ${key}`, async ({ client }) => {
			try {
				const { bucket, prefix } = this.#address;
				const transport = this.#transport as S3Transport;
				const response = await transport.withHeaders({ range: `bytes=-${bytes}` }, () =>
					client.getObject(bucket, prefix + key),
				);
				return await readTail(response as IncomingMessage, bytes);
			} catch (error) {
				// Of an empty object there is no last byte.
				if (isOutside(error)) return { bytes: NO_BYTES, sizeBytes: 0 };
				throw error;
			}
		});
	}

	async head(key: string): Promise<ObjectInfo | undefined> {
		requireKey(key);
		const { bucket, prefix } = this.#address;
		try {
			const stat = await this.#call(`head of ${key}`, ({ client }) => client.statObject(bucket, prefix + key));
			const modifiedMs = stat.lastModified.getTime();
			return { key, sizeBytes: stat.size, modifiedMs, etag: stat.etag || undefined };
		} catch (error) {
			// An answer to HEAD has no body: what a list says tells a missing bucket or a wrong key from a missing object.
			if ((error as StoreError).kind === "not-found" || codeOf(error) === "") {
				await this.#page(`head of ${key}`, prefix + key, "", 1).catch((reason: StoreError) => {
					if (codeOf(reason) !== "AccessDenied") throw reason;
				});
			}
			if ((error as StoreError).kind === "not-found") return undefined;
			throw error;
		}
	}

	async list(prefix: string, after = ""): Promise<ObjectPage> {
		requirePrefix(prefix);
		const before = this.#address.prefix;
		const behind = after === "" ? "" : before + after;
		const page = await this.#page(`list of ${prefix}*`, before + prefix, behind, PAGE_OBJECTS);
		const objects: ObjectInfo[] = [];
		for (const entry of page.objects) {
			if (entry.name === undefined) continue;
			const modifiedMs = entry.lastModified.getTime();
			objects.push({ key: this.#ownKey(entry.name), sizeBytes: entry.size, modifiedMs, etag: entry.etag || undefined });
		}
		return { objects, more: page.isTruncated };
	}

	async delete(key: string): Promise<void> {
		requireKey(key);
		const { bucket, prefix } = this.#address;
		await this.#call(`delete of ${key}`, ({ client }) =>
			client.removeObject(bucket, prefix + key).catch(unless("NoSuchKey")),
		);
	}

	async close(): Promise<void> {
		for (const reject of this.#underWay) reject(new StoreError("unreachable", `${this.name} was closed`));
		this.#transport?.close();
		this.#transport = undefined;
		this.#link = undefined;
	}

	async #putWhole(what: string, key: string, body: Uint8Array, headers: Record<string, string>): Promise<string> {
		requireKey(key);
		if (body.length > this.partBytes) {
			const most = `${body.length} bytes, at most ${this.partBytes} go in one request`;
			throw new StoreError("refused", `${this.name}: ${what}: ${most}`);
		}
		const metadata = { "content-type": "application/octet-stream", ...headers };
		const { bucket, prefix } = this.#address;
		// Said twice, the second "if absent" would meet the object of the first.
		const again = headers["If-None-Match"] === undefined;
		const stored = await this.#call(
			what,
			({ client }) => client.putObject(bucket, prefix + key, asBuffer(body), body.length, metadata),
			again,
		);
		if (!stored.etag) throw this.#noEtag(what);
		return stored.etag;
	}

	#page(what: string, prefix: string, after: string, most: number): ReturnType<Client["listObjectsV2Query"]> {
		return this.#call(what, ({ client }) =>
			client.listObjectsV2Query(this.#address.bucket, prefix, "", "", most, after),
		);
	}

	/** `again`: whether the call may be repeated when a connection that had been open before turned out to be closed. */
	async #call<T>(what: string, task: (link: Link, loaded: Loaded) => Promise<T>, again = true): Promise<T> {
		const { promise, resolve, reject } = Promise.withResolvers<T>();
		this.#underWay.add(reject);
		this.#attempt(what, task, again).then(resolve, reject);
		try {
			return await promise;
		} finally {
			this.#underWay.delete(reject);
		}
	}

	async #attempt<T>(what: string, task: (link: Link, loaded: Loaded) => Promise<T>, again: boolean): Promise<T> {
		this.#loading ??= load();
		const loaded = await this.#loading;
		let link: Link | undefined;
		for (let attempt = 1; ; attempt++) {
			try {
				link = await this.#connect(loaded);
				return await task(link, loaded);
			} catch (error) {
				if (attempt === 1 && link !== undefined && this.#mayRepeat(error, link, loaded, again)) continue;
				throw loaded.errors.storeErrorOf(error, this.#context(what, link));
			}
		}
	}

	/** Whether what stood in the way is out of it now, and nothing can have happened. */
	#mayRepeat(error: unknown, link: Link, { transports }: Loaded, again: boolean): boolean {
		if (error instanceof transports.ConnectionFailure)
			return again && error.wasReused && ["ECONNRESET", "EPIPE"].includes(error.code);
		if (!(error instanceof transports.S3Failure)) return false;
		const { region, status, code } = error;
		if (region !== undefined && region !== link.region && [301, 307, 400].includes(status)) {
			if (this.#address.region !== undefined) return false;
			this.#foundRegion = region;
			return true;
		}
		if (!["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"].includes(code)) return false;
		return this.#chain.forget(link.credentials);
	}

	/** The client for the credentials and the region of this moment. */
	async #connect({ minio, transports }: Loaded): Promise<Link> {
		const credentials = await this.#chain.credentials();
		const region = this.#address.region ?? this.#foundRegion ?? DEFAULT_REGION;
		const { hostIn, port, tls, pathStyle } = this.#address;
		this.#transport ??= new transports.S3Transport({
			tls,
			ca: this.#authorities(),
			timeoutMs: this.#options.timeoutMs,
			bytesPerSecond: this.#options.bytesPerSecond,
			clock: this.#clock,
		});
		if (this.#link?.credentials !== credentials || this.#link.region !== region) {
			const client = new minio.Client({
				endPoint: hostIn(region),
				port,
				useSSL: tls,
				pathStyle,
				region,
				accessKey: credentials.accessKey,
				secretKey: credentials.secretKey,
				...(credentials.sessionToken !== undefined && { sessionToken: credentials.sessionToken }),
				partSize: Math.max(LEAST_PART_BYTES, this.partBytes),
				transport: this.#transport as unknown as Pick<typeof import("node:http"), "request">,
				transportAgent: this.#transport.agent,
				retryOptions: { disableRetry: true },
			});
			this.#link = { client, credentials, region };
		}
		return this.#link;
	}

	#authorities(): Buffer | undefined {
		const file = this.#options.caFile;
		if (file === undefined) return undefined;
		const text = readText(this.#disk, file);
		if (text === undefined) throw new StoreError("refused", `objectStore.ca.file: there is no file ${file}`);
		if (!text.includes("-----BEGIN CERTIFICATE-----")) {
			throw new StoreError("refused", `objectStore.ca.file: ${file} holds no certificate in PEM form`);
		}
		return Buffer.from(text);
	}

	#context(what: string, link: Link | undefined): ErrorContext {
		const { accessKey, source } = link?.credentials ?? { accessKey: "", source: "nowhere" };
		const ownCa = this.#options.caFile !== undefined;
		return { what, address: this.#address, accessKey, source, nowMs: this.#clock.now(), ownCa };
	}

	#ownKey(key: string): string {
		return key.slice(this.#address.prefix.length);
	}

	#noEtag(what: string): StoreError {
		return new StoreError(
			"unreachable",
			`${this.name}: ${what}: the answer has no ETag: something that is no S3 service took it`,
		);
	}
}

async function load(): Promise<Loaded> {
	const [minio, errors, transports, { createHash }] = await Promise.all([
		import("minio"),
		import("./s3/s3-errors.ts"),
		import("./s3/s3-transport.ts"),
		import("node:crypto"),
	]);
	return { minio, errors, transports, md5: (body) => createHash("md5").update(body).digest("base64") };
}

/** The same bytes: the client asks for Node's own class. */
function asBuffer(body: Uint8Array): Buffer {
	return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}

/** For `catch`: these answers are none to complain about. */
function unless(...codes: string[]): (error: unknown) => void {
	return (error) => {
		if (!codes.includes((error as { code?: string }).code ?? "")) throw error;
	};
}

/** S3's word in the answer behind a StoreError; undefined where there was none. */
function codeOf(error: unknown): string | undefined {
	return ((error as StoreError).cause as { code?: string } | undefined)?.code;
}

function isOutside(error: unknown): boolean {
	return (error as { status?: number }).status === 416;
}

/** The object's size and where the answer begins in it; a server that knows no ranges sends all of it. */
function extentOf({ headers }: IncomingMessage): { start: number; sizeBytes: number } {
	const said = headers["content-range"];
	if (said === undefined) return { start: 0, sizeBytes: Number(headers["content-length"]) };
	// Of an empty object MinIO says "bytes 0--1/0".
	const range = /^bytes (\d+)-(?:\d+|-1)\/(\d+)$/.exec(said);
	if (range === null) throw new Error(`its range is ${said}`);
	return { start: Number(range[1]), sizeBytes: Number(range[2]) };
}

async function readRange(response: IncomingMessage, position: number, bytes: number): Promise<Buffer> {
	const { start, sizeBytes } = extentOf(response);
	const wanted = Math.max(0, Math.min(bytes, sizeBytes - position));
	if (start > position || !Number.isSafeInteger(sizeBytes)) {
		response.destroy();
		throw new Error(`asked for what begins at byte ${position}, it sent what begins at ${start}, of ${sizeBytes}`);
	}
	const target = Buffer.allocUnsafeSlow(wanted);
	let at = start;
	let have = 0;
	let leftBytes = Number(response.headers["content-length"]);
	for await (const chunk of response as AsyncIterable<Buffer>) {
		const from = Math.max(0, position - at);
		if (from < chunk.length) have += chunk.copy(target, have, from);
		at += chunk.length;
		leftBytes -= chunk.length;
		// The rest of an object that was not asked for.
		if (have === wanted && leftBytes > 0) break;
	}
	if (have < wanted) throw new Error(`it sent ${have} bytes of ${wanted}`);
	return target;
}

async function readTail(response: IncomingMessage, bytes: number): Promise<{ bytes: Buffer; sizeBytes: number }> {
	const { sizeBytes } = extentOf(response);
	const wanted = Math.min(bytes, sizeBytes);
	return { bytes: await readRange(response, sizeBytes - wanted, wanted), sizeBytes };
}
