/**
 * Tiered storage while everything around it fails: power, link, store.
 *
 *   SEED=123 npx vitest run test/simulation/tiered.test.ts     one life again
 *   SEEDS=5000 npx vitest run test/simulation/tiered.test.ts   more of them
 */
import { expect, it } from "vitest";
import { lives, violations } from "./seeds.ts";
import { TieredLife } from "./tiered-life.ts";

lives({
	file: "tiered",
	count: 16,
	promise: "every acknowledged record within retention, readable, once",
	make: (seed) => new TieredLife({ seed }),
	perLife: {
		...{ records: 10, uploads: 0.5, evictions: 0.5, crashes: 1, crashesInUpload: 0.1, expired: 0.2 },
		...{ tieredReads: 2, readErrors: 0.002, compactions: 0.5, lookUps: 0.2, restores: 0.1 },
	},
});

it("would be seen to break them: a range that is not stored, one that is stored too long, a byte that changes", async () => {
	const forgets = (life: TieredLife): void => {
		const { tier } = life.world.broker.catalog;
		const commit = tier.commitBundle.bind(tier);
		tier.commitBundle = (id, sizeBytes, ranges) => commit(id, sizeBytes, ranges.slice(1));
	};
	const lies = (life: TieredLife): void => {
		const { tier } = life.world.broker.catalog;
		const commit = tier.commitBundle.bind(tier);
		tier.commitBundle = (id, sizeBytes, ranges) =>
			commit(
				id,
				sizeBytes,
				ranges.map((range) => ({ ...range, nextOffset: range.nextOffset + 1 })),
			);
	};
	const flips = (life: TieredLife): void => {
		for (const [key, bytes] of life.bucket.objects())
			if (key.endsWith(".bundle")) life.bucket.flip(key, bytes.length >> 1);
	};
	for (const sabotage of [forgets, lies, flips])
		expect(await violations(6, (seed) => new TieredLife({ seed, sabotage })), sabotage.name).toBeGreaterThan(1);
});
