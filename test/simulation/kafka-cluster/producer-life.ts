/**
 * A life of the client's producer against the model of a cluster in which everything goes wrong: it ships numbered records in
 * transactions with its progress, as replication does, dies now and then, and finds out after each trouble where it was.
 */
import { listOffset } from "../../../bridge/upstream/client/admin.ts";
import { Attempts } from "../../../bridge/upstream/client/attempts.ts";
import { Cluster } from "../../../bridge/upstream/client/cluster.ts";
import { CommittedView } from "../../../bridge/upstream/client/committed.ts";
import { fetchPartition } from "../../../bridge/upstream/client/fetch.ts";
import { KafkaError } from "../../../bridge/upstream/client/kafka-error.ts";
import { LinkError } from "../../../bridge/upstream/client/link-error.ts";
import { type OutgoingBatch, Producer } from "../../../bridge/upstream/client/producer.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { decodeRecords, encodeBatch } from "../../../src/record/batch.ts";
import type { NetworkFaults } from "./faults.ts";
import { KafkaModel } from "./kafka-model.ts";

export interface ProducerLifeOptions {
	readonly seed: string;
	readonly shipments: number;
	readonly network: Partial<NetworkFaults>;
	/** Of each shipment: the process dies in the middle of it. */
	readonly dies: number;
	/** Of each part of a transaction: it is aborted behind it, for no reason. */
	readonly aborts: number;
	/** Left out: in transactions. Otherwise idempotent batches, with the progress kept at home. */
	readonly isTransactional?: boolean;
	/** How long a batch is tried. */
	readonly patienceMs?: number;
}

const PARTITIONS = 3;
const DATA = "data";
const PROGRESS = "progress";

export class ProducerLife {
	readonly clock: SimulatedClock;
	readonly model: KafkaModel;
	readonly random: SimulatedRandom;
	/** How often each kind of trouble was met, by its name. */
	readonly troubles = new Map<string, number>();
	/** Epochs with which transactions were sent. */
	readonly epochs = new Set<string>();
	deaths = 0;
	readonly #options: ProducerLifeOptions;
	#next = 0;
	#process = new AbortController();
	#cluster!: Cluster;
	#producer!: Producer;

	constructor(options: ProducerLifeOptions) {
		const random = new SimulatedRandom(options.seed);
		this.#options = options;
		this.random = random.fork("life");
		this.clock = new SimulatedClock({ random: random.fork("clock") });
		this.model = new KafkaModel({ clock: this.clock, random, brokers: 2, network: options.network });
		this.model.createTopic(DATA, PARTITIONS);
		this.model.createTopic(PROGRESS, 1, { "cleanup.policy": "compact" });
		this.#boot();
	}

