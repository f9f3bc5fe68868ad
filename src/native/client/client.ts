/**
 * The package export `headwater/client`: a small client of the native door (docs/native-client.md).
 * It connects again by itself, with growing pauses; what was produced and not acknowledged is then sent again and stored once,
 * subscriptions go on where they were. Every error is a HeadwaterError.
 */
import { randomBytes } from "node:crypto";
import { MESSAGE } from "../codec/protocol.ts";
import type { Shape } from "../codec/shape.ts";
import { CborWriter } from "../codec/writer.ts";
import { HeadwaterError } from "./errors.ts";
import { groupsApi } from "./groups-api.ts";
import { errorOf, type Fields, type Link, type LinkOwner, openLink } from "./link.ts";
import { ProduceQueue } from "./produce-queue.ts";
import { RecordStream, type StreamHost } from "./record-stream.ts";
import { tierApi } from "./tier-api.ts";
import type { TierApi } from "./tier-types.ts";
import { topicsApi } from "./topics-api.ts";
import type {
	ConnectOptions,
	ConsumedRecord,
	FetchOptions,
	FetchResult,
	GatewayStatus,
	GroupsApi,
	OffsetSpec,
	ProduceOptions,
	ProduceRecord,
	ProduceResult,
	SubscribeOptions,
	TopicsApi,
} from "./types.ts";
import { upstreamApi } from "./upstream-api.ts";
import type { UpstreamApi } from "./upstream-types.ts";
import { ANSWERS, check, consumedRecords, encodePosition, gatewayStatus, wholeNumber } from "./wire.ts";

export { HeadwaterError } from "./errors.ts";
export type * from "./tier-types.ts";
export type * from "./types.ts";
export type * from "./upstream-types.ts";

const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_PORT = 9470;
const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_FETCH_BYTES = 1024 * 1024;
/** Pauses between attempts to connect again double from the first to the last; each is shortened by up to half, at random. */
const FIRST_PAUSE_MS = 100;
const LAST_PAUSE_MS = 10_000;
/** Refusals after which a read of records is made again, with pauses that double from the first to this one. */
const LATER_CODES = new Set(["KAFKA_STORAGE_ERROR", "OFFSET_NOT_AVAILABLE"]);
const LAST_RETRY_MS = 2_000;
/** Refusals at which connecting again would end the same way. */
const FINAL_CODES = new Set([
	"ABORTED",
	"INVALID_PRODUCER_EPOCH",
	"INVALID_REQUEST",
	"MESSAGE_TOO_LARGE",
	"PROTOCOL_ERROR",
	"SASL_AUTHENTICATION_FAILED",
	"UNSUPPORTED_VERSION",
]);

interface Pending {
	readonly name: string;
	readonly frame: Buffer;
	/** Whether it does no harm to ask twice. */
	readonly repeatable: boolean;
	sent: boolean;
	/** The request's answer, or a message before it. */
	answered(type: number, body: Fields): void;
	/** The gateway's answer is an error. */
	refused(error: HeadwaterError): void;
	failed(error: HeadwaterError): void;
}

/** One request, and what its answer has to look like. */
export interface Call {
	readonly name: string;
	readonly type: number;
	readonly shape: Shape | undefined;
	readonly repeatable: boolean;
	/** Whether it is asked again, until its time is over, where records cannot be had from the object store just now. */
	readonly readsOn?: boolean;
	/** Time beyond the client's time-out that the gateway was asked to wait. */
	readonly waitMs?: number;
	readonly signal?: AbortSignal | undefined;
	/** Messages that come before the answer, each of which gives the gateway its time anew. */
	readonly parts?: { readonly type: number; readonly shape: Shape; received(body: Fields): void };
	write(writer: CborWriter): void;
}

