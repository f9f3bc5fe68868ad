/** The progress topic of the central cluster: made where it is missing, so that it keeps what matters, and refused where it would not. */
import { ensureTopic, topicConfigs } from "../client/admin.ts";
import type { Cluster, TopicMetadata } from "../client/cluster.ts";
import { KafkaError } from "../client/kafka-error.ts";
import type { UpstreamOptions } from "../options.ts";
import { Halt } from "./judge.ts";

const PROGRESS_CONFIGS = { "cleanup.policy": "compact" };
/** Small segments, compacted early, so that a gateway that comes back has little to read. Some services let nobody set them. */
const PROGRESS_PREFERENCES = {
	"message.timestamp.type": "LogAppendTime",
	"segment.bytes": "16777216",
	"min.cleanable.dirty.ratio": "0.1",
};
const REFUSED_CONFIGS: ReadonlySet<string> = new Set(["INVALID_CONFIG", "POLICY_VIOLATION"]);

/** Rejects with LinkError, KafkaError and Halt. */
export async function findProgressTopic(
	cluster: Cluster,
	{ progressTopic: name, progressPartitions: partitions, replicationFactor, createTopics: create }: UpstreamOptions,
	signal: AbortSignal,
): Promise<TopicMetadata> {
	const make = (configs: Readonly<Record<string, string>>) =>
		ensureTopic(cluster, name, { partitions, replicationFactor, configs, create, signal });
	try {
		await make({ ...PROGRESS_CONFIGS, ...PROGRESS_PREFERENCES });
	} catch (error) {
		if (!(error instanceof KafkaError && REFUSED_CONFIGS.has(error.name_))) throw error;
		await make(PROGRESS_CONFIGS);
	}
	const configs = (await topicConfigs(cluster, [name], signal)).get(name);
	const policy = configs instanceof KafkaError ? undefined : configs?.get("cleanup.policy");
	if (policy !== undefined && policy !== "compact")
		throw new Halt(
			`topic ${name} of the central cluster has cleanup.policy=${policy}: it would forget how far this gateway is`,
			`kafka-configs.sh --alter --entity-type topics --entity-name ${name} --add-config cleanup.policy=compact; then: headwater upstream resume`,
		);
	return cluster.topic(name) as TopicMetadata;
}
