/**
 * One partition: the batches being gathered, the committed ones not yet in a file (the tail), and
 * the segments. Offsets are given out on append, in order, without holes; readers see only what is
 * durable, that is, below the high watermark.
 */

import { BrokerError, DamageError } from "../base/errors.ts";
import type { PartitionConfig } from "../catalog/partition-config.ts";
import { BATCH_HEADER_BYTES, forEachRecord, readBatchHeader, setBaseOffset } from "../record/batch.ts";
import type { BatchBuilder } from "../record/builder.ts";
import type { AppendOperation } from "./entry.ts";
import type { Gatherer } from "./gatherer.ts";
import { batchProblem, type Segment } from "./segment.ts";
import type { SegmentSet } from "./segment-set.ts";

export interface Watcher {
	/** The high watermark moved. Called right after the commit; must not throw. */
	advanced(partition: Partition): void;
}

/** Where a batch lies. */
interface Place {
	readonly segment: Segment;
	/** What is looked for. */
	readonly offset: number;
	readonly position: number;
	/** The batch before it ends with the offset before `offset`. */
	readonly follows: boolean;
}

/** A batch is sealed at this size, so that one read of it is never large. */
const BATCH_BYTES_MAX = 256 * 1024;
/** More memory in unwritten batches than this and the partition writes them to its segment. */
const TAIL_BYTES_MAX = 128 * 1024;
/** No batch is longer: a damaged length must not take memory. */
const READ_BYTES_MAX = 16 * 1024 * 1024;
/** Remembered places of sequential readers. */
const PLACES = 8;

export class Partition {
	readonly id: number;
	readonly topic: string;
	readonly number: number;
	config: PartitionConfig;
	readonly segments: SegmentSet;
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
	readonly #places: Place[] = [];
	#nextPlace = 0;

	constructor(
		id: number,
		topic: string,
		number: number,
		segments: SegmentSet,
		gatherer: Gatherer,
		config: PartitionConfig,
	) {
		this.id = id;
		this.topic = topic;
		this.number = number;
		this.segments = segments;
		this.config = config;
		this.#gatherer = gatherer;
		this.#builder = gatherer.newBuilder();
		this.#endOffset = segments.nextOffset;
		this.#highWatermark = segments.nextOffset;
		this.#flushedOffset = segments.nextOffset;
	}

	/** The first offset that can be read. */
	get logStartOffset(): number {
		return this.segments.logStartOffset;
	}

	/** The offset that the next record will get. */
	get endOffset(): number {
		return this.#endOffset;
	}

