/** Numbered events at a steady rate over a few connections, QoS 1, and the moment in which each is acknowledged. */
import type net from "node:net";
import { openClient } from "./client-socket.ts";
import { ACK_BYTES, publishPacket } from "./packets.ts";

export interface PacedOptions {
	readonly port: number;
	readonly connections: number;
	/** `#` in it becomes the connection's number. */
	readonly topic: string;
	/** Of payload: the event's number in bytes 4 to 7, big-endian. */
	readonly bytes: number;
	acknowledged(number: number): void;
}

const TICK_MS = 5;

interface Connection {
	readonly socket: net.Socket;
	readonly topic: string;
	/** Numbers not acknowledged yet, in their order. */
	readonly waiting: number[];
	packetId: number;
	/** Of acknowledgements, that are not whole. */
	restBytes: number;
}

export class PacedPublisher {
	readonly #options: PacedOptions;
	readonly #connections: Connection[] = [];
	#sent = 0;
	#failure: Error | undefined;

	private constructor(options: PacedOptions) {
		this.#options = options;
	}

	static async open(options: PacedOptions): Promise<PacedPublisher> {
		const publisher = new PacedPublisher(options);
		for (let number = 0; number < options.connections; number += 1) await publisher.#connect(number);
		return publisher;
	}

	async #connect(number: number): Promise<void> {
		const { port, topic } = this.#options;
		let connection: Connection | undefined;
		const socket = await openClient({
			port,
			number,
			clientId: `paced-${process.pid}-${number}`,
			// Nothing but acknowledgements comes, in the order of the publishes [MQTT-4.6.0-2].
			received: (_bytes, length) => this.#received(connection as Connection, length),
			failed: (error) => {
				this.#failure ??= error;
			},
		});
		connection = { socket, topic: topic.replaceAll("#", String(number)), waiting: [], packetId: 0, restBytes: 0 };
		this.#connections.push(connection);
	}

	#received(connection: Connection, length: number): void {
		connection.restBytes += length;
		for (; connection.restBytes >= ACK_BYTES; connection.restBytes -= ACK_BYTES) {
			const number = connection.waiting.shift();
			if (number !== undefined) this.#options.acknowledged(number);
		}
	}

	/** Publishes that many, so many a second. */
	async run(events: number, perSecond: number): Promise<void> {
		const began = performance.now();
		while (this.#sent < events) {
			if (this.#failure !== undefined) throw this.#failure;
			const due = Math.min(events, Math.floor(((performance.now() - began) * perSecond) / 1000));
			while (this.#sent < due) this.#one();
			await new Promise((resolve) => setTimeout(resolve, TICK_MS));
		}
	}

	#one(): void {
		const number = this.#sent;
		this.#sent += 1;
		const connection = this.#connections[number % this.#connections.length] as Connection;
		const payload = Buffer.alloc(this.#options.bytes, `{"celsius":${(Math.random() * 90).toFixed(3)}}`);
		payload.writeUInt32BE(0, 0);
		payload.writeUInt32BE(number, 4);
		connection.packetId = (connection.packetId % 65_535) + 1;
		connection.waiting.push(number);
		connection.socket.write(publishPacket(connection.topic, 1, false, connection.packetId, payload));
	}

	close(): void {
		for (const { socket } of this.#connections) {
			socket.removeAllListeners("close");
			socket.destroy();
		}
	}
}
