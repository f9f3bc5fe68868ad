/** Produce: record batches for any number of partitions; each is stored or refused by itself, and answered when it is durable. */
import { BrokerError } from "../../base/errors.ts";
import { type AppendRequest, appendProducerBatch, RefusedRecords } from "../../broker/append-batch.ts";
import type { Broker } from "../../broker/broker.ts";
import type { Partition } from "../../log/partition.ts";
import { api } from "../api.ts";
import { errorNumber } from "../error-number.ts";
import { ProduceRequest, ProduceResponse } from "../protocol/messages/00-produce.ts";
import type { DecodedOf, EncodableOf } from "../protocol/schema.ts";

type Request = DecodedOf<typeof ProduceRequest>;
type Response = EncodableOf<typeof ProduceResponse>;
type PartitionAnswer = NonNullable<NonNullable<Response["responses"]>[number]["partitionResponses"]>[number];

/** What may come out of the compression of all batches of a request, bytes: some tenths of a second's work. */
const DECOMPRESSED_MAX = 128 * 1024 * 1024;
const ZSTD_FROM = 7;
/** Bit 4 of a batch's attributes. */
const TRANSACTIONAL_BYTE = 22;
const TRANSACTIONAL_BIT = 0x10;

export const produce = api({
	request: ProduceRequest,
	response: ProduceResponse,
	versions: [3, 11],
	// librdkafka compresses nothing where 0 to 2 are not said to be served (KAFKA-18659).
	advertisedFrom: 0,
	handle(request, { services: { broker }, version }) {
		const work = new Appending(broker, request, version);
		const responses = request.topicData.map(({ name, partitionData }) => ({
			name,
			partitionResponses: work.topic(name, partitionData),
		}));
		if (request.acks === 0) {
			// Who awaits no answer learns by the connection's end that not all is stored.
			if (work.firstError !== undefined) throw work.firstError;
			return undefined;
		}
		if (!work.isStored) return { responses };
		return broker.log.whenCommitted().then(
			() => ({ responses }),
			(cause: unknown) => {
				// Nobody knows whether it is stored: to be sent again, when there is a gateway again.
				throw new BrokerError("KAFKA_STORAGE_ERROR", "storage failed", { cause });
			},
		);
	},
	refuse({ acks, topicData }, errorCode, errorMessage) {
		if (acks === 0) return undefined;
		return {
			responses: topicData.map(({ name, partitionData }) => ({
				name,
				partitionResponses: partitionData.map(({ index }) => ({ index, errorCode, baseOffset: -1, errorMessage })),
			})),
		};
	},
});

function refusalOfAll({ acks, transactionalId, topicData }: Request): BrokerError | undefined {
	if (acks < -1 || acks > 1) return new BrokerError("INVALID_REQUIRED_ACKS", `acks=${acks}: 0, 1 or -1 would be right`);
	if (transactionalId !== null) return undefined;
	for (const { partitionData } of topicData)
		for (const { records } of partitionData)
			if (((records?.[TRANSACTIONAL_BYTE] ?? 0) & TRANSACTIONAL_BIT) !== 0)
				return new BrokerError(
					"TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
					"a transactional batch in a request without a transactional id",
				);
	return undefined;
}

/** The batches of one request. */
class Appending {
	isStored = false;
	firstError: unknown;
	readonly #broker: Broker;
	readonly #refusal: BrokerError | undefined;
	readonly #request: AppendRequest;

	constructor(broker: Broker, request: Request, version: number) {
		this.#broker = broker;
		this.#refusal = refusalOfAll(request);
		const { transactionalId } = request;
		this.#request = { transactionalId, decompressedBytes: DECOMPRESSED_MAX, allowsZstd: version >= ZSTD_FROM };
	}

	topic(name: string, batches: Request["topicData"][number]["partitionData"]): PartitionAnswer[] {
		const topic = this.#broker.topics.get(name);
		// Made once: a request may name very many partitions.
		let unknown: BrokerError | undefined;
		return batches.map(({ index, records }) => {
			try {
				if (this.#refusal !== undefined) throw this.#refusal;
				const partition = topic?.partitions[index];
				if (partition !== undefined) return this.#append(partition, records);
				unknown ??= new BrokerError(
					"UNKNOWN_TOPIC_OR_PARTITION",
					`topic ${name} is not there, or has no such partition`,
				);
				throw unknown;
			} catch (error) {
				this.firstError ??= error;
				return this.#refused(index, error);
			}
		});
	}

	#append(partition: Partition, records: Buffer | null): PartitionAnswer {
		if (records === null) throw new BrokerError("INVALID_RECORD", "null in place of a record batch");
		const { baseOffset, appendTimeMs } = appendProducerBatch(this.#broker, partition, records, this.#request);
		this.isStored = true;
		const { number: index, logStartOffset } = partition;
		return { index, errorCode: 0, baseOffset, logAppendTimeMs: appendTimeMs, logStartOffset };
	}

	#refused(index: number, error: unknown): PartitionAnswer {
		if (!(error instanceof BrokerError)) this.#broker.logger.error("Produce failed", { error: String(error) });
		return {
			index,
			errorCode: errorNumber(error),
			baseOffset: -1,
			errorMessage: error instanceof BrokerError ? error.message : null,
			recordErrors:
				error instanceof RefusedRecords
					? error.records.map((record) => ({ batchIndex: record.index, batchIndexErrorMessage: record.reason }))
					: [],
		};
	}
}
