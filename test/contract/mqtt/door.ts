/** The real door over a real broker in a temporary folder, for tests: sockets are real, timers move by hand. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { connect as connectSocket, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectAsync, type IClientOptions, type MqttClient } from "mqtt";
import type { MqttOptions } from "../../../bridge/mqtt/options.ts";
import { MqttDoor } from "../../../bridge/mqtt/server.ts";
import type { Clock, Timer } from "../../../src/base/clock.ts";
import { NodeDisk } from "../../../src/base/disk.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { Broker } from "../../../src/broker/broker.ts";
import { decodeRecords, type LogRecord, readBatchHeader } from "../../../src/record/batch.ts";

/** Timers fire when `advance` says so; everything else is the system's. */
export class HandClock implements Clock {
	#ms = 0;
	#timers: { dueMs: number; task: () => void }[] = [];

	now(): number {
		return Date.now() + this.#ms;
	}

	monotonic(): number {
		return performance.now() + this.#ms;
	}

	after(delayMs: number, task: () => void): Timer {
		const timer = { dueMs: this.#ms + delayMs, task };
		this.#timers.push(timer);
		return {
			cancel: () => {
				this.#timers = this.#timers.filter((each) => each !== timer);
			},
		};
	}

	soon(task: () => void): void {
		setImmediate(task);
	}

	advance(ms: number): void {
		const endMs = this.#ms + ms;
		for (;;) {
			const due = this.#timers.filter((each) => each.dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)[0];
			if (due === undefined) break;
			this.#timers = this.#timers.filter((each) => each !== due);
			this.#ms = due.dueMs;
			due.task();
		}
		this.#ms = endMs;
	}
}

export const DEFAULTS: MqttOptions = {
	listen: "127.0.0.1:0",
	routes: [
		{ filter: "sensors/{site}/{device}/telemetry", topic: "telemetry", key: "{device}", headers: { site: "{site}" } },
		{ filter: "#", topic: "mqtt", key: "{topic}" },
	],
	maxPacketBytes: 1_048_576,
	receiveMaximum: 1024,
	maxConnections: 10_000,
	connectTimeoutMs: 10_000,
	maxKeepAliveSeconds: 0,
	maxSessionExpirySeconds: 4_294_967_295,
	maxInflight: 20,
	maxSubscriptionsPerSession: 1000,
	topicAliasMaximum: 32,
	maxRetainedMessages: 1000,
	sysIntervalSeconds: 10,
	version: "0.0.0",
	shareExpirySeconds: 0,
	redirectTo: "",
	redirectWhen: "full",
};

export class TestDoor {
	readonly clock = new HandClock();
	readonly folder: string;
	broker!: Broker;
	door!: MqttDoor;
	port = 0;
	readonly #clients: MqttClient[] = [];
	readonly #sockets: Socket[] = [];

	constructor() {
		this.folder = mkdtempSync(join(tmpdir(), "headwater-mqtt-"));
	}

	static async open(options: Partial<MqttOptions> = {}, memoryBudgetBytes?: number): Promise<TestDoor> {
		const test = new TestDoor();
		await test.start(options, memoryBudgetBytes);
		return test;
	}

	async start(options: Partial<MqttOptions> = {}, memoryBudgetBytes = 33_554_432): Promise<void> {
		this.broker = Broker.open(
			{
				dataFolder: this.folder,
				journal: { fileBytes: 1_048_576, filesMax: 4 },
				lingerMs: 0,
				memoryBudgetBytes,
				retentionCheckMs: 300_000,
				defaultPartitions: 2,
				topicDefaults: {
					"log.segment.bytes": "67108864",
					"log.roll.ms": "604800000",
					"log.index.interval.bytes": "4096",
					"message.max.bytes": "100000",
					"log.retention.ms": "604800000",
					"log.retention.bytes": "-1",
				},
				onFailure: (error) => {
					throw error;
				},
			},
			{ disk: new NodeDisk(), clock: this.clock, random: systemRandom, logger: silentLogger },
		);
		this.door = new MqttDoor(this.broker, { ...DEFAULTS, ...options });
		const address = await this.door.start();
		this.port = Number(address.slice(address.lastIndexOf(":") + 1));
	}

	async stop(): Promise<void> {
		await this.door.stop();
		await this.broker.stop();
	}

