/**
 * How requests reach an S3 service: in slices, so that a part leaves at the pace it may and never all at once; with a
 * time-out for silence; and with every answer that is no success read here and turned into one kind of error, whatever
 * stands between the gateway and the service (a proxy, a portal that asks to log in).
 */
import { AsyncLocalStorage } from "node:async_hooks";
import http from "node:http";
import https from "node:https";
import { Writable } from "node:stream";
import type { Clock } from "../../src/base/clock.ts";

/** An answer that is no success. */
export class S3Failure extends Error {
	override readonly name = "S3Failure";
	readonly status: number;
	/** S3's word for it; empty where the answer has none. */
	readonly code: string;
	/** Where the bucket is, if the answer tells. */
	readonly region: string | undefined;
	/** By the server's clock. */
	readonly serverMs: number | undefined;
	/** The object's size, of an answer to a range outside it. */
	readonly sizeBytes: number | undefined;
	/** Whether an S3 service spoke, as far as one can tell. */
	readonly fromS3: boolean;

	constructor(response: http.IncomingMessage, text: string) {
		const { headers } = response;
		const element = (name: string): string | undefined =>
			new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1]?.trim() || undefined;
		const header = (name: string): string | undefined => headers[name]?.toString();
		const code = element("Code") ?? header("x-minio-error-code") ?? "";
		super(plain(element("Message") ?? header("x-minio-error-desc") ?? ""));
		this.status = response.statusCode ?? 0;
		this.code = code;
		this.region = element("Region") ?? header("x-amz-bucket-region");
		const date = Date.parse(headers.date ?? "");
		this.serverMs = Number.isNaN(date) ? undefined : date;
		const size = /^bytes \*\/(\d+)$/.exec(headers["content-range"] ?? "")?.[1];
		this.sizeBytes = size === undefined ? undefined : Number(size);
		this.fromS3 = code !== "" || header("x-amz-request-id") !== undefined;
	}
}

/** No answer. `code` is Node's own, or ETIMEDOUT for silence. */
export class ConnectionFailure extends Error {
	override readonly name = "ConnectionFailure";
	readonly code: string;
	/** The connection had served before: the server may have closed it in the very moment, and got nothing. */
	readonly wasReused: boolean;

	constructor(error: NodeJS.ErrnoException, wasReused: boolean) {
		super(error.message, { cause: error });
		this.code = error.code ?? "";
		this.wasReused = wasReused;
	}
}

export interface TransportOptions {
	readonly tls: boolean;
	/** PEM; undefined: the authorities that Node knows. */
	readonly ca: Buffer | undefined;
	readonly timeoutMs: number;
	/** Of request bodies; 0: no limit. */
	readonly bytesPerSecond: number;
	/** Which the pace goes by. */
	readonly clock: Clock;
}

const SLICE_BYTES = 65_536;
/** A slow uplink is given slices so small that it is never silent for longer. */
const SLICES_PER_SECOND = 4;
/** Connections that nobody uses are closed before most servers close them. */
const IDLE_CONNECTION_MS = 4000;
/** More of an error's text is of no use. */
const ERROR_TEXT_BYTES = 65_536;

/** What `transport` of a minio client is to be, and its agent. */
export class S3Transport {
	readonly agent: http.Agent;
	readonly #options: TransportOptions;
	/** Headers for what is sent while a task of `withHeaders` runs. */
	readonly #headers = new AsyncLocalStorage<http.OutgoingHttpHeaders>();
	/** When the uplink has room again, by the clock's monotonic time. */
	#freeMs = 0;
	readonly #open = new Set<Writable>();

	constructor(options: TransportOptions) {
		this.#options = options;
		const { tls, ca } = options;
		const settings = { keepAlive: true, timeout: IDLE_CONNECTION_MS };
		this.agent = tls ? new https.Agent({ ...settings, ...(ca && { ca }) }) : new http.Agent(settings);
	}

	/** Runs `task`; its requests carry `headers` beside what the client signs. */
	withHeaders<T>(headers: http.OutgoingHttpHeaders, task: () => Promise<T>): Promise<T> {
		return this.#headers.run(headers, task);
	}

