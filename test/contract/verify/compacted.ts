/** A data directory with a compacted topic, on a real disk: for what judges such files from the outside. */
import { systemClock } from "../../../src/base/clock.ts";
import { NodeDisk } from "../../../src/base/disk.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { Broker } from "../../../src/broker/broker.ts";
import { deleteRecordsBefore } from "../../../src/log/delete-records.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { encodeBatch } from "../../../src/record/batch.ts";
import type { Codec } from "../../../src/record/compression.ts";

const CODECS: readonly Codec[] = ["none", "gzip", "snappy", "lz4", "zstd"];
const KEYS = 37;
export const DELETED_BEFORE = 9;

export function openCompacted(dataFolder: string): Broker {
	return Broker.open(
		{
			dataFolder,
			journal: { fileBytes: 1024 * 1024, filesMax: 3 },
			lingerMs: 0,
			memoryBudgetBytes: 1 << 24,
			retentionCheckMs: 1e6,
			defaultPartitions: 1,
			topicDefaults: {
				"log.index.interval.bytes": "256",
				"log.segment.bytes": "8192",
				"log.cleanup.policy": "compact,delete",
				"log.cleaner.min.cleanable.ratio": "0.01",
			},
			cleaner: { backoffMs: 1e9, dedupeBufferBytes: 65_536, ioBytesPerSecond: 1e12 },
			onFailure: (error) => {
				throw error;
			},
		},
		{
			disk: new NodeDisk(),
			clock: systemClock,
			random: systemRandom,
			logger: { debug() {}, info() {}, warn() {}, error() {} },
		},
	);
}

/** Records, tombstones, transactions and compressed batches, compacted; `c-0` is the partition. */
export async function writeCompacted(dataFolder: string): Promise<Broker> {
	const broker = openCompacted(dataFolder);
	const partition = broker.topics.create({ name: "c" }).partitions[0] as Partition;
	let made = 0;
	for (let i = 0; i < 120; i++) {
		const isTransactional = i % 4 === 0;
		const records = Array.from({ length: 1 + (i % 5) }, () => ({
			timestamp: systemClock.now(),
			key: Buffer.from(`key-${made % KEYS}`),
			value: made++ % 6 === 0 ? null : Buffer.from(`value ${i} ${"x".repeat(i)}`),
			headers: [],
		}));
		const producer = { producerId: 5, producerEpoch: 0, isTransactional: true };
		const codec = CODECS[i % CODECS.length] as Codec;
		broker.log.group(10_000, () => {
			const offset = partition.appendBatch(
				encodeBatch(records, { codec, ...(isTransactional ? producer : {}) }),
				records.length,
			);
			if (!isTransactional) return;
			partition.transactions.begin(5, offset);
			const outcome = i % 8 === 0 ? "abort" : "commit";
			const key = Buffer.from([0, 0, 0, outcome === "commit" ? 1 : 0]);
			const marker = { timestamp: systemClock.now(), key, value: Buffer.alloc(6), headers: [] };
			const at = partition.appendBatch(encodeBatch([marker], { ...producer, isControl: true }), 1);
			partition.transactions.end(5, at, outcome);
		});
		await broker.log.whenCommitted();
		if (i % 20 === 0) await broker.log.checkpoint();
	}
	await broker.log.checkpoint();
	deleteRecordsBefore(broker.log, partition, DELETED_BEFORE);
	await broker.cleaner?.clean();
	return broker;
}
