/**
 * How far a partition has been sent: everything before `next` but for the gaps, which live-first leaves behind it. A position
 * never changes; what is sent makes another one.
 */

/** Offsets from `from` on and before `to` that are still to be sent. */
export interface Gap {
	readonly from: number;
	readonly to: number;
}

export interface Position {
	readonly next: number;
	/** Ascending, apart from each other, all before `next`. */
	readonly gaps: readonly Gap[];
}

export type Order = "oldest-first" | "live-first";

/** More gaps than this are not made: what is live waits for one to be filled. */
const GAPS_MAX = 32;

export function positionAt(next: number): Position {
	return { next, gaps: [] };
}

/** The first offset that is still needed. */
export function lowestOf({ next, gaps }: Position): number {
	return gaps[0]?.from ?? next;
}

/** Offsets still to be sent of a partition that ends at `end`. */
export function lagOf({ next, gaps }: Position, end: number): number {
	return gaps.reduce((sum, { from, to }) => sum + to - from, Math.max(0, end - next));
}

/** Of them, those in gaps. */
export function backfillOf({ gaps }: Position): number {
	return gaps.reduce((sum, { from, to }) => sum + to - from, 0);
}

/** What is to be sent next, in this order, of a partition that ends at `end`; undefined: nothing. */
export function runOf({ next, gaps }: Position, end: number, order: Order): Gap | undefined {
	const live = next < end ? { from: next, to: end } : undefined;
	return order === "live-first" ? (live ?? gaps[0]) : (gaps[0] ?? live);
}

/** `[from, to)` was sent, where `from` is that of a run. Throws RangeError where it is none. */
export function sent(position: Position, from: number, to: number): Position {
	const { next, gaps } = position;
	if (from === next) return { next: to, gaps };
	const at = gaps.findIndex((gap) => gap.from === from && to <= gap.to);
	const gap = gaps[at];
	if (gap === undefined || to < from) throw new RangeError(`${from} to ${to} is nothing that was to be sent`);
	return { next, gaps: gaps.toSpliced(at, 1, ...(to < gap.to ? [{ from: to, to: gap.to }] : [])) };
}

/** Puts off what lies between `next` and `end`: live records go first from there. */
export function cut(position: Position, end: number): Position {
	const { next, gaps } = position;
	if (next >= end) return position;
	const last = gaps.at(-1);
	if (last?.to === next) return { next: end, gaps: gaps.with(-1, { from: last.from, to: end }) };
	if (gaps.length >= GAPS_MAX) return position;
	return { next: end, gaps: [...gaps, { from: next, to: end }] };
}

/** What is before `start` is not there any more; `lost`: how many offsets of it were still to be sent. */
export function trim(position: Position, start: number): { readonly position: Position; readonly lost: number } {
	if (lowestOf(position) >= start) return { position, lost: 0 };
	const gaps = position.gaps
		.map(({ from, to }) => ({ from: Math.max(from, start), to }))
		.filter(({ from, to }) => from < to);
	const trimmed = { next: Math.max(position.next, start), gaps };
	return { position: trimmed, lost: lagOf(position, trimmed.next) - lagOf(trimmed, trimmed.next) };
}

/** For JSON. */
export type PositionText = { readonly next: number; readonly gaps?: readonly (readonly [number, number])[] };

export function positionText({ next, gaps }: Position): PositionText {
	return gaps.length === 0 ? { next } : { next, gaps: gaps.map(({ from, to }) => [from, to] as const) };
}

/** undefined where `value` is no position: it may come from anywhere. */
export function readPosition(value: unknown): Position | undefined {
	if (typeof value !== "object" || value === null) return undefined;
	const { next, gaps = [] } = value as Record<string, unknown>;
	if (!isOffset(next) || !Array.isArray(gaps)) return undefined;
	const read: Gap[] = [];
	let before = -1;
	for (const gap of gaps as unknown[]) {
		if (!Array.isArray(gap) || gap.length !== 2) return undefined;
		const [from, to] = gap as unknown[];
		if (!isOffset(from) || !isOffset(to) || from <= before || from >= to || to > next) return undefined;
		before = to;
		read.push({ from, to });
	}
	return { next, gaps: read };
}

function isOffset(value: unknown): value is number {
	return Number.isSafeInteger(value) && (value as number) >= 0;
}
