/**
 * MQTT over WebSocket (section 6 of 3.1.1 and of 5.0): takes over HTTP connections that ask for it and gives the engine a
 * transport like any other. Messages are a stream of bytes: where they begin and end says nothing about packets
 * [MQTT-6.0.0-2]. The package `ws` frames; it is loaded with the first WebSocket, so that a gateway without does not
 * carry it. What `ws` gathers of a message that is not whole counts in the memory budget like half a packet on TCP.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { WebSocket, WebSocketServer } from "ws";
import { Arrival } from "../../src/base/arrival.ts";
import type { Timer } from "../../src/base/clock.ts";
import type { Engine } from "./engine.ts";
import type { Transport, TransportHandler } from "./transport.ts";

/** In the order of preference; the second is what clients of MQTT 3.1 ask for. */
const SUBPROTOCOLS = ["mqtt", "mqttv3.1"];
/** What a message may be longer than the largest packet: clients put several packets into one. */
const FRAME_SLACK_BYTES = 1_048_576;
const MAX_FRAGMENTS = 4096;
/** The smallest pieces, on average, in which a message may arrive without being refused. */
const PIECE_BYTES = 256;
/** What an object that stands for a piece of a message costs beside its bytes. */
const PIECE_OVERHEAD_BYTES = 128;
/** How long a peer may take to answer a Close frame. */
const CLOSE_DEADLINE_MS = 5000;

/** Close codes of RFC 6455, 7.4.1. */
const NORMAL = 1000;
const UNSUPPORTED_DATA = 1003;

const OPEN = 1;
const BINARY = { binary: true };

export class WebSocketAcceptor {
	readonly #engine: Engine;
	readonly #transports = new Set<WebSocketTransport>();
	#server: Promise<WebSocketServer> | undefined;
	#allClosed: (() => void) | undefined;

	constructor(engine: Engine) {
		this.#engine = engine;
	}

	/** WebSockets that are open or being opened. */
	get size(): number {
		return this.#transports.size;
	}

	/** A request for an upgrade: the connection is the door's from now on, except where `refuse` was called. */
	upgrade(
		request: IncomingMessage,
		socket: Socket,
		head: Buffer,
		refuse: (status: number, text: string) => void,
	): void {
		const engine = this.#engine;
		// [MQTT-6.0.0-3]: the client offers "mqtt", [MQTT-6.0.0-4]: and is answered with it.
		if (!offered(request).some((name) => SUBPROTOCOLS.includes(name))) {
			engine.stats.refusedWebSockets++;
			refuse(400, "MQTT over WebSocket needs the subprotocol mqtt (Sec-WebSocket-Protocol) [MQTT-6.0.0-3].\n");
			return;
		}
		const transport = new WebSocketTransport(engine, socket, (closed) => this.#closed(closed));
		// Before the handshake: the limit of connections and the time that CONNECT may take hold from here.
		const connection = engine.accept(transport);
		if (connection === undefined) {
			refuse(503, "All connections that mqtt.max.connections allows are taken, or the gateway is stopping.\n");
			return;
		}
		this.#transports.add(transport);
		transport.attach(connection);
		this.#server ??= makeServer(engine);
		this.#server.then(
			(server) => {
				if (!socket.destroyed) server.handleUpgrade(request, socket, head, (webSocket) => transport.open(webSocket));
			},
			(error: unknown) => {
				engine.broker.logger.error("WebSocket cannot be loaded", { error: String(error) });
				socket.destroy();
			},
		);
	}

