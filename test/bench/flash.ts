/**
 * `flash`: what reaches the disk. Under full load, as a factor of the record batches stored; with few small events, where a
 * commit is one event, as bytes per event and day, and what `commit.linger.ms` saves and costs.
 */
import { type BenchOptions, FULL_LOAD, startLoad, storedIn } from "./driver.ts";
import {
	deviceOf,
	deviceWrittenBytes,
	syncFileSystem,
	type WrittenFigures,
	writtenFigures,
} from "./process-figures.ts";
import { fixed, median, megabytes, type Table } from "./report.ts";
import { startHeadwater, type Target } from "./targets.ts";

const PARTITIONS = 16;
const EVENTS_PER_SECOND = 10;
/** One device each, as sensors are. */
const SLOW_CONNECTIONS = 10;
const LINGERS_MS = [0, 10, 100, 1000];
const DAY_SECONDS = 86_400;
const BACKGROUND_SECONDS = 3;

/** Bytes that went to the device; undefined where the folder is on none. */
type DeviceCounter = () => number | undefined;

function deviceCounter(folder: string): DeviceCounter {
	const device = deviceOf(folder);
	return () => (device === undefined ? undefined : deviceWrittenBytes(device.sys));
}

const minus = (a: number | undefined, b: number | undefined): number | undefined =>
	a === undefined || b === undefined ? undefined : a - b;

const difference = (a: WrittenFigures, b: WrittenFigures): WrittenFigures => ({
	handedBytes: a.handedBytes - b.handedBytes,
	dirtiedBytes: a.dirtiedBytes - b.dirtiedBytes,
});

/** What others write to the device meanwhile, bytes a second. */
async function background(options: BenchOptions, device: DeviceCounter): Promise<number> {
	syncFileSystem(options.workplace.root);
	const before = device();
	await new Promise((resolve) => setTimeout(resolve, BACKGROUND_SECONDS * 1000));
	syncFileSystem(options.workplace.root);
	return (minus(device(), before) ?? 0) / BACKGROUND_SECONDS;
}

/** Full load, so that what is done once is not counted: the topic's folders, the journal's files, zeroed before their first use. */
async function warmUp(options: BenchOptions, target: Target): Promise<void> {
	const spec = {
		...FULL_LOAD,
		port: target.mqttPort,
		warmupSeconds: 0,
		seconds: 2,
	} as const;
	await startLoad(options.workplace, spec).result;
	syncFileSystem(options.workplace.root);
}

interface Loaded {
	readonly batchBytes: number;
	/** Of the gateway. */
	readonly written: WrittenFigures;
	readonly deviceBytes: number | undefined;
	readonly backgroundBytesPerSecond: number;
}

/** Between two moments under load for the process; for the device from the first until the gateway has ended and all is synced. */
async function fullLoad(options: BenchOptions, target: Target, device: DeviceCounter): Promise<Loaded> {
	const backgroundBytesPerSecond = await background(options, device);
	const spec = { port: target.mqttPort, connections: 10, window: 100, bytes: 100, qos: 1 } as const;
	await warmUp(options, target);
	syncFileSystem(options.workplace.root);
	const before = { stored: (await storedIn(target)).bytes, process: writtenFigures(target.pid), device: device() };
	const load = startLoad(options.workplace, { ...spec, warmupSeconds: 0, seconds: options.seconds });
	await load.result;
	const after = { stored: (await storedIn(target)).bytes, process: writtenFigures(target.pid) };
	await target.stop();
	syncFileSystem(options.workplace.root);
	return {
		batchBytes: after.stored - before.stored,
		written: difference(after.process, before.process),
		deviceBytes: minus(device(), before.device),
		backgroundBytesPerSecond,
	};
}

interface Slow {
	readonly lingerMs: number;
	readonly events: number;
	/** Of the gateway. */
	readonly written: WrittenFigures;
	readonly deviceBytes: number | undefined;
	readonly backgroundBytesPerSecond: number;
	readonly p50Ms: number;
	readonly p99Ms: number;
}

