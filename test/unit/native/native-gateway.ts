/**
 * For tests of the native door and client: a broker over a simulated disk whose syncs can be held back, a door on a free port of the
 * loopback address, and a peer that speaks the protocol's frames byte by byte.
 */
import { once } from "node:events";
import { connect as connectSocket, type Socket } from "node:net";
import { type Clock, systemClock } from "../../../src/base/clock.ts";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { Broker } from "../../../src/broker/broker.ts";
import type { TierAdmin } from "../../../src/broker/tier-admin.ts";
import type { UpstreamAdmin } from "../../../src/broker/upstream-admin.ts";
import { type Decode, loadDecoder } from "../../../src/native/codec/decode.ts";
import { FrameReader } from "../../../src/native/codec/frames.ts";
import { MESSAGE } from "../../../src/native/codec/protocol.ts";
import { ANSWER_LIMITS } from "../../../src/native/codec/validate.ts";
import { type CborValue, CborWriter } from "../../../src/native/codec/writer.ts";
import { type GatewayStatusParts, NativeDoor, type NativeOptions } from "../../../src/native/door.ts";

export type Message = [type: number, id: number, body: Map<number, unknown>];
export type Fields = [number, CborValue][];

export const STATUS_PARTS: GatewayStatusParts = {
	version: "1.2.3",
	uptimeMs: 12.7,
	pid: 99,
	dataDirectory: "/data",
	listeners: [{ door: "native", address: "127.0.0.1:9470" }],
	connections: { mqtt: 3 },
	memory: { residentBytes: 1, heapBytes: 2, inFlightBytes: 3, budgetBytes: 4 },
	journal: { entries: 5, bytes: 6, writtenBytes: 10, commits: 7 },
	produced: { records: 8, bytes: 9 },
	losses: { records: 0 },
};

const TOPIC_DEFAULTS = {
	"log.segment.bytes": "67108864",
	"log.roll.ms": "604800000",
	"log.retention.ms": "604800000",
	"log.retention.bytes": "-1",
	"log.index.interval.bytes": "4096",
	"message.max.bytes": "1048588",
};

export interface NativeGatewayOptions extends Partial<NativeOptions> {
	readonly clock?: Clock;
	readonly memoryBudgetBytes?: number;
	readonly tier?: TierAdmin;
	readonly upstream?: UpstreamAdmin;
}

export class NativeGateway {
	readonly options: NativeGatewayOptions;
	readonly disk: SimulatedDisk;
	broker!: Broker;
	door!: NativeDoor;
	port = 0;
	/** While true no commit becomes durable. */
	#held: (() => void)[] | undefined;
	#image: Buffer | undefined;
	#takeImage: (() => Buffer) | undefined;
	readonly #peers: NativePeer[] = [];

