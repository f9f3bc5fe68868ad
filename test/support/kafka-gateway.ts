/**
 * A Kafka door in this process for tests: on a free port of the loopback address, over a broker on a simulated disk
 * whose syncs can be held back.
 */
import { type Clock, systemClock } from "../../src/base/clock.ts";
import { SimulatedDisk } from "../../src/base/disk-simulated.ts";
import { type Logger, silentLogger } from "../../src/base/logger.ts";
import { systemRandom } from "../../src/base/random.ts";
import { Broker, type BrokerOptions } from "../../src/broker/broker.ts";
import { TOPIC_CONFIGS } from "../../src/catalog/topic-config.ts";
import { DEFAULT_CONFIG, isKeyName } from "../../src/config/keys.ts";
import { KafkaDoor } from "../../src/kafka/door.ts";
import type { KafkaOptions } from "../../src/kafka/options.ts";
import { KafkaWire } from "./kafka-wire.ts";

export interface KafkaGatewayOptions {
	readonly kafka?: Partial<KafkaOptions>;
	readonly broker?: Partial<BrokerOptions>;
	readonly clock?: Clock;
	/** The bytes of a catalog to begin with. */
	readonly catalogImage?: Buffer;
	/** The data folder's files to begin with, by path. */
	readonly files?: ReadonlyMap<string, Buffer>;
	readonly logger?: Logger;
}

const DEFAULTS: KafkaOptions = {
	host: "127.0.0.1",
	port: 0,
	nodeId: 1,
	autoCreateTopics: true,
	deleteTopics: true,
	maxRequestBytes: 16 * 1024 * 1024,
	maxConnections: 100,
	maxFetchBytes: 1024 * 1024,
	idleTimeoutMs: 600_000,
};

export class KafkaGateway {
	readonly disk: SimulatedDisk;
	broker!: Broker;
	door!: KafkaDoor;
	port = 0;
	readonly #options: KafkaGatewayOptions;
	/** While it is there no commit becomes durable. */
	#held: (() => void)[] | undefined;
	#image: Buffer | undefined;
	#takeImage: (() => Buffer) | undefined;
	readonly #wires: KafkaWire[] = [];

	private constructor(options: KafkaGatewayOptions) {
		this.#options = options;
		this.#image = options.catalogImage;
		this.disk = new SimulatedDisk({
			schedule: (complete, operation) => {
				if (this.#held && operation === "sync") this.#held.push(complete);
				else setImmediate(complete);
			},
		});
		this.disk.makeDirectory("/data");
		this.disk.syncDirectory("/");
		for (const [name, bytes] of options.files ?? []) writeFile(this.disk, name, bytes);
	}

	/** Of the catalog, as `kill` left it. */
	get catalogImage(): Buffer | undefined {
		return this.#image;
	}

	static async start(options: KafkaGatewayOptions = {}): Promise<KafkaGateway> {
		const gateway = new KafkaGateway(options);
		await gateway.start();
		return gateway;
	}

	/** After `kill`: again, with what was durable. */
	async start(): Promise<void> {
		const { clock = systemClock, logger = silentLogger } = this.#options;
		const topicDefaults: Record<string, string> = {};
		for (const { brokerKey } of TOPIC_CONFIGS) {
			if (brokerKey !== undefined && isKeyName(brokerKey)) topicDefaults[brokerKey] = String(DEFAULT_CONFIG[brokerKey]);
		}
		this.broker = Broker.open(
			{
				dataFolder: "/data",
				catalogLocation: {
					image: this.#image,
					onCommit: (takeImage) => {
						this.#takeImage = takeImage;
					},
				},
				journal: { fileBytes: 16 * 1024 * 1024, filesMax: 4 },
				lingerMs: 0,
				memoryBudgetBytes: 32 * 1024 * 1024,
				retentionCheckMs: 3_600_000,
				defaultPartitions: 2,
				topicDefaults,
				onFailure: (error) => {
					throw error;
				},
				...this.#options.broker,
			},
			{ disk: this.disk, clock, random: systemRandom, logger },
		);
		this.door = new KafkaDoor(this.broker, { ...DEFAULTS, port: this.port, ...this.#options.kafka });
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

	/** A connection, closed with the gateway. */
	async connect(): Promise<KafkaWire> {
		const wire = await KafkaWire.connect(this.port);
		this.#wires.push(wire);
		return wire;
	}

	async stop(): Promise<void> {
		this.release();
		for (const wire of this.#wires) wire.destroy();
		await this.door.stop();
		await this.broker.stop();
	}
}

function writeFile(disk: SimulatedDisk, name: string, bytes: Buffer): void {
	disk.makeDirectory(name.slice(0, name.lastIndexOf("/")));
	const file = disk.open(name, "create");
	file.write([bytes], 0);
	file.close();
}