/**
 * Connects to a gateway. Rejects at once when none answers (CONNECTION_LOST), when it takes too long (TIMEOUT), or when the
 * gateway refuses (UNSUPPORTED_VERSION, SASL_AUTHENTICATION_FAILED, THROTTLING_QUOTA_EXCEEDED).
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
	const client = new Client(options);
	await client.open();
	return client;
}

export class Client {
	/** The id under which this client produces. */
	readonly clientId: string;
	readonly topics: TopicsApi;
	readonly groups: GroupsApi;
	readonly tier: TierApi;
	readonly upstream: UpstreamApi;
	readonly #options: ConnectOptions;
	readonly #host: string;
	readonly #port: number;
	readonly #timeoutMs: number;
	readonly #produced: ProduceQueue;
	readonly #pending = new Map<number, Pending>();
	readonly #streams = new Map<number, RecordStream>();
	readonly #allStreams = new Set<RecordStream>();
	readonly #linkOwner: LinkOwner;
	readonly #streamHost: StreamHost;
	#link: Link | undefined;
	#epoch: number | undefined;
	#lastId = 1;
	#closing = false;
	#closed: HeadwaterError | undefined;
	#stopPause: (() => void) | undefined;
	readonly #stopOpening = new AbortController();
	readonly #abort = () => this.#end(new HeadwaterError("ABORTED", "the client was closed by its signal"));

	/** Use `connect`. */
	constructor(options: ConnectOptions) {
		this.#options = options;
		this.#host = options.host ?? DEFAULT_HOST;
		this.#port = options.port ?? DEFAULT_PORT;
		this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
		this.clientId = options.clientId ?? randomBytes(12).toString("hex");
		this.#produced = new ProduceQueue(() => this.#nextId(), options.maxInFlight);
		this.topics = topicsApi((call) => this.#call(call));
		this.groups = groupsApi((call) => this.#call(call));
		this.tier = tierApi((call) => this.#call(call));
		this.upstream = upstreamApi((call) => this.#call(call));
		this.#linkOwner = {
			received: (type, id, body, frameBytes) => this.#received(type, id, body, frameBytes),
			lost: (link, error) => this.#lost(link, error),
		};
		this.#streamHost = {
			nextId: () => this.#nextId(),
			send: (frame) => this.#link?.send(frame),
			ended: (stream) => this.#streamEnded(stream),
		};
	}

	/** The first connection; `connect` calls it. */
	async open(): Promise<void> {
		await this.#connect();
		this.#options.signal?.addEventListener("abort", this.#abort, { once: true });
		if (this.#options.signal?.aborted) this.#abort();
	}

	/**
	 * Stores records, all in one commit or none, and resolves when they are durable: partition, offset and timestamp of each, in
	 * order. Calls made without waiting for each other are stored in their order. Rejects with MESSAGE_TOO_LARGE,
	 * UNKNOWN_TOPIC_OR_PARTITION, KAFKA_STORAGE_ERROR (the disk is full; nothing was stored) and others of Kafka's names.
	 */
	async produce(
		topic: string,
		record: ProduceRecord | readonly ProduceRecord[],
		options: ProduceOptions = {},
	): Promise<ProduceResult[]> {
		const records: readonly ProduceRecord[] = Array.isArray(record) ? record : [record as ProduceRecord];
		return records.length === 0 ? [] : await this.#produced.produce(topic, records, options);
	}

	/**
	 * Records of one partition from an offset on. Rejects with OFFSET_OUT_OF_RANGE for an offset that is not stored; with
	 * OFFSET_NOT_AVAILABLE or KAFKA_STORAGE_ERROR where the gateway's object store did not give them within the client's time-out.
	 */
	fetch(topic: string, partition: number, offset: number, options: FetchOptions = {}): Promise<FetchResult> {
		const waitMs = options.waitMs ?? 0;
		return this.#call({
			name: "fetch",
			type: MESSAGE.FETCH,
			shape: ANSWERS.fetch,
			repeatable: true,
			readsOn: true,
			waitMs,
			signal: options.signal,
			write: (writer) => {
				writer.map(5).uint(0).text(topic).uint(1).uint(wholeNumber(partition, "partition"));
				writer.uint(2).uint(wholeNumber(offset, "offset"));
				writer.uint(3).uint(wholeNumber(options.maxBytes ?? DEFAULT_FETCH_BYTES, "maxBytes"));
				writer.uint(4).uint(wholeNumber(waitMs, "waitMs"));
			},
		}).then((body) => ({
			records: consumedRecords(topic, partition, body.get(0)),
			highWatermark: body.get(1) as number,
			logStartOffset: body.get(2) as number,
			nextOffset: body.get(3) as number,
		}));
	}

	/**
	 * For each partition where reading would begin. By timestamp: at the first record of that time or later, or at the end;
	 * rejects as `fetch` does where the object store has to be asked.
	 */
	offsets(topic: string, at: OffsetSpec): Promise<{ partition: number; offset: number }[]> {
		return this.#call({
			name: "offsets",
			type: MESSAGE.OFFSETS,
			shape: ANSWERS.offsets,
			repeatable: true,
			readsOn: true,
			write: (writer) => encodePosition(writer.map(2).uint(0).text(topic).uint(1), at),
		}).then((body) => (body.get(0) as [number, number][]).map(([partition, offset]) => ({ partition, offset })));
	}

	/**
	 * Records as they are and as they come: in order within a partition. The subscription begins with this call, not with the
	 * first read. The iteration throws OFFSET_OUT_OF_RANGE when the retention has overtaken a slow reader.
	 */
	subscribe(topic: string, options: SubscribeOptions): AsyncIterableIterator<ConsumedRecord> {
		if (this.#closed) throw this.#closed;
		const stream = new RecordStream(topic, options, this.#streamHost);
		if (stream.finished) return stream;
		this.#allStreams.add(stream);
		if (this.#link) this.#connectStream(stream);
		return stream;
	}

	status(): Promise<GatewayStatus> {
		const call = { name: "status", type: MESSAGE.STATUS, shape: ANSWERS.status, repeatable: true };
		return this.#call({ ...call, write: (writer) => void writer.map(0) }).then(gatewayStatus);
	}

	/** Waits for what was produced to be acknowledged, if there is a connection, and closes. */
	async close(): Promise<void> {
		if (this.#closed || this.#closing) return;
		this.#closing = true;
		const closed = new HeadwaterError("CLOSED", "the client is closed");
		for (const stream of [...this.#allStreams]) stream.finish(undefined);
		if (this.#link) await Promise.race([this.#produced.whenEmpty(), this.#pause(this.#timeoutMs)]);
		this.#stopPause?.();
		const link = this.#link;
		if (this.#closed || link === undefined) {
			this.#end(closed);
			return;
		}
		// A random id does not come back: the gateway need not remember it.
		const forget = this.#options.clientId === undefined;
		await this.#call({
			name: "bye",
			type: MESSAGE.BYE,
			shape: undefined,
			repeatable: false,
			write: (writer) => void writer.map(1).uint(0).bool(forget),
		}).catch(() => undefined);
		link.finish();
		this.#end(closed);
	}

	[Symbol.asyncDispose](): Promise<void> {
		return this.close();
	}

	#nextId(): number {
		do this.#lastId = this.#lastId >= 0xffff_ffff ? 2 : this.#lastId + 1;
		while (this.#pending.has(this.#lastId) || this.#streams.has(this.#lastId));
		return this.#lastId;
	}

	async #connect(): Promise<void> {
		const stop = this.#stopOpening.signal;
		const link = await openLink(
			{
				host: this.#host,
				port: this.#port,
				clientId: this.clientId,
				epoch: this.#epoch,
				token: this.#options.token,
				timeoutMs: this.#timeoutMs,
				signal: this.#options.signal ? AbortSignal.any([stop, this.#options.signal]) : stop,
			},
			this.#linkOwner,
		);
		if (this.#closed) {
			link.close(this.#closed);
			return;
		}
		this.#link = link;
		this.#epoch = link.greeting?.epoch;
		// Subscriptions first: one that begins at the latest record is to see what is produced behind it.
		for (const stream of this.#allStreams) this.#connectStream(stream);
		this.#produced.attach(link);
		for (const pending of this.#pending.values()) this.#send(pending);
	}

	#send(pending: Pending): void {
		if (this.#link === undefined) return;
		pending.sent = true;
		this.#link.send(pending.frame);
	}

	#connectStream(stream: RecordStream): void {
		this.#streams.delete(stream.id);
		stream.connected();
		this.#streams.set(stream.id, stream);
	}

	#call(call: Call): Promise<Fields> {
		return new Promise((resolve, reject) => {
			if (this.#closed) throw this.#closed;
			if (call.signal?.aborted) throw new HeadwaterError("ABORTED", `${call.name} was given up`);
			const id = this.#nextId();
			const writer = new CborWriter().beginMessage(call.type, id);
			call.write(writer);
			const done = () => {
				clearTimeout(timer);
				clearTimeout(retry);
				call.signal?.removeEventListener("abort", aborted);
				this.#pending.delete(id);
			};
			const failed = (error: HeadwaterError) => {
				done();
				reject(error);
			};
			let pauseMs = FIRST_PAUSE_MS;
			let retry: NodeJS.Timeout | undefined;
			let refusal: HeadwaterError | undefined;
			const refused = (error: HeadwaterError) => {
				if (call.readsOn !== true || !LATER_CODES.has(error.code)) {
					failed(error);
					return;
				}
				refusal = error;
				retry = setTimeout(() => this.#send(pending), pauseMs);
				pauseMs = Math.min(pauseMs * 2, LAST_RETRY_MS);
			};
			const aborted = () => {
				failed(new HeadwaterError("ABORTED", `${call.name} was given up`));
				if (call.parts !== undefined && this.#link !== undefined) this.#unsubscribe(id);
			};
			const timeMs = this.#timeoutMs + (call.waitMs ?? 0);
			const timer = setTimeout(() => failed(refusal ?? this.#timeOut(call.name, timeMs)), timeMs);
			call.signal?.addEventListener("abort", aborted, { once: true });
			const pending: Pending = {
				name: call.name,
				frame: writer.endFrame().take(),
				repeatable: call.repeatable,
				sent: false,
				refused,
				failed,
				answered: (type, body) => {
					if (call.parts !== undefined && type === call.parts.type) {
						check(body, call.parts.shape, call.name);
						timer.refresh();
						call.parts.received(body);
						return;
					}
					if (call.shape !== undefined) check(body, call.shape, call.name);
					done();
					resolve(body);
				},
			};
			this.#pending.set(id, pending);
			this.#send(pending);
		});
	}

	#timeOut(name: string, timeMs: number): HeadwaterError {
		const place = `${this.#host}:${this.#port}`;
		const why = this.#link === undefined ? `there is no connection to ${place}` : `${place} did not answer`;
		return new HeadwaterError("TIMEOUT", `${name}: ${why} within ${timeMs} ms`);
	}

	#received(type: number, id: number, body: Fields, frameBytes: number): void {
		if (this.#produced.answered(type, id, body)) return;
		const pending = this.#pending.get(id);
		if (pending !== undefined) {
			if (type === MESSAGE.ERROR) pending.refused(errorOf(body));
			else pending.answered(type, body);
			return;
		}
		// Without a stream: it has ended here, and the gateway did not know yet when it sent this.
		const stream = this.#streams.get(id);
		if (type === MESSAGE.END || type === MESSAGE.ERROR) this.#streams.delete(id);
		stream?.received(type, body, frameBytes);
	}

	#streamEnded(stream: RecordStream): void {
		if (!this.#allStreams.delete(stream)) return;
		const known = this.#streams.delete(stream.id);
		if (!known || this.#closed || this.#link === undefined) return;
		this.#unsubscribe(stream.id);
	}

	#unsubscribe(id: number): void {
		const call = { name: "unsubscribe", type: MESSAGE.UNSUBSCRIBE, shape: undefined, repeatable: true };
		this.#call({ ...call, write: (writer) => void writer.map(1).uint(0).uint(id) }).catch(() => undefined);
	}

	#lost(link: Link, error: HeadwaterError): void {
		if (this.#link !== link) return;
		this.#link = undefined;
		this.#produced.detach();
		if (this.#closed) return;
		if (this.#closing || this.#options.reconnect === false || FINAL_CODES.has(error.code)) {
			this.#end(error);
			return;
		}
		const unknown = "the connection was lost before the answer came; whether it was done is not known";
		for (const pending of [...this.#pending.values()]) {
			if (pending.sent && !pending.repeatable) {
				pending.failed(new HeadwaterError("CONNECTION_LOST", `${pending.name}: ${unknown}`, { cause: error }));
			}
		}
		void this.#connectAgain();
	}

	async #connectAgain(): Promise<void> {
		for (let pauseMs = FIRST_PAUSE_MS; !this.#closed; pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS)) {
			await this.#pause(pauseMs * (0.5 + Math.random() / 2));
			if (this.#closed) return;
			try {
				await this.#connect();
				return;
			} catch (error) {
				const failure = error as HeadwaterError;
				if (FINAL_CODES.has(failure.code) || !(failure instanceof HeadwaterError)) this.#end(failure);
			}
		}
	}

	#pause(ms: number): Promise<void> {
		return new Promise((resolve) => {
			const timer = setTimeout(resolve, ms);
			this.#stopPause = () => {
				clearTimeout(timer);
				resolve();
			};
		});
	}

	/** The end of everything: what is open ends with `error`. */
	#end(error: HeadwaterError): void {
		if (this.#closed) return;
		this.#closed = error;
		this.#options.signal?.removeEventListener("abort", this.#abort);
		this.#stopOpening.abort();
		this.#stopPause?.();
		this.#link?.close(error);
		this.#link = undefined;
		this.#produced.close(error);
		for (const pending of [...this.#pending.values()]) pending.failed(error);
		for (const stream of [...this.#allStreams]) stream.finish(error);
	}
}
