/** Changes of topics' settings, as AlterConfigs and IncrementalAlterConfigs ask for them: each resource for itself, all of it or nothing. */
import { BrokerError } from "../base/errors.ts";
import type { Topic, TopicChanges } from "../broker/topics.ts";
import { CONFIG_RESOURCES, checkNode, topicResource, unsupportedResource } from "./config-resource.ts";
import { type Outcome, outcomeOf, repeated } from "./outcome.ts";
import type { Services } from "./services.ts";

/** What IncrementalAlterConfigs does with a setting: Kafka's numbers. */
export const CONFIG_OPERATIONS = { SET: 0, DELETE: 1, APPEND: 2, SUBTRACT: 3 } as const;

interface Resource<C> {
	readonly resourceType: number;
	readonly resourceName: string;
	readonly configs: readonly C[];
}

type Altered = Outcome & { readonly resourceType: number; readonly resourceName: string };

/** `changesOf` says what a topic's changes are; it throws what refuses them. */
export function alterResources<C extends { readonly name: string }>(
	{ broker, options }: Services,
	resources: readonly Resource<C>[],
	validateOnly: boolean,
	changesOf: (topic: Topic, configs: readonly C[]) => TopicChanges,
): Altered[] {
	const key = ({ resourceType, resourceName }: Resource<C>) => `${resourceType} ${resourceName}`;
	const twice = repeated(resources.map(key));
	return resources.map((resource) => {
		const { resourceType, resourceName, configs } = resource;
		const outcome = outcomeOf(() => {
			if (twice.has(key(resource)))
				throw new BrokerError("INVALID_REQUEST", "a resource may be in the request only once");
			const [name] = repeated(configs.map((config) => config.name));
			if (name !== undefined) throw new BrokerError("INVALID_REQUEST", `${name} is given more than once`);
			if (resourceType !== CONFIG_RESOURCES.TOPIC) {
				checkNothingChanges(resource, options.nodeId);
				return;
			}
			if (resourceName === "")
				throw new BrokerError("INVALID_REQUEST", "all topics' defaults are in the gateway's configuration");
			const changes = changesOf(topicResource(broker.topics, resourceName), configs);
			if (validateOnly) broker.topics.checkChanges(resourceName, changes);
			else broker.topics.alter(resourceName, changes);
		});
		return { ...outcome, resourceType, resourceName };
	});
}

/**
 * Of a broker nothing is ever set over the wire, so there is nothing that could not be taken back (kafka-reassign-partitions
 * does that with its throttles). Throws what refuses everything else.
 */
function checkNothingChanges(
	{ resourceType, resourceName, configs }: Resource<{ readonly name: string; readonly configOperation?: number }>,
	nodeId: number,
): void {
	if (resourceType !== CONFIG_RESOURCES.BROKER && resourceType !== CONFIG_RESOURCES.BROKER_LOGGER)
		throw unsupportedResource(resourceType);
	if (resourceName !== "" || resourceType === CONFIG_RESOURCES.BROKER_LOGGER) checkNode(resourceName, nodeId);
	if (resourceType === CONFIG_RESOURCES.BROKER_LOGGER)
		throw new BrokerError("INVALID_CONFIG", `there is no logger ${configs[0]?.name ?? ""}`);
	if (configs.every((config) => config.configOperation === CONFIG_OPERATIONS.DELETE)) return;
	throw new BrokerError(
		"INVALID_REQUEST",
		"the gateway is configured by its file, the environment and its command line: change it there and start it again",
	);
}