	/** Ends connections; what is under way fails. */
	close(): void {
		for (const request of this.#open) request.destroy(new ConnectionFailure(new Error("closed"), false));
		this.agent.destroy();
	}

	/** As http.request, of which a minio client uses `on("error")` and `end(body)`. */
	readonly request = (options: http.RequestOptions, take: (response: http.IncomingMessage) => void): Writable => {
		const { timeoutMs } = this.#options;
		const more = this.#headers.getStore();
		let response: http.IncomingMessage | undefined;
		const request = (this.#options.tls ? https : http).request({
			...options,
			headers: { ...(options.headers as http.OutgoingHttpHeaders), ...more },
			timeout: timeoutMs,
		});
		const body = new Writable({
			highWaterMark: SLICE_BYTES,
			write: (chunk: Buffer, _encoding, done) => void this.#send(request, chunk).then(() => done(), fail),
			final: (done) => {
				request.end();
				done();
			},
			destroy: (error, done) => {
				this.#open.delete(body);
				if (error !== null) request.destroy();
				done(error);
			},
			// The answer to it is still to come.
			autoDestroy: false,
		});
		this.#open.add(body);
		let refused = false;
		const fail = (error: Error) => {
			const known = error instanceof S3Failure || error instanceof ConnectionFailure;
			body.destroy(known ? error : new ConnectionFailure(error, request.reusedSocket && response === undefined));
		};
		request.on("socket", (socket) => socket.setTimeout(timeoutMs));
		// A service that refuses early may cut the rest off: its answer says more than that.
		request.on("error", (error) => refused || fail(error));
		request.on("timeout", () => {
			const silent = Object.assign(new Error(`no answer for ${timeoutMs} ms`), { code: "ETIMEDOUT" });
			(response ?? request).destroy(silent);
		});
		request.on("response", (incoming) => {
			response = incoming;
			incoming.on("close", () => this.#open.delete(body));
			const status = incoming.statusCode ?? 0;
			refused = status < 200 || status >= 300;
			// The client does not know of a range that it has not asked for itself.
			if (status === 206 && more?.range !== undefined) incoming.statusCode = 200;
			if (!refused) take(incoming);
			else readText(incoming).then((text) => fail(new S3Failure(incoming, text)), fail);
		});
		return body;
	};

	async #send(request: http.ClientRequest, chunk: Buffer): Promise<void> {
		const { bytesPerSecond } = this.#options;
		const paced = bytesPerSecond === 0 ? SLICE_BYTES : Math.ceil(bytesPerSecond / SLICES_PER_SECOND);
		const sliceBytes = Math.min(SLICE_BYTES, paced);
		for (let at = 0; at < chunk.length; at += sliceBytes) {
			const slice = chunk.subarray(at, at + sliceBytes);
			if (bytesPerSecond > 0) await this.#turn((slice.length * 1000) / bytesPerSecond);
			// An error comes by its event as well.
			await new Promise<void>((resolve) => request.write(slice, (error) => error ?? resolve()));
		}
	}

	/** Waits until what was sent before has had its time, all requests together. */
	async #turn(costMs: number): Promise<void> {
		const { clock } = this.#options;
		const now = clock.monotonic();
		const start = Math.max(now, this.#freeMs);
		this.#freeMs = start + costMs;
		if (start > now) await new Promise<void>((resolve) => void clock.after(start - now, resolve));
	}
}

/** Without quotes around it, and without XML's own way to write them. */
function plain(message: string): string {
	return message.replace(/&(?:#34|#39|quot|apos|#x22|#x27);/g, "'").replace(/^"(.*)"$/s, "$1");
}

async function readText(response: http.IncomingMessage): Promise<string> {
	const chunks: Buffer[] = [];
	let bytes = 0;
	for await (const chunk of response as AsyncIterable<Buffer>) {
		if (bytes < ERROR_TEXT_BYTES) chunks.push(chunk);
		bytes += chunk.length;
	}
	return Buffer.concat(chunks).toString("utf8");
}
