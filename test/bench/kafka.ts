/**
 * `kafka`: the Kafka door beside Apache Kafka, and klite where it is found, in one run. Kafka's own perf tools load it as
 * people load Kafka; since they take most of a small machine, a light client shows what the broker itself can do.
 */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { CreateTopicsRequest, CreateTopicsResponse } from "../../src/kafka/protocol/messages/19-create-topics.ts";
import { type BenchOptions, interleaved, startGenerator } from "./driver.ts";
import { KafkaClient } from "./kafka-client.ts";
import type { KafkaLoadMessage, KafkaLoadResult, KafkaLoadSpec } from "./kafka-load.ts";
import { type KafkaTarget, KIT, kafkaTargetsFound } from "./kafka-targets.ts";
import { cpuSeconds, memoryFigures, syncFileSystem } from "./process-figures.ts";
import { fixed, median, spread, type Table, thousands } from "./report.ts";

const CASES = [
	{ recordBytes: 100, partitions: 1 },
	{ recordBytes: 100, partitions: 16 },
	{ recordBytes: 1000, partitions: 1 },
	{ recordBytes: 1000, partitions: 16 },
] as const;
type Case = (typeof CASES)[number];

const DEFAULT_ROUNDS = 3;
/** What the perf tools move in a run, roughly, bytes; and before it, to warm both sides up. */
const RUN_BYTES = 400e6;
const WARMUP_BYTES = 100e6;
/** Records whose overhead is more than their bytes take their time. */
const RECORDS_MAX = 2_000_000;
const LOAD = path.join(import.meta.dirname, "kafka-load.ts");

interface Run {
	readonly perSecond: number;
	/** Of the broker, microseconds a record. */
	readonly cpuUs: number;
	readonly residentBytes: number;
}

type Measure = (target: KafkaTarget, topic: string) => Promise<Run>;

export async function kafka(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const rounds = options.rounds ?? DEFAULT_ROUNDS;
	const kinds = kafkaTargetsFound();
	const tables: Table[] = [];
	const raw: unknown[] = [];
	for (const each of CASES) {
		const targets = [];
		for (const kind of kinds) targets.push(await kind.start(options.workplace));
		const title = `${each.recordBytes} B x ${each.partitions}`;
		for (const [name, measure, goal] of measures(options, each)) {
			const results = await interleaved(targets, rounds, async (target, round) => {
				options.progress(`${title}, ${name}: ${target.name}, round ${round + 1} of ${rounds}`);
				syncFileSystem(options.workplace.root);
				return measure(target, `${name.replaceAll(/\W+/g, "-")}-${round}`);
			});
			tables.push(tableOf(`${title}: ${name}`, goal, targets, results));
			raw.push({ ...each, name, results: Object.fromEntries(targets.map((target, i) => [target.name, results[i]])) });
		}
		for (const target of targets) await target.stop();
	}
	return { tables, raw };
}

function measures(options: BenchOptions, { recordBytes, partitions }: Case): [string, Measure, string][] {
	const scale = options.quick ? 0.1 : 1;
	const records = Math.round(Math.min(RECORDS_MAX, (RUN_BYTES * scale) / recordBytes));
	const warmup = Math.round(Math.min(RECORDS_MAX / 2, (WARMUP_BYTES * scale) / recordBytes));
	const light = (kind: KafkaLoadSpec["kind"], target: KafkaTarget, topic: string): Promise<Run> =>
		lightRun(options, target, {
			kind,
			bootstrap: target.bootstrap,
			topic,
			partitions,
			recordBytes,
			seconds: options.seconds,
			warmupSeconds: 1.5,
		});
	return [
		[
			"produce, Kafka's tool",
			async (target, topic) => {
				await createTopic(target, topic, partitions);
				return toolRun(target, "producer-perf", [
					...["--topic", topic, "--num-records", String(records + warmup), "--warmup-records", String(warmup)],
					...["--record-size", String(recordBytes), "--throughput", "-1"],
					...["--bootstrap-server", target.bootstrap, "--command-property", "acks=all"],
				]);
			},
			"at least 1.0 x kafka and 3 x kafka, syncing; CPU at most kafka's",
		],
		[
			"consume, Kafka's tool",
			(target, topic) =>
				toolRun(target, "consumer-perf", [
					...["--topic", topic.replace("consume", "produce"), "--num-records", String(records)],
					...["--bootstrap-server", target.bootstrap, "--timeout", "30000"],
				]),
			"at least 1.0 x kafka; CPU at most kafka's",
		],
		[
			"produce, light client",
			async (target, topic) => {
				await createTopic(target, topic, partitions);
				return light("produce", target, topic);
			},
			"at least klite's",
		],
		["consume, light client", (target, topic) => light("consume", target, topic.replace("consume", "produce")), "none"],
	];
}

