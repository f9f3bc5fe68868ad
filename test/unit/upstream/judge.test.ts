/** Whose the gateway's name is, and where a partition goes on: every combination that can be met, and what is said about it. */
import { describe, expect, it } from "vitest";
import type { PositionRow, SessionRow } from "../../../bridge/upstream/local-rows.ts";
import { positionAt } from "../../../bridge/upstream/position.ts";
import { Halt, judgeCluster, judgeOwner, judgePosition, resumeAt } from "../../../bridge/upstream/progress/judge.ts";
import type { Owner, Sent } from "../../../bridge/upstream/progress/progress-record.ts";
import { LeaderEpochs } from "../../../src/log/leader-epochs.ts";
import type { Partition } from "../../../src/log/partition.ts";

const MINE = { gatewayId: "gw", id: "me", incarnation: 1 };
const owner = (changes: Partial<Owner> = {}): Owner => ({ session: "s1", identity: "me", incarnation: 1, ...changes });

function said(judge: () => unknown): string {
	try {
		judge();
	} catch (error) {
		if (error instanceof Halt) return `${error.message} | ${error.action}`;
		throw error;
	}
	return "goes on";
}

describe("the cluster", () => {
	it("is the one that it was, or nobody knows", () => {
		expect(said(() => judgeCluster("a", { clusterId: "a" }))).toBe("goes on");
		expect(said(() => judgeCluster("a", {}))).toBe("goes on");
		expect(said(() => judgeCluster(undefined, { clusterId: "a" }))).toBe("goes on");
		expect(said(() => judgeCluster("b", { clusterId: "a" }))).toMatch(/is b, and .* to a \| .*--to local/);
	});
});

describe("the name", () => {
	const judge = (found: Owner | undefined, row: SessionRow, mine = MINE, isWhole = true): string =>
		said(() => judgeOwner({ owner: found, isWhole }, mine, row));

	it("is free, or this run's, or an earlier one's of the same directory", () => {
		expect(judge(undefined, {})).toBe("goes on");
		expect(judge(owner(), { confirmed: "s1" })).toBe("goes on");
		expect(judge(owner(), { confirmed: "s0", attempted: "s1" })).toBe("goes on");
		// Where only what is new was read, nobody new has come.
		expect(judge(undefined, { confirmed: "s1" }, MINE, false)).toBe("goes on");
	});

	it("was given away, and it is said to whom", () => {
		expect(judge(undefined, { confirmed: "s1" })).toMatch(/lost the progress .*--to local/);
		expect(judge(owner({ session: "s9" }), { confirmed: "s1" })).toMatch(/a copy of this data directory/);
		expect(judge(owner({ session: "s9" }), {})).toMatch(/a copy of this data directory/);
		expect(judge(owner({ identity: "other" }), {})).toMatch(/another data directory .*--to earliest/);
		expect(judge(owner({ identity: "other" }), {}, { ...MINE, incarnation: 2 })).toMatch(/restored .*--to progress/);
	});
});

describe("a partition", () => {
	const target = { name: "up", id: "u1" };
	const partition = (end: number, epochs = LeaderEpochs.FIRST): Partition =>
		({ topic: "t", number: 0, epochs, logStartOffset: 0, lastStableOffset: end }) as Partition;
	const sentAt = (next: number, changes: Partial<Sent> = {}): Sent => ({
		...{ position: positionAt(next), epoch: 0, incarnation: 1, topicId: "t1", to: "up", toId: "u1" },
		...changes,
	});
	const rowAt = (next: number, sent: PositionRow["sent"] = { to: "up", toId: "u1" }): PositionRow => ({
		position: positionAt(next),
		sent,
	});
	const judge = (known: { sent?: Sent; row?: PositionRow; isWhole?: boolean }, of = partition(100)): string => {
		let next: number | undefined;
		const { sent, row, isWhole = true } = known;
		const what = said(() => {
			next = judgePosition(of, "t1", { sent, row, isWhole }, target)?.next;
		});
		return what === "goes on" ? `goes on at ${next}` : what;
	};

	it("goes on where the cluster says, else where it is noted here", () => {
		expect(judge({})).toBe("goes on at undefined");
		expect(judge({ row: { position: positionAt(7), sent: undefined } })).toBe("goes on at 7");
		expect(judge({ sent: sentAt(50) })).toBe("goes on at 50");
		expect(judge({ sent: sentAt(50), row: rowAt(40) })).toBe("goes on at 50");
		expect(judge({ row: rowAt(40), isWhole: false })).toBe("goes on at 40");
		expect(judge({ sent: sentAt(100) })).toBe("goes on at 100");
	});

	it("begins anew where the topic here is another one, and goes on where the rule names another topic there", () => {
		expect(judge({ sent: sentAt(50, { topicId: "older" }) })).toBe("goes on at undefined");
		expect(judge({ sent: sentAt(50, { to: "before", toId: "u0" }) })).toBe("goes on at 50");
	});

	it("halts where that would lose or double records", () => {
		expect(judge({ row: rowAt(40) })).toMatch(/has lost the progress of t-0 \| .*--topic t --to local/);
		expect(judge({ sent: sentAt(50, { toId: "u0" }) })).toMatch(/was deleted and made anew/);
		expect(judge({ row: rowAt(40, { to: "up", toId: "u0" }), isWhole: false })).toMatch(/was deleted and made anew/);
		expect(judge({ sent: sentAt(101) })).toMatch(/has t-0 up to 101, and this log ends at 100/);
		expect(judge({ sent: sentAt(30), row: rowAt(40) })).toMatch(/up to 30 only, and had it up to 40/);
	});

	it("goes on behind what retention took of it meanwhile, though the cluster never had it", () => {
		const trimmed = { ...partition(100), logStartOffset: 60 } as Partition;
		expect(judge({ sent: sentAt(30), row: rowAt(60) }, trimmed)).toBe("goes on at 30");
		expect(judge({ sent: sentAt(30), row: rowAt(61) }, trimmed)).toMatch(/up to 60 only, and had it up to 61/);
	});

	it("takes no topic for another one where a cluster tells no ids", () => {
		const none = "00000000-0000-0000-0000-000000000000";
		expect(judge({ sent: sentAt(50, { toId: none }) })).toBe("goes on at 50");
		expect(judge({ sent: sentAt(50, { toId: "" }) })).toBe("goes on at 50");
	});

	it("knows what an earlier incarnation had sent that is not here", () => {
		const restored = partition(
			100,
			LeaderEpochs.of([
				{ epoch: 0, startOffset: 0 },
				{ epoch: 1, startOffset: 80 },
			]),
		);
		expect(judge({ sent: sentAt(80) }, restored)).toBe("goes on at 80");
		expect(judge({ sent: sentAt(90) }, restored)).toMatch(/this log ends at 80/);
		expect(judge({ sent: sentAt(90, { epoch: 1 }) }, restored)).toBe("goes on at 90");
		expect(resumeAt(restored, "t1", sentAt(90))?.next).toBe(80);
		expect(resumeAt(restored, "t1", sentAt(90, { epoch: 1 }))?.next).toBe(90);
		expect(resumeAt(restored, "t1", sentAt(90, { topicId: "older" }))).toBeUndefined();
		const gaps = {
			position: {
				next: 95,
				gaps: [
					{ from: 70, to: 85 },
					{ from: 86, to: 90 },
				],
			},
		};
		expect(resumeAt(restored, "t1", sentAt(0, gaps))).toEqual({ next: 80, gaps: [{ from: 70, to: 80 }] });
	});
});
