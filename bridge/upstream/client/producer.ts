/**
 * A producer of the central cluster: idempotent, and with a transactional id in transactions (KIP-98; of version 1, so that
 * older clusters will do). What it holds to, beyond what Kafka's own does:
 *
 *  - A request of which nobody knows whether it arrived may still arrive, when a transaction later is open. Of the same epoch,
 *    a late EndTxn would end that one halfway. So the next transaction is begun with an epoch of its own.
 *  - InitProducerId with id and epoch (KIP-360) while a transaction of one's own is open makes clusters before Kafka 4 fence
 *    its caller. So what may be open is ended first.
 *
 * After any rejection but of `send`'s single batches the caller calls `init`, and learns from the cluster what was committed.
 */
import type { Clock } from "../../../src/base/clock.ts";
import { Patience } from "../../../src/base/patience.ts";
import type { Random } from "../../../src/base/random.ts";
import type { Encodable, Fields } from "../../../src/kafka/protocol/schema.ts";
import { ADD_PARTITIONS_TO_TXN, type Api, apiName, END_TXN, INIT_PRODUCER_ID } from "./apis.ts";
import { Attempts } from "./attempts.ts";
import type { Cluster } from "./cluster.ts";
import type { Answer } from "./connection.ts";
import { type BatchOutcome, Delivery, MISSING_MS, type OutgoingBatch, partitionKey } from "./delivery.ts";
import { ErrorCode, KafkaError, kafkaError } from "./kafka-error.ts";
import { LinkError } from "./link-error.ts";

export type { BatchOutcome, OutgoingBatch } from "./delivery.ts";

export interface ProducerOptions {
	/** undefined: idempotent only. */
	readonly transactionalId: string | undefined;
	readonly transactionTimeoutMs: number;
	readonly requestTimeoutMs: number;
	/** How long a batch, and each request about a transaction, is tried; a transaction's batches never longer than it has. */
	readonly deliveryTimeoutMs: number;
	readonly clock: Clock;
	readonly random: Random;
}

/** The versions of transactions version 1 (KIP-890 has the others). */
const INIT_AT_MOST = 5;
const ADD_AT_MOST = 3;
const END_AT_MOST = 4;
/** The transaction before is being completed: that takes some milliseconds. */
const CONCURRENT_MS = 20;
/** Of a transaction's time: what is left is for ending it in good order. */
const SENDING_SHARE = 0.75;
/** An epoch this high is its producer id's last (Short.MAX_VALUE - 1). */
const LAST_EPOCH = 32_766;
/** What idempotent producers say in place of a transaction's time-out. */
const NO_TIMEOUT_MS = 0x7fff_ffff;

export class Producer {
	readonly #cluster: Cluster;
	readonly #options: ProducerOptions;
	#producerId = -1;
	#epoch = -1;
	/** The next sequence of each partition. */
	readonly #sequences = new Map<string, number>();
	/** Partitions of the open transaction. */
	readonly #added = new Set<string>();
	/** Whether there may be an open transaction of ours; since when. */
	#openSince: Patience | undefined;
	/** It can only be aborted. */
	#isBroken = false;
	/** Its commit was asked for. */
	#isCommitting = false;
	/** Partitions of a transaction that the cluster ended by itself, and whose it was: what it may have left open there is to be closed. */
	#left: { readonly producerId: number; readonly partitions: ReadonlySet<string> } | undefined;
	/** Something of this epoch may still arrive, or a sequence is in doubt: the next batch is sent with another. */
	#needsEpoch = false;

	constructor(cluster: Cluster, options: ProducerOptions) {
		this.#cluster = cluster;
		this.#options = options;
	}

	get producerId(): number {
		return this.#producerId;
	}

	get epoch(): number {
		return this.#epoch;
	}

	/** The next `init` begins from nothing. */
	forget(): void {
		this.#producerId = -1;
		this.#epoch = -1;
		this.#ended();
	}

