/**
 * Compacts partitions whose topic has compact in its cleanup.policy: the one of which the largest part is new
 * first, one at a time, at a bounded rate and in bounded memory. Begins by itself, again and again.
 */
import type { Timer } from "../base/clock.ts";
import { isDiskFull } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import { CleanerPace, CleanerStopped } from "./cleaner-pace.ts";
import { Compaction, NoSpaceToCompact, SourcesGone } from "./compaction.ts";
import { KeyOffsets } from "./key-offsets.ts";
import type { Log } from "./log.ts";
import type { Partition } from "./partition.ts";
import type { Segment } from "./segment.ts";

export interface CleanerOptions {
	/** How long it waits after it found nothing to do, milliseconds. */
	readonly backoffMs: number;
	/** Memory for keys, while there is something to do. */
	readonly dedupeBufferBytes: number;
	/** Read and written, together. */
	readonly ioBytesPerSecond: number;
}

/** What of a partition can be compacted, and how much of it is new. */
interface Candidate {
	readonly partition: Partition;
	readonly sources: readonly Segment[];
	readonly firstDirty: number;
	readonly dirtyRatio: number;
	/** It is so much, or so old, that it should be done. */
	readonly due: boolean;
}

const SEED_BYTES = 16;

export class Cleaner {
	readonly #log: Log;
	readonly #random: Random;
	readonly #options: CleanerOptions;
	readonly #pace: CleanerPace;
	/** Something is wrong with their files that only a person can put right: not again before the next start. */
	readonly #givenUp = new WeakSet<Partition>();
	#timer: Timer | undefined;
	#stopped = false;
	#running: Promise<void> = Promise.resolve();

	constructor(log: Log, random: Random, options: CleanerOptions) {
		this.#log = log;
		this.#random = random;
		this.#options = options;
		this.#pace = new CleanerPace(log.services.clock, options.ioBytesPerSecond);
		this.#schedule();
	}

	/** Compacts until nothing is due. Calls that overlap follow one another. */
	clean(): Promise<void> {
		this.#running = this.#running.then(() => this.#cleanAll());
		return this.#running;
	}

	/** Resolves when what is under way has ended; what it had not finished counts for nothing. */
	async stop(): Promise<void> {
		this.#stopped = true;
		this.#timer?.cancel();
		this.#pace.stop();
		await this.#running;
	}

	#schedule(): void {
		this.#timer = this.#log.services.clock.after(this.#options.backoffMs, () => {
			this.clean().then(() => {
				if (!this.#stopped) this.#schedule();
			});
		});
	}

	async #cleanAll(): Promise<void> {
		let keys: KeyOffsets | undefined;
		for (;;) {
			if (this.#stopped || this.#log.failed !== undefined || this.#log.refusal !== undefined) return;
			const next = this.#dirtiest();
			if (next === undefined) return;
			keys ??= new KeyOffsets(this.#options.dedupeBufferBytes, this.#random.bytes(SEED_BYTES));
			if (!(await this.#compact(next, keys))) return;
		}
	}

	#dirtiest(): Candidate | undefined {
		let dirtiest: Candidate | undefined;
		for (const partition of this.#log.partitions.values()) {
			if (!partition.config.cleanupPolicy.compact || this.#givenUp.has(partition)) continue;
			const candidate = candidateOf(partition, this.#log.services.clock.now());
			if (candidate?.due === true && candidate.dirtyRatio > (dirtiest?.dirtyRatio ?? -1)) dirtiest = candidate;
		}
		return dirtiest;
	}

	/** One pass. False when there is no use in going on now. */
	async #compact(candidate: Candidate, keys: KeyOffsets): Promise<boolean> {
		const { partition, sources, firstDirty } = candidate;
		const { logger, clock } = this.#log.services;
		const names = { topic: partition.topic, partition: partition.number };
		const beganMs = clock.monotonic();
		try {
			const compaction = new Compaction({ log: this.#log, partition, sources, firstDirty, keys, pace: this.#pace });
			const { damages, ...result } = await compaction.run();
			logger.info("compacted", {
				...names,
				...result,
				keys: keys.size,
				tookMs: Math.round(clock.monotonic() - beganMs),
			});
			for (const { file, position, message } of damages)
				logger.warn("compaction left a damaged segment as it is", { ...names, file, position, what: message });
			return true;
		} catch (error) {
			if (error instanceof CleanerStopped || this.#log.failed !== undefined) return false;
			// A deleted topic's files may be missed anywhere.
			if (error instanceof SourcesGone || this.#log.partitions.get(partition.id) !== partition) return true;
			const waits = error instanceof NoSpaceToCompact || isDiskFull(error);
			if (!waits) this.#givenUp.add(partition);
			logger.warn(waits ? "no space to compact" : "compaction failed: not again before the next start", {
				...names,
				error: String(error),
			});
			return !waits;
		}
	}
}

function candidateOf(partition: Partition, nowMs: number): Candidate | undefined {
	const { segments, config } = partition;
	const firstDirty = Math.max(segments.cleanedOffset, partition.logStartOffset);
	const sources: Segment[] = [];
	let cleanBytes = 0;
	let dirtyBytes = 0;
	let firstDirtySegment: Segment | undefined;
	for (const [i, segment] of segments.list.entries()) {
		const to = segments.list[i + 1]?.baseOffset;
		// What the catalog vouches for byte by byte, and what may yet be aborted, stays as it is.
		if (to === undefined || segment.baseOffset >= segments.checkpointBase || to > partition.lastStableOffset) break;
		if (to <= firstDirty) cleanBytes += segment.sizeBytes;
		else {
			if (config.minCompactionLagMs > 0 && segment.maxTimestamp > nowMs - config.minCompactionLagMs) break;
			dirtyBytes += segment.sizeBytes;
			firstDirtySegment ??= segment;
		}
		sources.push(segment);
	}
	if (firstDirtySegment === undefined || dirtyBytes === 0) return undefined;
	const dirtyRatio = dirtyBytes / (cleanBytes + dirtyBytes);
	// Most topics have no such limit: their files need not be opened for it.
	const limitMs = nowMs - config.maxCompactionLagMs;
	const oldestMs = limitMs < 0 ? -1 : (firstDirtySegment.headerAt(0)?.maxTimestamp ?? -1);
	const overdue = oldestMs >= 0 && oldestMs < limitMs;
	return { partition, sources, firstDirty, dirtyRatio, due: overdue || dirtyRatio > config.minCleanableDirtyRatio };
}
