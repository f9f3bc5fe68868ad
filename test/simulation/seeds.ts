/**
 * Lives from seeds: each is the same again for the same seed, so a life that breaks a promise is a test by itself.
 * SEED=123 runs that one alone and tells its story when it fails; SEEDS=50000 runs more of them than usual.
 */
import { expect, it } from "vitest";
import { Violation } from "./log-model.ts";

/** Some thousand lives take minutes. */
const TIMEOUT_MS = 3_600_000;
/** So many failing seeds are told at most. */
const FAILURES_TOLD = 10;

export interface Life {
	run(): Promise<unknown>;
	/** What happened, counted. */
	readonly tally: object;
}

export interface SeedsOptions<L extends Life> {
	/** `log` of test/simulation/log.test.ts. */
	readonly file: string;
	/** Lives without SEEDS. */
	readonly count: number;
	/** What the test's name says that all lives keep. */
	readonly promise?: string;
	make(seed: number | string): L;
	/** Told when SEED is set. */
	story?(life: L): readonly string[];
	/** What happens more often than this per life: lives in which nothing happens prove nothing. */
	readonly perLife: Readonly<Record<string, number>>;
}

/** Defines the test of all lives; returns how one is lived. */
export function lives<L extends Life>(options: SeedsOptions<L>): (seed: number | string) => Promise<L> {
	const count = Number(process.env.SEEDS ?? options.count);
	const one = process.env.SEED;
	const live = async (seed: number | string): Promise<L> => {
		const life = options.make(seed);
		try {
			await life.run();
		} catch (error) {
			const replay = `SEED=${seed} npx vitest run test/simulation/${options.file}.test.ts`;
			const story = one === undefined ? "" : `\n${options.story?.(life).join("\n") ?? ""}`;
			throw new Error(`seed ${seed}: ${(error as Error).message}\nreplay: ${replay}${story}`, { cause: error });
		}
		return life;
	};
	const title = `keeps ${options.promise ?? "every promise"} through ${one === undefined ? `${count} lives` : `life ${one}`}`;
	it(title, { timeout: TIMEOUT_MS }, async () => {
		if (one !== undefined) {
			await live(one);
			return;
		}
		const total = new Map<string, number>();
		const failures: Error[] = [];
		for (let seed = 1; seed <= count && failures.length < FAILURES_TOLD; seed++) {
			try {
				const { tally } = await live(seed);
				for (const [name, value] of Object.entries(tally)) total.set(name, (total.get(name) ?? 0) + value);
			} catch (error) {
				failures.push(error as Error);
			}
		}
		if (failures.length > 0) throw new Error(failures.map(({ message }) => message).join("\n"), { cause: failures[0] });
		for (const [name, least] of Object.entries(options.perLife))
			expect((total.get(name) ?? 0) / count, name).toBeGreaterThan(least);
	});
	return live;
}

/** How many of `count` lives end in a violation; `make` has planted what there is to be found. */
export async function violations(count: number, make: (seed: number) => Life): Promise<number> {
	let found = 0;
	for (let seed = 1; seed <= count; seed++) {
		try {
			await make(seed).run();
		} catch (error) {
			if (!(error instanceof Violation)) throw error;
			found++;
		}
	}
	return found;
}
