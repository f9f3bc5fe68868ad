/**
 * One pass of compaction over a partition: learns the newest offset of each key in what is new, then writes the
 * segments up to there anew without what is superseded, a few of them at a time, each in the place of its sources.
 * docs/compaction.md has the rules and why they hold.
 */
import type { DamageError } from "../base/errors.ts";
import { type BatchHeader, forEachRecord, MAX_DECOMPRESSED_BYTES } from "../record/batch.ts";
import { crc32c } from "../record/crc32c.ts";
import { filterBatch } from "../record/filter-batch.ts";
import { WINDOW_BYTES, walkBatches } from "./batch-walk.ts";
import { CleanedTransactions, isTransactionMarker } from "./cleaned-transactions.ts";
import type { CleanerPace } from "./cleaner-pace.ts";
import type { KeyOffsets } from "./key-offsets.ts";
import { CLEANED_SUFFIX } from "./layout.ts";
import type { Log } from "./log.ts";
import type { Partition } from "./partition.ts";
import { Segment } from "./segment.ts";
import { removeCleaned, renameCleaned } from "./segment-swap.ts";

/** What has been written of a new segment is synced at this much, so that no sync is a long one. */
const SYNC_BYTES = 4 * 1024 * 1024;
/** An index entry has 31 bits for offsets. */
const RELATIVE_MAX = 0x7fff_ffff;
/** A pass leaves so much of the disk free for each byte that it may write. */
const SPACE_FACTOR = 2;

export interface CompactionOptions {
	readonly log: Log;
	readonly partition: Partition;
	/** The oldest segments, one behind the other, of which nothing changes any more. */
	readonly sources: readonly Segment[];
	/** Records before it are compacted. */
	readonly firstDirty: number;
	readonly keys: KeyOffsets;
	readonly pace: CleanerPace;
}

/** What a pass came to; offsets and bytes. */
export interface CompactionResult {
	/** Compacted up to here; less than was asked for where the keys did not fit. */
	readonly cleanedOffset: number;
	readonly bytesBefore: number;
	readonly bytesAfter: number;
	/** What was passed over, and left as it was. */
	readonly damages: readonly DamageError[];
}

/** There is not enough space to write a segment anew. */
export class NoSpaceToCompact extends Error {
	override readonly name = "NoSpaceToCompact";
}

/** A source and the offset where the one after it begins. */
interface Source {
	readonly segment: Segment;
	readonly to: number;
}

export class Compaction {
	readonly #options: CompactionOptions;
	readonly #sources: readonly Source[];
	readonly #transactions: CleanedTransactions;
	readonly #nowMs: number;
	readonly #window = Buffer.allocUnsafeSlow(WINDOW_BYTES);
	readonly #damages: DamageError[] = [];
	#end: number;
	/** Damage was passed over: what it hid may be older than a tombstone behind it. */
	#keepsTombstones = false;

