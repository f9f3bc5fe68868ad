/** A gateway with bridges for tests: the real door over a real broker, its bridges, and other brokers to connect to. */
import { createServer, type Server, type Socket } from "node:net";
import { Aedes, type AedesOptions } from "aedes";
import { Bridges } from "../../../bridge/mqtt/remote/bridges.ts";
import { NodeDisk } from "../../../src/base/disk.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { parseBridges } from "../../../src/config/bridges.ts";
import { TestDoor } from "../mqtt/door.ts";

export interface BridgeSpec {
	readonly [name: string]: unknown;
}

export class BridgedGateway {
	readonly test: TestDoor;
	bridges!: Bridges;
	readonly #specs: readonly BridgeSpec[];

	private constructor(test: TestDoor, specs: readonly BridgeSpec[]) {
		this.test = test;
		this.#specs = specs;
	}

	static async open(...specs: readonly BridgeSpec[]): Promise<BridgedGateway> {
		const gateway = new BridgedGateway(await TestDoor.open(), specs);
		gateway.startBridges();
		return gateway;
	}

	startBridges(specs: readonly BridgeSpec[] = this.#specs): void {
		const parsed = parseBridges(specs, false);
		if ("wrong" in parsed) throw new Error(`${parsed.wrong}; ${parsed.right}`);
		this.bridges = new Bridges(this.test.door.engine, parsed.value, {
			disk: new NodeDisk(),
			random: new SimulatedRandom(this.test.folder),
		});
		this.bridges.start();
	}

	/** With its clock moving, which its patience with other brokers goes by. */
	async stopBridges(): Promise<void> {
		let stopped = false;
		void this.bridges.stop().then(() => {
			stopped = true;
		});
		await this.until(() => stopped, "the bridges to stop");
	}

	/** An orderly stop and a start, as the process does them. */
	async restart(specs?: readonly BridgeSpec[]): Promise<void> {
		await this.stopBridges();
		await this.test.stop();
		await this.test.start();
		this.startBridges(specs);
	}

	/** What a gateway killed now would find at its next start. */
	async killed(): Promise<BridgedGateway> {
		const next = new BridgedGateway(await this.test.killed(), this.#specs);
		next.startBridges();
		return next;
	}

	get status() {
		return this.bridges.stats()[0]!;
	}

	/** Moves the clock a second at a time, sockets in between, until `done`. */
	async until(done: () => boolean | Promise<boolean>, what: string): Promise<void> {
		await until(done, what, () => this.test.clock.advance(1000));
	}

	connected(): Promise<void> {
		return this.until(() => this.bridges.stats().every(({ state }) => state === "connected"), "the bridges to connect");
	}

	/** All that the log has is acknowledged by the other broker. */
	drained(): Promise<void> {
		return this.until(() => this.status.state === "connected" && this.status.lag === 0, "the backlog to be gone");
	}

	/** Publishes at QoS 1 and waits for PUBACK. */
	async publish(topic: string, ...payloads: string[]): Promise<void> {
		const client = await this.test.client();
		await Promise.all(payloads.map((payload) => client.publishAsync(topic, payload, { qos: 1 })));
		await client.endAsync();
	}

	/** Payloads of what is stored in the topic `mqtt` under an MQTT topic, in order. */
	async stored(mqttTopic: string): Promise<string[]> {
		const records = await this.test.records("mqtt");
		return records
			.filter(({ headers }) => headers.some(({ key, value }) => key === "mqtt.topic" && String(value) === mqttTopic))
			.map(({ value }) => String(value));
	}

	async close(): Promise<void> {
		await this.stopBridges();
		await this.test.close();
	}
}

/** Polls for a condition; fails after a time that only a broken program needs. */
export async function until(
	done: () => boolean | Promise<boolean>,
	what: string,
	between: () => void = () => {},
): Promise<void> {
	const deadline = performance.now() + 20_000;
	for (let i = 0; !(await done()); i++) {
		if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
		// Sockets get their turn before the clock moves.
		await new Promise((resolve) => setTimeout(resolve, 5));
		if (i % 10 === 9) between();
	}
}

export interface Seen {
	readonly topic: string;
	readonly payload: string;
	readonly retain: boolean;
}

/** Another broker, MQTT 3.1.1 only, in this process. Its sessions outlive `drop` and `stop`. */
export class SiteBroker {
	readonly aedes: Aedes;
	readonly seen: Seen[] = [];
	readonly #sockets = new Set<Socket>();
	#server: Server | undefined;
	#subscriptions = 0;
	port = 0;

	private constructor(aedes: Aedes) {
		this.aedes = aedes;
		aedes.on("subscribe", () => this.#subscriptions++);
		aedes.on("publish", (packet, client) => {
			// Without a client: the broker's own.
			if (client !== null)
				this.seen.push({ topic: packet.topic, payload: String(packet.payload), retain: packet.retain });
		});
	}

	/** Some client has subscribed. */
	subscribed(): Promise<void> {
		return until(() => this.#subscriptions > 0, "a subscription");
	}

	static async open(options: Partial<AedesOptions> = {}): Promise<SiteBroker> {
		const broker = new SiteBroker(await Aedes.createBroker(options));
		await broker.listen();
		return broker;
	}

	async listen(): Promise<void> {
		const server = createServer((socket) => {
			this.#sockets.add(socket);
			socket.on("close", () => this.#sockets.delete(socket));
			this.aedes.handle(socket);
		});
		this.#server = server;
		await new Promise<void>((resolve) => server.listen(this.port, "127.0.0.1", resolve));
		this.port = (server.address() as { port: number }).port;
	}

	/** Nobody can connect any more, and who is connected is cut off. */
	async away(): Promise<void> {
		const server = this.#server;
		this.#server = undefined;
		const closed = new Promise((resolve) => server?.close(resolve) ?? resolve(undefined));
		for (const socket of this.#sockets) socket.destroy();
		await closed;
	}

	payloads(topic: string): string[] {
		return this.seen.filter((each) => each.topic === topic).map(({ payload }) => payload);
	}

	publish(topic: string, payload: string, retain = false): Promise<void> {
		return new Promise((resolve, reject) => {
			const packet = { cmd: "publish" as const, topic, payload, qos: 1 as const, retain, dup: false };
			this.aedes.publish(packet, (error) => (error ? reject(error) : resolve()));
		});
	}

	async close(): Promise<void> {
		await this.away();
		await new Promise<void>((resolve) => this.aedes.close(() => resolve()));
	}
}

export function numbers(count: number, from = 0): string[] {
	return Array.from({ length: count }, (_, i) => String(from + i));
}
