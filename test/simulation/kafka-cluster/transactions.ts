/**
 * The transaction coordinators: Kafka's TransactionCoordinator and TransactionMetadata, as a Kafka 4 has them towards a
 * client of transactions version 1 (KIP-98, KIP-360, KIP-890). What the cluster ends by itself (a time-out, a new
 * instance) it ends by version 2: the epoch rises twice, and the old one cannot be continued from.
 */
import type { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { ClusterState, ModelBroker } from "./cluster-state.ts";
import { CODES, Refusal } from "./codes.ts";

const TRANSACTION_TIMEOUT_MAX_MS = 15 * 60_000;
/** How often Kafka looks for transactions whose time is over. */
const TIMEOUT_CHECK_MS = 10_000;
/** The last epoch that producers get; the one after it is for the cluster's own use. */
const EPOCH_MAX = 32_766;
const RETRY_MS = 100;

type State = "Empty" | "Ongoing" | "PrepareCommit" | "PrepareAbort" | "CompleteCommit" | "CompleteAbort";

interface Transaction {
	readonly id: string;
	producerId: number;
	formerProducerId: number;
	/** -1: no producer has it yet. */
	epoch: number;
	/** Of the producer before the last InitProducerId that named its epoch: that one may ask again. -1: none. */
	lastEpoch: number;
	timeoutMs: number;
	state: State;
	/** Of this transaction, as `topic-partition`: another topic of the same name is as good. While it ends: those whose marker is not written. */
	readonly partitions: Map<string, PartitionName>;
	/** Counts the transactions. */
	round: number;
}

export interface PartitionName {
	readonly topic: string;
	readonly index: number;
}

export interface Identity {
	readonly producerId: number;
	readonly producerEpoch: number;
}

export class Transactions {
	readonly #cluster: ClusterState;
	readonly #random: SimulatedRandom;
	/** How long it takes to write a marker. */
	readonly #markerMs: () => number;
	/** Whether an abort for a time-out is never written to its partitions. */
	readonly #forgets: () => boolean;
	readonly #transactions = new Map<string, Transaction>();
	#producerIds = 1000;

	constructor(cluster: ClusterState, random: SimulatedRandom, markerMs: () => number, forgets: () => boolean) {
		this.#cluster = cluster;
		this.#random = random;
		this.#markerMs = markerMs;
		this.#forgets = forgets;
	}

	/** Of every transactional id that is known. */
	get states(): ReadonlyMap<string, { readonly state: State } & Identity> {
		const states = new Map<string, { state: State } & Identity>();
		for (const { id, state, producerId, epoch } of this.#transactions.values())
			states.set(id, { state, producerId, producerEpoch: epoch });
		return states;
	}

	/** `expected`: what the producer had. Throws Refusal. */
	initProducerId(broker: ModelBroker, id: string | null, timeoutMs: number, expected: Identity | undefined): Identity {
		if (id === null) return { producerId: this.#producerIds++, producerEpoch: 0 };
		if (id === "") throw new Refusal(CODES.INVALID_REQUEST, "an empty transactional id");
		if (timeoutMs <= 0 || timeoutMs > TRANSACTION_TIMEOUT_MAX_MS)
			throw new Refusal(CODES.INVALID_TRANSACTION_TIMEOUT, `${timeoutMs} ms`);
		this.#cluster.checkCoordinator(broker, keyOf(id));
		let transaction = this.#transactions.get(id);
		if (transaction === undefined) {
			transaction = {
				id,
				producerId: this.#producerIds++,
				formerProducerId: -1,
				epoch: -1,
				lastEpoch: -1,
				timeoutMs,
				state: "Empty",
				partitions: new Map(),
				round: 0,
			};
			this.#transactions.set(id, transaction);
		}
		const { state, epoch } = transaction;
		const isKnown =
			expected === undefined ||
			epoch === -1 ||
			expected.producerId === transaction.producerId ||
			(expected.producerId === transaction.formerProducerId && expected.producerEpoch >= EPOCH_MAX);
		if (!isKnown) throw new Refusal(CODES.PRODUCER_FENCED, `${expected?.producerId} is not its producer id any more`);
		if (isEnding(state)) throw new Refusal(CODES.CONCURRENT_TRANSACTIONS, state);
		if (state === "Ongoing") {
			this.#fence(transaction);
			throw new Refusal(CODES.CONCURRENT_TRANSACTIONS, "the open transaction is aborted first");
		}
		if (epoch >= EPOCH_MAX && (expected === undefined || expected.producerEpoch === epoch)) {
			transaction.formerProducerId = transaction.producerId;
			transaction.producerId = this.#producerIds++;
			transaction.lastEpoch = expected === undefined ? -1 : epoch;
			transaction.epoch = 0;
		} else if (expected === undefined) {
			transaction.epoch += 1;
			transaction.lastEpoch = -1;
		} else if (epoch === -1 || expected.producerEpoch === epoch) {
			transaction.lastEpoch = epoch;
			transaction.epoch += 1;
		} else if (expected.producerEpoch !== transaction.lastEpoch) {
			throw new Refusal(CODES.PRODUCER_FENCED, `epoch ${expected.producerEpoch}, not ${epoch}`);
		}
		transaction.timeoutMs = timeoutMs;
		transaction.state = "Empty";
		return { producerId: transaction.producerId, producerEpoch: transaction.epoch };
	}

	/** Throws Refusal. */
	addPartitions(broker: ModelBroker, id: string, by: Identity, added: readonly PartitionName[]): void {
		const transaction = this.#ask(broker, id, by);
		const { state, partitions } = transaction;
		if (isEnding(state)) throw new Refusal(CODES.CONCURRENT_TRANSACTIONS, state);
		if (state !== "Ongoing") {
			transaction.state = "Ongoing";
			transaction.round += 1;
			partitions.clear();
			const { round } = transaction;
			this.#cluster.timeline.after(transaction.timeoutMs + this.#random.between(0, TIMEOUT_CHECK_MS), () =>
				this.#timeOut(transaction, round),
			);
		}
		for (const partition of added) partitions.set(nameOf(partition), partition);
	}

	/** What a leader asks before the first write of a transaction. Throws Refusal, with the codes that the producer gets. */
	verify(id: string, by: Identity, partition: PartitionName, isAbortableKnown: boolean): void {
		let transaction: Transaction;
		try {
			transaction = this.#ask(undefined, id, by);
			if (isEnding(transaction.state)) throw new Refusal(CODES.CONCURRENT_TRANSACTIONS, transaction.state);
		} catch (error) {
			if (!(error instanceof Refusal)) throw error;
			if (error.code === CODES.PRODUCER_FENCED) throw new Refusal(CODES.INVALID_PRODUCER_EPOCH, error.message);
			if (error.code === CODES.INVALID_PRODUCER_ID_MAPPING) throw error;
			throw new Refusal(CODES.NOT_ENOUGH_REPLICAS, `Unable to verify the transaction: ${error.message}`);
		}
		if (transaction.state === "Ongoing" && transaction.partitions.has(nameOf(partition))) return;
		const code = isAbortableKnown ? CODES.TRANSACTION_ABORTABLE : CODES.INVALID_TXN_STATE;
		throw new Refusal(code, "the partition was not added to the transaction");
	}

	/** Answers when the end is decided; the markers come after that. Throws Refusal. */
	end(broker: ModelBroker, id: string, by: Identity, isCommitted: boolean): void {
		const transaction = this.#ask(broker, id, by);
		const verb = isCommitted ? "Commit" : "Abort";
		if (transaction.state === "Ongoing") this.#prepare(transaction, `Prepare${verb}`);
		else if (transaction.state === `Prepare${verb}`)
			throw new Refusal(CODES.CONCURRENT_TRANSACTIONS, transaction.state);
		else if (transaction.state !== `Complete${verb}`)
			throw new Refusal(CODES.INVALID_TXN_STATE, `${verb} in state ${transaction.state}`);
	}

	/** After days without a transaction: nobody knows the id any more. One that is open or ending stays. */
	expire(id: string): boolean {
		const transaction = this.#transactions.get(id);
		if (transaction === undefined || transaction.state === "Ongoing" || isEnding(transaction.state)) return false;
		return this.#transactions.delete(id);
	}

	#ask(broker: ModelBroker | undefined, id: string, by: Identity): Transaction {
		if (id === "") throw new Refusal(CODES.INVALID_REQUEST, "an empty transactional id");
		this.#cluster.checkCoordinator(broker, keyOf(id));
		const transaction = this.#transactions.get(id);
		if (transaction === undefined || transaction.producerId !== by.producerId)
			throw new Refusal(CODES.INVALID_PRODUCER_ID_MAPPING, `${by.producerId} is not the producer id of ${id}`);
		if (transaction.epoch !== by.producerEpoch)
			throw new Refusal(CODES.PRODUCER_FENCED, `epoch ${by.producerEpoch}, not ${transaction.epoch}`);
		return transaction;
	}

	#timeOut(transaction: Transaction, round: number): void {
		const isStillOpen = () => transaction.state === "Ongoing" && transaction.round === round;
		if (!isStillOpen()) return;
		try {
			this.#cluster.checkCoordinator(undefined, keyOf(transaction.id));
		} catch {
			this.#cluster.timeline.after(TIMEOUT_CHECK_MS, () => this.#timeOut(transaction, round));
			return;
		}
		// As Kafka 4.3 does where the partitions have no leader just then: it takes them for deleted ones.
		if (this.#forgets()) transaction.partitions.clear();
		this.#fence(transaction);
	}

	/** Aborts in the cluster's own name: whoever began it cannot go on. */
	#fence(transaction: Transaction): void {
		const fenced = Math.min(transaction.epoch + 1, EPOCH_MAX + 1);
		transaction.lastEpoch = fenced;
		transaction.epoch = Math.min(fenced + 1, EPOCH_MAX + 1);
		this.#prepare(transaction, "PrepareAbort");
	}

	#prepare(transaction: Transaction, state: "PrepareCommit" | "PrepareAbort"): void {
		transaction.state = state;
		if (transaction.partitions.size === 0) complete(transaction);
		for (const partition of transaction.partitions.values()) this.#writeMarker(transaction, partition);
	}

	#writeMarker(transaction: Transaction, name: PartitionName): void {
		const { timeline, topics } = this.#cluster;
		timeline.after(this.#markerMs(), () => {
			const { partitions, producerId, epoch, state } = transaction;
			// Of a topic that was deleted none is written.
			const partition = topics.get(name.topic)?.partitions[name.index];
			if (partition !== undefined && partition.leader < 0) {
				timeline.after(RETRY_MS, () => this.#writeMarker(transaction, name));
				return;
			}
			partition?.appendMarker(producerId, epoch, state === "PrepareCommit", timeline.wallMs);
			partitions.delete(nameOf(name));
			if (partitions.size === 0) complete(transaction);
		});
	}
}

function nameOf({ topic, index }: PartitionName): string {
	return `${topic}-${index}`;
}

function keyOf(id: string): string {
	return `transaction/${id}`;
}

function complete(transaction: Transaction): void {
	transaction.state = transaction.state === "PrepareCommit" ? "CompleteCommit" : "CompleteAbort";
}

function isEnding(state: State): boolean {
	return state === "PrepareCommit" || state === "PrepareAbort";
}
