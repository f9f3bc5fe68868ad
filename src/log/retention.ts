/**
 * Retention: the oldest records of each partition go, as its configuration asks. With tiered storage there are two
 * limits: that of the whole, which moves the log start over what the object store has and over the partition's own files;
 * and that of what is kept here, which lets go of segments that the object store has. Whole segments and whole
 * ranges go, oldest first; the catalog knows the new start before anything is removed. What somebody still needs stays
 * (retention-holder.ts), unless the disk has too little space: then so much of it goes as makes room, and no more than
 * the configuration asks.
 */
import { isDiskFull } from "../base/errors.ts";
import type { Log } from "./log.ts";
import type { Partition } from "./partition.ts";
import type { TakingCause } from "./retention-holder.ts";

/** Ranges looked at in one query, when the first is to go: most are kept, and one tells. */
const RANGES_AT_ONCE = 64;
/** Partitions whose start is moved in one transaction, which takes some 10 ms on a card: what one object has of them all ends at once. */
const MOVES_AT_ONCE = 256;

/** The partitions, and their new first offsets. */
type Moves = (readonly [partition: Partition, offset: number])[];

/** Returns how many segments were removed. Throws what the catalog and the disk throw. */
export function enforceRetention(log: Log): number {
	let removed = 0;
	for (const moves of movesOf(log, heldStart, ({ logStartOffset }) => logStartOffset))
		removed += move(log, moves, moveLogStarts);
	for (const moves of movesOf(log, localStartOf, ({ localStartOffset }) => localStartOffset))
		removed += move(log, moves, moveLocalStarts);
	for (const partition of log.partitions.values()) removed += removeUnneeded(log, partition);
	return removed + makeSpace(log);
}

/** Of all partitions whose start is to move, some at a time. */
function* movesOf(
	log: Log,
	startOf: (log: Log, partition: Partition) => number,
	present: (partition: Partition) => number,
): Generator<Moves> {
	let moves: Moves = [];
	for (const partition of log.partitions.values()) {
		const start = startOf(log, partition);
		if (start <= present(partition)) continue;
		moves.push([partition, start]);
		if (moves.length < MOVES_AT_ONCE) continue;
		yield moves;
		moves = [];
	}
	if (moves.length > 0) yield moves;
}

/** Returns how many segments were removed. */
function move(log: Log, moves: Moves, moveStarts: (log: Log, moves: Moves) => void): number {
	try {
		moveStarts(log, moves);
	} catch (error) {
		if (moves.length === 1 || !isDiskFull(error)) throw error;
		// There may be room for one, and what that lets go makes room for more.
		for (const one of moves) move(log, [one], moveStarts);
	}
	return moves.reduce((removed, [partition]) => removed + removeUnneeded(log, partition), 0);
}

/** As `wholeStart`, but for what somebody still needs. */
function heldStart(log: Log, partition: Partition): number {
	const start = wholeStart(log, partition);
	if (start <= partition.logStartOffset) return start;
	const needed = log.holders.neededFrom(partition);
	return needed === undefined || needed >= start ? start : wholeStart(log, partition, needed);
}

/** Where the log begins when all that is too old, or too much, is gone; what is at `end` or behind it stays. */
function wholeStart(log: Log, partition: Partition, end = Number.MAX_SAFE_INTEGER): number {
	const { id, segments, config, logStartOffset, localStartOffset } = partition;
	if (!config.cleanupPolicy.delete) return logStartOffset;
	const { clock, catalog } = log.services;
	const nowMs = clock.now();
	const limits = { ms: config.retentionMs, bytes: config.retentionBytes };
	let bytes = segments.batchBytes;
	let start = logStartOffset;
	if (localStartOffset > logStartOffset) {
		if (limits.bytes >= 0) bytes += catalog.tier.rawBytes(id, localStartOffset);
		for (let from = 0, limit = 1; start < localStartOffset; limit = RANGES_AT_ONCE) {
			const [range, ...more] = catalog.tier.ranges(id, from, limit);
			for (const { nextOffset, rawBytes, maxTimestamp } of range === undefined ? [] : [range, ...more]) {
				const isOld = limits.ms >= 0 && (rawBytes === 0 || (maxTimestamp >= 0 && nowMs - maxTimestamp > limits.ms));
				const isMuch = limits.bytes >= 0 && nextOffset <= localStartOffset && bytes - rawBytes >= limits.bytes;
				if ((!isOld && !isMuch) || nextOffset > end) return start;
				if (nextOffset <= localStartOffset) bytes -= rawBytes;
				start = Math.max(start, nextOffset);
				from = nextOffset;
				if (start >= localStartOffset) break;
			}
			if (range === undefined) break;
		}
		// What is missing between the ranges and here is not there to be kept.
		if (localStartOffset > end) return start;
		start = Math.max(start, localStartOffset);
	}
	for (const segment of segments.beyond(nowMs, bytes, limits)) {
		const next = segments.after(segment)?.baseOffset as number;
		if (next > end) break;
		start = Math.max(start, next);
	}
	return start;
}

