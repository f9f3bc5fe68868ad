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
import { GroupLife, type GroupTally } from "./kafka-group-life.ts";
import { Violation } from "./log-model.ts";

const SEEDS = Number(process.env.SEEDS ?? 40);
const ONE = process.env.SEED;

async function live(seed: number | string): Promise<GroupLife> {
	const life = new GroupLife({ seed });
	try {
		await life.run();
	} catch (error) {
		const replay = `SEED=${seed} npx vitest run test/simulation/kafka-groups.test.ts`;
		const story = ONE === undefined ? "" : `\n${life.model.story.join("\n")}`;
		throw new Error(`seed ${seed}: ${(error as Error).message}\nreplay: ${replay}${story}`, { cause: error });
	}
	return life;
}

it(`keeps every promise through ${ONE === undefined ? `${SEEDS} lives` : `life ${ONE}`}`, {
	timeout: 3_600_000,
}, async () => {
	if (ONE !== undefined) {
		await live(ONE);
		return;
	}
	const total: Record<string, number> = {};
	const failures: Error[] = [];
	for (let seed = 1; seed <= SEEDS && failures.length < 10; seed++) {
		try {
			const { tally } = await live(seed);
			for (const [name, count] of Object.entries(tally)) total[name] = (total[name] ?? 0) + count;
		} catch (error) {
			failures.push(error as Error);
		}
	}
	if (failures.length > 0) throw new Error(failures.map(({ message }) => message).join("\n"), { cause: failures[0] });
	// Lives in which nothing happens prove nothing.
	const perLife = (name: keyof GroupTally) => (total[name] ?? 0) / SEEDS;
	for (const name of ["generations", "commits", "kills", "crashes"] as const)
		expect(perLife(name), name).toBeGreaterThan(1);
	expect(perLife("staticRestarts"), "staticRestarts").toBeGreaterThan(0.2);
});

it("gives the same life for the same seed", async () => {
	const first = await live("same");
	const second = await live("same");
	expect(second.model.story).toEqual(first.model.story);
});

afterEach(() => vi.restoreAllMocks());

/** How many of `count` lives end in a violation. */
async function found(count: number, plant: (life: GroupLife) => void = () => {}): Promise<number> {
	let violations = 0;
	for (let seed = 1; seed <= count; seed++) {
		const life = new GroupLife({ seed });
		plant(life);
		try {
			await life.run();
		} catch (error) {
			if (!(error instanceof Violation)) throw error;
			violations++;
		}
	}
	return violations;
}

it("finds out a disk that lies about sync", async () => {
	const violations = await found(10, ({ world }) => {
		world.disk.syncLies = true;
	});
	expect(violations).toBeGreaterThan(2);
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
