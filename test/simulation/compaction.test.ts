/**
 * Compaction and deletion of records in which the power fails at any instant.
 *
 *   SEED=123 npx vitest run test/simulation/compaction.test.ts     one life again
 *   SEEDS=50000 npx vitest run test/simulation/compaction.test.ts  more of them
 */
import { expect, it } from "vitest";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { CompactionLife } from "./compaction-life.ts";
import { lives } from "./seeds.ts";

lives({
	file: "compaction",
	count: 40,
	promise: "every key's newest committed value",
	make: (seed) => new CompactionLife({ seed }),
	perLife: {
		...{ records: 1, compactions: 1, crashes: 1, removed: 1, reads: 1 },
		...{ crashesInCompaction: 0.1, deletions: 0.1 },
	},
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
