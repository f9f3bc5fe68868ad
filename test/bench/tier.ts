/**
 * `tier`: tiered storage with a MinIO on the same machine. What uploads and reads back get out of the store beside a plain loop over the
 * same client, how many requests they cost, what they need of memory, how long a restore takes, and what ingest feels of it.
 */
import fs from "node:fs";
import path from "node:path";
import { type Client, connect } from "../../src/native/client/client.ts";
import { type BenchOptions, FULL_LOAD, interleaved, startLoad } from "./driver.ts";
import { memoryFigures, settledMemory } from "./process-figures.ts";
import { fixed, median, megabytes, type Table } from "./report.ts";
import { startHeadwater, type Target } from "./targets.ts";
import { drainTopic, fetchAt, fillTopic, type Payload } from "./tier-data.ts";
import { measureRestore } from "./tier-restore.ts";
import { type BenchStore, CountingProxy, plainRead, plainUpload, startBenchStore } from "./tier-store.ts";

const TOPIC = "tiered";
const PARTITIONS = 8;
const DEFAULT_ROUNDS = 3;
const RUN_BYTES = 256e6;
const QUICK_BYTES = 24e6;
const SAMPLE_MS = 50;
/** After its last call the store's process ends: 30 s, and a little. */
const CHILD_GONE_MS = 32_000;
const RANDOM_FETCHES = 20;
const EVICTION_MS = 30_000;
/** For what is read ahead because of a fetch. */
const MOMENT_MS = 500;

type Settings = Record<string, string | number>;

const TIERED: Settings = {
	"log.remote.storage.enable": "true",
	"log.local.retention.bytes": 0,
	"log.segment.bytes": 1_048_576,
	"message.max.bytes": 1_048_576,
	"log.retention.check.interval.ms": 500,
	"journal.file.bytes": 8_388_608,
	"tier.schedule": "never",
	"tier.upload.bytes": 0,
};

interface ThroughputRun {
	readonly upload: number;
	readonly plainUpload: number;
	/** Record batches a second, before compression. */
	readonly uploadRaw: number;
	readonly read: number;
	readonly plainRead: number;
	readonly readRaw: number;
}

interface MemoryRun {
	readonly idle: number;
	readonly most: number;
	/** The gateway's and the private part of its child's at the same time. */
	readonly mostTogether: number;
	readonly child: { readonly resident: number; readonly proportional: number; readonly private: number };
	readonly after: number;
}

async function withClient<T>(target: Target, work: (client: Client) => Promise<T>): Promise<T> {
	const client = await connect({ port: target.nativePort as number, timeoutMs: 600_000 });
	try {
		return await work(client);
	} finally {
		await client.close();
	}
}

const bootstrapOf = (target: Target): string => `127.0.0.1:${target.kafkaPort}`;
const runTier = (target: Target): Promise<void> => withClient(target, (client) => client.tier.run());
const createTopic = (target: Target, name: string, partitions: number): Promise<unknown> =>
	withClient(target, (client) => client.topics.create({ name, partitions }));

/** Where each partition begins on the card. */
const localStarts = (target: Target): Promise<number[]> =>
	withClient(target, async (client) =>
		(await client.topics.describe(TOPIC)).partitions.map(({ localStartOffset }) => localStartOffset),
	);

/** Started again when all that is uploaded has left the card, but for active segments, with nothing in the cache. */
async function startCold(options: BenchOptions, target: Target, settings: Settings): Promise<Target> {
	const { dataDirectory = "" } = target;
	await target.stop();
	const emptying = await startHeadwater(options.workplace, { dataDirectory, settings });
	const deadline = performance.now() + EVICTION_MS;
	for (let before: number[] = [], quiet = 0; quiet < 3; ) {
		await new Promise((resolve) => setTimeout(resolve, 1000));
		const now = await localStarts(emptying);
		quiet = now.every((start, i) => start > 0 && start === before[i]) ? quiet + 1 : 0;
		before = now;
		if (performance.now() > deadline) throw new Error(`records do not leave the card: it begins at ${now}`);
	}
	await emptying.stop();
	fs.rmSync(path.join(dataDirectory, "tier-cache"), { recursive: true, force: true });
	return startHeadwater(options.workplace, { dataDirectory, settings });
}