	/** Records before it are durable and may be read. */
	get highWatermark(): number {
		return this.#highWatermark;
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
	 * made by `encodeKeyBlock` and `encodeHeadersBlock`. Throws MESSAGE_TOO_LARGE, KAFKA_STORAGE_ERROR.
	 */
	appendRecord(
		timestampMs: number,
		keyBlock: Uint8Array,
		source: Uint8Array,
		start: number,
		end: number,
		headersBlock: Uint8Array,
	): number {
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
		setBaseOffset(batch, 0, baseOffset, 0);
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
		const { batch, baseOffset, offsets } = append;
		if (this.#closed) {
			this.#gatherer.giveBack(append);
			return;
		}
		this.#tail.push(append);
		// A pool's buffer is held whole.
		this.#tailBytes += batch.buffer.byteLength;
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
		return () => {
			this.#watchers = this.#watchers.filter((other) => other !== watcher);
		};
	}

	/** Writes the tail to the segments. Throws ENOSPC and EIO; what was not written stays in the tail. */
	flush(): void {
		let written = 0;
		try {
			while (written < this.#tail.length) written += this.#flushRun(written);
		} finally {
			for (const append of this.#tail.splice(0, written)) {
				this.#tailBytes -= append.batch.buffer.byteLength;
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
				(timestamp - began > this.config.segmentMs ||
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
	 * Committed batches from the one that holds `offset` on, if they are still in memory, else
	 * undefined. The views are valid only until the caller returns to the event loop.
	 */
	readTail(offset: number): readonly Buffer[] | undefined {
		if (offset >= this.#highWatermark) return [];
		const first = this.#tail[0];
		if (first === undefined || offset < this.#flushedOffset) return undefined;
		let i = this.#tail.length - 1;
		while (i > 0 && lastOffsetOf(this.#tail[i - 1] as AppendOperation) >= offset) i -= 1;
		const batches: Buffer[] = [];
		for (; i < this.#tail.length; i++) batches.push((this.#tail[i] as AppendOperation).batch);
		return batches;
	}

	/**
	 * Whole durable batches from the one that holds `offset`: at least one if there are any, else at
	 * most `maxBytes`. Empty at the high watermark. A damaged batch is passed over, and recorded as
	 * lost. Throws OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION once its topic is deleted.
	 */
	async read(offset: number, maxBytes: number): Promise<Buffer> {
		this.#checkReadable(offset);
		const tail = this.readTail(offset);
		if (tail !== undefined) return copyWithin(tail, maxBytes);
		for (let from = offset; ; ) {
			const place = this.#place(from);
			if (place === undefined) {
				// All that the files still had from there on is damaged, or was flushed only now.
				const rest = this.readTail(Math.max(from, this.#flushedOffset));
				return rest === undefined ? Buffer.alloc(0) : copyWithin(rest, maxBytes);
			}
			const { segment, position } = place;
			let bytes = await segment.read(position, Math.max(maxBytes, BATCH_HEADER_BYTES));
			let end = soundBytes(bytes, from, maxBytes);
			if (end === 0 && this.segments.has(segment)) {
				// The first batch is larger than maxBytes, or damaged.
				const size = firstBatchBytes(bytes);
				if (size > bytes.length && size <= Math.min(READ_BYTES_MAX, segment.sizeBytes - position)) {
					bytes = await segment.read(position, size);
					end = soundBytes(bytes, from, size);
				}
			}
			if (end > 0 && this.#isInPlace(place, bytes, from)) {
				this.#remember(segment, bytes, end, position);
				const { baseOffset } = readBatchHeader(bytes, 0);
				if (baseOffset > from) this.#lost(segment, position, from, baseOffset, "no batch has the records before it");
				return bytes.subarray(0, end);
			}
			// Retention or deletion may have taken the file while it was read.
			this.#checkReadable(from);
			if (this.segments.has(segment)) from = this.#passOver(segment, position, from);
		}
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

	/**
	 * Whether the sound batch at the start of `bytes`, found for `offset`, has the offsets that its place calls
	 * for: its checksum does not cover them. They may begin later (a hole), never reach into the next batch.
	 */
	#isInPlace({ segment, position, follows }: Place, bytes: Buffer, offset: number): boolean {
		const { baseOffset, lastOffset, sizeBytes } = readBatchHeader(bytes, 0);
		if (baseOffset === offset) return true;
		if (follows && baseOffset < offset) return false;
		const next = position + sizeBytes < segment.sizeBytes ? segment.headerAt(position + sizeBytes) : undefined;
		return lastOffset < (next?.baseOffset ?? this.segments.after(segment)?.baseOffset ?? this.#flushedOffset);
	}

	/** Segment and position of the first batch whose last offset is `offset` or above. */
	#place(offset: number): Place | undefined {
		for (const place of this.#places)
			if (place.offset === offset && this.segments.has(place.segment) && place.position < place.segment.sizeBytes)
				return place;
		for (let segment = this.segments.find(offset); segment !== undefined; segment = this.segments.after(segment)) {
			let position = segment.lookUp(offset);
			let before = position;
			while (position < segment.sizeBytes) {
				const header = segment.headerAt(position);
				// A damaged length may have led here, past what is looked for: go on from where that can be told.
				if (header === undefined || header.baseOffset > offset)
					return { segment, offset, position: before, follows: false };
				before = position;
				if (header.lastOffset >= offset) return { segment, offset, position, follows: false };
				position += header.sizeBytes;
			}
		}
		return undefined;
	}

	#remember(segment: Segment, bytes: Buffer, end: number, position: number): void {
		let at = 0;
		let header = readBatchHeader(bytes, 0);
		while (at + header.sizeBytes < end) {
			at += header.sizeBytes;
			header = readBatchHeader(bytes, at);
		}
		this.#places[this.#nextPlace] = {
			segment,
			offset: header.lastOffset + 1,
			position: position + end,
			follows: true,
		};
		this.#nextPlace = (this.#nextPlace + 1) % PLACES;
	}

	/**
	 * The damage at `position` is in the way to `offset`, or where that was. Returns the offset to go on
	 * from, whose place is remembered; what lies between the two is recorded as lost.
	 */
	#passOver(segment: Segment, position: number, offset: number): number {
		const found = batchBehind(segment, position, offset);
		const next = found?.baseOffset ?? this.segments.after(segment)?.baseOffset ?? this.#flushedOffset;
		const from = Math.max(next, offset);
		this.#places.length = 0;
		this.#nextPlace = 0;
		if (found !== undefined) {
			this.#places.push({ segment, offset: from, position: found.position, follows: false });
			this.#nextPlace = 1;
		}
		if (next > offset) this.#lost(segment, position, offset, next, "a damaged batch was passed over");
		return from;
	}

	#lost(segment: Segment, position: number, offset: number, next: number, what: string): void {
		this.#gatherer.lost(this, offset, next, new DamageError(segment.path, position, what));
	}

	/** The first record whose timestamp is `timestampMs` or later; undefined if there is none. */
	async offsetForTimestamp(timestampMs: number): Promise<{ offset: number; timestamp: number } | undefined> {
		let offset = this.segments.lookUpTime(timestampMs) ?? this.#flushedOffset;
		offset = Math.max(offset, this.logStartOffset);
		while (offset < this.#highWatermark) {
			const bytes = await this.read(offset, 64 * 1024);
			if (bytes.length === 0) return undefined;
			for (let at = 0; at < bytes.length; ) {
				const header = readBatchHeader(bytes, at);
				if (header.maxTimestamp >= timestampMs) {
					let found: { offset: number; timestamp: number } | undefined;
					forEachRecord(bytes, at, (record) => {
						if (found === undefined && record.offset >= this.logStartOffset && record.timestamp >= timestampMs)
							found = { offset: record.offset, timestamp: record.timestamp };
					});
					if (found !== undefined) return found;
				}
				offset = header.lastOffset + 1;
				at += header.sizeBytes;
			}
		}
		return undefined;
	}

	/** Its topic is deleted: drops what is not in a file; readers find nothing more. */
	close(): void {
		this.#closed = true;
		for (const append of this.#tail.splice(0)) this.#gatherer.giveBack(append);
		this.#tailBytes = 0;
		this.segments.close();
	}

	/** Lets go of its files until they are needed again. */
	release(): void {
		this.segments.release();
	}
}

function lastOffsetOf(append: AppendOperation): number {
	return append.baseOffset + append.offsets - 1;
}

/** The first batch behind the damage at `position` that holds `offset` or begins after it. */
function batchBehind(
	segment: Segment,
	position: number,
	offset: number,
): { position: number; baseOffset: number } | undefined {
	// Each one checked wholly: a damaged length would lead past sound batches.
	let sound = segment.findSound(position + 1, segment.baseOffset);
	while (sound !== undefined && sound.header.lastOffset < offset)
		sound = segment.findSound(sound.position + sound.header.sizeBytes, sound.header.lastOffset + 1);
	return sound === undefined ? undefined : { position: sound.position, baseOffset: sound.header.baseOffset };
}

/** Copies whole batches, one at least, up to `maxBytes`. */
function copyWithin(batches: readonly Buffer[], maxBytes: number): Buffer {
	let bytes = 0;
	let count = 0;
	for (const batch of batches) {
		if (count > 0 && bytes + batch.length > maxBytes) break;
		bytes += batch.length;
		count += 1;
	}
	return Buffer.concat(count === batches.length ? batches : batches.slice(0, count), bytes);
}

/** Length of the run of whole and sound batches at the start of `bytes`, the first of which holds `offset` or begins after it. */
function soundBytes(bytes: Buffer, offset: number, maxBytes: number): number {
	let at = 0;
	let next = 0;
	while (at + BATCH_HEADER_BYTES <= bytes.length) {
		// The last one of a read is cut off more often than not.
		if (at + firstBatchBytes(bytes.subarray(at)) > bytes.length) break;
		try {
			const header = readBatchHeader(bytes, at);
			const end = at + header.sizeBytes;
			if (end > bytes.length || end > maxBytes) break;
			if (at === 0 ? header.lastOffset < offset : header.baseOffset !== next) break;
			if (batchProblem(bytes.subarray(at, end), header, next) !== undefined) break;
			at = end;
			next = header.lastOffset + 1;
		} catch {
			break;
		}
	}
	return at;
}

function firstBatchBytes(bytes: Buffer): number {
	return bytes.length < BATCH_HEADER_BYTES ? 0 : bytes.readUInt32BE(8) + 12;
}
