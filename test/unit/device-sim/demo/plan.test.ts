import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { makePlan } from "../../../../device-sim/demo/plan.ts";

describe("the demo's plan", () => {
	it("has its moments in their order, apart from one another, whatever the seed", () => {
		fc.assert(
			fc.property(fc.string(), fc.integer({ min: 5000, max: 3_600_000 }), (seed, durationMs) => {
				const { firstKillMs, cutMs, secondKillMs, restoreMs, endMs } = makePlan(seed, durationMs);
				const moments = [0, firstKillMs, cutMs, secondKillMs, restoreMs, endMs];
				for (let i = 1; i < moments.length; i++) {
					expect(moments[i]! - moments[i - 1]!).toBeGreaterThanOrEqual(durationMs * 0.08);
				}
				expect(endMs).toBe(durationMs);
			}),
		);
	});

	it("is the same for the same seed, and another for another", () => {
		expect(makePlan("7", 30_000)).toEqual(makePlan("7", 30_000));
		expect(makePlan("8", 30_000)).not.toEqual(makePlan("7", 30_000));
	});
});
