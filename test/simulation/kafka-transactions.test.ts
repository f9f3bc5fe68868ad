/**
 * Hundreds of seeded lives of transactional producers, whose requests are lost, come twice or late, and of a broker
 * whose power fails at any instant.
 *
 *   SEED=123 npx vitest run test/simulation/kafka-transactions.test.ts     one of them again; prints its story if it fails
 *   SEEDS=50000 npx vitest run test/simulation/kafka-transactions.test.ts  more of them
 */
import { afterEach, expect, it, vi } from "vitest";
import { GroupOffsets } from "../../src/broker/groups/group-offsets.ts";
import { Transactions } from "../../src/broker/transactions/transactions.ts";
import { Log } from "../../src/log/log.ts";
import { PartitionTransactions } from "../../src/log/partition-transactions.ts";
import { KafkaLife, type KafkaLifeOptions } from "./kafka-life.ts";
import { lives, violations } from "./seeds.ts";

const live = lives({
	file: "kafka-transactions",
	count: 25,
	make: (seed) => new KafkaLife({ seed }),
	story: (each) => each.story,
	perLife: { ends: 1, fenced: 1, crashes: 1, resends: 1, compared: 1, timeOuts: 0.05, duplicates: 0.05 },
});

it("gives the same life for the same seed", async () => {
	const first = await live("same");
	const second = await live("same");
	expect(second.story).toEqual(first.story);
});

/** The one that runs, and what is done to it before it does. */
let life: KafkaLife | undefined;
let prepare: ((life: KafkaLife) => void) | undefined;
afterEach(() => {
	vi.restoreAllMocks();
	prepare = undefined;
});

/** How many of `count` lives end in a violation. */
function found(count: number, weights: KafkaLifeOptions["weights"] = {}): Promise<number> {
	return violations(count, (seed) => {
		life = new KafkaLife({ seed, weights: { full: 0, ...weights } });
		prepare?.(life);
		return life;
	});
}

it("finds out aborted records that are shown", async () => {
	vi.spyOn(PartitionTransactions.prototype, "isAborted").mockReturnValue(false);
	expect(await found(3)).toBe(3);
});

it("finds out a producer that writes though it is fenced", async () => {
	vi.spyOn(Transactions.prototype, "holds").mockReturnValue(true);
	expect(await found(12, { crash: 6 })).toBeGreaterThan(0);
});

it("finds out offsets that do not come with their transaction", async () => {
	vi.spyOn(GroupOffsets.prototype, "endTransaction").mockImplementation(() => {});
	expect(await found(5)).toBeGreaterThan(2);
});

it("finds out a transaction whose end is in several commits", async () => {
	vi.spyOn(Log.prototype, "group").mockImplementation((_bytes, work) => work());
	const { end } = PartitionTransactions.prototype;
	vi.spyOn(PartitionTransactions.prototype, "end").mockImplementation(function (this: PartitionTransactions, ...of) {
		// So much that the marker is on its way alone.
		for (let i = 0; i < 2; i++) life?.world.log.admit(60_000);
		end.apply(this, of);
	});
	expect(await found(8, { armPower: 15, crash: 8 })).toBeGreaterThan(0);
});

it("finds out a disk that lies about sync", async () => {
	prepare = ({ world }) => {
		world.disk.syncLies = true;
	};
	expect(await found(12)).toBeGreaterThan(6);
});
