/**
 * What compaction takes and what it costs: a log of keyed records is written, then compacted while another topic
 * is written to as fast as it goes. In one process, so that all figures are of one run:
 *
 *   node test/bench/compaction.ts [MiB of log] [distinct keys] [io bytes per second]
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { systemClock } from "../../src/base/clock.ts";
import { NodeDisk } from "../../src/base/disk.ts";
import { systemRandom } from "../../src/base/random.ts";
import { Broker } from "../../src/broker/broker.ts";
import { Cleaner } from "../../src/log/cleaner.ts";
import type { Partition } from "../../src/log/partition.ts";
import { EMPTY_HEADERS_BLOCK, encodeKeyBlock } from "../../src/record/builder.ts";

const MIB = 1024 * 1024;
const VALUE_BYTES = 200;
/** Records of one turn, each acknowledged before the next turn. */
const TURN = 200;
const CALM_MS = 5000;

const [mib = 1024, distinctKeys = 100_000, ioBytesPerSecond = 16 * MIB] = process.argv.slice(2).map(Number);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "headwater-compaction-"));
const events: string[] = [];
const broker = Broker.open(
	{
		dataFolder: folder,
		journal: { fileBytes: 32 * MIB, filesMax: 4 },
		lingerMs: 0,
		memoryBudgetBytes: 32 * MIB,
		retentionCheckMs: 1e9,
		defaultPartitions: 1,
		topicDefaults: {},
		onFailure: (error) => {
			throw error;
		},
	},
	{
		disk: new NodeDisk(),
		clock: systemClock,
		random: systemRandom,
		logger: {
			debug() {},
			info: (message, fields) => events.push(`${message} ${JSON.stringify(fields)}`),
			warn: console.log,
			error: console.log,
		},
	},
);
broker.topics.create({ name: "compacted", config: { "cleanup.policy": "compact" } });
broker.topics.create({ name: "live", config: { "retention.bytes": String(256 * MIB) } });
const value = systemRandom.bytes(VALUE_BYTES);
let turns = 0;

async function turn(partition: Partition): Promise<number> {
	const beganMs = performance.now();
	for (let i = 0; i < TURN; i++) {
		const key = Buffer.from(`device-${Math.floor(Math.random() * distinctKeys)}`);
		partition.appendRecord(Date.now(), encodeKeyBlock(key), value, 0, value.length, EMPTY_HEADERS_BLOCK);
	}
	await broker.log.whenCommitted();
	turns++;
	if (turns % 1000 === 0) broker.enforceRetention();
	return performance.now() - beganMs;
}

const one = (topic: string) => broker.topics.get(topic)?.partitions[0] as Partition;
const rss = () => `${(process.memoryUsage().rss / MIB).toFixed(0)} MiB`;

/** Writes to the live topic until `until` says so; records a second and the slowest hundredth of turns. */
async function load(until: () => boolean): Promise<{ rate: number; p50: number; p99: number; peak: number }> {
	const beganMs = performance.now();
	const took: number[] = [];
	let peak = 0;
	while (!until()) {
		took.push(await turn(one("live")));
		if (took.length % 50 === 0) peak = Math.max(peak, process.memoryUsage().rss / MIB);
	}
	const rate = (took.length * TURN) / ((performance.now() - beganMs) / 1000);
	took.sort((a, b) => a - b);
	return {
		rate,
		p50: took[Math.floor(took.length / 2)] as number,
		p99: took[Math.floor(took.length * 0.99)] as number,
		peak,
	};
}

const show = (what: string, { rate, p50, p99, peak }: Awaited<ReturnType<typeof load>>) =>
	console.log(
		`${what}: ${rate.toFixed(0)} records/s, a turn of ${TURN} ${p50.toFixed(2)} ms (p99 ${p99.toFixed(2)}), resident at most ${peak.toFixed(0)} MiB`,
	);

while (one("compacted").sizeBytes < mib * MIB) await turn(one("compacted"));
await broker.log.checkpoint();
console.log(
	`${(one("compacted").sizeBytes / MIB).toFixed(0)} MiB, ${one("compacted").endOffset} records, ${distinctKeys} keys; resident ${rss()}`,
);
const calmUntil = performance.now() + CALM_MS;
show("without compaction", await load(() => performance.now() > calmUntil));
const cleaner = new Cleaner(broker.log, systemRandom, { backoffMs: 1e9, dedupeBufferBytes: 4 * MIB, ioBytesPerSecond });
let done = false;
const beganMs = performance.now();
cleaner.clean().then(() => {
	done = true;
});
show("while it compacts", await load(() => done));
const tookS = (performance.now() - beganMs) / 1000;
console.log(
	`compacted ${mib} MiB in ${tookS.toFixed(1)} s: ${(mib / tookS).toFixed(1)} MiB/s of log; ${(one("compacted").sizeBytes / MIB).toFixed(0)} MiB left`,
);
const calmAgainUntil = performance.now() + CALM_MS;
show("without again", await load(() => performance.now() > calmAgainUntil));
console.log(events.filter((event) => event.startsWith("compacted")).join("\n"));
await cleaner.stop();
await broker.stop();
fs.rmSync(folder, { recursive: true });
