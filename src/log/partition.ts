/**
 * One partition: the batches being gathered, the committed ones not yet in a file (the tail), and
 * the segments. Offsets are given out on append, in order, without holes; readers see only what is
 * durable, that is, below the high watermark.
 */

import type { TakeBuffer } from "../base/buffer-pool.ts";
import { BrokerError, DamageError } from "../base/errors.ts";
import type { PartitionConfig } from "../catalog/partition-config.ts";
import { BATCH_HEADER_BYTES, type BatchHeader, readBatchHeader, setBaseOffset } from "../record/batch.ts";
import { type BatchBuilder, NULL_KEY_BLOCK } from "../record/builder.ts";
import { type AppendOperation, heldBytes } from "./entry.ts";
import type { Gatherer } from "./gatherer.ts";
import type { LeaderEpochs } from "./leader-epochs.ts";
import { PartitionTransactions } from "./partition-transactions.ts";
import { SegmentReader } from "./segment-reader.ts";
import type { SegmentSet } from "./segment-set.ts";
import { PATIENCE_MS, type Tier } from "./tier.ts";

export interface Watcher {
	/** The high watermark moved. Called right after the commit; must not throw. */
	advanced(partition: Partition): void;
	/** The partition's topic was deleted. Must not throw. */
	closed?(): void;
}

/** A batch is sealed at this size, so that one read of it is never large. */
const BATCH_BYTES_MAX = 256 * 1024;
/** A key's block begins with its length: -1 where there is none. */
const NULL_KEY = NULL_KEY_BLOCK[0];
/** What was being read here is in the object store only, since a moment ago. */
const MOVED = new Error("moved to the object store");
/** More memory in unwritten batches than this and the partition writes them to its segment. */
const TAIL_BYTES_MAX = 128 * 1024;

export class Partition {
	readonly id: number;
	readonly topic: string;
	readonly number: number;
	config: PartitionConfig;
	readonly segments: SegmentSet;
	/** What is appended gets the newest. */
	readonly epochs: LeaderEpochs;
	/** The producers' transactions in it: which are open, which were aborted. */
	readonly transactions: PartitionTransactions;
	readonly #gatherer: Gatherer;
	readonly #builder: BatchBuilder;
	#building = false;
	/** Sealed for the commit being gathered. */
	#sealed: AppendOperation[] = [];
	#gathering = false;
	#endOffset: number;
	#highWatermark: number;
	#flushedOffset: number;
	#tail: AppendOperation[] = [];
	#tailBytes = 0;
	#watchers: Watcher[] = [];
	/** Its topic was deleted: nothing of it is kept any more. */
	#closed = false;
	readonly #reader: SegmentReader;

