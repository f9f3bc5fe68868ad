/**
 * Seeded lives of a gateway that replicates to a model of a Kafka cluster, over a link that fails in every way: records with
 * and without keys, transactions here, crashes at any instant, brokers that crash, leaders and coordinators that move, ids that
 * expire, topics that grow, records that are not wanted there. In the end what is committed there is what is stored here.
 */
import type { UpstreamOptions } from "../../bridge/upstream/options.ts";
import { Upstream } from "../../bridge/upstream/upstream.ts";
import { SimulatedClock } from "../../src/base/clock-simulated.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { openUplink } from "../../src/broker/uplink.ts";
import type { UpstreamStatus } from "../../src/broker/upstream-admin.ts";
import type { UpstreamTopicRule } from "../../src/config/definition.ts";
import type { Partition } from "../../src/log/partition.ts";
import { encodeHeadersBlock, encodeKeyBlock } from "../../src/record/builder.ts";
import { compress } from "../../src/record/compression.ts";
import { TransactionalWriter } from "../support/transactional-writer.ts";
import { CALM, ROUGH } from "./kafka-cluster/faults.ts";
import { KafkaModel } from "./kafka-cluster/kafka-model.ts";
import { Violation } from "./log-model.ts";
import { World } from "./world.ts";

export const GATEWAY = "gw";
const POWER = /the power|disk is off/;
const DAY_MS = 86_400_000;
/** Of the central topic "small". */
const SMALL_BYTES = 600;
const NO_LIMIT = { bytesPerSecond: 0, bytesPerDay: 0, bytesPerMonth: 0, reservePercent: 0 };
/** Simulated time in which everything must have arrived once all is well: time-outs and waits are minutes at most. */
const ARRIVAL_STEPS = 400;
const ARRIVAL_STEP_MS = 15_000;
const RULE: Omit<UpstreamTopicRule, "topic"> = {
	...{ to: "{gateway}.{topic}", partitioner: "key", priority: "normal", order: "oldest-first", from: "earliest" },
};

export interface UpstreamLifeOptions {
	readonly seed: number | string;
	readonly steps?: number;
	readonly mode?: UpstreamOptions["mode"];
	/** Breaks something on purpose after each start, to see it found. */
	readonly sabotage?: (life: UpstreamLife) => void;
}

export class UpstreamLife {
	readonly world: World;
	readonly model: KafkaModel;
	readonly random: SimulatedRandom;
	readonly clock: SimulatedClock;
	readonly story: string[] = [];
	readonly tally = {
		...{
			records: 0,
			crashes: 0,
			aborted: 0,
			unwanted: 0,
			transactions: 0,
			cuts: 0,
			expiries: 0,
			arrived: 0,
			aside: 0,
			grown: 0,
		},
	};
	upstream: Upstream | undefined;
	readonly #options: UpstreamLifeOptions;
	readonly #rules: readonly UpstreamTopicRule[];
	/** Topics there that got more partitions: a key's records may be in two of them. */
	readonly #grown = new Set<string>();
	#number = 0;
	#writers = 0;

