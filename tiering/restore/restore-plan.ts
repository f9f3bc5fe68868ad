/**
 * What a restored partition is made of: from the snapshot and the ranges that were found in the store. A store may have more
 * than the log did: bundles of uploads that were given up, with records that later bundles have again. Of all these, ranges
 * are chosen that follow one another exactly, as those did that the gateway counted on.
 */
import { type LeaderEpoch, LeaderEpochs } from "../../src/log/leader-epochs.ts";
import type { AbortedTransaction } from "../../src/log/partition-transactions.ts";
import type { SnapshotPartition } from "./snapshot.ts";

/** Of one partition, in one bundle. */
export interface FoundRange {
	readonly baseOffset: number;
	readonly nextOffset: number;
	readonly epochs: readonly LeaderEpoch[];
	readonly aborted: readonly AbortedTransaction[];
}

/** Offsets from `from` up to `to`, of which no bundle has records. */
export interface Hole {
	readonly from: number;
	readonly to: number;
}

export interface PartitionPlan<Range extends FoundRange> {
	readonly logStartOffset: number;
	/** The next record gets it. */
	readonly endOffset: number;
	readonly epochs: LeaderEpochs;
	/** By offset. They follow one another, but for the holes. */
	readonly ranges: readonly Range[];
	readonly aborted: readonly AbortedTransaction[];
	/** Records that the snapshot says were stored, and that are not there. */
	readonly holes: readonly Hole[];
}

/**
 * `found`: in the order in which the bundles were written. `newEpoch`: at least; it is greater than all before it. Where there is no
 * range, the log goes on, empty, at the offset where the snapshot says that it ended.
 */
export function planPartition<Range extends FoundRange>(
	{ logStartOffset, tieredOffset, endOffset, epochs }: SnapshotPartition,
	found: readonly Range[],
	newEpoch: number,
): PartitionPlan<Range> {
	const live = found.filter(({ baseOffset, nextOffset }) => nextOffset > Math.max(logStartOffset, baseOffset));
	const { ranges, holes } = chooseRanges(live, logStartOffset);
	const [first, last] = [ranges[0], ranges.at(-1)];
	if (first === undefined || last === undefined) {
		const lost = tieredOffset > logStartOffset ? [{ from: logStartOffset, to: tieredOffset }] : [];
		return {
			logStartOffset: endOffset,
			endOffset,
			epochs: beginEpoch(epochs, newEpoch, endOffset),
			ranges,
			aborted: [],
			holes: lost,
		};
	}
	const end = last.nextOffset;
	return {
		// What was before the first went by retention since the snapshot was taken.
		logStartOffset: Math.max(logStartOffset, first.baseOffset),
		endOffset: end,
		epochs: beginEpoch(mergeEpochs(epochs, ranges), newEpoch, end),
		ranges,
		aborted: uniqueAborted(ranges),
		holes: end < tieredOffset ? [...holes, { from: end, to: tieredOffset }] : holes,
	};
}

/**
 * Ranges from `logStartOffset` on. They follow one another exactly as far as there are such; where one that the gateway
 * counted on is gone, another may take its place that overlaps the next.
 */
function chooseRanges<Range extends FoundRange>(
	found: readonly Range[],
	logStartOffset: number,
): { ranges: Range[]; holes: Hole[] } {
	const sorted = found.toSorted((a, b) => a.baseOffset - b.baseOffset);
	const ranges: Range[] = [];
	const holes: Hole[] = [];
	for (let at = logStartOffset; ; ) {
		const chain = farthestChain(sorted, at);
		const next = chain.at(-1)?.nextOffset ?? sorted.find(({ baseOffset }) => baseOffset > at)?.baseOffset;
		if (next === undefined) return { ranges, holes };
		// What is missing at the beginning went by retention.
		if (chain.length === 0 && ranges.length > 0) holes.push({ from: at, to: next });
		// One that overlaps may have all that the last ones have.
		while (chain[0] !== undefined && ranges.length > 0 && (ranges.at(-1) as Range).baseOffset >= chain[0].baseOffset)
			ranges.pop();
		ranges.push(...chain);
		at = next;
	}
}

/** From one that holds `at`, each beginning where the one before ends. Of two that end alike, the one written last. */
function farthestChain<Range extends FoundRange>(sorted: readonly Range[], at: number): Range[] {
	/** By the offset where it ends. */
	const lasts = new Map<number, Range>();
	let end = at;
	const isFirst = ({ baseOffset, nextOffset }: Range) => baseOffset <= at && nextOffset > at;
	for (const range of sorted) {
		if (!isFirst(range) && !(range.baseOffset > at && lasts.has(range.baseOffset))) continue;
		lasts.set(range.nextOffset, range);
		end = Math.max(end, range.nextOffset);
	}
	const chain: Range[] = [];
	for (let range = lasts.get(end); range !== undefined; range = lasts.get(range.baseOffset)) {
		chain.push(range);
		if (isFirst(range)) break;
	}
	return chain.reverse();
}

function beginEpoch(known: readonly LeaderEpoch[], least: number, startOffset: number): LeaderEpochs {
	const epochs = LeaderEpochs.of(known);
	return epochs.begin(Math.max(least, epochs.current + 1), startOffset);
}

/** Ranges that are newer than the snapshot may know of an epoch that it does not. */
function mergeEpochs(known: readonly LeaderEpoch[], ranges: readonly FoundRange[]): LeaderEpoch[] {
	const merged = [...known];
	for (const { epochs } of ranges)
		for (const each of epochs) {
			const last = merged.at(-1);
			if (last === undefined || (each.epoch > last.epoch && each.startOffset > last.startOffset)) merged.push(each);
		}
	return merged;
}

/** A transaction is named by every bundle that has records of it. */
function uniqueAborted(ranges: readonly FoundRange[]): AbortedTransaction[] {
	const byMarker = new Map<number, AbortedTransaction>();
	for (const { aborted } of ranges) for (const each of aborted) byMarker.set(each.lastOffset, each);
	return [...byMarker.values()];
}
