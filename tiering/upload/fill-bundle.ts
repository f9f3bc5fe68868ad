/**
 * Fills a bundle with what is pending: ranges of partitions, oldest records first, up to a size. What happens to a partition
 * meanwhile (its topic is deleted, retention takes its oldest records, compaction changes its files) ends its range early or
 * leaves it out; it never ends the bundle.
 */
import type { Clock } from "../../src/base/clock.ts";
import { BrokerError } from "../../src/base/errors.ts";
import type { Pressure } from "../../src/base/pressure.ts";
import type { Partition } from "../../src/log/partition.ts";
import { readBatchHeader } from "../../src/record/batch.ts";
import type { BundleRange } from "../bundle/footer.ts";
import { BLOCK_RAW_BYTES_MAX } from "../bundle/layout.ts";
import type { BundleWriter } from "../bundle/writer.ts";
import { type PendingRange, pendingFrom } from "./pending.ts";
import type { Persistence } from "./persistence.ts";

export interface FillServices {
	readonly clock: Clock;
	readonly pressure: Pressure;
	readonly persistence: Persistence;
	/** So many bytes of record batches were added. */
	readonly added: (bytes: number) => void;
}

export interface FilledRange {
	readonly pending: PendingRange;
	readonly range: BundleRange;
}

/** A partition whose records cannot be uploaded, and why. */
export interface PendingProblem {
	readonly pending: PendingRange;
	readonly message: string;
}

const READ_BYTES = 256 * 1024;
/** While more is in memory than should be, nothing is read; so often it is looked at again. */
const PRESSURE_LOOK_MS = 250;

export class BundleFilling {
	readonly filled: FilledRange[] = [];
	readonly problems: PendingProblem[] = [];
	readonly #writer: BundleWriter;
	readonly #services: FillServices;
	readonly #scratch = Buffer.allocUnsafeSlow(READ_BYTES);
	#rawBytes = 0;

	constructor(writer: BundleWriter, services: FillServices) {
		this.#writer = writer;
		this.#services = services;
	}

	/** Adds ranges until there are `maxBytes` of record batches, or none is pending. Rejects with what the writer does. */
	async fill(pending: Iterable<PendingRange>, maxBytes: number): Promise<void> {
		for (const each of pending) {
			if (this.#rawBytes >= maxBytes || this.#writer.isFull) return;
			const range = await this.#add(each, maxBytes);
			if (range !== undefined) this.filled.push({ pending: each, range });
		}
	}

	async #add(pending: PendingRange, maxBytes: number): Promise<BundleRange | undefined> {
		const { topic, partition, to } = pending;
		const from = pendingFrom(partition);
		const place = { topicId: topic.id, topic: topic.name, partition: partition.number, partitionId: partition.id };
		let base: number | undefined;
		let next = from;
		while (next < to && (base === undefined || (this.#rawBytes < maxBytes && !this.#writer.isFull))) {
			const bytes = await this.#read(pending, next, maxBytes);
			if (bytes === undefined) break;
			if (base === undefined) {
				// Records may have been deleted up to the middle of a batch.
				base = bytes.length === 0 ? from : Math.min(from, readBatchHeader(bytes, 0).baseOffset);
				this.#writer.beginRange({ ...place, baseOffset: base });
			}
			await this.#writer.addBatches(bytes);
			this.#rawBytes += bytes.length;
			this.#services.added(bytes.length);
			// Of what is empty, compaction has left nothing.
			next = bytes.length === 0 ? to : Math.max(next, endOf(bytes));
		}
		if (base === undefined) return undefined;
		const { epochs, transactions } = partition;
		return this.#writer.endRange(next, epochs.within(base, next), transactions.aborted(base, next));
	}

	/** Empty where there is nothing up to the end; undefined where nothing can be read. */
	async #read(pending: PendingRange, offset: number, maxBytes: number): Promise<Buffer | undefined> {
		const { clock, persistence } = this.#services;
		const { partition, to } = pending;
		const wanted = Math.max(1, Math.min(READ_BYTES, maxBytes - this.#rawBytes));
		for (;;) {
			await this.#room();
			persistence.throwIfEnded();
			const { flushedOffset } = partition;
			try {
				const bytes = await partition.read(offset, wanted, to, (count) => this.#take(count));
				if (bytes.length > BLOCK_RAW_BYTES_MAX) {
					this.#fail(pending, tooLarge(partition, offset, bytes.length));
					return undefined;
				}
				// What is being written to a file just now may be in neither place for a moment.
				if (bytes.length > 0 || flushedOffset >= to) return bytes;
			} catch (error) {
				if (!(error instanceof BrokerError)) throw error;
				if (error.code !== "UNKNOWN_TOPIC_OR_PARTITION" && error.code !== "OFFSET_OUT_OF_RANGE")
					this.#fail(pending, error.message);
				return undefined;
			}
			await new Promise<void>((resolve) => clock.soon(resolve));
		}
	}

	#fail(pending: PendingRange, message: string): void {
		this.problems.push({ pending, message });
	}

	async #room(): Promise<void> {
		while (this.#services.pressure.over)
			await this.#services.persistence.sleep(PRESSURE_LOOK_MS, "room in memory (memory.budget.bytes)");
	}

	#take(bytes: number): Buffer {
		return bytes <= READ_BYTES ? this.#scratch : Buffer.allocUnsafeSlow(bytes);
	}
}

/** The offset behind the last of whole batches. */
function endOf(bytes: Buffer): number {
	let next = 0;
	for (let at = 0; at < bytes.length; ) {
		const { sizeBytes, lastOffset } = readBatchHeader(bytes, at);
		next = lastOffset + 1;
		at += sizeBytes;
	}
	return next;
}

function tooLarge({ topic, number }: Partition, offset: number, bytes: number): string {
	return `the record batch at offset ${offset} of ${topic}-${number} has ${bytes} bytes, and a bundle takes batches of ${BLOCK_RAW_BYTES_MAX} bytes: what is there from that on stays on this machine; set max.message.bytes of the topic to ${BLOCK_RAW_BYTES_MAX} or less for what comes`;
}
