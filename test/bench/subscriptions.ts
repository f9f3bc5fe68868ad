/**
 * `subscriptions`: what a publish costs beside 0 to 100,000 subscriptions with wildcards that do not match it, and what a
 * subscription holds. All brokers of all sizes stand at the same time and take turns.
 */
import { type BenchOptions, interleaved, type Measured, measure, type RunningWorker, startWorker } from "./driver.ts";
import { settledMemory } from "./process-figures.ts";
import { fixed, median, ratio, spread, type Table, thousands } from "./report.ts";
import { mosquittoAndHeadwater, peerVersions, type Target } from "./targets.ts";

const COUNTS = [0, 1000, 10_000, 100_000];
const QUICK_COUNTS = [0, 1000, 10_000];
/** 1,000 subscriptions each at most, the gateway's default limit. */
const CONNECTIONS = 100;
const DEFAULT_ROUNDS = 3;
const LOADS = [
	{ title: "10 topics", load: { connections: 10, window: 100, bytes: 100, qos: 1 } },
	// More than a broker may remember the subscribers of.
	{ title: "20,000 topics", load: { connections: 10, window: 2000, topics: 2000, bytes: 100, qos: 1 } },
] as const;

interface Stand {
	readonly target: Target;
	readonly holder: RunningWorker<unknown>;
	readonly count: number;
	/** Of the subscriptions alone. */
	readonly grownBytes: number;
}

async function stand(options: BenchOptions, target: Target, count: number): Promise<Stand> {
	const holder = startWorker(options.workplace, {
		kind: "hold",
		port: target.mqttPort,
		name: "bench",
		connections: CONNECTIONS,
		client: "clean",
		subscriptions: { shape: "mixed", count },
		qos: 1,
		leave: false,
	});
	await holder.reached("connected");
	const before = await settledMemory(target.pid);
	holder.tell();
	await holder.reached("subscribed");
	const after = await settledMemory(target.pid);
	return { target, holder, count, grownBytes: after.residentBytes - before.residentBytes };
}

export async function subscriptions(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const rounds = options.rounds ?? DEFAULT_ROUNDS;
	const counts = options.quick ? QUICK_COUNTS : COUNTS;
	const stands: Stand[] = [];
	for (const kind of mosquittoAndHeadwater()) {
		for (const count of counts) {
			options.progress(`${kind.name}, ${count} subscriptions`);
			stands.push(await stand(options, await kind.start(options.workplace), count));
		}
	}
	const tables: Table[] = [];
	const raw: unknown[] = [];
	for (const { title, load } of LOADS) {
		const results = await interleaved(stands, rounds, ({ target, count }, round) => {
			options.progress(`${title}: ${target.name}, ${count} subscriptions, round ${round + 1} of ${rounds}`);
			return measure(options.workplace, target, { ...load, seconds: options.seconds });
		});
		const rates = results.map((runs) => runs.map(({ perSecond }) => perSecond));
		const row = ({ target, count, grownBytes }: Stand, i: number): string[] => {
			const runs = results[i] as Measured[];
			const none = rates[stands.findIndex((other) => other.target.name === target.name && other.count === 0)];
			const peer = rates[stands.findIndex((other) => other.target.name === "mosquitto" && other.count === count)];
			return [
				`${target.name}, ${count}`,
				thousands(median(rates[i] as number[])),
				spread(rates[i] as number[]),
				ratio(rates[i] as number[], none),
				ratio(rates[i] as number[], peer),
				fixed(median(runs.map(({ cpuUsPerEvent }) => cpuUsPerEvent)), 2),
				count === 0 ? "-" : fixed(grownBytes / count, 0),
			];
		};
		tables.push({
			title: `Publishes to ${title} beside subscriptions that do not match`,
			columns: [
				"broker, subscriptions",
				"k/s",
				"spread",
				"x none",
				"x mosquitto",
				"CPU us/publish",
				"resident B/subscription",
			],
			rows: stands.map(row),
			notes: ["goal: flat"],
		});
		const runs = stands.map(({ target, count, grownBytes }, i) => ({
			broker: target.name,
			count,
			grownBytes,
			runs: results[i],
		}));
		raw.push({ title, load, results: runs });
	}
	for (const { target, holder } of stands) {
		await holder.end();
		await target.stop();
		options.workplace.remove(target.dataDirectory);
	}
	const last = tables.pop() as Table;
	const notes = [
		`QoS 1, 10 connections, 100 B, ${rounds} rounds of ${options.seconds} s interleaved, medians; ${CONNECTIONS} connections share the subscriptions, of six shapes.`,
		`Resident: at rest after the last SUBACK, less the same gateway with those connections and no subscription. Peers: ${peerVersions()}.`,
	];
	tables.push({ ...last, notes: [...(last.notes ?? []), ...notes] });
	return { tables, raw };
}
