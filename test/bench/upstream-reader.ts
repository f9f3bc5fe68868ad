/** What a reader with read_committed sees in the central cluster: how many records there are, and when each new one is there. */
import { CommittedView } from "../../bridge/upstream/client/committed.ts";
import { FetchRequest, FetchResponse } from "../../src/kafka/protocol/messages/01-fetch.ts";
import { ListOffsetsRequest, ListOffsetsResponse } from "../../src/kafka/protocol/messages/02-list-offsets.ts";
import { forEachRecord } from "../../src/record/batch.ts";
import { KafkaClient } from "./kafka-client.ts";

const FETCH_VERSION = 12;
const LIST_OFFSETS_VERSION = 5;
const READ_COMMITTED = 1;
const LATEST = -1;
const PARTITION_BYTES = 1024 * 1024;
const ANSWER_BYTES = 16 * 1024 * 1024;
/** Of Kafka's long poll: an answer comes as soon as there is a record. */
const WAIT_MS = 500;
/** UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER: it is not there, or is being made. */
const NOT_YET: readonly number[] = [3, 5, 6];

export type Visit = (batch: Buffer, position: number, records: number) => void;

/** The last stable offset of each partition; undefined where the topic is not there. */
export async function committedEnds(
	client: KafkaClient,
	topic: string,
	partitions: number,
): Promise<number[] | undefined> {
	const { topics } = await client.request(ListOffsetsRequest, ListOffsetsResponse, LIST_OFFSETS_VERSION, {
		replicaId: -1,
		isolationLevel: READ_COMMITTED,
		topics: [
			{
				name: topic,
				partitions: Array.from({ length: partitions }, (_, i) => ({ partitionIndex: i, timestamp: LATEST })),
			},
		],
	});
	const answers = topics[0]?.partitions ?? [];
	if (answers.some(({ errorCode }) => NOT_YET.includes(errorCode))) return undefined;
	const failed = answers.find(({ errorCode }) => errorCode !== 0);
	if (failed !== undefined) throw new Error(`the end of ${topic}: error ${failed.errorCode}`);
	return answers.toSorted((a, b) => a.partitionIndex - b.partitionIndex).map(({ offset }) => offset);
}

/** A reader of all partitions of a topic. */
export class CommittedReader {
	readonly #client: KafkaClient;
	readonly #topic: string;
	/** By partition; those that were answered last come last, for an answer may be full with the first. */
	readonly #offsets: Map<number, number>;
	readonly #view = new CommittedView();

	private constructor(client: KafkaClient, topic: string, offsets: Map<number, number>) {
		this.#client = client;
		this.#topic = topic;
		this.#offsets = offsets;
	}

	static async open(
		bootstrap: string,
		topic: string,
		partitions: number,
		from: "start" | "end",
	): Promise<CommittedReader> {
		const client = await KafkaClient.open(bootstrap);
		const ends = from === "end" ? await committedEnds(client, topic, partitions) : undefined;
		const offsets = Array.from({ length: partitions }, (_, i): [number, number] => [i, ends?.[i] ?? 0]);
		return new CommittedReader(client, topic, new Map(offsets));
	}

	/** Batches that were aborted, so far. */
	get abortedBatches(): number {
		return this.#view.abortedBatches;
	}

	/** One answer: `visit` gets each committed batch of it. */
	async next(visit: Visit): Promise<void> {
		const partitions = [...this.#offsets].map(([partition, fetchOffset]) => ({
			partition,
			fetchOffset,
			partitionMaxBytes: PARTITION_BYTES,
		}));
		const { responses } = await this.#client.request(FetchRequest, FetchResponse, FETCH_VERSION, {
			maxWaitMs: WAIT_MS,
			minBytes: 1,
			maxBytes: ANSWER_BYTES,
			isolationLevel: READ_COMMITTED,
			topics: [{ topic: this.#topic, partitions }],
		});
		for (const { partitionIndex, errorCode, records, abortedTransactions } of responses[0]?.partitions ?? []) {
			if (errorCode !== 0) throw new Error(`reading ${this.#topic}: error ${errorCode}`);
			const from = this.#offsets.get(partitionIndex) as number;
			if (records === null || records.length === 0) continue;
			const next = this.#view.walk(
				{ records, aborted: abortedTransactions ?? [] },
				from,
				(bytes, position, { count }) => visit(bytes, position, count),
			);
			this.#offsets.delete(partitionIndex);
			this.#offsets.set(partitionIndex, next);
		}
	}

	/** Whether it has come to these ends. */
	isAt(ends: readonly number[]): boolean {
		return ends.every((end, partition) => (this.#offsets.get(partition) ?? 0) >= end);
	}

	close(): void {
		this.#client.close();
	}
}

/** All that are committed, counted one by one. */
export async function countCommitted(bootstrap: string, topic: string, partitions: number): Promise<number> {
	const client = await KafkaClient.open(bootstrap);
	const ends = await committedEnds(client, topic, partitions);
	client.close();
	if (ends === undefined) return 0;
	const reader = await CommittedReader.open(bootstrap, topic, partitions, "start");
	let records = 0;
	while (!reader.isAt(ends)) {
		await reader.next((_bytes, _position, count) => {
			records += count;
		});
	}
	reader.close();
	return records;
}

/** `visit` gets each value from the present end on, as soon as it can be seen, until `stop`; resolves when it reads. */
export async function followValues(
	bootstrap: string,
	topic: string,
	partitions: number,
	visit: (value: Buffer) => void,
): Promise<{ stop(): Promise<void> }> {
	const reader = await CommittedReader.open(bootstrap, topic, partitions, "end");
	let isOver = false;
	const reading = (async () => {
		while (!isOver) {
			await reader.next((bytes, position) =>
				forEachRecord(bytes, position, ({ source, valueStart, valueEnd }) =>
					visit(source.subarray(valueStart, valueEnd)),
				),
			);
		}
		reader.close();
	})();
	// Whoever stops it learns of it.
	reading.catch(() => {});
	return {
		stop() {
			isOver = true;
			return reading;
		},
	};
}
