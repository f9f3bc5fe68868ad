/**
 * Seeded lives of a gateway that replicates to a model of a Kafka cluster, over a link that fails in every way: records with
 * and without keys, transactions here, crashes at any instant, brokers that crash, leaders and coordinators that move, ids that
 * expire, topics that grow, are made anew here and there, records that are not wanted there or that retention takes, budgets
 * that are used up, rules that change, and a person who does what the status says. In the end what is committed there is what
 * is stored here.
 */
import { Cluster } from "../../bridge/upstream/client/cluster.ts";
import { Producer } from "../../bridge/upstream/client/producer.ts";
import type { UpstreamOptions } from "../../bridge/upstream/options.ts";
import { progressPlace } from "../../bridge/upstream/progress/read-progress.ts";
import { Upstream } from "../../bridge/upstream/upstream.ts";
import { SimulatedClock } from "../../src/base/clock-simulated.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { openUplink } from "../../src/broker/uplink.ts";
import type { ResetTo, UpstreamStatus } from "../../src/broker/upstream-admin.ts";
import type { UpstreamTopicRule } from "../../src/config/definition.ts";
import { deleteRecordsBefore } from "../../src/log/delete-records.ts";
import type { Partition } from "../../src/log/partition.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { encodeHeadersBlock, encodeKeyBlock } from "../../src/record/builder.ts";
import { compress } from "../../src/record/compression.ts";
import { TransactionalWriter } from "../support/transactional-writer.ts";
import { CALM, ROUGH } from "./kafka-cluster/faults.ts";
import { KafkaModel } from "./kafka-cluster/kafka-model.ts";
import { Violation } from "./log-model.ts";
import { UpstreamBook } from "./upstream-book.ts";
import { UpstreamComparison } from "./upstream-comparison.ts";
import { BOOKED, COMPARED, GATEWAY, SMALL_BYTES } from "./upstream-topics.ts";
import { World } from "./world.ts";

