/**
 * Thousands of seeded lives of a log in which the power fails at any instant.
 *
 *   SEED=123 npx vitest run test/simulation/log.test.ts     one of them again
 *   SEEDS=50000 npx vitest run test/simulation/log.test.ts  more of them
 */
import { expect, it } from "vitest";
import { lives, violations } from "./seeds.ts";
import { Workload } from "./workload.ts";

const live = lives({
	file: "log",
	count: 250,
	make: (seed) => new Workload({ seed }),
	perLife: {
		...{ crashes: 1, records: 1, acked: 1, reads: 1, checkpoints: 1 },
		...{ crashesInRecovery: 0.05, refused: 0.05, failures: 0.05 },
	},
});

it("gives the same life for the same seed", async () => {
	const first = await live("same");
	const second = await live("same");
	expect(second.tally).toEqual(first.tally);
	expect(second.world.disk.operations).toBe(first.world.disk.operations);
	const bytes = (workload: Workload) =>
		[...workload.world.disk.files()].map(([name, file]) => [name, file.toString("base64")]);
	expect(bytes(second)).toEqual(bytes(first));
});

/** How many of `count` lives end in a violation. */
function found(count: number, plant: (workload: Workload) => void): Promise<number> {
	return violations(count, (seed) => {
		const workload = new Workload({ seed, weights: { full: 0, syncError: 0 } });
		plant(workload);
		return workload;
	});
}

it("finds out a disk that lies about sync", async () => {
	const broken = await found(20, ({ world }) => {
		world.disk.syncLies = true;
	});
	expect(broken).toBeGreaterThan(15);
});
