/**
 * `upstream-memory`: what a gateway keeps resident with a large backlog, waiting and while it catches up; the same for MirrorMaker 2,
 * with the same backlog in the same gateway.
 */
import type { BenchOptions } from "./driver.ts";
import { startMirrorMaker } from "./mirror-maker.ts";
import { type MemoryFigures, memoryFigures, settledMemory } from "./process-figures.ts";
import { fixed, median, megabytes, type Table } from "./report.ts";
import { startHeadwater, type Target } from "./targets.ts";
import { fillBacklog } from "./upstream-events.ts";
import { countCommitted } from "./upstream-reader.ts";
import { sending, startCentral, untilSent, withClient } from "./upstream-site.ts";

const TOPIC = "backlog";
const PARTITIONS = 16;
const VALUE_BYTES = 1000;
const SAMPLE_MS = 200;
const PATIENCE_MS = 1_800_000;
/** Of MirrorMaker 2, under way. */
const MIRROR_SECONDS = 60;
const QUICK_MIRROR_SECONDS = 5;
const FREE_BYTES = 2e9;

interface Run {
	readonly waiting: MemoryFigures;
	readonly most: MemoryFigures;
	readonly median: number;
	readonly after: MemoryFigures;
	readonly seconds: number;
}

/** Samples of a process while `work` goes on. */
async function sampled(pid: number, work: () => Promise<unknown>): Promise<MemoryFigures[]> {
	const samples = [memoryFigures(pid)];
	const timer = setInterval(() => samples.push(memoryFigures(pid)), SAMPLE_MS);
	try {
		await work();
	} finally {
		clearInterval(timer);
	}
	return samples.toSorted((a, b) => a.residentBytes - b.residentBytes);
}

/** From a start with all of the backlog waiting. */
async function catchUp(target: Target, records: number): Promise<Run> {
	const waiting = await settledMemory(target.pid);
	const began = performance.now();
	const samples = await sampled(target.pid, () =>
		withClient(target, async (client) => {
			await client.upstream.resume();
			await untilSent(client, records, PATIENCE_MS);
		}),
	);
	const seconds = (performance.now() - began) / 1000;
	const after = await settledMemory(target.pid);
	return {
		waiting,
		most: samples.at(-1) as MemoryFigures,
		median: (samples[samples.length >> 1] as MemoryFigures).residentBytes,
		after,
		seconds,
	};
}

export async function upstreamMemory(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const { workplace, storedBytes } = options;
	const rounds = options.rounds ?? 1;
	workplace.require(storedBytes * (1 + rounds) + FREE_BYTES);
	const central = await startCentral(workplace, 0);
	const settings = sending(central.bootstrap, TOPIC);
	const filling = await startHeadwater(workplace, { settings });
	const dataDirectory = filling.dataDirectory as string;
	const filled = await withClient(filling, async (client) => {
		await client.upstream.pause();
		await client.topics.create({ name: TOPIC, partitions: PARTITIONS });
		const fill = { topic: TOPIC, partitions: PARTITIONS, valueBytes: VALUE_BYTES };
		return fillBacklog(`127.0.0.1:${filling.kafkaPort}`, fill, (_records, bytes) => bytes >= storedBytes);
	});
	await filling.stop();
	const runs: Run[] = [];
	for (let round = 0; round < rounds; round += 1) {
		options.progress(`round ${round + 1} of ${rounds}: catching up`);
		let target = await startHeadwater(workplace, { dataDirectory, settings });
		if (round > 0) {
			await withClient(target, async (client) => {
				await client.upstream.pause();
				await client.upstream.reset({ to: "earliest", execute: true });
			});
			// A start of its own, as in the first round.
			await target.stop();
			target = await startHeadwater(workplace, { dataDirectory, settings });
		}
		runs.push(await catchUp(target, filled.records));
		await target.stop();
	}
	const there = await countCommitted(central.bootstrap, TOPIC, PARTITIONS);
	if (there !== filled.records * rounds)
		throw new Error(`${there} records are committed there, not ${rounds} times ${filled.records}`);
	options.progress("MirrorMaker 2");
	const source = await startHeadwater(workplace, { dataDirectory });
	const from = `127.0.0.1:${source.kafkaPort}`;
	const mirrorMaker = startMirrorMaker(workplace, { from, to: central.bootstrap, topics: TOPIC });
	const mirroring = await sampled(
		mirrorMaker.pid,
		() => new Promise((resolve) => setTimeout(resolve, (options.quick ? QUICK_MIRROR_SECONDS : MIRROR_SECONDS) * 1000)),
	);
	await mirrorMaker.stop();
	await source.stop();
	await central.stop();
	workplace.remove(dataDirectory);
	const row = (state: string, goal: string, resident: readonly number[], anonymous: readonly number[]): string[] => [
		state,
		megabytes(median(resident)),
		goal,
		anonymous.length === 0 ? "-" : megabytes(median(anonymous)),
		resident.map((bytes) => megabytes(bytes)).join(", "),
	];
	const rowOf = (state: string, goal: string, what: "waiting" | "most" | "after"): string[] =>
		row(
			state,
			goal,
			runs.map((run) => run[what].residentBytes),
			runs.map((run) => run[what].anonymousBytes),
		);
	const theirs = mirroring.at(-1) as MemoryFigures;
	return {
		tables: [
			{
				title: `Resident memory with ${(filled.bytes / 1e9).toFixed(1)} GB to be sent, MB (10^6 bytes)`,
				columns: ["state", "resident", "goal", "anonymous", "each round"],
				rows: [
					rowOf("waiting, sending is paused", "-", "waiting"),
					rowOf("catching up, the most", "<= 80", "most"),
					row(
						"catching up, half of the time",
						"-",
						runs.map((run) => run.median),
						[],
					),
					rowOf("afterwards", "<= 80", "after"),
					row("MirrorMaker 2, the most", "-", [theirs.residentBytes], [theirs.anonymousBytes]),
				],
				notes: [
					`${filled.records} records of ${VALUE_BYTES} B in ${PARTITIONS} partitions, sent in ${runs.map(({ seconds }) => fixed(seconds, 0)).join(", ")} s; each counted there, once for each round. Samples every ${SAMPLE_MS} ms.`,
					"MirrorMaker 2: a minute of the same backlog, with a heap of at most 256 MB.",
				],
			},
		],
		raw: { filled, runs, mirrorMaker: theirs },
	};
}
