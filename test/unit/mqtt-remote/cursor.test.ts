/** Where an outbound rule stands: every offset is sent, in the order that was asked for, and none is forgotten. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CHUNK_OFFSETS, Cursor, type Order, RANGES_MAX, type Run } from "../../../bridge/mqtt/remote/cursor.ts";

/** Sends up to `count` offsets; returns them with their runs. */
function send(cursor: Cursor, highWatermark: number, count: number): [offset: number, run: Run][] {
	const sent: [number, Run][] = [];
	while (sent.length < count) {
		const run = cursor.take(highWatermark);
		if (run === undefined) break;
		// As much of the run as there is, as a batch does it.
		for (; run.next < Math.min(run.end, highWatermark) && sent.length < count; run.next++) {
			run.sent(run.next);
			sent.push([run.next, run]);
		}
	}
	return sent;
}

const offsets = (sent: readonly [number, Run][]): number[] => sent.map(([offset]) => offset);
const range = (start: number, end: number): number[] => Array.from({ length: end - start }, (_, i) => start + i);

describe("oldest first", () => {
	it("goes through all of it in order, and again from what was not acknowledged", () => {
		const cursor = new Cursor("oldest-first", 5);
		const sent = send(cursor, 2000, 10);
		expect(offsets(sent)).toEqual(range(5, 15));
		for (const [offset, run] of sent.slice(0, 4)) run.acknowledged(offset);
		expect(cursor.remaining()).toEqual({ next: 9, ranges: [] });
		expect(cursor.lag(2000)).toBe(1991);
		cursor.reset();
		expect(offsets(send(cursor, 12, 100))).toEqual(range(9, 12));
	});

	it("does not move past what is not acknowledged when acknowledgements come out of order", () => {
		const cursor = new Cursor("oldest-first", 0);
		const [first, second, third] = send(cursor, 3, 3);
		third![1].acknowledged(2);
		second![1].acknowledged(1);
		expect(cursor.remaining().next).toBe(0);
		first![1].acknowledged(0);
		expect(cursor.remaining().next).toBe(3);
	});

	it("counts what retention took", () => {
		const cursor = new Cursor("oldest-first", 10);
		expect(cursor.trim(10)).toBe(0);
		expect(cursor.trim(25)).toBe(15);
		expect(offsets(send(cursor, 27, 10))).toEqual([25, 26]);
	});
});

describe("newest first", () => {
	it("sends what comes now at once, then the backlog by chunks from its end", () => {
		const cursor = new Cursor("newest-first", 0);
		cursor.cut(600);
		expect(offsets(send(cursor, 602, 2))).toEqual([600, 601]);
		expect(offsets(send(cursor, 602, CHUNK_OFFSETS))).toEqual(range(600 - CHUNK_OFFSETS, 600));
		expect(offsets(send(cursor, 603, 1))).toEqual([602]);
		expect(offsets(send(cursor, 603, 1000))).toEqual([...range(88, 344), ...range(0, 88)]);
	});

	it("keeps the ranges that are left over a restart", () => {
		const cursor = new Cursor("newest-first", 0);
		cursor.cut(1000);
		for (const [offset, run] of send(cursor, 1000, CHUNK_OFFSETS + 6)) if (offset !== 490) run.acknowledged(offset);
		const { next, ranges } = cursor.remaining();
		expect(next).toBe(1000);
		// Of the chunk under way what comes from the first without an acknowledgement on.
		expect(ranges).toEqual([
			{ start: 0, end: 488 },
			{ start: 490, end: 744 },
		]);
		const again = new Cursor("newest-first", next, ranges);
		expect(again.remaining()).toEqual({ next, ranges });
	});

	it("counts what retention took of the ranges, once", () => {
		const cursor = new Cursor("newest-first", 500, [
			{ start: 0, end: 10 },
			{ start: 20, end: 30 },
		]);
		expect(cursor.trim(25)).toBe(15);
		expect(cursor.trim(25)).toBe(0);
		expect(cursor.remaining().ranges).toEqual([{ start: 25, end: 30 }]);
	});
});

interface Step {
	readonly kind: "append" | "send" | "acknowledge" | "lose" | "restart" | "cut";
	readonly count: number;
}

const steps = fc.array(
	fc.record<Step>({
		kind: fc.constantFrom("append", "append", "send", "send", "acknowledge", "acknowledge", "lose", "restart", "cut"),
		count: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 700 })),
	}),
	{ maxLength: 60, size: "max" },
);

/** Runs the steps, then lets everything be sent and acknowledged. Returns how often each offset was sent, and what was acknowledged. */
function live(
	order: Order,
	plan: readonly Step[],
): { end: number; times: Map<number, number>; acknowledged: Set<number>; losses: number; ranges: number } {
	let cursor = new Cursor(order, 0);
	let highWatermark = 0;
	let inflight: [number, Run][] = [];
	let losses = 0;
	let ranges = 0;
	const times = new Map<number, number>();
	const acknowledged = new Set<number>();
	const settle = (sent: readonly [number, Run][]): void => {
		for (const [offset, run] of sent) {
			run.acknowledged(offset);
			acknowledged.add(offset);
		}
	};
	const take = (count: number): void => {
		const sent = send(cursor, highWatermark, count);
		for (const [offset] of sent) times.set(offset, (times.get(offset) ?? 0) + 1);
		inflight.push(...sent);
	};
	for (const { kind, count } of plan) {
		if (kind === "append") highWatermark += count;
		else if (kind === "send") take(count);
		else if (kind === "cut") cursor.cut(highWatermark);
		else if (kind === "acknowledge") {
			settle(inflight.splice(0, count));
		} else {
			losses += inflight.length;
			inflight = [];
			if (kind === "lose") cursor.reset();
			else {
				const { next, ranges: left } = cursor.remaining();
				cursor = new Cursor(order, next, left);
			}
		}
		ranges = Math.max(ranges, cursor.remaining().ranges.length);
	}
	for (;;) {
		take(100);
		if (inflight.length === 0) break;
		settle(inflight.splice(0));
	}
	expect(cursor.lag(highWatermark)).toBe(0);
	return { end: highWatermark, times, acknowledged, losses, ranges };
}

describe("in any life", () => {
	for (const order of ["oldest-first", "newest-first"] as const) {
		it(`${order}: everything is sent, and only what was lost under way is sent again`, () => {
			fc.assert(
				fc.property(steps, (plan) => {
					const { end, times, acknowledged, losses, ranges } = live(order, plan);
					expect([...acknowledged].sort((a, b) => a - b)).toEqual(range(0, end));
					let again = 0;
					for (const count of times.values()) again += count - 1;
					expect(again).toBeLessThanOrEqual(losses);
					expect(ranges).toBeLessThanOrEqual(2 * RANGES_MAX);
				}),
				{ numRuns: 150 },
			);
		});
	}
});
