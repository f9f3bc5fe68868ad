/** Which partition a record goes to: as Kafka's default partitioner for a key, in turn without one. */
import type { Partition } from "../log/partition.ts";
import { partitionForKey } from "../record/partitioner.ts";
import type { Topic } from "./topics.ts";

let turn = 0;

export function pickPartition(topic: Topic, key: Uint8Array | null): Partition {
	const { partitions } = topic;
	if (key !== null) return partitions[partitionForKey(key, partitions.length)] as Partition;
	turn = (turn + 1) >>> 0;
	return partitions[turn % partitions.length] as Partition;
}
