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
import { KafkaLife, type KafkaLifeOptions, type KafkaTally } from "./kafka-life.ts";
import { Violation } from "./log-model.ts";

const SEEDS = Number(process.env.SEEDS ?? 25);
const ONE = process.env.SEED;

async function live(seed: number | string): Promise<KafkaLife> {
	const life = new KafkaLife({ seed });
	try {
		await life.run();
	} catch (error) {
		const replay = `SEED=${seed} npx vitest run test/simulation/kafka-transactions.test.ts`;
		const story = ONE === undefined ? "" : `\n${life.story.join("\n")}`;
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
	const perLife = (name: keyof KafkaTally) => (total[name] ?? 0) / SEEDS;
	for (const name of ["ends", "fenced", "crashes", "resends", "compared"] as const)
		expect(perLife(name), name).toBeGreaterThan(1);
	for (const name of ["timeOuts", "duplicates"] as const) expect(perLife(name), name).toBeGreaterThan(0.05);
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
async function found(count: number, weights: KafkaLifeOptions["weights"] = {}): Promise<number> {
	let violations = 0;
	for (let seed = 1; seed <= count; seed++) {
		try {
			life = new KafkaLife({ seed, weights: { full: 0, ...weights } });
			prepare?.(life);
			await life.run();
		} catch (error) {
			if (!(error instanceof Violation)) throw error;
			violations++;
		}
	}
	return violations;
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
