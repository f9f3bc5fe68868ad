import { beforeEach, describe, expect, it } from "vitest";
import type { JoinAnswer } from "../../../src/broker/groups/messages.ts";
import { GroupHarness, subscription } from "./group-harness.ts";

const WEEK_MS = 7 * 86_400_000;
const CHECK_MS = 86_400_000 / 2;
const entry = (offset: number, partition = 0, topic = "jobs") => ({
	topic,
	partition,
	offset,
	leaderEpoch: -1,
	metadata: `m${offset}`,
});

let h: GroupHarness;
beforeEach(() => {
	h = new GroupHarness({ offsetsRetentionCheckMs: CHECK_MS });
	h.broker.topics.create({ name: "jobs", partitions: 12 });
	h.broker.topics.create({ name: "other", partitions: 1 });
});

describe("committed offsets", () => {
	it("are there with all that was told, also after a restart, and make a group", async () => {
		const told = { topic: "jobs", partition: 1, offset: 2 ** 52, leaderEpoch: 3, metadata: "né" };
		h.groups.offsets.commit("g", [told], h.clock.now());
		await h.clock.settle();
		await h.restart();
		expect(h.groups.offsets.fetch("g", "jobs", 1)).toMatchObject({ offset: 2 ** 52, leaderEpoch: 3, metadata: "né" });
		expect(h.groups.list()).toEqual([{ group: "g", protocolType: "", state: "Empty" }]);
	});

	it("of groups with any name do not meet", () => {
		const names = ["g", "g\0", "g\0jobs", "g\x01", "g\x01\x01", "g\x01\x02", "\x02", "", "é😀", "g\0jobs\x000"];
		for (const [i, name] of names.entries()) h.commit(i, name);
		expect(names.map((name) => h.committed(name))).toEqual(names.map((_, i) => i));
		expect(names.map((name) => [...h.groups.offsets.all(name)].length)).toEqual(names.map(() => 1));
		expect(new Set(h.groups.list().map(({ group }) => group))).toEqual(new Set(names));
	});

	it("are gone with their topic, also for a new one of its name, and a topic's deletion leaves those of others", async () => {
		h.commit(5);
		h.commit(6, "g", "other");
		h.broker.topics.delete("jobs");
		h.broker.topics.create({ name: "jobs", partitions: 1 });
		expect(h.committed()).toBeUndefined();
		h.commit(7);
		await h.clock.advance(5000);
		expect([h.committed(), h.committed("g", "other")]).toEqual([7, 6]);
	});

	it("are deleted with their group, which must have no members", async () => {
		const [member] = (await h.stable([{}])) as [JoinAnswer];
		h.commit(5);
		expect(() => h.groups.delete("g")).toThrow(expect.objectContaining({ code: "NON_EMPTY_GROUP" }));
		h.groups.leave("g", [{ memberId: member.memberId, instanceId: null }]);
		h.groups.delete("g");
		expect(h.committed()).toBeUndefined();
		expect(() => h.groups.delete("g")).toThrow(expect.objectContaining({ code: "GROUP_ID_NOT_FOUND" }));
		expect(h.groups.list()).toEqual([]);
	});

	it("of topics that a group consumes cannot be deleted", async () => {
		await h.stable([{}]);
		expect(h.groups.checkOffsetDelete("g", ["jobs", "other"])).toEqual(["GROUP_SUBSCRIBED_TO_TOPIC", undefined]);
		// What the next one consumes cannot be read.
		h = new GroupHarness();
		await h.stable([{ protocols: [{ name: "range", metadata: subscription("other").subarray(0, 9) }] }]);
		expect(h.groups.checkOffsetDelete("g", ["jobs", "other"])).toEqual([
			"GROUP_SUBSCRIBED_TO_TOPIC",
			"GROUP_SUBSCRIBED_TO_TOPIC",
		]);
	});
});

describe("offsets in a transaction", () => {
	const pending = (producer: number, offset: number, group = "g") =>
		h.groups.offsets.pending(producer, 0, group, [entry(offset)]);
	const end = (producer: number, outcome: "commit" | "abort", groups = ["g"]) =>
		h.groups.offsets.endTransaction(producer, groups, outcome);

	it("take effect when it commits, not when it aborts, and are unstable until then", async () => {
		h.commit(1);
		pending(7, 2);
		pending(8, 3, "h");
		expect([
			h.committed(),
			h.groups.offsets.hasPending("g", "jobs", 0),
			h.groups.offsets.hasPending("g", "jobs", 1),
		]).toEqual([1, true, false]);
		await h.clock.settle();
		await h.restart();
		expect(h.groups.offsets.hasPending("g", "jobs", 0)).toBe(true);
		expect(h.groups.offsets.pendingBytes(7, ["g", "h"])).toBeGreaterThan(0);
		end(7, "commit");
		end(8, "abort", ["h"]);
		expect([h.committed(), h.committed("h")]).toEqual([2, undefined]);
		expect([h.groups.offsets.hasPending("g", "jobs", 0), h.groups.offsets.hasPending("h", "jobs", 0)]).toEqual([
			false,
			false,
		]);
	});

	it("do not put back what was committed after them", () => {
		pending(7, 2);
		h.commit(5);
		expect(h.groups.offsets.hasPending("g", "jobs", 0)).toBe(true);
		end(7, "commit");
		expect(h.committed()).toBe(5);
		pending(7, 6);
		pending(8, 7);
		end(8, "commit");
		end(7, "commit");
		expect(h.committed()).toBe(7);
		pending(7, 8);
		pending(8, 9);
		end(7, "commit");
		end(8, "commit");
		expect(h.committed()).toBe(9);
	});

	it("keep the order over a restart", async () => {
		pending(7, 2);
		await h.clock.settle();
		await h.restart();
		pending(8, 3);
		end(8, "commit");
		end(7, "commit");
		expect(h.committed()).toBe(3);
	});

	it("are nothing to a topic that was deleted meanwhile", () => {
		pending(7, 2);
		h.broker.topics.delete("jobs");
		h.broker.topics.create({ name: "jobs", partitions: 1 });
		end(7, "commit");
		expect(h.committed()).toBeUndefined();
	});

	it("do not expire", async () => {
		h.commit(1);
		pending(7, 2);
		await h.clock.advance(WEEK_MS + CHECK_MS);
		expect(h.committed()).toBe(1);
	});
});

