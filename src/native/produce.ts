/**
 * Produce: all records of one request in one commit, or none; the answer leaves when that commit is durable. With a client id
 * and sequence numbers, once however often it is sent (producers.ts).
 */
import { BrokerError } from "../base/errors.ts";
import type { Broker } from "../broker/broker.ts";
import { pickPartition } from "../broker/pick-partition.ts";
import type { Topic } from "../broker/topics.ts";
import type { Partition } from "../log/partition.ts";
import { EMPTY_HEADERS_BLOCK, encodeHeadersBlock, encodeKeyBlock, NULL_KEY_BLOCK } from "../record/builder.ts";
import { errorBody, frameOf, wireError } from "./answers.ts";
import { MESSAGE, PRODUCER_WINDOW, ProtocolError } from "./codec/protocol.ts";
import type { Request } from "./codec/requests.ts";
import { CborWriter } from "./codec/writer.ts";
import type { Connection } from "./connection.ts";
import { partitionOf } from "./positions.ts";
import type { Producer, Producers } from "./producers.ts";

type WireHeader = readonly [name: string, value: Buffer | null];
type WireRecord = readonly [
	key: Buffer | null,
	value: Buffer | null,
	timestamp?: number | null,
	headers?: WireHeader[],
];
type WireGroup = readonly [topic: string, partition: number | null, records: readonly WireRecord[]];

/** What a record takes as stored beside key, value and headers, at most: the batch's header, and lengths, offset and time. */
const RECORD_OVERHEAD_BYTES = 61 + 42;
/** What a group adds to a commit for each partition that it writes to. */
const PARTITION_OVERHEAD_BYTES = 96;
/** A producer's entry in the state table, but for the answer. */
const STATE_OVERHEAD_BYTES = 1024;
const EMPTY = new Uint8Array(0);

/** Counts since the start of the process. */
export interface ProduceCounts {
	records: number;
	bytes: number;
}

export class Produce {
	readonly #broker: Broker;
	readonly #producers: Producers;
	readonly #counts: ProduceCounts;

	constructor(broker: Broker, producers: Producers, counts: ProduceCounts) {
		this.#broker = broker;
		this.#producers = producers;
		this.#counts = counts;
	}

	handle(connection: Connection, request: Request): void {
		const sequence = request.body.get(1) as number | undefined;
		const groups = request.body.get(0) as readonly WireGroup[];
		if (sequence === undefined) this.#once(connection, request.id, groups);
		else if (connection.producer === undefined) {
			throw new ProtocolError(
				"INVALID_REQUEST",
				`request ${request.id} (produce): a sequence without a client id in hello`,
			);
		} else this.#idempotent(connection, request.id, groups, connection.producer, sequence);
	}

