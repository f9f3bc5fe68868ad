/** One plain connection to a Kafka broker, for load: requests go out as they are given, answers come back in order as raw bytes. */
import net from "node:net";
import { encodeRequestHeader } from "../../src/kafka/protocol/header.ts";
import { Reader } from "../../src/kafka/protocol/reader.ts";
import type { Decoded, Encodable, Fields, Message } from "../../src/kafka/protocol/schema.ts";
import { Writer } from "../../src/kafka/protocol/writer.ts";

export class KafkaClient {
	readonly #socket: net.Socket;
	readonly #waiting: ((answer: Buffer) => void)[] = [];
	#held: Buffer = Buffer.alloc(0);
	/** Of the answer that is incomplete. */
	#parts: Buffer[] = [];
	#missing = 0;

	private constructor(socket: net.Socket) {
		this.#socket = socket;
		socket.setNoDelay(true);
		socket.on("data", (chunk) => this.#received(chunk as Buffer));
		socket.on("error", (error) => {
			throw error;
		});
		socket.on("close", () => {
			if (this.#waiting.length > 0) throw new Error("the broker closed the connection");
		});
	}

	static open(bootstrap: string): Promise<KafkaClient> {
		const colon = bootstrap.lastIndexOf(":");
		return new Promise((resolve, reject) => {
			const socket = net.connect(Number(bootstrap.slice(colon + 1)), bootstrap.slice(0, colon));
			socket.once("connect", () => resolve(new KafkaClient(socket)));
			socket.once("error", reject);
		});
	}

	/** `frame` is a whole request; its answer, without the size. */
	send(frame: Buffer, answered: (answer: Buffer) => void): void {
		this.#waiting.push(answered);
		this.#socket.write(frame);
	}

	request<Q extends Fields, A extends Fields>(
		request: Message<Q>,
		response: Message<A>,
		version: number,
		value: Encodable<Q>,
	): Promise<Decoded<A>> {
		return new Promise((resolve) => {
			this.send(encodeFrame(request, version, value), (answer) => {
				const reader = new Reader(answer);
				reader.int32();
				if (version >= response.flexibleFrom) reader.skipTags();
				resolve(response.decode(reader, version));
			});
		});
	}

	close(): void {
		this.#socket.destroy();
	}

	#received(chunk: Buffer): void {
		let rest: Buffer = chunk;
		for (;;) {
			if (this.#missing > 0) {
				const part = rest.subarray(0, this.#missing);
				this.#parts.push(part);
				this.#missing -= part.length;
				rest = rest.subarray(part.length);
				if (this.#missing > 0) return;
				const answer = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
				this.#parts = [];
				this.#waiting.shift()?.(answer);
			}
			if (this.#held.length > 0) rest = Buffer.concat([this.#held, rest]);
			this.#held = rest.length < 4 ? rest : Buffer.alloc(0);
			if (rest.length < 4) return;
			this.#missing = rest.readInt32BE(0);
			rest = rest.subarray(4);
		}
	}
}

/** A whole request, its size in front. */
export function encodeFrame<F extends Fields>(message: Message<F>, version: number, value: Encodable<F>): Buffer {
	const writer = new Writer();
	const header = { apiKey: message.apiKey, apiVersion: version, correlationId: 1, clientId: "bench" };
	encodeRequestHeader(writer, header, version >= message.flexibleFrom);
	message.encode(writer, version, value);
	const body = Buffer.concat(writer.take());
	const frame = Buffer.allocUnsafe(4 + body.length);
	frame.writeInt32BE(body.length);
	body.copy(frame, 4);
	return frame;
}
