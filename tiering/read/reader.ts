/**
 * Reads back what has left a partition's own files. The catalog knows in which block of which object a record is, so a
 * first record costs one request; who reads on finds the next window there already. What is held in memory is bounded, and
 * let go when nobody reads.
 *
 * A store that is slow or away, and an object that is missing or damaged, are errors that a reader may ask again after;
 * nothing is ever passed over because of them.
 */
import type { TakeBuffer } from "../../src/base/buffer-pool.ts";
import type { Clock, Timer } from "../../src/base/clock.ts";
import type { Disk } from "../../src/base/disk.ts";
import { BrokerError, DamageError } from "../../src/base/errors.ts";
import type { Logger } from "../../src/base/logger.ts";
import type { TierCatalog } from "../../src/catalog/tier-catalog.ts";
import type { Partition } from "../../src/log/partition.ts";
import type { Tier } from "../../src/log/tier.ts";
import { readBatchHeader } from "../../src/record/batch.ts";
import type { Block } from "../bundle/block.ts";
import type { Compression } from "../bundle/compression.ts";
import type { ObjectStore } from "../object-store.ts";
import { BlockMemory } from "./block-memory.ts";
import { ObjectFaults } from "./object-faults.ts";
import { RangeIndex } from "./range-index.ts";
import { AHEAD_BYTES_MAX, ReadAhead } from "./read-ahead.ts";
import { type ReadStream, ReadStreams } from "./read-streams.ts";
import { StoreHealth } from "./store-health.ts";
import type { RangeWindow, TieredRange } from "./tiered-range.ts";
import { WindowCache } from "./window-cache.ts";
import { ObjectGone, WindowFetcher } from "./window-fetcher.ts";
import { WindowMemory } from "./window-memory.ts";

/** What a reader asks about a partition. */
export type TieredPartition = Pick<Partition, "id" | "topic" | "number" | "logStartOffset" | "localStartOffset">;

export interface TierReaderOptions {
	readonly catalog: TierCatalog;
	readonly store: ObjectStore;
	readonly disk: Disk;
	readonly clock: Clock;
	readonly logger: Logger;
	/** Of the disk cache, its own; and the most that it takes, 0: there is none. */
	readonly cacheFolder: string;
	readonly cacheBytes: number;
	/** What a first read fetches, bytes of an object. */
	readonly windowBytes: number;
	/** No object has the partition's records from `offset` up to `next`, says the catalog: a reader goes on behind them. */
	readonly lost: (partition: TieredPartition, offset: number, next: number) => void;
	/** A simulation's own. */
	readonly compression?: Compression;
}

export interface TierReaderStats {
	/** Requests to the store, and the bytes that they brought. */
	readonly gets: number;
	readonly bytes: number;
	/** Windows that the disk had; requests to the store that would not have been needed with a disk of any size are misses. */
	readonly cacheHits: number;
	readonly cacheMisses: number;
	readonly cacheBytes: number;
	/** Requests that failed, and objects and blocks that were missing or damaged. */
	readonly errors: number;
	readonly damaged: number;
	/** Held now, or on its way. */
	readonly memoryBytes: number;
	/** Why the store cannot be read now. */
	readonly problem: string | undefined;
}

const WINDOW_MEMORY_BYTES = 6 * 1024 * 1024;
const BLOCK_MEMORY_BYTES = 2 * 1024 * 1024;
/** Of a block that is decoded before it is asked for: it must find a place. */
const PREPARED_BYTES_MAX = BLOCK_MEMORY_BYTES / 4;
/** Nobody has read for so long: all memory goes. */
const IDLE_MS = 30_000;

/** A block of a range. */
interface Place {
	readonly range: TieredRange;
	readonly block: number;
}

/** What a read gives. */
interface Copy {
	readonly target: Buffer;
	/** Of it, at most. */
	readonly sizeBytes: number;
	used: number;
	/** After the last batch. */
	nextOffset: number;
	/** All of the first block is in it. */
	readonly isWhole: boolean;
}

export class TierReader implements Tier {
	readonly #clock: Clock;
	readonly #catalog: TierCatalog;
	readonly #cache: WindowCache;
	readonly #memory: WindowMemory;
	readonly #blocks: BlockMemory;
	readonly #health: StoreHealth;
	readonly #faults: ObjectFaults;
	readonly #fetcher: WindowFetcher;
	readonly #ranges: RangeIndex;
	readonly #streams: ReadStreams;
	readonly #ahead: ReadAhead;
	readonly #lost: TierReaderOptions["lost"];
	#usedMs = 0;
	#idleTimer: Timer | undefined;
	#damagedBlocks = 0;

