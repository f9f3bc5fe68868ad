/**
 * What all brokers of the cluster share: who is up, the topics, who leads a partition and who coordinates an id, and how
 * that changes: brokers crash and come back, leaders and coordinators move, and for a while the old answers are still told.
 */
import type { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Address } from "../../../src/config/definition.ts";
import { CODES, Refusal } from "./codes.ts";
import { PartitionLog } from "./partition-log.ts";
import type { Timeline } from "./timeline.ts";

export interface ModelBroker {
	readonly id: number;
	readonly address: Address;
	isUp: boolean;
	/** Counts its lives: what it holds in memory (fetch sessions, connections) ends with each. */
	life: number;
}

export interface ModelTopic {
	readonly name: string;
	readonly id: string;
	/** Those that were set. */
	readonly configs: Map<string, string>;
	readonly partitions: PartitionLog[];
	/** Every write is refused with it, where it is a number. */
	refusal: number | undefined;
	/** Until then the brokers know nothing of it. */
	knownAtMs: number;
}

interface Coordinator {
	node: number;
	loadedAtMs: number;
}

/** What topics have that is not set. */
export const TOPIC_DEFAULTS: Readonly<Record<string, string>> = {
	"cleanup.policy": "delete",
	"compression.type": "producer",
	"max.message.bytes": "1048588",
	"message.timestamp.after.max.ms": "3600000",
	"message.timestamp.before.max.ms": "9223372036854775807",
	"message.timestamp.type": "CreateTime",
	"min.insync.replicas": "1",
	"retention.bytes": "-1",
	"retention.ms": "604800000",
	"segment.bytes": "1073741824",
};

export class ClusterState {
	readonly clusterId: string;
	readonly brokers: readonly ModelBroker[];
	readonly topics = new Map<string, ModelTopic>();
	readonly timeline: Timeline;
	readonly #random: SimulatedRandom;
	readonly #coordinators = new Map<string, Coordinator>();
	/** Called after a crash: connections to the broker end. */
	onCrash: (broker: ModelBroker) => void = () => {};

	constructor(timeline: Timeline, random: SimulatedRandom, brokers: number) {
		this.timeline = timeline;
		this.#random = random;
		this.clusterId = random.bytes(16).toString("base64url");
		this.brokers = Array.from({ length: brokers }, (_, i) => ({
			id: i + 1,
			address: { host: `kafka-${i + 1}`, port: 9092 },
			isUp: true,
			life: 1,
		}));
	}

	get up(): readonly ModelBroker[] {
		return this.brokers.filter(({ isUp }) => isUp);
	}

	broker(id: number): ModelBroker {
		const broker = this.brokers.find((each) => each.id === id);
		if (broker === undefined) throw new Error(`there is no broker ${id}`);
		return broker;
	}

