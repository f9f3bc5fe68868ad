/**
 * Records that the central cluster does not take are kept aside, in a topic here, with where they were and why they were
 * refused; all others flow on. Each is there once, whatever crashes: a row that says so is in the commit that has the record.
 */
import { BrokerError } from "../../../src/base/errors.ts";
import type { Broker } from "../../../src/broker/broker.ts";
import type { TopicConfig } from "../../../src/catalog/topic-config.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";
import { BATCH_HEADER_BYTES, MAX_DECOMPRESSED_BYTES, RecordView, readBatchHeader } from "../../../src/record/batch.ts";
import {
	EMPTY_HEADERS_BLOCK,
	encodeHeadersBlock,
	encodeKeyBlock,
	NULL_KEY_BLOCK,
} from "../../../src/record/builder.ts";
import { MAX_VARINT_BYTES, writeVarint } from "../../../src/record/varint.ts";

export interface RefusedRecord {
	readonly partition: Partition;
	readonly offset: number;
	readonly reason: string;
}

const { UPSTREAM } = StateSpace;
const ROW = Uint8Array.of(1);
/** What is kept aside is for a person to look at, and must not fill the disk. Whole segments go: so many bytes, and one of these, at the most. */
const CONFIG: TopicConfig = {
	"cleanup.policy": "delete",
	"retention.ms": "-1",
	"retention.bytes": String(64 * 1024 * 1024),
	"segment.bytes": String(8 * 1024 * 1024),
	// That it is too large is why many a record comes here.
	"max.message.bytes": String(8 * 1024 * 1024),
};
const READ_BYTES = 256 * 1024;
/** What a record has beside its key block, value and headers block, for a commit and for `Partition.appendRecord`. */
const OVERHEAD_BYTES = BATCH_HEADER_BYTES + 32;
const ROW_BYTES = 512;

export class Quarantine {
	readonly #broker: Broker;
	readonly #topicName: string;

	constructor(broker: Broker, topicName: string) {
		this.#broker = broker;
		this.#topicName = topicName;
		broker.topics.onDeleted(({ id }) => this.#forgetRows(`q\0${id}\0`, Number.POSITIVE_INFINITY));
	}

	/**
	 * Durable when it resolves, in the ledger of losses too. Records that are held already, or are no longer there, are not an
	 * error. Rejects as `Partition.read` and `Topics.create` do, and where storage refuses: some may be held then.
	 */
	async hold(records: readonly RefusedRecord[]): Promise<void> {
		const byPartition = Map.groupBy(records, ({ partition }) => partition);
		for (const [partition, its] of byPartition) {
			const reasons = new Map(its.map(({ offset, reason }) => [offset, reason]));
			await this.#holdOf(partition, new Map([...reasons].sort(([a], [b]) => a - b)));
		}
	}

	/** Of the records that are held. What a crash has kept out of the ledger is entered there. */
	offsetsOf(partition: Partition): number[] {
		const rows = this.#rowsOf(partition);
		if (rows === undefined) return [];
		const offsets = [...this.#broker.log.scanState(UPSTREAM, rows)].map(([key]) => offsetIn(key)).sort((a, b) => a - b);
		const reason = `it is in ${this.#topicName}, with the reason`;
		this.#enterLosses(partition, new Map(offsets.map((offset) => [offset, reason])));
		return offsets;
	}

	/** The rows of records before offset `before` go: nobody will send those again. Durable with the commit being gathered. */
	forget(partition: Partition, before: number): void {
		const rows = this.#rowsOf(partition);
		if (rows !== undefined) this.#forgetRows(rows, before);
	}

	#forgetRows(prefix: string, before: number): void {
		const { log } = this.#broker;
		// A row too many does no harm.
		if (log.refusal !== undefined) return;
		for (const [key] of [...log.scanState(UPSTREAM, prefix)])
			if (offsetIn(key) < before) log.deleteState(UPSTREAM, key);
	}

	/** `reasons`: by offset, which rises. */
	async #holdOf(partition: Partition, reasons: ReadonlyMap<number, string>): Promise<void> {
		const { log } = this.#broker;
		const waiting = [...reasons.keys()].filter((offset) => !this.#isHeld(partition, offset));
		while (waiting.length > 0) {
			const from = waiting[0] as number;
			const bytes = await this.#read(partition, from);
			let next = from + 1;
			for (let position = 0; position < bytes.length && waiting.length > 0; ) {
				const header = readBatchHeader(bytes, position);
				const view = new RecordView(bytes, position, header, MAX_DECOMPRESSED_BYTES);
				while ((waiting[0] ?? Number.POSITIVE_INFINITY) <= header.lastOffset && view.next()) {
					// Those before it are gone: compaction, or damage.
					while (waiting.length > 0 && (waiting[0] as number) < view.offset) waiting.shift();
					if (waiting[0] !== view.offset) continue;
					this.#append(partition, view, reasons.get(view.offset) as string);
					waiting.shift();
				}
				next = header.lastOffset + 1;
				position += header.sizeBytes;
			}
			while (waiting.length > 0 && (waiting[0] as number) < next) waiting.shift();
			// A piece at a time: what waits for the disk is in memory.
			await log.whenCommitted();
		}
		// What was held before may not be durable yet.
		await log.whenCommitted();
		this.#enterLosses(partition, reasons);
	}

	/** From the batch that has it on; empty where it is gone. */
	async #read(partition: Partition, offset: number): Promise<Buffer> {
		try {
			return await partition.read(offset, READ_BYTES);
		} catch (error) {
			const isGone =
				error instanceof BrokerError &&
				(error.code === "OFFSET_OUT_OF_RANGE" || error.code === "UNKNOWN_TOPIC_OR_PARTITION");
			if (isGone) return Buffer.alloc(0);
			throw error;
		}
	}

