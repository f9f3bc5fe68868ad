/** When the window is open, and when it opens. */
import { describe, expect, it } from "vitest";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { Window } from "../../../src/broker/window.ts";

/** By the local clock. */
const at = (text: string): number => Date.parse(`${text}:00`);

describe("a window", () => {
	it("is always open without an expression", async () => {
		const window = await Window.open(new SimulatedClock({ startMs: at("2026-11-10T08:00") }), "");
		expect([window.isOpen, window.nextMs()]).toEqual([true, undefined]);
	});

	it("is open in its minutes, and says when it opens next, however the clock steps", async () => {
		const clock = new SimulatedClock({ startMs: at("2026-11-10T21:59") });
		const window = await Window.open(clock, "* 22-23,0-5 * * *");
		expect([window.isOpen, window.nextMs()]).toEqual([false, at("2026-11-10T22:00")]);
		await clock.advance(60_000);
		expect([window.isOpen, window.nextMs()]).toEqual([true, undefined]);
		await clock.advance(8 * 3_600_000);
		expect([window.isOpen, window.nextMs()]).toEqual([false, at("2026-11-11T22:00")]);
		clock.step(-3_600_000);
		expect(window.isOpen).toBe(true);
	});

	it("refuses what is no expression, and a day that never comes", async () => {
		const clock = new SimulatedClock({ startMs: at("2026-11-10T08:00") });
		for (const text of ["at night", "* * 31 2 *"]) await expect(Window.open(clock, text)).rejects.toThrow(RangeError);
	});
});
