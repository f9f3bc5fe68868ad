/** DescribeConfigs: every setting of topics and of this broker, with where its value is from. */
import { BrokerError } from "../../base/errors.ts";
import { api, type Call } from "../api.ts";
import { describeBrokerConfig } from "../broker-configs.ts";
import { type DescribedConfig, describeTopicConfig, onlyKeys } from "../config-description.ts";
import { CONFIG_RESOURCES, checkNode, topicResource, unsupportedResource } from "../config-resource.ts";
import { DONE, failure } from "../outcome.ts";
import { DescribeConfigsRequest, DescribeConfigsResponse } from "../protocol/messages/32-describe-configs.ts";
import type { DecodedOf } from "../protocol/schema.ts";
import { Turns } from "../turns.ts";

type Resource = DecodedOf<typeof DescribeConfigsRequest>["resources"][number];

/** Settings in one answer; those with more than their values count four times. Some 40 MB. */
const WEIGHT_MAX = 150_000;

export const describeConfigs = api({
	request: DescribeConfigsRequest,
	response: DescribeConfigsResponse,
	versions: [1, 4],
	waitsForEarlier: true,
	hasLargeAnswer: true,
	async handle({ resources, includeSynonyms, includeDocumentation }, call) {
		const turns = new Turns(call.services.broker.clock);
		const results = [];
		let weight = 0;
		for (const { resourceType, resourceName, configurationKeys } of eachOnce(resources)) {
			const turn = turns.next();
			if (turn !== undefined) await turn;
			if (call.peer.closed) return undefined;
			try {
				if (weight > WEIGHT_MAX)
					throw new BrokerError(
						"POLICY_VIOLATION",
						"too many settings for one answer: fewer resources at a time, please",
					);
				const configs = onlyKeys(describe(resourceType, resourceName, call), configurationKeys);
				weight += configs.length * (includeSynonyms || includeDocumentation ? 4 : 1);
				results.push({
					...DONE,
					resourceType,
					resourceName,
					configs: configs.map((config) => ({
						...config,
						synonyms: includeSynonyms ? config.synonyms : [],
						documentation: includeDocumentation ? config.documentation : null,
					})),
				});
			} catch (error) {
				results.push({ ...failure(error), resourceType, resourceName, configs: [] });
			}
		}
		return { results };
	},
	refuse: ({ resources }, errorCode, errorMessage) => ({
		results: resources.map(({ resourceType, resourceName }) => ({
			errorCode,
			errorMessage,
			resourceType,
			resourceName,
			configs: [],
		})),
	}),
});

/** A resource that is named twice is told of once: an answer may be a thousand times what it takes to ask for it. */
function eachOnce(resources: readonly Resource[]): Resource[] {
	return [...new Map(resources.map((each) => [`${each.resourceType} ${each.resourceName}`, each])).values()];
}

/** Throws INVALID_REQUEST, INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_OR_PARTITION. */
function describe(type: number, name: string, call: Call): readonly DescribedConfig[] {
	const { broker, options } = call.services;
	switch (type) {
		case CONFIG_RESOURCES.TOPIC:
			return describeTopicConfig(topicResource(broker.topics, name).config, broker.topics.defaults);
		case CONFIG_RESOURCES.BROKER:
			// What is set for all brokers together: configuration is a file here, so nothing.
			if (name === "") return [];
			checkNode(name, options.nodeId);
			return describeBrokerConfig(call);
		case CONFIG_RESOURCES.BROKER_LOGGER:
			if (name === "") throw new BrokerError("INVALID_REQUEST", "a broker's loggers are asked for by its node id");
			checkNode(name, options.nodeId);
			// The gateway has one log, and no levels to set by name.
			return [];
		default:
			throw unsupportedResource(type);
	}
}