async function throughput(
	options: BenchOptions,
	store: BenchStore,
	payload: Payload,
	id: string,
): Promise<ThroughputRun> {
	const bytes = options.quick ? QUICK_BYTES : RUN_BYTES;
	const settings = { ...TIERED, ...store.settings(), "gateway.id": id };
	let target = await startHeadwater(options.workplace, { settings });
	await createTopic(target, TOPIC, PARTITIONS);
	options.progress(`${payload}: filling`);
	const raw = await fillTopic(bootstrapOf(target), { topic: TOPIC, partitions: PARTITIONS, payload, bytes });
	options.progress(`${payload}: uploading`);
	// The child's start, the claim and the first bundle's snapshot are of the first run alone.
	const began = performance.now();
	await runTier(target);
	const seconds = (performance.now() - began) / 1000;
	const stored = (await withClient(target, (client) => client.tier.status())).bytes;
	options.progress(`${payload}: plain loop`);
	const plainUploaded = await plainUpload(store, stored);
	target = await startCold(options, target, settings);
	options.progress(`${payload}: reading`);
	const drained = await drainTopic(bootstrapOf(target), TOPIC, await localStarts(target));
	options.progress(`${payload}: plain loop`);
	const plain = await plainRead(store, stored);
	await target.stop();
	options.workplace.remove(target.dataDirectory);
	const readRaw = drained.bytes / drained.seconds;
	return {
		upload: stored / seconds,
		plainUpload: plainUploaded,
		uploadRaw: raw / seconds,
		read: (readRaw * stored) / raw,
		plainRead: plain,
		readRaw,
	};
}

interface RequestRow {
	readonly what: string;
	readonly put: number;
	readonly list: number;
	readonly get: number;
	readonly goal: string;
}

async function requests(options: BenchOptions, store: BenchStore): Promise<RequestRow[]> {
	const rows: RequestRow[] = [];
	const proxy = new CountingProxy(store.endpoint);
	await proxy.start();
	for (const partitions of options.quick ? [1, 100] : [1, 100, 1000]) {
		options.progress(`requests of an upload, ${partitions} partitions`);
		const settings = { ...TIERED, ...store.settings(proxy.endpoint), "gateway.id": `requests-${partitions}` };
		const target = await startHeadwater(options.workplace, { settings });
		await createTopic(target, TOPIC, partitions);
		const fill = { topic: TOPIC, partitions, payload: "telemetry" as const, bytes: Math.max(1, partitions) * 65_536 };
		await fillTopic(bootstrapOf(target), { ...fill, bytes: Math.min(fill.bytes, 64e6) });
		await runTier(target);
		// The first one makes the claim; those that follow are all alike.
		await fillTopic(bootstrapOf(target), { ...fill, bytes: 4e6 });
		const { put, list, get } = await proxy.during(() => runTier(target), MOMENT_MS);
		rows.push({ what: `an upload of 4 MB, ${partitions} partitions`, put, list, get, goal: "put <= 2" });
		await target.stop();
		options.workplace.remove(target.dataDirectory);
	}
	const settings = { ...TIERED, ...store.settings(proxy.endpoint), "gateway.id": "requests-reads" };
	let target = await startHeadwater(options.workplace, { settings });
	await createTopic(target, TOPIC, PARTITIONS);
	const bytes = options.quick ? QUICK_BYTES : RUN_BYTES;
	await fillTopic(bootstrapOf(target), { topic: TOPIC, partitions: PARTITIONS, payload: "telemetry", bytes });
	await runTier(target);
	target = await startCold(options, target, settings);
	options.progress("requests of cold fetches");
	const bootstrap = bootstrapOf(target);
	const first = await proxy.during(() => fetchAt(bootstrap, TOPIC, 0, 0));
	rows.push({ what: "a cold first record", ...first, goal: "get <= 2" });
	const ends = await localStarts(target);
	const random: number[] = [];
	for (let i = 0; i < RANDOM_FETCHES; i += 1) {
		const partition = 1 + (i % (PARTITIONS - 1));
		const offset = Math.floor(Math.random() * (ends[partition] as number));
		random.push((await proxy.during(() => fetchAt(bootstrap, TOPIC, partition, offset), MOMENT_MS)).get);
	}
	const most = { put: 0, list: 0, get: Math.max(...random) };
	rows.push({ what: `the most of ${RANDOM_FETCHES} random cold fetches`, ...most, goal: "get <= 1" });
	await target.stop();
	options.workplace.remove(target.dataDirectory);
	proxy.stop();
	return rows;
}

interface ChildFigures {
	readonly resident: number;
	readonly proportional: number;
	readonly private: number;
}

/** Of the process with the store; undefined while there is none. */
function childFigures(pid: number): ChildFigures | undefined {
	try {
		const [child] = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
		const rollup = fs.readFileSync(`/proc/${child}/smaps_rollup`, "utf8");
		const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(rollup)?.[1]) * 1024;
		return {
			resident: field("Rss"),
			proportional: field("Pss"),
			private: field("Private_Clean") + field("Private_Dirty"),
		};
	} catch {
		return undefined;
	}
}

