/** DescribeConfigs: every setting of topics and of this broker, with where its value is from. */
import { BrokerError } from "../../base/errors.ts";
import { api, type Call } from "../api.ts";
import { describeBrokerConfig } from "../broker-configs.ts";
import { type DescribedConfig, describeTopicConfig, onlyKeys } from "../config-description.ts";
import { CONFIG_RESOURCES, checkNode, topicResource, unsupportedResource } from "../config-resource.ts";
import { DONE, failure } from "../outcome.ts";
import { DescribeConfigsRequest, DescribeConfigsResponse } from "../protocol/messages/32-describe-configs.ts";

export const describeConfigs = api({
	request: DescribeConfigsRequest,
	response: DescribeConfigsResponse,
	versions: [1, 4],
	waitsForEarlier: true,
	hasLargeAnswer: true,
	handle: ({ resources, includeSynonyms, includeDocumentation }, call) => ({
		results: resources.map(({ resourceType, resourceName, configurationKeys }) => {
			try {
				const configs = onlyKeys(describe(resourceType, resourceName, call), configurationKeys);
				return {
					...DONE,
					resourceType,
					resourceName,
					configs: configs.map((config) => ({
						...config,
						synonyms: includeSynonyms ? config.synonyms : [],
						documentation: includeDocumentation ? config.documentation : null,
					})),
				};
			} catch (error) {
				return { ...failure(error), resourceType, resourceName, configs: [] };
			}
		}),
	}),
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
