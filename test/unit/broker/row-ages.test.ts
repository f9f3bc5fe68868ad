/** What expires, what does not, and what counts anew, whatever the wall clock does. */
import { beforeEach, describe, expect, it } from "vitest";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { RowAges } from "../../../src/broker/row-ages.ts";

const NOW = Date.UTC(2026, 0, 1);
const HOUR = 3_600_000;
const YEAR = 365 * 24 * HOUR;

let clock: SimulatedClock;
let ages: RowAges;
beforeEach(() => {
	clock = new SimulatedClock({ startMs: NOW });
	ages = new RowAges(clock);
});

/** Of a row so many milliseconds old, as a walk finds it that begins now, which is to be kept for ten hours. */
function fate(ageMs: number, walk = ages.begin()): string {
	return walk.fateOf(clock.now() - ageMs, clock.now() - ageMs + 10 * HOUR);
}

describe("a row", () => {
	it("expires when its time has come, not before", () => {
		expect([0, 10 * HOUR - 1, 10 * HOUR, YEAR].map((age) => fate(age))).toEqual(["keep", "keep", "expire", "expire"]);
	});

	it("never expires while the clock is not set", () => {
		clock.step(-NOW);
		expect([fate(0), fate(11 * HOUR), fate(-NOW)]).toEqual(["keep", "keep", "keep"]);
	});

	it("of before the clock was set, or of the future, counts from now on", () => {
		expect([fate(NOW - 5000), fate(-YEAR), fate(-HOUR)]).toEqual(["restamp", "restamp", "keep"]);
	});
});

describe("a step forward", () => {
	it("of more than an hour lets all rows count anew, in all walks until one has seen them all", () => {
		clock.step(YEAR);
		expect([fate(11 * HOUR), fate(2 * HOUR), fate(HOUR)]).toEqual(["restamp", "restamp", "keep"]);
		const walk = ages.begin();
		expect(fate(11 * HOUR, walk)).toBe("restamp");
		walk.finished();
		expect(fate(11 * HOUR)).toBe("expire");
	});

	it("during a walk is for the next one", () => {
		const walk = ages.begin();
		const writtenMs = clock.now();
		clock.step(YEAR);
		expect(walk.fateOf(writtenMs, writtenMs + 10 * HOUR)).toBe("keep");
		walk.finished();
		expect(ages.begin().fateOf(writtenMs, writtenMs + 10 * HOUR)).toBe("restamp");
	});

	it("of less, one backward, and time that goes by change nothing", async () => {
		clock.step(HOUR / 2);
		expect(fate(11 * HOUR)).toBe("expire");
		clock.step(-YEAR);
		expect(fate(11 * HOUR)).toBe("expire");
		await clock.advance(YEAR);
		expect(fate(11 * HOUR)).toBe("expire");
	});
});