	destroyAll(): void {
		for (const transport of this.#transports) transport.destroy();
	}

	/** Resolves when none is open. */
	whenClosed(): Promise<void> {
		return new Promise((resolve) => {
			if (this.#transports.size === 0) resolve();
			else this.#allClosed = resolve;
		});
	}

	#closed(transport: WebSocketTransport): void {
		this.#transports.delete(transport);
		if (this.#transports.size === 0) this.#allClosed?.();
	}
}

function offered(request: IncomingMessage): string[] {
	return (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
}

async function makeServer({ options, broker }: Engine): Promise<WebSocketServer> {
	const { WebSocketServer: Server } = await import("ws");
	const maxPayload = messageBytesMax({ options, broker });
	return new Server({
		noServer: true,
		clientTracking: false,
		perMessageDeflate: false, // some hundred kilobytes for each connection
		maxPayload,
		maxFragments: MAX_FRAGMENTS,
		maxBufferedChunks: Math.max(MAX_FRAGMENTS, Math.ceil(maxPayload / PIECE_BYTES)),
		handleProtocols: (protocols) => SUBPROTOCOLS.find((name) => protocols.has(name)) ?? false,
	});
}

function messageBytesMax({ options, broker }: Pick<Engine, "options" | "broker">): number {
	return options.maxPacketBytes + Math.min(FRAME_SLACK_BYTES, Math.floor(broker.pressure.budgetBytes / 8));
}

/** What `ws` holds of a message that is not whole: nothing tells it outside; tests hold that it is so in the version used. */
interface Receiver {
	readonly _bufferedBytes: number;
	readonly _buffers: readonly Buffer[];
	readonly _messageLength: number;
	readonly _fragments: readonly Buffer[];
	/** The frame that is arriving is the message's last, and this is the size of all of its frames. */
	readonly _fin: boolean;
	readonly _totalPayloadLength: number;
}

const TRANSPORT = Symbol("transport");

interface OwnedWebSocket extends WebSocket {
	[TRANSPORT]: WebSocketTransport;
	readonly _receiver: Receiver;
}
interface OwnedSocket extends Socket {
	[TRANSPORT]: WebSocketTransport;
}

// One function each for all, as for TCP.
function onMessage(this: WebSocket, data: unknown, isBinary: boolean): void {
	(this as OwnedWebSocket)[TRANSPORT].message(data as Buffer, isBinary);
}
function onFault(this: WebSocket): void {
	(this as OwnedWebSocket)[TRANSPORT].fault();
}
function onWebSocketClose(this: WebSocket): void {
	(this as OwnedWebSocket)[TRANSPORT].closed();
}
function onData(this: OwnedSocket): void {
	this[TRANSPORT].chunkRead();
}
function onDrain(this: OwnedSocket): void {
	this[TRANSPORT].drained();
}
function onError(this: Socket): void {
	this.destroy();
}
function onSocketClose(this: OwnedSocket): void {
	this[TRANSPORT].socketClosed();
}

/** From the request for an upgrade on. The socket must have a `highWaterMark` of OUTPUT_HIGH_BYTES. */
class WebSocketTransport implements Transport {
	readonly #engine: Engine;
	readonly #socket: OwnedSocket;
	readonly #whenClosed: (transport: WebSocketTransport) => void;
	#handler: TransportHandler | undefined;
	/** Undefined until the handshake is done. */
	#webSocket: OwnedWebSocket | undefined;
	#paused = false;
	#pausedByPressure = false;
	/** Of the message that has arrived in part. */
	#arrival: Arrival | undefined;
	/** Bytes in `ws` that the memory budget has been told of. */
	#heldBytes = 0;
	#chunks = 0;
	#stallTimer: Timer | undefined;
	#deadline: Timer | undefined;

	constructor(engine: Engine, socket: Socket, whenClosed: (transport: WebSocketTransport) => void) {
		this.#engine = engine;
		this.#socket = socket as OwnedSocket;
		this.#whenClosed = whenClosed;
	}

	attach(handler: TransportHandler): void {
		const socket = this.#socket;
		this.#handler = handler;
		socket[TRANSPORT] = this;
		socket.on("error", onError);
		socket.on("close", onSocketClose);
	}

	/** The handshake is done. */
	open(webSocket: WebSocket): void {
		const owned = webSocket as OwnedWebSocket;
		this.#webSocket = owned;
		owned[TRANSPORT] = this;
		owned.on("message", onMessage);
		owned.on("error", onFault);
		owned.on("close", onWebSocketClose);
		this.#socket.on("data", onData); // behind that of `ws`: it has taken the chunk apart
		this.#socket.on("drain", onDrain);
		this.#readOrNot();
	}

	write(bytes: Buffer): boolean {
		const webSocket = this.#webSocket;
		if (webSocket?.readyState !== OPEN) return true;
		webSocket.send(bytes, BINARY); // two buffers, one writev: the frame's header and these bytes themselves
		return this.#socket.writableLength === 0;
	}

	get unsentBytes(): number {
		return this.#webSocket?.bufferedAmount ?? 0;
	}

	pause(): void {
		this.#paused = true;
		this.#readOrNot();
	}

	resume(): void {
		this.#paused = false;
		this.#readOrNot();
	}

	/** What is queued, then a Close frame; a peer that does not answer it is not waited for. */
	end(): void {
		this.#close(NORMAL);
	}

	destroy(): void {
		this.#socket.destroy();
	}

	get peer(): string {
		return `${this.#socket.remoteAddress ?? "?"}:${this.#socket.remotePort ?? 0}`;
	}

	message(data: Buffer, isBinary: boolean): void {
		this.#arrival?.over();
		this.#arrival = undefined;
		if (this.#deadline !== undefined) return; // closing
		if (isBinary) {
			this.#handler?.received(data);
			return;
		}
		this.#engine.stats.protocolErrors++;
		this.#close(UNSUPPORTED_DATA); // [MQTT-6.0.0-1]
	}

	/** The peer broke RFC 6455 or a limit; `ws` has sent a Close frame that says which. */
	fault(): void {
		this.#engine.stats.protocolErrors++;
		this.#close(NORMAL);
	}

	chunkRead(): void {
		const receiver = this.#webSocket?._receiver;
		if (receiver === undefined) return;
		this.#chunks++;
		const pieces = receiver._buffers.length + receiver._fragments.length;
		if (pieces === 0) {
			if (this.#heldBytes === 0) return;
			this.#hold(0);
			this.#readOrNot();
			return;
		}
		this.#hold(receiver._bufferedBytes + receiver._messageLength + pieces * PIECE_OVERHEAD_BYTES);
		if (this.#stallTimer === undefined) this.#watch();
		const { clock, pressure } = this.#engine.broker;
		this.#arrival ??= new Arrival(pressure, clock, () => this.#readOrNot());
		this.#arrival.part(receiver._fin ? receiver._totalPayloadLength : messageBytesMax(this.#engine));
		if (pressure.full) {
			this.#pausedByPressure = true;
			pressure.onRelief(this, true);
		}
		this.#readOrNot();
	}

	/** The memory budget has room again. */
	relieved(): void {
		this.#pausedByPressure = false;
		this.#readOrNot();
	}

	drained(): void {
		this.#handler?.drained();
	}

	socketClosed(): void {
		if (this.#webSocket === undefined) this.closed();
	}

	closed(): void {
		this.#stallTimer?.cancel();
		this.#deadline?.cancel();
		this.#hold(0);
		this.#arrival?.over();
		this.#handler?.closed();
		this.#whenClosed(this);
	}

	#close(code: number): void {
		const webSocket = this.#webSocket;
		if (webSocket === undefined) {
			this.#socket.destroy();
			return;
		}
		webSocket.close(code); // nothing, where a Close frame was sent already
		this.#deadline ??= this.#engine.broker.clock.after(CLOSE_DEADLINE_MS, () => this.#socket.destroy());
	}

	/** A message that has arrived in part is read to its end, once it has room: only so does what is held of it become free. */
	#readOrNot(): void {
		const pauses = this.#arrival === undefined ? this.#paused : this.#pausedByPressure || this.#arrival.waits;
		if (pauses) this.#webSocket?.pause();
		else this.#webSocket?.resume();
	}

	#hold(bytes: number): void {
		const change = bytes - this.#heldBytes;
		if (change === 0) return;
		this.#heldBytes = bytes;
		this.#engine.broker.pressure.arriving(change);
	}

	/** Half a message that does not grow while everybody waits for memory ends its connection, as half a packet does on TCP. */
	#watch(): void {
		const { broker, options, stats } = this.#engine;
		const chunks = this.#chunks;
		this.#stallTimer = broker.clock.after(options.connectTimeoutMs, () => {
			this.#stallTimer = undefined;
			if (this.#heldBytes === 0) return;
			const heldUp = this.#pausedByPressure || this.#arrival?.waits === true;
			if (!heldUp && broker.pressure.othersWait && (this.#chunks === chunks || this.#arrival?.tooSlow === true)) {
				stats.stalled++;
				this.#socket.destroy();
			} else this.#watch();
		});
	}
}
