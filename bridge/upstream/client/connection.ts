/**
 * One connection to a broker: what it knows is asked first (ApiVersions), then comes the login, then requests, any number
 * under way, each with a time limit. It never sends anything of its own: an idle one costs nothing. After any fault it is
 * closed, and every request on it is told whether it may have arrived.
 */
import type { Clock, Timer } from "../../../src/base/clock.ts";
import { FrameReader } from "../../../src/base/frames.ts";
import type { Random } from "../../../src/base/random.ts";
import type { Address } from "../../../src/config/definition.ts";
import { encodeRequestHeader, hasFlexibleResponseHeader } from "../../../src/kafka/protocol/header.ts";
import { MalformedMessage, Reader } from "../../../src/kafka/protocol/reader.ts";
import type { Decoded, Encodable, Fields, Message } from "../../../src/kafka/protocol/schema.ts";
import { Writer } from "../../../src/kafka/protocol/writer.ts";
import { API_VERSIONS, type Api, apiName, SASL_AUTHENTICATE, SASL_HANDSHAKE } from "./apis.ts";
import { BrokerVersions } from "./broker-versions.ts";
import { LinkError } from "./link-error.ts";
import { explainFrame, place } from "./link-faults.ts";
import { authenticate, type SaslOptions } from "./sasl.ts";
import type { Dial, Transport, TransportHandler } from "./transport.ts";

export interface ConnectionOptions {
	readonly clientId: string;
	/** Of this program, told to the broker; letters, digits, `.` and `-`. */
	readonly softwareVersion: string;
	readonly dial: Dial;
	readonly sasl: SaslOptions | undefined;
	readonly clock: Clock;
	readonly random: Random;
	/** Until the transport is open. */
	readonly connectTimeoutMs: number;
	/** For each answer until the connection is ready for use. */
	readonly requestTimeoutMs: number;
	/** A larger answer ends the connection; left out: 64 MiB. */
	readonly maxResponseBytes?: number;
}

export interface ExchangeOptions {
	/**
	 * From when it is written; from when a byte of it last went out, or any came in: a slow link is none that is gone. The
	 * connection is closed then, since its answers come in order.
	 */
	readonly timeoutMs: number;
	/** No higher version than this, none lower than that: what such a version cannot say has to be said. */
	readonly atMost?: number | undefined;
	readonly atLeast?: number | undefined;
	/** Whoever asked does not want the answer any more. The request is sent all the same where it was written already. */
	readonly signal?: AbortSignal | undefined;
}

export interface Answer<S extends Fields> {
	readonly version: number;
	/** Byte fields are views of the answer's own buffer. */
	readonly body: Decoded<S>;
}

const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
const UNSUPPORTED_VERSION = 35;
const SASL_AUTHENTICATION_FAILED = 58;
const UNSUPPORTED_SASL_MECHANISM = 33;
const ILLEGAL_SASL_STATE = 34;
/** As Kafka's own clients log in anew: after 85 to 95 % of a session's life. */
const RELOGIN_AFTER = 0.85;
const RELOGIN_SPREAD = 0.1;

interface Pending {
	readonly api: { readonly request: Message<Fields>; readonly response: Message<Fields> };
	readonly version: number;
	/** Where it ends among all bytes written. */
	readonly endAt: number;
	timer: Timer;
	readonly resolve: (answer: { version: number; body: unknown }) => void;
	readonly reject: (error: unknown) => void;
}

export class Connection implements TransportHandler {
	readonly address: Address;
	readonly #options: ConnectionOptions;
	readonly #where: string;
	/** None when it is over: it may hold most of a large answer. */
	#frames: FrameReader | undefined;
	#transport: Transport | undefined;
	#versions = new BrokerVersions([]);
	readonly #pending = new Map<number, Pending>();
	#correlationId = 0;
	#answers = 0;
	/** Bytes given to the transport, and got from it. */
	#written = 0;
	#read = 0;
	#usedMs: number;
	/** While a login is under way: no request may pass it. */
	#login: Promise<void> | undefined;
	/** When to log in anew, by the monotonic clock; undefined: never. */
	#loginDueMs: number | undefined;
	/** Why it is over. */
	#end: LinkError | undefined;

	private constructor(options: ConnectionOptions, address: Address) {
		this.#options = options;
		this.address = address;
		this.#where = place(address);
		this.#usedMs = options.clock.monotonic();
		this.#frames = new FrameReader(options.maxResponseBytes ?? MAX_RESPONSE_BYTES, (bytes, max) =>
			explainFrame(bytes, max, this.#where, this.#answers === 0),
		);
	}

