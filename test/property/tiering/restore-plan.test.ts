/** What a restored partition is made of, against a model of how a gateway uploads: chains, abandoned uploads, retention, losses. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LeaderEpochs } from "../../../src/log/leader-epochs.ts";
import { type FoundRange, planPartition } from "../../../tiering/restore/restore-plan.ts";

const FIRST = LeaderEpochs.FIRST.list;

interface Upload {
	readonly span: number;
	/** Abandoned ones, each from where this begins. */
	readonly abandoned: readonly number[];
}

const uploads = fc.array(
	fc.record({
		span: fc.integer({ min: 1, max: 5 }),
		abandoned: fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 2 }),
	}),
	{ minLength: 1, maxLength: 12 },
);

const rangeOf = (baseOffset: number, nextOffset: number): FoundRange => ({
	baseOffset,
	nextOffset,
	epochs: [{ epoch: 0, startOffset: baseOffset }],
	aborted: [],
});

/** As they were written: those that the gateway counted on, and the others, which never go beyond what there was. */
function written(list: readonly Upload[]): { chain: FoundRange[]; all: FoundRange[]; end: number } {
	const end = list.reduce((sum, { span }) => sum + span, 0);
	const chain: FoundRange[] = [];
	const all: FoundRange[] = [];
	let at = 0;
	for (const { span, abandoned } of list) {
		for (const length of abandoned) all.push(rangeOf(at, Math.min(at + length, end)));
		const range = rangeOf(at, at + span);
		chain.push(range);
		all.push(range);
		at += span;
	}
	return { chain, all, end };
}

function plan(found: readonly FoundRange[], logStartOffset: number, end: number) {
	const partition = { id: 1, number: 0, logStartOffset, tieredOffset: end, endOffset: end + 3, epochs: FIRST };
	return planPartition(partition, found, 4);
}

const covered = (ranges: readonly FoundRange[]): Set<number> => {
	const offsets = new Set<number>();
	for (const { baseOffset, nextOffset } of ranges) for (let at = baseOffset; at < nextOffset; at++) offsets.add(at);
	return offsets;
};

describe("of what was uploaded", () => {
	it("ranges are chosen that follow one another exactly, from the log's start to the end, whatever was abandoned", () => {
		fc.assert(
			fc.property(uploads, fc.nat(40), (list, startSeed) => {
				const { all, chain, end } = written(list);
				const logStartOffset = startSeed % end;
				// Retention took with the log's start what ends before it; of what was abandoned anything may be left.
				const left = all.filter((range) => !chain.includes(range) || range.nextOffset > logStartOffset);
				const { ranges, holes, endOffset, logStartOffset: start, epochs } = plan(left, logStartOffset, end);
				expect(holes).toEqual([]);
				expect([start, endOffset]).toEqual([logStartOffset, end]);
				expect(ranges[0]?.baseOffset).toBeLessThanOrEqual(logStartOffset);
				ranges.slice(1).forEach((range, i) => {
					expect(range.baseOffset).toBe(ranges[i]?.nextOffset);
				});
				expect(epochs.list.at(-1)).toEqual({ epoch: 4, startOffset: end });
			}),
			{ numRuns: 300 },
		);
	});

	it("nothing is passed over that is there, and what is not is named, whatever is missing", () => {
		fc.assert(
			fc.property(uploads, fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }), (list, kept) => {
				const { all, end } = written(list);
				const left = all.filter((_, i) => kept[i]);
				const there = covered(left);
				const { ranges, holes, logStartOffset, endOffset } = plan(left, 0, end);
				expect(covered(ranges)).toEqual(there);
				if (left.length === 0) {
					expect({ holes, logStartOffset, endOffset }).toEqual({
						holes: [{ from: 0, to: end }],
						logStartOffset: end + 3,
						endOffset: end + 3,
					});
					return;
				}
				expect(logStartOffset).toBe(Math.min(...there));
				expect(endOffset).toBe(Math.max(...there) + 1);
				const missing = covered(holes.map(({ from, to }) => rangeOf(from, to)));
				for (let at = logStartOffset; at < end; at++) expect(missing.has(at)).toBe(!there.has(at));
				// The catalog has one range from an offset on.
				expect(new Set(ranges.map(({ baseOffset }) => baseOffset)).size).toBe(ranges.length);
				for (let i = 1; i < ranges.length; i++) {
					const [before, range] = [ranges[i - 1], ranges[i]] as [FoundRange, FoundRange];
					expect(range.baseOffset).toBeGreaterThan(before.baseOffset);
					expect(range.nextOffset).toBeGreaterThan(before.nextOffset);
				}
			}),
			{ numRuns: 500 },
		);
	});
});

describe("the epochs of a restored partition", () => {
	const partition = { id: 1, number: 0, logStartOffset: 0, tieredOffset: 10, endOffset: 20 };

	it("are those of the snapshot, what newer bundles know, and the new one", () => {
		const epochs = [
			{ epoch: 0, startOffset: 0 },
			{ epoch: 2, startOffset: 5 },
		];
		const late = {
			...rangeOf(5, 30),
			epochs: [
				{ epoch: 2, startOffset: 5 },
				{ epoch: 3, startOffset: 12 },
			],
		};
		const planned = planPartition({ ...partition, epochs }, [rangeOf(0, 5), late], 3);
		expect(planned.epochs.list.map(({ epoch, startOffset }) => `${epoch}@${startOffset}`).join(" ")).toBe(
			"0@0 2@5 3@12 4@30",
		);
	});

	it("do not begin behind the end of what came back", () => {
		const epochs = [
			{ epoch: 0, startOffset: 0 },
			{ epoch: 1, startOffset: 15 },
		];
		const planned = planPartition({ ...partition, epochs }, [rangeOf(0, 10)], 2);
		expect(planned.epochs.list).toEqual([
			{ epoch: 0, startOffset: 0 },
			{ epoch: 2, startOffset: 10 },
		]);
	});
});