describe("expiry", () => {
	it("counts from the commit where a consumer assigns partitions itself", async () => {
		h.commit(1);
		await h.clock.advance(WEEK_MS / 2);
		h.commit(2, "g", "jobs", 1);
		await h.clock.advance(WEEK_MS / 2 + CHECK_MS);
		expect([h.committed(), h.committed("g", "jobs", 1)]).toEqual([undefined, 2]);
		await h.clock.advance(WEEK_MS / 2 + CHECK_MS);
		expect(h.groups.list()).toEqual([]);
	});

	it("counts from when the last member has gone, by whatever way", async () => {
		const [member] = (await h.stable([{}])) as [JoinAnswer];
		h.commit(1);
		for (let ms = 0; ms < WEEK_MS + CHECK_MS; ms += 9000) {
			h.heartbeat(member);
			if (ms % 9_000_000 === 0) await h.clock.advance(9000);
			else h.clock.step(9000);
		}
		expect(h.committed()).toBe(1);
		await h.restart();
		await h.clock.advance(WEEK_MS - CHECK_MS);
		expect(h.committed()).toBe(1);
		await h.clock.advance(4 * CHECK_MS);
		expect([h.committed(), h.groups.list()]).toEqual([undefined, []]);
	});

	it("in a group with members lets go of topics that it does not consume", async () => {
		h = new GroupHarness({ offsetsRetentionMs: 50_000, offsetsRetentionCheckMs: 1000 });
		h.broker.topics.create({ name: "jobs", partitions: 1 });
		h.broker.topics.create({ name: "other", partitions: 1 });
		const [member] = (await h.stable([{}])) as [JoinAnswer];
		h.commit(1);
		h.commit(2, "g", "other");
		for (let i = 0; i < 12; i++) {
			h.heartbeat(member);
			await h.clock.advance(5000);
		}
		expect([h.committed(), h.committed("g", "other")]).toEqual([1, undefined]);
	});

	it("has as long as the client wished for", async () => {
		h.groups.offsets.commit("g", [{ ...entry(1), expiresMs: h.clock.now() + 1000 }, entry(2, 1)], h.clock.now());
		await h.clock.advance(CHECK_MS);
		expect([h.committed(), h.committed("g", "jobs", 1)]).toEqual([undefined, 2]);
	});

	it("does not take a clock that was set since for a long time", async () => {
		h.clock.step(-h.clock.now());
		h.commit(1);
		h.clock.step(Date.UTC(2026, 0, 1));
		await h.clock.advance(CHECK_MS);
		expect(h.committed()).toBe(1);
		await h.clock.advance(WEEK_MS + CHECK_MS);
		expect(h.committed()).toBeUndefined();
	});

	it("counts anew when the clock steps forward by years, whoever committed", async () => {
		const [member] = (await h.stable([{}])) as [JoinAnswer];
		h.groups.offsets.commit("g", [entry(1), { ...entry(2, 1), expiresMs: h.clock.now() + 1000 }], h.clock.now());
		h.commit(3, "alone");
		h.groups.leave("g", [{ memberId: member.memberId, instanceId: null }]);
		h.clock.step(3 * 365 * 86_400_000);
		await h.clock.advance(CHECK_MS);
		expect([h.committed(), h.committed("g", "jobs", 1), h.committed("alone")]).toEqual([1, 2, 3]);
		await h.clock.advance(WEEK_MS - CHECK_MS);
		expect([h.committed(), h.committed("g", "jobs", 1), h.committed("alone")]).toEqual([1, undefined, 3]);
		await h.clock.advance(3 * CHECK_MS);
		expect([h.committed(), h.committed("alone"), h.groups.list()]).toEqual([undefined, undefined, []]);
	});

	it("gets through many groups, a few at a time", async () => {
		for (let i = 0; i < 150; i++) h.commit(i, `g${i}`);
		await h.clock.advance(WEEK_MS + 2 * CHECK_MS);
		expect(h.groups.list()).toEqual([]);
	});
});
