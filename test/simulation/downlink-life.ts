/**
 * Seeded lives of a gateway that takes topics of a central cluster, a model of Kafka's: over a link that fails in every way,
 * from brokers that crash and leaders that move, topics that get partitions, transactions there that are committed, aborted or
 * open for long, while its own power fails at any instant. In the end what is stored here is what is committed there and wanted.
 */
import { Cluster } from "../../bridge/upstream/client/cluster.ts";
import { Downlink } from "../../bridge/upstream/downlink/downlink.ts";
import { SimulatedClock } from "../../src/base/clock-simulated.ts";
import { isDiskFull } from "../../src/base/errors.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import type { DownlinkRule } from "../../src/config/definition.ts";
import { type EncodableRecord, encodeBatch } from "../../src/record/batch.ts";
import { CALM, ROUGH } from "./kafka-cluster/faults.ts";
import { KafkaModel } from "./kafka-cluster/kafka-model.ts";
import type { PartitionLog } from "./kafka-cluster/partition-log.ts";
import { Violation } from "./log-model.ts";
import { World } from "./world.ts";

const GATEWAY = "gw";
const POWER = /the power|disk is off/;
/** Simulated time in which everything must have arrived once all is well. */
const ARRIVAL_STEPS = 100;
const ARRIVAL_STEP_MS = 15_000;

interface Wanted {
	readonly rule: DownlinkRule;
	fits(key: Buffer | null): boolean;
}

const ALL: Omit<DownlinkRule, "topic" | "to"> = { from: "earliest", retain: false };
const RULES: readonly Wanted[] = [
	{ rule: { ...ALL, topic: "commands", to: "mine", key: "{gateway}/*" }, fits: (key) => isMine(key) },
	{ rule: { ...ALL, topic: "commands", to: "others", key: "other/*" }, fits: (key) => key !== null && !isMine(key) },
	{ rule: { ...ALL, topic: "config", to: "config" }, fits: () => true },
];

function isMine(key: Buffer | null): boolean {
	return key?.toString().startsWith(`${GATEWAY}/`) === true;
}

interface OpenTransaction {
	readonly partition: PartitionLog;
	readonly producerId: number;
}

export interface DownlinkLifeOptions {
	readonly seed: number | string;
	/** Breaks something on purpose after each start, to see it found. */
	readonly sabotage?: (life: DownlinkLife) => void;
}

export class DownlinkLife {
	readonly world: World;
	readonly model: KafkaModel;
	readonly random: SimulatedRandom;
	readonly clock: SimulatedClock;
	readonly story: string[] = [];
	readonly tally = {
		records: 0,
		crashes: 0,
		cuts: 0,
		aborted: 0,
		grown: 0,
		arrived: 0,
		filtered: 0,
		moves: 0,
		full: 0,
	};
	readonly #options: DownlinkLifeOptions;
	#downlink: Downlink | undefined;
	#process = new AbortController();
	#failure: Error | undefined;
	#open: OpenTransaction[] = [];
	#number = 0;
	#producers = 1000;

	constructor(options: DownlinkLifeOptions) {
		this.#options = options;
		this.random = new SimulatedRandom(options.seed);
		this.clock = new SimulatedClock({ random: this.random.fork("clock") });
		this.world = new World(this.random, {
			clock: this.clock,
			journalFileBytes: this.random.pick([128, 256]) * 1024,
			journalFilesMax: 3,
			lingerMs: 0,
			tearNeighbours: this.random.chance(0.5),
			syncMs: this.random.pick([0.2, 2, 10]),
			topicDefaults: { "log.segment.bytes": "8192", "log.retention.ms": "-1" },
		});
		this.model = new KafkaModel({ clock: this.clock, random: this.random, brokers: this.random.between(1, 3) });
		this.model.createTopic("commands", this.random.between(1, 3));
		if (this.random.chance(0.8)) this.model.createTopic("config", 1);
	}

	async run(): Promise<void> {
		if (this.random.chance(0.5)) this.#write();
		await this.#begin();
		for (let step = 60; step > 0; step--) {
			await this.#step();
			if (this.world.disk.off) await this.#crash();
			else if (this.#failure !== undefined) throw this.#failure;
		}
		await this.#end();
	}

	async #begin(): Promise<void> {
		for (;;) {
			try {
				this.world.start();
				break;
			} catch (error) {
				if (!this.world.disk.off) throw error;
				await this.world.crash("kill", this.random);
				this.model.clientDied();
			}
		}
		this.#options.sabotage?.(this);
		const process = new AbortController();
		this.#process = process;
		const downlink = new Downlink({
			broker: this.world.broker,
			cluster: () => this.#newCluster(),
			rules: RULES.map(({ rule }) => rule),
			gatewayId: GATEWAY,
		});
		this.#downlink = downlink;
		downlink.run(process.signal).catch((error: Error) => {
			if (!process.signal.aborted && !this.world.disk.off) this.#failure = error;
		});
	}

