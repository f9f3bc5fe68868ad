import { describe, expect, it } from "vitest";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";

describe("the simulated clock", () => {
	it("stands still until it is moved, and steps wall time alone", async () => {
		const clock = new SimulatedClock({ startMs: 1000 });
		expect([clock.now(), clock.monotonic()]).toEqual([1000, 0]);
		await clock.advance(5);
		expect([clock.now(), clock.monotonic()]).toEqual([1005, 5]);
		clock.step(-100);
		expect([clock.now(), clock.monotonic()]).toEqual([905, 5]);
		clock.step(500);
		expect([clock.now(), clock.monotonic()]).toEqual([1405, 5]);
	});

	it("runs timers when they are due, in order, at their time, but not those cancelled", async () => {
		const clock = new SimulatedClock();
		const ran: string[] = [];
		clock.after(20, () => ran.push(`b at ${clock.monotonic()}`));
		clock.after(10, () => ran.push(`a at ${clock.monotonic()}`));
		clock.after(15, () => ran.push("cancelled")).cancel();
		clock.after(31, () => ran.push("late"));
		await clock.advance(9);
		expect(ran).toEqual([]);
		await clock.advance(21);
		expect(ran).toEqual(["a at 10", "b at 20"]);
		expect(clock.pending).toBe(1);
	});

	it("runs timers that timers set, within the same advance when due", async () => {
		const clock = new SimulatedClock();
		const ran: number[] = [];
		const tick = () => {
			ran.push(clock.monotonic());
			clock.after(10, tick);
		};
		clock.after(10, tick);
		await clock.advance(35);
		expect(ran).toEqual([10, 20, 30]);
	});

	it("does not let a step of wall time move timers", async () => {
		const clock = new SimulatedClock();
		let ran = false;
		clock.after(10, () => {
			ran = true;
		});
		clock.step(1_000_000);
		await clock.advance(9);
		expect(ran).toBe(false);
		await clock.advance(1);
		expect(ran).toBe(true);
	});

	it("runs soon tasks in order, those asked for meanwhile in the next round", () => {
		const clock = new SimulatedClock();
		const ran: string[] = [];
		clock.soon(() => {
			ran.push("a");
			clock.soon(() => ran.push("c"));
		});
		clock.soon(() => ran.push("b"));
		expect(clock.runSoon()).toBe(2);
		expect(ran).toEqual(["a", "b"]);
		expect(clock.runSoon()).toBe(1);
		expect(ran).toEqual(["a", "b", "c"]);
	});

	it("settles chains of promises and soon tasks without moving time", async () => {
		const clock = new SimulatedClock();
		let steps = 0;
		const chain = async () => {
			for (let i = 0; i < 50; i++) {
				await null;
				await new Promise<void>((resolve) => clock.soon(resolve));
				steps++;
			}
		};
		void chain();
		await clock.settle();
		expect([steps, clock.monotonic()]).toEqual([50, 0]);
	});

	it("says so when something turns in a circle", async () => {
		const clock = new SimulatedClock();
		const again = () => clock.soon(again);
		again();
		await expect(clock.settle()).rejects.toThrow("in a circle");
	});

	it("goes to the next timer when asked, and says when there is none", async () => {
		const clock = new SimulatedClock();
		let ran = false;
		clock.after(1234, () => {
			ran = true;
		});
		expect(await clock.advanceToNext()).toBe(true);
		expect([ran, clock.monotonic()]).toEqual([true, 1234]);
		expect(await clock.advanceToNext()).toBe(false);
	});

	it("forgets everything when it is dropped", async () => {
		const clock = new SimulatedClock();
		const ran: string[] = [];
		clock.after(1, () => ran.push("timer"));
		clock.soon(() => ran.push("soon"));
		clock.drop();
		await clock.advance(10);
		expect(ran).toEqual([]);
	});

	it("orders timers due at the same instant by the seed: always the same, not always as they were set", async () => {
		const run = async (seed: number) => {
			const clock = new SimulatedClock({ random: new SimulatedRandom(seed) });
			const ran: number[] = [];
			for (let i = 0; i < 6; i++) clock.after(5, () => ran.push(i));
			await clock.advance(5);
			return ran.join("");
		};
		expect(await run(1)).toBe(await run(1));
		const orders = new Set(await Promise.all([1, 2, 3, 4, 5].map(run)));
		expect(orders.size).toBeGreaterThan(1);
	});
});