	/** The brokers know of it after `unknownMs`. Throws Refusal. */
	createTopic(
		name: string,
		partitions: number,
		configs: Readonly<Record<string, string>>,
		unknownMs: number,
	): ModelTopic {
		if (this.topics.has(name)) throw new Refusal(CODES.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists.`);
		if (!/^[a-zA-Z0-9._-]{1,249}$/.test(name) || name === "." || name === "..")
			throw new Refusal(CODES.INVALID_TOPIC_EXCEPTION, `'${name}' is no name of a topic`);
		if (partitions < 1) throw new Refusal(CODES.INVALID_PARTITIONS, "Number of partitions must be larger than 0.");
		for (const key of Object.keys(configs))
			if (TOPIC_DEFAULTS[key] === undefined)
				throw new Refusal(CODES.INVALID_CONFIG, `Unknown topic config name: ${key}`);
		const hex = this.#random.bytes(16).toString("hex");
		const id = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
		const topic: ModelTopic = {
			name,
			id,
			configs: new Map(Object.entries(configs)),
			partitions: [],
			refusal: undefined,
			knownAtMs: this.timeline.nowMs + unknownMs,
		};
		this.topics.set(name, topic);
		this.#fill(topic, partitions);
		return topic;
	}

	/** Until there are `total`. */
	addPartitions(name: string, total: number): void {
		this.#fill(this.existing(name), total);
	}

	#fill({ partitions }: ModelTopic, total: number): void {
		while (partitions.length < total) partitions.push(new PartitionLog(this.#anyUp(-1)));
	}

	/** Whether or not the brokers know of it yet. */
	existing(name: string): ModelTopic {
		const topic = this.topics.get(name);
		if (topic === undefined) throw new Refusal(CODES.UNKNOWN_TOPIC_OR_PARTITION, `there is no topic ${name}`);
		return topic;
	}

	topic(name: string): ModelTopic {
		const topic = this.existing(name);
		if (topic.knownAtMs > this.timeline.nowMs)
			throw new Refusal(CODES.UNKNOWN_TOPIC_OR_PARTITION, `nobody knows of ${name} yet`);
		return topic;
	}

	topicWithId(id: string): ModelTopic {
		for (const topic of this.topics.values())
			if (topic.id === id && topic.knownAtMs <= this.timeline.nowMs) return topic;
		throw new Refusal(CODES.UNKNOWN_TOPIC_ID, `there is no topic with id ${id}`);
	}

	partition(topic: ModelTopic, number: number): PartitionLog {
		const partition = topic.partitions[number];
		if (partition === undefined)
			throw new Refusal(CODES.UNKNOWN_TOPIC_OR_PARTITION, `${topic.name} has no partition ${number}`);
		return partition;
	}

	/** The partition, where `broker` leads it. Throws Refusal. */
	ledBy(broker: ModelBroker, topic: ModelTopic, number: number): PartitionLog {
		const partition = this.partition(topic, number);
		if (partition.leader !== broker.id)
			throw new Refusal(CODES.NOT_LEADER_OR_FOLLOWER, `${broker.id} does not lead ${topic.name}-${number}`);
		return partition;
	}

	config(topic: ModelTopic, key: string): string {
		return topic.configs.get(key) ?? TOPIC_DEFAULTS[key] ?? "";
	}

	/** Who coordinates `key` ("transaction/…" or "group/…"); -1: nobody now. */
	coordinatorOf(key: string): number {
		let coordinator = this.#coordinators.get(key);
		if (coordinator === undefined) {
			coordinator = { node: this.#anyUp(-1), loadedAtMs: 0 };
			this.#coordinators.set(key, coordinator);
		}
		if (coordinator.node < 0) coordinator.node = this.#anyUp(-1);
		return coordinator.node;
	}

	/** Undefined asks in the cluster's own name. Throws Refusal where it cannot answer for `key` now. */
	checkCoordinator(broker: ModelBroker | undefined, key: string): void {
		const node = this.coordinatorOf(key);
		if (node < 0) throw new Refusal(CODES.COORDINATOR_NOT_AVAILABLE, "no broker is up");
		if (broker !== undefined && node !== broker.id)
			throw new Refusal(CODES.NOT_COORDINATOR, `${broker.id} does not coordinate ${key}`);
		if ((this.#coordinators.get(key) as Coordinator).loadedAtMs > this.timeline.nowMs)
			throw new Refusal(CODES.COORDINATOR_LOAD_IN_PROGRESS, `${key} is being loaded`);
	}

	/** To another broker, where there is one up; it has to load what the one before knew. */
	moveCoordinator(key: string, loadMs: number): void {
		const coordinator = this.#coordinators.get(key);
		if (coordinator === undefined) return;
		coordinator.node = this.#anyUp(coordinator.node);
		coordinator.loadedAtMs = this.timeline.nowMs + loadMs;
	}

	/** To another broker, where there is one up; the brokers tell of it `staleMs` later. */
	moveLeader(topic: ModelTopic, number: number, staleMs: number): void {
		const partition = this.partition(topic, number);
		const to = this.#anyUp(partition.leader);
		if (to < 0 || to === partition.leader) return;
		this.#setLeader(partition, to, staleMs);
	}

	/** All of its connections end; others take over after `electionMs`; it comes back after `downMs`. */
	crash(broker: ModelBroker, electionMs: number, downMs: number): void {
		if (!broker.isUp) return;
		broker.isUp = false;
		broker.life += 1;
		this.onCrash(broker);
		for (const { partitions } of this.topics.values()) {
			for (const partition of partitions) {
				if (partition.leader === broker.id) partition.leader = -1;
			}
		}
		for (const [key, { node }] of this.#coordinators) if (node === broker.id) this.moveCoordinator(key, electionMs);
		this.timeline.after(electionMs, () => this.#elect());
		this.timeline.after(downMs, () => this.restart(broker));
	}

	restart(broker: ModelBroker): void {
		broker.isUp = true;
		this.#elect();
	}

	/** Every broker is up, every coordinator has loaded, every topic is known. */
	recover(): void {
		for (const broker of this.brokers) if (!broker.isUp) this.restart(broker);
		for (const coordinator of this.#coordinators.values()) coordinator.loadedAtMs = 0;
		for (const topic of this.topics.values()) topic.knownAtMs = 0;
	}

	#elect(): void {
		for (const { partitions } of this.topics.values()) {
			for (const partition of partitions) {
				if (partition.leader >= 0) continue;
				const to = this.#anyUp(-1);
				if (to >= 0) this.#setLeader(partition, to, 0);
			}
		}
	}

	#setLeader(partition: PartitionLog, to: number, staleMs: number): void {
		partition.leader = to;
		partition.leaderEpoch += 1;
		const { leaderEpoch } = partition;
		const announce = () => {
			if (partition.leaderEpoch === leaderEpoch) partition.announcedLeader = to;
		};
		if (staleMs > 0) this.timeline.after(staleMs, announce);
		else announce();
		// Whoever waits for records at the old leader is told.
		for (const watcher of [...partition.watchers]) watcher();
	}

	/** One that is up, another than `not` if there is; -1: none. */
	#anyUp(not: number): number {
		const up = this.up.map(({ id }) => id);
		const others = up.filter((id) => id !== not);
		if (others.length > 0) return this.#random.pick(others);
		return up.length > 0 ? this.#random.pick(up) : -1;
	}
}
