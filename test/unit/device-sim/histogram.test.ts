import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LatencyHistogram } from "../../../device-sim/histogram.ts";

describe("the latency histogram", () => {
	it("gives each percentile from the true value to 1.6 % above it, and the highest exactly", () => {
		const milliseconds = fc.oneof(
			fc.integer({ min: 0, max: 10_000_000_000 }).map((microseconds) => microseconds / 1000),
			fc.integer({ min: 0, max: 33 }).map((power) => 2 ** power / 1000),
			fc.integer({ min: 7, max: 33 }).map((power) => (2 ** power - 1) / 1000),
		);
		fc.assert(
			fc.property(
				fc.array(milliseconds, { minLength: 1, maxLength: 200 }),
				fc.double({ min: 0, max: 1, noNaN: true }),
				(values, fraction) => {
					const histogram = new LatencyHistogram();
					for (const value of values) histogram.record(value);
					const sorted = values.toSorted((a, b) => a - b);
					const exact = sorted[Math.max(1, Math.ceil(fraction * sorted.length)) - 1]!;
					const found = histogram.percentile(fraction);
					expect(found).toBeGreaterThanOrEqual(exact - 1e-9);
					expect(found).toBeLessThanOrEqual(exact * (1 + 1 / 64) + 1e-9);
					expect(histogram.summary().maxMs).toBeCloseTo(sorted.at(-1)!, 6);
					expect(histogram.count).toBe(values.length);
				},
			),
			{ numRuns: 300 },
		);
	});

	it("says 0 when it is empty, and takes what a stepped clock gives as 0", () => {
		const histogram = new LatencyHistogram();
		expect(histogram.summary()).toEqual({ count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 });
		histogram.record(-5);
		expect(histogram.summary()).toEqual({ count: 1, p50Ms: 0, p99Ms: 0, maxMs: 0 });
	});
});