async function fewEvents(options: BenchOptions, lingerMs: number): Promise<Slow> {
	const dataDirectory = options.workplace.folder("slow");
	const settings = { "num.partitions": PARTITIONS, "commit.linger.ms": lingerMs };
	const warm = await startHeadwater(options.workplace, { dataDirectory, settings });
	await warmUp(options, warm);
	// What is left of the warm-up in memory goes to its segments now, not among the events that count.
	await warm.stop();
	const target = await startHeadwater(options.workplace, { dataDirectory, settings });
	const device = deviceCounter(options.workplace.root);
	const spec = {
		port: target.mqttPort,
		connections: SLOW_CONNECTIONS,
		window: 100,
		bytes: 100,
		qos: 1,
		pace: EVENTS_PER_SECOND,
	} as const;
	await startLoad(options.workplace, { ...spec, warmupSeconds: 0, seconds: 1 }).result;
	const backgroundBytesPerSecond = await background(options, device);
	const before = { process: writtenFigures(target.pid), device: device() };
	const result = await startLoad(options.workplace, {
		...spec,
		warmupSeconds: 0,
		seconds: Math.max(10, options.seconds),
	}).result;
	const written = difference(writtenFigures(target.pid), before.process);
	syncFileSystem(options.workplace.root);
	const deviceBytes = minus(device(), before.device);
	await target.stop();
	options.workplace.remove(dataDirectory);
	return {
		lingerMs,
		events: result.sent,
		written,
		deviceBytes,
		backgroundBytesPerSecond,
		p50Ms: result.latencyMs?.p50 ?? Number.NaN,
		p99Ms: result.latencyMs?.p99 ?? Number.NaN,
	};
}

export async function flash(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const rounds = options.rounds ?? 1;
	const loaded: Loaded[] = [];
	const slow: Slow[] = [];
	for (let round = 0; round < rounds; round += 1) {
		options.progress("full load");
		const target = await startHeadwater(options.workplace, { settings: { "num.partitions": PARTITIONS } });
		loaded.push(await fullLoad(options, target, deviceCounter(options.workplace.root)));
		options.workplace.remove(target.dataDirectory);
		for (const lingerMs of LINGERS_MS) {
			options.progress(`${EVENTS_PER_SECOND} events a second, commit.linger.ms ${lingerMs}`);
			slow.push(await fewEvents(options, lingerMs));
		}
	}
	const factor = (bytes: (run: Loaded) => number | undefined): number =>
		median(loaded.map((run) => (bytes(run) ?? Number.NaN) / run.batchBytes));
	const others = median([...loaded, ...slow].map((run) => run.backgroundBytesPerSecond));
	return {
		tables: [
			{
				title: `Written per byte of record batch, full load, ${PARTITIONS} partitions`,
				columns: ["counted by", "factor", "goal", "MB written"],
				rows: [
					[
						"the gateway's write calls",
						fixed(
							factor((run) => run.written.handedBytes),
							2,
						),
						"<= 2.2",
						megabytes(median(loaded.map((run) => run.written.handedBytes)), 0),
					],
					[
						"the device, stop and sync included",
						fixed(
							factor((run) => run.deviceBytes),
							2,
						),
						"<= 2.2",
						megabytes(median(loaded.map((run) => run.deviceBytes ?? Number.NaN)), 0),
					],
				],
				notes: [
					`${megabytes(median(loaded.map((run) => run.batchBytes)), 0)} MB of batches in segments and indexes; QoS 1, 10 connections, window 100, 100 B.`,
					`The device's figure holds what others wrote meanwhile: ${fixed(others / 1000, 0)} KB/s when idle.`,
				],
			},
			{
				title: `${EVENTS_PER_SECOND} events of 100 B a second, one publish a second from each of ${SLOW_CONNECTIONS} connections`,
				columns: [
					"commit.linger.ms",
					"write calls B/event",
					"device B/event",
					"device MB/day",
					"others KB/s",
					"ack p50 ms",
					"ack p99 ms",
				],
				rows: LINGERS_MS.map((lingerMs) => {
					const runs = slow.filter((run) => run.lingerMs === lingerMs);
					const of = (figure: (run: Slow) => number | undefined): number =>
						median(runs.map((run) => figure(run) ?? Number.NaN));
					const perEvent = of((run) => (run.deviceBytes ?? Number.NaN) / run.events);
					return [
						lingerMs === 0 ? "0 (default)" : String(lingerMs),
						fixed(
							of((run) => run.written.handedBytes / run.events),
							0,
						),
						fixed(perEvent, 0),
						fixed((perEvent * EVENTS_PER_SECOND * DAY_SECONDS) / 1e6, 0),
						fixed(of((run) => run.backgroundBytesPerSecond) / 1000, 0),
						fixed(
							of((run) => run.p50Ms),
							2,
						),
						fixed(
							of((run) => run.p99Ms),
							2,
						),
					];
				}),
				notes: [
					"Others: written to the device by anyone in the seconds before; it is in the device's figures, not subtracted.",
					"Checkpoints come when a journal file is full, at this rate every quarter of an hour or more; they are not in it.",
				],
			},
		],
		raw: { loaded, slow },
	};
}
