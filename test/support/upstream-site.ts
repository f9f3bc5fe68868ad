/**
 * A gateway that replicates to a hub, both Headwater and both in this process, over sockets: with data directories that can
 * be killed and copied, and clocks that can be moved ahead. What a hub has is read as any consumer with read_committed does.
 */

import { listOffset } from "../../bridge/upstream/client/admin.ts";
import { Cluster } from "../../bridge/upstream/client/cluster.ts";
import { CommittedView } from "../../bridge/upstream/client/committed.ts";
import { fetchPartition } from "../../bridge/upstream/client/fetch.ts";
import { tcpDial } from "../../bridge/upstream/client/tcp.ts";
import type { Dial, Transport } from "../../bridge/upstream/client/transport.ts";
import { Compressor } from "../../bridge/upstream/shipment/compress.ts";
import { Upstream } from "../../bridge/upstream/upstream.ts";
import { systemClock } from "../../src/base/clock.ts";
import { NodeDisk } from "../../src/base/disk.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { systemRandom } from "../../src/base/random.ts";
import { appendProducerBatch } from "../../src/broker/append-batch.ts";
import type { Broker } from "../../src/broker/broker.ts";
import type { Topic } from "../../src/broker/topics.ts";
import { openUplink, type Uplink } from "../../src/broker/uplink.ts";
import type { UpstreamReset, UpstreamResetStep, UpstreamStatus } from "../../src/broker/upstream-admin.ts";
import { upstreamOptions } from "../../src/cli/upstream-options.ts";
import { loadConfig } from "../../src/config/load.ts";
import { readYaml } from "../../src/config/yaml-file.ts";
import type { Partition } from "../../src/log/partition.ts";
import { decodeRecords, encodeBatch, type LogRecord, readBatchHeader } from "../../src/record/batch.ts";
import { KafkaGateway, type KafkaGatewayOptions } from "./kafka-gateway.ts";
import { SkippingClock } from "./skipping-clock.ts";

type Settings = Readonly<Record<string, unknown>>;

/** A record with the partition that it is in; without its offset, which differs between a gateway and its hub. */
export type Arrived = Omit<LogRecord, "offset"> & { readonly partition: number };

export interface Given {
	readonly key?: string | null;
	readonly value: string | null;
	readonly timestamp?: number;
	readonly headers?: Readonly<Record<string, string>>;
	readonly partition?: number;
}

export function numbers(from: number, to: number): string[] {
	return Array.from({ length: to - from }, (_, i) => `n${from + i}`);
}

/** Where nobody is given a port who asks for any: a hub that is down for a while finds its own again. */
const LOWEST_PORT = 12_000;
const PORTS = 18_000;

export function lastingPort(): number {
	return LOWEST_PORT + (systemRandom.u32() % PORTS);
}

const LOOK_MS = 5;
const PATIENCE_MS = 20_000;
const FETCH_BYTES = 1024 * 1024;

/** On one of these ports, which somebody may hold for a moment. */
async function listening(nextPort: () => number, options: KafkaGatewayOptions): Promise<KafkaGateway> {
	for (;;) {
		try {
			return await KafkaGateway.start({ ...options, kafka: { port: nextPort() } });
		} catch (error) {
			if (!String(error).includes("EADDRINUSE")) throw error;
			await new Promise((resolve) => setTimeout(resolve, 50));
		}
	}
}

/** The central cluster. */
export class Hub {
	gateway!: KafkaGateway;

	static async start(port?: number): Promise<Hub> {
		const hub = new Hub();
		hub.gateway = await listening(port === undefined ? lastingPort : () => port, {});
		return hub;
	}

	get port(): number {
		return this.gateway.port;
	}

	create(name: string, partitions: number, config: Readonly<Record<string, string>> = {}): Topic {
		return this.gateway.broker.topics.create({ name, partitions, config });
	}

	delete(name: string): void {
		this.gateway.broker.topics.delete(name);
	}

	partitionsOf(name: string): number {
		return this.gateway.broker.topics.get(name)?.partitions.length ?? 0;
	}

	/** kill -9, and again. */
	async restart(whileDown: () => Promise<void> | void = () => undefined): Promise<void> {
		await this.gateway.kill();
		await whileDown();
		await this.comeBack();
	}

	/** After `gateway.kill()`, on the port that it had, which somebody may hold for a moment. */
	async comeBack(): Promise<void> {
		for (;;) {
			try {
				await this.gateway.start();
				return;
			} catch (error) {
				if (!String(error).includes("EADDRINUSE")) throw error;
				await this.gateway.kill();
				await new Promise((resolve) => setTimeout(resolve, 50));
			}
		}
	}