	constructor(
		id: number,
		topic: string,
		number: number,
		segments: SegmentSet,
		gatherer: Gatherer,
		config: PartitionConfig,
		epochs: LeaderEpochs,
	) {
		this.id = id;
		this.topic = topic;
		this.number = number;
		this.segments = segments;
		this.epochs = epochs;
		this.config = config;
		this.#gatherer = gatherer;
		this.#builder = gatherer.newBuilder(epochs.current);
		this.#endOffset = segments.nextOffset;
		this.#highWatermark = segments.nextOffset;
		this.#flushedOffset = segments.nextOffset;
		this.transactions = new PartitionTransactions(id, gatherer);
		this.#reader = new SegmentReader({
			segments,
			flushedOffset: () => this.#flushedOffset,
			lost: (segment, position, offset, next, what) =>
				gatherer.lost(this, offset, next, new DamageError(segment.path, position, what)),
		});
	}

	/** The first offset that can be read. */
	get logStartOffset(): number {
		return this.segments.logStartOffset;
	}

	/** The first offset that is kept here; those before it, from the log start on, are read from the object store. */
	get localStartOffset(): number {
		return Math.max(this.segments.logStartOffset, this.segments.localStartOffset);
	}

	/** Records before it, from the log start on, are in the object store. */
	get tieredOffset(): number {
		return this.segments.tieredOffset;
	}

	/** The catalog knows, durably, that the object store has its records up to `offset`. */
	tiered(offset: number): void {
		this.segments.tieredOffset = Math.max(this.segments.tieredOffset, offset);
	}

	/** Whether the object store has, or is to have, records of it. */
	get isTiered(): boolean {
		return this.config.tier.enabled || this.segments.tieredOffset > 0;
	}

	/** The offset that the next record will get. */
	get endOffset(): number {
		return this.#endOffset;
	}

	/** Records before it are durable and may be read. */
	get highWatermark(): number {
		return this.#highWatermark;
	}

	/** Records before it are durable and belong to no transaction that is still open: what everybody may read. */
	get lastStableOffset(): number {
		// Retention may have taken the first records of an open transaction.
		return Math.min(Math.max(this.transactions.firstOpenOffset, this.logStartOffset), this.#highWatermark);
	}

	/** Whether the batch, before the last stable offset, has records for people: no markers, nothing of an aborted transaction. */
	isVisible(header: BatchHeader): boolean {
		if (header.isControl) return false;
		if (!header.isTransactional) return true;
		// With the records before the log's start it was forgotten which were aborted.
		if (header.lastOffset < this.logStartOffset) return false;
		return !this.transactions.isAborted(header.producerId, header.baseOffset);
	}

	/** Memory held by committed batches that are in no file yet. */
	get tailBytes(): number {
		return this.#tailBytes;
	}

	/** Bytes of all its files, indexes included, and of what is still to be written to them. */
	get sizeBytes(): number {
		let bytes = 0;
		for (const { batch } of this.#tail) bytes += batch.length;
		return bytes + this.segments.footprintBytes;
	}

	/**
	 * Adds one record to the commit being gathered and returns its offset; it is durable only when
	 * that commit is. The value is `source[start..end)`, null when `start` is negative; the blocks are
	 * made by `encodeKeyBlock` and `encodeHeadersBlock`. Throws MESSAGE_TOO_LARGE, INVALID_RECORD, KAFKA_STORAGE_ERROR.
	 */
	appendRecord(
		timestampMs: number,
		keyBlock: Uint8Array,
		source: Uint8Array,
		start: number,
		end: number,
		headersBlock: Uint8Array,
	): number {
		if (keyBlock[0] === NULL_KEY) this.requireKey();
		const bytes = keyBlock.length + headersBlock.length + (end - start) + 32;
		if (bytes + BATCH_HEADER_BYTES > this.config.maxMessageBytes)
			throw new BrokerError(
				"MESSAGE_TOO_LARGE",
				`a record of about ${bytes} bytes; topic ${this.topic} takes max.message.bytes=${this.config.maxMessageBytes}`,
			);
		this.#gatherer.admit(bytes);
		const builder = this.#builder;
		if (this.#building && builder.sizeBytes + bytes > Math.min(BATCH_BYTES_MAX, this.config.maxMessageBytes))
			this.#seal();
		if (!this.#building) {
			builder.begin(this.#endOffset, timestampMs);
			this.#building = true;
			this.#join();
		}
		const offset = builder.append(timestampMs, keyBlock, source, start, end, headersBlock);
		this.#endOffset = offset + 1;
		return offset;
	}

	/** For a record without a key: compaction would drop it, so a compacted topic does not take it. Throws INVALID_RECORD. */
	requireKey(): void {
		if (this.config.cleanupPolicy.compact)
			throw new BrokerError("INVALID_RECORD", `a record without a key, and topic ${this.topic} is compacted`);
	}

	/**
	 * Adds a ready and validated batch of `count` offsets, whose base offset it sets; returns that.
	 * The buffer belongs to the log from now on. Throws MESSAGE_TOO_LARGE, KAFKA_STORAGE_ERROR.
	 */
	appendBatch(batch: Buffer, count: number): number {
		if (batch.length > this.config.maxMessageBytes)
			throw new BrokerError(
				"MESSAGE_TOO_LARGE",
				`a batch of ${batch.length} bytes; topic ${this.topic} takes max.message.bytes=${this.config.maxMessageBytes}`,
			);
		this.#gatherer.admit(batch.length);
		if (this.#building) this.#seal();
		const baseOffset = this.#endOffset;
		setBaseOffset(batch, 0, baseOffset, this.epochs.current);
		this.#sealed.push({ partitionId: this.id, batch, baseOffset, offsets: count, pooled: false });
		this.#endOffset += count;
		this.#join();
		return baseOffset;
	}

	#join(): void {
		if (this.#gathering) return;
		this.#gathering = true;
		this.#gatherer.join(this);
	}

	#seal(): void {
		const builder = this.#builder;
		const { baseOffset, count } = builder;
		this.#sealed.push({ partitionId: this.id, batch: builder.seal(), baseOffset, offsets: count, pooled: true });
		this.#building = false;
	}

	/** Hands over what was gathered, for the commit that begins now. */
	takeGathered(): AppendOperation[] {
		if (this.#building) this.#seal();
		this.#gathering = false;
		const sealed = this.#sealed;
		this.#sealed = [];
		return sealed;
	}

	/** A commit with these batches, in order, is durable (or was found in the journal at start). */
	committed(append: AppendOperation): void {
		const { baseOffset, offsets } = append;
		if (this.#closed) {
			this.#gatherer.giveBack(append);
			return;
		}
		this.#tail.push(append);
		this.#tailBytes += heldBytes(append);
		this.#highWatermark = baseOffset + offsets;
		if (this.#endOffset < this.#highWatermark) this.#endOffset = this.#highWatermark;
	}

	/** After a commit: tells the watchers. */
	advance(): void {
		for (const watcher of this.#watchers) watcher.advanced(this);
	}

	/** Writes the tail out if it has grown. Throws as `flush`. */
	flushIfLarge(): void {
		if (this.#tailBytes > TAIL_BYTES_MAX) this.flush();
	}

	/** `advanced` is called after every commit to this partition, until the returned function is. */
	watch(watcher: Watcher): () => void {
		// A new array each time: a watcher may leave while they are being told.
		this.#watchers = [...this.#watchers, watcher];
		return () => this.unwatch(watcher);
	}

	/** For who watches very many partitions, and would keep as many functions. */
	unwatch(watcher: Watcher): void {
		this.#watchers = this.#watchers.filter((other) => other !== watcher);
	}

	/** Writes the tail to the segments. Throws ENOSPC and EIO; what was not written stays in the tail. */
	flush(): void {
		let written = 0;
		try {
			while (written < this.#tail.length) written += this.#flushRun(written);
		} finally {
			for (const append of this.#tail.splice(0, written)) {
				this.#tailBytes -= heldBytes(append);
				this.#gatherer.giveBack(append);
			}
		}
	}

	/** Writes a run of tail batches that go into one segment; returns how many. */
	#flushRun(from: number): number {
		const first = this.#tail[from] as AppendOperation;
		const segment = this.segments.forAppend(first.batch, lastOffsetOf(first), this.config);
		const run: Buffer[] = [];
		let bytes = 0;
		let began = segment.firstTimestamp;
		for (let i = from; i < this.#tail.length; i++) {
			const append = this.#tail[i] as AppendOperation;
			const { batch } = append;
			const timestamp = readBatchHeader(batch, 0).maxTimestamp;
			if (began < 0) began = timestamp;
			if (
				run.length > 0 &&
				(timestamp - began > this.segments.rollAfterMs(segment, this.config) ||
					!segment.fits(lastOffsetOf(append), bytes + batch.length, this.config.segmentBytes))
			)
				break;
			run.push(batch);
			bytes += batch.length;
		}
		segment.append(run, this.config.indexIntervalBytes);
		this.#flushedOffset = lastOffsetOf(this.#tail[from + run.length - 1] as AppendOperation) + 1;
		this.segments.nextOffset = this.#flushedOffset;
		return run.length;
	}

	/** Whether its files have more, or other bytes, than the catalog says: synced or not, its last checkpoint may have failed. */
	get needsCheckpoint(): boolean {
		return this.segments.dirty || this.segments.checkpointOffset !== this.#flushedOffset;
	}

	/** Records before it are in a file. */
	get flushedOffset(): number {
		return this.#flushedOffset;
	}

	/**
	 * Committed batches from the one that holds `offset` on and before `end`, if they are still in memory, else
	 * undefined. The views are valid only until the caller returns to the event loop.
	 */
	readTail(offset: number, end = this.lastStableOffset): readonly Buffer[] | undefined {
		if (offset >= end) return [];
		const first = this.#tail[0];
		if (first === undefined || offset < this.#flushedOffset) return undefined;
		let i = this.#tail.length - 1;
		while (i > 0 && lastOffsetOf(this.#tail[i - 1] as AppendOperation) >= offset) i -= 1;
		const batches: Buffer[] = [];
		for (; i < this.#tail.length; i++) {
			const { batch, baseOffset } = this.#tail[i] as AppendOperation;
			if (baseOffset >= end) break;
			batches.push(batch);
		}
		return batches;
	}

	/**
	 * Whole durable batches from the one that holds `offset`: at least one if there are any before `end`, else at
	 * most `maxBytes`. Empty at `end`. Who reads beyond the last stable offset sees open transactions; aborted ones
	 * are among what is read: `transactions` knows which. The bytes are in memory of `take`, if given. A damaged batch is passed over, and recorded as
	 * lost. Throws OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION once its topic is deleted; and before the local start what
	 * `Tier.read` does, after `patienceMs`.
	 */
	async read(
		offset: number,
		maxBytes: number,
		end = this.lastStableOffset,
		take?: TakeBuffer,
		patienceMs = PATIENCE_MS,
	): Promise<Buffer> {
		this.#checkReadable(offset);
		if (offset < this.localStartOffset) return this.#readTiered(offset, maxBytes, end, take, patienceMs);
		const tail = this.readTail(offset, end);
		if (tail !== undefined) return copyWithin(tail, maxBytes, take);
		let found: Awaited<ReturnType<SegmentReader["read"]>>;
		try {
			found = await this.#reader.read(offset, maxBytes, () => this.#checkLocal(offset), take);
		} catch (error) {
			if (error === MOVED) return this.#readTiered(offset, maxBytes, end, take, patienceMs);
			throw error;
		}
		if ("bytes" in found) return before(found.bytes, end);
		// All that the files still had from there on is damaged, or was flushed only now.
		const rest = this.readTail(Math.max(found.next, this.#flushedOffset), end);
		return rest === undefined ? Buffer.alloc(0) : copyWithin(rest, maxBytes, take);
	}

	async #readTiered(
		offset: number,
		maxBytes: number,
		end: number,
		take: TakeBuffer | undefined,
		patienceMs: number,
	): Promise<Buffer> {
		if (offset >= end) return Buffer.alloc(0);
		let bytes: Buffer;
		try {
			bytes = await this.tier.read(this, offset, maxBytes, patienceMs, take);
		} finally {
			// Whatever the object store says: what retention or a deletion took meanwhile is not there to be waited for.
			this.#checkReadable(offset);
		}
		// Of what is there, compaction left nothing before the local start.
		if (bytes.length === 0) return this.read(Math.max(offset, this.localStartOffset), maxBytes, end, take, patienceMs);
		return before(bytes, end);
	}

	/** Has the records before the local start. Throws KAFKA_STORAGE_ERROR where it is not open. */
	get tier(): Tier {
		const { tier } = this.#gatherer;
		if (tier !== undefined) return tier;
		throw new BrokerError(
			"KAFKA_STORAGE_ERROR",
			`the records of ${this.topic}-${this.number} before ${this.localStartOffset} are in an object store, and none is open`,
		);
	}

	/** Retention may let go of a segment while it is read. */
	#checkLocal(offset: number): void {
		this.#checkReadable(offset);
		if (offset < this.localStartOffset) throw MOVED;
	}

	#checkReadable(offset: number): void {
		if (this.#closed)
			throw new BrokerError(
				"UNKNOWN_TOPIC_OR_PARTITION",
				`topic ${this.topic} of partition ${this.number} was deleted`,
			);
		if (offset < this.logStartOffset || offset > this.#highWatermark)
			throw new BrokerError(
				"OFFSET_OUT_OF_RANGE",
				`offset ${offset} of ${this.topic}-${this.number}: it has ${this.logStartOffset} to ${this.#highWatermark}`,
			);
	}

	/** Of the records that are in no file yet; -1 where there is none. */
	get tailMaxTimestamp(): number {
		let newest = -1;
		for (const { batch } of this.#tail) newest = Math.max(newest, readBatchHeader(batch, 0).maxTimestamp);
		return newest;
	}

	/**
	 * At start: damage took the last records, but those before `offset` were to be deleted anyway, or the object store has
	 * them; offsets go on from there.
	 */
	skipTo(offset: number): void {
		if (this.#endOffset >= offset) return;
		for (const append of this.#tail.splice(0)) this.#gatherer.giveBack(append);
		this.#tailBytes = 0;
		this.#endOffset = offset;
		this.#highWatermark = offset;
		this.#flushedOffset = offset;
		this.segments.nextOffset = offset;
	}

	/** Its topic is deleted: drops what is not in a file; readers find nothing more. */
	close(): void {
		this.#closed = true;
		for (const append of this.#tail.splice(0)) this.#gatherer.giveBack(append);
		this.#tailBytes = 0;
		this.segments.close();
		for (const watcher of this.#watchers) watcher.closed?.();
	}

	/** Lets go of its files until they are needed again. */
	release(): void {
		this.segments.release();
	}
}

function lastOffsetOf(append: AppendOperation): number {
	return append.baseOffset + append.offsets - 1;
}

/** Copies whole batches, one at least, up to `maxBytes`. */
function copyWithin(batches: readonly Buffer[], maxBytes: number, take: TakeBuffer = Buffer.allocUnsafe): Buffer {
	let bytes = 0;
	let count = 0;
	for (const batch of batches) {
		if (count > 0 && bytes + batch.length > maxBytes) break;
		bytes += batch.length;
		count += 1;
	}
	if (bytes === 0) return Buffer.alloc(0);
	const copy = take(bytes).subarray(0, bytes);
	let at = 0;
	for (let i = 0; i < count; i++) at += (batches[i] as Buffer).copy(copy, at);
	return copy;
}

/** The batches of `bytes` that begin before `end`. */
function before(bytes: Buffer, end: number): Buffer {
	let at = 0;
	for (let header = readBatchHeader(bytes, 0); header.baseOffset < end; header = readBatchHeader(bytes, at)) {
		if (header.lastOffset + 1 >= end) return bytes.subarray(0, at + header.sizeBytes);
		at += header.sizeBytes;
		if (at === bytes.length) break;
	}
	return bytes.subarray(0, at);
}