async function createTopic(target: KafkaTarget, name: string, numPartitions: number): Promise<void> {
	const client = await KafkaClient.open(target.bootstrap);
	const { topics } = await client.request(CreateTopicsRequest, CreateTopicsResponse, 5, {
		topics: [{ name, numPartitions, replicationFactor: 1 }],
		timeoutMs: 30_000,
	});
	client.close();
	const error = topics[0]?.errorCode;
	if (error !== 0) throw new Error(`${target.name} made no topic: error ${error}`);
}

/** One run of a perf tool: its own figures, and the broker's processor time while it ran, start of the JVM included (idle then). */
async function toolRun(target: KafkaTarget, tool: string, options: readonly string[]): Promise<Run> {
	const before = cpuSeconds(target.pid);
	const env = { ...process.env, KAFKA_HEAP: "512m" };
	const { stdout } = await promisify(execFile)(path.join(KIT, "kafka-cli"), [tool, ...options], { env });
	const used = cpuSeconds(target.pid) - before;
	const figures = tool === "producer-perf" ? producerFigures(stdout) : consumerFigures(stdout);
	return {
		perSecond: figures.perSecond,
		cpuUs: (used * 1e6) / figures.records,
		residentBytes: memoryFigures(target.pid).residentBytes,
	};
}

/** The last line: "N records sent, R records/sec (...)"; with a warm-up the steady state's has fewer than all. */
export function producerFigures(stdout: string): { records: number; perSecond: number } {
	const lines = [...stdout.matchAll(/^(\d+) (?:steady state )?records sent, ([\d.]+) records\/sec.*th\b/gm)];
	const last = lines.at(-1);
	if (last === undefined) throw new Error(`the producer's tool said:\n${stdout}`);
	const most = Math.max(...lines.map(([, count]) => Number(count)));
	return { records: most, perSecond: Number(last[2]) };
}

/** A header line and one line of values, fetch.nMsg.sec the last of them. */
function consumerFigures(stdout: string): { records: number; perSecond: number } {
	const lines = stdout.trim().split("\n");
	const names = lines
		.find((line) => line.startsWith("start.time"))
		?.split(",")
		.map((name) => name.trim());
	const values = lines
		.at(-1)
		?.split(",")
		.map((value) => value.trim());
	const value = (name: string): number => Number(values?.[names?.indexOf(name) ?? -1]);
	const figures = { records: value("data.consumed.in.nMsg"), perSecond: value("fetch.nMsg.sec") };
	if (!(figures.records > 0)) throw new Error(`the consumer's tool said:\n${stdout}`);
	return figures;
}

async function lightRun({ workplace }: BenchOptions, target: KafkaTarget, spec: KafkaLoadSpec): Promise<Run> {
	const cpu = { begin: 0, end: 0 };
	const load = startGenerator<KafkaLoadMessage, KafkaLoadResult>(workplace, LOAD, spec, (name) => {
		if (name === "begin" || name === "end") cpu[name] = cpuSeconds(target.pid);
	});
	const { records, seconds } = await load.result;
	return {
		perSecond: records / seconds,
		cpuUs: ((cpu.end - cpu.begin) * 1e6) / Math.max(1, records),
		residentBytes: memoryFigures(target.pid).residentBytes,
	};
}

function tableOf(
	title: string,
	goal: string,
	targets: readonly KafkaTarget[],
	results: readonly (readonly Run[])[],
): Table {
	const baseline = results[targets.findIndex(({ name }) => name === "kafka")];
	const of = (runs: readonly Run[] | undefined, figure: (run: Run) => number): number =>
		runs === undefined ? Number.NaN : median(runs.map(figure));
	return {
		title,
		columns: ["broker", "acknowledged when", "k/s", "spread", "x kafka", "CPU us/record", "resident MB"],
		rows: targets.map(({ name, promise }, i) => {
			const runs = results[i] ?? [];
			const rate = of(runs, ({ perSecond }) => perSecond);
			return [
				name,
				promise,
				thousands(rate),
				spread(runs.map(({ perSecond }) => perSecond)),
				fixed(rate / of(baseline, ({ perSecond }) => perSecond), 2),
				fixed(
					of(runs, ({ cpuUs }) => cpuUs),
					2,
				),
				fixed(of(runs, ({ residentBytes }) => residentBytes) / 1e6, 0),
			];
		}),
		notes: [`goal: ${goal}`],
	};
}
