/** A position knows exactly what is still to be sent, whatever was sent, put off and taken away in which order. */
import fc from "fast-check";
import { expect, it } from "vitest";
import {
	backfillOf,
	cut,
	lagOf,
	lowestOf,
	type Position,
	positionAt,
	positionText,
	readPosition,
	runOf,
	sent,
	trim,
} from "../../../bridge/upstream/position.ts";

const END = 60;
const step = fc.oneof(
	fc.record({
		kind: fc.constant("send" as const),
		order: fc.constantFrom("oldest-first", "live-first"),
		share: fc.nat(9),
	}),
	fc.record({ kind: fc.constant("cut" as const), end: fc.nat(END) }),
	fc.record({ kind: fc.constant("trim" as const), start: fc.nat(END) }),
);

function missing(position: Position): Set<number> {
	const offsets = new Set<number>();
	for (const { from, to } of position.gaps) for (let offset = from; offset < to; offset++) offsets.add(offset);
	for (let offset = position.next; offset < END; offset++) offsets.add(offset);
	return offsets;
}

it("agrees with a set of offsets", () => {
	fc.assert(
		fc.property(fc.nat(END), fc.array(step, { maxLength: 40 }), (begin, steps) => {
			let position = positionAt(begin);
			let model = missing(position);
			for (const one of steps) {
				if (one.kind === "cut") {
					position = cut(position, one.end);
				} else if (one.kind === "trim") {
					const trimmed = trim(position, one.start);
					const gone = [...model].filter((offset) => offset < one.start);
					expect(trimmed.lost).toBe(gone.length);
					position = trimmed.position;
					for (const offset of gone) model.delete(offset);
				} else {
					const run = runOf(position, END, one.order as "oldest-first");
					expect(run === undefined).toBe(model.size === 0);
					if (run === undefined) continue;
					const to = Math.min(run.to, run.from + 1 + one.share);
					for (let offset = run.from; offset < to; offset++) expect(model.delete(offset)).toBe(true);
					position = sent(position, run.from, to);
				}
				expect(missing(position)).toEqual(model);
				expect(lagOf(position, END)).toBe(model.size);
				expect(backfillOf(position)).toBe([...model].filter((offset) => offset < position.next).length);
				expect(lowestOf(position)).toBe(model.size === 0 ? position.next : Math.min(...model));
				expect(readPosition(JSON.parse(JSON.stringify(positionText(position))))).toEqual(position);
			}
			model = missing(position);
		}),
	);
});

it("refuses what was not to be sent, and texts that are no position", () => {
	expect(() => sent(positionAt(5), 3, 4)).toThrow(RangeError);
	expect(() => sent(cut(positionAt(2), 9), 2, 12)).toThrow(RangeError);
	const wrong = [
		null,
		5,
		{},
		{ next: -1 },
		{ next: 1.5 },
		{ next: 9, gaps: [[3, 3]] },
		{ next: 9, gaps: [[3, 10]] },
		{
			next: 9,
			gaps: [
				[3, 5],
				[4, 6],
			],
		},
		{ next: 9, gaps: [3] },
	];
	for (const value of wrong) expect(readPosition(value), JSON.stringify(value)).toBeUndefined();
});

it("makes no more gaps than it may", () => {
	let position = positionAt(0);
	for (let i = 0; i < 100; i++) {
		position = cut(position, position.next + 5);
		position = sent(position, position.next, position.next + 1);
	}
	expect(position.gaps.length).toBeLessThan(40);
	expect(lagOf(position, position.next)).toBe(backfillOf(position));
});