	constructor(options: TierReaderOptions) {
		const { catalog, store, disk, clock, logger, windowBytes } = options;
		this.#clock = clock;
		this.#catalog = catalog;
		this.#lost = options.lost;
		const { cacheFolder: folder, cacheBytes: maxBytes } = options;
		this.#cache = new WindowCache({ folder, maxBytes, disk, clock, logger });
		this.#memory = new WindowMemory(WINDOW_MEMORY_BYTES, clock);
		this.#blocks = new BlockMemory(BLOCK_MEMORY_BYTES, options.compression);
		this.#health = new StoreHealth({ clock, logger, store: store.name });
		this.#faults = new ObjectFaults({ clock, logger });
		this.#fetcher = new WindowFetcher({
			store,
			clock,
			cache: this.#cache,
			memory: this.#memory,
			health: this.#health,
			faults: this.#faults,
			isStored: (key) => catalog.bundleByKey(key)?.state === "stored",
		});
		this.#ranges = new RangeIndex(catalog, windowBytes);
		this.#streams = new ReadStreams(clock, { leastBytes: windowBytes, mostBytes: AHEAD_BYTES_MAX });
		this.#ahead = new ReadAhead({
			memory: this.#memory,
			fetcher: this.#fetcher,
			cache: this.#cache,
			ranges: this.#ranges,
			streams: this.#streams,
		});
	}

	/** At start: what the disk cache has of bundles that are no more goes. */
	begin(): void {
		this.#cache.retain((key) => this.#catalog.bundleByKey(key)?.state === "stored");
	}

	/** The bundle is being removed from the store. */
	forgetBundle(key: string): void {
		this.#cache.forget(key);
	}

	/** What has begun is abandoned. */
	async close(): Promise<void> {
		this.#idleTimer?.cancel();
		this.#fetcher.close();
		this.#letGo();
		await this.#cache.close();
	}

	stats(): TierReaderStats {
		const { gets, bytes, cacheHits, errors } = this.#fetcher.stats();
		return {
			gets,
			bytes,
			cacheHits,
			cacheMisses: gets,
			cacheBytes: this.#cache.stats().bytes,
			errors: errors + this.#damagedBlocks,
			damaged: this.#faults.count,
			memoryBytes: this.#memory.bytes + this.#blocks.bytes,
			problem: this.#health.problem ?? this.#faults.problem,
		};
	}

	/** As Tier has it; and empty where nothing is left to be read before the partition's local start. */
	async read(
		partition: TieredPartition,
		offset: number,
		maxBytes: number,
		patienceMs: number,
		take: TakeBuffer = Buffer.allocUnsafe,
	): Promise<Buffer> {
		this.#use();
		const untilMs = this.#clock.monotonic() + patienceMs;
		const stream = this.#streams.at(partition.id, offset);
		for (let attempt = 1; ; attempt++) {
			const place = this.#find(partition, offset);
			if (place === undefined) return Buffer.alloc(0);
			const copy = await this.#bring(partition, place, stream, untilMs, (raw) =>
				this.#copyFirst(place, raw, offset, maxBytes, take),
			);
			if (copy !== undefined) {
				if (copy.isWhole) await this.#copyMore(place, copy, stream);
				this.#streams.advance(stream, copy.nextOffset);
				this.#fetcher.proceed();
				return copy.target.subarray(0, copy.used);
			}
			// Retention was quicker, or the records have left the object store.
			this.#ranges.forget(partition.id);
			if (attempt > 1) throw new BrokerError("OFFSET_NOT_AVAILABLE", `${place.range.key} was removed: ask again`);
		}
	}

	lookUpTime(partition: TieredPartition, timestampMs: number, from: number): number | undefined {
		for (let offset = from; offset < partition.localStartOffset; ) {
			const range = this.#sound(partition, () => this.#ranges.forTime(partition.id, offset, timestampMs));
			if (range === undefined) return undefined;
			const found = range.blocks.find((block) => block.nextOffset > offset && block.maxTimestamp >= timestampMs);
			if (found !== undefined)
				return found.baseOffset < partition.localStartOffset ? Math.max(found.baseOffset, from) : undefined;
			offset = range.nextOffset;
		}
		return undefined;
	}

	maxTimestamp(partition: TieredPartition): number {
		return this.#catalog.maxTimestamp(partition.id, partition.localStartOffset);
	}

	/** The first block before the local start that has a record at `offset` or behind it. */
	#find(partition: TieredPartition, offset: number): Place | undefined {
		const { id, topic, number, logStartOffset, localStartOffset } = partition;
		if (offset < logStartOffset)
			throw new BrokerError(
				"OFFSET_OUT_OF_RANGE",
				`offset ${offset} of ${topic}-${number}: it begins at ${logStartOffset}`,
			);
		for (let from = offset; from < localStartOffset; ) {
			const range = this.#sound(partition, () => this.#ranges.at(id, from));
			const next = Math.min(range?.baseOffset ?? localStartOffset, localStartOffset);
			if (next > from) this.#lost(partition, from, next);
			if (range === undefined) return undefined;
			const block = range.blockAt(from);
			if (block !== undefined)
				return (range.blocks[block] as Block).baseOffset < localStartOffset ? { range, block } : undefined;
			from = range.nextOffset;
		}
		return undefined;
	}

	/** What `look` finds in the catalog. Throws KAFKA_STORAGE_ERROR where that makes no sense. */
	#sound<T>({ topic, number }: TieredPartition, look: () => T): T {
		try {
			return look();
		} catch (error) {
			const cause = error instanceof Error ? error.message : String(error);
			const id = `the catalog's index of ${topic}-${number}`;
			throw this.#faults.add(id, `${id}: ${cause}`);
		}
	}

	/** What `work` makes of the record batches of a block, when they are here; undefined where its object was removed. */
	async #bring<T>(
		partition: TieredPartition,
		place: Place,
		stream: ReadStream,
		untilMs: number,
		work: (raw: Buffer) => T,
	): Promise<T | undefined> {
		const { range } = place;
		const block = range.blocks[place.block] as Block;
		const window = range.windowOf(place.block);
		const id = blockId(range, block);
		// It was damaged some time ago: it may have been replaced.
		if (this.#faults.check(id)) this.#discard(window);
		for (;;) {
			const kept = this.#blocks.find(range.key, block);
			// Else what is asked for comes first.
			if (kept !== undefined || this.#memory.has(window))
				this.#ahead.goOn(range, window, stream, partition.localStartOffset);
			if (kept !== undefined) return work(kept);
			let isCached = false;
			try {
				const found = this.#memory.use(window, async (bytes, fromDisk) => {
					isCached = fromDisk;
					return { made: await this.#decode(range, block, window, bytes, work) };
				});
				if (found !== undefined) {
					const { made } = await found;
					this.#faults.clear(id);
					return made;
				}
			} catch (error) {
				if (!(error instanceof DamageError)) throw error;
				this.#discard(window);
				if (!isCached) throw this.#damaged(id, error);
			}
			if (!this.#memory.has(window) && !(await this.#fetch(partition, range, window, stream, untilMs)))
				return undefined;
		}
	}

	/** False where the object was removed. */
	async #fetch(
		partition: TieredPartition,
		range: TieredRange,
		window: RangeWindow,
		stream: ReadStream,
		untilMs: number,
	): Promise<boolean> {
		if (!this.#cache.has(window)) for (const id of [range.key, window.id]) this.#faults.check(id);
		const windows = this.#ahead.together(range, window, stream, partition.localStartOffset);
		const brought = this.#fetcher.bring(partition.id, windows, Math.max(0, untilMs - this.#clock.monotonic()));
		this.#ahead.goOn(range, window, stream, partition.localStartOffset);
		try {
			await brought;
		} catch (error) {
			if (error instanceof ObjectGone) return false;
			throw error;
		}
		this.#faults.clear(range.key);
		return true;
	}

	#discard(window: RangeWindow): void {
		this.#memory.drop(window);
		this.#cache.discard(window);
	}

	#damaged(id: string, error: DamageError): BrokerError {
		this.#damagedBlocks += 1;
		return this.#faults.add(id, error.message);
	}

	#decode<T>(
		{ key }: TieredRange,
		block: Block,
		window: RangeWindow,
		bytes: Buffer,
		work: (raw: Buffer) => T,
	): Promise<T> {
		const from = block.position - window.position;
		return this.#blocks.use(key, block, bytes.subarray(from, from + block.storedBytes), work);
	}

	/** Whole batches of `raw`, from the one that has `offset` or is the first behind it; with room for what follows and is here. */
	#copyFirst(place: Place, raw: Buffer, offset: number, maxBytes: number, take: TakeBuffer): Copy {
		const start = positionOf(raw, offset);
		const { end, nextOffset } = wholeBatches(raw, start, maxBytes);
		const isWhole = end === raw.length;
		let room = end - start;
		if (isWhole)
			for (let next = this.#next(place); next !== undefined && room < maxBytes; next = this.#next(next))
				room += (next.range.blocks[next.block] as Block).rawBytes;
		const sizeBytes = Math.max(Math.min(room, maxBytes), end - start);
		const target = take(sizeBytes);
		return { target, sizeBytes, used: raw.copy(target, 0, start, end), nextOffset, isWhole };
	}

	/** What follows `place`, which has been copied to its end, as far as there is room for it. */
	async #copyMore(place: Place, copy: Copy, stream: ReadStream): Promise<void> {
		this.#finished(place);
		let at = this.#next(place);
		for (; at !== undefined && copy.used < copy.sizeBytes; at = this.#next(at)) {
			this.#prepare(this.#next(at));
			const isWhole = await this.#atHand(at, (raw) => addBatches(copy, raw));
			if (isWhole !== true) return;
			this.#finished(at);
		}
		if (stream.isSequential) this.#prepare(at);
	}

	/** Decodes what will be asked for next, meanwhile. */
	#prepare(place: Place | undefined): void {
		if (place !== undefined && (place.range.blocks[place.block] as Block).rawBytes <= PREPARED_BYTES_MAX)
			void this.#atHand(place, () => {});
	}

	/** The block that follows, if its bytes are in memory. */
	#next({ range, block }: Place): Place | undefined {
		let next: Place | undefined;
		if (block + 1 < range.blocks.length) next = { range, block: block + 1 };
		else {
			const after = this.#ranges.after(range);
			if (after !== undefined && after.blocks.length > 0) next = { range: after, block: 0 };
		}
		return next !== undefined && this.#memory.has(next.range.windowOf(next.block)) ? next : undefined;
	}

	/** What `work` makes of the batches of a block in memory; undefined where they are damaged, or gone by now. */
	async #atHand<T>({ range, block: index }: Place, work: (raw: Buffer) => T): Promise<T | undefined> {
		const block = range.blocks[index] as Block;
		const window = range.windowOf(index);
		try {
			return await this.#memory.use(window, (bytes) => this.#decode(range, block, window, bytes, work));
		} catch (error) {
			// Said when somebody asks for it.
			if (error instanceof DamageError) return undefined;
			throw error;
		}
	}

	/** The block has been read to its end. */
	#finished({ range, block }: Place): void {
		const window = range.windowOf(block);
		if (block === window.endBlock - 1) this.#memory.finished(window);
	}

	#use(): void {
		this.#usedMs = this.#clock.monotonic();
		this.#idleTimer ??= this.#clock.after(IDLE_MS, () => this.#whenIdle());
	}

	#whenIdle(): void {
		const idleMs = this.#clock.monotonic() - this.#usedMs;
		this.#idleTimer = undefined;
		if (idleMs >= IDLE_MS) this.#letGo();
		// What nobody waited for to the end is still to come.
		const isEmpty = this.#memory.bytes + this.#blocks.bytes === 0;
		if (idleMs >= IDLE_MS && isEmpty) return;
		this.#idleTimer = this.#clock.after(idleMs < IDLE_MS ? IDLE_MS - idleMs : IDLE_MS, () => this.#whenIdle());
	}

	#letGo(): void {
		this.#memory.clear();
		this.#blocks.clear();
		this.#ranges.clear();
		this.#streams.clear();
	}
}

