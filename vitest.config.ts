import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/** Brings dist/ up to date, for tests that start the gateway as a process of its own. */
const BUILD = "test/support/build-dist.ts";

/** One project per kind of test; `npm test` runs all but `interop`, which needs other people's programs. */
const project = (name: string, options: { setup?: string[]; timeoutMs?: number; oneAtATime?: boolean } = {}) => ({
	test: {
		name,
		include: [`test/${name}/**/*.test.ts`],
		testTimeout: options.timeoutMs ?? 20_000,
		hookTimeout: options.timeoutMs ?? 20_000,
		globalSetup: options.setup ?? [],
		...(options.oneAtATime ? { fileParallelism: false } : {}),
	},
});

export default defineConfig({
	test: {
		pool: "threads",
		// One worker fewer than there are cores would be one on a machine with two.
		maxWorkers: Math.max(2, availableParallelism()),
		projects: [
			project("unit"),
			project("property", { timeoutMs: 30_000 }),
			project("contract", { setup: [BUILD], timeoutMs: 60_000 }),
			project("conformance"),
			project("simulation", { timeoutMs: 120_000 }),
			project("crash", { setup: [BUILD], timeoutMs: 120_000 }),
			project("tidy"),
			project("interop", { setup: [BUILD, "test/interop/runtimes.ts"], timeoutMs: 300_000, oneAtATime: true }),
		],
	},
});