/**
 * Where too little is free, the oldest segments go that are kept only because somebody needs them, as many as make room.
 * What the object store has is none of them: its copy here went before, without a loss. Returns how many.
 */
function makeSpace(log: Log): number {
	const { holders, refusal, services } = log;
	if (holders.isEmpty) return 0;
	const free = services.disk.freeBytes(services.dataFolder);
	let missing = Math.max(holders.minFreeBytes - free, refusal === undefined ? 0 : 1);
	if (missing <= 0) return 0;
	const candidates = [...log.partitions.values()].flatMap((partition) => keptSegments(log, partition));
	const starts = new Map<Partition, number>();
	for (const { partition, next, bytes } of candidates.sort((a, b) => a.maxTimestamp - b.maxTimestamp)) {
		starts.set(partition, next);
		missing -= bytes;
		if (missing <= 0) break;
	}
	let removed = 0;
	for (const start of starts) removed += move(log, [start], moveLogStarts);
	return removed;
}

/** Those that would go if nobody needed them, oldest first, the times rising. */
function keptSegments(log: Log, partition: Partition) {
	const { segments, localStartOffset } = partition;
	const start = wholeStart(log, partition);
	let maxTimestamp = -1;
	return segments.list.flatMap((segment) => {
		const next = segments.after(segment)?.baseOffset ?? Number.MAX_SAFE_INTEGER;
		if (next > start || next <= localStartOffset) return [];
		maxTimestamp = Math.max(maxTimestamp, segment.maxTimestamp);
		return [{ partition, next, bytes: segment.footprintBytes, maxTimestamp }];
	});
}

/** Where what is kept here begins when all that the object store has and is too old, or too much, is gone. */
function localStartOf(log: Log, { segments, config, localStartOffset }: Partition): number {
	if (segments.tieredOffset <= localStartOffset) return localStartOffset;
	const { localRetentionMs, localRetentionBytes } = config.tier;
	const limits = { ms: localRetentionMs, bytes: localRetentionBytes };
	let start = localStartOffset;
	for (const segment of segments.beyond(log.services.clock.now(), segments.batchBytes, limits)) {
		const next = segments.after(segment)?.baseOffset as number;
		if (next > segments.tieredOffset) break;
		start = Math.max(start, next);
	}
	return start;
}

function removeUnneeded(log: Log, partition: Partition): number {
	const { segments, topic, number, logStartOffset, localStartOffset } = partition;
	const unneeded = segments.unneeded();
	if (unneeded.length === 0) return 0;
	segments.drop(unneeded);
	log.services.logger.info("retention removed segments", {
		topic,
		partition: number,
		segments: unneeded.length,
		logStartOffset,
		localStartOffset,
	});
	return unneeded.length;
}

/** Makes `offset` the first that can be read, durably. Throws what the catalog throws. */
export function moveLogStart(log: Log, partition: Partition, offset: number, cause: TakingCause): void {
	moveLogStarts(log, [[partition, offset]], cause);
}

function moveLogStarts(log: Log, moves: Moves, cause: TakingCause = "space"): void {
	const takings = moves.flatMap(([partition, offset]) => log.holders.taking(partition, offset, cause) ?? []);
	log.services.catalog.setLogStartOffsets(
		moves.map(([{ id }, offset]) => [id, offset]),
		takings.flatMap(({ losses }) => losses),
	);
	for (const [{ segments, transactions }, offset] of moves) {
		segments.logStartOffset = offset;
		if (log.refusal === undefined) transactions.forgetBelow(offset);
	}
	for (const taking of takings) taking.done();
}

/** What is before the offsets is read from the object store from now on, durably. */
function moveLocalStarts(log: Log, moves: Moves): void {
	log.services.catalog.setLocalStartOffsets(moves.map(([{ id }, offset]) => [id, offset]));
	for (const [{ segments }, offset] of moves) segments.localStartOffset = offset;
}
