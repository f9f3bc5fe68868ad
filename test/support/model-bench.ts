/** A model of a cluster with a topic "t" of two partitions, and the single requests of one transactional id, "g", to it. */
import {
	ADD_PARTITIONS_TO_TXN,
	type Api,
	END_TXN,
	FETCH,
	INIT_PRODUCER_ID,
	PRODUCE,
} from "../../bridge/upstream/client/apis.ts";
import { Connection, type ConnectionOptions } from "../../bridge/upstream/client/connection.ts";
import { SimulatedClock } from "../../src/base/clock-simulated.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import type { Decoded, Encodable, Fields } from "../../src/kafka/protocol/schema.ts";
import { type EncodableRecord, encodeBatch } from "../../src/record/batch.ts";
import { CODES } from "../simulation/kafka-cluster/codes.ts";
import type { NetworkFaults } from "../simulation/kafka-cluster/faults.ts";
import { KafkaModel } from "../simulation/kafka-cluster/kafka-model.ts";

export interface Identity {
	readonly producerId: number;
	readonly producerEpoch: number;
}

export const NOBODY: Identity = { producerId: -1, producerEpoch: -1 };

interface Sent {
	readonly by?: Identity;
	readonly sequence?: number;
	readonly topic?: string;
	readonly partition?: number;
	readonly isTransactional?: boolean;
	readonly atMost?: number;
}

export interface Fetching {
	readonly offset?: number;
	readonly isolationLevel?: 0 | 1;
	readonly maxWaitMs?: number;
	readonly maxBytes?: number;
	readonly sessionId?: number;
	readonly sessionEpoch?: number;
	readonly partitions?: readonly number[];
}

export function fetchRequest(given: Fetching = {}) {
	const { offset = 0, isolationLevel = 0, maxWaitMs = 0, maxBytes = 1_000_000, partitions = [0] } = given;
	const { sessionId = 0, sessionEpoch = -1 } = given;
	const wanted = partitions.map((partition) => ({ partition, fetchOffset: offset, partitionMaxBytes: maxBytes }));
	const topics = wanted.length === 0 ? [] : [{ topic: "t", partitions: wanted }];
	return { maxWaitMs, minBytes: 1, maxBytes, isolationLevel, sessionId, sessionEpoch, topics };
}

export class ModelBench {
	readonly clock = new SimulatedClock();
	readonly model: KafkaModel;

	constructor(brokers = 1, network: Partial<NetworkFaults> = {}, versionsAtMost: Record<string, number> = {}) {
		const random = new SimulatedRandom("model");
		this.model = new KafkaModel({ clock: this.clock, random, brokers, network, versionsAtMost });
		this.model.createTopic("t", 2);
	}

	/** Moves time on until it is settled. */
	async finish<T>(promise: Promise<T>): Promise<T> {
		let isSettled = false;
		const settle = () => {
			isSettled = true;
		};
		promise.then(settle, settle);
		await this.clock.settle();
		for (let i = 0; !isSettled && i < 1000; i++) if (!(await this.clock.advanceToNext())) break;
		if (!isSettled) throw new Error("nothing more is going to happen");
		return promise;
	}

	get connectionOptions(): ConnectionOptions {
		return {
			clientId: "test",
			softwareVersion: "1",
			dial: this.model.dial,
			sasl: undefined,
			clock: this.clock,
			random: new SimulatedRandom("client"),
			connectTimeoutMs: 10_000,
			requestTimeoutMs: 10_000,
		};
	}

	async connect(node = 1): Promise<Connection> {
		const { address } = this.model.cluster.broker(node);
		return this.finish(Connection.open(this.connectionOptions, address, new AbortController().signal));
	}

	async ask<Q extends Fields, S extends Fields>(
		connection: Connection,
		api: Api<Q, S>,
		value: Encodable<Q>,
		atMost?: number,
	): Promise<Decoded<S>> {
		return (await this.finish(connection.request(api, value, { timeoutMs: 10_000, atMost }))).body;
	}

	/** Until no transaction is in the way. */
	async init(connection: Connection, had = NOBODY, transactionTimeoutMs = 15_000, atMost = 5) {
		for (;;) {
			const request = { transactionalId: "g", transactionTimeoutMs, ...had };
			const { errorCode, producerId, producerEpoch } = await this.ask(connection, INIT_PRODUCER_ID, request, atMost);
			if (errorCode !== CODES.CONCURRENT_TRANSACTIONS) return { errorCode, producerId, producerEpoch };
			await this.clock.advance(20);
		}
	}

	async add(connection: Connection, by: Identity, topic = "t", partitions = [0, 1]): Promise<number[]> {
		const request = {
			v3AndBelowTransactionalId: "g",
			v3AndBelowProducerId: by.producerId,
			v3AndBelowProducerEpoch: by.producerEpoch,
			v3AndBelowTopics: [{ name: topic, partitions }],
		};
		const { resultsByTopicV3AndBelow: results } = await this.ask(connection, ADD_PARTITIONS_TO_TXN, request, 3);
		return results.flatMap((result) => result.resultsByPartition.map(({ partitionErrorCode: code }) => code));
	}

	async send(connection: Connection, values: readonly (string | EncodableRecord)[], sent: Sent = {}) {
		const { by = NOBODY, sequence = 0, topic = "t", partition = 0, atMost = 11 } = sent;
		const isTransactional = sent.isTransactional ?? by.producerId >= 0;
		const records = encodeBatch(
			values.map((value) => (typeof value === "string" ? this.record(value) : value)),
			{ ...by, baseSequence: by.producerId < 0 ? -1 : sequence, isTransactional },
		);
		const topicData = [{ name: topic, partitionData: [{ index: partition, records }] }];
		const request = { transactionalId: isTransactional ? "g" : null, acks: -1, timeoutMs: 1000, topicData };
		const { responses } = await this.ask(connection, PRODUCE, request, atMost);
		const [response] = responses[0]?.partitionResponses ?? [];
		if (response === undefined) throw new Error("no answer for the partition");
		return response;
	}

	async end(connection: Connection, by: Identity, committed: boolean): Promise<number> {
		const { errorCode } = await this.ask(connection, END_TXN, { transactionalId: "g", ...by, committed }, 4);
		return errorCode;
	}

	/** One record in partition 0, and what became of it. */
	async transaction(connection: Connection, by: Identity, value: string, committed: boolean, sequence = 0) {
		while ((await this.add(connection, by, "t", [0]))[0] === CODES.CONCURRENT_TRANSACTIONS)
			await this.clock.advance(20);
		const { errorCode } = await this.send(connection, [value], { by, sequence });
		if (errorCode !== 0) throw new Error(`Produce: ${errorCode}`);
		const code = await this.end(connection, by, committed);
		if (code !== 0) throw new Error(`EndTxn: ${code}`);
	}

	async fetch(connection: Connection, given: Fetching = {}) {
		const { responses } = await this.ask(connection, FETCH, fetchRequest(given), 12);
		const [partition] = responses[0]?.partitions ?? [];
		if (partition === undefined) throw new Error("no answer for the partition");
		return { ...partition, records: partition.records as Buffer };
	}

	values(partition = 0, topic = "t"): string[] {
		return this.model.committed(topic, partition).map(({ value }) => String(value));
	}

	record(value: string, given: Partial<EncodableRecord> = {}): EncodableRecord {
		return { timestamp: this.clock.now(), key: Buffer.from("k"), value: Buffer.from(value), headers: [], ...given };
	}
}
