/** Partitions as requests name them. */
import { BrokerError } from "../base/errors.ts";
import type { Broker } from "../broker/broker.ts";
import type { Partition } from "../log/partition.ts";

/** Throws UNKNOWN_TOPIC_OR_PARTITION. */
export function findPartition(broker: Broker, topic: string, number: number): Partition {
	const partition = broker.topics.get(topic)?.partitions[number];
	if (partition === undefined)
		throw new BrokerError("UNKNOWN_TOPIC_OR_PARTITION", `there is no partition ${number} of topic ${topic}`);
	return partition;
}
