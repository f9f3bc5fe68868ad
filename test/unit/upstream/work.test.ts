/** What is sent next: by priority, window and budget, and when waiting for company is over. */
import { describe, expect, it } from "vitest";
import { Pace } from "../../../bridge/upstream/pace.ts";
import { type Position, positionAt } from "../../../bridge/upstream/position.ts";
import type { Source, Sources } from "../../../bridge/upstream/sources.ts";
import { nextWork, type Permission, type Priority, putOffBacklog } from "../../../bridge/upstream/work.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";

interface Given {
	readonly priority?: Priority;
	readonly sinceMs?: number;
	readonly waiting?: number;
	readonly position?: Position;
	readonly retryAtMs?: number;
	readonly problem?: { readonly retryAtMs: number | undefined };
	readonly order?: "oldest-first" | "live-first";
}

function source(given: Given): Source {
	const { priority = "normal", sinceMs = 0, waiting = 1, position = positionAt(0), retryAtMs = 0 } = given;
	return {
		...{ position, retryAtMs, readySinceMs: sinceMs },
		partition: { lastStableOffset: position.next + waiting },
		flow: { rule: { priority, order: given.order ?? "oldest-first" }, problem: given.problem, recordBytes: 100 },
	} as unknown as Source;
}

const clock = new SimulatedClock({ startMs: 0 });

function next(given: readonly Given[], permission: (priority: Priority) => Permission = () => "yes") {
	const ready = given.map(source);
	const found = nextWork({ ready: new Set(ready) } as unknown as Sources, {
		...{ clock, lingerMs: 5000, fullBytes: 10_000, permission },
	});
	if (!("sources" in found)) return found;
	return { ...found, sources: found.sources.map((each) => ready.indexOf(each)) };
}

describe("what is sent next", () => {
	it("waits for company as long as it may, and no longer than it takes to be worth it", async () => {
		expect(next([])).toEqual({ waitMs: undefined, held: undefined });
		expect(next([{}])).toEqual({ waitMs: 5000, held: undefined });
		expect(next([{}, { sinceMs: -3000 }])).toEqual({ waitMs: 2000, held: undefined });
		expect(next([{ sinceMs: -5000 }, {}])).toEqual({ sources: [0, 1], priority: "normal" });
		expect(next([{ waiting: 60 }, { waiting: 40 }])).toEqual({ sources: [0, 1], priority: "normal" });
		expect(next([{ position: { next: 9, gaps: [{ from: 1, to: 2 }] } }])).toMatchObject({ sources: [0] });
	});

	it("is of high priority alone and at once, of low with normal", () => {
		expect(next([{ waiting: 500 }, { priority: "high" }])).toEqual({ sources: [1], priority: "high" });
		expect(next([{ priority: "low" }, { sinceMs: -6000 }])).toEqual({ sources: [1, 0], priority: "normal" });
		expect(next([{ priority: "low", sinceMs: -6000 }, {}])).toEqual({ sources: [0], priority: "low" });
	});

	it("is what window and budget let", () => {
		const closed = { why: "closed", untilMs: 60_000 } as const;
		const onlyHigh = (priority: Priority): Permission => (priority === "high" ? "yes" : closed);
		expect(next([{ sinceMs: -9000 }], onlyHigh)).toEqual({ waitMs: 60_000, held: closed });
		expect(next([{ sinceMs: -9000 }, { priority: "high" }], onlyHigh)).toEqual({ sources: [1], priority: "high" });
		const budget = { why: "budget", untilMs: undefined } as const;
		expect(next([{ sinceMs: -9000 }], () => budget)).toEqual({ waitMs: undefined, held: budget });
		const noLow = (priority: Priority): Permission => (priority === "low" ? budget : "yes");
		expect(next([{ priority: "low", sinceMs: -9000 }, { sinceMs: -9000 }], noLow)).toMatchObject({ sources: [1] });
	});

	it("is nothing that cannot be sent now", () => {
		expect(next([{ sinceMs: -9000, retryAtMs: 700 }])).toEqual({ waitMs: 700, held: undefined });
		expect(next([{ sinceMs: -9000, problem: { retryAtMs: 900 } }])).toEqual({ waitMs: 900, held: undefined });
		expect(next([{ sinceMs: -9000, problem: { retryAtMs: undefined } }])).toEqual({
			waitMs: undefined,
			held: undefined,
		});
	});

	it("puts off a backlog where live records go first, and only there", () => {
		const live = source({ order: "live-first", waiting: 500 });
		putOffBacklog(live, 10_000);
		expect(live.position).toEqual({ next: 500, gaps: [{ from: 0, to: 500 }] });
		for (const other of [source({ order: "live-first", waiting: 50 }), source({ waiting: 500 })]) {
			putOffBacklog(other, 10_000);
			expect(other.position).toEqual(positionAt(0));
		}
	});
});

describe("the pace", () => {
	it("grows while transactions are quick, and shrinks with the link", () => {
		const pace = new Pace(4_000_000, 15_000);
		for (let i = 0; i < 10; i++) pace.took(pace.bytes, 50);
		expect(pace.bytes).toBe(4_000_000);
		pace.took(4_000_000, 30_000);
		expect(pace.bytes).toBe(400_000);
		for (let i = 0; i < 20; i++) pace.failed();
		expect(pace.bytes).toBe(16 * 1024);
	});

	it("learns nothing from small ones, and never asks for more than it may", () => {
		const pace = new Pace(100_000, 15_000);
		expect(pace.bytes).toBe(100_000);
		pace.failed();
		pace.took(10, 1);
		expect(pace.bytes).toBe(50_000);
	});
});
