/**
 * The S3 server of the `tier` benchmark: a MinIO of its own (test/interop/kit/s3 builds it), what goes to it counted by a
 * proxy where that matters, and beside it what a plain loop over the same client gets out of it.
 */
import { execFileSync } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { Client } from "minio";
import type { ObjectStoreOptions } from "../../tiering/object-store.ts";
import type { Workplace } from "./workplace.ts";

const KIT = path.resolve(import.meta.dirname, "../interop/kit/s3");
const KEYS = { accessKey: "interop", secretKey: "interop-secret" };
const BUCKET = "bench";
const REGION = "us-east-1";
/** As tiering sends and reads by default: parts, objects, windows of a reader that goes on. */
const PART_BYTES = 8 * 1024 * 1024;
const OBJECT_BYTES = 64 * 1024 * 1024;
const WINDOW_BYTES = 2 * 1024 * 1024;

export interface BenchStore {
	readonly endpoint: string;
	readonly client: Client;
	/** What a gateway is started with. */
	settings(endpoint?: string): Record<string, string | number>;
	options(endpoint?: string): ObjectStoreOptions;
	stop(): void;
}

export async function startBenchStore(workplace: Workplace): Promise<BenchStore> {
	const folder = workplace.folder("s3");
	const said = execFileSync(path.join(KIT, "s3-up"), ["--dir", folder], { encoding: "utf8" });
	const pid = Number(/S3_PID=(\d+)/.exec(said)?.[1]);
	const endpoint = /S3_ENDPOINT=(\S+)/.exec(said)?.[1] as string;
	const stop = (): void => {
		try {
			process.kill(pid, "SIGKILL");
		} catch {
			// It is gone.
		}
	};
	process.on("exit", stop);
	const { hostname, port } = new URL(endpoint);
	const client = new Client({
		...KEYS,
		endPoint: hostname,
		port: Number(port),
		useSSL: false,
		region: REGION,
		partSize: PART_BYTES,
	});
	await client.makeBucket(BUCKET);
	return {
		endpoint,
		client,
		settings: (at = endpoint) => ({
			"gateway.id": "bench",
			"objectStore.url": `s3://${BUCKET}/tier`,
			"objectStore.endpoint": at,
			"objectStore.region": REGION,
			"objectStore.access.key": KEYS.accessKey,
			"objectStore.secret.key": KEYS.secretKey,
		}),
		options: (at = endpoint) => ({
			url: `s3://${BUCKET}/tier`,
			endpoint: at,
			region: REGION,
			addressing: "auto",
			...KEYS,
			sessionToken: undefined,
			credentialsFile: undefined,
			profile: undefined,
			caFile: undefined,
			timeoutMs: 30_000,
			partBytes: PART_BYTES,
			bytesPerSecond: 0,
		}),
		stop,
	};
}

/** Uploads about `bytes` that cannot be compressed, an object after the other, a part after the other. Bytes a second. */
export async function plainUpload({ client }: BenchStore, bytes: number): Promise<number> {
	const part = randomFillSync(Buffer.allocUnsafe(PART_BYTES));
	const began = performance.now();
	let sent = 0;
	for (let object = 0; sent < bytes; object += 1) {
		const objectName = `plain/${object}`;
		const uploadID = await client.initiateNewMultipartUpload(BUCKET, objectName, {});
		const etags: { part: number; etag: string }[] = [];
		for (let ofObject = 0; ofObject < OBJECT_BYTES && sent < bytes; ofObject += PART_BYTES, sent += PART_BYTES) {
			const partNumber = etags.length + 1;
			const { etag } = await client.uploadPart(
				{ bucketName: BUCKET, objectName, uploadID: encodeURIComponent(uploadID), partNumber, headers: {} },
				part,
			);
			etags.push({ part: partNumber, etag });
		}
		await client.completeMultipartUpload(BUCKET, objectName, uploadID, etags);
	}
	return (sent * 1000) / (performance.now() - began);
}

/** Reads what `plainUpload` of as many bytes left, a window after the other. Bytes a second. */
export async function plainRead({ client }: BenchStore, bytes: number): Promise<number> {
	const began = performance.now();
	let read = 0;
	for (let object = 0; read < bytes; object += 1) {
		const { size } = await client.statObject(BUCKET, `plain/${object}`);
		for (let position = 0; position < size && read < bytes; position += WINDOW_BYTES) {
			const chunks: Buffer[] = [];
			for await (const chunk of await client.getPartialObject(BUCKET, `plain/${object}`, position, WINDOW_BYTES))
				chunks.push(chunk as Buffer);
			read += Buffer.concat(chunks).length;
		}
	}
	return (read * 1000) / (performance.now() - began);
}

/** Requests by what they cost: PUT and POST, LIST, GET and HEAD, DELETE. */
export interface RequestCounts {
	put: number;
	list: number;
	get: number;
	delete: number;
}

/** Hands everything on as it comes; signatures hold, for the host's name is signed as the proxy's. */
export class CountingProxy {
	readonly counts: RequestCounts = { put: 0, list: 0, get: 0, delete: 0 };
	readonly #agent = new http.Agent({ keepAlive: true });
	readonly #server: http.Server;
	endpoint = "";

	constructor(target: string) {
		const { hostname, port } = new URL(target);
		this.#server = http.createServer((request, answer) => {
			this.counts[kindOf(request)] += 1;
			const { method, url: at, headers } = request;
			const onward = http.request({ hostname, port, method, path: at, headers, agent: this.#agent }, (answered) => {
				answer.writeHead(answered.statusCode ?? 500, answered.rawHeaders);
				answered.pipe(answer);
			});
			onward.on("error", () => answer.destroy());
			request.pipe(onward);
		});
	}

	async start(): Promise<void> {
		this.#server.listen(0, "127.0.0.1");
		await once(this.#server, "listening");
		this.endpoint = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
	}

	/** What `work` asked for, and what came a moment later because of it. */
	async during(work: () => Promise<unknown>, momentMs = 0): Promise<RequestCounts> {
		const before = { ...this.counts };
		await work();
		await new Promise((resolve) => setTimeout(resolve, momentMs));
		return {
			put: this.counts.put - before.put,
			list: this.counts.list - before.list,
			get: this.counts.get - before.get,
			delete: this.counts.delete - before.delete,
		};
	}

	stop(): void {
		this.#server.close();
		this.#server.closeAllConnections();
		this.#agent.destroy();
	}
}

function kindOf({ method, url = "" }: http.IncomingMessage): keyof RequestCounts {
	if (method === "PUT" || method === "POST") return "put";
	if (method === "DELETE") return "delete";
	return /[?&](list-type|uploads)\b/.test(url) ? "list" : "get";
}
