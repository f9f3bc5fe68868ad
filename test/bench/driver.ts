/**
 * Runs load against targets and measures both: what the load generator counted, and the target's processor time in exactly the
 * seconds that counted. Rounds are interleaved (A B A B), so that what changes on the machine meanwhile meets all of them.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { connect } from "../../src/native/client/client.ts";
import type { LoadMessage, LoadResult, LoadSpec } from "./load.ts";
import { cpuSeconds } from "./process-figures.ts";
import type { Target } from "./targets.ts";
import type { WorkerMark, WorkerMessage, WorkerResults, WorkerSpec } from "./worker.ts";
import type { Workplace } from "./workplace.ts";

/** What the goals call full load. */
export const FULL_LOAD = { connections: 10, window: 100, bytes: 100, qos: 1 } as const;

export interface BenchOptions {
	readonly workplace: Workplace;
	/** That count, of each run. */
	readonly seconds: number;
	/** Default of each benchmark where it is undefined. */
	readonly rounds: number | undefined;
	/** Stored bytes of the large case. */
	readonly storedBytes: number;
	/** A tenth or less of whatever is not seconds, rounds or stored bytes. */
	readonly quick: boolean;
	progress(text: string): void;
}

export interface RunningLoad {
	/** The time that counts has begun; it rejects when the generator fails before. */
	readonly begun: Promise<void>;
	readonly result: Promise<LoadResult>;
	/** Ends it at once. */
	kill(): void;
}

const LOAD = path.join(import.meta.dirname, "load.ts");
const WORKER = path.join(import.meta.dirname, "worker.ts");

export function startLoad(workplace: Workplace, spec: LoadSpec, onMark?: (name: "begin" | "end") => void): RunningLoad {
	const { reached, result, kill } = startGenerator<LoadMessage, LoadResult>(workplace, LOAD, spec, (name) =>
		onMark?.(name as "begin" | "end"),
	);
	return { begun: reached("begin"), result, kill };
}

export interface RunningWorker<Result> {
	/** Resolves at that mark; rejects when the generator fails before. */
	reached(mark: WorkerMark): Promise<void>;
	readonly result: Promise<Result>;
	/** To go on from where it waits. */
	tell(): void;
	kill(): void;
	/** Ends it; resolves when it is gone. */
	end(): Promise<void>;
}

/** A generator of worker.ts. */
export function startWorker<Spec extends WorkerSpec>(
	workplace: Workplace,
	spec: Spec,
	onMark?: (name: WorkerMark) => void,
): RunningWorker<WorkerResults[Spec["kind"]]> {
	return startGenerator<WorkerMessage, WorkerResults[Spec["kind"]]>(workplace, WORKER, spec, onMark);
}

/** One run of a worker, and the target's processor time between its marks `begin` and `end`, seconds. */
export async function runWorker<Spec extends WorkerSpec>(
	workplace: Workplace,
	target: Target,
	spec: Spec,
): Promise<{ readonly result: WorkerResults[Spec["kind"]]; readonly cpuSeconds: number }> {
	const cpu: Partial<Record<WorkerMark, number>> = {};
	const worker = startWorker(workplace, spec, (name) => {
		cpu[name] = cpuSeconds(target.pid);
	});
	const result = await worker.result;
	return { result, cpuSeconds: (cpu.end ?? Number.NaN) - (cpu.begin ?? Number.NaN) };
}

export function startGenerator<Message extends { mark: WorkerMark } | { result: unknown }, Result>(
	workplace: Workplace,
	file: string,
	spec: unknown,
	onMark?: (name: WorkerMark) => void,
): RunningWorker<Result> {
	const child = workplace.adopt(
		spawn(process.execPath, [file, JSON.stringify(spec)], { stdio: ["ignore", "inherit", "inherit", "ipc"] }),
	);
	const marks = new Map<WorkerMark, PromiseWithResolvers<void>>();
	const markOf = (name: WorkerMark): PromiseWithResolvers<void> => {
		let mark = marks.get(name);
		if (mark === undefined) {
			mark = Promise.withResolvers<void>();
			// Whoever does not wait for it has killed the generator.
			mark.promise.catch(() => undefined);
			marks.set(name, mark);
			if (failure !== undefined) mark.reject(failure);
		}
		return mark;
	};
	const finished = Promise.withResolvers<Result>();
	finished.promise.catch(() => undefined);
	let failure: Error | undefined;
	child.on("message", (message: Message) => {
		if ("result" in message) finished.resolve(message.result as Result);
		else {
			onMark?.(message.mark);
			markOf(message.mark).resolve();
		}
	});
	child.once("exit", (code, signal) => {
		failure = new Error(`the load generator ended (${code ?? signal}) before it had a result`);
		for (const mark of marks.values()) mark.reject(failure);
		finished.reject(failure);
	});
	const kill = (): void => void child.kill("SIGKILL");
	return {
		reached: (name) => markOf(name).promise,
		result: finished.promise,
		tell: () => void child.send("go"),
		kill,
		async end() {
			if (child.exitCode !== null || child.signalCode !== null) return;
			const gone = once(child, "exit");
			kill();
			await gone;
		},
	};
}

