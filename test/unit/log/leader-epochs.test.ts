/** Leader epochs: which one an offset has, how a new one begins, and where the records of one end. */
import { describe, expect, it } from "vitest";
import { type LeaderEpoch, LeaderEpochs } from "../../../src/log/leader-epochs.ts";

/** "0@0 2@100": epoch 0 from offset 0 on, 2 from 100 on. */
const epochs = (text: string): LeaderEpochs =>
	LeaderEpochs.of(
		text.split(" ").map((each) => {
			const [epoch, startOffset] = each.split("@").map(Number) as [number, number];
			return { epoch, startOffset };
		}),
	);
const inText = (list: readonly LeaderEpoch[]): string =>
	list.map(({ epoch, startOffset }) => `${epoch}@${startOffset}`).join(" ");

describe("a partition that was never restored", () => {
	it("has epoch 0 throughout, and shares it with all others", () => {
		expect(LeaderEpochs.of([])).toBe(LeaderEpochs.FIRST);
		expect(LeaderEpochs.FIRST.current).toBe(0);
		expect([0, 1, 2 ** 52].map((offset) => LeaderEpochs.FIRST.at(offset))).toEqual([0, 0, 0]);
	});
});

describe("the epoch of an offset", () => {
	it("is the last that began at it or before", () => {
		const some = epochs("0@0 2@100 7@101");
		expect([0, 99, 100, 101, 5000].map((offset) => some.at(offset))).toEqual([0, 0, 2, 7, 7]);
		expect(some.current).toBe(7);
	});

	it("is the first known one for what is before it", () => {
		expect(epochs("3@50").at(10)).toBe(3);
	});
});

describe("a new epoch", () => {
	it("begins behind the others", () => {
		expect(inText(LeaderEpochs.FIRST.begin(1, 40).begin(5, 90).list)).toBe("0@0 1@40 5@90");
	});

	it("takes the place of those in which nothing was written", () => {
		expect(inText(epochs("0@0 1@40").begin(2, 40).list)).toBe("0@0 2@40");
		expect(inText(LeaderEpochs.FIRST.begin(1, 0).list)).toBe("1@0");
		expect(inText(epochs("0@0 1@40 2@60").begin(3, 30).list)).toBe("0@0 3@30");
	});

	it("leaves the one that it came from as it was", () => {
		LeaderEpochs.FIRST.begin(1, 40);
		expect(inText(LeaderEpochs.FIRST.list)).toBe("0@0");
	});

	it.each([0, 1, 2])("is greater than the current one (%i is not)", (epoch) => {
		expect(() => epochs("0@0 2@40").begin(epoch, 50)).toThrow(RangeError);
	});
});

it.each([
	["an epoch twice", "1@0 1@5"],
	["an epoch that goes back", "2@0 1@5"],
	["a start twice", "0@5 1@5"],
	["a start that goes back", "0@5 1@4"],
	["a negative epoch", "-1@0"],
	["a negative start", "0@-1"],
])("a list with %s is refused", (_what, text) => {
	expect(() => epochs(text)).toThrow(RangeError);
});

describe("the epochs within a range", () => {
	const some = epochs("0@0 2@100 7@200");

	it.each([
		[0, 100, "0@0"],
		[10, 101, "0@10 2@100"],
		[100, 200, "2@100"],
		[150, 300, "2@150 7@200"],
		[250, 300, "7@250"],
		[50, 50, "0@50"],
	])("from %i up to %i are those of its records", (from, to, found) => {
		expect(inText(some.within(from, to))).toBe(found);
	});

	it("are those of the whole when put together again", () => {
		const parts = [...some.within(0, 150), ...some.within(150, 200), ...some.within(200, 300)];
		for (let offset = 0; offset < 300; offset++) {
			const last = parts.filter(({ startOffset }) => startOffset <= offset).at(-1);
			expect(last?.epoch).toBe(some.at(offset));
		}
	});
});

describe("the end of an epoch", () => {
	const some = epochs("0@0 2@100 7@200");
	const endOf = (epoch: number, logStartOffset = 0) => {
		const end = some.endOf(epoch, logStartOffset, 250);
		return end && [end.epoch, end.endOffset];
	};

	it("is the log's end for the current one", () => {
		expect(endOf(7)).toEqual([7, 250]);
		expect(LeaderEpochs.FIRST.endOf(0, 3, 9)).toEqual({ epoch: 0, endOffset: 9 });
	});

	it("is where the next one begins", () => {
		expect(endOf(0)).toEqual([0, 100]);
		expect(endOf(2)).toEqual([2, 200]);
	});

	it("of one that never was is that of the one before it", () => {
		expect(endOf(1)).toEqual([0, 100]);
		expect(endOf(6)).toEqual([2, 200]);
	});

	it("is not known of one that is still to come, and of none", () => {
		expect(endOf(8)).toBeUndefined();
		expect(endOf(-1)).toBeUndefined();
	});

	it("of one whose records are all gone is where the first that is left begins", () => {
		expect(endOf(0, 99)).toEqual([0, 100]);
		expect(endOf(0, 100)).toEqual([0, 100]);
		expect(endOf(0, 150)).toEqual([0, 150]);
		expect(endOf(1, 150)).toEqual([1, 150]);
		expect(endOf(2, 150)).toEqual([2, 200]);
		expect(endOf(0, 230)).toEqual([0, 230]);
		expect(endOf(3, 230)).toEqual([3, 230]);
		expect(endOf(7, 230)).toEqual([7, 250]);
	});

	it("of one before the first known is where that begins", () => {
		expect(epochs("3@50").endOf(1, 0, 80)).toEqual({ epoch: 1, endOffset: 50 });
	});
});
