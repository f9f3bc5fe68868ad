/**
 * The segments of one partition, oldest first: which one holds an offset, when a new one begins,
 * which ones retention takes, and what is left of them after a crash.
 */

import { type Disk, joinPath } from "../base/disk.ts";
import type { PartitionConfig } from "../catalog/partition-config.ts";
import type { SegmentExtent, SegmentState } from "../catalog/partition-rows.ts";
import { readBatchHeader } from "../record/batch.ts";
import { murmur2 } from "../record/partitioner.ts";
import { baseOffsetOf, INDEX_SUFFIX, LOG_SUFFIX, segmentName, TIME_INDEX_SUFFIX } from "./layout.ts";
import type { PartitionFolder } from "./partition-folder.ts";
import { Segment } from "./segment.ts";

/** A partition as the catalog knows it. */
export interface StoredSegments {
	readonly checkpointOffset: number;
	readonly localStartOffset: number;
	readonly tieredOffset: number;
	/** The active one at the last checkpoint. */
	readonly segment: SegmentExtent | undefined;
	readonly cleanedOffset: number;
	readonly cleanedSegments: readonly { readonly baseOffset: number }[];
}

/** Acknowledged bytes that are gone, found while segments were opened. */
export type OnDamage = (file: string, position: number, what: string) => void;

export class SegmentSet {
	readonly folder: string;
	readonly #place: PartitionFolder;
	readonly #disk: Disk;
	#segments: Segment[] = [];
	logStartOffset: number;
	/** Records before it are not in these files any more; the object store has them, from the log start on. */
	localStartOffset = 0;
	/** Records before it, from the log start on, are in the object store. */
	tieredOffset = 0;
	/** The offset after the last record in the files. */
	nextOffset: number;
	/** A file was made or removed since the folder was last synced. */
	namesChanged = false;
	/** Everything before it is synced. */
	checkpointOffset = 0;
	/** The active segment at the last checkpoint: the catalog knows its bytes, so nothing but appends may change it or what follows. */
	checkpointBase = -1;
	/** Compaction has done with all records before it. */
	cleanedOffset = 0;
	/** Of the active segment, while that is as the last process left it. */
	#unrestored: SegmentExtent | undefined;
	#closed = false;

	constructor(disk: Disk, place: PartitionFolder, logStartOffset: number) {
		this.#disk = disk;
		this.#place = place;
		this.folder = place.path;
		this.logStartOffset = logStartOffset;
		this.nextOffset = logStartOffset;
	}

	/**
	 * Opens what the checkpoint vouches for, unread, of a folder that has files of these names. Segments behind it are
	 * removed: the journal has them, and what a cache shows there need not be on the medium. The active one is taken as it
	 * is: where it may have been written to since, `restore` must follow, before anything is appended.
	 */
	recover(
		{ checkpointOffset, localStartOffset, tieredOffset, segment, cleanedOffset, cleanedSegments }: StoredSegments,
		names: readonly string[],
		damage: OnDamage,
	): void {
		this.localStartOffset = localStartOffset;
		this.tieredOffset = tieredOffset;
		this.checkpointOffset = checkpointOffset;
		this.nextOffset = checkpointOffset;
		this.cleanedOffset = cleanedOffset;
		const activeBase = segment?.baseOffset ?? -1;
		this.checkpointBase = activeBase;
		const cleanedBases = new Set(cleanedSegments.map(({ baseOffset }) => baseOffset));
		for (const base of basesIn(names)) {
			if (base <= activeBase)
				this.#segments.push(new Segment(this.#disk, this.folder, base, { isCleaned: cleanedBases.has(base) }));
			else this.#remove(base);
		}
		if (segment === undefined) return;
		const active = this.#segments.at(-1);
		if (active?.baseOffset === activeBase) {
			active.resume(segment);
			this.#unrestored = segment;
		} else if (segment.sizeBytes > 0 && checkpointOffset > Math.max(this.logStartOffset, localStartOffset)) {
			// Retention may take a segment that ends just where the checkpoint is.
			damage(joinPath(this.folder, segmentName(activeBase) + LOG_SUFFIX), 0, "the file is missing");
		}
	}