	/** What a consumer with read_committed gets, partition by partition. */
	async records(topic: string): Promise<Arrived[]> {
		const cluster = new Cluster({
			...{ bootstrap: [{ host: "127.0.0.1", port: this.port }], clientId: "consumer", sasl: undefined },
			...{ dial: tcpDial({}, new NodeDisk()), clock: systemClock, random: systemRandom, logger: silentLogger },
			...{ requestTimeoutMs: 5000, connectTimeoutMs: 5000, metadataMaxAgeMs: 60_000 },
		});
		const { signal } = new AbortController();
		const arrived: Arrived[] = [];
		try {
			for (let partition = 0; partition < this.partitionsOf(topic); partition++) {
				const view = new CommittedView();
				let offset = await listOffset(cluster, topic, partition, "earliest", signal);
				const end = await listOffset(cluster, topic, partition, "committed", signal);
				while (offset < end) {
					const options = { isolation: "committed", maxBytes: FETCH_BYTES, maxWaitMs: 100, signal } as const;
					const fetched = await fetchPartition(cluster, topic, partition, offset, options);
					offset = view.walk(fetched, offset, (bytes, position) => {
						for (const { offset: _, ...record } of decodeRecords(bytes, position))
							arrived.push({ ...record, partition });
					});
				}
			}
		} finally {
			cluster.close();
		}
		return arrived;
	}

	/** Their values, as text, in the order of each partition. */
	async values(topic: string): Promise<string[]> {
		return (await this.records(topic)).map(({ value }) => String(value));
	}

	/** With an older state of its data directory. */
	async putBack({ files, image }: { files: ReadonlyMap<string, Buffer>; image: Buffer | undefined }): Promise<void> {
		const { port } = this;
		await this.gateway.stop();
		this.gateway = await listening(() => port, { files, ...(image === undefined ? {} : { catalogImage: image }) });
	}

	async stop(): Promise<void> {
		await this.gateway.stop();
	}
}

/** The gateway. */
export class Site {
	gateway!: KafkaGateway;
	upstream!: Upstream;
	uplink!: Uplink;
	clock!: SkippingClock;
	#settings: Settings;
	#transports = new Set<Transport>();
	#isDown = false;

	private constructor(settings: Settings) {
		this.#settings = settings;
	}

	/** `settings`: as in a configuration file. `copyOf`: what its data directory has to begin with. */
	static async start(hub: Hub, settings: Settings, copyOf?: Site): Promise<Site> {
		const site = new Site({
			"gateway.id": "line-3",
			"upstream.bootstrap.servers": `127.0.0.1:${hub.port}`,
			"upstream.linger.ms": 5,
			"upstream.progress.partitions": 2,
			"upstream.hold.free.bytes": 0,
			...settings,
		});
		site.clock = new SkippingClock();
		const image = copyOf?.gateway.catalogImage;
		site.gateway = await KafkaGateway.start({
			// Of each start its own: whoever was killed does not wake up with the next.
			get clock() {
				return site.clock;
			},
			// Whichever is free, at each start.
			kafka: { port: 0 },
			...(copyOf === undefined ? {} : { files: copyOf.gateway.disk.files() }),
			...(image === undefined ? {} : { catalogImage: image }),
		});
		await site.#begin();
		return site;
	}

	get broker(): Broker {
		return this.gateway.broker;
	}

