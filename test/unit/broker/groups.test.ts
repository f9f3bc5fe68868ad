import { beforeEach, describe, expect, it } from "vitest";
import type { JoinAnswer } from "../../../src/broker/groups/messages.ts";
import { DELAY_MS, GroupHarness, REBALANCE_MS, SESSION_MS, subscription } from "./group-harness.ts";

let h: GroupHarness;
beforeEach(() => {
	h = new GroupHarness();
	h.broker.topics.create({ name: "jobs", partitions: 2 });
});

describe("the join phase", () => {
	it("waits for the initial delay, once more for each that came meanwhile, and no longer than the rebalance time-out", async () => {
		const first = h.join();
		for (let i = 0; i < 6; i++) {
			await h.clock.advance(DELAY_MS - 100);
			expect(first.answer).toBeUndefined();
			h.join();
			await h.clock.advance(100);
		}
		h.join();
		await h.clock.advance(REBALANCE_MS - 6 * DELAY_MS + 1);
		expect(first.answer).toMatchObject({ generation: 1, error: undefined });
		expect(first.answer?.members).toHaveLength(8);
	});

	it("ends at once when all members have joined again, and tells the members to the leader only", async () => {
		const [leader, follower] = (await h.stable([{}, {}])) as [JoinAnswer, JoinAnswer];
		const third = h.join();
		expect(h.heartbeat(leader)).toBe("REBALANCE_IN_PROGRESS");
		const again = [h.join({ memberId: follower.memberId }), h.join({ memberId: leader.memberId })];
		await h.clock.settle();
		expect([third, ...again].map(({ answer }) => answer?.generation)).toEqual([2, 2, 2]);
		expect([third, ...again].map(({ answer }) => answer?.members.length)).toEqual([0, 0, 3]);
		expect(again[0]?.answer?.leader).toBe(leader.memberId);
	});

	it("removes at its time-out the dynamic members that did not come, and gives their lead to one that did", async () => {
		const [leader, follower] = (await h.stable([{}, {}])) as [JoinAnswer, JoinAnswer];
		const again = h.join({
			memberId: follower.memberId,
			protocols: [{ name: "range", metadata: subscription("other") }],
		});
		for (let ms = 0; ms < REBALANCE_MS - 1; ms += 1000) {
			expect(again.answer).toBeUndefined();
			h.heartbeat(leader);
			await h.clock.advance(1000);
		}
		expect(again.answer).toMatchObject({
			generation: 2,
			leader: follower.memberId,
			members: [{ memberId: follower.memberId }],
		});
		expect(h.heartbeat(leader)).toBe("UNKNOWN_MEMBER_ID");
	});

	it("keeps static members that did not come, until their sessions end", async () => {
		const [one, two] = (await h.stable([{ instanceId: "i1" }, { instanceId: "i2" }])) as [JoinAnswer, JoinAnswer];
		const again = h.join({ memberId: one.memberId, instanceId: instanceOf(one) });
		for (let ms = 0; ms < REBALANCE_MS; ms += 1000) {
			h.heartbeat(two, instanceOf(two));
			await h.clock.advance(1000);
		}
		expect(again.answer?.members).toHaveLength(2);
		h.sync(again.answer as JoinAnswer, {}, instanceOf(one));
		await h.clock.advance(SESSION_MS);
		expect(h.groups.describe("g")?.members.map(({ memberId }) => memberId)).not.toContain(two.memberId);
	});

	it("is held up by a member that was given an id, until that comes or its session ends", async () => {
		const [leader] = (await h.stable([{}])) as [JoinAnswer];
		const pending = h.join({ requiresMemberId: true });
		await h.clock.settle();
		expect(pending.answer).toMatchObject({ error: "MEMBER_ID_REQUIRED", generation: -1 });
		const again = h.join({ memberId: leader.memberId });
		await h.clock.advance(SESSION_MS - 1);
		expect(again.answer).toBeUndefined();
		await h.clock.advance(1);
		expect(again.answer).toMatchObject({ generation: 2 });
		const late = h.join({ memberId: pending.answer?.memberId ?? "" });
		await h.clock.settle();
		expect(late.answer).toMatchObject({ error: "UNKNOWN_MEMBER_ID" });
	});

	it("gives a new member up after five minutes, heartbeats or not", async () => {
		h = new GroupHarness({ initialRebalanceDelayMs: 400_000 });
		const alone = h.join({ rebalanceTimeoutMs: 1_000_000 });
		await h.clock.advance(299_999);
		expect(alone.answer).toBeUndefined();
		await h.clock.advance(1);
		expect(alone.answer).toMatchObject({ error: "UNKNOWN_MEMBER_ID", memberId: "" });
	});

	it("answers a member that asks again for what it has, and begins anew only for a change or the leader", async () => {
		const [leader, follower] = (await h.stable([{}, {}])) as [JoinAnswer, JoinAnswer];
		const same = h.join({ memberId: follower.memberId });
		await h.clock.settle();
		expect(same.answer).toMatchObject({ generation: 1, members: [] });
		expect(h.state).toBe("Stable");
		h.join({ memberId: leader.memberId });
		expect(h.state).toBe("PreparingRebalance");
	});

	it("takes the protocol that all know and most like best", async () => {
		const names = (...list: string[]) => ({ protocols: list.map((name) => ({ name, metadata: Buffer.from(name) })) });
		const [leader] = await h.stable([names("a", "b", "c"), names("b", "c"), names("c", "b")]);
		expect(leader?.protocolName).toBe("b");
		expect(leader?.members.map(({ metadata }) => metadata.toString())).toEqual(["b", "b", "b"]);
		const other = h.join(names("a"));
		const type = h.join({ ...names("b"), protocolType: "connect" });
		await h.clock.settle();
		expect([other.answer?.error, type.answer?.error]).toEqual([
			"INCONSISTENT_GROUP_PROTOCOL",
			"INCONSISTENT_GROUP_PROTOCOL",
		]);
	});
});

