import { describe, expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";

const draw = (random: SimulatedRandom) => Array.from({ length: 8 }, () => random.u32());

describe("simulated randomness", () => {
	it("gives the same numbers for the same seed, as number or text, and others for another", () => {
		expect(draw(new SimulatedRandom(1))).toEqual(draw(new SimulatedRandom("1")));
		expect(draw(new SimulatedRandom(1))).not.toEqual(draw(new SimulatedRandom(2)));
	});

	it("gives these numbers: a seed in a bug report must mean the same next year", () => {
		expect(draw(new SimulatedRandom(42)).slice(0, 3)).toEqual([1170360694, 1417613717, 489738077]);
	});

	it("forks by name, without shifting its own draws", () => {
		const plain = new SimulatedRandom(1);
		const forked = new SimulatedRandom(1);
		const disk = draw(forked.fork("disk"));
		expect(draw(forked)).toEqual(draw(plain));
		expect(disk).not.toEqual(draw(forked.fork("clock")));
		expect(disk).toEqual(draw(new SimulatedRandom(1).fork("disk")));
	});

	it("stays within its bounds and reaches them", () => {
		const random = new SimulatedRandom("bounds");
		const seen = new Set(Array.from({ length: 200 }, () => random.between(3, 6)));
		expect([...seen].sort()).toEqual([3, 4, 5, 6]);
		const picked = new Set(Array.from({ length: 200 }, () => random.pick(["a", "b"])));
		expect([...picked].sort()).toEqual(["a", "b"]);
		expect(() => random.pick([])).toThrow(RangeError);
		const fractions = Array.from({ length: 1000 }, () => random.fraction());
		expect(Math.min(...fractions)).toBeGreaterThanOrEqual(0);
		expect(Math.max(...fractions)).toBeLessThan(1);
	});

	it("is even enough: about half of its bits and chances are one", () => {
		const random = new SimulatedRandom("even");
		let bits = 0;
		for (const byte of random.bytes(10_001)) for (let i = 0; i < 8; i++) bits += (byte >> i) & 1;
		expect(Math.abs(bits / 80_008 - 0.5)).toBeLessThan(0.02);
		const hits = Array.from({ length: 10_000 }, () => random.chance(0.25)).filter(Boolean).length;
		expect(Math.abs(hits / 10_000 - 0.25)).toBeLessThan(0.03);
	});

	it("weighs", () => {
		const random = new SimulatedRandom("weights");
		const count = { often: 0, rarely: 0, never: 0 };
		for (let i = 0; i < 4000; i++) count[random.weighted({ often: 3, rarely: 1, never: 0 })]++;
		expect(count.never).toBe(0);
		expect(Math.abs(count.often / 4000 - 0.75)).toBeLessThan(0.05);
		expect(() => random.weighted({ none: 0 })).toThrow(RangeError);
	});
});