	/** The record, and the row that says that it is here, to the commit being gathered. */
	#append(partition: Partition, view: RecordView, reason: string): void {
		const { log, topics, clock } = this.#broker;
		const key = this.#rowOf(partition, view.offset);
		// Its topic was deleted; or somebody else held it in the meantime.
		if (key === undefined || log.getState(UPSTREAM, key) !== undefined) return;
		const topic = topics.create({ name: this.#topicName, partitions: 1, config: CONFIG, ifNotExists: true });
		const aside = topic.partitions[0] as Partition;
		const record = this.#held(partition, view, reason, aside);
		log.group((record === undefined ? 0 : sizeOf(record)) + ROW_BYTES, () => {
			if (record !== undefined) {
				const { keyBlock, valueStart, valueEnd, headersBlock } = record;
				aside.appendRecord(clock.now(), keyBlock, view.source, valueStart, valueEnd, headersBlock);
			}
			log.putState(UPSTREAM, key, ROW);
		});
	}

	/** As much of the record as the topic takes: all of it, or not its value, or only where it was; undefined: nothing. */
	#held(partition: Partition, view: RecordView, reason: string, aside: Partition): HeldRecord | undefined {
		const { source, keyLengthStart, keyEnd, valueStart, valueEnd } = view;
		const origin = [
			text("topic", partition.topic),
			text("partition", partition.number),
			text("offset", view.offset),
			text("timestamp", view.timestamp),
			text("reason", reason),
		];
		const most = Math.min(aside.config.maxMessageBytes, this.#broker.log.groupBytesMax - ROW_BYTES);
		const left = (what: string) => [...origin, text("left.out", `${what}: topic ${aside.topic} takes ${most} bytes`)];
		const value = `the value of ${Math.max(0, valueEnd - valueStart)} bytes`;
		const noValue = { valueStart: -1, valueEnd: -1 };
		// Somebody may have made the topic a compacted one, which takes nothing without a key.
		const noKey = aside.config.cleanupPolicy.compact
			? encodeKeyBlock(Buffer.from(`${partition.topic}-${partition.number}-${view.offset}`))
			: NULL_KEY_BLOCK;
		const keyBlock = keyEnd < 0 ? noKey : source.subarray(keyLengthStart, keyEnd);
		const ways: (() => HeldRecord)[] = [
			() => ({ keyBlock, valueStart, valueEnd, headersBlock: withHeaders(view, origin) }),
			() => ({ ...noValue, keyBlock, headersBlock: withHeaders(view, left(value)) }),
			() => ({ ...noValue, keyBlock: noKey, headersBlock: encodeHeadersBlock(left(`${value}, key and headers`)) }),
		];
		for (const way of ways) {
			const record = way();
			if (sizeOf(record) <= most) return record;
		}
		return undefined;
	}

	/** One entry for offsets in a row with the same reason; none for what is in the ledger already. */
	#enterLosses(partition: Partition, reasons: ReadonlyMap<number, string>): void {
		const { losses } = this.#broker.log;
		const runs: { first: number; next: number; reason: string }[] = [];
		let count = 0;
		for (const [offset, reason] of reasons) {
			if (losses.has(partition, offset)) continue;
			const run = runs.at(-1);
			if (run?.next === offset && run.reason === reason) run.next += 1;
			else runs.push({ first: offset, next: offset + 1, reason });
			count += 1;
		}
		for (const { first, next, reason } of runs) losses.heldBack(partition, first, next, `not sent upstream: ${reason}`);
		const [run] = runs;
		if (run === undefined) return;
		const { topic, number } = partition;
		const fields = { topic, partition: number, offset: run.first, count, reason: run.reason, heldIn: this.#topicName };
		this.#broker.logger.warn("records are not sent upstream, and kept aside", fields);
	}

	#isHeld(partition: Partition, offset: number): boolean {
		const key = this.#rowOf(partition, offset);
		return key !== undefined && this.#broker.log.getState(UPSTREAM, key) !== undefined;
	}

