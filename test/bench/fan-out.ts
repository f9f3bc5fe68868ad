/** `fan-out`: deliveries a second, one publisher to a thousand subscribers and a thousand publishers to one, beside mosquitto. */
import { type BenchOptions, interleaved, runWorker } from "./driver.ts";
import type { FanResult, FanSpec } from "./fan-load.ts";
import { memoryFigures } from "./process-figures.ts";
import { fixed, median, megabytes, ratio, spread, type Table, thousands } from "./report.ts";
import { mosquittoAndHeadwater, peerVersions, type Target } from "./targets.ts";

interface Case {
	readonly title: string;
	readonly spec: Pick<FanSpec, "publishers" | "subscribers" | "qos" | "window">;
}

const MANY = 1000;
const CASES: readonly Case[] = [0, 1].flatMap((level) => {
	const qos = level as 0 | 1;
	return [
		{ title: `1 -> 1,000, QoS ${qos}, window 50`, spec: { publishers: 1, subscribers: MANY, qos, window: 50 } },
		{ title: `1 -> 1,000, QoS ${qos}, window 1`, spec: { publishers: 1, subscribers: MANY, qos, window: 1 } },
		{ title: `1,000 -> 1, QoS ${qos}, window 10`, spec: { publishers: MANY, subscribers: 1, qos, window: 10 } },
	];
});
const PAYLOAD_BYTES = 100;
const DEFAULT_ROUNDS = 3;
const WARMUP_SECONDS = 1.5;

interface Run extends FanResult {
	readonly perSecond: number;
	readonly cpuUs: number;
	readonly residentBytes: number;
}

async function measureFan(options: BenchOptions, target: Target, spec: Case["spec"]): Promise<Run> {
	const { result, cpuSeconds } = await runWorker(options.workplace, target, {
		kind: "fan",
		port: target.mqttPort,
		bytes: PAYLOAD_BYTES,
		warmupSeconds: WARMUP_SECONDS,
		seconds: options.seconds,
		...spec,
	});
	return {
		...result,
		perSecond: result.deliveries / result.seconds,
		cpuUs: (cpuSeconds * 1e6) / Math.max(1, result.deliveries),
		residentBytes: memoryFigures(target.pid).peakBytes,
	};
}

export async function fanOut(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const rounds = options.rounds ?? DEFAULT_ROUNDS;
	const kinds = mosquittoAndHeadwater();
	const tables: Table[] = [];
	const raw: unknown[] = [];
	for (const { title, spec } of CASES) {
		const targets: Target[] = [];
		for (const kind of kinds) targets.push(await kind.start(options.workplace));
		const results = await interleaved(targets, rounds, (target, round) => {
			options.progress(`${title}: ${target.name}, round ${round + 1} of ${rounds}`);
			return measureFan(options, target, spec);
		});
		for (const target of targets) await target.stop();
		for (const target of targets) options.workplace.remove(target.dataDirectory);
		const rates = results.map((runs) => runs.map(({ perSecond }) => perSecond));
		const baseline = rates[targets.findIndex(({ name }) => name === "mosquitto")];
		tables.push({
			title,
			columns: [
				"broker",
				"k deliveries/s",
				"spread",
				"x mosquitto",
				"CPU us/delivery",
				"load's CPU us",
				"most resident MB",
			],
			rows: targets.map(({ name }, i) => {
				const runs = results[i] as Run[];
				const of = (figure: (run: Run) => number): number => median(runs.map(figure));
				return [
					name,
					thousands(median(rates[i] as number[])),
					spread(rates[i] as number[]),
					ratio(rates[i] as number[], baseline),
					fixed(
						of(({ cpuUs }) => cpuUs),
						2,
					),
					fixed(
						of(({ ownCpuUs }) => ownCpuUs),
						2,
					),
					megabytes(Math.max(...runs.map(({ residentBytes }) => residentBytes))),
				];
			}),
			notes: ["goal: at least 1.0 x mosquitto"],
		});
		raw.push({ title, spec, results: Object.fromEntries(targets.map(({ name }, i) => [name, results[i]])) });
	}
	const last = tables.pop() as Table;
	const notes = [
		`${PAYLOAD_BYTES} B payloads, ${rounds} rounds of ${options.seconds} s interleaved, medians; every event came to every subscriber, in order.`,
		`Window: events of one publisher that are not delivered yet. Headwater stores each before it delivers it. Peers: ${peerVersions()}.`,
	];
	tables.push({ ...last, notes: [...(last.notes ?? []), ...notes] });
	return { tables, raw };
}
