/**
 * A tiny raw client of the Kafka door for tests, built on the codec: no retries, no state, requests as they are
 * wanted, and bytes that no client would send.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { FrameReader } from "../../src/base/frames.ts";
import { encodeRequestHeader, hasFlexibleResponseHeader } from "../../src/kafka/protocol/header.ts";
import { Reader } from "../../src/kafka/protocol/reader.ts";
import type { Decoded, Encodable, Fields, Message } from "../../src/kafka/protocol/schema.ts";
import { Writer } from "../../src/kafka/protocol/writer.ts";

/** Both messages of an API, as each handler exports them: `metadata`, say. */
export interface Exchange<Q extends Fields, A extends Fields> {
	readonly request: Message<Q>;
	readonly response: Message<A>;
}

export class KafkaWire {
	readonly socket: Socket;
	/** Settles when the other end has closed. */
	readonly closed: Promise<void>;
	readonly #frames = new FrameReader(0x7fff_ffff, (bytes) => new Error(`an answer of ${bytes} bytes`));
	readonly #answers: Buffer[] = [];
	#waiting: { resolve(frame: Buffer): void; reject(error: Error): void }[] = [];
	#isClosed = false;
	#correlationId = 0;

	private constructor(socket: Socket) {
		this.socket = socket;
		socket.on("error", () => {});
		socket.on("data", (chunk: Buffer) => {
			this.#frames.push(chunk);
			for (let frame = this.#frames.next(); frame !== undefined; frame = this.#frames.next()) {
				const waiter = this.#waiting.shift();
				if (waiter) waiter.resolve(frame);
				else this.#answers.push(frame);
			}
		});
		this.closed = new Promise((resolve) =>
			socket.once("close", () => {
				this.#isClosed = true;
				for (const { reject } of this.#waiting.splice(0)) reject(new Error("the connection was closed"));
				resolve();
			}),
		);
	}

	static async connect(port: number): Promise<KafkaWire> {
		const socket = connect({ port, host: "127.0.0.1", noDelay: true });
		await once(socket, "connect");
		return new KafkaWire(socket);
	}

	/** Answers that have come and were not taken yet. */
	get answered(): number {
		return this.#answers.length;
	}

	/** A whole request with its size; the correlation id is the next one, from 1 on, unless it is given. */
	encode<Q extends Fields>(
		request: Message<Q>,
		version: number,
		value: Encodable<Q>,
		header: { readonly clientId?: string | null; readonly correlationId?: number } = {},
	): Buffer {
		const { clientId = "test", correlationId = ++this.#correlationId } = header;
		const writer = new Writer();
		writer.int32(0);
		encodeRequestHeader(
			writer,
			{ apiKey: request.apiKey, apiVersion: version, correlationId, clientId },
			version >= request.flexibleFrom,
		);
		request.encode(writer, version, value);
		return Buffer.concat(writer.takeFrame());
	}

	/** Sends a request without waiting; returns its correlation id. */
	send<Q extends Fields>(request: Message<Q>, version: number, value: Encodable<Q>): number {
		this.raw(this.encode(request, version, value));
		return this.#correlationId;
	}

	raw(bytes: Uint8Array): void {
		this.socket.write(bytes);
	}

	/** The next answer's bytes without their size; rejects when the connection is closed before one comes. */
	frame(): Promise<Buffer> {
		const frame = this.#answers.shift();
		if (frame !== undefined) return Promise.resolve(frame);
		if (this.#isClosed) return Promise.reject(new Error("the connection was closed"));
		return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
	}

	/** The next answer, which has to be this one, whole, and with nothing behind it. */
	async answer<A extends Fields>(
		response: Message<A>,
		version: number,
		correlationId = this.#correlationId,
	): Promise<Decoded<A>> {
		const reader = new Reader(await this.frame());
		const id = reader.int32();
		if (id !== correlationId) throw new Error(`the answer to request ${id} where ${correlationId}'s was due`);
		if (hasFlexibleResponseHeader(response, version)) reader.taggedFields([], () => {});
		const value = response.decode(reader, version);
		reader.end();
		return value;
	}

	async request<Q extends Fields, A extends Fields>(
		{ request, response }: Exchange<Q, A>,
		version: number,
		value: Encodable<Q>,
	): Promise<Decoded<A>> {
		return await this.answer(response, version, this.send(request, version, value));
	}

	destroy(): void {
		this.socket.destroy();
	}
}
