/** A producer of the central cluster before a cluster that answers from a script. */
import { LinkError } from "../../bridge/upstream/client/link-error.ts";
import { type OutgoingBatch, Producer } from "../../bridge/upstream/client/producer.ts";
import { encodeBatch, validateBatch } from "../../src/record/batch.ts";
import { type Asked, ScriptedCluster } from "./scripted-cluster.ts";

export const TIMEOUT_MS = 15_000;
export const DELIVERY_MS = 60_000;

export interface Produced {
	readonly topicData: { name: string; partitionData: { index: number; records: Buffer }[] }[];
}
interface Added {
	readonly v3AndBelowTopics: { name: string; partitions: number[] }[];
}

export class ScriptedProducer {
	readonly cluster = new ScriptedCluster((asked) => this.answer(asked));
	readonly producer: Producer;
	/** What each API answers next, in this order, then without an error; `Produce t/0` for one of several partitions. */
	codes: Record<string, (number | LinkError)[]> = {};
	/** Of the last InitProducerId. */
	epoch = 4;

	constructor({ isTransactional = true } = {}) {
		this.cluster.lead("t", [1, 1, 2]);
		this.cluster.lead("p", [2]);
		const { clock, options } = this.cluster;
		const { random } = options as { random: never };
		this.producer = new Producer(this.cluster.cluster, {
			transactionalId: isTransactional ? "g" : undefined,
			...{ clock, random },
			transactionTimeoutMs: TIMEOUT_MS,
			requestTimeoutMs: 10_000,
			deliveryTimeoutMs: DELIVERY_MS,
		});
	}

	/** Of the requests so far. */
	get apis(): string[] {
		return this.cluster.asked.map(({ api }) => api);
	}

	/** Of every batch that was sent. */
	get headers() {
		return this.cluster
			.named("Produce")
			.flatMap(({ value }) =>
				(value as unknown as Produced).topicData.flatMap(({ name, partitionData }) =>
					partitionData.map(({ index, records }) => ({ place: `${name}/${index}`, ...validateBatch(records, 0) })),
				),
			);
	}

	answer({ api, value }: Asked): object {
		switch (api) {
			case "InitProducerId":
				return { errorCode: this.#next(api), producerId: 77, producerEpoch: ++this.epoch };
			case "AddPartitionsToTxn":
				return {
					resultsByTopicV3AndBelow: (value as unknown as Added).v3AndBelowTopics.map(({ name, partitions }) => ({
						name,
						resultsByPartition: partitions.map((partitionIndex) => ({
							partitionIndex,
							partitionErrorCode: this.#next(`${api} ${name}/${partitionIndex}`) || this.#next(api),
						})),
					})),
				};
			case "Produce": {
				const failure = this.#next(api);
				return {
					responses: (value as unknown as Produced).topicData.map(({ name, partitionData }) => ({
						name,
						partitionResponses: partitionData.map(({ index }) => ({
							index,
							errorCode: failure || this.#next(`${api} ${name}/${index}`),
							baseOffset: 100,
							errorMessage: "so it is",
							recordErrors: [{ batchIndex: 1, batchIndexErrorMessage: "too old" }],
						})),
					})),
				};
			}
			default:
				return { errorCode: this.#next(api) };
		}
	}

	#next(api: string): number {
		const code = this.codes[api]?.shift() ?? 0;
		if (code instanceof LinkError) throw code;
		return code;
	}
}

export function outgoing(topic = "t", partition = 0, count = 2): OutgoingBatch {
	const records = Array.from({ length: count }, (_, i) => ({
		timestamp: 1000 + i,
		key: null,
		value: Buffer.from(`v${i}`),
		headers: [],
	}));
	// What the producer has to change: as the log here stores a batch.
	return { topic, partition, count, batch: encodeBatch(records, { timestampType: "append" }) };
}

export const lost = (maybeSent = true): LinkError => new LinkError("lost", "gone", { maybeSent });