const POWER = /the power|disk is off/;
const DAY_MS = 86_400_000;
const NO_LIMIT = { bytesPerSecond: 0, bytesPerDay: 0, bytesPerMonth: 0, reservePercent: 0 };
const PROGRESS = "__headwater_progress";
/** A reset waits for what is under way, and that for the cluster. */
const RESET_STEPS = 40;
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
			...{ resets: 0, plans: 0, deleted: 0, remade: 0, renewed: 0, others: 0, ledger: 0 },
		},
	};
	upstream: Upstream | undefined;
	readonly #options: UpstreamLifeOptions;
	readonly #book: UpstreamBook;
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
		this.#book = new UpstreamBook(() => this.world.broker);
	}

	/** They may be others after each start. */
	#rules(isLast: boolean): readonly UpstreamTopicRule[] {
		const { random } = this;
		const isUsual = isLast || random.chance(0.7);
		return [
			{ ...RULE, topic: "alarms", priority: isUsual ? "high" : "low" },
			{ ...RULE, topic: "live", order: isUsual ? "live-first" : "oldest-first" },
			{ ...RULE, topic: "same", partitioner: "same", priority: isUsual ? "low" : "normal" },
			// What nobody needs retention takes without a word.
			{ ...RULE, topic: "kept" },
			{ ...RULE, topic: isUsual || random.chance(0.5) ? "*" : "t*" },
		];
	}

	async run(): Promise<void> {
		await this.begin();
		this.#addTopic("telemetry", this.random.between(1, 3));
		this.#addTopic("alarms", 1);
		this.#addTopic("live", 2);
		this.#addTopic("same", 2);
		this.#addTopic("small", 1);
		const config = { "segment.bytes": "4096", "retention.bytes": this.random.pick(["0", "4096", "12000"]) };
		this.world.broker.topics.create({ name: "kept", partitions: 2, config });
		this.#addTopic("remade", 2);
		this.#addTopic("renewed", 1);
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

	async begin(isLast = false): Promise<void> {
		const { world, random } = this;
		const isPoor = !isLast && random.chance(0.2);
		const limits = isPoor ? { ...NO_LIMIT, bytesPerDay: random.pick([3000, 20_000]), reservePercent: 20 } : NO_LIMIT;
		for (;;) {
			try {
				world.start();
				const { broker } = world;
				const services = { broker, uplink: openUplink(broker, limits), retain: undefined };
				this.upstream = await world.finish(Upstream.open(services, this.#upstreamOptions(isLast)));
				this.#book.forgetLost();
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

	#upstreamOptions(isLast: boolean): UpstreamOptions {
		const { random, model } = this;
		return {
			...{ gatewayId: GATEWAY, version: "0.0.0", servers: model.bootstrap, dial: model.dial, sasl: undefined },
			mode: this.#options.mode ?? "exactly-once",
			...{ topics: this.#rules(isLast), downlink: [], codec: random.pick(["none", "gzip"]), level: 1 },
			compress: async (codec, bytes, level) => compress(codec, bytes, level),
			lingerMs: random.pick([0, 1000, 5000]),
			batchBytes: random.pick([500, 5000, 262_144]),
			transactionBytes: random.pick([1000, 20_000, 1_000_000]),
			transactionTimeoutMs: random.pick([5000, 15_000]),
			...{ requestTimeoutMs: random.pick([3000, 30_000]), window: "" },
			...{ createTopics: true, replicationFactor: -1, partitions: -1, transactionalId: "headwater-gw" },
			...{ progressTopic: "__headwater_progress", progressPartitions: 3, quarantineTopic: "__headwater_quarantine" },
			holdFreeBytes: random.pick([0, 0, 2 ** 51]),
		};
	}

	async #step(): Promise<void> {
		const { random, world, model } = this;
		const what = random.weighted({
			...{ append: 30, transaction: 6, commit: 8, time: 20, longTime: 3, checkpoint: 4, unwanted: 3 },
			...{ rough: 4, calm: 6, cut: 5, restore: 8, leader: 2, coordinator: 2, brokerCrash: 2, expire: 1, grow: 1 },
			...{ other: 3, pause: 1, resume: 3, arm: 4, crash: 3, stop: 1 },
			...{ plan: 2, reset: 2, person: 3, retention: 3, delete: 2, remake: 1, renew: 0.5 },
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
			else if (what === "rough") model.setFaults({ ...ROUGH, forgottenAbort: 0.3 });
			else if (what === "calm") model.setFaults({ ...CALM });
			else if (what === "cut") this.#cut();
			else if (what === "restore") model.restoreLink();
			else if (what === "leader") model.moveAnyLeader(random);
			else if (what === "coordinator") model.moveCoordinator("headwater-gw");
			else if (what === "brokerCrash") model.crashBroker(random.pick([...model.cluster.brokers]).id);
			else if (what === "expire") this.#expire();
			else if (what === "grow") this.#grow();
			else if (what === "other") await this.#otherWrites();
			else if (what === "plan") this.#reset(random.pick([undefined, "telemetry"]), "progress", true);
			else if (what === "reset") this.#reset(random.pick([undefined, "telemetry", "live"]), "progress", false);
			else if (what === "person") await this.#person();
			else if (what === "retention") world.broker.enforceRetention();
			else if (what === "delete") this.#deleteRecords();
			else if (what === "remake") this.#remake();
			else if (what === "renew") this.#renew();
			else if (what === "pause") await world.finish((this.upstream as Upstream).pause());
			else if (what === "resume") await world.finish((this.upstream as Upstream).resume());
			else if (what === "arm") world.disk.stopAfter(random.between(1, 100));
			else if (what === "stop") await this.restart();
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
		const topic = random.pick([...COMPARED, ...BOOKED]);
		if (this.world.broker.topics.get(topic) === undefined) return;
		for (let i = random.between(1, 12); i > 0; i--) this.append(topic, random.between(1, 80));
	}

	/** Keys say which partition they are in: a key is in one partition only. */
	append(topic: string, bytes: number, timestamp = this.clock.now()): void {
		const partition = this.partition(topic);
		const key = this.random.chance(0.2) ? null : Buffer.from(`${partition.number}-${this.random.between(0, 4)}`);
		const value = Buffer.from(`${topic}/${this.#number++}/${"x".repeat(bytes)}`);
		const headers = encodeHeadersBlock(this.random.chance(0.2) ? [{ key: "h", value: Buffer.from("1") }] : []);
		const offset = partition.appendRecord(timestamp, encodeKeyBlock(key), value, 0, value.length, headers);
		if (BOOKED.includes(topic)) this.#book.note(topic, partition, offset, String(value));
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
		const { model, clock, random } = this;
		const topic = model.topics.get(PROGRESS);
		if (topic === undefined || topic.knownAtMs > clock.monotonic()) return;
		this.tally.others++;
		const producer = this.#otherProducer(`headwater-other-${random.between(0, 2)}`);
		const partition = random.between(0, topic.partitions.length - 1);
		const outcome = random.pick(["commit", "abort", "nothing"] as const);
		const work = writeProgress(producer, partition, `sent/other/t/${random.between(0, 3)}`, {}, outcome);
		void work.catch(() => undefined);
		await clock.advance(random.pick([10, 1000]));
	}

	/** Of somebody who writes where the gateway's progress is. */
	async writeProgress(gateway: string, key: string, value: object): Promise<void> {
		const { partitions } = this.model.topics.get(PROGRESS) as { partitions: readonly unknown[] };
		const { partition } = progressPlace(PROGRESS, partitions.length, gateway);
		await this.world.finish(writeProgress(this.#otherProducer("somebody"), partition, key, value, "commit"));
	}

	#otherProducer(transactionalId: string): Producer {
		const { model, clock, random } = this;
		const times = { requestTimeoutMs: 3000, connectTimeoutMs: 3000, metadataMaxAgeMs: 60_000 };
		const cluster = new Cluster({
			...{ bootstrap: model.bootstrap, clientId: "other", dial: model.dialAs("other"), sasl: undefined },
			...{ clock, random, logger: silentLogger, ...times },
		});
		const transactionTimeoutMs = random.pick([5000, 60_000]);
		const more = { transactionTimeoutMs, deliveryTimeoutMs: 10_000 };
		return new Producer(cluster, { transactionalId, clock, random, ...times, ...more });
	}

	/** As a person does: nobody waits for it here. */
	#reset(topic: string | undefined, to: ResetTo, dryRun: boolean): Promise<void> {
		if (dryRun) this.tally.plans++;
		else this.tally.resets++;
		return (this.upstream as Upstream)
			.reset({ topic, to, dryRun })
			.then(() => this.#tell(`reset ${topic} is done`))
			.catch((error: unknown) => this.#tell(`reset ${topic}: ${String(error)}`));
	}

	/** Does what the status says is to be done. Returns whether there was anything. */
	async #person(): Promise<boolean> {
		const status = await this.status();
		let acted = false;
		for (const { action } of [status, ...status.topics].map(({ problem }) => problem ?? { action: undefined })) {
			const command = /headwater upstream reset(?: --topic (\S+))? --to progress/.exec(action ?? "");
			if (command === null) continue;
			const [, topic] = command;
			acted = true;
			this.#tell(`person: ${action}`);
			await this.#waitFor(this.#reset(topic, "progress", false));
		}
		return acted;
	}

	async #waitFor(work: Promise<void>): Promise<void> {
		let isOver = false;
		void work.then(() => {
			isOver = true;
		});
		for (let i = 0; i < RESET_STEPS && !isOver && !this.world.disk.off; i++) await this.clock.advance(5000);
	}

	#deleteRecords(): void {
		const partition = this.partition("kept");
		const { logStartOffset, highWatermark } = partition;
		if (highWatermark <= logStartOffset) return;
		this.tally.deleted++;
		deleteRecordsBefore(this.world.log, partition, this.random.between(logStartOffset, highWatermark));
	}

	/** The topic here is deleted and made anew: what was not sent of it is lost. */
	#remake(): void {
		this.tally.remade++;
		this.#book.close("remade");
		const { topics } = this.world.broker;
		// A crash may have left it so.
		if (topics.get("remade") !== undefined) topics.delete("remade");
		this.#addTopic("remade", this.random.between(1, 3));
	}

	/** The topic there is deleted, and perhaps made anew. */
	#renew(): void {
		const name = `${GATEWAY}.renewed`;
		const topic = this.model.topics.get(name);
		if (topic === undefined || topic.knownAtMs > this.clock.monotonic()) return;
		this.tally.renewed++;
		this.model.deleteTopic(name);
		if (this.random.chance(0.7)) this.model.createTopic(name, 1);
		this.#book.close("renewed");
	}

	/** In good order. */
	async restart(isLast = false): Promise<void> {
		const { world } = this;
		await world.finish((this.upstream as Upstream).stop(), 5000);
		await world.stop();
		this.model.clientDied();
		await this.begin(isLast);
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
		await this.restart(true);
		await this.world.finish((this.upstream as Upstream).resume());
		await this.settle();
		for (let i = 0; i < 10 && (await this.#person()); i++) await this.settle();
		const status = await this.status();
		const lag = status.topics.reduce((sum, { lagRecords }) => sum + lagRecords, 0);
		if (lag > 0)
			throw new Violation(
				`${lag} records never arrive: ${status.state} ${JSON.stringify(status.problem)} ${JSON.stringify(status.topics.map((t) => t.problem))}`,
			);
		this.model.settle();
		if (this.model.complaints.length > 0) throw new Violation(this.model.complaints.join("\n"));
		await new UpstreamComparison({
			...{ world: this.world, model: this.model, book: this.#book, tally: this.tally, grown: this.#grown },
			...{ clock: this.clock, isExact: (this.#options.mode ?? "exactly-once") === "exactly-once" },
		}).run();
	}

	/** Lets time pass until nothing is left to be sent. */
	async settle(): Promise<void> {
		for (let i = 0; i < ARRIVAL_STEPS; i++) {
			await this.clock.advance(ARRIVAL_STEP_MS);
			const { topics, state } = await this.status();
			if (state === "halted") return;
			if (topics.every(({ lagRecords, problem }) => lagRecords === 0 || /reset/.test(problem?.action ?? ""))) return;
		}
	}
}

async function writeProgress(
	producer: Producer,
	partition: number,
	key: string,
	value: object,
	outcome: "commit" | "abort" | "nothing",
): Promise<void> {
	const { signal } = new AbortController();
	await producer.init(signal);
	const record = { key: Buffer.from(key), value: Buffer.from(JSON.stringify(value)), timestamp: -1, headers: [] };
	await producer.send([{ topic: PROGRESS, partition, batch: encodeBatch([record]), count: 1 }], signal);
	if (outcome !== "nothing") await producer[outcome](signal);
}