	#rowOf(partition: Partition, offset: number): string | undefined {
		const rows = this.#rowsOf(partition);
		return rows === undefined ? undefined : `${rows}${offset}`;
	}

	/** What the keys of the partition's rows begin with; undefined: its topic was deleted. */
	#rowsOf(partition: Partition): string | undefined {
		const topic = this.#broker.topics.get(partition.topic);
		return topic?.partitions[partition.number] === partition ? `q\0${topic.id}\0${partition.number}\0` : undefined;
	}
}

function offsetIn(key: string): number {
	return Number(key.slice(key.lastIndexOf("\0") + 1));
}

/** As for `Partition.appendRecord`; the value is within what the view reads. */
interface HeldRecord {
	readonly keyBlock: Uint8Array;
	readonly valueStart: number;
	readonly valueEnd: number;
	readonly headersBlock: Buffer;
}

function sizeOf({ keyBlock, valueStart, valueEnd, headersBlock }: HeldRecord): number {
	return keyBlock.length + (valueEnd - valueStart) + headersBlock.length + OVERHEAD_BYTES;
}

function text(name: string, value: string | number): { key: string; value: Buffer } {
	return { key: `headwater.${name}`, value: Buffer.from(String(value)) };
}

/** The record's own headers, and behind them `more`. */
function withHeaders(
	{ source, headerCount, headersStart, headersEnd }: RecordView,
	more: ReturnType<typeof text>[],
): Buffer {
	const count = Buffer.alloc(MAX_VARINT_BYTES);
	const countBytes = writeVarint(count, 0, headerCount + more.length);
	const added = encodeHeadersBlock(more).subarray(EMPTY_HEADERS_BLOCK.length);
	return Buffer.concat([count.subarray(0, countBytes), source.subarray(headersStart, headersEnd), added]);
}
