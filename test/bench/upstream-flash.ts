/**
 * `upstream-flash`: what sending upstream adds to the bytes written to flash while few events come: the same events with and without
 * it, in turn. The central cluster keeps its data in memory, so that its writes are not among the device's.
 */
import fs from "node:fs";
import path from "node:path";
import { type BenchOptions, FULL_LOAD, startLoad } from "./driver.ts";
import { deviceOf, deviceWrittenBytes, syncFileSystem, writtenFigures } from "./process-figures.ts";
import { fixed, median, type Table } from "./report.ts";
import { startHeadwater } from "./targets.ts";
import { type Central, DEFAULT_PARTITIONS, sending, startCentral, untilSent, withClient } from "./upstream-site.ts";

const EVENTS_PER_SECOND = 10;
const CONNECTIONS = 10;
/** Where everything stands is noted every half minute. */
const SECONDS = 90;
const QUICK_SECONDS = 5;
const WARMUP_SECONDS = 3;
const PATIENCE_MS = 60_000;
const MEMORY_FOLDER = "/dev/shm";
const BACKGROUND_SECONDS = 3;

interface Run {
	readonly events: number;
	/** Write calls, without what went to the central cluster. */
	readonly handedBytes: number;
	readonly deviceBytes: number | undefined;
	readonly othersPerSecond: number;
}

function deviceBytes(folder: string): number | undefined {
	const device = deviceOf(folder);
	return device === undefined ? undefined : deviceWrittenBytes(device.sys);
}

const difference = (a: number | undefined, b: number | undefined): number | undefined =>
	a === undefined || b === undefined ? undefined : a - b;

/** What is written once is not counted: the topic's folders, the journal's files, zeroed before their first use. */
async function warmFolder(options: BenchOptions): Promise<string> {
	const target = await startHeadwater(options.workplace, { settings: { "num.partitions": DEFAULT_PARTITIONS } });
	await startLoad(options.workplace, { ...FULL_LOAD, port: target.mqttPort, warmupSeconds: 0, seconds: 2 }).result;
	await target.stop();
	return target.dataDirectory as string;
}

async function oneRun(options: BenchOptions, central: Central | undefined): Promise<Run> {
	const { root } = options.workplace;
	const dataDirectory = await warmFolder(options);
	const rules = JSON.stringify([{ topic: "telemetry", from: "latest" }]);
	const upstream = central === undefined ? {} : sending(central.bootstrap, rules, `flash-${performance.now()}`);
	const target = await startHeadwater(options.workplace, {
		dataDirectory,
		settings: { "num.partitions": DEFAULT_PARTITIONS, ...upstream },
	});
	const load = { port: target.mqttPort, connections: CONNECTIONS, window: 100, bytes: 100, qos: 1 } as const;
	const publish = async (seconds: number): Promise<number> =>
		(await startLoad(options.workplace, { ...load, pace: EVENTS_PER_SECOND, warmupSeconds: 0, seconds }).result).sent;
	const wireBytes = async (records: number): Promise<number> => {
		if (central === undefined) return 0;
		return withClient(target, async (client) => (await untilSent(client, records, PATIENCE_MS)).total.wireSentBytes);
	};
	const first = await publish(WARMUP_SECONDS);
	const wireBefore = await wireBytes(first);
	syncFileSystem(root);
	const others = deviceBytes(root);
	await new Promise((resolve) => setTimeout(resolve, BACKGROUND_SECONDS * 1000));
	syncFileSystem(root);
	const before = { device: deviceBytes(root), handed: writtenFigures(target.pid).handedBytes };
	const events = await publish(options.quick ? QUICK_SECONDS : SECONDS);
	const wire = (await wireBytes(first + events)) - wireBefore;
	const handed = writtenFigures(target.pid).handedBytes - before.handed - wire;
	syncFileSystem(root);
	const after = deviceBytes(root);
	await target.stop();
	options.workplace.remove(dataDirectory);
	return {
		events,
		handedBytes: handed,
		deviceBytes: difference(after, before.device),
		othersPerSecond: (difference(before.device, others) ?? 0) / BACKGROUND_SECONDS,
	};
}

export async function upstreamFlash(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const rounds = options.rounds ?? 2;
	const inMemory = fs.existsSync(MEMORY_FOLDER);
	const folder = inMemory ? fs.mkdtempSync(path.join(MEMORY_FOLDER, "headwater-bench-")) : undefined;
	process.once("exit", () => {
		if (folder !== undefined) fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
	});
	const central = await startCentral(options.workplace, 0, folder);
	const runs = new Map<string, Run[]>([
		["without", []],
		["sending upstream", []],
	]);
	for (let round = 0; round < rounds; round += 1) {
		for (const [name, its] of runs) {
			options.progress(`round ${round + 1} of ${rounds}: ${name}`);
			its.push(await oneRun(options, name === "without" ? undefined : central));
		}
	}
	await central.stop();
	const figure = (name: string, bytes: (run: Run) => number | undefined): number =>
		median((runs.get(name) ?? []).map((run) => (bytes(run) ?? Number.NaN) / run.events));
	const more = (bytes: (run: Run) => number | undefined): string =>
		`${fixed((figure("sending upstream", bytes) / figure("without", bytes) - 1) * 100, 1)} %`;
	const handed = (run: Run): number => run.handedBytes;
	const device = (run: Run): number | undefined => run.deviceBytes;
	const others = median([...runs.values()].flat().map((run) => run.othersPerSecond));
	return {
		tables: [
			{
				title: `Written for ${EVENTS_PER_SECOND} events of 100 B a second, bytes an event`,
				columns: ["gateway", "write calls", "device"],
				rows: [
					...[...runs.keys()].map((name) => [name, fixed(figure(name, handed), 0), fixed(figure(name, device), 0)]),
					["sending adds (goal <= 5 %)", more(handed), more(device)],
				],
				notes: [
					`${options.quick ? QUICK_SECONDS : SECONDS} s each and until all is sent, ${rounds} rounds in turn, medians; write calls without what went to the central cluster.`,
					`${inMemory ? "The central cluster's data is in memory." : "The central cluster writes to the same disk."} Others wrote ${fixed(others / 1000, 0)} KB/s before; it is in the device's figures.`,
				],
			},
		],
		raw: Object.fromEntries(runs),
	};
}
