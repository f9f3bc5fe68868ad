/** `memory`: resident bytes idle, with connections, under the full ingest load, and the same with little and much stored. */
import { type BenchOptions, FULL_LOAD, fill, interleaved, startLoad } from "./driver.ts";
import { type MemoryFigures, memoryFigures, requireOpenFiles } from "./process-figures.ts";
import { fixed, median, megabytes, type Table } from "./report.ts";
import { startHeadwater, type Target, targetsFound } from "./targets.ts";

const SETTLE_MS = 5000;
const CONNECTIONS = [1000, 8000];
const LITTLE_BYTES = 1e6;
const GOALS: Readonly<Record<string, string>> = {
	idle: "<= 60",
	"1000 connections": "<= 72",
	"8000 connections": "<= 110",
	"full load": "<= 110",
};

interface Sample extends MemoryFigures {
	readonly state: string;
	readonly target: string;
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, SETTLE_MS));

/** Idle, then with connections that published nothing. */
async function connections(options: BenchOptions, target: Target, add: (state: string) => void): Promise<void> {
	await settle();
	add("idle");
	for (const count of CONNECTIONS) {
		options.progress(`${target.name}, ${count} connections`);
		const load = startLoad(options.workplace, {
			port: target.mqttPort,
			connections: count,
			window: 1,
			bytes: 1,
			qos: 1,
			warmupSeconds: 0,
			seconds: 0,
			idle: true,
		});
		await load.begun;
		await settle();
		add(`${count} connections`);
		load.kill();
		await settle();
	}
}

/** The most that was resident at any of the samples while the load counted. */
async function underLoad(
	options: BenchOptions,
	target: Target,
	add: (state: string, figures: MemoryFigures) => void,
	state: string,
): Promise<void> {
	const samples: MemoryFigures[] = [];
	let timer: NodeJS.Timeout | undefined;
	const spec = {
		...FULL_LOAD,
		port: target.mqttPort,
		seconds: options.seconds,
	} as const;
	const load = startLoad(options.workplace, spec, (mark) => {
		if (mark === "begin") timer = setInterval(() => samples.push(memoryFigures(target.pid)), 50);
		else clearInterval(timer);
	});
	await load.result;
	const most = samples.toSorted((a, b) => a.residentBytes - b.residentBytes).at(-1);
	if (most === undefined) throw new Error("no sample of memory was taken");
	add(state, { ...most, peakBytes: memoryFigures(target.pid).peakBytes });
}

export async function memory(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	requireOpenFiles(Math.max(...CONNECTIONS) + 200);
	const { workplace } = options;
	workplace.require(options.storedBytes * 2 + 4e9);
	const rounds = options.rounds ?? 1;
	const samples: Sample[] = [];
	const kinds = targetsFound();
	await interleaved(kinds, rounds, async (kind) => {
		options.progress(`${kind.name}, idle`);
		const target = await kind.start(workplace);
		const add = (state: string, figures = memoryFigures(target.pid)): void => {
			samples.push({ state, target: kind.name, ...figures });
		};
		await connections(options, target, add);
		await target.stop();
		const fresh = await kind.start(workplace);
		const addFresh = (state: string, figures: MemoryFigures): void =>
			void samples.push({ state, target: kind.name, ...figures });
		options.progress(`${kind.name}, full load`);
		await underLoad(options, fresh, addFresh, "full load");
		await fresh.stop();
		workplace.remove(target.dataDirectory);
		workplace.remove(fresh.dataDirectory);
	});
	const stored: string[] = [];
	for (const bytes of [LITTLE_BYTES, options.storedBytes]) {
		const name = bytes >= 1e9 ? `${bytes / 1e9} GB` : `${bytes / 1e6} MB`;
		stored.push(`idle, ${name} stored`, `full load, ${name} stored`);
		const dataDirectory = workplace.folder("stored");
		const filling = await startHeadwater(workplace, { dataDirectory });
		await fill(options, filling, bytes);
		await filling.stop();
		for (let round = 0; round < rounds; round += 1) {
			const target = await startHeadwater(workplace, { dataDirectory });
			options.progress(`headwater, ${name} stored`);
			await settle();
			samples.push({ state: `idle, ${name} stored`, target: "headwater", ...memoryFigures(target.pid) });
			const add = (state: string, figures: MemoryFigures): void =>
				void samples.push({ state, target: "headwater", ...figures });
			await underLoad(options, target, add, `full load, ${name} stored`);
			await target.stop();
		}
		workplace.remove(dataDirectory);
	}
	const states = ["idle", ...CONNECTIONS.map((count) => `${count} connections`), "full load", ...stored];
	const figure = (state: string, target: string, what: keyof MemoryFigures): number =>
		median(
			samples.filter((sample) => sample.state === state && sample.target === target).map((sample) => sample[what]),
		);
	const peers = kinds.map(({ name }) => name).filter((name) => name !== "headwater");
	return {
		tables: [
			{
				title: "Resident memory, MB (10^6 bytes)",
				columns: ["state", "headwater", "goal", "anonymous", "peak", ...peers],
				rows: states.map((state) => [
					state,
					megabytes(figure(state, "headwater", "residentBytes")),
					GOALS[state.split(",")[0] as string] ?? "-",
					megabytes(figure(state, "headwater", "anonymousBytes")),
					megabytes(figure(state, "headwater", "peakBytes")),
					...peers.map((name) => megabytes(figure(state, name, "residentBytes"))),
				]),
				notes: [
					"VmRSS 5 s after the state began; under load the highest of samples every 50 ms. Anonymous: without the text of node and its libraries. Peak: VmHWM of the process so far.",
					`Per connection from ${CONNECTIONS[0]} to ${CONNECTIONS[1]}: ${["headwater", ...peers].map((name) => `${name} ${perConnection((state) => figure(state, name, "residentBytes"))} KB`).join(", ")}.`,
				],
			},
		],
		raw: samples,
	};
}

function perConnection(resident: (state: string) => number): string {
	const [few, many] = CONNECTIONS as [number, number];
	return fixed((resident(`${many} connections`) - resident(`${few} connections`)) / (many - few) / 1000, 1);
}