async function memory(options: BenchOptions, store: BenchStore): Promise<MemoryRun> {
	const bytes = options.quick ? QUICK_BYTES : RUN_BYTES;
	const settings = { ...TIERED, ...store.settings(), "gateway.id": "memory" };
	let target = await startHeadwater(options.workplace, { settings });
	await createTopic(target, TOPIC, PARTITIONS);
	await fillTopic(bootstrapOf(target), { topic: TOPIC, partitions: PARTITIONS, payload: "incompressible", bytes });
	await target.stop();
	// A gateway that has done nothing yet, with all of it still to go.
	target = await startHeadwater(options.workplace, { dataDirectory: target.dataDirectory as string, settings });
	options.progress("memory: idle");
	const idle = (await settledMemory(target.pid)).residentBytes;
	let most = 0;
	let mostTogether = 0;
	let child: ChildFigures = { resident: 0, proportional: 0, private: 0 };
	const timer = setInterval(() => {
		const own = memoryFigures(target.pid).residentBytes;
		const other = childFigures(target.pid);
		most = Math.max(most, own);
		mostTogether = Math.max(mostTogether, own + (other?.private ?? 0));
		if (other !== undefined && other.resident > child.resident) child = other;
	}, SAMPLE_MS);
	options.progress("memory: uploading");
	await runTier(target);
	await drainTopic(bootstrapOf(target), TOPIC, await localStarts(target));
	clearInterval(timer);
	options.progress("memory: afterwards");
	await new Promise((resolve) => setTimeout(resolve, CHILD_GONE_MS));
	if (childFigures(target.pid) !== undefined) throw new Error("the store's process has not ended");
	const after = (await settledMemory(target.pid)).residentBytes;
	await target.stop();
	options.workplace.remove(target.dataDirectory);
	return { idle, most, mostTogether, child, after };
}

const INGEST = [
	{ name: "1,000 events/s of 4 KB", load: { connections: 10, window: 10, bytes: 4096, qos: 1, pace: 1000 } },
	{ name: "full load, 100 B", load: FULL_LOAD },
] as const;

interface IngestRun {
	readonly p50: number;
	readonly p99: number;
	readonly perSecond: number;
	readonly uploadedBytes: number;
}

async function ingest(options: BenchOptions, store: BenchStore): Promise<Record<string, Record<string, IngestRun[]>>> {
	const common = { "log.segment.bytes": 4_194_304, "message.max.bytes": 1_048_576, "journal.file.bytes": 8_388_608 };
	const tiered = {
		...common,
		...store.settings(),
		"gateway.id": "ingest",
		"log.remote.storage.enable": "true",
		"log.local.retention.bytes": 0,
		"log.retention.check.interval.ms": 1000,
		"tier.upload.bytes": 1_048_576,
	};
	const targets = {
		without: await startHeadwater(options.workplace, { settings: common }),
		tiered: await startHeadwater(options.workplace, { settings: tiered }),
	};
	const found: Record<string, Record<string, IngestRun[]>> = {};
	// Runs begin every five seconds at the earliest.
	const seconds = Math.max(options.seconds, 12);
	for (const { name, load } of INGEST) {
		const names = ["without", "tiered"] as const;
		const results = await interleaved(names, options.rounds ?? DEFAULT_ROUNDS, async (which): Promise<IngestRun> => {
			const target = targets[which];
			options.progress(`ingest, ${name}, ${which}`);
			const uploaded = async (): Promise<number> =>
				which === "without"
					? 0
					: (await withClient(target, (client) => client.tier.status())).topics.reduce(
							(sum, each) => sum + each.tieredBytes,
							0,
						);
			const before = await uploaded();
			const {
				events,
				seconds: took,
				latencyMs,
			} = await startLoad(options.workplace, { ...load, port: target.mqttPort, seconds }).result;
			const { p50 = Number.NaN, p99 = Number.NaN } = latencyMs ?? {};
			const run = { p50, p99, perSecond: events / took, uploadedBytes: (await uploaded()) - before };
			if (which === "tiered") await runTier(target);
			return run;
		});
		found[name] = Object.fromEntries(names.map((which, i) => [which, results[i] as IngestRun[]]));
	}
	for (const target of Object.values(targets)) {
		await target.stop();
		options.workplace.remove(target.dataDirectory);
	}
	return found;
}

