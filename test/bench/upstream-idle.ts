/** `upstream-idle`: what the link costs while nothing happens, counted at the socket, both ways; with and without commands to wait for. */
import type { CountedLink } from "./counted-link.ts";
import { type BenchOptions, startLoad } from "./driver.ts";
import { fixed, median, type Table } from "./report.ts";
import { startHeadwater } from "./targets.ts";
import { DEFAULT_PARTITIONS, sending, startCentral, untilSent, withClient } from "./upstream-site.ts";

const IDLE_SECONDS = 180;
const QUICK_SECONDS = 3;
/** What comes behind the last transaction has come, and a reader of commands is waiting. */
const SETTLE_MS = 8000;
const PATIENCE_MS = 60_000;
const DOWNLINK = "commands";

interface Run {
	readonly seconds: number;
	readonly bytes: readonly [plain: number, withDownlink: number];
}

async function oneRun(options: BenchOptions): Promise<Run> {
	const central = await startCentral(options.workplace, 2);
	const [link, downLink] = central.links as [CountedLink, CountedLink];
	const defaults = { "num.partitions": DEFAULT_PARTITIONS };
	const plain = await startHeadwater(options.workplace, {
		settings: { ...defaults, ...sending(link.bootstrap, "telemetry", "plain") },
	});
	const settings = { ...defaults, ...sending(downLink.bootstrap, `telemetry,${DOWNLINK}-made`, "waiting") };
	// A topic that it sends to is the simplest way to have one there that comes down.
	const making = await startHeadwater(options.workplace, { settings });
	await withClient(making, async (client) => {
		await client.topics.create({ name: `${DOWNLINK}-made`, partitions: DEFAULT_PARTITIONS });
		await client.produce(`${DOWNLINK}-made`, [{ key: "k", value: "a first command" }]);
		await untilSent(client, 1, PATIENCE_MS);
	});
	await making.stop();
	const waiting = await startHeadwater(options.workplace, {
		dataDirectory: making.dataDirectory as string,
		settings: {
			...settings,
			"upstream.topics": "telemetry",
			"upstream.downlink": JSON.stringify([{ topic: `${DOWNLINK}-made`, to: DOWNLINK, from: "earliest" }]),
		},
	});
	for (const target of [plain, waiting]) {
		const load = { port: target.mqttPort, connections: 1, window: 1, bytes: 100, qos: 1, pace: 10 } as const;
		const { sent } = await startLoad(options.workplace, { ...load, warmupSeconds: 0, seconds: 1 }).result;
		await withClient(target, (client) => untilSent(client, sent, PATIENCE_MS));
	}
	await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
	await withClient(waiting, async (client) => {
		const [command] = (await client.upstream.status()).downlink;
		if (command?.receivedRecords !== 1) throw new Error(`the command did not come down: ${JSON.stringify(command)}`);
	});
	const count = (): [number, number] => [link.bytes, downLink.bytes];
	const before = count();
	const seconds = options.quick ? QUICK_SECONDS : IDLE_SECONDS;
	await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
	const after = count();
	await plain.stop();
	await waiting.stop();
	await central.stop();
	return { seconds, bytes: [after[0] - before[0], after[1] - before[1]] };
}

export async function upstreamIdle(options: BenchOptions): Promise<{ tables: Table[]; raw: unknown }> {
	const rounds = options.rounds ?? 2;
	const runs: Run[] = [];
	for (let round = 0; round < rounds; round += 1) {
		options.progress(`round ${round + 1} of ${rounds}`);
		runs.push(await oneRun(options));
	}
	const row = (name: string, which: 0 | 1): string[] => {
		const perMinute = runs.map(({ seconds, bytes }) => (bytes[which] * 60) / seconds);
		const total = runs.map(({ bytes }) => bytes[which]);
		return [name, fixed(median(perMinute), 0), "<= 1000", total.join(", ")];
	};
	return {
		tables: [
			{
				title: "The idle link, bytes at the socket, both ways",
				columns: ["gateway", "B/minute", "goal", "bytes of each round"],
				rows: [row("sends only", 0), row("and waits for a downlink topic", 1)],
				notes: [`${runs[0]?.seconds} s each, some seconds after the last event; without TCP's and IP's own headers.`],
			},
		],
		raw: runs,
	};
}