	/** Resolves when it is ready for requests. Rejects with LinkError, of which nothing may have been sent; with the signal's reason. */
	static async open(options: ConnectionOptions, address: Address, signal: AbortSignal): Promise<Connection> {
		const connection = new Connection(options, address);
		const aborted = (): void => connection.close();
		signal.addEventListener("abort", aborted);
		try {
			await connection.#open(signal);
			return connection;
		} catch (error) {
			connection.close();
			signal.throwIfAborted();
			throw error instanceof LinkError ? notSent(error, connection) : error;
		} finally {
			signal.removeEventListener("abort", aborted);
		}
	}

	get isOpen(): boolean {
		return this.#transport !== undefined && this.#end === undefined;
	}

	/** Requests without an answer so far. */
	get inFlight(): number {
		return this.#pending.size;
	}

	/** When the last request or answer passed, by the monotonic clock. */
	get usedMs(): number {
		return this.#usedMs;
	}

	get sentBytes(): number {
		return this.#transport?.sentBytes ?? 0;
	}

	get receivedBytes(): number {
		return this.#transport?.receivedBytes ?? 0;
	}

	/** The highest that both know, at most `atMost`; undefined: none. */
	versionOf<Q extends Fields, S extends Fields>(api: Api<Q, S>, atMost = Number.POSITIVE_INFINITY): number | undefined {
		return this.#versions.highest(api, atMost);
	}

	/** Rejects with LinkError; with the signal's reason. What a version cannot say is a fault of the caller's: RangeError, TypeError. */
	async request<Q extends Fields, S extends Fields>(
		api: Api<Q, S>,
		value: Encodable<Q>,
		options: ExchangeOptions,
	): Promise<Answer<S>> {
		const { atMost = Number.POSITIVE_INFINITY, atLeast = 0, signal } = options;
		signal?.throwIfAborted();
		const version = this.versionOf(api, atMost);
		if (version === undefined || version < atLeast) throw this.#versions.refusal(api, atMost, this.#where);
		for (let login = this.#loginFirst(); login !== undefined; login = this.#loginFirst()) {
			await login;
			signal?.throwIfAborted();
		}
		return await this.#exchange(api, version, value, options);
	}

	/** At once; what is under way is told that it may have arrived. */
	close(): void {
		this.#finish(new LinkError("lost", `the connection to ${this.#where} was closed by this gateway`));
	}

	/** Of the transport. */
	data(bytes: Buffer): void {
		if (this.#end !== undefined) return;
		this.#usedMs = this.#options.clock.monotonic();
		this.#read += bytes.length;
		try {
			this.#frames?.push(bytes);
			for (let frame = this.#frames?.next(); frame !== undefined; frame = this.#frames?.next()) this.#answer(frame);
		} catch (error) {
			if (error instanceof LinkError) this.#finish(error);
			else if (error instanceof MalformedMessage) this.#malformed(error.message);
			else throw error;
		}
	}

	/** Of the transport. */
	closed(error: Error | undefined): void {
		if (error instanceof LinkError) {
			this.#finish(error);
			return;
		}
		const how = error === undefined ? "closed the connection" : `broke off the connection: ${error.message}`;
		this.#finish(new LinkError("lost", `${this.#where} ${how}`, { action: this.#guess(), cause: error }));
	}

	/** What a broker may mean that closes without a word. */
	#guess(): string | undefined {
		if (this.#answers === 0) {
			return "check that a Kafka broker listens there, and whether that port calls for TLS (upstream.security.protocol)";
		}
		if (this.#answers === 1 && this.#options.sasl === undefined) {
			return "if that port calls for a login: set upstream.security.protocol to SASL_SSL or SASL_PLAINTEXT";
		}
		return undefined;
	}

	async #open(signal: AbortSignal): Promise<void> {
		const transport = await this.#dial(signal);
		if (this.#end !== undefined) {
			transport.destroy();
			throw this.#end;
		}
		this.#transport = transport;
		await this.#askVersions();
		if (this.#options.sasl !== undefined) await this.#logIn(this.#options.sasl);
	}

	async #dial(signal: AbortSignal): Promise<Transport> {
		const { dial, clock, connectTimeoutMs } = this.#options;
		signal.throwIfAborted();
		const attempt = new AbortController();
		const aborted = (): void => attempt.abort(signal.reason);
		signal.addEventListener("abort", aborted);
		const timer = clock.after(connectTimeoutMs, () =>
			attempt.abort(
				new LinkError("unreachable", `${this.#where} has not answered within ${seconds(connectTimeoutMs)}`),
			),
		);
		try {
			return await dial(this.address, this, attempt.signal);
		} finally {
			timer.cancel();
			signal.removeEventListener("abort", aborted);
		}
	}