	constructor(options: UpstreamLifeOptions) {
		this.#options = options;
		this.random = new SimulatedRandom(options.seed);
		this.clock = new SimulatedClock({ random: this.random.fork("clock") });
		this.world = new World(this.random, {
			clock: this.clock,
			journalFileBytes: 256 * 1024,
			journalFilesMax: 3,
			lingerMs: 0,
			tearNeighbours: this.random.chance(0.5),
			syncMs: 2,
			topicDefaults: { "log.segment.bytes": "8192", "log.retention.ms": "-1" },
		});
		this.model = new KafkaModel({ clock: this.clock, random: this.random, brokers: this.random.between(1, 3) });
		this.#rules = [
			{ ...RULE, topic: "alarms", priority: "high" },
			{ ...RULE, topic: "live", order: "live-first" },
			{ ...RULE, topic: "same", partitioner: "same", priority: "low" },
			{ ...RULE, topic: "*" },
		];
	}

	async run(): Promise<void> {
		await this.begin();
		this.#addTopic("telemetry", this.random.between(1, 3));
		this.#addTopic("alarms", 1);
		this.#addTopic("live", 2);
		this.#addTopic("same", 2);
		this.#addTopic("small", 1);
		this.model.createTopic(`${GATEWAY}.small`, 2, { "max.message.bytes": String(SMALL_BYTES) });
		if (this.random.chance(0.5)) this.model.createTopic(`${GATEWAY}.telemetry`, this.random.between(1, 5));
		for (let step = this.#options.steps ?? 60; step > 0; step--) {
			await this.#step();
			if (this.world.disk.off) await this.#crash();
		}
		await this.#end();
	}

	#addTopic(name: string, partitions: number): void {
		this.world.broker.topics.create({ name, partitions });
	}

	async begin(): Promise<void> {
		const { world } = this;
		for (;;) {
			try {
				world.start();
				const { broker } = world;
				const services = { broker, uplink: openUplink(broker, NO_LIMIT), retain: undefined };
				this.upstream = await world.finish(Upstream.open(services, this.#upstreamOptions()));
				break;
			} catch (error) {
				if (!world.disk.off) throw error;
				await world.crash("kill", this.random);
				this.model.clientDied();
			}
		}
		this.#options.sabotage?.(this);
		this.upstream.start();
	}

	#upstreamOptions(): UpstreamOptions {
		const { random, model } = this;
		return {
			...{ gatewayId: GATEWAY, version: "0.0.0", servers: model.bootstrap, dial: model.dial, sasl: undefined },
			mode: this.#options.mode ?? "exactly-once",
			...{ topics: this.#rules, downlink: [], codec: random.pick(["none", "gzip"]), level: 1 },
			compress: async (codec, bytes, level) => compress(codec, bytes, level),
			lingerMs: random.pick([0, 1000, 5000]),
			batchBytes: random.pick([500, 5000, 262_144]),
			transactionBytes: random.pick([1000, 20_000, 1_000_000]),
			transactionTimeoutMs: random.pick([5000, 15_000]),
			...{ requestTimeoutMs: random.pick([3000, 30_000]), window: "" },
			...{ createTopics: true, replicationFactor: -1, partitions: -1, transactionalId: "headwater-gw" },
			...{ progressTopic: "__headwater_progress", progressPartitions: 3, quarantineTopic: "__headwater_quarantine" },
			holdFreeBytes: 0,
		};
	}

	async #step(): Promise<void> {
		const { random, world, model } = this;
		const what = random.weighted({
			...{ append: 30, transaction: 6, commit: 8, time: 20, longTime: 3, checkpoint: 4, unwanted: 3 },
			...{ rough: 4, calm: 6, cut: 5, restore: 8, leader: 2, coordinator: 2, brokerCrash: 2, expire: 1, grow: 1 },
			...{ other: 3, pause: 1, resume: 3, arm: 4, crash: 3, stop: 1 },
		});
		this.#tell(what);
		try {
			if (what === "append") this.#append();
			else if (what === "transaction") await this.#transaction();
			else if (what === "unwanted") this.#unwanted();
			else if (what === "commit") await world.finish(world.log.whenCommitted());
			else if (what === "time") await this.clock.advance(random.pick([10, 500, 3000, 20_000]));
			else if (what === "longTime") await this.clock.advance(random.pick([60_000, 600_000, DAY_MS]));
			else if (what === "checkpoint") await world.finish(world.log.checkpoint());
			else if (what === "rough") model.setFaults({ ...ROUGH });
			else if (what === "calm") model.setFaults({ ...CALM });
			else if (what === "cut") this.#cut();
			else if (what === "restore") model.restoreLink();
			else if (what === "leader") model.moveAnyLeader(random);
			else if (what === "coordinator") model.moveCoordinator("headwater-gw");
			else if (what === "brokerCrash") model.crashBroker(random.pick([...model.cluster.brokers]).id);
			else if (what === "expire") this.#expire();
			else if (what === "grow") this.#grow();
			else if (what === "other") await this.#otherWrites();
			else if (what === "pause") await world.finish((this.upstream as Upstream).pause());
			else if (what === "resume") await world.finish((this.upstream as Upstream).resume());
			else if (what === "arm") world.disk.stopAfter(random.between(1, 100));
			else if (what === "stop") await this.#stop();
			else world.disk.stop();
		} catch (error) {
			if (error instanceof Violation || (!world.disk.off && !POWER.test(String(error)))) throw error;
		}
	}

	#tell(what: string): void {
		this.story.push(`${this.clock.monotonic().toFixed(0)} ${what}`);
	}

	partition(topic: string): Partition {
		const { partitions } = this.world.broker.topics.get(topic) as { partitions: readonly Partition[] };
		return this.random.pick([...partitions]);
	}

	#append(): void {
		const { random } = this;
		const topic = random.pick(["telemetry", "alarms", "live", "same", "small"]);
		for (let i = random.between(1, 12); i > 0; i--) this.append(topic, random.between(1, 80));
	}

	/** Keys say which partition they are in: a key is in one partition only. */
	append(topic: string, bytes: number, timestamp = this.clock.now()): void {
		const partition = this.partition(topic);
		const key = this.random.chance(0.2) ? null : Buffer.from(`${partition.number}-${this.random.between(0, 4)}`);
		const value = Buffer.from(`${topic}/${this.#number++}/${"x".repeat(bytes)}`);
		const headers = encodeHeadersBlock(this.random.chance(0.2) ? [{ key: "h", value: Buffer.from("1") }] : []);
		partition.appendRecord(timestamp, encodeKeyBlock(key), value, 0, value.length, headers);
		this.tally.records++;
	}

	/** Records that the central cluster refuses. */
	#unwanted(): void {
		this.tally.unwanted++;
		if (this.random.chance(0.5)) this.append("small", 2 * SMALL_BYTES);
		else this.append("telemetry", 10, this.clock.now() + 40 * DAY_MS);
	}

	async #transaction(): Promise<void> {
		const { random, world } = this;
		const writer = new TransactionalWriter(world.broker, `local-${this.#writers++}`);
		const partition = this.partition("telemetry");
		const values = Array.from({ length: random.between(1, 3) }, () => `telemetry/${this.#number++}/t`);
		await world.finish(writer.write(partition, `${partition.number}-0`, ...values));
		if (random.chance(0.5)) this.append("telemetry", 10);
		const outcome = random.chance(0.3) ? "abort" : "commit";
		if (outcome === "abort") this.tally.aborted++;
		this.tally.transactions++;
		await world.finish(writer.end(outcome));
	}

	#cut(): void {
		this.tally.cuts++;
		this.model.cutLink(this.random.pick(["silently", "with resets"]));
	}

	#expire(): void {
		if (this.model.expireTransactionalId("headwater-gw")) this.tally.expiries++;
		if (this.random.chance(0.3)) this.model.expireProducers();
	}

	#grow(): void {
		const name = `${GATEWAY}.telemetry`;
		const topic = this.model.topics.get(name);
		if (topic === undefined || topic.knownAtMs > this.clock.monotonic()) return;
		this.model.addPartitions(name, topic.partitions.length + 1);
		this.#grown.add("telemetry");
		this.tally.grown++;
	}

	/** What other gateways do in the progress topic: open transactions that hold back what is stable. */
	async #otherWrites(): Promise<void> {
		await Promise.resolve();
	}

	async #stop(): Promise<void> {
		const { world } = this;
		await world.finish((this.upstream as Upstream).stop(), 5000);
		await world.stop();
		this.model.clientDied();
		await this.begin();
	}

	async #crash(): Promise<void> {
		this.tally.crashes++;
		await this.world.crash(this.random.chance(0.5) ? "kill" : "power cut", this.random);
		this.model.clientDied();
		await this.begin();
	}

	async status(): Promise<UpstreamStatus> {
		return this.world.finish((this.upstream as Upstream).status(), 5000);
	}

	async #end(): Promise<void> {
		this.#tell("end");
		this.world.disk.stopAfter(Number.POSITIVE_INFINITY);
		this.model.calm();
		await this.world.finish((this.upstream as Upstream).resume());
		await this.settle();
		const status = await this.status();
		const lag = status.topics.reduce((sum, { lagRecords }) => sum + lagRecords, 0);
		if (lag > 0)
			throw new Violation(
				`${lag} records never arrive: ${status.state} ${JSON.stringify(status.problem)} ${JSON.stringify(status.topics.map((t) => t.problem))}`,
			);
		this.model.settle();
		if (this.model.complaints.length > 0) throw new Violation(this.model.complaints.join("\n"));
		await this.#compare();
	}

	/** Lets time pass until nothing is left to be sent. */
	async settle(): Promise<void> {
		for (let i = 0; i < ARRIVAL_STEPS; i++) {
			await this.clock.advance(ARRIVAL_STEP_MS);
			const { topics } = await this.status();
			if (topics.every(({ lagRecords }) => lagRecords === 0)) return;
		}
	}

	async #compare(): Promise<void> {
		const { partitions: observed } = await this.#observe();
		const quarantined = new Set(observed.get("__headwater_quarantine-0")?.map(({ origin }) => origin) ?? []);
		for (const topic of ["telemetry", "alarms", "live", "same", "small"]) {
			const here: string[] = [];
			const aside: string[] = [];
			for (const [name, records] of observed) {
				if (name.replace(/-\d+$/, "") !== topic) continue;
				for (const { line, place } of records) (quarantined.has(place) ? aside : here).push(line);
			}
			this.#compareTopic(topic, here, aside);
			for (const line of aside) {
				const [, bytes, timestamp] = line.slice(line.indexOf("=") + 1).split(" ");
				const isUnwanted = topic === "small" ? Number(bytes) > SMALL_BYTES / 2 : Number(timestamp) > this.clock.now();
				if (!isUnwanted) throw new Violation(`${topic}: ${line} is in quarantine for nothing`);
				this.tally.aside++;
			}
		}
	}

	#compareTopic(topic: string, here: readonly string[], aside: readonly string[]): void {
		const name = `${GATEWAY}.${topic}`;
		const there = new Map<string, number>();
		const order = new Map<string, string[]>();
		for (const index of (this.model.topics.get(name)?.partitions ?? []).keys())
			for (const { key, value, timestamp, headers } of this.model.committed(name, index)) {
				const line = lineOf(key, value as Buffer, timestamp, headers);
				there.set(line, (there.get(line) ?? 0) + 1);
				if (key !== null) order.set(String(key), [...(order.get(String(key)) ?? []), line]);
			}
		const isExact = (this.#options.mode ?? "exactly-once") === "exactly-once";
		for (const line of here) {
			const count = there.get(line) ?? 0;
			if (count === 0) throw new Violation(`${topic}: ${line} is stored here and not there`);
			if (count > 1 && isExact) throw new Violation(`${topic}: ${line} is there ${count} times`);
			there.delete(line);
			this.tally.arrived++;
		}
		for (const line of there.keys())
			throw new Violation(
				`${topic}: ${line} is there and ${aside.includes(line) ? "in quarantine" : "not stored"} here`,
			);
		if (!isExact || topic === "live" || this.#grown.has(topic)) return;
		const expected = new Map<string, string[]>();
		for (const line of here) {
			const [key = ""] = line.split("=");
			if (key !== "null") expected.set(key, [...(expected.get(key) ?? []), line]);
		}
		for (const [key, lines] of expected)
			if (lines.join() !== order.get(key)?.join()) throw new Violation(`${topic}: key ${key} is out of order there`);
	}

	async #observe(): Promise<{
		partitions: Map<string, { line: string; place: string; origin: string }[]>;
	}> {
		const partitions = new Map<string, { line: string; place: string; origin: string }[]>();
		for (const { name, partitions: list } of this.world.broker.topics.list())
			for (const partition of list) {
				const records = await this.world.finish(visibleRecords(partition), 5000);
				partitions.set(
					`${name}-${partition.number}`,
					records.map(({ offset, key, value, timestamp, headers }) => {
						const header = (wanted: string) => String(headers.find((each) => each.key === wanted)?.value);
						return {
							line: lineOf(key, value ?? Buffer.alloc(0), timestamp, headers),
							place: `${name}-${partition.number}@${offset}`,
							origin: `${header("headwater.topic")}-${header("headwater.partition")}@${header("headwater.offset")}`,
						};
					}),
				);
			}
		return { partitions };
	}
}

function lineOf(
	key: Buffer | null,
	value: Buffer,
	timestamp: number,
	headers: readonly { readonly key: string; readonly value: Buffer | null }[],
): string {
	return `${key}=${value.toString().slice(0, 30)} ${value.length} ${timestamp} ${headers.map(({ key }) => key).join()}`;
}

/** What everybody may read, in order. */
async function visibleRecords(partition: Partition) {
	const { decodeRecords, readBatchHeader } = await import("../../src/record/batch.ts");
	const records = [];
	for (let offset = partition.logStartOffset; offset < partition.lastStableOffset; ) {
		const bytes = await partition.read(offset, 65_536);
		if (bytes.length === 0) break;
		for (let position = 0; position < bytes.length; ) {
			const header = readBatchHeader(bytes, position);
			if (partition.isVisible(header))
				records.push(...decodeRecords(bytes, position).filter((record) => record.offset >= offset));
			position += header.sizeBytes;
			offset = Math.max(offset, header.lastOffset + 1);
		}
	}
	return records;
}