	/**
	 * Gets an epoch with which nothing was sent yet; no transaction of ours is open then. What the cluster knows of the producer
	 * is taken up where there is a producer id, so that another one that has come in between is not fenced, but fences
	 * ("fenced", rejects). Otherwise it begins from nothing: whoever has the transactional id is fenced. "expired" rejects
	 * too, and the next call begins from nothing. Waits for what passes, up to the delivery time-out.
	 */
	async init(signal: AbortSignal): Promise<void> {
		const { transactionalId, transactionTimeoutMs } = this.#options;
		if (transactionalId === undefined) {
			await this.#initIdempotent(signal);
			return;
		}
		await this.#endOpen(signal);
		const { body } = await this.#ask(
			INIT_PRODUCER_ID,
			{
				transactionalId,
				transactionTimeoutMs,
				producerId: this.#producerId,
				producerEpoch: this.#epoch,
			},
			{ atMost: INIT_AT_MOST, signal, codeOf: ({ errorCode }) => errorCode },
		);
		this.#begin(body.producerId, body.producerEpoch);
		await this.#closeLeft(signal);
	}

	/** Closes whatever transaction of this producer the cluster may have left open in these partitions, as one that was aborted. As `init`. */
	async close(
		partitions: Iterable<{ readonly topic: string; readonly partition: number }>,
		signal: AbortSignal,
	): Promise<void> {
		const keys = [...partitions].map(({ topic, partition }) => partitionKey(topic, partition));
		this.#left = { producerId: this.#producerId, partitions: new Set(keys) };
		await this.#closeLeft(signal);
	}

	/**
	 * A cluster that ends a transaction for its time-out while a partition has no leader may leave it open there for ever (Kafka
	 * 4.3 takes such a partition for a deleted one): nobody reads on behind it, and the next commit of this producer would make
	 * visible what was aborted. An empty transaction over the same partitions, aborted, closes it; where nothing is open it
	 * changes nothing.
	 */
	async #closeLeft(signal: AbortSignal): Promise<void> {
		const left = this.#left;
		this.#left = undefined;
		if (left?.producerId !== this.#producerId) return;
		try {
			const topics = Map.groupBy(left.partitions, (key) => key.slice(0, key.lastIndexOf("/")));
			this.#openSince = new Patience(this.#options.clock, this.#options.transactionTimeoutMs * SENDING_SHARE);
			await this.#ask(
				ADD_PARTITIONS_TO_TXN,
				{
					v3AndBelowTransactionalId: this.#options.transactionalId as string,
					v3AndBelowProducerId: this.#producerId,
					v3AndBelowProducerEpoch: this.#epoch,
					v3AndBelowTopics: [...topics].map(([name, keys]) => ({
						name,
						partitions: keys.map((key) => Number(key.slice(name.length + 1))),
					})),
				},
				{ atMost: ADD_AT_MOST, signal, codeOf: codeOfAll },
			);
			await this.#endOpen(signal);
		} catch (error) {
			this.#left ??= left;
			throw error;
		}
		await this.init(signal);
	}

	/** Without a transactional id the producer counts its epochs itself (KIP-360). */
	async #initIdempotent(signal: AbortSignal): Promise<void> {
		if (this.#producerId >= 0 && this.#epoch < LAST_EPOCH) {
			this.#begin(this.#producerId, this.#epoch + 1);
			return;
		}
		const { body } = await this.#ask(
			INIT_PRODUCER_ID,
			{ transactionalId: null, transactionTimeoutMs: NO_TIMEOUT_MS },
			{ atMost: INIT_AT_MOST, signal, codeOf: ({ errorCode }) => errorCode },
		);
		this.#begin(body.producerId, body.producerEpoch);
	}

	#begin(producerId: number, epoch: number): void {
		this.#producerId = producerId;
		this.#epoch = epoch;
		this.#sequences.clear();
		this.#needsEpoch = false;
		this.#ended();
	}

	#ended(): void {
		this.#added.clear();
		this.#openSince = undefined;
		this.#isBroken = false;
		this.#isCommitting = false;
	}

	/**
	 * Sends batches, in order per partition, in the transaction that it opens or that is open. Resolves with an outcome for each;
	 * behind one that was refused, those of the same partition have the same. Then, in a transaction, all of it is to be
	 * aborted. Rejects (LinkError; KafkaError of class reinitialise, expired, fenced, fatal) where nothing more can be sent.
	 */
	async send(batches: readonly OutgoingBatch[], signal: AbortSignal): Promise<BatchOutcome[]> {
		if (this.#producerId < 0) throw new Error("a producer is to be initialised first");
		if (this.#isBroken) throw new Error("a transaction in which something failed is to be aborted first");
		if (this.#needsEpoch && this.#openSince === undefined) await this.init(signal);
		const { clock, random, transactionalId, requestTimeoutMs, deliveryTimeoutMs } = this.#options;
		const hasStray = this.#needsEpoch;
		// Whatever ends this early leaves it so.
		this.#isBroken = transactionalId !== undefined;
		this.#needsEpoch = true;
		try {
			const refused: (BatchOutcome | undefined)[] = batches.map(() => undefined);
			const isClear = transactionalId === undefined || (await this.#addPartitions(batches, refused, signal));
			const delivery = new Delivery(
				{
					cluster: this.#cluster,
					...{ clock, random, transactionalId, requestTimeoutMs, signal },
					producerId: this.#producerId,
					epoch: this.#epoch,
					sequences: this.#sequences,
					patienceMs: deliveryTimeoutMs,
					overall: this.#openSince,
				},
				batches,
				refused,
			);
			await delivery.run();
			const outcomes = delivery.outcomes as BatchOutcome[];
			const hasFailed = outcomes.some(({ error }) => error !== undefined);
			this.#isBroken &&= hasFailed;
			// In a transaction the batches that did arrive are aborted, and their sequences used up.
			this.#needsEpoch = hasStray || !isClear || (transactionalId === undefined ? delivery.isInDoubt : hasFailed);
			return outcomes;
		} catch (error) {
			throw this.#judged(error);
		}
	}

	/** Makes partitions part of the transaction. Resolves with whether all that was sent for it was answered. */
	async #addPartitions(
		batches: readonly OutgoingBatch[],
		outcomes: (BatchOutcome | undefined)[],
		signal: AbortSignal,
	): Promise<boolean> {
		const { clock, transactionTimeoutMs, transactionalId } = this.#options;
		const wasOpen = this.#openSince;
		const missing = new Patience(clock, MISSING_MS);
		const attempts = this.#attempts(signal);
		let isClear = true;
		for (;;) {
			const topics = this.#partitionsToAdd(batches, outcomes);
			if (topics.size === 0) return isClear;
			const { body, isDefinite } = await this.#ask(
				ADD_PARTITIONS_TO_TXN,
				{
					v3AndBelowTransactionalId: transactionalId as string,
					v3AndBelowProducerId: this.#producerId,
					v3AndBelowProducerEpoch: this.#epoch,
					v3AndBelowTopics: [...topics].map(([name, partitions]) => ({ name, partitions: [...partitions] })),
				},
				{
					...{ atMost: ADD_AT_MOST, signal, codeOf: codeOfAll },
					// Its time begins with the first that may have arrived and was not put off.
					asking: (isFirst) => {
						const isOpen = wasOpen !== undefined || this.#added.size > 0 || !isClear || !isFirst;
						if (!isOpen || this.#openSince === undefined)
							this.#openSince = new Patience(clock, transactionTimeoutMs * SENDING_SHARE);
					},
				},
			);
			isClear &&= isDefinite;
			let waits = false;
			for (const { name, resultsByPartition } of body.resultsByTopicV3AndBelow) {
				for (const { partitionIndex, partitionErrorCode: code } of resultsByPartition) {
					const error = code === 0 ? undefined : kafkaError(code, "AddPartitionsToTxn", { topic: name });
					if (error === undefined) this.#added.add(partitionKey(name, partitionIndex));
					else if (code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION && missing.leftMs > 0 && wasOpen?.leftMs !== 0)
						waits = true;
					else if (code !== ErrorCode.OPERATION_NOT_ATTEMPTED) {
						const lasting = kafkaError(code, "AddPartitionsToTxn", { topic: name, lasting: true });
						batches.forEach(({ topic, partition }, place) => {
							if (topic !== name || partition !== partitionIndex) return;
							outcomes[place] = { baseOffset: -1, error: lasting, recordErrors: [] };
						});
					}
				}
			}
			// It is all or nothing.
			if (this.#added.size === 0 && isClear) this.#openSince = wasOpen;
			const left = this.#partitionsToAdd(batches, outcomes);
			const isAsBefore =
				left.size === topics.size && [...left].every(([name, { size }]) => size === topics.get(name)?.size);
			if (left.size > 0 && (waits || isAsBefore) && !(await attempts.again())) {
				throw kafkaError(ErrorCode.OPERATION_NOT_ATTEMPTED, "AddPartitionsToTxn", { transactionalId });
			}
		}
	}

	#partitionsToAdd(
		batches: readonly OutgoingBatch[],
		outcomes: readonly (BatchOutcome | undefined)[],
	): Map<string, Set<number>> {
		const topics = new Map<string, Set<number>>();
		batches.forEach(({ topic, partition }, place) => {
			if (outcomes[place] !== undefined || this.#added.has(partitionKey(topic, partition))) return;
			const partitions = topics.get(topic);
			if (partitions === undefined) topics.set(topic, new Set([partition]));
			else partitions.add(partition);
		});
		return topics;
	}

	/**
	 * Commits what was sent. Resolves when the cluster has said so. Whatever it rejects with, it may be committed all the same;
	 * a LinkError has `maybeSent` then. Nothing to do where nothing is open, and without a transactional id.
	 */
	async commit(signal: AbortSignal): Promise<void> {
		if (this.#isBroken) throw new Error("a transaction in which something failed can only be aborted");
		if (this.#openSince !== undefined) await this.#end(true, signal);
	}

	/** Aborts what was sent, as `commit` otherwise. */
	async abort(signal: AbortSignal): Promise<void> {
		// Only the cluster knows what became of it.
		if (this.#isCommitting)
			throw new Error("a transaction whose commit was asked for is not to be aborted, but looked up");
		await this.#endOpen(signal);
	}

	/** Nothing of ours is open any more; whether it was committed is another question. */
	async #endOpen(signal: AbortSignal): Promise<void> {
		try {
			if (this.#openSince === undefined) this.#ended();
			else await this.#end(false, signal);
		} catch (error) {
			// There is nothing to abort: no partition was added, or an earlier request to commit it did arrive.
			if (!(error instanceof KafkaError && error.code === ErrorCode.INVALID_TXN_STATE)) throw error;
			this.#needsEpoch = true;
			this.#ended();
		}
	}

	async #end(committed: boolean, signal: AbortSignal): Promise<void> {
		this.#isCommitting ||= committed;
		this.#isBroken = true;
		const wasClear = !this.#needsEpoch;
		this.#needsEpoch = true;
		const { isDefinite } = await this.#ask(
			END_TXN,
			{
				transactionalId: this.#options.transactionalId as string,
				producerId: this.#producerId,
				producerEpoch: this.#epoch,
				committed,
			},
			{ atMost: END_AT_MOST, signal, codeOf: ({ errorCode }) => errorCode },
		);
		this.#needsEpoch = !(wasClear && isDefinite && committed);
		this.#ended();
	}

	#attempts(signal: AbortSignal): Attempts {
		const { clock, random, deliveryTimeoutMs } = this.#options;
		return new Attempts({ clock, random, patienceMs: deliveryTimeoutMs, signal });
	}

	/**
	 * Asks the coordinator, or without a transactional id any broker, until there is an answer without an error that passes.
	 * All these requests may be repeated: the cluster knows them again. Rejects with what does not pass, and when patience is
	 * over.
	 */
	async #ask<Q extends Fields, S extends Fields>(
		api: Api<Q, S>,
		value: Encodable<Q>,
		options: {
			readonly atMost: number;
			readonly signal: AbortSignal;
			/** 0: none that concerns all of it. */
			readonly codeOf: (body: Answer<S>["body"]) => number;
			/** Before each attempt; `isFirst`: none before it may have arrived without an answer. */
			readonly asking?: (isFirst: boolean) => void;
		},
	): Promise<{ readonly body: Answer<S>["body"]; readonly isDefinite: boolean }> {
		const { transactionalId, requestTimeoutMs } = this.#options;
		const { atMost, signal, codeOf } = options;
		const request = { timeoutMs: requestTimeoutMs, atMost, signal };
		const attempts = this.#attempts(signal);
		const name = apiName(api);
		let isDefinite = true;
		for (;;) {
			let problem: unknown;
			options.asking?.(isDefinite);
			try {
				const answer = await (transactionalId === undefined
					? this.#cluster.toAny(api, value, request)
					: this.#cluster.toCoordinator("transaction", transactionalId, api, value, request));
				const code = codeOf(answer.body);
				if (code === 0) return { body: answer.body, isDefinite };
				problem = kafkaError(code, name, { transactionalId });
			} catch (error) {
				problem = error;
				if (error instanceof LinkError && error.maybeSent) isDefinite = false;
			}
			if (!passes(problem)) throw this.#judged(problem);
			const { code, errorClass } = problem instanceof KafkaError ? problem : { code: 0, errorClass: undefined };
			if (transactionalId !== undefined && errorClass === "coordinator")
				this.#cluster.forgetCoordinator("transaction", transactionalId);
			if (await attempts.again(code === ErrorCode.CONCURRENT_TRANSACTIONS ? CONCURRENT_MS : undefined)) continue;
			if (isDefinite || (problem instanceof LinkError && problem.maybeSent)) throw problem;
			const { message } = problem as Error;
			throw new LinkError("lost", `${message}; an earlier ${name} may have arrived`, {
				cause: problem,
				maybeSent: true,
			});
		}
	}

	/** What an error means for what is known here. */
	#judged(error: unknown): unknown {
		if (!(error instanceof KafkaError)) return error;
		if (error.errorClass === "expired") this.forget();
		if (error.errorClass !== "fenced") return error;
		const open = this.#openSince;
		const partitions = new Set(this.#added);
		this.#ended();
		const { transactionTimeoutMs } = this.#options;
		if (open === undefined || open.spentMs < transactionTimeoutMs) return error;
		if (partitions.size > 0) this.#left = { producerId: this.#producerId, partitions };
		const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`;
		const why = `the transaction was open for ${seconds(open.spentMs)}, its time-out is ${seconds(transactionTimeoutMs)}: the cluster has ended it`;
		return new KafkaError(error.code, "fenced", error.api, `${error.message}; ${why}`, undefined);
	}
}

function passes(problem: unknown): boolean {
	if (problem instanceof LinkError) return !problem.lasting && problem.failure !== "malformed";
	if (!(problem instanceof KafkaError)) return false;
	return problem.errorClass === "retry" || problem.errorClass === "metadata" || problem.errorClass === "coordinator";
}

/** Of partitions, what concerns all of them. What passes comes last: that of one of them is looked at, should it be alone. */
function codeOfAll({
	resultsByTopicV3AndBelow: topics,
}: Answer<(typeof ADD_PARTITIONS_TO_TXN)["response"]["fields"]>["body"]): number {
	let passing = 0;
	for (const { name, resultsByPartition } of topics) {
		for (const { partitionErrorCode: code } of resultsByPartition) {
			if (code === 0 || code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION || code === ErrorCode.OPERATION_NOT_ATTEMPTED)
				continue;
			const { errorClass } = kafkaError(code, "AddPartitionsToTxn", { topic: name });
			if (errorClass === "retry" || errorClass === "metadata" || errorClass === "coordinator") passing = code;
			else if (errorClass !== "topic") return code;
		}
	}
	return passing;
}
