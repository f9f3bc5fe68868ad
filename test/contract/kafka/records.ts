/** Requests of the record APIs in few words. */

import { produce } from "../../../src/kafka/handlers/00-produce.ts";
import { fetch } from "../../../src/kafka/handlers/01-fetch.ts";
import { listOffsets } from "../../../src/kafka/handlers/02-list-offsets.ts";
import type { EncodableOf } from "../../../src/kafka/protocol/schema.ts";
import type { EncodableRecord } from "../../../src/record/batch.ts";
import { decodeRecords, readBatchHeader } from "../../../src/record/batch.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";
import { batchOf } from "../../support/producer-batches.ts";

type FetchValue = EncodableOf<typeof fetch.request>;
type FetchPartition = NonNullable<NonNullable<FetchValue["topics"]>[number]["partitions"]>[number];

export function produceValue(topic: string, batches: readonly (readonly [number, Buffer | null])[], acks = -1) {
	const partitionData = batches.map(([index, records]) => ({ index, records }));
	return { acks, timeoutMs: 5000, topicData: [{ name: topic, partitionData }] };
}

/** What each partition was answered, in the order of the request. */
export async function produceTo(
	wire: KafkaWire,
	topic: string,
	batches: readonly (readonly [number, Buffer | null])[],
	version = 11,
) {
	const { responses } = await wire.request(produce, version, produceValue(topic, batches));
	return responses[0]?.partitionResponses ?? [];
}

export async function store(
	wire: KafkaWire,
	topic: string,
	partition: number,
	values: readonly (string | EncodableRecord)[],
): Promise<number> {
	const [answer] = await produceTo(wire, topic, [[partition, batchOf(values)]]);
	if (answer?.errorCode !== 0) throw new Error(`Produce was answered with error ${answer?.errorCode}`);
	return answer.baseOffset;
}

export function fetchValue(
	topic: string | { readonly topicId: string },
	partitions: readonly FetchPartition[],
	given: Partial<FetchValue> = {},
): FetchValue {
	const named = typeof topic === "string" ? { topic } : topic;
	return {
		replicaId: -1,
		maxWaitMs: 0,
		minBytes: 1,
		maxBytes: 1 << 20,
		sessionEpoch: -1,
		topics: [{ ...named, partitions: partitions.map((one) => ({ partitionMaxBytes: 1 << 20, ...one })) }],
		...given,
	};
}

/** What each partition was answered, in the order of the request. */
export async function fetchFrom(
	wire: KafkaWire,
	topic: string | { readonly topicId: string },
	partitions: readonly FetchPartition[],
	given: Partial<FetchValue> = {},
	version = typeof topic === "string" ? 12 : 17,
) {
	const { responses } = await wire.request(fetch, version, fetchValue(topic, partitions, given));
	return responses[0]?.partitions ?? [];
}

/** The values of whole batches, behind their offsets. */
export function valuesIn(records: Buffer | null): string[] {
	const values: string[] = [];
	for (let at = 0; records !== null && at < records.length; at += readBatchHeader(records, at).sizeBytes)
		for (const { offset, value } of decodeRecords(records, at)) values.push(`${offset} ${value}`);
	return values;
}

/** Error, offset and timestamp for each timestamp asked for, in a request of its own. */
export async function offsetsOf(
	wire: KafkaWire,
	topic: string,
	partitionIndex: number,
	timestamps: readonly number[],
	version = 9,
	isolationLevel = 0,
): Promise<(readonly [error: number, offset: number, timestamp: number])[]> {
	const found = [];
	for (const timestamp of timestamps) {
		const { topics } = await wire.request(listOffsets, version, {
			replicaId: -1,
			isolationLevel,
			topics: [{ name: topic, partitions: [{ partitionIndex, timestamp }] }],
		});
		const [answer] = topics[0]?.partitions ?? [];
		found.push([answer?.errorCode ?? -99, answer?.offset ?? -99, answer?.timestamp ?? -99] as const);
	}
	return found;
}