	async #askVersions(): Promise<void> {
		let version = API_VERSIONS.request.maxVersion;
		for (;;) {
			const { body } = await this.#exchange(
				API_VERSIONS,
				version,
				{ clientSoftwareName: "headwater", clientSoftwareVersion: this.#options.softwareVersion },
				{ timeoutMs: this.#options.requestTimeoutMs },
			);
			if (body.errorCode === 0) {
				this.#versions = new BrokerVersions(body.apiKeys);
				return;
			}
			// It may say which it does know (KIP-511); who does not knows the first.
			if (body.errorCode !== UNSUPPORTED_VERSION || version === 0) {
				throw new LinkError("unsupported", `${this.#where} refuses ApiVersions with error ${body.errorCode}`, {
					lasting: true,
				});
			}
			version = Math.min(version - 1, new BrokerVersions(body.apiKeys).highest(API_VERSIONS, version - 1) ?? 0);
		}
	}

	/** What a request has to wait for. */
	#loginFirst(): Promise<void> | undefined {
		if (this.#login !== undefined) return this.#login;
		const { sasl, clock } = this.#options;
		if (sasl === undefined || this.#loginDueMs === undefined || clock.monotonic() < this.#loginDueMs) return undefined;
		// KIP-368: the broker closes a connection whose login is too old; only who sends something needs to care.
		this.#login = this.#logIn(sasl)
			.catch((error: unknown) => {
				if (!(error instanceof LinkError)) throw error;
				this.#finish(error);
				throw error.with({ maybeSent: false });
			})
			.finally(() => {
				this.#login = undefined;
			});
		return this.#login;
	}

	async #logIn(sasl: SaslOptions): Promise<void> {
		const { clock, random, requestTimeoutMs: timeoutMs } = this.#options;
		const handshakeVersion = this.versionOf(SASL_HANDSHAKE);
		const version = this.versionOf(SASL_AUTHENTICATE);
		// SaslHandshake v0 is followed by bytes that are no Kafka messages: nothing speaks that since Kafka 1.0.
		if (handshakeVersion === undefined || handshakeVersion < 1 || version === undefined)
			throw this.#versions.refusal(SASL_AUTHENTICATE, Number.POSITIVE_INFINITY, this.#where);
		const { mechanism } = sasl;
		const handshake = await this.#exchange(SASL_HANDSHAKE, handshakeVersion, { mechanism }, { timeoutMs });
		const { errorCode, mechanisms } = handshake.body;
		if (errorCode !== 0) throw this.#noHandshake(errorCode, mechanism, mechanisms);
		let lifetimeMs = 0;
		const beganMs = clock.monotonic();
		await authenticate(sasl, random, async (authBytes) => {
			const { body } = await this.#exchange(SASL_AUTHENTICATE, version, { authBytes }, { timeoutMs });
			if (body.errorCode !== 0) throw this.#refused(body.errorCode, body.errorMessage, sasl);
			lifetimeMs = body.sessionLifetimeMs;
			return body.authBytes;
		});
		const share = RELOGIN_AFTER + (RELOGIN_SPREAD * random.u32()) / 2 ** 32;
		this.#loginDueMs = lifetimeMs > 0 ? beganMs + lifetimeMs * share : undefined;
	}

