/** Waits between tries: they grow, have a limit, and differ between gateways. */
import { expect, it } from "vitest";
import { Backoff } from "../../../src/base/backoff.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";

const waits = (seed: string, count: number, refused = false): number[] => {
	const backoff = new Backoff(new SimulatedRandom(seed));
	return Array.from({ length: count }, () => backoff.next(refused));
};

it("doubles from one second to one minute, each between half of the step and all of it", () => {
	for (const [i, wait] of waits("a", 40).entries()) {
		const step = Math.min(60_000, 1000 * 2 ** i);
		expect(wait).toBeGreaterThanOrEqual(step / 2);
		expect(wait).toBeLessThanOrEqual(step);
	}
});

it("begins with ten seconds where the other broker refuses", () => {
	const [first, , , late] = waits("a", 4, true);
	expect(first).toBeGreaterThanOrEqual(5000);
	expect(late).toBeLessThanOrEqual(60_000);
});

it("is another for another gateway, and the same for the same seed", () => {
	expect(waits("a", 5)).toEqual(waits("a", 5));
	expect(waits("a", 5)).not.toEqual(waits("b", 5));
});

it("begins anew after it has worked", () => {
	const backoff = new Backoff(new SimulatedRandom("a"));
	for (let i = 0; i < 10; i++) backoff.next();
	backoff.reset();
	expect(backoff.next()).toBeLessThanOrEqual(1000);
});
