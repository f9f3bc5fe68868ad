/**
 * `idle`: what a connection with one subscription and a persistent session holds when nothing happens, beside what a socket
 * costs in a server that does nothing. Two sizes, each a process of its own; the slope between them leaves out what is there
 * without connections.
 */
import { type BenchOptions, interleaved, startWorker } from "./driver.ts";
import { type MemoryFigures, requireOpenFiles, settledMemory } from "./process-figures.ts";
import { fixed, median, megabytes, spread, type Table } from "./report.ts";
import { bareServer, mosquittoAndHeadwater, peerVersions, type TargetKind } from "./targets.ts";

const COUNTS = { few: 2000, many: 8000 };
const QUICK_COUNTS = { few: 500, many: 2000 };
const GOAL_BYTES = 6000;

interface Sample {
	readonly few: MemoryFigures;
	readonly many: MemoryFigures;
}

async function resident(options: BenchOptions, kind: TargetKind, connections: number): Promise<MemoryFigures> {
	options.progress(`${kind.name}, ${connections} connections`);
	const target = await kind.start(options.workplace);
	const holder = startWorker(options.workplace, {
		kind: "hold",
		port: target.mqttPort,
		name: "idle",
		connections,
		client: kind === bareServer ? "socket" : "persistent",
		subscriptions: { shape: "own", count: connections },
		qos: 1,
		leave: false,
	});
	await holder.reached("connected");
	if (kind !== bareServer) {
		holder.tell();
		await holder.reached("subscribed");
	}
	const figures = await settledMemory(target.pid);
	await holder.end();
	await target.kill();
	options.workplace.remove(target.dataDirectory);
	return figures;
}

export async function idle(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const counts = options.quick ? QUICK_COUNTS : COUNTS;
	requireOpenFiles(counts.many + 200);
	const kinds = [bareServer, ...mosquittoAndHeadwater()];
	const samples = await interleaved(
		kinds,
		options.rounds ?? 1,
		async (kind): Promise<Sample> => ({
			few: await resident(options, kind, counts.few),
			many: await resident(options, kind, counts.many),
		}),
	);
	const slopes = (i: number, what: "residentBytes" | "anonymousBytes"): number[] =>
		(samples[i] as Sample[]).map(({ few, many }) => (many[what] - few[what]) / (counts.many - counts.few));
	const bare = median(slopes(0, "residentBytes"));
	const row = ({ name }: TargetKind, i: number): string[] => {
		const each = slopes(i, "residentBytes");
		const of = (figure: (sample: Sample) => number): number => median((samples[i] as Sample[]).map(figure));
		return [
			name,
			megabytes(of(({ few }) => few.residentBytes)),
			megabytes(of(({ many }) => many.residentBytes)),
			fixed(median(each), 0),
			spread(each),
			fixed(median(slopes(i, "anonymousBytes")), 0),
			name === "headwater" ? fixed(median(each) - bare, 0) : "-",
			name === "headwater" ? `<= ${GOAL_BYTES}` : "-",
		];
	};
	return {
		tables: [
			{
				title: "Resident memory of idle connections, one subscription and a persistent session each",
				columns: [
					"server",
					`MB, ${counts.few}`,
					`MB, ${counts.many}`,
					"B/connection",
					"spread",
					"anonymous B/connection",
					"over the bare server's, B",
					"goal",
				],
				rows: kinds.map(row),
				notes: [
					"VmRSS at rest. The bare server is Node's with the same listener options, listeners and V8 flags; its clients send nothing.",
					`Peers: ${peerVersions()}.`,
				],
			},
		],
		raw: kinds.map(({ name }, i) => ({ server: name, samples: samples[i] })),
	};
}
