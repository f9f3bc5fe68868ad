/**
 * Hundreds of seeded lives of a consumer group, in which networks lose and double requests, members crash, leave and
 * start anew, and the gateway is killed.
 *
 *   SEED=123 npx vitest run test/simulation/kafka-groups.test.ts     one of them again; prints its story if it fails
 *   SEEDS=50000 npx vitest run test/simulation/kafka-groups.test.ts  more of them
 */
import { afterEach, expect, it, vi } from "vitest";
import { Deadline } from "../../src/broker/groups/deadline.ts";
import { GroupRows } from "../../src/broker/groups/group-rows.ts";
import { Rebalance } from "../../src/broker/groups/rebalance.ts";
import { GroupLife } from "./kafka-group-life.ts";
import { lives, violations } from "./seeds.ts";

const live = lives({
	file: "kafka-groups",
	count: 40,
	make: (seed) => new GroupLife({ seed }),
	story: (life) => life.model.story,
	perLife: { generations: 1, commits: 1, kills: 1, crashes: 1, staticRestarts: 0.2 },
});

it("gives the same life for the same seed", async () => {
	const first = await live("same");
	const second = await live("same");
	expect(second.model.story).toEqual(first.model.story);
});

afterEach(() => vi.restoreAllMocks());

/** How many of `count` lives end in a violation. */
function found(count: number, plant: (life: GroupLife) => void = () => {}): Promise<number> {
	return violations(count, (seed) => {
		const life = new GroupLife({ seed });
		plant(life);
		return life;
	});
}

it("finds out a disk that lies about sync", async () => {
	const broken = await found(10, ({ world }) => {
		world.disk.syncLies = true;
	});
	expect(broken).toBeGreaterThan(2);
});

it("finds out generations that are not kept", async () => {
	vi.spyOn(GroupRows.prototype, "put").mockReturnValue();
	expect(await found(10)).toBeGreaterThan(5);
});

it("finds out time-outs that never end", async () => {
	vi.spyOn(Deadline.prototype, "set").mockReturnValue();
	expect(await found(3)).toBe(3);
});

it("finds out a partition that two members have", async () => {
	const assignmentOf = Rebalance.prototype.assignmentOf;
	vi.spyOn(Rebalance.prototype, "assignmentOf").mockImplementation(function (this: Rebalance, member) {
		return { ...assignmentOf.call(this, member), assignment: Buffer.from([0]) };
	});
	expect(await found(5)).toBe(5);
});

it("finds out a member that leads after another has begun to", async () => {
	const joinedAnswer = Rebalance.prototype.joinedAnswer;
	vi.spyOn(Rebalance.prototype, "joinedAnswer").mockImplementation(function (this: Rebalance, member) {
		const { id: leader } = member;
		return { ...joinedAnswer.call(this, member), leader, members: this.membersForLeader() };
	});
	expect(await found(5)).toBe(5);
});