	#noHandshake(errorCode: number, mechanism: string, offered: readonly string[]): LinkError {
		if (errorCode === ILLEGAL_SASL_STATE) {
			return new LinkError("login", `${this.#where} takes no login on this port`, {
				lasting: true,
				action: "set upstream.security.protocol to PLAINTEXT or SSL, or give the port of the broker's SASL listener",
			});
		}
		if (errorCode !== UNSUPPORTED_SASL_MECHANISM)
			return new LinkError("login", `${this.#where} refuses SaslHandshake with error ${errorCode}`);
		const names = offered.length === 0 ? "none" : offered.join(", ");
		return new LinkError("login", `${this.#where} does not offer ${mechanism}; it offers: ${names}`, {
			lasting: true,
			action: "set upstream.sasl.mechanism to one of them, or enable it in the broker (sasl.enabled.mechanisms)",
		});
	}

	#refused(errorCode: number, message: string | null, { username }: SaslOptions): LinkError {
		const why = message ?? `error ${errorCode}`;
		if (errorCode !== SASL_AUTHENTICATION_FAILED)
			return new LinkError("login", `${this.#where} fails at the login: ${why}`);
		return new LinkError("login", `${this.#where} refuses the login of ${JSON.stringify(username)}: ${why}`, {
			lasting: true,
			action: "check upstream.sasl.username, the password and upstream.sasl.mechanism",
		});
	}

	#exchange<Q extends Fields, S extends Fields>(
		api: Api<Q, S>,
		version: number,
		value: Encodable<Q>,
		{ timeoutMs, signal }: ExchangeOptions,
	): Promise<Answer<S>> {
		return new Promise((resolve, reject) => {
			const transport = this.#transport;
			if (this.#end !== undefined || transport === undefined) {
				reject(this.#end ?? new LinkError("lost", `the connection to ${this.#where} is not open`));
				return;
			}
			const correlationId = this.#correlationId;
			const parts = this.#encode(api.request, version, correlationId, value);
			this.#correlationId = (correlationId + 1) & 0x7fff_ffff;
			const unwanted = (): void => reject(signal?.reason);
			const over = (): void => signal?.removeEventListener("abort", unwanted);
			signal?.addEventListener("abort", unwanted);
			for (const part of parts) this.#written += part.length;
			const endAt = this.#written;
			this.#pending.set(correlationId, {
				api: api as unknown as Pending["api"],
				version,
				endAt,
				timer: this.#timer(correlationId, endAt, timeoutMs),
				resolve: (answer) => {
					over();
					resolve(answer as Answer<S>);
				},
				reject: (error) => {
					over();
					reject(error);
				},
			});
			this.#usedMs = this.#options.clock.monotonic();
			transport.write(parts);
		});
	}

	#encode<Q extends Fields>(
		request: Message<Q>,
		apiVersion: number,
		correlationId: number,
		value: Encodable<Q>,
	): Uint8Array[] {
		const { clientId } = this.#options;
		const { apiKey, flexibleFrom } = request;
		const writer = new Writer();
		writer.int32(0);
		encodeRequestHeader(writer, { apiKey, apiVersion, correlationId, clientId }, apiVersion >= flexibleFrom);
		request.encode(writer, apiVersion, value);
		return writer.takeFrame();
	}

	#answer(frame: Buffer): void {
		const reader = new Reader(frame);
		const correlationId = reader.int32();
		const pending = this.#pending.get(correlationId);
		if (pending === undefined) {
			this.#malformed(`an answer to request ${correlationId}, which is not under way`);
			return;
		}
		const { api, resolve, timer } = pending;
		// Whatever version was asked for, a broker that does not know it answers as version 0 does (KIP-511).
		const isFallback = api.request === (API_VERSIONS.request as unknown) && isUnsupported(frame);
		const version = isFallback ? 0 : pending.version;
		let body: unknown;
		try {
			if (hasFlexibleResponseHeader(api.response, version)) reader.skipTags();
			body = api.response.decode(reader, version);
			reader.end();
		} catch (error) {
			if (!(error instanceof MalformedMessage)) throw error;
			this.#malformed(`the answer to ${apiName(api)} v${version}: ${error.message}`);
			return;
		}
		this.#answers++;
		this.#pending.delete(correlationId);
		timer.cancel();
		resolve({ version, body });
	}

	#timer(correlationId: number, endAt: number, timeoutMs: number): Timer {
		const moved = this.#moved(endAt);
		return this.#options.clock.after(timeoutMs, () => {
			const pending = this.#pending.get(correlationId);
			if (pending === undefined) return;
			if (this.#moved(endAt) > moved) pending.timer = this.#timer(correlationId, endAt, timeoutMs);
			else this.#timeout(correlationId, pending, timeoutMs);
		});
	}

	/** Of the bytes up to `endAt`, those that went out, and all that came in. */
	#moved(endAt: number): number {
		const unsent = this.#transport?.unsentBytes ?? 0;
		return Math.min(endAt, this.#written - unsent) + this.#read;
	}

	#timeout(correlationId: number, pending: Pending, timeoutMs: number): void {
		this.#pending.delete(correlationId);
		const what = `${this.#where} has not answered ${apiName(pending.api)} within ${seconds(timeoutMs)}`;
		pending.reject(new LinkError("timeout", what, { maybeSent: true }));
		this.#finish(new LinkError("lost", `the connection was given up: ${what}`));
	}

	#malformed(what: string): void {
		const message = `${this.#where} sent what is not Kafka's protocol: ${what}`;
		this.#finish(new LinkError("malformed", message, { lasting: this.#answers === 0 }));
	}

	#finish(end: LinkError): void {
		if (this.#end !== undefined) return;
		this.#end = end;
		this.#frames = undefined;
		this.#transport?.destroy();
		const maybeSent = end.with({ maybeSent: true });
		for (const { timer, reject } of this.#pending.values()) {
			timer.cancel();
			reject(maybeSent);
		}
		this.#pending.clear();
	}
}

function isUnsupported(frame: Buffer): boolean {
	return frame.length >= 6 && frame.readInt16BE(4) === UNSUPPORTED_VERSION;
}

/** Whatever was sent until a connection is ready for use, no request was among it. */
function notSent(error: LinkError, { sentBytes: sent, receivedBytes: received }: Connection): LinkError {
	return error.with({ maybeSent: false, ...(sent > 0 && { wireBytes: { sent, received } }) });
}

function seconds(ms: number): string {
	return ms % 1000 === 0 ? `${ms / 1000} s` : `${ms} ms`;
}
