/**
 * `upstream-rate`: two million events of 100 B wait while the link is away; how fast they reach the central cluster, exactly once.
 * Beside it Kafka's own producer with transactions of about the same length, settings and payloads, which has its events in memory.
 */
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import type { BenchOptions } from "./driver.ts";
import { producerFigures } from "./kafka.ts";
import { KIT } from "./kafka-targets.ts";
import { cpuSeconds, memoryFigures, syncFileSystem } from "./process-figures.ts";
import { fixed, median, spread, type Table, thousands } from "./report.ts";
import { startHeadwater, type Target } from "./targets.ts";
import { fillBacklog, telemetryValue } from "./upstream-events.ts";
import { countCommitted } from "./upstream-reader.ts";
import { type Central, sending, startCentral, untilSent, withClient } from "./upstream-site.ts";

const EVENTS = 2_000_000;
const QUICK_EVENTS = 100_000;
const VALUE_BYTES = 100;
const PARTITIONS = 16;
const DEFAULT_ROUNDS = 3;
const PATIENCE_MS = 600_000;
const GOAL_PER_SECOND = 100_000;
/** What one of ours takes at about that rate. */
const TRANSACTION_MS = 250;
const PAYLOADS = 10_000;

interface Run {
	readonly perSecond: number;
	readonly cpuUsPerEvent: number;
	readonly wireBytesPerEvent: number;
	readonly residentBytes: number;
	readonly transactions: number;
}

async function ours(options: BenchOptions, target: Target, central: Central, topic: string): Promise<Run> {
	const events = options.quick ? QUICK_EVENTS : EVENTS;
	return withClient(target, async (client) => {
		await client.upstream.pause();
		await client.topics.create({ name: topic, partitions: PARTITIONS });
		const fill = { topic, partitions: PARTITIONS, valueBytes: VALUE_BYTES };
		await fillBacklog(`127.0.0.1:${target.kafkaPort}`, fill, (records) => records >= events);
		syncFileSystem(options.workplace.root);
		const { total: before } = await client.upstream.status();
		const cpu = cpuSeconds(target.pid);
		const began = performance.now();
		await client.upstream.resume();
		const { total } = await untilSent(client, before.records + events, PATIENCE_MS);
		const seconds = (performance.now() - began) / 1000;
		const used = cpuSeconds(target.pid) - cpu;
		const there = await countCommitted(central.bootstrap, topic, PARTITIONS);
		if (there !== events) throw new Error(`${there} of ${events} events are committed in ${topic}`);
		const wire = total.wireSentBytes + total.wireReceivedBytes - before.wireSentBytes - before.wireReceivedBytes;
		return {
			perSecond: events / seconds,
			cpuUsPerEvent: (used * 1e6) / events,
			wireBytesPerEvent: wire / events,
			residentBytes: memoryFigures(target.pid).residentBytes,
			transactions: total.transactions - before.transactions,
		};
	});
}

/** Its rate, after as many events as it needs to be compiled. */
async function kafkasProducer(
	options: BenchOptions,
	central: Central,
	topic: string,
	payloads: string,
): Promise<number> {
	const events = options.quick ? QUICK_EVENTS : EVENTS;
	const cli = async (...words: readonly string[]): Promise<string> => {
		const env = { ...process.env, KAFKA_HEAP: "512m" };
		return (await promisify(execFile)(path.join(KIT, "kafka-cli"), [...words], { env })).stdout;
	};
	const at = ["--bootstrap-server", central.bootstrap, "--topic", topic];
	await cli("topics", ...at, "--create", "--partitions", String(PARTITIONS));
	const warmup = events / 4;
	const said = await cli(
		...["producer-perf", ...at, "--num-records", String(events + warmup), "--warmup-records", String(warmup)],
		...["--throughput", "-1", "--payload-file", payloads],
		...["--transactional-id", topic, "--transaction-duration-ms", String(TRANSACTION_MS)],
		...["--command-property", "compression.type=zstd", "batch.size=262144", "linger.ms=50", "buffer.memory=67108864"],
	);
	return producerFigures(said).perSecond;
}

export async function upstreamRate(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const rounds = options.rounds ?? DEFAULT_ROUNDS;
	const central = await startCentral(options.workplace, 0);
	const target = await startHeadwater(options.workplace, { settings: sending(central.bootstrap, "backlog-*") });
	const payloads = path.join(options.workplace.folder("payloads"), "events");
	fs.writeFileSync(payloads, Array.from({ length: PAYLOADS }, () => telemetryValue(VALUE_BYTES)).join("\n"));
	const runs: Run[] = [];
	const kafkas: number[] = [];
	for (let round = 0; round < rounds; round += 1) {
		options.progress(`round ${round + 1} of ${rounds}`);
		runs.push(await ours(options, target, central, `backlog-${round}`));
		kafkas.push(await kafkasProducer(options, central, `kafka-${round}`, payloads));
	}
	await target.stop();
	await central.stop();
	const of = (figure: (run: Run) => number): number => median(runs.map(figure));
	const rates = runs.map(({ perSecond }) => perSecond);
	return {
		tables: [
			{
				title: "Catching up with exactly once on, events of 100 B",
				columns: [
					"sender",
					"k/s",
					"spread",
					"goal",
					"x Kafka's producer",
					"CPU us/event",
					"wire B/event",
					"resident MB",
				],
				rows: [
					[
						"headwater, from its log",
						thousands(median(rates)),
						spread(rates),
						`>= ${GOAL_PER_SECOND / 1000}`,
						fixed(median(rates) / median(kafkas), 2),
						fixed(
							of((run) => run.cpuUsPerEvent),
							2,
						),
						fixed(
							of((run) => run.wireBytesPerEvent),
							1,
						),
						fixed(of((run) => run.residentBytes) / 1e6, 0),
					],
					["Kafka's producer, from memory", thousands(median(kafkas)), spread(kafkas), "-", "1.00", "-", "-", "-"],
				],
				notes: [
					`${rounds} rounds, interleaved, medians; ${options.quick ? QUICK_EVENTS : EVENTS} events in ${PARTITIONS} partitions, ${of((run) => run.transactions)} transactions; each counted there with read_committed, once.`,
					`Ours: from "resume" until all is committed, connecting included. Kafka's: producer-perf with zstd, batches of 256 KiB, transactions of ${TRANSACTION_MS} ms, after a warm-up.`,
				],
			},
		],
		raw: { runs, kafkas },
	};
}