	constructor(options: CompactionOptions) {
		const { partition, sources, log } = options;
		this.#options = options;
		this.#sources = sources.map((segment) => ({
			segment,
			to: partition.segments.after(segment)?.baseOffset as number,
		}));
		// What the object store has of the partition stays as it was: a value there must not outlive its tombstone, nor what was
		// aborted there its marker.
		this.#keepsTombstones = partition.isTiered;
		this.#transactions = new CleanedTransactions(partition.transactions, partition.isTiered);
		this.#nowMs = log.services.clock.now();
		this.#end = options.firstDirty;
	}

	/** Rejects with CleanerStopped, NoSpaceToCompact, and what the disk and the catalog throw; all that was done holds. */
	async run(): Promise<CompactionResult> {
		const { log, partition, firstDirty } = this.#options;
		await this.#learn();
		let bytesBefore = 0;
		let bytesAfter = 0;
		for (const group of this.#groups()) {
			const size = group.reduce((sum, { segment }) => sum + segment.sizeBytes, 0);
			bytesBefore += size;
			bytesAfter += (await this.#rewrite(group, size)) ?? size;
		}
		if (this.#end > firstDirty) {
			log.services.catalog.setCleanedOffset(partition.id, this.#end);
			partition.segments.cleanedOffset = this.#end;
		}
		return { cleanedOffset: this.#end, bytesBefore, bytesAfter, damages: this.#damages };
	}

	/** Fills the key map from what is new, as far as it goes. */
	async #learn(): Promise<void> {
		const { firstDirty, keys, partition } = this.#options;
		keys.clear();
		let full = false;
		const learn = (batch: Buffer, header: BatchHeader): boolean => {
			if (header.lastOffset < firstDirty || header.isControl) return true;
			if (header.isTransactional && partition.transactions.isAborted(header.producerId, header.baseOffset)) return true;
			forEachRecord(batch, 0, ({ source, offset, keyStart, keyEnd }) => {
				if (full || offset < firstDirty || keyStart < 0) return;
				if (keys.put(source, keyStart, keyEnd, offset)) return;
				full = true;
				this.#end = offset;
			});
			return !full;
		};
		for (const { segment, to } of this.#sources) {
			if (to <= firstDirty) continue;
			this.#checkThere([{ segment }]);
			await this.#walk(segment, segment.lookUp(firstDirty), learn);
			if (full) return;
			this.#end = to;
		}
	}

	/** Sources that become one segment each: no more of them than a segment takes. */
	#groups(): Source[][] {
		const { segmentBytes } = this.#options.partition.config;
		const groups: Source[][] = [];
		let bytes = 0;
		for (const source of this.#sources) {
			const { segment, to } = source;
			if (segment.baseOffset >= this.#end) break;
			const group = groups.at(-1);
			const base = group?.[0]?.segment.baseOffset ?? 0;
			if (group !== undefined && bytes + segment.sizeBytes <= segmentBytes && to - base <= RELATIVE_MAX) {
				group.push(source);
				bytes += segment.sizeBytes;
			} else {
				groups.push([source]);
				bytes = segment.sizeBytes;
			}
		}
		return groups;
	}

	/** Returns the bytes of what took the place of `group`; undefined where that stays as it was. */
	async #rewrite(group: readonly Source[], groupBytes: number): Promise<number | undefined> {
		const { log, partition, pace } = this.#options;
		const { disk } = log.services;
		const { folder } = partition.segments;
		const baseOffset = (group[0] as Source).segment.baseOffset;
		this.#checkThere(group);
		if (disk.freeBytes(folder) < SPACE_FACTOR * groupBytes)
			throw new NoSpaceToCompact(`${groupBytes} bytes are to be written anew in ${folder}`);
		removeCleaned(disk, folder, baseOffset);
		const output = new Segment(disk, folder, baseOffset, { suffix: CLEANED_SUFFIX });
		let changed = group.length > 1;
		let crc = 0;
		let unsynced = 0;
		let kept: Buffer[] = [];
		const visit = (batch: Buffer, header: BatchHeader): boolean => {
			const left = this.#filter(batch, header);
			if (left !== batch) changed = true;
			if (left !== undefined) kept.push(left);
			return true;
		};
		const write = async (read: number): Promise<void> => {
			const bytes = kept.reduce((sum, batch) => sum + batch.length, 0);
			if (bytes > 0) {
				this.#checkThere(group);
				for (const batch of kept) crc = crc32c(batch, 0, batch.length, crc);
				output.append(kept, partition.config.indexIntervalBytes);
				kept = [];
				unsynced += bytes;
			}
			// Files that nothing has changed in are thrown away: none of that need reach the medium.
			if (changed && unsynced >= SYNC_BYTES) {
				unsynced = 0;
				await output.sync();
			}
			await pace.spent(read + bytes);
		};
		try {
			const damagesBefore = this.#damages.length;
			for (const { segment, to } of group) {
				await this.#walk(segment, 0, visit, write);
				this.#checkThere(group);
				if (this.#damages.length === damagesBefore && log.refusal === undefined)
					this.#transactions.segmentDone(segment.baseOffset, to);
			}
			if (this.#damages.length > damagesBefore) {
				this.#keepsTombstones = true;
				changed = false;
			}
			if (!changed) return undefined;
			output.finish();
			await output.sync();
			this.#checkThere(group);
			disk.syncDirectory(folder);
			this.#swap(group, output, crc);
			return output.sizeBytes;
		} finally {
			output.retire();
			if (log.failed === undefined && this.#isThere(group)) removeCleaned(disk, folder, baseOffset);
		}
	}

	/** From here to the end nobody else has a turn. */
	#swap(group: readonly Source[], output: Segment, crc: number): void {
		const { log, partition } = this.#options;
		const { catalog, disk } = log.services;
		const { segments } = partition;
		const { baseOffset, sizeBytes } = output;
		const replaced = group.slice(1).map(({ segment }) => segment.baseOffset);
		const nextOffset = (group.at(-1) as Source).to;
		catalog.beginSwap(partition.id, { baseOffset, nextOffset, sizeBytes, crc }, replaced);
		try {
			output.release();
			for (const { segment } of group) segment.retire();
			renameCleaned(disk, segments.folder, { baseOffset, replaced });
			segments.replace(
				group.map(({ segment }) => segment),
				new Segment(disk, segments.folder, baseOffset, { isCleaned: true }),
			);
			catalog.endSwap(partition.id);
		} catch (error) {
			// Which names the files have only the next start can tell.
			log.fail(new Error(`compaction of ${segments.folder}: ${(error as Error).message}`, { cause: error }));
			throw error;
		}
	}

	/** What is left of the batch: itself where nothing changes. */
	#filter(batch: Buffer, header: BatchHeader): Buffer | undefined {
		const { partition, keys } = this.#options;
		const mayGo = header.hasDeleteHorizon && header.baseTimestamp <= this.#nowMs && !this.#keepsTombstones;
		if (header.isControl) {
			if (header.count > 0 && !isTransactionMarker(batch)) return batch;
			const isEmpty = this.#transactions.isEmpty(header);
			if (header.lastOffset < partition.logStartOffset || (isEmpty && mayGo)) return undefined;
			return isEmpty ? this.#filtered(batch, header, () => "stays until the horizon") : batch;
		}
		const isAborted = this.#transactions.isAborted(header);
		if (isAborted || header.lastOffset < partition.logStartOffset) return undefined;
		if (header.baseOffset >= this.#end) return batch;
		return this.#filtered(batch, header, ({ source, offset, keyStart, keyEnd, valueStart }) => {
			if (offset >= this.#end) return "stays";
			if (keyStart < 0 || keys.get(source, keyStart, keyEnd) > offset) return "goes";
			if (valueStart >= 0) return "stays";
			return mayGo ? "goes" : "stays until the horizon";
		});
	}

	#filtered(batch: Buffer, header: BatchHeader, fate: Parameters<typeof filterBatch>[2]): Buffer | undefined {
		const { deleteRetentionMs, compressionType, compressionLevel } = this.#options.partition.config;
		return filterBatch(batch, header, fate, {
			horizonMs: Math.min(this.#nowMs + deleteRetentionMs, Number.MAX_SAFE_INTEGER),
			level: compressionType === header.codec ? compressionLevel : undefined,
			maxDecompressedBytes: MAX_DECOMPRESSED_BYTES,
		});
	}

	async #walk(
		segment: Segment,
		position: number,
		visit: (batch: Buffer, header: BatchHeader) => boolean,
		pause: (bytes: number) => Promise<void> = (bytes) => this.#options.pace.spent(bytes),
	): Promise<void> {
		await walkBatches(segment, position, {
			window: this.#window,
			check: () => this.#checkThere([{ segment }]),
			visit,
			pause,
			damaged: (error) => this.#damages.push(error),
		});
		segment.release();
	}

	/** Retention and deletion may come between any two slices. */
	#isThere(group: readonly { readonly segment: Segment }[]): boolean {
		const { log, partition } = this.#options;
		if (log.failed !== undefined || log.partitions.get(partition.id) !== partition) return false;
		return group.every(({ segment }) => partition.segments.has(segment));
	}

	#checkThere(group: readonly { readonly segment: Segment }[]): void {
		if (!this.#isThere(group)) throw new SourcesGone("retention or a deletion took the segments");
	}
}

/** What is being compacted is not there any more. */
export class SourcesGone extends Error {
	override readonly name = "SourcesGone";
}
