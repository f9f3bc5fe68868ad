/** Fills and reads a topic over Kafka's wire with as little work of its own as can be: what is measured is the gateway and its store. */
import { randomFillSync } from "node:crypto";
import { ProduceRequest, ProduceResponse } from "../../src/kafka/protocol/messages/00-produce.ts";
import { FetchRequest, FetchResponse } from "../../src/kafka/protocol/messages/01-fetch.ts";
import { encodeBatch, readBatchHeader } from "../../src/record/batch.ts";
import { KafkaClient } from "./kafka-client.ts";

export type Payload = "telemetry" | "incompressible";

const PRODUCE_VERSION = 9;
const FETCH_VERSION = 12;
const BATCH_BYTES = 64 * 1024;
/** Batches of different content; more would only cost memory here. */
const BATCHES = 64;
const IN_FLIGHT = 4;
const FETCH_BYTES = 1024 * 1024;
/** Not there yet, or not to be had just now: asked again. */
const LATER = [78, 56];

/** As devices send it: names that repeat, figures that do not. */
function telemetry(): Buffer {
	const figure = (most: number): string => (Math.random() * most).toFixed(3);
	return Buffer.from(
		`{"device":"line-3/press-${Math.floor(Math.random() * 40)}","time":${Date.now() + Math.floor(Math.random() * 1e6)},"celsius":${figure(90)},"bar":${figure(8)},"rpm":${Math.floor(Math.random() * 3000)},"state":"running"}`,
	);
}

function batches(payload: Payload): Buffer[] {
	return Array.from({ length: BATCHES }, () => {
		const records = [];
		for (let bytes = 0; bytes < BATCH_BYTES - 2048; ) {
			const value = payload === "telemetry" ? telemetry() : randomFillSync(Buffer.allocUnsafe(1000));
			bytes += value.length + 16;
			records.push({ timestamp: Date.now(), key: null, value, headers: [] });
		}
		return encodeBatch(records, { leaderEpoch: -1 });
	});
}

/** Appends about `bytes` to the topic's partitions in turn; what it appended, bytes of record batches. */
export async function fillTopic(
	bootstrap: string,
	{ topic, partitions, payload, bytes }: { topic: string; partitions: number; payload: Payload; bytes: number },
): Promise<number> {
	const client = await KafkaClient.open(bootstrap);
	const made = batches(payload);
	let sent = 0;
	let turn = 0;
	const one = async (): Promise<void> => {
		while (sent < bytes) {
			const records = made[turn % made.length] as Buffer;
			const index = turn++ % partitions;
			sent += records.length;
			const request = {
				acks: -1,
				timeoutMs: 30_000,
				topicData: [{ name: topic, partitionData: [{ index, records }] }],
			};
			const { responses } = await client.request(ProduceRequest, ProduceResponse, PRODUCE_VERSION, request);
			const error = responses[0]?.partitionResponses[0]?.errorCode;
			if (error !== 0) throw new Error(`the broker answered a produce with error ${error}`);
		}
	};
	await Promise.all(Array.from({ length: IN_FLIGHT }, one));
	client.close();
	return sent;
}

export interface Drained {
	/** Of record batches. */
	readonly bytes: number;
	readonly seconds: number;
}

/** Reads partitions one after the other, each from offset 0 up to its offset in `ends`. */
export async function drainTopic(bootstrap: string, topic: string, ends: readonly number[]): Promise<Drained> {
	const client = await KafkaClient.open(bootstrap);
	const began = performance.now();
	let bytes = 0;
	for (const [partition, end] of ends.entries()) {
		for (let offset = 0; offset < end; ) {
			const { read, next } = await fetchOnce(client, topic, partition, offset);
			bytes += read;
			offset = next;
		}
	}
	client.close();
	return { bytes, seconds: (performance.now() - began) / 1000 };
}

/** One Fetch with an answer that has something; asked again while the gateway says later. */
async function fetchOnce(
	client: KafkaClient,
	topic: string,
	partition: number,
	offset: number,
): Promise<{ read: number; next: number }> {
	for (;;) {
		const { responses } = await client.request(FetchRequest, FetchResponse, FETCH_VERSION, {
			maxWaitMs: 500,
			minBytes: 1,
			maxBytes: FETCH_BYTES,
			topics: [{ topic, partitions: [{ partition, fetchOffset: offset, partitionMaxBytes: FETCH_BYTES }] }],
		});
		const answer = responses[0]?.partitions[0];
		if (answer === undefined) throw new Error("the broker left the partition out");
		const { errorCode, records } = answer;
		if (errorCode !== 0 && !LATER.includes(errorCode))
			throw new Error(`the broker answered a fetch with error ${errorCode}`);
		let next = offset;
		let read = 0;
		for (let at = 0; records !== null && at + 61 <= records.length; ) {
			const header = readBatchHeader(records, at, Number.MAX_SAFE_INTEGER);
			if (at + header.sizeBytes > records.length) break;
			at += header.sizeBytes;
			read = at;
			next = header.lastOffset + 1;
		}
		if (next > offset) return { read, next };
	}
}

/** The record at `offset`, and what comes with it. */
export async function fetchAt(bootstrap: string, topic: string, partition: number, offset: number): Promise<void> {
	const client = await KafkaClient.open(bootstrap);
	await fetchOnce(client, topic, partition, offset);
	client.close();
}