	async close(): Promise<void> {
		for (const client of this.#clients) client.end(true);
		for (const socket of this.#sockets) socket.destroy();
		await this.stop();
		rmSync(this.folder, { recursive: true, force: true });
	}

	/** What a gateway killed now would find at its next start, served from a copy of the folder. This one goes on. */
	async killed(options: Partial<MqttOptions> = {}): Promise<TestDoor> {
		const next = new TestDoor();
		cpSync(this.folder, next.folder, { recursive: true });
		await next.start(options);
		return next;
	}

	async client(options: IClientOptions = {}): Promise<MqttClient> {
		const client = await connectAsync(`mqtt://127.0.0.1:${this.port}`, {
			reconnectPeriod: 0,
			keepalive: 0,
			...options,
		});
		client.on("error", () => {});
		this.#clients.push(client);
		return client;
	}

	/** Bytes as they are; what comes back is gathered in `received`. */
	async socket(): Promise<RawSocket> {
		const socket = connectSocket({ port: this.port, host: "127.0.0.1" });
		this.#sockets.push(socket);
		await new Promise((resolve) => socket.once("connect", resolve));
		return new RawSocket(socket);
	}

	/** All durable records of a topic, by partition and offset. */
	async records(topic: string): Promise<LogRecord[]> {
		await this.broker.log.whenCommitted();
		const records: LogRecord[] = [];
		for (const partition of this.broker.topics.get(topic)?.partitions ?? []) {
			let offset = partition.logStartOffset;
			while (offset < partition.highWatermark) {
				const bytes = await partition.read(offset, 1_000_000);
				for (let at = 0; at < bytes.length; ) {
					const header = readBatchHeader(bytes, at);
					records.push(...decodeRecords(bytes, at).filter((record) => record.offset >= offset));
					at += header.sizeBytes;
					offset = header.lastOffset + 1;
				}
			}
		}
		return records;
	}
}

export class RawSocket {
	readonly socket: Socket;
	#received = Buffer.alloc(0);
	#wake: (() => void) | undefined;
	closed = false;

	constructor(socket: Socket) {
		this.socket = socket;
		socket.on("data", (chunk) => {
			this.#received = Buffer.concat([this.#received, chunk]);
			this.#wake?.();
		});
		socket.on("error", () => {});
		socket.on("close", () => {
			this.closed = true;
			this.#wake?.();
		});
	}

	send(...bytes: (number | string | Buffer)[]): void {
		const parts = bytes.map((each) => (typeof each === "number" ? Buffer.of(each) : Buffer.from(each as string)));
		this.socket.write(Buffer.concat(parts));
	}

	/** The next `count` bytes that come. Rejects when the connection closes before. */
	async take(count: number): Promise<Buffer> {
		while (this.#received.length < count) {
			if (this.closed)
				throw new Error(`closed after ${this.#received.length} of ${count} bytes: ${this.#received.toString("hex")}`);
			await new Promise<void>((resolve) => (this.#wake = resolve));
		}
		const taken = this.#received.subarray(0, count);
		this.#received = this.#received.subarray(count);
		return taken;
	}

	/** One packet, whole. Remaining lengths below 128 only. */
	async packet(): Promise<Buffer> {
		const head = await this.take(2);
		return Buffer.concat([head, await this.take(head[1]!)]);
	}

	/** All that still comes, until the connection closes. */
	async rest(): Promise<Buffer> {
		while (!this.closed) await new Promise<void>((resolve) => (this.#wake = resolve));
		return this.#received;
	}
}

export function text(value: string): Buffer {
	const bytes = Buffer.from(value);
	return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes]);
}

/** A packet from its first byte and body; bodies below 16,384 bytes. */
export function packet(first: number, ...body: (number | Buffer)[]): Buffer {
	const bytes = Buffer.concat(body.map((each) => (typeof each === "number" ? Buffer.of(each) : each)));
	const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
	return Buffer.concat([Buffer.of(first, ...length), bytes]);
}

/** CONNECT of 3.1.1 (level 4) or 5. */
export function connect(
	clientId: string,
	options: { level?: 4 | 5; clean?: boolean; keepAlive?: number; properties?: Buffer } = {},
): Buffer {
	const { level = 4, clean = true, keepAlive = 0, properties = Buffer.alloc(0) } = options;
	return packet(
		0x10,
		text("MQTT"),
		level,
		clean ? 2 : 0,
		Buffer.of(keepAlive >> 8, keepAlive & 0xff),
		level === 5 ? Buffer.concat([Buffer.of(properties.length), properties]) : Buffer.alloc(0),
		text(clientId),
	);
}

/** PUBLISH of 3.1.1 with a packet identifier. */
export function publish(first: number, topic: string, packetId: number, payload: string): Buffer {
	return packet(first, text(topic), Buffer.of(packetId >> 8, packetId & 0xff), Buffer.from(payload));
}
