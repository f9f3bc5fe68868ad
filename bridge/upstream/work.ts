/**
 * What is to be sent next, and if nothing, when to look again. High priority goes first, alone and at once, in every window;
 * what is normal takes what is low with it; both wait for company, so that a transaction is worth its cost.
 */
import type { Clock } from "../../src/base/clock.ts";
import type { UpstreamTopicRule } from "../../src/config/definition.ts";
import { cut } from "./position.ts";
import type { Flow, Source, Sources } from "./sources.ts";

export type Priority = UpstreamTopicRule["priority"];

/** What may be sent of a priority now; `untilMs`: by the wall clock, when that may change. */
export type Permission = "yes" | { readonly why: "budget" | "closed"; readonly untilMs: number | undefined };

export interface Work {
	readonly sources: readonly Source[];
	readonly priority: Priority;
}

export interface Nothing {
	/** Milliseconds until something is due; undefined: something has to happen first. */
	readonly waitMs: number | undefined;
	/** Why what there is may not be sent, where that is so. */
	readonly held: Exclude<Permission, "yes"> | undefined;
}

export interface WorkOptions {
	readonly clock: Clock;
	readonly lingerMs: number;
	/** So much, before compression, is worth a transaction. */
	readonly fullBytes: number;
	readonly permission: (priority: Priority) => Permission;
}

/** Partitions in one transaction: each has its progress record. */
const SOURCES_MAX = 500;
const PRIORITIES: readonly Priority[] = ["high", "normal", "low"];

export function nextWork(sources: Sources, { clock, lingerMs, fullBytes, permission }: WorkOptions): Work | Nothing {
	const nowMs = clock.monotonic();
	const byPriority = candidates(sources, nowMs);
	let waitMs = byPriority.waitMs;
	let held: Nothing["held"];
	for (const [i, priority] of PRIORITIES.entries()) {
		const found = byPriority[priority];
		if (found.length === 0) continue;
		const may = permission(priority);
		if (may !== "yes") {
			held ??= may;
			if (may.untilMs !== undefined) waitMs = Math.min(waitMs, Math.max(1, may.untilMs - clock.now()));
			continue;
		}
		const dueMs = priority === "high" ? nowMs : dueOf(found, lingerMs, fullBytes);
		if (dueMs <= nowMs) {
			const company = i === 1 && permission("low") === "yes" ? byPriority.low : [];
			return { sources: [...found, ...company].slice(0, SOURCES_MAX), priority };
		}
		waitMs = Math.min(waitMs, dueMs - nowMs);
	}
	return { waitMs: Number.isFinite(waitMs) ? waitMs : undefined, held };
}

type Candidates = Record<Priority, Source[]> & { waitMs: number };

function candidates(sources: Sources, nowMs: number): Candidates {
	const found: Candidates = { high: [], normal: [], low: [], waitMs: Number.POSITIVE_INFINITY };
	for (const source of sources.ready) {
		const { rule, problem } = source.flow;
		const retryAtMs = Math.max(
			source.retryAtMs,
			problem === undefined ? 0 : (problem.retryAtMs ?? Number.POSITIVE_INFINITY),
		);
		if (retryAtMs > nowMs) found.waitMs = Math.min(found.waitMs, retryAtMs - nowMs);
		else found[rule.priority].push(source);
	}
	return found;
}

/** When, by the monotonic clock, they are worth a transaction. */
function dueOf(found: readonly Source[], lingerMs: number, fullBytes: number): number {
	let dueMs = Number.POSITIVE_INFINITY;
	let bytes = 0;
	for (const { readySinceMs, position, partition, flow } of found) {
		if (position.gaps.length > 0) return Number.NEGATIVE_INFINITY;
		dueMs = Math.min(dueMs, (readySinceMs ?? 0) + lingerMs);
		bytes += (partition.lastStableOffset - position.next) * flow.recordBytes;
	}
	return bytes >= fullBytes ? Number.NEGATIVE_INFINITY : dueMs;
}

/** Where live records go first: what is more than one transaction behind is put off. */
export function putOffBacklog(source: Source, fullBytes: number): void {
	const { flow, position, partition } = source;
	if (flow.rule.order !== "live-first") return;
	const end = partition.lastStableOffset;
	if ((end - position.next) * flow.recordBytes > fullBytes) source.position = cut(position, end);
}

export function flowsOf(sources: readonly Source[]): Set<Flow> {
	return new Set(sources.map(({ flow }) => flow));
}