describe("the sync phase", () => {
	it("gives everybody what the leader says, and nothing to whom it leaves out", async () => {
		const joins = [h.join(), h.join()];
		await h.clock.advance(2 * DELAY_MS);
		const [a, b] = joins.map(({ answer }) => answer) as [JoinAnswer, JoinAnswer];
		const follower = h.sync(b);
		await h.clock.settle();
		expect(follower.answer).toBeUndefined();
		const leader = h.sync(a, { [b.memberId]: "all", nobody: "x" });
		await h.clock.settle();
		expect(follower.answer).toMatchObject({ error: undefined, assignment: Buffer.from("all") });
		expect(leader.answer?.assignment).toHaveLength(0);
		const again = [h.join({ memberId: a.memberId }), h.join({ memberId: b.memberId })];
		await h.clock.settle();
		const next = [
			h.sync(again[1]?.answer as JoinAnswer),
			h.sync(again[0]?.answer as JoinAnswer, { [a.memberId]: "all" }),
		];
		await h.clock.settle();
		expect(next.map(({ answer }) => answer?.assignment.toString())).toEqual(["", "all"]);
	});

	it("ends at the rebalance time-out without those that did not ask", async () => {
		const joins = [h.join(), h.join()];
		await h.clock.advance(2 * DELAY_MS);
		const [leader, follower] = joins.map(({ answer }) => answer) as [JoinAnswer, JoinAnswer];
		const waits = h.sync(follower);
		for (let ms = 0; ms < REBALANCE_MS; ms += 1000) {
			h.heartbeat(leader);
			await h.clock.advance(1000);
		}
		expect(waits.answer).toMatchObject({ error: "REBALANCE_IN_PROGRESS" });
		expect(h.heartbeat(leader)).toBe("UNKNOWN_MEMBER_ID");
		expect(h.heartbeat(follower)).toBe("REBALANCE_IN_PROGRESS");
	});

	it("does not let a waiting member's session end, and gives it a whole one after", async () => {
		const joins = [h.join(), h.join()];
		await h.clock.advance(2 * DELAY_MS);
		const [leader, follower] = joins.map(({ answer }) => answer) as [JoinAnswer, JoinAnswer];
		const waits = h.sync(follower);
		for (let ms = 0; ms < SESSION_MS + 2000; ms += 1000) {
			h.heartbeat(leader);
			await h.clock.advance(1000);
		}
		h.sync(leader, {});
		await h.clock.settle();
		expect(waits.answer?.error).toBeUndefined();
		await h.clock.advance(SESSION_MS - 1);
		expect(h.heartbeat(follower)).toBeUndefined();
	});
});

