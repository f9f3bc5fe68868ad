/**
 * What a connection needs of the bytes below it: TCP now, TLS and WebSocket later, a script in tests. Nothing here is
 * MQTT. A transport promises that its handler's callbacks never overlap and that `closed` comes exactly once.
 */
import type { Socket } from "node:net";

export interface Transport {
	/** Queues bytes. True: they have left already and the caller may reuse the buffer; false: it now belongs to the transport. */
	write(bytes: Buffer): boolean;
	/** Bytes queued that the operating system has not taken yet. */
	readonly unsentBytes: number;
	/** Stops and resumes `received`. */
	pause(): void;
	resume(): void;
	/** Sends what is queued, then closes. */
	end(): void;
	/** Closes at once; what is queued is lost. */
	destroy(): void;
	/** The peer's address, for the log. */
	readonly peer: string;
}

export interface TransportHandler {
	/** `chunk` belongs to the handler, until it returns only. */
	received(chunk: Buffer): void;
	/** Everything queued has left, after `unsentBytes` had reached OUTPUT_HIGH_BYTES. */
	drained(): void;
	closed(): void;
}

/** From here on a transport's output counts as not drained, and `drained` will be called. */
export const OUTPUT_HIGH_BYTES = 16_384;

const HANDLER = Symbol("handler");

interface MqttSocket extends Socket {
	[HANDLER]: TransportHandler;
}

// One function each for all sockets: ten thousand idle connections carry no closures.
function onData(this: MqttSocket, chunk: Buffer): void {
	this[HANDLER].received(chunk);
}
function onDrain(this: MqttSocket): void {
	this[HANDLER].drained();
}
function onError(this: MqttSocket): void {
	this.destroy(); // "close" follows; a reset peer is no event worth more
}
function onClose(this: MqttSocket): void {
	this[HANDLER].closed();
}

/** The socket's server must have been made with `highWaterMark: OUTPUT_HIGH_BYTES`. */
export class SocketTransport implements Transport {
	readonly #socket: MqttSocket;

	constructor(socket: Socket) {
		this.#socket = socket as MqttSocket;
	}

	attach(handler: TransportHandler): void {
		const socket = this.#socket;
		socket[HANDLER] = handler;
		socket.on("data", onData);
		socket.on("drain", onDrain);
		socket.on("error", onError);
		socket.on("close", onClose);
	}

	write(bytes: Buffer): boolean {
		const socket = this.#socket;
		if (!socket.writable) return true;
		socket.write(bytes);
		// Node completes a write at once when the kernel takes all of it; only then is nothing pending.
		return socket.writableLength === 0;
	}

	get unsentBytes(): number {
		return this.#socket.writableLength;
	}

	pause(): void {
		this.#socket.pause();
	}

	resume(): void {
		this.#socket.resume();
	}

	end(): void {
		this.#socket.end();
	}

	destroy(): void {
		this.#socket.destroy();
	}

	get peer(): string {
		return `${this.#socket.remoteAddress ?? "?"}:${this.#socket.remotePort ?? 0}`;
	}
}
