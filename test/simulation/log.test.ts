/**
 * Thousands of seeded lives of a log in which the power fails at any instant.
 *
 *   SEED=123 npx vitest run test/simulation/log.test.ts     one of them again
 *   SEEDS=50000 npx vitest run test/simulation/log.test.ts  more of them
 */
import { expect, it } from "vitest";
import { Violation } from "./log-model.ts";
import { type Tally, Workload } from "./workload.ts";

const SEEDS = Number(process.env.SEEDS ?? 500);
const ONE = process.env.SEED;

async function live(seed: number | string): Promise<Workload> {
	const workload = new Workload({ seed });
	try {
		await workload.run();
	} catch (error) {
		const replay = `SEED=${seed} npx vitest run test/simulation/log.test.ts`;
		throw new Error(`seed ${seed}: ${(error as Error).message}\nreplay: ${replay}`, { cause: error });
	}
	return workload;
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
	const perLife = (name: keyof Tally) => (total[name] ?? 0) / SEEDS;
	for (const name of ["crashes", "records", "acked", "reads", "checkpoints"] as const) {
		expect(perLife(name), name).toBeGreaterThan(1);
	}
	for (const name of ["crashesInRecovery", "refused", "failures"] as const)
		expect(perLife(name), name).toBeGreaterThan(0.05);
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
async function found(count: number, plant: (workload: Workload) => void): Promise<number> {
	let violations = 0;
	for (let seed = 1; seed <= count; seed++) {
		const workload = new Workload({ seed, weights: { full: 0, syncError: 0 } });
		plant(workload);
		try {
			await workload.run();
		} catch (error) {
			if (!(error instanceof Violation)) throw error;
			violations++;
		}
	}
	return violations;
}

it("finds out a disk that lies about sync", async () => {
	const violations = await found(20, ({ world }) => {
		world.disk.syncLies = true;
	});
	expect(violations).toBeGreaterThan(15);
});
