/**
 * `sessions`: a backlog for persistent sessions whose clients are away. What it holds in memory and on disk, what a restart
 * takes with it and without, and how fast the clients get it when all come back at once.
 */
import type { DrainResult } from "./drain-load.ts";
import { type BenchOptions, interleaved, runWorker, startWorker } from "./driver.ts";
import { diskBytes, type MemoryFigures, memoryFigures, settledMemory } from "./process-figures.ts";
import { fixed, median, megabytes, spread, type Table, thousands } from "./report.ts";
import { mosquittoAndHeadwater, peerVersions, startHeadwater, type Target } from "./targets.ts";

const SESSIONS = 100;
const EVENTS = 1_000_000;
/** Mosquitto holds each in memory, once for each session. */
const PEER_EVENTS = 10_000;
/** Of each session, in the drain. */
const DRAINED_EACH = 20_000;
const PUBLISHERS = 50;
const WINDOW = 100;
const PAYLOAD_BYTES = 100;
const DEFAULT_RESTARTS = 5;
const NAME = "away";

interface Backlog {
	readonly target: Target;
	readonly events: number;
	readonly sessions: number;
	readonly before: MemoryFigures;
	readonly after: MemoryFigures;
	readonly perSecond: number;
	readonly dataBytes: number | undefined;
}

/** A broker that has worked a little, sessions that left, and then the events that wait for them. */
async function makeBacklog(options: BenchOptions, target: Target, events: number, sessions: number): Promise<Backlog> {
	const { workplace } = options;
	const { mqttPort: port, dataDirectory } = target;
	const fill = {
		kind: "fill",
		port,
		connections: PUBLISHERS,
		retain: false,
		bytes: PAYLOAD_BYTES,
		window: WINDOW,
	} as const;
	await startWorker(workplace, { ...fill, events: Math.ceil(events / 4), topics: { split: "before/dev##" } }).result;
	if (sessions > 0) {
		const holder = startWorker(workplace, {
			kind: "hold",
			port,
			name: NAME,
			connections: sessions,
			client: "persistent",
			subscriptions: { shape: "all", count: sessions },
			qos: 1,
			leave: true,
		});
		await holder.reached("connected");
		holder.tell();
		await holder.result;
	}
	const before = await settledMemory(target.pid);
	const diskBefore = dataDirectory === undefined ? undefined : diskBytes(dataDirectory);
	const filled = await startWorker(workplace, { ...fill, events, topics: "each" }).result;
	const after = await settledMemory(target.pid);
	const dataBytes = dataDirectory === undefined ? undefined : diskBytes(dataDirectory) - (diskBefore ?? 0);
	return {
		target,
		events: filled.events,
		sessions,
		before,
		after,
		perSecond: filled.events / filled.seconds,
		dataBytes,
	};
}

interface Restarts {
	readonly clean: number[];
	readonly killed: number[];
	target: Target;
}

async function restart(options: BenchOptions, restarts: Restarts, how: "clean" | "killed"): Promise<void> {
	const { dataDirectory } = restarts.target;
	await (how === "clean" ? restarts.target.stop() : restarts.target.kill());
	const started = performance.now();
	restarts.target = await startHeadwater(options.workplace, { dataDirectory: dataDirectory as string });
	restarts[how].push(performance.now() - started);
}

interface Drained extends DrainResult {
	readonly name: string;
	readonly events: number;
	readonly cpuUs: number;
	readonly peakBytes: number;
}

async function drain(options: BenchOptions, target: Target, events: number, eventsEach: number): Promise<Drained> {
	options.progress(`${target.name}, the sessions come back`);
	const { result, cpuSeconds } = await runWorker(options.workplace, target, {
		kind: "drain",
		port: target.mqttPort,
		name: NAME,
		sessions: SESSIONS,
		publishers: PUBLISHERS,
		seconds: options.seconds,
		eventsEach,
	});
	const cpuUs = (cpuSeconds * 1e6) / result.overall.deliveries;
	return { ...result, name: target.name, events, cpuUs, peakBytes: memoryFigures(target.pid).peakBytes };
}