describe("members that come one after another", () => {
	it("and do as they are told are never unknown, however often the group begins anew, and end in one generation", async () => {
		const members = Array.from({ length: 8 }, (_, i) => ({
			startMs: i * 4300,
			joining: undefined as ReturnType<GroupHarness["join"]> | undefined,
			syncing: undefined as ReturnType<GroupHarness["sync"]> | undefined,
			joined: undefined as JoinAnswer | undefined,
		}));
		const errors = new Map<string, number>();
		const heard = (error: string | undefined) => {
			if (error !== undefined) errors.set(error, (errors.get(error) ?? 0) + 1);
			return error === undefined;
		};
		for (let ms = 0; ms < 60_000; ms += 100) {
			for (const member of members) {
				const { joining, syncing, joined } = member;
				if (ms < member.startMs) continue;
				if (joining?.answer !== undefined) {
					member.joining = undefined;
					const { answer } = joining;
					if (answer.error === "MEMBER_ID_REQUIRED")
						member.joining = h.join({ memberId: answer.memberId, requiresMemberId: true });
					else if (heard(answer.error)) {
						member.joined = answer;
						member.syncing = h.sync(answer, Object.fromEntries(answer.members.map((m) => [m.memberId, "part"])));
					}
				} else if (syncing?.answer !== undefined) {
					member.syncing = undefined;
					if (!heard(syncing.answer.error) && joined) member.joining = h.join({ memberId: joined.memberId });
				} else if (joining === undefined && syncing === undefined) {
					if (joined === undefined) member.joining = h.join({ requiresMemberId: true });
					else if (!heard(h.heartbeat(joined))) member.joining = h.join({ memberId: joined.memberId });
				}
			}
			await h.clock.advance(100);
		}
		expect([...errors.keys()]).toEqual(["REBALANCE_IN_PROGRESS"]);
		expect(errors.get("REBALANCE_IN_PROGRESS")).toBeGreaterThan(7);
		expect(h.state).toBe("Stable");
		expect(new Set(members.map(({ joined }) => joined?.generation)).size).toBe(1);
		expect(new Set(members.map(({ joined }) => joined?.memberId)).size).toBe(8);
	});
});

describe("a session", () => {
	it("ends the membership of who is silent, and a rebalance begins", async () => {
		const [leader, follower] = (await h.stable([{}, {}])) as [JoinAnswer, JoinAnswer];
		await h.clock.advance(SESSION_MS - 1);
		expect(h.heartbeat(leader)).toBeUndefined();
		await h.clock.advance(1);
		expect(h.heartbeat(follower)).toBe("UNKNOWN_MEMBER_ID");
		expect(h.heartbeat(leader)).toBe("REBALANCE_IN_PROGRESS");
	});

	it("is kept by commits as well", async () => {
		const [member] = (await h.stable([{}])) as [JoinAnswer];
		for (let i = 0; i < 3; i++) {
			await h.clock.advance(SESSION_MS - 1);
			h.groups.checkCommit({ group: "g", memberId: member.memberId, generation: 1, instanceId: null });
		}
		expect(h.heartbeat(member)).toBeUndefined();
	});
});

describe("a static member that starts anew", () => {
	it("has its old place without a rebalance, and the old one is fenced", async () => {
		const [leader, follower] = (await h.stable([{ instanceId: "i1" }, { instanceId: "i2" }])) as [
			JoinAnswer,
			JoinAnswer,
		];
		const instance = instanceOf(follower);
		const anew = h.join({ instanceId: instance });
		await h.clock.settle();
		const joined = anew.answer as JoinAnswer;
		expect(joined).toMatchObject({ error: undefined, generation: 1, leader: leader.memberId, members: [] });
		expect(h.heartbeat(follower, instance)).toBe("FENCED_INSTANCE_ID");
		const synced = h.sync(joined, {}, instance);
		await h.clock.settle();
		expect(synced.answer?.assignment.toString()).toBe("part 1");
		expect(h.state).toBe("Stable");
	});

	it("leads on without dividing anew: told by skipAssignment, or by a leader that is another", async () => {
		const [leader] = (await h.stable([{ instanceId: "i1" }])) as [JoinAnswer];
		const newer = h.join({ instanceId: "i1" });
		await h.clock.settle();
		expect(newer.answer).toMatchObject({
			skipAssignment: true,
			leader: newer.answer?.memberId,
			members: [{ instanceId: "i1" }],
		});
		const older = h.join({ instanceId: "i1", canSkipAssignment: false });
		await h.clock.settle();
		expect(older.answer).toMatchObject({ skipAssignment: false, leader: newer.answer?.memberId, members: [] });
		expect(leader.memberId).not.toBe(older.answer?.memberId);
	});

	it("fences the one that waits under its name, and begins anew what is under way", async () => {
		await h.stable([{ instanceId: "i1" }, {}]);
		h.join({ instanceId: "i3" });
		const waiting = h.join({ instanceId: "i1" });
		const other = h.join({ instanceId: "i1" });
		await h.clock.settle();
		expect(waiting.answer).toMatchObject({ error: "FENCED_INSTANCE_ID" });
		expect(other.answer).toBeUndefined();
	});
});