	async #begin(): Promise<void> {
		const { broker } = this;
		// JSON is YAML.
		const { config } = loadConfig({ file: { name: "test", content: readYaml(JSON.stringify(this.#settings)) } });
		this.uplink = openUplink(broker, {
			bytesPerSecond: config["uplink.bytes.per.second"],
			bytesPerDay: config["uplink.bytes.per.day"],
			bytesPerMonth: config["uplink.bytes.per.month"],
			reservePercent: config["uplink.reserve.percent"],
		});
		const options = await upstreamOptions(config, new NodeDisk())?.();
		if (options === undefined) throw new Error("no central cluster is configured");
		const { compress } = new Compressor();
		this.upstream = await Upstream.open(
			{ broker, uplink: this.uplink, retain: undefined },
			{ ...options, compress, dial: this.#dial(options.dial) },
		);
		this.#isDown = false;
		this.upstream.start();
	}

	/** Its connections, so that a killed gateway's end. */
	#dial(dial: Dial): Dial {
		return async (address, handler, signal) => {
			const transport = await dial(address, handler, signal);
			this.#transports.add(transport);
			return transport;
		};
	}

	/** kill -9. */
	async kill(): Promise<void> {
		if (this.#isDown) return;
		this.#isDown = true;
		this.clock.stop();
		for (const transport of this.#transports) transport.destroy();
		this.#transports.clear();
		await this.gateway.kill();
	}

	/** In good order. */
	async stop(): Promise<void> {
		if (this.#isDown) return;
		await this.upstream.stop();
		if (!this.broker.log.idle) await this.broker.log.whenCommitted();
		await this.kill();
	}

	/** After `kill` and `stop`: again, with other settings perhaps. */
	async start(settings: Settings = {}): Promise<void> {
		this.#settings = { ...this.#settings, ...settings };
		this.clock = new SkippingClock();
		await this.gateway.start();
		await this.#begin();
	}

	async restart(how: "kill" | "stop", settings: Settings = {}): Promise<void> {
		await this[how]();
		await this.start(settings);
	}

	create(name: string, partitions: number, config: Readonly<Record<string, string>> = {}): Topic {
		return this.broker.topics.create({ name, partitions, config });
	}

	#partition(topic: string, number = 0): Partition {
		const partition = this.broker.topics.get(topic)?.partitions[number];
		if (partition === undefined) throw new Error(`there is no ${topic}-${number}`);
		return partition;
	}

	/** Durable when it resolves: a batch for each partition. */
	async produce(topic: string, records: readonly (string | Given)[]): Promise<void> {
		const all = records.map((record): Given => (typeof record === "string" ? { value: record } : record));
		for (const [number, its] of Map.groupBy(all, ({ partition }) => partition ?? 0)) {
			const batch = encodeBatch(
				its.map(({ key = null, value, timestamp = this.clock.now(), headers = {} }) => ({
					timestamp,
					key: key === null ? null : Buffer.from(key),
					value: value === null ? null : Buffer.from(value),
					headers: Object.entries(headers).map(([name, text]) => ({ key: name, value: Buffer.from(text) })),
				})),
			);
			const request = { transactionalId: null, decompressedBytes: 1e8, allowsZstd: true };
			appendProducerBatch(this.broker, this.#partition(topic, number), batch, request);
		}
		await this.broker.log.whenCommitted();
	}

	/** What is stored here, as a consumer with read_committed has it. */
	async stored(topic: string): Promise<Arrived[]> {
		const found: Arrived[] = [];
		for (const partition of this.broker.topics.get(topic)?.partitions ?? []) {
			for (let offset = partition.logStartOffset; offset < partition.lastStableOffset; ) {
				const bytes = await partition.read(offset, FETCH_BYTES, partition.lastStableOffset);
				for (let position = 0; position < bytes.length; ) {
					const header = readBatchHeader(bytes, position);
					if (partition.isVisible(header))
						for (const { offset: at, ...record } of decodeRecords(bytes, position))
							if (at >= offset) found.push({ ...record, partition: partition.number });
					position += header.sizeBytes;
					if (position >= bytes.length) offset = header.lastOffset + 1;
				}
			}
		}
		return found;
	}

	/** Resolves with the status when it is as `holds` says. */
	async until(holds: (status: UpstreamStatus) => boolean): Promise<UpstreamStatus> {
		const beganMs = performance.now();
		for (;;) {
			const status = await this.upstream.status();
			if (holds(status)) return status;
			if (performance.now() - beganMs > PATIENCE_MS) throw new Error(`still ${JSON.stringify(status)}`);
			await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
		}
	}

	/** Its clock runs fast meanwhile: pauses between attempts grow to minutes. */
	async hurried<T>(work: Promise<T>): Promise<T> {
		const skipping = setInterval(() => this.clock.advance(500), 10);
		return work.finally(() => clearInterval(skipping));
	}

	/** Everything that is not held up has been sent. */
	untilSent(): Promise<UpstreamStatus> {
		return this.until(
			({ state, topics }) =>
				state === "running" && topics.every(({ lagRecords, problem }) => lagRecords === 0 || problem !== undefined),
		);
	}

	untilHalted(): Promise<UpstreamStatus> {
		return this.until(({ state }) => state === "halted");
	}

	plan(reset: Omit<UpstreamReset, "dryRun" | "topic"> & { topic?: string }): Promise<readonly UpstreamResetStep[]> {
		return this.upstream.reset({ topic: undefined, ...reset, dryRun: true });
	}

	reset(reset: Omit<UpstreamReset, "dryRun" | "topic"> & { topic?: string }): Promise<readonly UpstreamResetStep[]> {
		return this.upstream.reset({ topic: undefined, ...reset, dryRun: false });
	}
}
