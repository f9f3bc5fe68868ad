/**
 * Whose transaction holds up those who read committed records. A cluster that ends a transaction for its time-out while a
 * partition has no leader may never say so there: Kafka 4.3 takes such a partition for a deleted one.
 */
import { readBatchHeader } from "../../../src/record/batch.ts";
import type { Cluster } from "../client/cluster.ts";
import { fetchPartition } from "../client/fetch.ts";

const FETCH_BYTES = 64 * 1024;

/** Whether what begins at `offset`, where committed records end, is of producer `producerId`. Rejects with LinkError and KafkaError. */
export async function isHeldBy(
	cluster: Cluster,
	{ topic, partition }: { readonly topic: string; readonly partition: number },
	offset: number,
	producerId: number,
	signal: AbortSignal,
): Promise<boolean> {
	const options = { isolation: "uncommitted", maxBytes: FETCH_BYTES, maxWaitMs: 0, signal } as const;
	const { records } = await fetchPartition(cluster, topic, partition, offset, options);
	if (records.length === 0) return false;
	const header = readBatchHeader(records, 0);
	return header.isTransactional && !header.isControl && header.producerId === producerId;
}