	#newCluster(): Cluster {
		const { model, clock, random } = this;
		return new Cluster({
			...{ bootstrap: model.bootstrap, clientId: "headwater", dial: model.dial, sasl: undefined },
			...{ clock, random: random.fork("client"), logger: silentLogger },
			...{ requestTimeoutMs: 5000, connectTimeoutMs: 3000, metadataMaxAgeMs: 300_000 },
		});
	}

	async #step(): Promise<void> {
		const { random, world, model } = this;
		const what = random.weighted({
			...{ write: 30, transaction: 8, endTransaction: 8, time: 20, longTime: 4, checkpoint: 3 },
			...{ rough: 4, calm: 6, cut: 5, restore: 8, leader: 3, brokerCrash: 2, evict: 2, grow: 1, config: 2 },
			...{ arm: 6, crash: 3, stop: 2, full: 2, space: 4 },
		});
		this.story.push(`${this.clock.monotonic().toFixed(0)} ${what}`);
		try {
			if (what === "write") this.#write();
			else if (what === "transaction") this.#beginTransaction();
			else if (what === "endTransaction") this.#endTransaction();
			else if (what === "time") await this.clock.advance(random.pick([5, 50, 500, 3000, 20_000]));
			else if (what === "longTime") await this.clock.advance(random.pick([60_000, 700_000]));
			else if (what === "checkpoint") await world.finish(world.log.checkpoint());
			else if (what === "rough") model.setFaults({ ...ROUGH });
			else if (what === "calm") model.setFaults({ ...CALM });
			else if (what === "cut") this.#cut();
			else if (what === "restore") model.restoreLink();
			else if (what === "leader") this.#moveLeader();
			else if (what === "brokerCrash") model.crashBroker(random.pick([...model.cluster.brokers]).id);
			else if (what === "evict") model.evictFetchSessions();
			else if (what === "grow") this.#grow();
			else if (what === "config") this.#createConfig();
			else if (what === "arm") world.disk.stopAfter(random.between(1, 60));
			else if (what === "stop") await this.#stop();
			else if (what === "full") this.#fill();
			else if (what === "space") this.#makeSpace();
			else world.disk.stop();
		} catch (error) {
			if (!world.disk.off && !POWER.test(String(error)) && !isDiskFull(error)) throw error;
		}
	}

	#topics(): string[] {
		return [...this.model.topics.keys()];
	}

	/** Keys say which partition they are in: a key is in one partition only. */
	#records(partition: number): EncodableRecord[] {
		const { random } = this;
		return Array.from({ length: random.between(1, 12) }, () => {
			this.tally.records++;
			const key = random.chance(0.1)
				? null
				: Buffer.from(`${random.pick([GATEWAY, "other", "other"])}/${partition}-${random.between(0, 3)}`);
			const value = Buffer.from(`${this.#number++}/${"x".repeat(random.pick([0, 10, 100, 3000]))}`);
			const headers = random.chance(0.2) ? [{ key: "h", value: Buffer.from("1") }] : [];
			return { timestamp: this.clock.now() - random.between(0, 1000), key, value, headers };
		});
	}

	#pickPartition(): { log: PartitionLog; number: number } {
		const { partitions } = this.model.cluster.topic(this.random.pick(this.#topics()));
		const number = this.random.between(0, partitions.length - 1);
		return { log: partitions[number] as PartitionLog, number };
	}

	#write(): void {
		const { log, number } = this.#pickPartition();
		for (let i = this.random.between(1, 4); i > 0; i--)
			log.append(encodeBatch(this.#records(number), { codec: this.random.pick(["none", "gzip", "lz4"]) }));
	}

	#beginTransaction(): void {
		const { log, number } = this.#pickPartition();
		const producerId = this.#producers++;
		const transaction = { producerId, producerEpoch: 0, baseSequence: 0, isTransactional: true };
		log.append(encodeBatch(this.#records(number), transaction));
		this.#open.push({ partition: log, producerId });
		if (this.random.chance(0.5)) log.append(encodeBatch(this.#records(number)));
	}

	#endTransaction(): void {
		const transaction = this.#open.shift();
		if (transaction === undefined) return;
		const isCommitted = this.random.chance(0.6);
		if (!isCommitted) this.tally.aborted++;
		transaction.partition.appendMarker(transaction.producerId, 0, isCommitted, this.clock.now());
	}

	#cut(): void {
		this.tally.cuts++;
		this.model.cutLink(this.random.pick(["silently", "with resets"]));
	}

	#moveLeader(): void {
		this.tally.moves++;
		const name = this.random.pick(this.#topics());
		this.model.moveLeader(name, this.random.between(0, this.model.cluster.topic(name).partitions.length - 1));
	}

	#grow(): void {
		this.model.addPartitions("commands", this.model.cluster.topic("commands").partitions.length + 1);
		this.tally.grown++;
	}

	#createConfig(): void {
		if (!this.model.topics.has("config")) this.model.createTopic("config", 2);
	}

	#fill(): void {
		const { disk } = this.world;
		let used = 0;
		for (const bytes of disk.files().values()) used += bytes.length;
		disk.capacityBytes = used + this.random.pick([0, 1000, 20_000]);
		this.tally.full++;
	}

	#makeSpace(): void {
		this.world.disk.capacityBytes = Number.POSITIVE_INFINITY;
	}

	async #stop(): Promise<void> {
		this.#makeSpace();
		this.#process.abort();
		await this.clock.settle();
		await this.world.stop();
		this.model.clientDied();
		await this.#begin();
	}

	async #crash(): Promise<void> {
		this.tally.crashes++;
		this.#makeSpace();
		this.#process.abort();
		await this.world.crash(this.random.chance(0.5) ? "kill" : "power cut", this.random);
		this.model.clientDied();
		await this.#begin();
	}

	async #end(): Promise<void> {
		this.story.push("end");
		this.#makeSpace();
		this.world.disk.stopAfter(Number.POSITIVE_INFINITY);
		this.#createConfig();
		while (this.#open.length > 0) this.#endTransaction();
		this.model.calm();
		for (let i = 0; i < ARRIVAL_STEPS; i++) {
			await this.clock.advance(ARRIVAL_STEP_MS);
			if (this.#failure !== undefined) throw this.#failure;
			// New partitions are looked for every five minutes.
			if (i >= 25 && this.#downlink?.status().every(({ lag }) => lag === 0) === true) break;
		}
		const behind = this.#downlink?.status().filter(({ lag }) => lag !== 0);
		if (behind?.length !== 0) throw new Violation(`never arrives: ${JSON.stringify(behind)}`);
		if (this.model.complaints.length > 0) throw new Violation(this.model.complaints.join("\n"));
		this.#process.abort();
		await this.clock.settle();
		await this.#compare();
	}

	async #compare(): Promise<void> {
		const { partition } = await this.world.observe();
		for (const { rule, fits } of RULES) {
			const here = new Map<string, number>();
			const order = new Map<string, string[]>();
			const count = this.world.broker.topics.get(rule.to)?.partitions.length ?? 0;
			for (let number = 0; number < count; number++)
				for (const { key, value, timestamp, headers } of partition(rule.to, number)?.records ?? []) {
					const line = lineOf(key, value, timestamp, headers.length);
					here.set(line, (here.get(line) ?? 0) + 1);
					if (key !== null) push(order, String(key), line);
				}
			const expected = new Map<string, string[]>();
			for (const number of this.model.cluster.topic(rule.topic).partitions.keys())
				for (const { key, value, timestamp, headers } of this.model.committed(rule.topic, number)) {
					if (!fits(key)) {
						this.tally.filtered++;
						continue;
					}
					const line = lineOf(key, value, timestamp, headers.length);
					const found = here.get(line) ?? 0;
					if (found !== 1) throw new Violation(`${rule.to}: ${line} is here ${found} times`);
					here.delete(line);
					this.tally.arrived++;
					if (key !== null) push(expected, String(key), line);
				}
			for (const line of here.keys()) throw new Violation(`${rule.to}: ${line} is here, and was never committed there`);
			for (const [key, lines] of expected)
				if (JSON.stringify(lines) !== JSON.stringify(order.get(key)))
					throw new Violation(`${rule.to}: the order of ${key} is ${order.get(key)}, not ${lines}`);
		}
	}
}

function lineOf(key: Buffer | null, value: Buffer | null, timestamp: number, headers: number): string {
	return `${key}=${value?.toString("latin1").replace(/x+$/, "")} ${value?.length} @${timestamp} +${headers}`;
}

function push(map: Map<string, string[]>, key: string, line: string): void {
	const list = map.get(key);
	if (list === undefined) map.set(key, [line]);
	else list.push(line);
}
