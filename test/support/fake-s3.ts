/**
 * An S3 service of one process, in memory, for tests: path style, signatures checked (Signature V4), conditional puts,
 * uploads in parts, ranges, lists in pages, faults on demand. It is as strict as AWS where stores differ.
 */
import { createHash, createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";

interface StoredObject {
	readonly body: Buffer;
	readonly etag: string;
	readonly modified: Date;
}

interface Upload {
	readonly key: string;
	readonly bucket: string;
	readonly parts: Map<number, StoredObject>;
}

export interface FakeRequest {
	readonly method: string;
	readonly bucket: string;
	readonly key: string;
	readonly query: URLSearchParams;
	readonly headers: http.IncomingHttpHeaders;
	readonly body: Buffer;
	/** Path and query as they came. */
	readonly target: string;
}

/** What a test makes of a request instead of serving it: an error, another program's answer, silence, a cut connection. */
export type Fault =
	| { readonly status: number; readonly code: string; readonly more?: string }
	| { readonly status: number; readonly text: string; readonly headers?: Record<string, string> }
	| { readonly delayMs: number }
	| "reset"
	/** The answer's head and half of its body. */
	| "cut"
	| "silence"
	| undefined;

export interface FakeS3Options {
	readonly accessKey?: string;
	readonly secretKey?: string;
	/** Asked for beside the keys. */
	readonly sessionToken?: string;
	/** Requests signed for another one are refused, as AWS does. */
	readonly region?: string;
	readonly port?: number;
	readonly tls?: { readonly key: string; readonly cert: string };
	/** The server's clock less this machine's. */
	readonly clockMs?: number;
}

class Refusal extends Error {
	readonly status: number;
	readonly code: string;
	readonly more: string;

	constructor(status: number, code: string, more = "") {
		super(code);
		this.status = status;
		this.code = code;
		this.more = more;
	}
}

interface Answer {
	readonly status: number;
	readonly body?: string | Buffer;
	readonly headers?: Record<string, string>;
}

const LEAST_PART_BYTES = 5 * 1_048_576;
const PAGE_KEYS = 1000;
const SKEW_MS = 900_000;

const hash = (algorithm: string, data: Buffer | string): string => createHash(algorithm).update(data).digest("hex");
const hmac = (key: Buffer | string, data: string): Buffer => createHmac("sha256", key).update(data).digest();
const escapeXml = (text: string): string => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

function xml(root: string, inner: string): string {
	return `<?xml version="1.0" encoding="UTF-8"?><${root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inner}</${root}>`;
}

export class FakeS3 {
	/** Bucket -> key -> object. */
	readonly buckets = new Map<string, Map<string, StoredObject>>();
	readonly uploads = new Map<string, Upload>();
	/** Every request that arrived whole. */
	readonly log: FakeRequest[] = [];
	/** Asked before each request, and again once a change is stored (`stored`), so that its answer can be lost. */
	fault: (request: FakeRequest, stored: boolean) => Fault = () => undefined;
	/** False: a range is answered with the whole object, as a service may. */
	knowsRanges = true;
	/** Objects in a page of a list. */
	pageKeys = PAGE_KEYS;
	readonly #options: FakeS3Options;
	#server: http.Server | undefined;

	constructor(options: FakeS3Options = {}) {
		this.#options = options;
	}

	get endpoint(): string {
		const { port } = (this.#server as http.Server).address() as AddressInfo;
		return `${this.#options.tls === undefined ? "http" : "https"}://127.0.0.1:${port}`;
	}

	async start(...buckets: string[]): Promise<void> {
		for (const bucket of buckets) this.buckets.set(bucket, new Map());
		const { tls, port = 0 } = this.#options;
		const serve = (request: http.IncomingMessage, response: http.ServerResponse) => void this.#serve(request, response);
		const server = tls === undefined ? http.createServer(serve) : https.createServer({ ...tls }, serve);
		this.#server = server;
		await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
	}

	async stop(): Promise<void> {
		const server = this.#server as http.Server;
		await new Promise<void>((resolve) => {
			server.close(() => resolve());
			server.closeAllConnections();
		});
	}

	async #serve(incoming: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
		const chunks: Buffer[] = [];
		try {
			for await (const chunk of incoming) chunks.push(chunk);
		} catch {
			// Cut off half way: nothing is stored.
			return;
		}
		const target = incoming.url as string;
		const url = new URL(target, "http://fake");
		const [bucket = "", ...rest] = url.pathname.slice(1).split("/");
		const request: FakeRequest = {
			method: incoming.method as string,
			bucket,
			key: decodeURIComponent(rest.join("/")),
			query: url.searchParams,
			headers: incoming.headers,
			body: Buffer.concat(chunks),
			target,
		};
		this.log.push(request);
		let answer: Answer;
		let cut = false;
		const meddle = async (stored: boolean): Promise<"go on" | "gone"> => {
			const fault = this.fault(request, stored);
			if (fault === undefined) return "go on";
			if (fault === "silence") return "gone";
			if (fault === "reset") {
				incoming.socket.resetAndDestroy();
				return "gone";
			}
			if (fault === "cut") cut = true;
			else if ("delayMs" in fault) await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
			else if ("code" in fault) throw new Refusal(fault.status, fault.code, fault.more);
			else throw Object.assign(new Error("another program"), { answer: { ...fault, body: fault.text } });
			return "go on";
		};
		try {
			if ((await meddle(false)) === "gone") return;
			this.#authenticate(request);
			answer = this.#perform(request);
			if (!["GET", "HEAD"].includes(request.method) && (await meddle(true)) === "gone") return;
		} catch (error) {
			if (error instanceof Refusal) {
				const inner = `<Code>${error.code}</Code><Message>said by the test</Message>${error.more}`;
				answer = { status: error.status, body: xml("Error", inner), headers: { "x-amz-request-id": "fake" } };
			} else if (error instanceof Error && "answer" in error) {
				answer = error.answer as Answer;
			} else {
				throw error;
			}
		}
		const body = Buffer.from(answer.body ?? "");
		const date = new Date(Date.now() + (this.#options.clockMs ?? 0)).toUTCString();
		response.writeHead(answer.status, {
			date,
			...(answer.status === 204 ? {} : { "content-length": body.length }),
			...answer.headers,
		});
		if (cut) response.write(body.subarray(0, body.length / 2), () => incoming.socket.destroy());
		else response.end(request.method === "HEAD" ? undefined : body);
	}

	#authenticate({ method, target, headers, body }: FakeRequest): void {
		const { accessKey = "fake", secretKey = "fake-secret", sessionToken, region, clockMs = 0 } = this.#options;
		const given = /Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=(\w+)/.exec(headers.authorization ?? "");
		if (given === null) throw new Refusal(403, "AccessDenied");
		const [, credential = "", signedHeaders = "", signature = ""] = given;
		const [who, day, signedRegion, service, end] = credential.split("/");
		if (who !== accessKey) throw new Refusal(403, "InvalidAccessKeyId");
		if (sessionToken !== undefined && headers["x-amz-security-token"] !== sessionToken) {
			throw new Refusal(400, "ExpiredToken");
		}
		if (region !== undefined && signedRegion !== region) {
			throw new Refusal(400, "AuthorizationHeaderMalformed", `<Region>${region}</Region>`);
		}
		const date = String(headers["x-amz-date"]);
		const signedMs = Date.parse(date.replace(/(....)(..)(..T..)(..)/, "$1-$2-$3:$4:"));
		if (!(Math.abs(Date.now() + clockMs - signedMs) < SKEW_MS)) throw new Refusal(403, "RequestTimeTooSkewed");
		const [path = "", query = ""] = target.split("?");
		const sortedQuery = query
			.split("&")
			.filter((part) => part !== "")
			.map((part) => (part.includes("=") ? part : `${part}=`))
			.sort()
			.join("&");
		const canonicalHeaders = signedHeaders
			.split(";")
			.map((name) => `${name}:${String(headers[name] ?? "").trim()}\n`)
			.join("");
		const payload = String(headers["x-amz-content-sha256"]);
		const canonical = [method, path, sortedQuery, canonicalHeaders, signedHeaders, payload].join("\n");
		let key: Buffer | string = `AWS4${secretKey}`;
		for (const part of [day, signedRegion, service, end]) key = hmac(key, part as string);
		const scope = [day, signedRegion, service, end].join("/");
		const expected = hmac(key, ["AWS4-HMAC-SHA256", date, scope, hash("sha256", canonical)].join("\n"));
		const found = Buffer.from(signature, "hex");
		if (found.length !== expected.length || !timingSafeEqual(found, expected)) {
			throw new Refusal(403, "SignatureDoesNotMatch");
		}
		if (payload !== "UNSIGNED-PAYLOAD" && payload !== hash("sha256", body)) {
			throw new Refusal(400, "XAmzContentSHA256Mismatch");
		}
		const md5 = headers["content-md5"];
		if (md5 !== undefined && md5 !== Buffer.from(hash("md5", body), "hex").toString("base64")) {
			throw new Refusal(400, "BadDigest");
		}
	}

	#perform(request: FakeRequest): Answer {
		const { method, bucket, key, query } = request;
		const objects = this.buckets.get(bucket);
		if (objects === undefined) throw new Refusal(404, "NoSuchBucket");
		if (key === "") {
			if (method === "GET" && query.has("uploads")) return { status: 200, body: this.#listUploads(bucket, query) };
			if (method === "GET" && query.get("list-type") === "2") return { status: 200, body: this.#list(objects, query) };
			throw new Refusal(501, "NotImplemented");
		}
		if (query.has("uploads") || query.has("uploadId")) return this.#performUpload(request, objects);
		if (method === "PUT") {
			const stored = { body: request.body, etag: hash("md5", request.body), modified: new Date() };
			this.#store(objects, request, stored);
			return { status: 200, headers: { etag: `"${stored.etag}"` } };
		}
		if (method === "DELETE") {
			objects.delete(key);
			return { status: 204 };
		}
		const { headers } = request;
		return read(objects, { key, headers: this.knowsRanges ? headers : { ...headers, range: "" } });
	}

	#performUpload(
		{ method, bucket, key, query, body, headers }: FakeRequest,
		objects: Map<string, StoredObject>,
	): Answer {
		if (method === "POST" && query.has("uploads")) {
			const id = randomUUID();
			this.uploads.set(id, { key, bucket, parts: new Map() });
			const inner = `<Bucket>${bucket}</Bucket><Key>${escapeXml(key)}</Key><UploadId>${id}</UploadId>`;
			return { status: 200, body: xml("InitiateMultipartUploadResult", inner) };
		}
		const id = query.get("uploadId") ?? "";
		const upload = this.uploads.get(id);
		if (upload === undefined || upload.key !== key) throw new Refusal(404, "NoSuchUpload");
		if (method === "PUT") {
			const part = { body, etag: hash("md5", body), modified: new Date() };
			upload.parts.set(Number(query.get("partNumber")), part);
			return { status: 200, headers: { etag: `"${part.etag}"` } };
		}
		if (method === "DELETE") {
			this.uploads.delete(id);
			return { status: 204 };
		}
		const named = [...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber>\s*<ETag>(.*?)<\/ETag>/gs)];
		const parts = named.map(([, number, etag]) => {
			const part = upload.parts.get(Number(number));
			const said = (etag ?? "").replace(/&quot;|&#34;|"/g, "");
			if (part === undefined || part.etag !== said) throw new Refusal(400, "InvalidPart");
			return part;
		});
		if (parts.length === 0) throw new Refusal(400, "MalformedXML");
		if (parts.slice(0, -1).some((part) => part.body.length < LEAST_PART_BYTES)) {
			throw new Refusal(400, "EntityTooSmall");
		}
		const digests = Buffer.concat(parts.map((part) => Buffer.from(part.etag, "hex")));
		const whole = {
			body: Buffer.concat(parts.map((part) => part.body)),
			etag: `${hash("md5", digests)}-${parts.length}`,
			modified: new Date(),
		};
		this.#store(objects, { key, headers }, whole);
		this.uploads.delete(id);
		const inner = `<Location>/${bucket}/${escapeXml(key)}</Location><Bucket>${bucket}</Bucket><Key>${escapeXml(key)}</Key><ETag>&quot;${whole.etag}&quot;</ETag>`;
		return { status: 200, body: xml("CompleteMultipartUploadResult", inner) };
	}

	#store(
		objects: Map<string, StoredObject>,
		{ key, headers }: Pick<FakeRequest, "key" | "headers">,
		stored: StoredObject,
	) {
		if (headers["if-none-match"] === "*" && objects.has(key)) throw new Refusal(412, "PreconditionFailed");
		objects.set(key, stored);
	}

	#list(objects: ReadonlyMap<string, StoredObject>, query: URLSearchParams): string {
		const prefix = query.get("prefix") ?? "";
		const after = query.get("start-after") ?? "";
		const most = Math.min(this.pageKeys, Number(query.get("max-keys") ?? PAGE_KEYS));
		const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && byBytes(key, after) > 0).sort(byBytes);
		const contents = keys.slice(0, most).map((key) => {
			const { body, etag, modified } = objects.get(key) as StoredObject;
			const name = encodeURIComponent(key).replace(/%2F/g, "/");
			return `<Contents><Key>${name}</Key><LastModified>${modified.toISOString()}</LastModified><ETag>&quot;${etag}&quot;</ETag><Size>${body.length}</Size></Contents>`;
		});
		const inner = `<Prefix>${escapeXml(prefix)}</Prefix><IsTruncated>${keys.length > most}</IsTruncated>${contents.join("")}`;
		return xml("ListBucketResult", inner);
	}

	#listUploads(bucket: string, query: URLSearchParams): string {
		const prefix = query.get("prefix") ?? "";
		const marker = query.get("key-marker") ?? "";
		const found = [...this.uploads]
			.filter(
				([, upload]) => upload.bucket === bucket && upload.key.startsWith(prefix) && byBytes(upload.key, marker) > 0,
			)
			.sort(([, a], [, b]) => byBytes(a.key, b.key));
		const page = found.slice(0, this.pageKeys);
		const uploads = page.map(
			([id, { key }]) =>
				`<Upload><Key>${escapeXml(key)}</Key><UploadId>${id}</UploadId><Initiated>${new Date().toISOString()}</Initiated></Upload>`,
		);
		const last = page.at(-1)?.[1].key ?? "";
		const more = found.length > page.length;
		const next = more ? `<NextKeyMarker>${escapeXml(last)}</NextKeyMarker>` : "";
		return xml("ListMultipartUploadsResult", `<IsTruncated>${more}</IsTruncated>${next}${uploads.join("")}`);
	}
}

function read(
	objects: ReadonlyMap<string, StoredObject>,
	{ key, headers }: Pick<FakeRequest, "key" | "headers">,
): Answer {
	const found = objects.get(key);
	if (found === undefined) throw new Refusal(404, "NoSuchKey");
	const { body, etag, modified } = found;
	const about = { etag: `"${etag}"`, "last-modified": modified.toUTCString(), "accept-ranges": "bytes" };
	const range = /^bytes=(\d*)-(\d*)$/.exec(headers.range ?? "");
	if (range === null) return { status: 200, body, headers: about };
	const [, first = "", last = ""] = range;
	const start = first === "" ? Math.max(0, body.length - Number(last)) : Number(first);
	const end = first !== "" && last !== "" ? Math.min(body.length, Number(last) + 1) : body.length;
	if (start >= end) throw new Refusal(416, "InvalidRange");
	const headersOfPart = { ...about, "content-range": `bytes ${start}-${end - 1}/${body.length}` };
	return { status: 206, body: body.subarray(start, end), headers: headersOfPart };
}
