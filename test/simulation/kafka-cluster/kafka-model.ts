/**
 * A model of an Apache Kafka cluster behind the client's `Dial`: wire bytes in and out, deterministic for a seed, with
 * whatever can go wrong on the way and in the cluster. Also what stands in the cluster in the end, for whoever verifies.
 *
 *     const model = new KafkaModel({ clock, random, brokers: 3, network: ROUGH });
 *     model.createTopic("t", 4);
 *     … client over model.dial, model.bootstrap …
 *     model.settle(); model.committed("t", 0);
 *
 * It gives the guarantees of a cluster that loses nothing acknowledged; it models no replication, no quotas by bytes, no
 * access control but a topic's `refusal`, no groups, no transactions version 2 towards the client, no TLS and no SASL.
 */

import { explainUnreachable, place } from "../../../bridge/upstream/client/link-faults.ts";
import type { Dial, Transport } from "../../../bridge/upstream/client/transport.ts";
import type { Clock } from "../../../src/base/clock.ts";
import type { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Address } from "../../../src/config/definition.ts";
import { decodeRecords } from "../../../src/record/batch.ts";
import { type AnyModelApi, modelApis } from "./apis.ts";
import { ClusterState, type ModelBroker, type ModelTopic } from "./cluster-state.ts";
import { type ConnectionHost, ModelConnection } from "./connection.ts";
import { Complaint, dispatch } from "./dispatch.ts";
import { CALM, type NetworkFaults } from "./faults.ts";
import { Fetches } from "./fetch.ts";
import { Timeline } from "./timeline.ts";
import { Transactions } from "./transactions.ts";

export interface KafkaModelOptions {
	readonly clock: Clock;
	readonly random: SimulatedRandom;
	readonly brokers: number;
	/** What is left out is as in CALM. */
	readonly network?: Partial<NetworkFaults>;
	/** Of older brokers: the highest version of an API by its name ("Produce"), where it is lower than Kafka 4.3's. */
	readonly versionsAtMost?: Readonly<Record<string, number>>;
}

export interface CommittedRecord {
	readonly offset: number;
	readonly timestamp: number;
	readonly key: Buffer | null;
	readonly value: Buffer | null;
	readonly headers: readonly { readonly key: string; readonly value: Buffer | null }[];
}

export class KafkaModel {
	readonly cluster: ClusterState;
	readonly transactions: Transactions;
	/** Arrived at a broker, by API ("ProduceRequest"). */
	readonly requests = new Map<string, number>();
	/** On all connections ever. */
	sentBytes = 0;
	receivedBytes = 0;
	/** Tried, whatever came of them. */
	dials = 0;
	/** What a client must never do; empty for a sound one. */
	readonly complaints: string[] = [];
	readonly #timeline: Timeline;
	readonly #fetches: Fetches;
	readonly #random: SimulatedRandom;
	readonly #apis: ReadonlyMap<number, AnyModelApi>;
	readonly #connections = new Set<ModelConnection>();
	readonly #host: ConnectionHost;
	#faults: NetworkFaults;
	#isLinkUp = true;
	#dialling: { readonly client: string }[] = [];

