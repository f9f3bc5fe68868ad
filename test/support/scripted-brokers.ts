/**
 * Brokers that answer as a test says, behind the `Dial` seam: no sockets, no time of their own. What a test does not
 * say: ApiVersions is answered with everything that is known here; anything else stays without an answer.
 */
import * as apis from "../../bridge/upstream/client/apis.ts";
import { LinkError } from "../../bridge/upstream/client/link-error.ts";
import { place } from "../../bridge/upstream/client/link-faults.ts";
import type { Dial, Transport, TransportHandler } from "../../bridge/upstream/client/transport.ts";
import { FrameReader } from "../../src/base/frames.ts";
import type { Address } from "../../src/config/definition.ts";
import { decodeRequestHeader, encodeResponse } from "../../src/kafka/protocol/header.ts";
import { Reader } from "../../src/kafka/protocol/reader.ts";
import type { Decoded, Encodable, Fields } from "../../src/kafka/protocol/schema.ts";

type AnyApi = apis.Api<Fields, Fields>;
const APIS = Object.values(apis).filter((one) => typeof one === "object") as unknown as AnyApi[];
const NAMES = new Map(APIS.map((api) => [api.request.apiKey, api]));

export interface Received {
	readonly api: string;
	readonly version: number;
	readonly value: unknown;
	readonly connection: ScriptedConnection;
	/** Answers it now; `version`: as that one. */
	answer(value: object, version?: number): void;
}

/** What a request gets: an answer; nothing, for now. */
type Script = (request: Received) => object | undefined;

export class ScriptedBroker {
	readonly address: Address;
	/** In the order in which they came, ApiVersions too. */
	readonly requests: Received[] = [];
	readonly connections: ScriptedConnection[] = [];
	/** How often somebody tried to connect. */
	dials = 0;
	/** What a connection fails with. */
	refusal: Error | undefined;
	/** Connections neither come to be nor fail. */
	isDeaf = false;
	readonly #scripts = new Map<number, Script>();

	constructor(address: Address) {
		this.address = address;
		this.on(apis.API_VERSIONS, () => ({ apiKeys: allVersions() }));
	}

	on<Q extends Fields, S extends Fields>(
		api: apis.Api<Q, S>,
		script: (request: Omit<Received, "value"> & { value: Decoded<Q> }) => Encodable<S> | undefined,
	): this {
		this.#scripts.set(api.request.apiKey, script as Script);
		return this;
	}

	/** Of the requests, their names without ApiVersions. */
	get asked(): string[] {
		return this.requests.map(({ api }) => api).filter((api) => api !== "ApiVersions");
	}

	/** What came of one API, in order. */
	valuesOf<Q extends Fields, S extends Fields>(api: apis.Api<Q, S>): Decoded<Q>[] {
		return this.requests.filter((one) => one.api === apis.apiName(api)).map(({ value }) => value as Decoded<Q>);
	}

	get openConnections(): ScriptedConnection[] {
		return this.connections.filter((connection) => !connection.isOver);
	}

	received(request: Received, apiKey: number): void {
		this.requests.push(request);
		const value = this.#scripts.get(apiKey)?.(request);
		if (value !== undefined && value !== null) request.answer(value);
	}
}

/** What ApiVersions says of all that is defined. */
export function allVersions(): { apiKey: number; minVersion: number; maxVersion: number }[] {
	return APIS.map(({ request: { apiKey, minVersion, maxVersion } }) => ({ apiKey, minVersion, maxVersion }));
}

/** One connection, seen from the broker. */
export class ScriptedConnection implements Transport {
	readonly #handler: TransportHandler;
	readonly #broker: ScriptedBroker;
	readonly #frames = new FrameReader(0x7fff_ffff, () => new Error("a bad size"));
	isOver = false;
	sentBytes = 0;
	receivedBytes = 0;
	unsentBytes = 0;

	constructor(broker: ScriptedBroker, handler: TransportHandler) {
		this.#broker = broker;
		this.#handler = handler;
	}

	write(parts: readonly Uint8Array[]): void {
		if (this.isOver) return;
		const bytes = Buffer.concat(parts);
		this.sentBytes += bytes.length;
		this.#frames.push(bytes);
		const frame = this.#frames.next() as Buffer;
		const reader = new Reader(frame);
		const flexibleFrom = (key: number): number => NAMES.get(key)?.request.flexibleFrom ?? Number.POSITIVE_INFINITY;
		const header = decodeRequestHeader(reader, flexibleFrom);
		const api = NAMES.get(header.apiKey) as AnyApi;
		const value = api.request.decode(reader, header.apiVersion);
		reader.end();
		const answer = (body: object, version = header.apiVersion): void =>
			this.send(Buffer.concat(encodeResponse(api.response, version, header.correlationId, body)));
		queueMicrotask(() => {
			if (!this.isOver)
				this.#broker.received(
					{ api: apis.apiName(api), version: header.apiVersion, value, connection: this, answer },
					header.apiKey,
				);
		});
	}

	/** To the client. */
	send(bytes: Buffer): void {
		if (this.isOver) return;
		this.receivedBytes += bytes.length;
		this.#handler.data(bytes);
	}

	/** The broker ends it. */
	drop(error?: Error): void {
		if (this.isOver) return;
		this.isOver = true;
		this.#handler.closed(error);
	}

	destroy(): void {
		this.isOver = true;
	}
}

export class ScriptedBrokers {
	readonly #brokers = new Map<string, ScriptedBroker>();

	/** At `host`, port 9092. */
	at(host: string, port = 9092): ScriptedBroker {
		const address = { host, port };
		let broker = this.#brokers.get(place(address));
		if (broker === undefined) {
			broker = new ScriptedBroker(address);
			this.#brokers.set(place(address), broker);
		}
		return broker;
	}

	readonly dial: Dial = async (address, handler, signal) => {
		signal.throwIfAborted();
		const broker = this.at(address.host, address.port);
		broker.dials++;
		if (broker.isDeaf) await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
		if (broker.refusal !== undefined) throw broker.refusal;
		const connection = new ScriptedConnection(broker, handler);
		broker.connections.push(connection);
		return connection;
	};
}

export function refused(address: Address): LinkError {
	return new LinkError("unreachable", `nothing listens at ${place(address)}`);
}