export interface Measured extends LoadResult {
	readonly perSecond: number;
	/** Of the target, microseconds. */
	readonly cpuUsPerEvent: number;
}

/** One run of load. For headwater: what was answered must be stored, exactly once. */
export async function measure(workplace: Workplace, target: Target, spec: Omit<LoadSpec, "port">): Promise<Measured> {
	const storedBefore = await storedRecords(target);
	const cpu = { begin: 0, end: 0 };
	const load = startLoad(workplace, { ...spec, port: target.mqttPort }, (name) => {
		cpu[name] = cpuSeconds(target.pid);
	});
	const result = await load.result;
	await checkStored(target, storedBefore, result.sent);
	return {
		...result,
		perSecond: result.events / result.seconds,
		cpuUsPerEvent: ((cpu.end - cpu.begin) * 1e6) / Math.max(1, result.events),
	};
}

/** QoS 0 is answered when it is read; it is stored with a commit soon after. */
const STORED_AFTER_MS = 5000;

async function checkStored(target: Target, before: number, sent: number): Promise<void> {
	if (target.nativePort === undefined) return;
	const deadline = performance.now() + STORED_AFTER_MS;
	let stored: number;
	do stored = (await storedRecords(target)) - before;
	while (stored < sent && performance.now() < deadline);
	if (stored !== sent) throw new Error(`${target.name} stored ${stored} records of ${sent} that it answered`);
}

export interface Stored {
	readonly records: number;
	/** Of its segments and indexes, and of what still goes there. */
	readonly bytes: number;
}

/** All topics of a headwater, counted by offsets. */
export async function storedIn(target: Target): Promise<Stored> {
	const client = await connect({ port: target.nativePort as number });
	try {
		const topics = await client.topics.list();
		const descriptions = await Promise.all(topics.map(({ name }) => client.topics.describe(name)));
		const partitions = descriptions.flatMap((description) => description.partitions);
		return {
			records: partitions.reduce((sum, partition) => sum + partition.highWatermark, 0),
			bytes: partitions.reduce((sum, partition) => sum + partition.sizeBytes, 0),
		};
	} finally {
		await client.close();
	}
}

const storedRecords = async (target: Target): Promise<number> =>
	target.nativePort === undefined ? 0 : (await storedIn(target)).records;

const FILL_BYTES = 16_384;
const FILL_CONNECTIONS = 8;

/** Publishes until about that many bytes are stored. */
export async function fill(options: BenchOptions, target: Target, bytes: number): Promise<Stored> {
	const load = startLoad(options.workplace, {
		port: target.mqttPort,
		connections: FILL_CONNECTIONS,
		window: Math.max(1, Math.min(32, Math.floor(bytes / FILL_BYTES / FILL_CONNECTIONS))),
		bytes: FILL_BYTES,
		qos: 1,
		warmupSeconds: 0,
		seconds: 0,
	});
	await load.begun;
	try {
		for (;;) {
			const stored = await storedIn(target);
			options.progress(`storing: ${(stored.bytes / 1e9).toFixed(2)} of ${(bytes / 1e9).toFixed(2)} GB`);
			if (stored.bytes >= bytes) return stored;
			await new Promise((resolve) => setTimeout(resolve, bytes > 1e9 ? 500 : 20));
		}
	} finally {
		load.kill();
	}
}

/** `run` for each of `items`, `rounds` times, in turn; results by item. */
export async function interleaved<T, R>(
	items: readonly T[],
	rounds: number,
	run: (item: T, round: number) => Promise<R>,
): Promise<R[][]> {
	const results: R[][] = items.map(() => []);
	for (let round = 0; round < rounds; round += 1)
		for (const [i, item] of items.entries()) results[i]?.push(await run(item, round));
	return results;
}
