/** `retained`: a million retained messages. What they hold in memory, how fast they are taken, and how fast subscribers get them. */
import type { CollectResult } from "./collect-load.ts";
import { type BenchOptions, interleaved, runWorker, startWorker } from "./driver.ts";
import { diskBytes, type MemoryFigures, memoryFigures, settledMemory } from "./process-figures.ts";
import { fixed, median, megabytes, type Table, thousands } from "./report.ts";
import { mosquittoAndHeadwater, peerVersions, type Target } from "./targets.ts";

const PAYLOAD_BYTES = 100;
const CONNECTIONS = 10;
const WINDOW = 100;
const DEFAULT_ROUNDS = 3;

/** Numbers 0 to `each`³ - 1 are topics of three levels, two digits each. */
interface Scale {
	/** Topics in each level. */
	readonly each: number;
	readonly template: string;
	readonly digits: number;
}
const FULL: Scale = { each: 100, template: "retained/##/##/##", digits: 2 };
const QUICK: Scale = { each: 10, template: "retained/#/#/#", digits: 1 };

interface Width {
	readonly filter: string;
	readonly events: number;
	readonly sequenceSum: number;
}

/** Filters from one topic to all; the numbers behind them are arithmetic series. */
function widths({ each, digits }: Scale): Width[] {
	const level = (n: number): string => String(n).padStart(digits, "0");
	const [a, b, c] = [each >> 1, each >> 2, each - 1];
	const series = (first: number, step: number, events: number): { events: number; sequenceSum: number } => ({
		events,
		sequenceSum: first * events + (step * events * (events - 1)) / 2,
	});
	const last = a * each ** 2 + b * each + c;
	return [
		{ filter: `retained/${level(a)}/${level(b)}/${level(c)}`, ...series(last, 1, 1) },
		{ filter: `retained/${level(a)}/${level(b)}/+`, ...series(last - c, 1, each) },
		{ filter: `retained/${level(a)}/#`, ...series(a * each ** 2, 1, each ** 2) },
		{ filter: `retained/+/+/${level(c)}`, ...series(c, each, each ** 2) },
		{ filter: "retained/#", ...series(0, 1, each ** 3) },
	];
}

interface Stored {
	readonly target: Target;
	readonly before: MemoryFigures;
	readonly after: MemoryFigures;
	readonly again: MemoryFigures;
	readonly perSecond: number;
	readonly againPerSecond: number;
	readonly cpuUs: number;
	readonly dataBytes: number | undefined;
}

async function store(options: BenchOptions, target: Target, scale: Scale): Promise<Stored> {
	const events = scale.each ** 3;
	const spec = {
		kind: "fill",
		port: target.mqttPort,
		connections: CONNECTIONS,
		bytes: PAYLOAD_BYTES,
		window: WINDOW,
	} as const;
	options.progress(`${target.name}, warming up`);
	await startWorker(options.workplace, {
		...spec,
		events: events / 4,
		retain: false,
		topics: { split: "before/dev##" },
	}).result;
	const before = await settledMemory(target.pid);
	const disk = (): number => (target.dataDirectory === undefined ? 0 : diskBytes(target.dataDirectory));
	const diskBefore = disk();
	const retain = { ...spec, events, retain: true, topics: { split: scale.template } } as const;
	options.progress(`${target.name}, ${events} retained messages`);
	const first = await runWorker(options.workplace, target, retain);
	const after = await settledMemory(target.pid);
	const dataBytes = target.dataDirectory === undefined ? undefined : disk() - diskBefore;
	options.progress(`${target.name}, all of them again`);
	const second = await runWorker(options.workplace, target, retain);
	return {
		target,
		before,
		after,
		again: await settledMemory(target.pid),
		perSecond: events / first.result.seconds,
		againPerSecond: events / second.result.seconds,
		cpuUs: (first.cpuSeconds * 1e6) / events,
		dataBytes,
	};
}

export async function retained(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const scale = options.quick ? QUICK : FULL;
	const rounds = options.rounds ?? DEFAULT_ROUNDS;
	options.workplace.require(3e9);
	const stored: Stored[] = [];
	for (const kind of mosquittoAndHeadwater()) {
		stored.push(await store(options, await kind.start(options.workplace), scale));
	}
	const tables = [memoryTable(stored, scale)];
	const raw: Record<string, unknown> = {
		stored: stored.map(({ target, ...each }) => ({ broker: target.name, ...each })),
	};
	const rows: string[][] = [];
	for (const width of widths(scale)) {
		const results = await interleaved(stored, rounds, async ({ target }, round) => {
			options.progress(`${width.filter}: ${target.name}, round ${round + 1} of ${rounds}`);
			const run = await runWorker(options.workplace, target, {
				kind: "collect",
				port: target.mqttPort,
				qos: 1,
				...width,
			});
			return { ...run.result, cpuSeconds: run.cpuSeconds, peakBytes: memoryFigures(target.pid).peakBytes };
		});
		raw[width.filter] = stored.map(({ target }, i) => ({ broker: target.name, runs: results[i] }));
		for (const [i, { target }] of stored.entries()) {
			const runs = results[i] as (CollectResult & { cpuSeconds: number; peakBytes: number })[];
			const allMs = median(runs.map((run) => run.allMs));
			rows.push([
				`${width.filter}: ${target.name}`,
				String(width.events),
				fixed(median(runs.map((run) => run.firstMs)), 1),
				fixed(allMs, 1),
				thousands((width.events * 1000) / allMs),
				fixed((median(runs.map((run) => run.cpuSeconds)) * 1e6) / width.events, 1),
				megabytes(Math.max(...runs.map((run) => run.peakBytes))),
			]);
		}
	}
	for (const { target } of stored) {
		await target.stop();
		options.workplace.remove(target.dataDirectory);
	}
	tables.push({
		title: "A new subscription gets what is retained",
		columns: ["filter: broker", "messages", "first ms", "all ms", "k/s", "CPU us/message", "most resident MB so far"],
		rows,
		notes: [
			`QoS 1, ${rounds} rounds interleaved, medians; every message came, once. CPU to 10 ms: it says nothing of few messages.`,
			`Peers: ${peerVersions()}.`,
		],
	});
	return { tables, raw };
}

function memoryTable(stored: readonly Stored[], scale: Scale): Table {
	const events = scale.each ** 3;
	return {
		title: `${events.toLocaleString("en")} retained messages of ${PAYLOAD_BYTES} B`,
		columns: [
			"broker",
			"before MB",
			"after MB",
			"all again MB",
			"goal",
			"resident B/message",
			"disk B/message",
			"published k/s",
			"again k/s",
			"CPU us/publish",
		],
		rows: stored.map((each) => [
			each.target.name,
			megabytes(each.before.residentBytes),
			megabytes(each.after.residentBytes),
			megabytes(each.again.residentBytes),
			each.target.name === "headwater" ? "flat" : "-",
			fixed((each.after.residentBytes - each.before.residentBytes) / events, 1),
			fixed(each.dataBytes && each.dataBytes / events, 0),
			thousands(each.perSecond),
			thousands(each.againPerSecond),
			fixed(each.cpuUs, 2),
		]),
		notes: [
			`QoS 1, ${CONNECTIONS} connections, window ${WINDOW}. VmRSS at rest; before: a quarter as many events without RETAIN were published.`,
		],
	};
}
