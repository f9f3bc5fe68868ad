/**
 * Compaction and deletion of records in which the power fails at any instant.
 *
 *   SEED=123 npx vitest run test/simulation/compaction.test.ts     one life again
 *   SEEDS=50000 npx vitest run test/simulation/compaction.test.ts  more of them
 */
import { expect, it } from "vitest";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { CompactionLife } from "./compaction-life.ts";

const SEEDS = Number(process.env.SEEDS ?? 60);
const ONE = process.env.SEED;

async function live(seed: number | string): Promise<CompactionLife> {
	const life = new CompactionLife({ seed });
	try {
		await life.run();
	} catch (error) {
		throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
	}
	return life;
}

it(`keeps every key's newest committed value through ${ONE === undefined ? `${SEEDS} lives` : `life ${ONE}`}`, {
	timeout: 3_600_000,
}, async () => {
	if (ONE !== undefined) {
		await live(ONE);
		return;
	}
	const total: Record<string, number> = {};
	const failures: string[] = [];
	for (let seed = 1; seed <= SEEDS && failures.length < 10; seed++) {
		try {
			const { tally } = await live(seed);
			for (const [name, count] of Object.entries(tally)) total[name] = (total[name] ?? 0) + count;
		} catch (error) {
			failures.push((error as Error).message);
		}
	}
	expect(failures).toEqual([]);
	// Lives in which nothing happens prove nothing.
	for (const name of ["records", "compactions", "crashes", "removed", "reads"])
		expect((total[name] ?? 0) / SEEDS, name).toBeGreaterThan(1);
	for (const name of ["crashesInCompaction", "deletions"])
		expect((total[name] ?? 0) / SEEDS, name).toBeGreaterThan(0.1);
});

/** A partition with much to compact, all of it in synced segments, some of which become one. */
async function prepared(policy: string): Promise<CompactionLife> {
	const life = new CompactionLife({ seed: "steps", keyBytes: 65_536, policy });
	await life.begin();
	for (let i = 0; i < 40; i++) life.append();
	life.endTransactions();
	await life.commit();
	await life.world.finish(life.world.log.checkpoint());
	// They were small: several become one.
	life.world.broker.topics.alter("t", { set: { "segment.bytes": "65536" } });
	return life;
}

async function cutAtEachStep(policy: string, work: (life: CompactionLife) => Promise<void>): Promise<number> {
	const whole = await prepared(policy);
	const before = whole.world.disk.operations;
	await work(whole);
	const steps = whole.world.disk.operations - before;
	const random = new SimulatedRandom("cuts");
	let cuts = 0;
	for (let step = 1; step <= steps; step++) {
		// What a power cut leaves is drawn: more than once.
		for (const kind of ["power cut", "power cut", "kill"] as const) {
			const life = await prepared(policy);
			life.world.disk.stopAfter(step);
			await work(life).catch(() => {});
			// A step that only looks cannot be cut.
			if (life.world.disk.off) cuts++;
			await life.crash(kind, random);
			expect(life.world.disk.list("/data/topics/t-0").filter((name) => name.endsWith(".cleaned"))).toEqual([]);
			await life.compactAll();
			await life.check();
		}
	}
	return cuts;
}

it("holds after a power cut or a kill in any step of a compaction", async () => {
	const cuts = await cutAtEachStep("compact", async (life) => {
		const { cleaner } = life.world.broker;
		if (cleaner !== undefined) await life.world.finish(cleaner.clean());
	});
	expect(cuts).toBeGreaterThan(50);
});

it("holds after a power cut or a kill in any step of deleting records", async () => {
	const cuts = await cutAtEachStep("delete", async (life) => {
		const { highWatermark } = life.partition;
		life.deleteRecords(Math.floor(highWatermark / 2));
		life.deleteRecords(highWatermark);
	});
	expect(cuts).toBeGreaterThan(10);
});
