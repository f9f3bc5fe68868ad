/**
 * The segments of one partition, oldest first: which one holds an offset, when a new one begins,
 * which ones retention takes, and what is left of them after a crash.
 */

import { type Disk, joinPath } from "../base/disk.ts";
import type { SegmentState } from "../catalog/catalog.ts";
import type { PartitionConfig } from "../catalog/partition-config.ts";
import { readBatchHeader } from "../record/batch.ts";
import { baseOffsetOf, INDEX_SUFFIX, LOG_SUFFIX, segmentName, TIME_INDEX_SUFFIX } from "./layout.ts";
import { Segment } from "./segment.ts";

/** Acknowledged bytes that are gone, found while segments were opened. */
export type OnDamage = (file: string, position: number, what: string) => void;

export class SegmentSet {
	readonly folder: string;
	readonly #disk: Disk;
	#segments: Segment[] = [];
	logStartOffset: number;
	/** The offset after the last record in the files. */
	nextOffset: number;
	/** A file was made or removed since the folder was last synced. */
	namesChanged = false;
	/** Everything before it is synced. */
	checkpointOffset = 0;
	#closed = false;

	constructor(disk: Disk, folder: string, logStartOffset: number) {
		this.#disk = disk;
		this.folder = folder;
		this.logStartOffset = logStartOffset;
		this.nextOffset = logStartOffset;
	}

	/**
	 * Opens what the checkpoint vouches for, unread. Whatever lies behind it is removed: the journal has
	 * it, and what a cache shows there need not be on the medium.
	 */
	recover(checkpointOffset: number, state: SegmentState | undefined, config: PartitionConfig, damage: OnDamage): void {
		this.checkpointOffset = checkpointOffset;
		this.nextOffset = checkpointOffset;
		const activeBase = state?.baseOffset ?? -1;
		for (const base of this.#bases()) {
			if (base <= activeBase) this.#segments.push(new Segment(this.#disk, this.folder, base));
			else this.#remove(base);
		}
		if (state === undefined) return;
		const active = this.#segments.at(-1);
		if (active?.baseOffset === activeBase) {
			const problem = active.restore(state, config.indexIntervalBytes);
			if (problem !== undefined) damage(active.path, problem.position, problem.what);
		} else if (state.sizeBytes > 0 && checkpointOffset > this.logStartOffset) {
			// Retention may take a segment that ends just where the checkpoint is.
			damage(joinPath(this.folder, segmentName(activeBase) + LOG_SUFFIX), 0, "the file is missing");
		}
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
			const aged = active.firstTimestamp >= 0 && header.maxTimestamp - active.firstTimestamp > config.segmentMs;
			if (!aged) return active;
		}
		active?.seal();
		const segment = new Segment(this.#disk, this.folder, header.baseOffset);
		this.#segments.push(segment);
		this.namesChanged = true;
		return segment;
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

	/** Oldest segments that retention by time or size takes now; never the active one, nor what is not yet synced. */
	expired(nowMs: number, config: PartitionConfig): Segment[] {
		const expired: Segment[] = [];
		let bytes = 0;
		for (const segment of this.#segments) bytes += segment.sizeBytes;
		for (let i = 0; i + 1 < this.#segments.length; i++) {
			const segment = this.#segments[i] as Segment;
			const next = this.#segments[i + 1] as Segment;
			if (next.baseOffset > this.checkpointOffset) break;
			const old =
				config.retentionMs >= 0 && segment.maxTimestamp >= 0 && nowMs - segment.maxTimestamp > config.retentionMs;
			const large = config.retentionBytes >= 0 && bytes - segment.sizeBytes >= config.retentionBytes;
			if (!old && !large && next.baseOffset > this.logStartOffset) break;
			expired.push(segment);
			bytes -= segment.sizeBytes;
		}
		return expired;
	}

	/** Removes `segments`, the oldest; the log start offset has been moved, durably, behind them. */
	drop(segments: readonly Segment[]): void {
		this.#segments = this.#segments.filter((segment) => !segments.includes(segment));
		for (const segment of segments) segment.remove();
		this.namesChanged = true;
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
			if (names && !this.#closed) this.#disk.syncDirectory(this.folder);
		} catch (error) {
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

	#bases(): number[] {
		const bases: number[] = [];
		for (const name of this.#disk.list(this.folder)) {
			const base = baseOffsetOf(name);
			if (base !== undefined) bases.push(base);
		}
		return bases.sort((a, b) => a - b);
	}

	#remove(base: number): void {
		for (const suffix of [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX])
			this.#disk.remove(joinPath(this.folder, segmentName(base) + suffix));
		this.namesChanged = true;
	}
}
