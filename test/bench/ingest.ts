/**
 * `ingest`: acknowledged publishes a second, side by side with the peers in one run. Closed loop: a connection sends the next
 * publish when one is acknowledged, so latency and rate are two sides of one figure.
 */
import { type BenchOptions, interleaved, type Measured, measure } from "./driver.ts";
import type { LoadSpec } from "./load.ts";
import { syncFileSystem } from "./process-figures.ts";
import { fixed, median, spread, type Table, thousands } from "./report.ts";
import { peerVersions, targetsFound } from "./targets.ts";

interface Case {
	readonly title: string;
	readonly spec: Pick<LoadSpec, "connections" | "window" | "qos">;
	readonly goal: string;
}

const CASES: readonly Case[] = [
	{
		title: "QoS 1, 10 connections, window 100",
		spec: { connections: 10, window: 100, qos: 1 },
		goal: "at least 3.0 x mosquitto",
	},
	{
		title: "QoS 1, 1,000 connections, window 1",
		spec: { connections: 1000, window: 1, qos: 1 },
		goal: "at least 1.0 x mosquitto",
	},
	{
		title: "QoS 1, 1 connection, window 1",
		spec: { connections: 1, window: 1, qos: 1 },
		goal: "at least 3.6 k/s, the best broker found that syncs (FluxMQ)",
	},
	{
		title: "QoS 0, 10 connections",
		spec: { connections: 10, window: 100, qos: 0 },
		goal: "none; read by the broker, and for headwater stored",
	},
	{ title: "QoS 2, 10 connections, window 100", spec: { connections: 10, window: 100, qos: 2 }, goal: "none" },
];
const PAYLOAD_BYTES = 100;
const DEFAULT_ROUNDS = 3;
const WARMUP_SECONDS = 1.5;

export async function ingest(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const rounds = options.rounds ?? DEFAULT_ROUNDS;
	const kinds = targetsFound();
	const tables: Table[] = [];
	const raw: unknown[] = [];
	for (const { title, spec, goal } of CASES) {
		// Anew for each case: none inherits memory or files of the one before.
		const targets = [];
		for (const kind of kinds) targets.push(await kind.start(options.workplace));
		const results = await interleaved(targets, rounds, async (target, round) => {
			options.progress(`${title}: ${target.name}, round ${round + 1} of ${rounds}`);
			syncFileSystem(options.workplace.root);
			const run = { ...spec, bytes: PAYLOAD_BYTES, seconds: options.seconds, warmupSeconds: WARMUP_SECONDS };
			return measure(options.workplace, target, run);
		});
		for (const target of targets) await target.stop();
		for (const target of targets) options.workplace.remove(target.dataDirectory);
		const baseline = results[targets.findIndex(({ name }) => name === "mosquitto")];
		tables.push({
			title,
			columns: [
				"broker",
				"acknowledged when",
				"k/s",
				"spread",
				"x mosquitto",
				"p50 ms",
				"p99 ms",
				"CPU us/event",
				"load's CPU us",
			],
			rows: targets.map((target, i) => row(target, results[i] ?? [], baseline)),
			notes: [`goal: ${goal}`],
		});
		raw.push({ title, spec, results: Object.fromEntries(targets.map(({ name }, i) => [name, results[i]])) });
	}
	const peers = peerVersions();
	const notes = [
		`${PAYLOAD_BYTES} B payloads, ${rounds} rounds of ${options.seconds} s interleaved, medians; 16 partitions; every answered publish was found stored.`,
		`Peers: ${peers === "" ? "none found" : peers}.`,
	];
	const last = tables.pop() as Table;
	tables.push({ ...last, notes: [...(last.notes ?? []), ...notes] });
	return { tables, raw };
}

function row(
	target: { name: string; promise: string },
	runs: readonly Measured[],
	baseline: readonly Measured[] | undefined,
): string[] {
	const rates = runs.map(({ perSecond }) => perSecond);
	const of = (figure: (run: Measured) => number | undefined): number =>
		median(runs.map((run) => figure(run) ?? Number.NaN));
	const base = baseline && median(baseline.map(({ perSecond }) => perSecond));
	return [
		target.name,
		target.promise,
		thousands(median(rates)),
		spread(rates),
		fixed(base && median(rates) / base, 2),
		fixed(
			of(({ latencyMs }) => latencyMs?.p50),
			2,
		),
		fixed(
			of(({ latencyMs }) => latencyMs?.p99),
			2,
		),
		fixed(
			of(({ cpuUsPerEvent }) => cpuUsPerEvent),
			2,
		),
		fixed(
			of(({ ownCpuUs }) => ownCpuUs),
			2,
		),
	];
}