export async function sessions(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const { workplace } = options;
	const scale = options.quick ? 10 : 1;
	workplace.require(3e9);
	const backlogs: Backlog[] = [];
	const drained: Drained[] = [];
	for (const kind of mosquittoAndHeadwater().filter(({ name }) => name !== "headwater")) {
		const target = await kind.start(workplace);
		options.progress(`${kind.name}, a backlog`);
		backlogs.push(await makeBacklog(options, target, PEER_EVENTS / scale, SESSIONS));
		drained.push(await drain(options, target, PEER_EVENTS / scale, PEER_EVENTS / scale));
		await target.stop();
	}
	const restarts: Restarts[] = [];
	for (const count of [0, SESSIONS]) {
		const target = await startHeadwater(workplace);
		options.progress(`headwater, a backlog for ${count} sessions`);
		backlogs.push(await makeBacklog(options, target, EVENTS / scale, count));
		restarts.push({ clean: [], killed: [], target });
	}
	const rounds = options.rounds ?? DEFAULT_RESTARTS;
	for (const how of ["clean", "killed"] as const) {
		await interleaved(restarts, rounds, (each, round) => {
			options.progress(`headwater, restart (${how}), round ${round + 1} of ${rounds}`);
			return restart(options, each, how);
		});
	}
	const [without, withBacklog] = restarts as [Restarts, Restarts];
	await without.target.stop();
	drained.push(await drain(options, withBacklog.target, EVENTS / scale, DRAINED_EACH / scale));
	await withBacklog.target.stop();
	for (const { target } of restarts) workplace.remove(target.dataDirectory);
	const raw = {
		backlogs: backlogs.map(({ target, ...backlog }) => ({ broker: target.name, ...backlog })),
		restarts: restarts.map(({ clean, killed }, i) => ({ sessions: i * SESSIONS, clean, killed })),
		drained,
	};
	return { tables: [memoryTable(backlogs), restartTable(without, withBacklog), drainTable(options, drained)], raw };
}

function memoryTable(backlogs: readonly Backlog[]): Table {
	const row = ({ target, events, sessions: count, before, after, perSecond, dataBytes }: Backlog): string[] => {
		const grown = after.residentBytes - before.residentBytes;
		return [
			`${target.name}, ${events} events, ${count} sessions`,
			megabytes(before.residentBytes),
			megabytes(after.residentBytes),
			megabytes(grown),
			target.name === "headwater" ? "< 5" : "-",
			fixed(grown / events, 0),
			fixed(dataBytes && dataBytes / events, 0),
			thousands(perSecond),
		];
	};
	return {
		title: "Events that wait for sessions whose clients are away",
		columns: [
			"broker",
			"before MB",
			"after MB",
			"grown MB",
			"goal",
			"resident B/event",
			"disk B/event",
			"published k/s",
		],
		rows: backlogs.map(row),
		notes: [
			`VmRSS at rest; before: a quarter as many other events were published, the sessions subscribed to all of what comes and left. QoS 1, ${PAYLOAD_BYTES} B.`,
		],
	};
}

function restartTable(without: Restarts, withBacklog: Restarts): Table {
	const row = (name: string, how: "clean" | "killed", values: Restarts, goal: string): string[] => [
		name,
		fixed(median(values[how]), 0),
		goal,
		fixed(Math.min(...values[how]), 0),
		fixed(Math.max(...values[how]), 0),
		spread(values[how]),
	];
	const rows = (["clean", "killed"] as const).flatMap((how) => {
		const after = how === "clean" ? "after a clean stop" : "after kill -9 at rest";
		return [
			row(`${after}, no sessions`, how, without, "-"),
			row(`${after}, ${SESSIONS} sessions that all wait for all`, how, withBacklog, "no longer"),
		];
	});
	return {
		title: "Restart with that backlog, ms until ready",
		columns: ["state", "median", "goal", "least", "most", "spread"],
		rows,
	};
}

function drainTable(options: BenchOptions, drained: readonly Drained[]): Table {
	const row = (each: Drained): string[] => [
		`${each.name}, ${each.events} events`,
		thousands(each.first.deliveries / each.first.seconds),
		thousands(each.overall.deliveries / each.overall.seconds),
		each.name === "headwater" ? ">= 50" : "-",
		fixed(each.overall.seconds, 1),
		fixed(each.cpuUs, 2),
		fixed(each.ownCpuUs, 2),
		fixed(each.firstEventMs, 0),
		`${each.leastEach} to ${each.mostEach}`,
		megabytes(each.peakBytes),
	];
	return {
		title: `${SESSIONS} sessions come back at once`,
		columns: [
			"broker",
			`k deliveries/s, ${options.seconds} s`,
			"overall",
			"goal",
			"seconds",
			"CPU us/delivery",
			"load's CPU us",
			"all have one, ms",
			"each has by then",
			"most resident MB",
		],
		rows: drained.map(row),
		notes: [
			"From the first CONNECT on, QoS 1, acknowledged as they are read. Overall: until each session has as many as are wanted",
			`of it (mosquitto: all), none missing, repeated or out of order. Peers: ${peerVersions()}.`,
		],
	};
}
