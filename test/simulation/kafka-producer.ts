/**
 * One instance of a transactional producer as a good client has it: asks for one thing at a time, asks again when no
 * answer came, and stops when it is fenced. It does not know whether a newer instance of it has begun.
 */
import { BrokerError } from "../../src/base/errors.ts";
import type { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { appendProducerBatch } from "../../src/broker/append-batch.ts";
import type { Broker } from "../../src/broker/broker.ts";
import type { Partition } from "../../src/log/partition.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { groupOf, type Ledger, type LedgerTransaction, OFFSETS_TOPIC } from "./kafka-ledger.ts";
import { Violation } from "./log-model.ts";

/** What became of a request, as its sender sees it. */
export type Answer =
	| { readonly kind: "done"; readonly value: unknown }
	| { readonly kind: "refused"; readonly code: string; readonly message: string }
	| { readonly kind: "unknown" };

export interface Request {
	readonly what: string;
	/** Asks the broker; throws BrokerError. */
	readonly work: (broker: Broker) => unknown;
	readonly done: (value: never) => void;
	/** It was carried out, whether or not it is durable. */
	readonly carriedOut?: () => void;
}

/** What a producer needs of its life. */
export interface ProducerWorld {
	readonly ledger: Ledger;
	readonly partitions: readonly (readonly [topic: string, number: number])[];
	now(): number;
	nextNumber(): number;
	send(producer: KafkaProducer, request: Request, answered: (answer: Answer) => void): void;
	/** Of a topic that was deleted after `began`, milliseconds of the clock. */
	anyDeletedSince(began: number): boolean;
}

/** Its producer must begin anew. */
const FATAL = ["PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH", "INVALID_TXN_STATE", "INVALID_PRODUCER_ID_MAPPING"];
const TRANSIENT = ["KAFKA_STORAGE_ERROR", "CONCURRENT_TRANSACTIONS"];

export class KafkaProducer {
	readonly transactionalId: string;
	readonly name: string;
	readonly timeoutMs: number;
	/** A newer instance has begun. */
	isSuperseded = false;
	isDead = false;
	identity: { producerId: number; producerEpoch: number } | undefined;
	readonly #world: ProducerWorld;
	readonly #random: SimulatedRandom;
	#sequences = new Map<number, number>();
	#transaction: LedgerTransaction | undefined;
	#beganMs = 0;
	/** What it has still to do in its transaction. */
	#plan: (() => Request)[] = [];
	/** Being asked, or to be asked again. */
	#request: Request | undefined;
	#isWaiting = false;
	/** What it had before it asked to begin anew. */
	#former: { producerId: number; producerEpoch: number } | undefined;

	constructor(world: ProducerWorld, random: SimulatedRandom, transactionalId: string, name: string) {
		this.#world = world;
		this.#random = random;
		this.transactionalId = transactionalId;
		this.name = name;
		this.timeoutMs = random.pick([2000, 20_000, 60_000]);
	}

	get isWaiting(): boolean {
		return this.#isWaiting;
	}

	/** Does what comes next. */
	act(): void {
		if (this.#isWaiting || this.isDead) return;
		this.#request ??= this.#next();
		const request = this.#request;
		this.#isWaiting = true;
		this.#world.send(this, request, (answer) => {
			this.#isWaiting = false;
			this.#answered(request, answer);
		});
	}

	/** After an error that says nothing of the transaction: begins anew, and says what it had. */
	giveUp(): void {
		if (this.#isWaiting || this.identity === undefined || this.#request?.what === "end") return;
		this.#former = this.identity;
		this.#leave();
	}

	#leave(): void {
		this.identity = undefined;
		this.#request = undefined;
		this.#transaction = undefined;
		this.#plan = [];
	}

	#answered(request: Request, answer: Answer): void {
		if (answer.kind === "unknown") return;
		if (answer.kind === "done") {
			this.#request = undefined;
			request.done(answer.value as never);
			return;
		}
		if (TRANSIENT.includes(answer.code)) return;
		// The transaction that it has given up is still open.
		const isOpen = this.#transaction !== undefined || this.#former !== undefined;
		const began = isOpen ? this.#beganMs : Number.POSITIVE_INFINITY;
		const mayBeFenced =
			this.isSuperseded || this.#world.now() - began >= this.timeoutMs || this.#world.anyDeletedSince(began);
		if (answer.code === "UNKNOWN_TOPIC_OR_PARTITION") {
			this.#former = undefined;
			this.#leave();
			return;
		}
		if (!mayBeFenced || !FATAL.includes(answer.code))
			throw new Violation(`${this.name} is alone and in time; ${request.what}: ${answer.code} ${answer.message}`);
		this.isDead = true;
	}

	#next(): Request {
		if (this.identity === undefined) return this.#begin();
		if (this.#transaction === undefined) this.#beginTransaction();
		const step = this.#plan.shift();
		if (step === undefined) throw new Error("a transaction without an end");
		return step();
	}

	#begin(): Request {
		const had = this.#former ?? { producerId: -1, producerEpoch: -1 };
		const { transactionalId, timeoutMs } = this;
		return {
			what: "init",
			work: ({ transactions }) => transactions.initProducerId({ transactionalId, timeoutMs, ...had }),
			done: (identity: { producerId: number; producerEpoch: number }) => {
				this.identity = { producerId: identity.producerId, producerEpoch: identity.producerEpoch };
				this.#former = undefined;
				this.#sequences = new Map();
			},
		};
	}

	#who() {
		return { transactionalId: this.transactionalId, ...(this.identity as NonNullable<KafkaProducer["identity"]>) };
	}

	#beginTransaction(): void {
		const random = this.#random;
		const { ledger, partitions } = this.#world;
		const transaction: LedgerTransaction = {
			number: this.#world.nextNumber(),
			transactionalId: this.transactionalId,
			records: new Map(),
			offset: undefined,
			isCommitAsked: false,
			end: undefined,
		};
		ledger.transactions.set(transaction.number, transaction);
		this.#transaction = transaction;
		this.#beganMs = this.#world.now();
		const mine = partitions.filter(() => random.chance(0.5));
		if (mine.length === 0) mine.push(random.pick(partitions));
		const together = random.chance(0.5);
		const added = together ? [mine] : mine.map((one) => [one]);
		for (const some of added) {
			this.#plan.push(() => this.#add(some));
			for (const [topic, number] of some)
				for (let i = random.between(1, 2); i > 0; i--) this.#plan.push(() => this.#produce(transaction, topic, number));
		}
		if (random.chance(0.5)) this.#plan.push(...this.#offsets(transaction));
		const outcome = random.chance(0.7) ? "commit" : "abort";
		this.#plan.push(() => this.#end(transaction, outcome));
	}

	#add(partitions: readonly (readonly [string, number])[]): Request {
		const by = this.#who();
		return {
			what: "addPartitions",
			work: (broker) =>
				broker.transactions.addPartitions(
					by,
					partitions.map(([topic, number]) => find(broker, topic, number)),
				),
			done: () => {},
		};
	}

	#produce(transaction: LedgerTransaction, topic: string, number: number): Request {
		const random = this.#random;
		const { producerId, producerEpoch } = this.#who();
		const count = random.between(1, 3);
		const padding = "x".repeat(random.pick([0, 10, 500]));
		let written: { id: number; values: string[]; sequence: number } | undefined;
		return {
			what: "produce",
			work: (broker) => {
				const partition = find(broker, topic, number);
				const { id } = partition;
				if (written === undefined) {
					const before = transaction.records.get(id)?.length ?? 0;
					const values = Array.from({ length: count }, (_, i) => `${transaction.number}/${before + i}/${padding}`);
					written = { id, values, sequence: this.#sequences.get(id) ?? 0 };
				}
				const batch = encodeBatch(
					written.values.map((value) => ({
						timestamp: broker.clock.now(),
						key: null,
						value: Buffer.from(value),
						headers: [],
					})),
					{ producerId, producerEpoch, baseSequence: written.sequence, isTransactional: true },
				);
				const { transactionalId } = this;
				const limits = { transactionalId, decompressedBytes: 1_000_000, allowsZstd: true };
				return { id, ...appendProducerBatch(broker, partition, batch, limits) };
			},
			done: ({ id, baseOffset }: { id: number; baseOffset: number }) => {
				const { values, sequence } = written as NonNullable<typeof written>;
				const list = transaction.records.get(id) ?? [];
				values.forEach((value, i) => void list.push({ value, offset: baseOffset + i }));
				transaction.records.set(id, list);
				this.#sequences.set(id, sequence + values.length);
			},
		};
	}

	#offsets(transaction: LedgerTransaction): (() => Request)[] {
		const group = groupOf(this.transactionalId);
		const entry = { topic: OFFSETS_TOPIC, partition: 0, offset: transaction.number, leaderEpoch: -1, metadata: "" };
		return [
			() => {
				const by = this.#who();
				return { what: "addOffsets", work: ({ transactions }) => transactions.addGroup(by, group), done: () => {} };
			},
			() => {
				const by = this.#who();
				return {
					what: "commitOffsets",
					work: ({ transactions }) => transactions.commitOffsets(by, group, [entry]),
					done: () => {
						transaction.offset = transaction.number;
					},
				};
			},
		];
	}

	#end(transaction: LedgerTransaction, outcome: "commit" | "abort"): Request {
		const by = this.#who();
		return {
			what: "end",
			work: ({ transactions }) => transactions.end(by, outcome),
			carriedOut: () => {
				if (outcome === "commit") transaction.isCommitAsked = true;
			},
			done: () => {
				transaction.end = outcome;
				this.#transaction = undefined;
			},
		};
	}
}

function find(broker: Broker, topic: string, number: number): Partition {
	const partition = broker.topics.get(topic)?.partitions[number];
	if (partition === undefined) throw new BrokerError("UNKNOWN_TOPIC_OR_PARTITION", `${topic}-${number}`);
	return partition;
}
