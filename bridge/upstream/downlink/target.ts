/** What a rule makes of a central topic: which of its records are taken, and what they become in the topic here. */
import type { Broker } from "../../../src/broker/broker.ts";
import type { Topic } from "../../../src/broker/topics.ts";
import type { DownlinkRule } from "../../../src/config/definition.ts";
import type { Partition } from "../../../src/log/partition.ts";
import type { LogRecord, RecordView } from "../../../src/record/batch.ts";
import { EMPTY_HEADERS_BLOCK, NULL_KEY_BLOCK } from "../../../src/record/builder.ts";
import { partitionForKey } from "../../../src/record/partitioner.ts";
import { varintSize, writeVarint } from "../../../src/record/varint.ts";
import { RecordFilter } from "./record-filter.ts";

/** What a record is to MQTT's retained messages: a change in the commit of the record. */
export interface Retained {
	/** What it adds to the commit at most. */
	readonly bytes: number;
	/** `offset`: of the record. Throws BrokerError POLICY_VIOLATION where there are as many as may be. */
	work(offset: number): void;
}

/** What becomes of a record of `partition` that is to be retained; undefined: nothing. The record's offset is not known yet. */
export type Retain = (partition: Partition, record: LogRecord) => Retained | undefined;

/** A record that a rule took, on its way into the log. Its bytes are views of the batch that it came in. */
export interface Taken {
	readonly target: Target;
	/** Here. */
	readonly partition: Partition;
	/** In the central partition. */
	readonly offset: number;
	readonly timestampMs: number;
	readonly keyBlock: Uint8Array;
	readonly source: Buffer;
	readonly valueStart: number;
	readonly valueEnd: number;
	readonly headersBlock: Uint8Array;
	readonly retained: Retained | undefined;
	/** What it adds to a commit at most. */
	readonly bytes: number;
}

/** Of topics that are made here: a gateway has no use for as many as a cluster may have. */
const PARTITIONS_MAX = 32;
/** What a record alone in its batch takes in a commit beyond key, value and headers; generous. */
const RECORD_OVERHEAD_BYTES = 192;

export class Target {
	readonly rule: DownlinkRule;
	/** Since the process started. */
	readonly counters = { received: 0, filtered: 0, refused: 0 };
	readonly #broker: Broker;
	readonly #filter: RecordFilter;
	readonly #retain: Retain | undefined;

	constructor(broker: Broker, rule: DownlinkRule, gatewayId: string, retain: Retain | undefined) {
		this.rule = rule;
		this.#broker = broker;
		this.#filter = new RecordFilter(rule, gatewayId);
		this.#retain = rule.retain ? retain : undefined;
	}

	/** The topic here, made where it is missing. Throws what `Topics.create` does. */
	topic(centralPartitions: number): Topic {
		const partitions = Math.max(1, Math.min(centralPartitions, PARTITIONS_MAX));
		return this.#broker.topics.create({ name: this.rule.to, partitions, ifNotExists: true });
	}

	/** undefined: the rule does not want it. `number`: of the central partition. Throws what `topic` does. */
	take(view: RecordView, number: number, centralPartitions: number): Taken | undefined {
		if (!this.#filter.takes(view)) {
			this.counters.filtered += 1;
			return undefined;
		}
		const { source, keyStart, keyEnd, valueStart, valueEnd, offset } = view;
		const key = keyStart < 0 ? null : source.subarray(keyStart, keyEnd);
		const { partitions } = this.topic(centralPartitions);
		// Without keys, what was in order in its partition there stays so here.
		const at = key === null ? number % partitions.length : partitionForKey(key, partitions.length);
		const partition = partitions[at] as Partition;
		const timestampMs = view.timestamp < 0 ? this.#broker.clock.now() : view.timestamp;
		const keyBlock = key === null ? NULL_KEY_BLOCK : source.subarray(view.keyLengthStart, keyEnd);
		const headersBlock = headersBlockOf(view);
		const retained = this.#retain?.(partition, {
			offset,
			timestamp: timestampMs,
			key,
			value: valueStart < 0 ? null : source.subarray(valueStart, valueEnd),
			headers: view.headers(),
		});
		const bytes =
			keyBlock.length +
			headersBlock.length +
			(valueEnd - valueStart) +
			RECORD_OVERHEAD_BYTES +
			(retained === undefined ? 0 : retained.bytes);
		return {
			target: this,
			partition,
			offset,
			timestampMs,
			keyBlock,
			source,
			valueStart,
			valueEnd,
			headersBlock,
			retained,
			bytes,
		};
	}
}

/** Count and headers as they stand in the record. */
function headersBlockOf({ source, headerCount, headersStart, headersEnd }: RecordView): Uint8Array {
	if (headerCount === 0) return EMPTY_HEADERS_BLOCK;
	const block = Buffer.allocUnsafe(varintSize(headerCount) + headersEnd - headersStart);
	source.copy(block, writeVarint(block, 0, headerCount), headersStart, headersEnd);
	return block;
}
