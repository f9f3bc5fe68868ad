/** `start`: the time from spawning the process to its greeting, which it prints when everything listens. */
import { type BenchOptions, FULL_LOAD, fill, startLoad, storedIn } from "./driver.ts";
import { fixed, median, spread, type Table } from "./report.ts";
import { startHeadwater, type Target } from "./targets.ts";

const DEFAULT_ROUNDS = 5;
/** Long enough for the journal to have gone round. */
const LOAD_BEFORE_KILL_MS = 2500;

async function timed(options: BenchOptions, dataDirectory: string): Promise<{ target: Target; ms: number }> {
	const started = performance.now();
	const target = await startHeadwater(options.workplace, { dataDirectory });
	return { target, ms: performance.now() - started };
}

export async function start(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const { workplace } = options;
	const rounds = options.rounds ?? DEFAULT_ROUNDS;
	workplace.require(options.storedBytes * 1.2 + rounds * 1.5e9);
	const times: Record<"empty" | "clean" | "killed", number[]> = { empty: [], clean: [], killed: [] };
	for (let round = 0; round < rounds; round += 1) {
		options.progress(`empty, ${round + 1} of ${rounds}`);
		const folder = workplace.folder("empty");
		const { target, ms } = await timed(options, folder);
		times.empty.push(ms);
		await target.stop();
		workplace.remove(folder);
	}
	const dataDirectory = workplace.folder("stored");
	let target = await startHeadwater(workplace, { dataDirectory });
	await fill(options, target, options.storedBytes);
	await target.stop();
	for (let round = 0; round < rounds; round += 1) {
		options.progress(`after a clean stop, ${round + 1} of ${rounds}`);
		const begun = await timed(options, dataDirectory);
		times.clean.push(begun.ms);
		await begun.target.stop();
	}
	target = await startHeadwater(workplace, { dataDirectory });
	for (let round = 0; round < rounds; round += 1) {
		options.progress(`after kill -9 under load, ${round + 1} of ${rounds}`);
		const spec = {
			...FULL_LOAD,
			port: target.mqttPort,
			warmupSeconds: 0,
			seconds: 0,
		} as const;
		const load = startLoad(workplace, spec);
		await load.begun;
		await new Promise((resolve) => setTimeout(resolve, LOAD_BEFORE_KILL_MS));
		const killed = target.kill();
		load.kill();
		await killed;
		const begun = await timed(options, dataDirectory);
		times.killed.push(begun.ms);
		target = begun.target;
	}
	const { bytes } = await storedIn(target);
	await target.stop();
	workplace.remove(dataDirectory);
	const row = (name: string, values: readonly number[], goal: string): string[] => [
		name,
		fixed(median(values), 0),
		goal,
		fixed(Math.min(...values), 0),
		fixed(Math.max(...values), 0),
		spread(values),
	];
	const gigabytes = `${(options.storedBytes / 1e9).toFixed(1)} GB`;
	return {
		tables: [
			{
				title: "Time until ready, ms",
				columns: ["state", "median", "goal", "least", "most", "spread"],
				rows: [
					row("empty", times.empty, "<= 500"),
					row(`${gigabytes} stored, after a clean stop`, times.clean, "-"),
					row(`${gigabytes} stored, after kill -9 under load`, times.killed, "<= 1000"),
				],
				notes: [
					`From the start of the process to its greeting; ${rounds} times each; ${(bytes / 1e9).toFixed(1)} GB stored at the end.`,
					"The page cache is as the run left it: after kill -9 it is warm, after a power cut it would be cold.",
				],
			},
		],
		raw: times,
	};
}
