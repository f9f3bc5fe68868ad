/** IncrementalAlterConfigs: single settings of topics are set, taken back, or their lists added to and taken from. */
import { BrokerError } from "../../base/errors.ts";
import type { Topic, TopicChanges } from "../../broker/topics.ts";
import { type TopicConfig, topicConfigDefinition, topicConfigValue } from "../../catalog/topic-config.ts";
import { api } from "../api.ts";
import { alterResources, CONFIG_OPERATIONS } from "../config-changes.ts";
import {
	IncrementalAlterConfigsRequest,
	IncrementalAlterConfigsResponse,
} from "../protocol/messages/44-incremental-alter-configs.ts";
import type { DecodedOf } from "../protocol/schema.ts";

type Change = DecodedOf<typeof IncrementalAlterConfigsRequest>["resources"][number]["configs"][number];

export const incrementalAlterConfigs = api({
	request: IncrementalAlterConfigsRequest,
	response: IncrementalAlterConfigsResponse,
	versions: [0, 1],
	handle: ({ resources, validateOnly }, { services }) => ({
		responses: alterResources(services, resources, validateOnly, (topic, changes) =>
			topicChanges(topic, changes, services.broker.topics.defaults),
		),
	}),
	refuse: ({ resources }, errorCode, errorMessage) => ({
		responses: resources.map(({ resourceType, resourceName }) => ({
			errorCode,
			errorMessage,
			resourceType,
			resourceName,
		})),
	}),
});

/** Throws INVALID_REQUEST, INVALID_CONFIG. */
function topicChanges(topic: Topic, changes: readonly Change[], defaults: TopicConfig): TopicChanges {
	const set: Record<string, string> = {};
	const unset: string[] = [];
	for (const { name, configOperation, value } of changes) {
		if (configOperation === CONFIG_OPERATIONS.DELETE) {
			// What is not set, or is no setting at all, is nothing to take back: as Kafka.
			if (topic.config[name] !== undefined) unset.push(name);
			continue;
		}
		if (value === null) throw new BrokerError("INVALID_REQUEST", `${name} is null: a value would be right`);
		set[name] =
			configOperation === CONFIG_OPERATIONS.SET ? value : changedList(topic, name, configOperation, value, defaults);
	}
	return { set, unset };
}

function changedList(topic: Topic, name: string, operation: number, value: string, defaults: TopicConfig): string {
	if (operation !== CONFIG_OPERATIONS.APPEND && operation !== CONFIG_OPERATIONS.SUBTRACT)
		throw new BrokerError("INVALID_REQUEST", `unknown operation ${operation} on ${name}`);
	const definition = topicConfigDefinition(name);
	if (definition.type !== "LIST")
		throw new BrokerError("INVALID_CONFIG", `${name} is no list: it can be set, not added to or taken from`);
	const before = itemsOf(topicConfigValue(definition, topic.config, defaults).value);
	const items = itemsOf(value);
	if (operation === CONFIG_OPERATIONS.APPEND) return [...before, ...items].join(",");
	return before.filter((item) => !items.includes(item)).join(",");
}

function itemsOf(list: string): string[] {
	return list
		.split(",")
		.map((item) => item.trim())
		.filter((item) => item !== "");
}
