/**
 * A Kafka client as light as can be, in a process of its own: batches are made once and sent again and again, answers are
 * looked at only for errors and counts. What limits it is the broker. By hand it prints one line of JSON:
 *
 *   node test/bench/kafka-load.ts '{"kind":"produce","bootstrap":"127.0.0.1:9092","topic":"t","partitions":1,"recordBytes":100,"seconds":5}'
 */

import { ProduceRequest, ProduceResponse } from "../../src/kafka/protocol/messages/00-produce.ts";
import { FetchRequest, FetchResponse } from "../../src/kafka/protocol/messages/01-fetch.ts";
import { Reader } from "../../src/kafka/protocol/reader.ts";
import { encodeBatch, readBatchHeader } from "../../src/record/batch.ts";
import { encodeFrame, KafkaClient } from "./kafka-client.ts";

export interface KafkaLoadSpec {
	readonly kind: "produce" | "consume";
	readonly bootstrap: string;
	readonly topic: string;
	readonly partitions: number;
	readonly recordBytes: number;
	/** Of a batch; default 16 KiB, as Kafka's producer has it. */
	readonly batchBytes?: number;
	/** Requests under way on each connection; default 5, as Kafka's producer has it. */
	readonly inFlight?: number;
	/** Default 2. */
	readonly connections?: number;
	readonly seconds: number;
	/** Not counted, first. */
	readonly warmupSeconds?: number;
}

export interface KafkaLoadResult {
	readonly records: number;
	readonly seconds: number;
	/** Processor time of this process per record, microseconds. */
	readonly ownCpuUs: number;
}

export type KafkaLoadMessage = { readonly mark: "begin" | "end" } | { readonly result: KafkaLoadResult };

const PRODUCE_VERSION = 9;
const FETCH_VERSION = 12;

async function produce(spec: KafkaLoadSpec, count: (records: number) => void): Promise<void> {
	const recordsInBatch = Math.max(1, Math.floor((spec.batchBytes ?? 16_384) / (spec.recordBytes + 8)));
	const now = Date.now();
	const value = Buffer.alloc(spec.recordBytes, "x");
	const records = encodeBatch(
		Array.from({ length: recordsInBatch }, () => ({ timestamp: now, key: null, value, headers: [] })),
		{ leaderEpoch: -1 },
	);
	const frames = Array.from({ length: spec.partitions }, (_, index) =>
		encodeFrame(ProduceRequest, PRODUCE_VERSION, {
			acks: -1,
			timeoutMs: 30_000,
			topicData: [{ name: spec.topic, partitionData: [{ index, records }] }],
		}),
	);
	let turn = 0;
	for (let i = 0; i < (spec.connections ?? 2); i++) {
		const client = await KafkaClient.open(spec.bootstrap);
		const next = (): void => {
			client.send(frames[turn++ % frames.length] as Buffer, (answer) => {
				const reader = new Reader(answer, 5);
				const { responses } = ProduceResponse.decode(reader, PRODUCE_VERSION);
				const error = responses[0]?.partitionResponses[0]?.errorCode;
				if (error !== 0) throw new Error(`the broker answered with error ${error}`);
				count(recordsInBatch);
				next();
			});
		};
		for (let under = 0; under < (spec.inFlight ?? 5); under++) next();
	}
}

/** Each connection reads its share of the partitions from the beginning to the end, and then anew. */
async function consume(spec: KafkaLoadSpec, count: (records: number) => void): Promise<void> {
	const connections = Math.min(spec.connections ?? 2, spec.partitions);
	for (let i = 0; i < connections; i++) {
		const client = await KafkaClient.open(spec.bootstrap);
		const offsets = new Map<number, number>();
		for (let partition = i; partition < spec.partitions; partition += connections) offsets.set(partition, 0);
		const next = (): void => {
			const partitions = [...offsets].map(([partition, fetchOffset]) => ({
				partition,
				fetchOffset,
				partitionMaxBytes: 1_048_576,
			}));
			const request = {
				maxWaitMs: 500,
				minBytes: 1,
				maxBytes: 52_428_800,
				topics: [{ topic: spec.topic, partitions }],
			};
			client.send(encodeFrame(FetchRequest, FETCH_VERSION, request), (answer) => {
				const reader = new Reader(answer, 5);
				for (const { partitionIndex, errorCode, records, highWatermark } of FetchResponse.decode(reader, FETCH_VERSION)
					.responses[0]?.partitions ?? []) {
					if (errorCode !== 0) throw new Error(`the broker answered with error ${errorCode}`);
					let offset = offsets.get(partitionIndex) as number;
					for (let at = 0; records !== null && at + 61 <= records.length; ) {
						const header = readBatchHeader(records, at, Number.MAX_SAFE_INTEGER);
						// The last one may be cut off.
						if (at + header.sizeBytes > records.length) break;
						count(header.count);
						offset = header.lastOffset + 1;
						at += header.sizeBytes;
					}
					offsets.set(partitionIndex, offset >= highWatermark ? 0 : offset);
				}
				// A partition comes first in turn, for an answer may be full with the first ones.
				const [first] = offsets;
				if (first !== undefined) {
					offsets.delete(first[0]);
					offsets.set(...first);
				}
				next();
			});
		};
		next();
	}
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const spec = JSON.parse(process.argv[2] as string) as KafkaLoadSpec;
const tell = (message: KafkaLoadMessage): void => void process.send?.(message);
let total = 0;
await (spec.kind === "produce" ? produce : consume)(spec, (records) => {
	total += records;
});
await sleep((spec.warmupSeconds ?? 1) * 1000);
const cpu = process.cpuUsage();
const before = total;
const began = performance.now();
tell({ mark: "begin" });
await sleep(spec.seconds * 1000);
const records = total - before;
const seconds = (performance.now() - began) / 1000;
const used = process.cpuUsage(cpu);
tell({ mark: "end" });
const result = { records, seconds, ownCpuUs: (used.user + used.system) / Math.max(1, records) };
if (process.send === undefined) process.stdout.write(`${JSON.stringify(result)}\n`);
else tell({ result });
process.exit(0);