export async function tier(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	options.workplace.require(6e9);
	const store = await startBenchStore(options.workplace);
	const rounds = options.rounds ?? DEFAULT_ROUNDS;
	const payloads: Payload[] = ["telemetry", "incompressible"];
	const runs = await interleaved(payloads, rounds, (payload, round) =>
		throughput(options, store, payload, `${payload}-${round}`),
	);
	const counted = await requests(options, store);
	const used = await memory(options, store);
	const restored = await measureRestore(options, store);
	const felt = await ingest(options, store);
	store.stop();
	const of = (list: readonly ThroughputRun[], what: keyof ThroughputRun): number =>
		median(list.map((run) => run[what]));
	const rateRow = (payload: string, list: readonly ThroughputRun[], way: "upload" | "read"): string[] => {
		const [own, plain, raw] =
			way === "upload"
				? (["upload", "plainUpload", "uploadRaw"] as const)
				: (["read", "plainRead", "readRaw"] as const);
		const ratio = median(list.map((run) => run[own] / run[plain]));
		return [
			`${way === "upload" ? "upload" : "cold sequential read"}, ${payload}`,
			megabytes(of(list, own)),
			megabytes(of(list, plain)),
			fixed(ratio, 2),
			"0.80",
			megabytes(of(list, raw)),
		];
	};
	const { restoreSeconds, startSeconds, requests: asked, bundles, bytes } = restored;
	const beyond = asked.put + asked.list + asked.get + asked.delete - bundles;
	const tables: Table[] = [
		{
			title: "Uploads and cold reads, MB/s as stored",
			columns: ["what", "headwater", "plain loop", "ratio", "goal", "MB/s of record batches"],
			rows: runs.flatMap((list, i) => [
				rateRow(payloads[i] as string, list, "upload"),
				rateRow(payloads[i] as string, list, "read"),
			]),
			notes: [
				`${rounds} rounds, medians. ${PARTITIONS} partitions; an upload from the request to its end, process, claim and confirmations included; reads over Kafka's wire, one partition after the other, 1 MiB a Fetch.`,
				"Plain loop: the minio client in one process, parts of 8 MiB of objects of 64 MiB, and reads of 2 MiB, one after the other, of as many bytes as were stored.",
			],
		},
		{
			title: "Requests",
			columns: ["what", "put", "list", "get and head", "goal"],
			rows: counted.map(({ what, put, list, get, goal }) => [what, String(put), String(list), String(get), goal]),
			notes: ["Counted by a proxy before the server. The default schedule begins one upload an hour."],
		},
		{
			title: "Resident memory, MB (10^6 bytes)",
			columns: ["state", "gateway", "with the child's private part", "goal"],
			rows: [
				["idle, before", megabytes(used.idle), "-", "-"],
				["uploading and reading back, the most", megabytes(used.most), megabytes(used.mostTogether), "96"],
				["idle, after", megabytes(used.after), "-", `${megabytes(used.idle + 5e6)}`],
			],
			notes: [
				`The child at its largest: ${megabytes(used.child.resident)} resident, ${megabytes(used.child.proportional)} of that its share (PSS), ${megabytes(used.child.private)} private.`,
			],
		},
		{
			title: "Restore",
			columns: ["what", "s", "goal"],
			rows: [
				[
					`${(bytes / 1e9).toFixed(1)} GB, ${bundles} bundles, 100 partitions: tier restore`,
					fixed(restoreSeconds, 2),
					"-",
				],
				["first start", fixed(startSeconds, 2), "-"],
				["until ready", fixed(restoreSeconds + startSeconds, 2), "10"],
				["requests beyond a footer each, for 1,000 bundles", fixed((beyond * 1000) / bundles, 1), "3"],
			],
			notes: [
				`Requests: ${asked.get} GET and HEAD, ${asked.list} LIST, ${asked.put} PUT. Bundles by the program's own writer; records are all alike, so objects are small.`,
			],
		},
		{
			title: "Ingest while uploading and evicting, ms",
			columns: [
				"load",
				"p99 without",
				"p99 tiered",
				"ratio",
				"goal",
				"p50 without",
				"p50 tiered",
				"k/s without",
				"k/s tiered",
				"MB uploaded in a run",
			],
			rows: Object.entries(felt).map(([name, { without = [], tiered = [] }]) => {
				const figure = (list: readonly IngestRun[], what: keyof IngestRun): number =>
					median(list.map((run) => run[what]));
				const ratio = median(tiered.map((run, i) => run.p99 / (without[i]?.p99 ?? Number.NaN)));
				return [
					name,
					...[fixed(figure(without, "p99"), 2), fixed(figure(tiered, "p99"), 2), fixed(ratio, 2), "1.2"],
					...[fixed(figure(without, "p50"), 2), fixed(figure(tiered, "p50"), 2)],
					...[fixed(figure(without, "perSecond") / 1000, 1), fixed(figure(tiered, "perSecond") / 1000, 1)],
					megabytes(figure(tiered, "uploadedBytes")),
				];
			}),
			notes: ["Record batches, before compression; the server runs on the same machine and takes its part of it."],
		},
	];
	return { tables, raw: { throughput: runs, requests: counted, memory: used, restore: restored, ingest: felt } };
}
