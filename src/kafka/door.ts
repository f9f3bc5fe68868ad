/**
 * The Kafka door: Apache Kafka's wire protocol over TCP. It promises: an answer that something is stored leaves after
 * its commit is durable; any bytes from a peer end at worst that peer's connection; what all peers together can make
 * it hold is bounded. Handlers and messages are loaded with the first connection.
 */
import { createServer, type Server, type Socket } from "node:net";
import { BufferPool } from "../base/buffer-pool.ts";
import type { Timer } from "../base/clock.ts";
import { InputRoom } from "../base/input-room.ts";
import { listen } from "../base/listen.ts";
import type { Broker } from "../broker/broker.ts";
import { newUuid } from "../catalog/catalog.ts";
import type { Connection, ConnectionHost } from "./connection.ts";
import type { KafkaOptions } from "./options.ts";
import type { Services } from "./services.ts";

export interface KafkaStats {
	readonly connections: number;
	readonly connectionsAccepted: number;
	readonly connectionsRefused: number;
	readonly requests: number;
}

interface Loaded {
	readonly host: ConnectionHost;
	readonly connect: (socket: Socket, host: ConnectionHost) => Connection;
}

const CLUSTER_ID_KEY = "kafka.cluster.id";
const ANY_HOST = ["0.0.0.0", "::"];
/** Kept for the next answers while requests come. */
const IDLE_BUFFERS_BYTES = 4 * 1024 * 1024;
/** How often connections are looked at, at most; less where they may be idle for less. */
const LOOK_MS = 5_000;
/** One warning of refused connections in this time. */
const COMPLAINT_MS = 60_000;
/** How long stop waits for peers to take their last answers. */
const STOP_GRACE_MS = 2_000;

export class KafkaDoor {
	readonly #broker: Broker;
	readonly #options: KafkaOptions;
	readonly #connections = new Set<Connection>();
	/** Accepted while the handlers load. */
	readonly #arriving = new Set<Socket>();
	#server: Server | undefined;
	#port = 0;
	#loading: Promise<Loaded> | undefined;
	#loaded: Loaded | undefined;
	#requestsSeen = 0;
	/** Of answers to Fetch: what is used again costs no garbage collection. */
	readonly #buffers = new BufferPool(IDLE_BUFFERS_BYTES);
	readonly #outputRoom: InputRoom;
	readonly #tierRoom: InputRoom;
	#look: Timer | undefined;
	#stopping = false;
	#allClosed: (() => void) | undefined;
	#accepted = 0;
	#refused = 0;
	#complainsAtMs = 0;
	#requests = 0;

	constructor(broker: Broker, options: KafkaOptions) {
		this.#broker = broker;
		this.#options = options;
		this.#outputRoom = new InputRoom(broker.pressure.budgetBytes / 2);
		this.#tierRoom = new InputRoom(broker.pressure.budgetBytes / 8);
	}

	/** Listens; the address, "127.0.0.1:9092". Rejects with Node's own error when it cannot. */
	async start(): Promise<string> {
		const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => this.#arrived(socket));
		this.#server = server;
		const { host, port } = this.#options;
		const address = await listen(server, {
			host,
			port,
			failed: (error) => this.#broker.logger.error("the Kafka listener failed", { error: String(error) }),
		});
		this.#port = address.port;
		return address.text;
	}

