/** What the APIs of configuration speak of: topics, and this broker. */
import { BrokerError } from "../base/errors.ts";
import { checkTopicName, type Topic, type Topics } from "../broker/topics.ts";

/** Kafka's numbers. */
export const CONFIG_RESOURCES = { TOPIC: 2, BROKER: 4, BROKER_LOGGER: 8, CLIENT_METRICS: 16, GROUP: 32 } as const;

/** Throws INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_OR_PARTITION. */
export function topicResource(topics: Topics, name: string): Topic {
	checkTopicName(name);
	const topic = topics.get(name);
	if (topic === undefined) throw new BrokerError("UNKNOWN_TOPIC_OR_PARTITION", `there is no topic ${name}`);
	return topic;
}

/** Throws INVALID_REQUEST unless `name` is this node's id. */
export function checkNode(name: string, nodeId: number): void {
	if (name !== String(nodeId))
		throw new BrokerError(
			"INVALID_REQUEST",
			`${JSON.stringify(name)} is not this broker's node id, which is ${nodeId}`,
		);
}

/** Why nothing can be said of, or done to, a resource of another type. */
export function unsupportedResource(type: number): BrokerError {
	if (type === CONFIG_RESOURCES.CLIENT_METRICS)
		return new BrokerError("INVALID_REQUEST", "clients' metrics are not collected here");
	if (type === CONFIG_RESOURCES.GROUP)
		return new BrokerError("INVALID_REQUEST", "groups have no configuration of their own here");
	return new BrokerError("INVALID_REQUEST", `unknown type of resource ${type}`);
}