describe("limits", () => {
	it("hold the number of members", async () => {
		h = new GroupHarness({ maxSize: 2 });
		const joins = [h.join(), h.join(), h.join()];
		await h.clock.advance(3 * DELAY_MS);
		expect(joins.map(({ answer }) => answer?.error)).toEqual([undefined, undefined, "GROUP_MAX_SIZE_REACHED"]);
	});

	it("hold the memory of all members, whatever they send, and give it back", async () => {
		h = new GroupHarness({ maxMembersBytes: 110_000 });
		const big = { protocols: [{ name: "x", metadata: Buffer.alloc(30_000) }] };
		const joins = Array.from({ length: 1000 }, (_, i) => h.join({ ...big, group: `g${i}` }));
		const ids = Array.from({ length: 1000 }, () => h.join({ requiresMemberId: true }));
		await h.clock.settle();
		expect(joins.filter(({ answer }) => answer === undefined)).toHaveLength(3);
		expect(ids.filter(({ answer }) => answer?.error === "MEMBER_ID_REQUIRED").length).toBeLessThan(30);
		await h.clock.advance(10 * REBALANCE_MS);
		expect(h.join(big).answer).toBeUndefined();
		await h.clock.advance(DELAY_MS);
		expect(h.groups.describe("g")?.members).toHaveLength(1);
	});

	it("count the names of groups and clients, which a peer may make as long as it likes", async () => {
		h = new GroupHarness({ maxMembersBytes: 1_000_000 });
		const long = "x".repeat(32_000);
		const joins = Array.from({ length: 100 }, (_, i) => h.join({ group: `${long}${i}` }));
		const ids = Array.from({ length: 100 }, () => h.join({ requiresMemberId: true, clientId: long }));
		await h.clock.settle();
		expect(joins.filter(({ answer }) => answer === undefined).length).toBeLessThan(10);
		expect(ids.filter(({ answer }) => answer?.error === "MEMBER_ID_REQUIRED").length).toBeLessThan(20);
	});

	it("hold the memory of assignments", async () => {
		h = new GroupHarness({ maxMembersBytes: 10_000 });
		const joined = h.join();
		await h.clock.advance(2 * DELAY_MS);
		const member = joined.answer as JoinAnswer;
		const synced = h.sync(member, { [member.memberId]: "x".repeat(20_000) });
		await h.clock.settle();
		expect(synced.answer).toMatchObject({ error: "UNKNOWN_SERVER_ERROR" });
	});

	it("of the session time-out are checked first", async () => {
		const errors = [{ group: "" }, { sessionTimeoutMs: 5999 }, { sessionTimeoutMs: 1_800_001 }, { memberId: "x" }].map(
			(request) => h.join(request),
		);
		await h.clock.settle();
		expect(errors.map(({ answer }) => answer?.error)).toEqual([
			"INVALID_GROUP_ID",
			"INVALID_SESSION_TIMEOUT",
			"INVALID_SESSION_TIMEOUT",
			"UNKNOWN_MEMBER_ID",
		]);
	});
});

describe("after a restart", () => {
	it("members are unknown, and the next generation is higher than any before", async () => {
		const [member] = (await h.stable([{}])) as [JoinAnswer];
		await h.restart();
		expect(h.heartbeat(member)).toBe("UNKNOWN_MEMBER_ID");
		expect(h.groups.list()).toEqual([{ group: "g", protocolType: "consumer", state: "Empty" }]);
		const again = h.join();
		await h.clock.advance(2 * DELAY_MS);
		expect(again.answer?.generation).toBe(2);
	});

	it("a stopping coordinator lets nobody wait", async () => {
		const waits = h.join();
		await h.restart();
		expect(waits.answer).toMatchObject({ error: "COORDINATOR_NOT_AVAILABLE" });
	});
});

/** Of the answer's own member, as its id says. */
function instanceOf({ memberId }: JoinAnswer): string {
	return memberId.slice(0, 2);
}
