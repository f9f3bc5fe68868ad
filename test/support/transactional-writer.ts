/** A transactional producer for tests of readers: it writes to partitions of a broker in this process. */
import { appendProducerBatch } from "../../src/broker/append-batch.ts";
import type { Broker } from "../../src/broker/broker.ts";
import type { TransactionalProducer } from "../../src/broker/transactions/transactions.ts";
import type { Partition } from "../../src/log/partition.ts";
import { encodeBatch } from "../../src/record/batch.ts";

export class TransactionalWriter {
	readonly #broker: Broker;
	readonly #producer: TransactionalProducer;
	/** By partition id. */
	readonly #sequences = new Map<number, number>();

	constructor(broker: Broker, transactionalId: string) {
		this.#broker = broker;
		const { producerId, producerEpoch } = broker.transactions.initProducerId({
			transactionalId,
			timeoutMs: 60_000,
			producerId: -1,
			producerEpoch: -1,
		});
		this.#producer = { transactionalId, producerId, producerEpoch };
	}

	/** Durable when it resolves, and visible only after the end of the transaction. */
	write(partition: Partition, key: string, ...values: string[]): Promise<void> {
		const { transactions, log, clock } = this.#broker;
		transactions.addPartitions(this.#producer, [partition]);
		const { transactionalId, producerId, producerEpoch } = this.#producer;
		const baseSequence = this.#sequences.get(partition.id) ?? 0;
		this.#sequences.set(partition.id, baseSequence + values.length);
		const batch = encodeBatch(
			values.map((value) => ({
				timestamp: clock.now(),
				key: Buffer.from(key),
				value: Buffer.from(value),
				headers: [],
			})),
			{ producerId, producerEpoch, baseSequence, isTransactional: true },
		);
		appendProducerBatch(this.#broker, partition, batch, {
			transactionalId,
			decompressedBytes: 1_000_000,
			allowsZstd: true,
		});
		return log.whenCommitted();
	}

	/** Durable when it resolves. */
	end(outcome: "commit" | "abort"): Promise<void> {
		this.#broker.transactions.end(this.#producer, outcome);
		return this.#broker.log.whenCommitted();
	}
}
