import { describe, expect, it } from "vitest";
import { Arrival } from "../../../src/base/arrival.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { Pressure } from "../../../src/base/pressure.ts";

const LARGE = 100_000;

function make() {
	const clock = new SimulatedClock();
	const pressure = new Pressure(2 * LARGE);
	const granted: number[] = [];
	const arrivals = [0, 1].map((i) => new Arrival(pressure, clock, () => granted.push(i)));
	return { clock, pressure, granted, one: arrivals[0]!, other: arrivals[1]! };
}

describe("a request that arrives", () => {
	it("waits for room when it is large, and until another has given it back", () => {
		const { pressure, granted, one, other } = make();
		one.part(LARGE);
		one.part(LARGE);
		other.part(LARGE);
		expect([one.waits, other.waits, pressure.othersWait, granted]).toEqual([false, true, true, []]);
		one.over();
		expect([other.waits, pressure.othersWait, granted]).toEqual([false, false, [1]]);
		other.over();
		one.part(10);
		other.part(65_536);
		expect([one.waits, other.waits]).toEqual([false, false]);
	});

	it("takes too long after half a minute in which it could be read", async () => {
		const { clock, one, other } = make();
		one.part(LARGE);
		other.part(LARGE);
		await clock.advance(29_999);
		expect(one.tooSlow).toBe(false);
		await clock.advance(1);
		expect([one.tooSlow, other.tooSlow]).toEqual([true, false]);
		one.excuse();
		expect(one.tooSlow).toBe(false);
		one.over();
		await clock.advance(30_000);
		expect([one.tooSlow, other.tooSlow]).toEqual([false, true]);
	});
});