	#boot(): void {
		const { clock, model, random } = this;
		const client = random.fork(`client ${this.deaths}`);
		this.#process = new AbortController();
		this.#cluster = new Cluster({
			bootstrap: model.bootstrap,
			clientId: "life",
			dial: model.dial,
			sasl: undefined,
			clock,
			random: client,
			logger: silentLogger,
			requestTimeoutMs: 5000,
			connectTimeoutMs: 3000,
			metadataMaxAgeMs: 300_000,
		});
		this.#producer = new Producer(this.#cluster, {
			transactionalId: this.#isTransactional ? "life" : undefined,
			transactionTimeoutMs: 15_000,
			requestTimeoutMs: 5000,
			deliveryTimeoutMs: this.#options.patienceMs ?? 20_000,
			clock,
			random: client,
		});
	}

	get #isTransactional(): boolean {
		return this.#options.isTransactional ?? true;
	}

	/** Until all is shipped and the cluster has come to rest. Throws where that never happens. */
	async run(): Promise<void> {
		let done = false;
		let failure: unknown;
		const ended = this.#live().then(
			() => {
				done = true;
			},
			(error: unknown) => {
				failure = error;
				done = true;
			},
		);
		for (let i = 0; !done; i++) {
			if (i > 500_000) throw new Error(`seed ${this.#options.seed}: no end; ${this.#next} shipped`);
			if (!(await this.clock.advanceToNext()) && !done) throw new Error(`seed ${this.#options.seed}: nothing goes on`);
		}
		await ended;
		if (failure !== undefined) throw failure;
		this.#cluster.close();
		this.model.settle();
	}

	async #live(): Promise<void> {
		const { shipments, dies } = this.#options;
		let isReady = false;
		for (let troubles = 0; this.#next < shipments; ) {
			const { signal } = this.#process;
			if (this.random.chance(dies)) this.#dieIn(this.random.between(0, 2000));
			try {
				if (!isReady) await this.#recover(signal);
				if (this.#next === shipments) return;
				isReady = false;
				await this.#ship(signal);
				isReady = true;
				this.#next++;
				if (this.random.chance(0.1)) await this.#rest();
			} catch (error) {
				if (signal.aborted) {
					this.#boot();
					continue;
				}
				this.#note(error);
				if (troubles++ > 2000) throw error;
				const { clock, random } = this;
				await new Attempts({ clock, random, patienceMs: 1000, signal: new AbortController().signal }).again();
			}
		}
	}

	#dieIn(ms: number): void {
		const process = this.#process;
		this.clock.after(ms, () => {
			if (process !== this.#process || process.signal.aborted) return;
			this.deaths++;
			process.abort(new Error("killed"));
			this.#cluster.close();
		});
	}

	async #rest(): Promise<void> {
		const { promise, resolve } = Promise.withResolvers<void>();
		this.clock.after(this.random.between(0, 30_000), () => resolve());
		await promise;
	}

	#note(error: unknown): void {
		if (!(error instanceof KafkaError || error instanceof LinkError)) throw error;
		const name = error instanceof KafkaError ? error.name_ : error.failure;
		this.troubles.set(name, (this.troubles.get(name) ?? 0) + 1);
		if (error instanceof KafkaError && error.errorClass === "fenced") this.#producer.forget();
		if (error instanceof KafkaError && error.errorClass === "fatal") throw error;
	}

	async #recover(signal: AbortSignal): Promise<void> {
		if (!this.#isTransactional) {
			// What goes wrong later it gets over by itself.
			if (this.#producer.producerId < 0) await this.#producer.init(signal);
			return;
		}
		await this.#producer.init(signal);
		const cluster = this.#cluster;
		let offset = await listOffset(cluster, PROGRESS, 0, "earliest", signal);
		const end = await listOffset(cluster, PROGRESS, 0, "committed", signal);
		const view = new CommittedView();
		let next = 0;
		while (offset < end) {
			const options = { isolation: "committed", maxBytes: 10_000, maxWaitMs: 100, signal } as const;
			const fetched = await fetchPartition(cluster, PROGRESS, 0, offset, options);
			offset = view.walk(fetched, offset, (bytes, position) => {
				for (const { value } of decodeRecords(bytes, position)) next = Number(value) + 1;
			});
		}
		this.#next = next;
	}

	async #ship(signal: AbortSignal): Promise<void> {
		const { random } = this;
		const batches: OutgoingBatch[] = [];
		for (let partition = 0; partition < PARTITIONS; partition++) {
			for (const values of this.#batchesOf(this.#next, partition)) batches.push(this.#batch(DATA, partition, values));
		}
		this.epochs.add(`${this.#producer.producerId}/${this.#producer.epoch}`);
		if (!this.#isTransactional) {
			const failed = (await this.#producer.send(batches, signal)).find(({ error }) => error !== undefined);
			if (failed?.error !== undefined) throw failed.error;
			return;
		}
		const progress = this.#batch(PROGRESS, 0, [String(this.#next)]);
		for (const part of random.chance(0.5) ? [[...batches, progress]] : [batches, [progress]]) {
			const failed = (await this.#producer.send(part, signal)).find(({ error }) => error !== undefined);
			if (failed === undefined && !random.chance(this.#options.aborts)) continue;
			await this.#producer.abort(signal);
			throw failed?.error ?? new LinkError("lost", "changed its mind");
		}
		await this.#producer.commit(signal);
	}

	/** The values of a shipment for a partition: the same whenever it is shipped. */
	#recordsOf(shipment: number, partition: number): string[] {
		const random = new SimulatedRandom(`${this.#options.seed} ${shipment} ${partition}`);
		return Array.from({ length: random.between(0, 8) }, (_, i) => `${shipment}.${i}`);
	}

	/** In batches, which need not be the same when it is shipped again. */
	#batchesOf(shipment: number, partition: number): string[][] {
		const batches: string[][] = [];
		for (const value of this.#recordsOf(shipment, partition)) {
			if (batches.length === 0 || this.random.chance(0.4)) batches.push([]);
			batches.at(-1)?.push(value);
		}
		return batches;
	}

	#batch(topic: string, partition: number, values: readonly string[]): OutgoingBatch {
		const records = values.map((value) => ({
			timestamp: this.clock.now(),
			key: Buffer.from("k"),
			value: Buffer.from(value),
			headers: [],
		}));
		return { topic, partition, batch: encodeBatch(records), count: values.length };
	}

	/** What a reader of committed records sees, and what it is to see, by partition. */
	verdict(): { readonly found: string[][]; readonly expected: string[][] } {
		const found: string[][] = [];
		const expected: string[][] = [];
		for (let partition = 0; partition < PARTITIONS; partition++) {
			found.push(this.model.committed(DATA, partition).map(({ value }) => String(value)));
			const all: string[] = [];
			for (let i = 0; i < this.#options.shipments; i++) all.push(...this.#recordsOf(i, partition));
			expected.push(all);
		}
		return { found, expected };
	}
}