	/** Takes no more, answers what waits for a commit, and closes; what is not done within `graceMs` is cut off. */
	async stop(graceMs = STOP_GRACE_MS): Promise<void> {
		this.#stopping = true;
		this.#look?.cancel();
		const server = this.#server;
		const closed = new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
		for (const socket of this.#arriving) socket.destroy();
		const grace = new Promise<void>((resolve) => this.#broker.clock.after(graceMs, resolve));
		if (this.#connections.size > 0) {
			const gone = new Promise<void>((resolve) => {
				this.#allClosed = resolve;
			});
			const durable = this.#broker.log.whenCommitted().catch(() => undefined);
			for (const connection of [...this.#connections]) connection.finish();
			await Promise.race([durable, grace]);
			await new Promise<void>((resolve) => this.#broker.clock.soon(resolve));
			// Long polls and rebalances are answered by the end of the connection.
			for (const connection of [...this.#connections]) connection.abandon();
			await Promise.race([gone, grace]);
		}
		for (const connection of [...this.#connections]) connection.destroy();
		await closed;
	}

	stats(): KafkaStats {
		return {
			connections: this.#connections.size,
			connectionsAccepted: this.#accepted,
			connectionsRefused: this.#refused,
			requests: this.#requests,
		};
	}

	#arrived(socket: Socket): void {
		socket.on("error", () => {});
		if (this.#stopping) {
			socket.destroy();
			return;
		}
		if (this.#connections.size + this.#arriving.size >= this.#options.maxConnections) {
			this.#refuse(socket);
			return;
		}
		this.#accepted++;
		if (this.#loaded) {
			this.#welcome(socket, this.#loaded);
			return;
		}
		this.#arriving.add(socket);
		socket.on("close", () => this.#arriving.delete(socket));
		this.#loading ??= this.#load();
		this.#loading.then(
			(loaded) => {
				if (this.#arriving.delete(socket) && !socket.destroyed) this.#welcome(socket, loaded);
			},
			(error: unknown) => {
				this.#loading = undefined;
				this.#broker.logger.error("the Kafka door cannot load its handlers", { error: String(error) });
				socket.destroy();
			},
		);
	}

	#refuse(socket: Socket): void {
		this.#refused++;
		socket.destroy();
		const now = this.#broker.clock.monotonic();
		if (now < this.#complainsAtMs) return;
		this.#complainsAtMs = now + COMPLAINT_MS;
		const { maxConnections } = this.#options;
		this.#broker.logger.warn("Kafka connections are refused: there are as many as kafka.max.connections", {
			maxConnections,
		});
	}

	#welcome(socket: Socket, loaded: Loaded): void {
		this.#connections.add(loaded.connect(socket, loaded.host));
		this.#look ??= this.#lookLater();
		socket.resume();
	}

	/** The first connection pays for it; a gateway that nobody speaks this protocol to does not. */
	async #load(): Promise<Loaded> {
		const [{ Connection }, { Dispatch }, { APIS }] = await Promise.all([
			import("./connection.ts"),
			import("./dispatch.ts"),
			import("./api-table.ts"),
		]);
		const broker = this.#broker;
		const host: ConnectionHost = {
			broker,
			dispatch: new Dispatch(APIS, this.#services()),
			// A request that does not fit the budget would stop all others.
			maxRequestBytes: Math.min(this.#options.maxRequestBytes, broker.pressure.budgetBytes),
			idleTimeoutMs: this.#options.idleTimeoutMs,
			requestBegun: () => {
				this.#requests++;
			},
			closed: (connection) => {
				this.#connections.delete(connection);
				if (this.#connections.size === 0) this.#allClosed?.();
			},
		};
		this.#loaded = { host, connect: (socket, of) => new Connection(socket, of) };
		return this.#loaded;
	}

	#services(): Services {
		const { catalog } = this.#broker;
		let clusterId = catalog.getMeta(CLUSTER_ID_KEY);
		if (clusterId === undefined) {
			clusterId = Buffer.from(newUuid(this.#broker.random).replaceAll("-", ""), "hex").toString("base64url");
			catalog.setMeta(CLUSTER_ID_KEY, clusterId);
		}
		const { host, advertised } = this.#options;
		return {
			broker: this.#broker,
			buffers: this.#buffers,
			outputRoom: this.#outputRoom,
			tierRoom: this.#tierRoom,
			tierTurns: { count: 0 },
			polled: { partitions: 0 },
			options: this.#options,
			clusterId,
			advertised: advertised ?? { host: ANY_HOST.includes(host) ? "" : host, port: this.#port },
		};
	}

	/** Whether no request came since this was asked last. */
	#isQuiet(): boolean {
		const before = this.#requestsSeen;
		this.#requestsSeen = this.#requests;
		return before === this.#requests;
	}

	#lookLater(): Timer {
		const delayMs = Math.max(1, Math.min(LOOK_MS, this.#options.idleTimeoutMs / 4));
		return this.#broker.clock.after(delayMs, () => {
			const othersWait = this.#broker.pressure.othersWait || this.#outputRoom.short || this.#tierRoom.short;
			for (const connection of [...this.#connections]) connection.look(othersWait);
			if (this.#isQuiet()) this.#buffers.clear();
			this.#look = this.#connections.size > 0 && !this.#stopping ? this.#lookLater() : undefined;
		});
	}
}
