/** A real engine over a real broker, on a simulated disk and clock: time passes when the test says so, and nothing waits. */
import { Engine } from "../../../bridge/mqtt/engine.ts";
import type { MqttOptions } from "../../../bridge/mqtt/options.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import type { Logger } from "../../../src/base/logger.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { Broker } from "../../../src/broker/broker.ts";
import { decodeRecords, type LogRecord, readBatchHeader } from "../../../src/record/batch.ts";
import { DEFAULTS } from "../../contract/mqtt/door.ts";

const OPTIONS: MqttOptions = {
	...DEFAULTS,
	routes: [
		{ filter: "keyed/{device}/#", topic: "keyed", key: "{device}" },
		{ filter: "refused/#", topic: "small" },
		{ filter: "#", topic: "mqtt" },
	],
	maxPacketBytes: 4096,
	receiveMaximum: 6,
	maxConnections: 4,
	connectTimeoutMs: 3000,
	maxInflight: 4,
	maxSubscriptionsPerSession: 5,
	topicAliasMaximum: 4,
	maxRetainedMessages: 6,
	sysIntervalSeconds: 5,
	outputBudgetBytes: 40_000,
};

export class World {
	readonly clock: SimulatedClock;
	readonly broker: Broker;
	readonly engine: Engine;
	/** What was logged as an error: nothing a peer sends may be one. */
	readonly errors: string[] = [];
	/** By partition of a topic: up to where `newRecords` has read. */
	readonly #read = new Map<string, number>();

	constructor(seed: string) {
		const random = new SimulatedRandom(seed);
		this.clock = new SimulatedClock({ random: random.fork("clock") });
		const disk = new SimulatedDisk({ random: random.fork("disk") });
		disk.makeDirectory("/data");
		this.broker = Broker.open(
			{
				dataFolder: "/data",
				catalogLocation: { image: undefined, onCommit: () => {} },
				journal: { fileBytes: 1_048_576, filesMax: 4 },
				lingerMs: 0,
				memoryBudgetBytes: 200_000,
				retentionCheckMs: 300_000,
				defaultPartitions: 2,
				topicDefaults: {
					"log.segment.bytes": "1048576",
					"log.roll.ms": "604800000",
					"log.index.interval.bytes": "4096",
					"message.max.bytes": "2000",
					"log.retention.ms": "604800000",
					"log.retention.bytes": "-1",
				},
				onFailure: (error) => this.errors.push(`storage failed: ${error.stack}`),
			},
			{ disk, clock: this.clock, random, logger: this.#logger() },
		);
		this.engine = new Engine(this.broker, { ...OPTIONS, random: random.fork("clients") });
		this.engine.start();
	}

	#logger(): Logger {
		const error = (message: string, fields?: Readonly<Record<string, unknown>>) => {
			const line = `${message} ${JSON.stringify(fields ?? {})}`;
			// A will above a limit is lost, and that is said.
			if (!/^publishing a will failed .*(max\.message\.bytes|max\.retained\.messages)/.test(line))
				this.errors.push(line);
		};
		return { debug() {}, info() {}, warn() {}, error };
	}

	/** Everything that is under way happens; time stands still. */
	async settle(): Promise<void> {
		for (let i = 0; i < 50; i++) {
			await this.clock.settle();
			if (this.broker.log.idle) return;
		}
		throw new Error("the log does not come to rest");
	}

	/** What was stored since the last call. */
	async newRecords(): Promise<LogRecord[]> {
		const records: LogRecord[] = [];
		for (const { name, partitions } of this.broker.topics.list()) {
			for (const partition of partitions) {
				const place = `${name}-${partition.number}`;
				let offset = this.#read.get(place) ?? 0;
				while (offset < partition.highWatermark) {
					const bytes = await partition.read(offset, 1_000_000);
					for (let at = 0; at < bytes.length; ) {
						const header = readBatchHeader(bytes, at);
						const from = offset;
						records.push(...decodeRecords(bytes, at).filter((record) => record.offset >= from));
						at += header.sizeBytes;
						offset = header.lastOffset + 1;
					}
				}
				this.#read.set(place, offset);
			}
		}
		return records;
	}

	/** Forgotten, as a process is that is killed. */
	drop(): void {
		this.clock.drop();
		this.broker.catalog.close();
	}
}
