/**
 * What of the log is still to go to the object store: of each partition what lies between its last upload and its last stable
 * offset. Bytes and times are near the truth; offsets are exact.
 */
import type { Clock } from "../../src/base/clock.ts";
import type { Topic, Topics } from "../../src/broker/topics.ts";
import type { TierCatalog } from "../../src/catalog/tier-catalog.ts";
import type { Partition } from "../../src/log/partition.ts";

/** Consecutive records of a partition. */
export interface PendingRange {
	readonly topic: Topic;
	readonly partition: Partition;
	readonly from: number;
	readonly to: number;
	readonly bytes: number;
	/** Timestamp of its oldest record, more or less; -1: not known. */
	readonly sinceMs: number;
}

/** Partitions looked at in one turn of the event loop. */
const PARTITIONS_AT_ONCE = 200;

/** Where the next range of the partition begins. */
export function pendingFrom({ tieredOffset, logStartOffset }: Partition): number {
	return Math.max(tieredOffset, logStartOffset);
}

export class Pending {
	readonly #topics: Topics;
	readonly #tier: TierCatalog;
	readonly #clock: Clock;
	/** The newest timestamp that was uploaded of a partition, up to which offset. */
	readonly #newest = new WeakMap<Partition, { readonly offset: number; readonly timestamp: number }>();

	constructor(services: { readonly topics: Topics; readonly tier: TierCatalog; readonly clock: Clock }) {
		this.#topics = services.topics;
		this.#tier = services.tier;
		this.#clock = services.clock;
	}

	/** Of all partitions, those with the oldest records first. */
	async list(): Promise<PendingRange[]> {
		const found: PendingRange[] = [];
		for await (const partitions of this.#slices())
			for (const { topic, partition } of partitions) {
				const range = this.of(topic, partition);
				if (range !== undefined) found.push(range);
			}
		return found.sort((a, b) => a.sinceMs - b.sinceMs);
	}

	/** Of all partitions. */
	async bytes(): Promise<number> {
		let bytes = 0;
		for await (const partitions of this.#slices())
			for (const { partition } of partitions) if (isPending(partition)) bytes += bytesOf(partition);
		return bytes;
	}

	/** undefined where nothing is. */
	of(topic: Topic, partition: Partition): PendingRange | undefined {
		if (!isPending(partition)) return undefined;
		const from = pendingFrom(partition);
		const to = partition.lastStableOffset;
		return { topic, partition, from, to, bytes: bytesOf(partition), sinceMs: this.#sinceMs(partition, from) };
	}

	async *#slices(): AsyncGenerator<{ topic: Topic; partition: Partition }[]> {
		let slice: { topic: Topic; partition: Partition }[] = [];
		for (const topic of this.#topics.list())
			for (const partition of topic.partitions) {
				if (!partition.config.tier.copies) break;
				slice.push({ topic, partition });
				if (slice.length < PARTITIONS_AT_ONCE) continue;
				yield slice;
				slice = [];
				await new Promise<void>((resolve) => this.#clock.soon(resolve));
			}
		yield slice;
	}

	#sinceMs(partition: Partition, from: number): number {
		const { segments, logStartOffset, tieredOffset, tailMaxTimestamp } = partition;
		// Records are more or less in the order of their time: the newest that was uploaded is as old as the oldest that was not.
		if (tieredOffset > logStartOffset) return this.#newestTiered(partition);
		const [first] = segments.list;
		if (first === undefined || from >= segments.nextOffset) return tailMaxTimestamp;
		return first.firstTimestamp >= 0 ? first.firstTimestamp : first.maxTimestamp;
	}

	#newestTiered(partition: Partition): number {
		const { id, tieredOffset } = partition;
		const known = this.#newest.get(partition);
		if (known?.offset === tieredOffset) return known.timestamp;
		const timestamp = this.#tier.rangeAt(id, tieredOffset - 1)?.maxTimestamp ?? -1;
		this.#newest.set(partition, { offset: tieredOffset, timestamp });
		return timestamp;
	}
}

function isPending(partition: Partition): boolean {
	return partition.config.tier.copies && pendingFrom(partition) < partition.lastStableOffset;
}

/** Of segments that were uploaded in part, that part which their offsets call for. */
function bytesOf(partition: Partition): number {
	const { segments, flushedOffset, tailBytes, highWatermark } = partition;
	const from = pendingFrom(partition);
	let bytes = tailBytes * partOf(flushedOffset, highWatermark, from);
	let next = flushedOffset;
	for (let i = segments.list.length - 1; i >= 0 && next > from; i--) {
		const segment = segments.list[i];
		if (segment === undefined) break;
		bytes += segment.sizeBytes * partOf(segment.baseOffset, next, from);
		next = segment.baseOffset;
	}
	return Math.ceil(bytes);
}

/** Which part of the offsets from `base` to `next` lies at `from` or behind it. */
function partOf(base: number, next: number, from: number): number {
	return next <= base ? 0 : Math.min(1, Math.max(0, (next - from) / (next - base)));
}
