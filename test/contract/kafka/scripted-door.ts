/**
 * Connections of the Kafka door over real sockets, with an API whose answers the test gives when it wants to:
 * FindCoordinator v0, whose key names a request and whose answer's host repeats it. Time is moved by hand.
 */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { BrokerError } from "../../../src/base/errors.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { Pressure } from "../../../src/base/pressure.ts";
import type { Broker } from "../../../src/broker/broker.ts";
import { api } from "../../../src/kafka/api.ts";
import { Connection, type ConnectionHost } from "../../../src/kafka/connection.ts";
import { Dispatch } from "../../../src/kafka/dispatch.ts";
import { MetadataRequest, MetadataResponse } from "../../../src/kafka/protocol/messages/03-metadata.ts";
import {
	FindCoordinatorRequest,
	FindCoordinatorResponse,
} from "../../../src/kafka/protocol/messages/10-find-coordinator.ts";
import type { Peer, Services } from "../../../src/kafka/services.ts";
import { KafkaWire } from "../../support/kafka-wire.ts";

type Answer = { host: string } | undefined;

export class ScriptedDoor {
	readonly clock = new SimulatedClock();
	readonly pressure: Pressure;
	/** Names of the requests that were begun, in order. */
	readonly begun: string[] = [];
	/** Every write of the door to a socket, in bytes. */
	readonly writes: number[] = [];
	readonly connections: Connection[] = [];
	readonly peers: Peer[] = [];
	open = 0;
	readonly #held = new Map<string, PromiseWithResolvers<Answer>>();
	readonly #wires: KafkaWire[] = [];
	#server!: Server;
	#port = 0;

	private constructor(budgetBytes: number) {
		this.pressure = new Pressure(budgetBytes);
	}

	/**
	 * What a request's name begins with says what becomes of it: `now` is answered at once, `later` when the test says
	 * so, `large` at once with 32 KB, `never` has no answer, `throws` and `rejects` fail, `closes` cannot even be refused.
	 */
	static async start(options: { budgetBytes?: number; maxRequestBytes?: number } = {}): Promise<ScriptedDoor> {
		const { budgetBytes = 32 * 1024 * 1024, maxRequestBytes = 16 * 1024 * 1024 } = options;
		const door = new ScriptedDoor(budgetBytes);
		const broker = { clock: door.clock, logger: silentLogger, pressure: door.pressure } as unknown as Broker;
		const host: ConnectionHost = {
			broker,
			dispatch: new Dispatch([door.#api(), door.#alone()], { broker } as Services),
			maxRequestBytes,
			idleTimeoutMs: 600_000,
			requestBegun: () => {},
			closed: () => {
				door.open--;
			},
		};
		door.#server = createServer({ allowHalfOpen: true }, (socket) => {
			socket.on("error", () => {});
			door.open++;
			door.#count(socket);
			door.connections.push(new Connection(socket, host));
		});
		door.#server.listen(0, "127.0.0.1");
		await once(door.#server, "listening");
		const address = door.#server.address();
		if (address !== null && typeof address === "object") door.#port = address.port;
		return door;
	}

	async connect(): Promise<KafkaWire> {
		const wire = await KafkaWire.connect(this.#port);
		this.#wires.push(wire);
		return wire;
	}

	/** A request by its name. */
	encode(wire: KafkaWire, name: string, padBytes = 0): Buffer {
		return wire.encode(FindCoordinatorRequest, 0, { key: name.padEnd(padBytes, ".") });
	}

	send(wire: KafkaWire, ...names: string[]): void {
		wire.raw(Buffer.concat(names.map((name) => this.encode(wire, name))));
	}

	/** As `send`, with an API that is handled only when everything before it is answered. */
	sendAlone(wire: KafkaWire, name: string): void {
		wire.raw(wire.encode(MetadataRequest, 1, { topics: [{ name }] }));
	}

	/** The name in the next answer, or its error. */
	async answer(wire: KafkaWire): Promise<string> {
		const frame = await wire.frame();
		const errorCode = frame.readInt16BE(4);
		return errorCode !== 0 ? `error ${errorCode}` : frame.toString("utf8", 12, 12 + frame.readInt16BE(10));
	}

	/** Answers `later` requests. */
	release(...names: string[]): void {
		for (const name of names) this.#held.get(name)?.resolve({ host: name });
	}

	reject(name: string, error: unknown): void {
		this.#held.get(name)?.reject(error);
	}

	/** Until what was sent has been handled, as far as that goes. */
	async until(condition: () => boolean): Promise<void> {
		while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
	}

	/** A few rounds of both sides' event loop, for what must not happen. */
	async rounds(): Promise<void> {
		for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
	}

	/** Time passes; then the door looks at its connections. */
	async look(afterMs: number, othersWait: boolean): Promise<void> {
		await this.clock.advance(afterMs);
		for (const connection of this.connections) if (!connection.closed) connection.look(othersWait);
	}

	async stop(): Promise<void> {
		for (const wire of this.#wires) wire.destroy();
		for (const connection of this.connections) connection.destroy();
		await new Promise((resolve) => this.#server.close(resolve));
	}

	#api() {
		return api({
			request: FindCoordinatorRequest,
			response: FindCoordinatorResponse,
			versions: [0, 0],
			handle: ({ key }, { peer }): Answer | Promise<Answer> => this.#handle(key.replace(/\.+$/, ""), peer),
			refuse: ({ key }, errorCode) => (key.includes("closes") ? undefined : { errorCode }),
		});
	}

	#alone() {
		return api({
			request: MetadataRequest,
			response: MetadataResponse,
			versions: [1, 1],
			waitsForEarlier: true,
			handle: async ({ topics }, { peer }) => {
				const name = topics?.[0]?.name ?? "";
				await this.#handle(name, peer);
				return { topics: [{ name }] };
			},
			refuse: () => undefined,
		});
	}

	#handle(name: string, peer: Peer): Answer | Promise<Answer> {
		this.begun.push(name);
		this.peers.push(peer);
		if (name.startsWith("never")) return undefined;
		if (name.startsWith("throws")) throw new BrokerError("NOT_COORDINATOR", "so it is wanted");
		if (name.startsWith("rejects")) return Promise.reject(new Error("a fault of the gateway"));
		if (name.startsWith("large")) return { host: name.padEnd(32_000, "x") };
		if (!name.startsWith("later")) return { host: name };
		const held = Promise.withResolvers<Answer>();
		this.#held.set(name, held);
		return name.includes("deep") ? deep(held.promise) : held.promise;
	}

	#count(socket: Socket): void {
		const write = socket.write.bind(socket) as (...parameters: unknown[]) => boolean;
		socket.write = (...parameters: unknown[]) => {
			this.writes.push((parameters[0] as Uint8Array).length);
			return write(...parameters);
		};
	}
}

/** As a handler that calls others, each of which waits for the next. */
async function deep<T>(value: Promise<T>, depth = 5): Promise<T> {
	return depth === 0 ? await value : await deep(value, depth - 1);
}