	constructor({ clock, random, brokers, network = {}, versionsAtMost = {} }: KafkaModelOptions) {
		this.#faults = { ...CALM, ...network };
		this.#random = random.fork("kafka-network");
		this.#timeline = new Timeline(clock);
		this.#host = this.#hostOf();
		const ofCluster = random.fork("kafka-cluster");
		this.cluster = new ClusterState(this.#timeline, ofCluster, brokers);
		this.cluster.onCrash = (broker) => {
			for (const connection of [...this.#connections]) if (connection.brokerId === broker.id) connection.crash();
		};
		const markerMs = () => {
			const faults = this.#faults;
			return ofCluster.between(...(ofCluster.chance(faults.slowMarker) ? faults.slowMarkerMs : faults.markerMs));
		};
		this.transactions = new Transactions(this.cluster, ofCluster.fork("transactions"), markerMs, () =>
			ofCluster.chance(this.#faults.forgottenAbort),
		);
		this.#fetches = new Fetches(this.cluster);
		this.#apis = modelApis({
			versionsAtMost,
			unknownMs: () => this.#between(this.#faults.unknownMs),
			cluster: this.cluster,
			transactions: this.transactions,
			fetches: this.#fetches,
			isBusy: () => ofCluster.chance(this.#faults.busy),
			failsAfterAppend: () => ofCluster.chance(this.#faults.errorAfterAppend),
		});
	}

	/** For a client that is the only one. */
	readonly dial: Dial = this.dialAs("gateway");

	get bootstrap(): readonly Address[] {
		return this.cluster.brokers.map(({ address }) => address);
	}

	get topics(): ReadonlyMap<string, ModelTopic> {
		return this.cluster.topics;
	}

	createTopic(name: string, partitions: number, configs: Readonly<Record<string, string>> = {}): ModelTopic {
		return this.cluster.createTopic(name, partitions, configs, 0);
	}

	addPartitions(name: string, total: number): void {
		this.cluster.addPartitions(name, total);
	}

	/** With all that is in it. Whoever creates it again creates another one. */
	deleteTopic(name: string): ModelTopic {
		const topic = this.cluster.existing(name);
		this.cluster.topics.delete(name);
		return topic;
	}

	/** Every write is refused with `code` from now on; undefined: none is any more. */
	refuseTopic(name: string, code: number | undefined): void {
		this.cluster.existing(name).refusal = code;
	}

	/** False: it is open or ending, and stays. */
	expireTransactionalId(id: string): boolean {
		return this.transactions.expire(id);
	}

	/** Partitions forget what producers sent. */
	expireProducers(): void {
		for (const { partitions } of this.topics.values()) for (const partition of partitions) partition.forgetProducers();
	}

	evictFetchSessions(): void {
		this.#fetches.evictSessions();
	}

	/** As retention does it. */
	deleteBefore(topic: string, partition: number, offset: number): void {
		this.cluster.partition(this.cluster.existing(topic), partition).deleteBefore(offset);
	}

	/** As the log cleaner does it. */
	compact(topic: string, partition: number): void {
		this.cluster.partition(this.cluster.existing(topic), partition).compact();
	}

	moveLeader(topic: string, partition: number): void {
		this.cluster.moveLeader(this.cluster.existing(topic), partition, this.#between(this.#faults.staleMs));
	}

	/** Of a topic that `random` picks. */
	moveAnyLeader(random: SimulatedRandom): void {
		const known = [...this.topics.values()].filter(({ knownAtMs }) => knownAtMs <= this.#timeline.nowMs);
		if (known.length === 0) return;
		const { name, partitions } = random.pick(known);
		this.moveLeader(name, random.between(0, partitions.length - 1));
	}

	moveCoordinator(transactionalId: string): void {
		this.cluster.moveCoordinator(`transaction/${transactionalId}`, this.#between(this.#faults.loadMs));
	}

	crashBroker(id: number): void {
		const downMs = this.#between(this.#faults.downMs);
		this.cluster.crash(this.cluster.broker(id), Math.min(downMs, this.#between(this.#faults.loadMs)), downMs);
	}

	/** From now on nothing goes wrong; what has gone wrong takes its course. */
	calm(): void {
		this.#faults = { ...CALM, idleMs: this.#faults.idleMs };
		this.restoreLink();
	}

	setFaults(faults: Partial<NetworkFaults>): void {
		this.#faults = { ...this.#faults, ...faults };
	}

	/** Between the gateway and all brokers. `silently`: nobody is told; what is on its way to the brokers still arrives. */
	cutLink(how: "silently" | "with resets"): void {
		this.#isLinkUp = false;
		for (const connection of [...this.#connections]) {
			if (how === "silently") connection.silence();
			else connection.reset();
		}
	}

	restoreLink(): void {
		this.#isLinkUp = true;
	}

	/**
	 * The process is gone, and the clock has dropped its timers: nobody is told anything; what it wrote still arrives. Left
	 * out: every client's.
	 */
	clientDied(client?: string): void {
		const isGone = (each: string) => client === undefined || each === client;
		this.#dialling = this.#dialling.filter((each) => !isGone(each.client));
		for (const connection of [...this.#connections]) if (isGone(connection.client)) connection.destroy();
		this.#timeline.rearm();
	}

	/**
	 * The end: what is on its way arrives, every open transaction is timed out, every marker written. No time passes. No
	 * client is told anything any more.
	 */
	settle(): void {
		this.clientDied();
		this.calm();
		this.cluster.recover();
		// Among it the end of every transaction's time.
		this.#timeline.runAll();
	}

	/** What a reader of committed records sees now, from the start of the log. */
	committed(topic: string, partition: number): CommittedRecord[] {
		const log = this.cluster.partition(this.cluster.existing(topic), partition);
		const records: CommittedRecord[] = [];
		for (const batch of log.batches) {
			if (batch.header.isControl || batch.header.baseOffset >= log.lastStableOffset || log.isAborted(batch)) continue;
			records.push(...decodeRecords(batch.bytes).filter(({ offset }) => offset >= log.logStartOffset));
		}
		return records;
	}

	/** What a client of that name dials with. */
	dialAs(client: string): Dial {
		return (address, handler, signal) =>
			new Promise<Transport>((resolve, reject) => {
				this.dials += 1;
				const attempt = { client };
				const aborted = () => reject(signal.reason);
				if (signal.aborted) {
					aborted();
					return;
				}
				signal.addEventListener("abort", aborted, { once: true });
				if (!this.#isLinkUp || this.#random.chance(this.#faults.unanswered)) return;
				const isRefused = this.#random.chance(this.#faults.refused);
				this.#dialling.push(attempt);
				this.#timeline.after(2 * this.#between(this.#faults.latencyMs), () => {
					const isWaitedFor = this.#dialling.includes(attempt) && !signal.aborted;
					this.#dialling = this.#dialling.filter((each) => each !== attempt);
					if (!isWaitedFor) return;
					signal.removeEventListener("abort", aborted);
					const { host, port } = address;
					const broker = this.cluster.up.find((each) => each.address.host === host && each.address.port === port);
					if (broker === undefined || isRefused || !this.#isLinkUp) {
						const error = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
						reject(explainUnreachable(error, place(address)));
						return;
					}
					const connection = new ModelConnection(this.#host, broker.id, client, handler);
					this.#connections.add(connection);
					resolve(connection);
				});
			});
	}

	#hostOf(): ConnectionHost {
		const faults = () => this.#faults;
		return {
			timeline: this.#timeline,
			random: this.#random,
			get faults() {
				return faults();
			},
			handle: (connection, frame, respond) => this.#handle(connection, frame, respond),
			carried: (sentBytes, receivedBytes) => {
				this.sentBytes += sentBytes;
				this.receivedBytes += receivedBytes;
			},
			ended: (connection) => this.#connections.delete(connection),
		};
	}

	#handle(
		connection: ModelConnection,
		frame: Buffer,
		respond: (answer: Buffer | undefined, muteMs: number) => void,
	): void {
		const random = this.#random;
		const broker = this.cluster.broker(connection.brokerId);
		this.#stir(broker);
		if (!broker.isUp) return;
		const throttleMs = random.chance(this.#faults.throttled) ? this.#between(this.#faults.throttleMs) : 0;
		try {
			const { name, run } = dispatch(this.#apis, broker, frame, throttleMs);
			this.requests.set(name, (this.requests.get(name) ?? 0) + 1);
			run((answer) => respond(answer, throttleMs));
		} catch (error) {
			if (!(error instanceof Complaint)) throw error;
			this.complaints.push(error.message);
			connection.crash();
		}
	}

	/** What happens in the cluster happens when it is asked something: an idle one leaves the clock alone. */
	#stir(broker: ModelBroker): void {
		const random = this.#random;
		if (random.chance(this.#faults.crash)) this.crashBroker(broker.id);
		if (random.chance(this.#faults.leaderMove)) this.moveAnyLeader(random);
		const ids = [...this.transactions.states.keys()];
		if (random.chance(this.#faults.coordinatorMove) && ids.length > 0) this.moveCoordinator(random.pick(ids));
	}

	#between(span: readonly [number, number]): number {
		return this.#random.between(...span);
	}
}