	/** At start, before anything is appended: whether `restore` has not been there. */
	get isUnrestored(): boolean {
		return this.#unrestored !== undefined;
	}

	/** Whether the active segment's files are as long as at the checkpoint. */
	get isAsLong(): boolean {
		return this.#unrestored === undefined || this.#segments.at(-1)?.isAsLongAs(this.#unrestored) === true;
	}

	/** At start, before anything is appended: takes the active segment back to the checkpoint, if it was not done yet. */
	restore(state: SegmentState, config: PartitionConfig, damage: OnDamage): void {
		const active = this.#segments.at(-1);
		if (this.#unrestored === undefined || active === undefined) return;
		this.#unrestored = undefined;
		const problem = active.restore(state, config.indexIntervalBytes);
		if (problem !== undefined) damage(active.path, problem.position, problem.what);
	}

	/** The start is over: what was not restored is as it was at the checkpoint. */
	recovered(): void {
		this.#unrestored = undefined;
	}

	get list(): readonly Segment[] {
		return this.#segments;
	}

	get footprintBytes(): number {
		let bytes = 0;
		for (const segment of this.#segments) bytes += segment.footprintBytes;
		return bytes;
	}

	/** The segment that `batch` goes to; begins a new one where size or age ask for it. */
	forAppend(batch: Buffer, lastOffset: number, config: PartitionConfig): Segment {
		const active = this.#segments.at(-1);
		const header = readBatchHeader(batch, 0);
		if (
			active !== undefined &&
			(active.sizeBytes === 0 || active.fits(lastOffset, batch.length, config.segmentBytes))
		) {
			const age = header.maxTimestamp - active.firstTimestamp;
			const aged = active.firstTimestamp >= 0 && age > this.rollAfterMs(active, config);
			if (!aged) return active;
		}
		active?.seal();
		this.#place.make();
		const segment = new Segment(this.#disk, this.folder, header.baseOffset);
		this.#segments.push(segment);
		this.namesChanged = true;
		return segment;
	}

	/** A segment older than this ends. The jitter is the segment's own, so that it is the same after a restart. */
	rollAfterMs({ path }: Segment, config: PartitionConfig): number {
		const { segmentMs, segmentJitterMs, cleanupPolicy, maxCompactionLagMs } = config;
		const mostMs = cleanupPolicy.compact ? Math.min(segmentMs, maxCompactionLagMs) : segmentMs;
		if (segmentJitterMs === 0) return mostMs;
		return mostMs - ((murmur2(Buffer.from(path)) >>> 0) / 2 ** 32) * Math.min(segmentJitterMs, mostMs);
	}

	/** Whether offsets from `from` up to `to` may be missing: compaction wrote every segment that stands for them. */
	mayLack(from: number, to: number): boolean {
		for (let segment = this.find(from); segment !== undefined && segment.baseOffset < to; segment = this.after(segment))
			if (!segment.isCleaned) return false;
		return true;
	}

	has(segment: Segment): boolean {
		return this.#segments.includes(segment);
	}

	/** The segment that holds `offset` or, where there is a hole, the first one after it. */
	find(offset: number): Segment | undefined {
		let low = 0;
		let high = this.#segments.length - 1;
		while (low < high) {
			const middle = (low + high + 1) >>> 1;
			if ((this.#segments[middle] as Segment).baseOffset <= offset) low = middle;
			else high = middle - 1;
		}
		return this.#segments[low];
	}

	after(segment: Segment): Segment | undefined {
		const i = this.#segments.indexOf(segment);
		return i < 0 ? undefined : this.#segments[i + 1];
	}

	/** An offset to begin looking for records not older than `timestampMs`; undefined when no segment has any. */
	lookUpTime(timestampMs: number): number | undefined {
		for (const segment of this.#segments)
			if (segment.maxTimestamp >= timestampMs) return segment.lookUpTime(timestampMs);
		return undefined;
	}

	/** Oldest segments without a record that is kept here; never the active one, nor what is not yet synced. */
	unneeded(): Segment[] {
		const start = Math.min(Math.max(this.logStartOffset, this.localStartOffset), this.checkpointOffset);
		return this.#oldest((_, next) => next <= start);
	}

	/**
	 * Oldest segments that are too old, or too much: `bytes` is what there is of the partition altogether, and a limit
	 * below 0 is none. Never the active one, nor what is not yet synced.
	 */
	beyond(nowMs: number, bytes: number, limits: { readonly ms: number; readonly bytes: number }): Segment[] {
		let left = bytes;
		return this.#oldest(({ sizeBytes, maxTimestamp }, next) => {
			left -= sizeBytes;
			if (next <= this.logStartOffset) return true;
			// What compaction left empty is as old as it need be.
			const isOld = limits.ms >= 0 && (sizeBytes === 0 || (maxTimestamp >= 0 && nowMs - maxTimestamp > limits.ms));
			return isOld || (limits.bytes >= 0 && left >= limits.bytes);
		});
	}

	/** The oldest segments, as long as `take` says so of them; `next`: where the one behind begins. */
	#oldest(take: (segment: Segment, next: number) => boolean): Segment[] {
		const taken: Segment[] = [];
		for (let i = 0; i + 1 < this.#segments.length; i++) {
			const segment = this.#segments[i] as Segment;
			const next = (this.#segments[i + 1] as Segment).baseOffset;
			if (next > this.checkpointOffset || !take(segment, next)) break;
			taken.push(segment);
		}
		return taken;
	}

	/** Record batches in the files, bytes. */
	get batchBytes(): number {
		let bytes = 0;
		for (const segment of this.#segments) bytes += segment.sizeBytes;
		return bytes;
	}

	/** Removes `segments`, the oldest; the log start offset, or that of what is kept here, has been moved, durably, behind them. */
	drop(segments: readonly Segment[]): void {
		this.#segments = this.#segments.filter((segment) => !segments.includes(segment));
		for (const segment of segments) segment.remove();
		this.namesChanged = true;
	}

	/** At start: none of the files counts, and the next record gets `offset`, which the catalog knows. */
	beginAnewAt(offset: number): void {
		this.drop(this.#segments);
		this.localStartOffset = offset;
		this.nextOffset = offset;
		this.checkpointOffset = offset;
		this.checkpointBase = -1;
		this.#unrestored = undefined;
	}

	/** `segment`, whose files have taken their places, stands for `replaced` from now on. */
	replace(replaced: readonly Segment[], segment: Segment): void {
		const at = this.#segments.indexOf(replaced[0] as Segment);
		this.#segments = this.#segments.toSpliced(at, replaced.length, segment);
	}

	/** A checkpoint is in the catalog. */
	checkpointed(offset: number, activeBase: number): void {
		this.checkpointOffset = offset;
		this.checkpointBase = activeBase;
	}

	/** Makes all of it durable, and names with it. After a rejection nothing since the last checkpoint is to be trusted. */
	async sync(): Promise<void> {
		const names = this.namesChanged;
		this.namesChanged = false;
		try {
			for (const segment of this.#segments) {
				if (this.#closed) return;
				// Retention may have removed it meanwhile.
				if (segment.dirty && this.has(segment)) await segment.sync();
			}
			if (names && !this.#closed) await this.#place.sync();
		} catch (error) {
			// Deleted meanwhile: its folder has another name, or is gone.
			if (this.#closed) return;
			// Final whatever its code, ENOSPC too: the kernel may have dropped the pages that it could not write.
			throw new Error(`${this.folder} could not be synced: ${(error as Error).message}`, { cause: error });
		}
	}

	/** The partition is being deleted. */
	close(): void {
		this.#closed = true;
		for (const segment of this.#segments) segment.retire();
	}

	get dirty(): boolean {
		return this.namesChanged || this.#segments.some((segment) => segment.dirty);
	}

	release(): void {
		for (const segment of this.#segments) segment.release();
	}

	#remove(base: number): void {
		for (const suffix of [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX])
			this.#disk.remove(joinPath(this.folder, segmentName(base) + suffix));
		this.namesChanged = true;
	}
}

function basesIn(names: readonly string[]): number[] {
	const bases: number[] = [];
	for (const name of names) {
		const base = baseOffsetOf(name);
		if (base !== undefined) bases.push(base);
	}
	return bases.sort((a, b) => a - b);
}
