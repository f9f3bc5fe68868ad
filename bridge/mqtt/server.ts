/** The MQTT door: the TCP listener, the WebSockets that the HTTP door hands over, and what the rest of the gateway sees of them. */
import type { IncomingMessage } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import { StartError } from "../../src/base/errors.ts";
import { listen } from "../../src/base/listen.ts";
import type { Broker } from "../../src/broker/broker.ts";
import { Engine } from "./engine.ts";
import type { MqttOptions } from "./options.ts";
import type { DoorStats } from "./stats.ts";
import { OUTPUT_HIGH_BYTES, SocketTransport } from "./transport.ts";
import { WebSocketAcceptor } from "./websocket.ts";

/** How long clients may take to read the last packets when the door stops. */
const GOODBYE_MS = 1000;
const BACKLOG = 1024;

export interface MqttDoorStats extends Readonly<DoorStats> {
	readonly connections: number;
	readonly subscriptions: number;
	/** Of the connections, those that came as WebSockets; also those that have not sent CONNECT yet. */
	readonly webSockets: number;
}

export class MqttDoor {
	readonly engine: Engine;
	readonly #options: MqttOptions;
	readonly #server: Server;
	readonly #sockets = new Set<Socket>();
	readonly #webSockets: WebSocketAcceptor;

	/** Throws StartError for routes that cannot be. */
	constructor(broker: Broker, options: MqttOptions) {
		this.#options = options;
		this.engine = new Engine(broker, options);
		this.#webSockets = new WebSocketAcceptor(this.engine);
		this.#server = createServer({ noDelay: true, highWaterMark: OUTPUT_HIGH_BYTES }, (socket) => this.#accept(socket));
	}

	#accept(socket: Socket): void {
		const transport = new SocketTransport(socket);
		const connection = this.engine.accept(transport);
		if (connection === undefined) {
			socket.on("error", () => socket.destroy());
			socket.destroy();
			return;
		}
		this.#sockets.add(socket);
		socket.on("close", () => this.#sockets.delete(socket));
		transport.attach(connection);
	}

	/** Takes over an HTTP connection that asks for MQTT over WebSocket, or answers `refuse` and leaves it alone. */
	upgrade(
		request: IncomingMessage,
		socket: Socket,
		head: Buffer,
		refuse: (status: number, text: string) => void,
	): void {
		this.#webSockets.upgrade(request, socket, head, refuse);
	}

	/** Listens; resolves with the address as "host:port". Rejects with a StartError where that is not possible. */
	async start(): Promise<string> {
		const { host, port } = splitAddress(this.#options.listen);
		const failed = (error: Error) =>
			this.engine.broker.logger.error("the MQTT listener failed", { error: String(error) });
		let text: string;
		try {
			({ text } = await listen(this.#server, { host, port, backlog: BACKLOG, failed }));
		} catch (error) {
			const why = whyNot(error as NodeJS.ErrnoException);
			throw new StartError(`mqtt.listen ${this.#options.listen}: ${why}`, { cause: error });
		}
		this.engine.start();
		return text;
	}

	/** Commits and answers what is in flight, tells MQTT 5 clients, keeps the sessions, closes. */
	async stop(): Promise<void> {
		const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
		await this.engine.stop();
		const goodbye = this.engine.broker.clock.after(GOODBYE_MS, () => {
			for (const socket of this.#sockets) socket.destroy();
			this.#webSockets.destroyAll();
		});
		await Promise.all([closed, this.#webSockets.whenClosed()]);
		goodbye.cancel();
	}

	stats(): MqttDoorStats {
		const { stats, clients, deliveries } = this.engine;
		return {
			...stats,
			connections: clients.size,
			subscriptions: deliveries.trie.size,
			webSockets: this.#webSockets.size,
		};
	}
}

function splitAddress(listen: string): { host: string; port: number } {
	const colon = listen.lastIndexOf(":");
	const port = Number(listen.slice(colon + 1));
	const host = listen.slice(0, Math.max(colon, 0)).replace(/^\[(.*)\]$/, "$1");
	if (colon < 1 || host === "" || !/^\d+$/.test(listen.slice(colon + 1)) || port > 65_535) {
		throw new StartError(`mqtt.listen ${listen}: write host:port, as 127.0.0.1:1883 or [::1]:1883`);
	}
	return { host, port };
}

function whyNot(error: NodeJS.ErrnoException): string {
	if (error.code === "EADDRINUSE")
		return "another program listens there; stop it, or choose another port (0 takes a free one)";
	if (error.code === "EACCES") return "this user may not listen there; ports below 1024 are reserved, choose another";
	if (error.code === "EADDRNOTAVAIL") return "this machine has no such address";
	return error.message;
}
