import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SequenceSet } from "../../../device-sim/sequence-set.ts";

const numbers = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 60 });
const setOf = (values: readonly number[]) => {
	const set = new SequenceSet();
	for (const value of values) set.add(value);
	return set;
};
const spread = (ranges: Iterable<{ start: number; end: number }>) =>
	[...ranges].flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i));

describe("a set of sequence numbers", () => {
	it("holds what was added, in any order, and says whether it was new", () => {
		fc.assert(
			fc.property(numbers, (values) => {
				const set = new SequenceSet();
				const model = new Set<number>();
				for (const value of values) {
					expect(set.add(value)).toBe(!model.has(value));
					model.add(value);
				}
				expect(set.size).toBe(model.size);
				expect(set.highest).toBe(Math.max(-1, ...model));
				expect(spread(set.ranges())).toEqual([...model].sort((a, b) => a - b));
				for (let i = 0; i <= 41; i++) expect(set.has(i)).toBe(model.has(i));
			}),
			{ numRuns: 300 },
		);
	});

	it("keeps neighbours in one range, so that a run without a gap costs nothing", () => {
		fc.assert(
			fc.property(numbers, (values) => {
				const ranges = [...setOf(values).ranges()];
				for (let i = 1; i < ranges.length; i++) expect(ranges[i]!.start).toBeGreaterThan(ranges[i - 1]!.end);
			}),
			{ numRuns: 200 },
		);
		const million = new SequenceSet();
		for (let i = 0; i < 1_000_000; i++) million.add(i);
		expect([...million.ranges()]).toEqual([{ start: 0, end: 1_000_000 }]);
	});

	it("subtracts another", () => {
		fc.assert(
			fc.property(numbers, numbers, (mine, theirs) => {
				const left = [...new Set(mine)].filter((value) => !theirs.includes(value)).sort((a, b) => a - b);
				expect(spread(setOf(mine).without(setOf(theirs)))).toEqual(left);
			}),
			{ numRuns: 500 },
		);
	});
});
