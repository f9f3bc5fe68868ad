import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PROFILE_NAMES } from "../../../device-sim/profiles.ts";
import { Schedule } from "../../../device-sim/schedule.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";

describe("a device's schedule", () => {
	it("counts exactly the events due before a moment, for every profile and rate", () => {
		fc.assert(
			fc.property(
				fc.constantFrom(...PROFILE_NAMES),
				fc.double({ min: 0.05, max: 2000, noNaN: true }),
				fc.integer(),
				fc.double({ min: 0, max: 3000, noNaN: true }),
				(profile, rate, seed, elapsedMs) => {
					const schedule = new Schedule(profile, rate, 3000, new SimulatedRandom(seed));
					const due = schedule.dueBy(elapsedMs);
					if (due > 0) expect(schedule.dueMs(due - 1)).toBeLessThan(elapsedMs);
					expect(schedule.dueMs(due)).toBeGreaterThanOrEqual(elapsedMs);
					for (let n = 1; n < Math.min(50, schedule.count); n++) {
						expect(schedule.dueMs(n)).toBeGreaterThan(schedule.dueMs(n - 1));
					}
				},
			),
			{ numRuns: 1000 },
		);
	});

	it("keeps the rate, whether evenly or in bursts", () => {
		for (const profile of PROFILE_NAMES) {
			const schedule = new Schedule(profile, 20, 100_000, new SimulatedRandom("rate"));
			expect(Math.abs(schedule.count - 2000)).toBeLessThanOrEqual(10);
		}
		const bursts = new Schedule("vibration", 1, 100_000, new SimulatedRandom("bursts"));
		expect(bursts.dueMs(9) - bursts.dueMs(0)).toBeCloseTo(180, 6);
		expect(bursts.dueMs(10) - bursts.dueMs(0)).toBeCloseTo(10_000, 6);
	});
});