	/** Not idempotent: durable all the same. */
	#once(connection: Connection, id: number, groups: readonly WireGroup[]): void {
		const place = connection.reserveAnswer();
		let body: Buffer;
		try {
			body = this.#append(groups, (answer) => answer);
		} catch (error) {
			const { code, message } = wireError(error);
			connection.fillAnswer(place, frameOf(MESSAGE.ERROR, id, errorBody(code, message)));
			return;
		}
		this.#broker.log.onCommit({
			committed: () => connection.fillAnswer(place, frameOf(MESSAGE.PRODUCE, id, body)),
		});
	}

	#idempotent(
		connection: Connection,
		id: number,
		groups: readonly WireGroup[],
		producer: Producer,
		sequence: number,
	): void {
		const place = connection.reserveAnswer();
		const answer = (type: number, body: Buffer) => connection.fillAnswer(place, frameOf(type, id, body));
		const refuse = (error: BrokerError) => answer(MESSAGE.ERROR, errorBody(error.code, error.message));
		if (sequence > producer.lastSequence + 1) {
			refuse(
				new BrokerError(
					"OUT_OF_ORDER_SEQUENCE_NUMBER",
					`sequence ${sequence} where ${producer.lastSequence + 1} comes next for client id ${producer.clientId}`,
				),
			);
			return;
		}
		if (sequence <= producer.lastSequence) {
			this.#resent(producer, sequence, answer, refuse);
			return;
		}
		const taken = this.#take(groups, producer, sequence);
		if (taken === undefined) {
			refuse(notStored());
			return;
		}
		const { type, body } = taken;
		this.#broker.log.onCommit({
			committed: () => {
				answer(type, body);
				this.#producers.committed(producer, sequence, type, body);
			},
		});
	}

	/** Takes the next sequence number, with its records or its refusal; undefined when nothing can be stored. */
	#take(
		groups: readonly WireGroup[],
		producer: Producer,
		sequence: number,
	): { type: number; body: Buffer } | undefined {
		const takeAs = (type: number, body: Buffer) => {
			this.#producers.take(producer, sequence, type, body);
			return { type, body };
		};
		try {
			return this.#append(groups, (body) => takeAs(MESSAGE.PRODUCE, body));
		} catch (error) {
			// A refusal uses its sequence number up, so that requests sent behind it keep theirs.
			producer.lastSequence = sequence;
			if (this.#broker.log.refusal !== undefined) return undefined;
			const { code, message } = wireError(error);
			return takeAs(MESSAGE.ERROR, errorBody(code, message));
		}
	}

	/** Sent before: stored once, answered as the first time, and not before the first time's commit is durable. */
	#resent(
		producer: Producer,
		sequence: number,
		answer: (type: number, body: Buffer) => void,
		refuse: (error: BrokerError) => void,
	): void {
		const waiters = producer.uncommitted.get(sequence);
		if (waiters !== undefined) {
			waiters.push(answer);
			return;
		}
		const stored = this.#producers.storedAnswer(producer, sequence);
		if (stored !== undefined) {
			answer(stored.type, stored.body);
			return;
		}
		if (sequence > producer.lastSequence - PRODUCER_WINDOW) {
			refuse(notStored());
			return;
		}
		refuse(
			new BrokerError(
				"DUPLICATE_SEQUENCE_NUMBER",
				`sequence ${sequence} was taken before; its answer is kept for the last ${PRODUCER_WINDOW} only`,
			),
		);
	}

	/** Appends all records and does what `finish` does with the answer's body, in one commit; checks everything before the first. */
	#append<T>(groups: readonly WireGroup[], finish: (body: Buffer) => T): T {
		let bytes = STATE_OVERHEAD_BYTES;
		const topics: Topic[] = [];
		for (const group of groups) {
			const topic = this.#topicOf(group);
			topics.push(topic);
			bytes += checkedBytes(topic, group);
		}
		return this.#broker.log.group(bytes, () => {
			const now = this.#broker.clock.now();
			const answer = new CborWriter(64).map(2).uint(0).array(groups.length);
			for (let i = 0; i < groups.length; i++) {
				const [, number, records] = groups[i] as WireGroup;
				this.#appendGroup(topics[i] as Topic, number, records, now, answer);
			}
			return finish(answer.uint(1).int(now).take());
		});
	}

	/** The answer's part for one group: [count, partition, first offset] for each run of records in one partition. */
	#appendGroup(
		topic: Topic,
		number: number | null,
		records: readonly WireRecord[],
		now: number,
		answer: CborWriter,
	): void {
		const runs: number[] = [];
		let last: Partition | undefined;
		for (const [key, value, timestamp, headers] of records) {
			const partition = number === null ? pickPartition(topic, key) : (topic.partitions[number] as Partition);
			const offset = partition.appendRecord(
				partition.config.timestampType === "append" ? now : (timestamp ?? now),
				key === null ? NULL_KEY_BLOCK : encodeKeyBlock(key),
				value ?? EMPTY,
				value === null ? -1 : 0,
				value === null ? -1 : value.length,
				headers === undefined || headers.length === 0
					? EMPTY_HEADERS_BLOCK
					: encodeHeadersBlock(headers.map(([name, content]) => ({ key: name, value: content }))),
			);
			this.#counts.records++;
			this.#counts.bytes += (key?.length ?? 0) + (value?.length ?? 0);
			if (partition === last) (runs[runs.length - 3] as number)++;
			else runs.push(1, partition.number, offset);
			last = partition;
		}
		answer.array(runs.length / 3);
		for (let i = 0; i < runs.length; i += 3) {
			answer.array(3);
			for (const item of runs.slice(i, i + 3)) answer.uint(item);
		}
	}

	#topicOf([name, number]: WireGroup): Topic {
		const topic = this.#broker.topics.get(name);
		if (topic === undefined) {
			throw new BrokerError(
				"UNKNOWN_TOPIC_OR_PARTITION",
				`there is no topic ${name}; create it with \`headwater topic create ${name}\``,
			);
		}
		if (number !== null) partitionOf(topic, number);
		return topic;
	}
}

function notStored(): BrokerError {
	return new BrokerError(
		"KAFKA_STORAGE_ERROR",
		"the gateway cannot store anything at the moment; the records were not taken",
	);
}

/** What a group takes as stored, at most. Throws MESSAGE_TOO_LARGE, INVALID_RECORD. */
function checkedBytes(topic: Topic, [, , records]: WireGroup): number {
	const limit = topic.partitions[0]?.config.maxMessageBytes ?? 0;
	let total = topic.partitions.length * PARTITION_OVERHEAD_BYTES;
	for (let i = 0; i < records.length; i++) {
		const [key, value, , headers] = records[i] as WireRecord;
		if (key === null) topic.partitions[0]?.requireKey();
		let bytes = RECORD_OVERHEAD_BYTES + (key?.length ?? 0) + (value?.length ?? 0);
		for (const [name, content] of headers ?? []) bytes += 10 + Buffer.byteLength(name) + (content?.length ?? 0);
		if (bytes > limit) {
			throw new BrokerError(
				"MESSAGE_TOO_LARGE",
				`record ${i} takes ${bytes} bytes and topic ${topic.name} allows ${limit} (max.message.bytes)`,
			);
		}
		total += bytes;
	}
	return total;
}
