/**
 * The load generator: one process of its own, so that what it costs is not the broker's. Publishes ready-made packets over
 * plain sockets and counts acknowledgements; light enough that the broker is the limit. Started by the benchmarks, which it
 * tells over IPC when the time that counts begins and ends; by hand it prints one line of JSON:
 *
 *   node test/bench/load.ts '{"port":1883,"connections":10,"window":100,"bytes":100,"qos":1,"seconds":5}'
 */
import { openMany } from "./client-socket.ts";
import { Histogram } from "./histogram.ts";
import { Publisher } from "./publisher.ts";

export interface LoadSpec {
	readonly port: number;
	readonly connections: number;
	/** Publishes that a connection has unacknowledged, at most. QoS 0: publishes in one write. */
	readonly window: number;
	/** Of payload. */
	readonly bytes: number;
	readonly qos: 0 | 1 | 2;
	/** Topics that each connection publishes to in turn, at most its window; default 1. */
	readonly topics?: number;
	/** That count. Infinity is written as 0: until the process is killed. */
	readonly seconds: number;
	/** Not counted, first. Default 1. */
	readonly warmupSeconds?: number;
	/** Publishes a second, over all connections in turn, instead of a full window. */
	readonly pace?: number;
	/** Connect and publish nothing. */
	readonly idle?: boolean;
}

export interface LoadResult {
	/** Acknowledged in the time that counts (QoS 0: read by the broker). */
	readonly events: number;
	readonly seconds: number;
	/** From PUBLISH written to acknowledgement read, milliseconds; of the first publish of each window. QoS 0 has none. */
	readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number } | undefined;
	/** Processor time of this process per event, microseconds. */
	readonly ownCpuUs: number;
	/** Over the whole run, warm-up and end included; every one was answered. */
	readonly sent: number;
}

export type LoadMessage = { readonly mark: "begin" | "end" } | { readonly result: LoadResult };

function fail(error: Error): never {
	process.stderr.write(`load: ${error.message}\n`);
	process.exit(2);
}

const sum = (publishers: readonly Publisher[], what: "sent" | "acknowledged"): number =>
	publishers.reduce((total, publisher) => total + publisher[what], 0);

export async function runLoad(spec: LoadSpec, mark: (name: "begin" | "end") => void): Promise<LoadResult> {
	const latencies = new Histogram();
	const publishers = await openMany(spec.connections, (number) =>
		Publisher.open(number, { ...spec, paced: spec.pace !== undefined, latencies, failed: fail }),
	);
	const counted = spec.qos === 0 ? "sent" : "acknowledged";
	const reached = async (): Promise<void> => {
		if (spec.qos === 0 && !spec.idle) await Promise.all(publishers.map((publisher) => publisher.barrier()));
	};
	let timer: NodeJS.Timeout | undefined;
	if (spec.pace !== undefined) {
		let turn = 0;
		timer = setInterval(() => publishers[turn++ % publishers.length]?.one(), 1000 / spec.pace);
	} else if (!spec.idle) for (const publisher of publishers) publisher.begin();
	await sleep((spec.warmupSeconds ?? 1) * 1000);

	// QoS 0: what was written before the barriers and read between them evens out, but for the little that is written meanwhile.
	let from = sum(publishers, counted);
	await reached();
	if (spec.qos !== 0) from = sum(publishers, counted);
	latencies.clear();
	const cpu = process.cpuUsage();
	const started = performance.now();
	mark("begin");
	await sleep(spec.seconds === 0 ? 2 ** 30 : spec.seconds * 1000);
	let to = sum(publishers, counted);
	await reached();
	if (spec.qos !== 0) to = sum(publishers, counted);
	mark("end");
	const seconds = (performance.now() - started) / 1000;
	const used = process.cpuUsage(cpu);
	const events = to - from;
	const [p50, p99] = [latencies.percentile(0.5), latencies.percentile(0.99)];
	const latencyMs = p50 === undefined || p99 === undefined ? undefined : { p50, p99, max: latencies.max };
	clearInterval(timer);
	if (!spec.idle) await Promise.all(publishers.map((publisher) => publisher.stop()));
	const ownCpuUs = (used.user + used.system) / Math.max(events, 1);
	return { events, seconds, latencyMs, ownCpuUs, sent: sum(publishers, "sent") };
}

function sleep(ms: number): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, ms));
}

if (import.meta.main) {
	const tell = (message: LoadMessage): void => void process.send?.(message);
	// The benchmark that started it has ended.
	process.on("disconnect", () => process.exit(0));
	const result = await runLoad(JSON.parse(process.argv[2] as string) as LoadSpec, (name) => tell({ mark: name })).catch(
		fail,
	);
	if (process.send) process.send({ result } satisfies LoadMessage, () => process.exit(0));
	else process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}