function blockId({ key }: TieredRange, { position, baseOffset }: Block): string {
	return `${key} at byte ${position}, offset ${baseOffset}`;
}

/** Position in `raw` of the batch that has `offset`, or of the first behind it: there is one. */
function positionOf(raw: Buffer, offset: number): number {
	let at = 0;
	for (let header = readBatchHeader(raw, 0); header.lastOffset < offset; header = readBatchHeader(raw, at))
		at += header.sizeBytes;
	return at;
}

/** Whole batches of `raw` from `start` on: one at least, else at most `maxBytes`. */
function wholeBatches(
	raw: Buffer,
	start: number,
	maxBytes: number,
): { readonly end: number; readonly nextOffset: number } {
	let header = readBatchHeader(raw, start);
	let end = start + header.sizeBytes;
	while (end < raw.length) {
		const next = readBatchHeader(raw, end);
		if (end + next.sizeBytes - start > maxBytes) break;
		header = next;
		end += next.sizeBytes;
	}
	return { end, nextOffset: header.lastOffset + 1 };
}

/** Adds whole batches of `raw`, as many as there is room for. Returns whether these were all. */
function addBatches(copy: Copy, raw: Buffer): boolean {
	const room = copy.sizeBytes - copy.used;
	const { end, nextOffset } = wholeBatches(raw, 0, room);
	if (end > room) return false;
	copy.used += raw.copy(copy.target, copy.used, 0, end);
	copy.nextOffset = nextOffset;
	return end === raw.length;
}
