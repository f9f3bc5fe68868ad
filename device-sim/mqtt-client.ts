/**
 * One MQTT connection of a device: from the TCP connect to its end, whichever way it ends. It keeps
 * nothing beyond the connection (what is unacknowledged is the device's), so that a cut here loses exactly what a cut
 * of a real link loses. Unlike a library for programs it can also end badly on purpose, in four ways.
 */
import { connect as connectSocket, type Socket } from "node:net";
import {
	type Answer,
	AnswerReader,
	type ConnectFields,
	encodeConnect,
	encodeDisconnect,
	encodePingreq,
	MqttProtocolError,
} from "./mqtt-packets.ts";

/**
 * How a link breaks: `reset` (RST, what is buffered is gone), `close` (FIN without DISCONNECT), `torn` (in the middle
 * of a packet), `abandoned` (the device is elsewhere and the gateway does not know: the next CONNECT takes over).
 */
export const CUT_KINDS = ["reset", "close", "torn", "abandoned"] as const;
export type CutKind = (typeof CUT_KINDS)[number];

export type Connack = Extract<Answer, { type: "connack" }>;
export type Acknowledgement = Extract<Answer, { packetId: number }>;

export interface ConnectionHandlers {
	/** The gateway accepted the connection. */
	connected(connack: Connack): void;
	acknowledged(answer: Acknowledgement): void;
	/** After all answers that arrived together, and when a full socket has emptied: a good moment to send more. */
	ready(): void;
	/** Once, unless the connection was ended from this side: `why` is for people. */
	lost(why: string): void;
}

export interface ConnectionOptions extends ConnectFields {
	readonly host: string;
	readonly port: number;
	/** From the first SYN to the CONNACK. */
	readonly connectTimeoutMs: number;
}

export class MqttConnection {
	readonly #options: ConnectionOptions;
	readonly #handlers: ConnectionHandlers;
	readonly #socket: Socket;
	readonly #reader: AnswerReader;
	readonly #closed: Promise<void>;
	#connackTimer: NodeJS.Timeout | undefined;
	#pingTimer: NodeJS.Timeout | undefined;
	/** One for each PINGREQ not yet answered, in order. */
	readonly #pings: (() => void)[] = [];
	#sentSincePing = false;
	#accepted = false;
	#over = false;
	#corked = false;

	constructor(options: ConnectionOptions, handlers: ConnectionHandlers) {
		this.#options = options;
		this.#handlers = handlers;
		this.#reader = new AnswerReader(options.version);
		this.#socket = connectSocket({ host: options.host, port: options.port, noDelay: true });
		this.#closed = new Promise((resolve) => this.#socket.once("close", () => resolve()));
		this.#socket.on("connect", () => this.#socket.write(encodeConnect(options)));
		this.#socket.on("data", (chunk: Buffer) => this.#received(chunk));
		this.#socket.on("drain", () => this.#over || this.#handlers.ready());
		this.#socket.on("error", (error: NodeJS.ErrnoException) => this.#lost(error.code ?? error.message));
		this.#socket.on("close", () => this.#lost("closed by the gateway"));
		this.#connackTimer = setTimeout(() => this.#lost("no CONNACK in time"), options.connectTimeoutMs);
	}

	/** True while the socket's buffer wants no more; `ready` follows. */
	get full(): boolean {
		return this.#socket.writableNeedDrain;
	}

	/** Sends a packet; packets of one turn of the event loop leave together. */
	send(bytes: Buffer): void {
		if (this.#over) return;
		if (!this.#corked) {
			this.#corked = true;
			this.#socket.cork();
			process.nextTick(() => {
				this.#corked = false;
				this.#socket.uncork();
			});
		}
		this.#sentSincePing = true;
		this.#socket.write(bytes);
	}

	/** Resolves with the PINGRESP: everything sent before has then been read by the gateway (4.6). Never, when the connection ends first. */
	ping(): Promise<void> {
		this.send(encodePingreq());
		return new Promise((resolve) => this.#pings.push(resolve));
	}

	/** DISCONNECT and the orderly end; resolves when the socket is closed. */
	async disconnect(endSession: boolean): Promise<void> {
		if (this.#over) return this.#closed;
		const bytes = encodeDisconnect(this.#options.version, endSession);
		this.#end();
		// A gateway that does not close in turn must not hold up the fleet.
		const patience = setTimeout(() => this.#socket.destroy(), this.#options.connectTimeoutMs);
		this.#socket.end(bytes);
		this.#socket.resume();
		await this.#closed;
		clearTimeout(patience);
	}

	/** Breaks the link. @param next for `torn`: the packet that is cut in two */
	cut(kind: CutKind, next?: Buffer): void {
		if (this.#over) return;
		this.#end();
		if (kind === "abandoned") {
			// Answers are thrown away; the socket stays until the gateway closes it, or `release` does.
			this.#socket.resume();
		} else if (kind === "torn" && next) {
			this.#socket.write(next.subarray(0, Math.ceil(next.length / 2)), () => this.#socket.destroy());
		} else if (kind === "reset") {
			this.#socket.resetAndDestroy();
		} else {
			this.#socket.destroy();
		}
	}

	/** Lets go of the socket in any case. */
	release(): void {
		this.#end();
		this.#socket.destroy();
	}

	#received(chunk: Buffer): void {
		if (this.#over) return;
		try {
			this.#reader.take(chunk, (answer) => this.#over || this.#answered(answer));
		} catch (error) {
			if (!(error instanceof MqttProtocolError)) throw error;
			this.#lost(`protocol error: ${error.message}`);
			return;
		}
		if (!this.#over && this.#accepted) this.#handlers.ready();
	}

	#answered(answer: Answer): void {
		if (!this.#accepted && answer.type !== "connack") throw new MqttProtocolError(`${answer.type} before the CONNACK`);
		switch (answer.type) {
			case "connack":
				if (this.#accepted) throw new MqttProtocolError("a second CONNACK (3.2)");
				this.#accept(answer);
				break;
			case "pingresp": {
				const resolve = this.#pings.shift();
				if (!resolve) throw new MqttProtocolError("a PINGRESP for no PINGREQ (3.13)");
				resolve();
				break;
			}
			case "disconnect":
				this.#lost(`disconnected by the gateway, reason 0x${answer.reasonCode.toString(16)}`);
				break;
			default:
				this.#handlers.acknowledged(answer);
		}
	}

	#accept(connack: Connack): void {
		clearTimeout(this.#connackTimer);
		if (connack.reasonCode !== 0) {
			this.#lost(`refused by the gateway, reason 0x${connack.reasonCode.toString(16)}`);
			return;
		}
		this.#accepted = true;
		const keepAliveSeconds = connack.serverKeepAliveSeconds ?? this.#options.keepAliveSeconds;
		if (keepAliveSeconds > 0) {
			this.#pingTimer = setInterval(() => this.#keepAlive(), keepAliveSeconds * 500);
		}
		this.#handlers.connected(connack);
	}

	/** Twice per keep alive (3.1.2.10): pings when nothing else was sent, gives up when the last ping was not answered. */
	#keepAlive(): void {
		if (this.#pings.length > 0) {
			this.#lost("no PINGRESP in time");
			return;
		}
		if (!this.#sentSincePing) void this.ping();
		this.#sentSincePing = false;
	}

	#lost(why: string): void {
		if (this.#over) return;
		this.release();
		this.#handlers.lost(why);
	}

	#end(): void {
		this.#over = true;
		clearTimeout(this.#connackTimer);
		clearInterval(this.#pingTimer);
	}
}
