/**
 * `upstream-delay`: from the acknowledgement of an event to the moment in which a reader with read_committed has it from the central
 * cluster, while events come steadily, at the default settings; for priority normal, which waits for company, and high, which does not.
 */
import type { BenchOptions } from "./driver.ts";
import { Histogram } from "./histogram.ts";
import { PacedPublisher } from "./paced-publisher.ts";
import { NUMBER_BYTES } from "./packets.ts";
import { fixed, median, type Table } from "./report.ts";
import { startHeadwater, type Target } from "./targets.ts";
import { followValues } from "./upstream-reader.ts";
import { type Central, DEFAULT_PARTITIONS, sending, startCentral, untilSent, withClient } from "./upstream-site.ts";

const RATES = [10, 1000];
const PRIORITIES = ["normal", "high"] as const;
type Priority = (typeof PRIORITIES)[number];
const SECONDS = 40;
/** The size of a transaction settles. */
const WARMUP_SECONDS = 12;
const QUICK_SECONDS = 6;
const QUICK_WARMUP_SECONDS = 1;
const PATIENCE_MS = 30_000;
const PAYLOAD_BYTES = 100;
const CONNECTIONS = 10;

interface Run {
	readonly priority: Priority;
	readonly rate: number;
	readonly events: number;
	readonly p50Ms: number;
	readonly p99Ms: number;
	readonly maxMs: number;
}

/** When each event was acknowledged, and how much later it was seen. */
export class DelayMeter {
	readonly delays = new Histogram();
	readonly #ackedMs: number[] = [];
	readonly #seenMs: number[] = [];
	/** Of each, both; the first `skipped` do not count. */
	whole = 0;
	readonly #skipped: number;

	constructor(skipped: number) {
		this.#skipped = skipped;
	}

	acknowledged(number: number, nowMs: number): void {
		this.#ackedMs[number] = nowMs;
		const seenMs = this.#seenMs[number];
		// The acknowledgement may come in behind the record.
		if (seenMs !== undefined) this.#add(number, 0);
	}

	seen(number: number, nowMs: number): void {
		if (this.#seenMs[number] !== undefined) throw new Error(`event ${number} came twice`);
		this.#seenMs[number] = nowMs;
		const ackedMs = this.#ackedMs[number];
		if (ackedMs !== undefined) this.#add(number, nowMs - ackedMs);
	}

	#add(number: number, delayMs: number): void {
		this.whole += 1;
		if (number >= this.#skipped) this.delays.add(delayMs);
	}
}

async function steady(
	options: BenchOptions,
	target: Target,
	central: Central,
	priority: Priority,
	rate: number,
): Promise<Run> {
	const warmup = options.quick ? QUICK_WARMUP_SECONDS : WARMUP_SECONDS;
	const meter = new DelayMeter(warmup * rate);
	const reader = await followValues(central.bootstrap, priority, DEFAULT_PARTITIONS, (value) => {
		// The first event of all was the one that made the topic.
		if (value.length >= NUMBER_BYTES) meter.seen(value.readUInt32BE(4), performance.now());
	});
	const publisher = await PacedPublisher.open({
		port: target.mqttPort,
		connections: CONNECTIONS,
		topic: `${priority}/dev#`,
		bytes: PAYLOAD_BYTES,
		acknowledged: (number) => meter.acknowledged(number, performance.now()),
	});
	const events = (warmup + (options.quick ? QUICK_SECONDS : SECONDS)) * rate;
	await publisher.run(events, rate);
	const deadline = performance.now() + PATIENCE_MS;
	while (meter.whole < events && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
	publisher.close();
	await reader.stop();
	if (meter.whole !== events) throw new Error(`${meter.whole} of ${events} events were seen`);
	const { delays } = meter;
	const [p50, p99] = [delays.percentile(0.5) as number, delays.percentile(0.99) as number];
	return { priority, rate, events: delays.count, p50Ms: p50, p99Ms: p99, maxMs: delays.max };
}

export async function upstreamDelay(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const rounds = options.rounds ?? 2;
	const central = await startCentral(options.workplace, 0);
	const rules = PRIORITIES.map((priority) => ({ topic: priority, priority }));
	const routes = PRIORITIES.map((topic) => ({ filter: `${topic}/{device}`, topic, key: "{device}" }));
	const settings = {
		"num.partitions": DEFAULT_PARTITIONS,
		...sending(central.bootstrap, JSON.stringify(rules)),
		routes: JSON.stringify(routes),
	};
	const target = await startHeadwater(options.workplace, { settings });
	// The topics are there, and the session is open.
	await withClient(target, async (client) => {
		for (const name of PRIORITIES) await client.topics.create({ name, partitions: DEFAULT_PARTITIONS });
		for (const name of PRIORITIES) await client.produce(name, [{ key: "first", value: "" }]);
		await untilSent(client, PRIORITIES.length, PATIENCE_MS);
	});
	const runs: Run[] = [];
	for (let round = 0; round < rounds; round += 1) {
		for (const priority of PRIORITIES) {
			for (const rate of RATES) {
				options.progress(`round ${round + 1} of ${rounds}: ${priority}, ${rate} events/s`);
				runs.push(await steady(options, target, central, priority, rate));
			}
		}
	}
	await target.stop();
	await central.stop();
	return {
		tables: [
			{
				title: "From acknowledged to visible in the central cluster (read_committed), ms",
				columns: ["priority", "events/s", "p50", "p99", "most", "p99 of each round"],
				rows: PRIORITIES.flatMap((priority) =>
					RATES.map((rate) => {
						const of = runs.filter((run) => run.priority === priority && run.rate === rate);
						const figure = (what: "p50Ms" | "p99Ms" | "maxMs"): string => {
							const value = median(of.map((run) => run[what]));
							return fixed(value, value < 100 ? 1 : 0);
						};
						const each = of.map(({ p99Ms }) => fixed(p99Ms, 0)).join(", ");
						return [priority, String(rate), figure("p50Ms"), figure("p99Ms"), figure("maxMs"), each];
					}),
				),
				notes: [
					`${runs[0]?.events} and ${runs[1]?.events} events of ${PAYLOAD_BYTES} B a run, ${rounds} rounds, medians; upstream.linger.ms and all else at its default; every event was seen, once.`,
				],
			},
		],
		raw: runs,
	};
}