	private constructor(options: NativeGatewayOptions) {
		this.options = options;
		this.disk = new SimulatedDisk({
			schedule: (complete, operation) => {
				if (this.#held && operation === "sync") this.#held.push(complete);
				else setImmediate(complete);
			},
		});
		this.disk.makeDirectory("/data");
		this.disk.syncDirectory("/");
	}

	static async start(options: NativeGatewayOptions = {}): Promise<NativeGateway> {
		const gateway = new NativeGateway(options);
		await gateway.start();
		return gateway;
	}

	async start(): Promise<void> {
		const { clock = systemClock, memoryBudgetBytes = 32 * 1024 * 1024, tier, upstream, ...native } = this.options;
		const image = this.#image;
		this.broker = Broker.open(
			{
				dataFolder: "/data",
				catalogLocation: {
					image,
					onCommit: (takeImage) => {
						this.#takeImage = takeImage;
					},
				},
				journal: { fileBytes: 4 * 1024 * 1024, filesMax: 4 },
				lingerMs: 0,
				memoryBudgetBytes,
				retentionCheckMs: 3_600_000,
				defaultPartitions: 1,
				topicDefaults: TOPIC_DEFAULTS,
				onFailure: (error) => {
					throw error;
				},
			},
			{ disk: this.disk, clock, random: systemRandom, logger: silentLogger },
		);
		const options = {
			host: "127.0.0.1",
			port: this.port,
			maxFrameBytes: 8 * 1024 * 1024,
			maxConnections: 100,
			...native,
		};
		const extra = {
			status: () => STATUS_PARTS,
			...(tier === undefined ? {} : { tier }),
			...(upstream === undefined ? {} : { upstream }),
		};
		this.door = new NativeDoor(this.broker, options, extra);
		this.port = Number((await this.door.start()).split(":").at(-1));
	}

	/** As kill -9: what was not durable is gone, and every connection. */
	async kill(): Promise<void> {
		this.#image = this.#takeImage?.();
		this.disk.stop();
		this.disk.kill();
		this.#held = undefined;
		await this.door.stop(0);
		this.broker.catalog.close();
	}

	/** No commit becomes durable until `release`. */
	hold(): void {
		this.#held ??= [];
	}

	release(): void {
		const held = this.#held ?? [];
		this.#held = undefined;
		for (const complete of held) complete();
	}

	/** Commits that wait to become durable. */
	get holding(): number {
		return this.#held?.length ?? 0;
	}

	async peer(hello?: Fields): Promise<NativePeer> {
		const peer = await NativePeer.connect(this.port);
		this.#peers.push(peer);
		if (hello) {
			peer.send(MESSAGE.HELLO, 1, [[0, 1], [1, 1], ...hello]);
			await peer.message();
		}
		return peer;
	}

	async stop(): Promise<void> {
		this.release();
		for (const peer of this.#peers) peer.destroy();
		await this.door.stop();
		await this.broker.stop();
	}
}

/** The other end of a connection, without any of the client's code but CBOR. */
export class NativePeer {
	readonly socket: Socket;
	/** Settles when the gateway has closed. */
	readonly closed: Promise<void>;
	readonly #decode: Decode;
	readonly #frames = new FrameReader(0xffff_ffff);
	readonly #messages: Message[] = [];
	#waiting: { resolve(message: Message): void; reject(error: Error): void }[] = [];
	#isClosed = false;

	private constructor(socket: Socket, decode: Decode) {
		this.socket = socket;
		this.#decode = decode;
		socket.on("error", () => {});
		socket.on("data", (chunk: Buffer) => {
			this.#frames.push(chunk);
			for (let frame = this.#frames.next(); frame; frame = this.#frames.next()) {
				const message = this.#decode(frame) as Message;
				const waiter = this.#waiting.shift();
				if (waiter) waiter.resolve(message);
				else this.#messages.push(message);
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

	static async connect(port: number): Promise<NativePeer> {
		const decode = await loadDecoder(ANSWER_LIMITS, { copyBytes: true });
		const socket = connectSocket({ port, host: "127.0.0.1", noDelay: true });
		await once(socket, "connect");
		return new NativePeer(socket, decode);
	}

	static frame(type: number, id: number, fields: Fields): Buffer {
		return new CborWriter().beginMessage(type, id).value(new Map(fields)).endFrame().take();
	}

	send(type: number, id: number, fields: Fields): void {
		this.socket.write(NativePeer.frame(type, id, fields));
	}

	/** A frame around these bytes. */
	sendItem(item: Uint8Array): void {
		this.socket.write(new CborWriter().beginFrame().raw(item).endFrame().take());
	}

	/** The next message; rejects when the connection is closed before one comes. */
	message(): Promise<Message> {
		const message = this.#messages.shift();
		if (message) return Promise.resolve(message);
		if (this.#isClosed) return Promise.reject(new Error("the connection was closed"));
		return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
	}

	/** Messages that have come and were not asked for. */
	get received(): number {
		return this.#messages.length;
	}

	async request(type: number, id: number, fields: Fields): Promise<Message> {
		this.send(type, id, fields);
		return await this.message();
	}

	destroy(): void {
		this.socket.destroy();
	}
}

/** Groups of a produce: one topic, values with key null. */
export function groupsOf(topic: string, values: readonly string[], partition: number | null = 0): CborValue {
	return [[topic, partition, values.map((value) => [null, Buffer.from(value)])]];
}
