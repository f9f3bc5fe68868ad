/** A topic's settings as DescribeConfigs and CreateTopics tell them: values in force, where each is from, and what stands behind it. */
import { CONFIG_TYPES } from "../catalog/config-value.ts";
import {
	TOPIC_CONFIGS,
	type TopicConfig,
	type TopicConfigDefinition,
	topicConfigValue,
} from "../catalog/topic-config.ts";

/** Kafka's numbers for where a value comes from. */
export const CONFIG_SOURCES = {
	/** Set for this topic. */
	TOPIC: 1,
	/** Set in the gateway's configuration. */
	STATIC_BROKER: 4,
	DEFAULT: 5,
} as const;

/** An element of `configs` in the answer to DescribeConfigs. */
export interface DescribedConfig {
	readonly name: string;
	readonly value: string | null;
	readonly readOnly: boolean;
	readonly configSource: number;
	readonly isSensitive: boolean;
	readonly synonyms: readonly { readonly name: string; readonly value: string | null; readonly source: number }[];
	readonly configType: number;
	readonly documentation: string;
}

type Synonym = DescribedConfig["synonyms"][number];

/** All of them, in the order of their names. `defaults` has the broker's keys. */
export function describeTopicConfig(config: TopicConfig, defaults: TopicConfig): DescribedConfig[] {
	return TOPIC_CONFIGS.map((definition) => {
		const synonyms = synonymsOf(definition, config, defaults);
		const { value } = topicConfigValue(definition, config, defaults);
		return {
			name: definition.name,
			value,
			readOnly: false,
			configSource: synonyms[0]?.source ?? CONFIG_SOURCES.DEFAULT,
			isSensitive: false,
			synonyms,
			configType: CONFIG_TYPES[definition.type],
			documentation: definition.documentation,
		};
	});
}

/** What gives the value, and what would if that were not set: the strongest first. */
function synonymsOf(
	{ name, brokerKey, fallback }: TopicConfigDefinition,
	config: TopicConfig,
	defaults: TopicConfig,
): Synonym[] {
	const synonyms: Synonym[] = [];
	const own = config[name];
	if (own !== undefined) synonyms.push({ name, value: own, source: CONFIG_SOURCES.TOPIC });
	if (brokerKey === undefined) return synonyms;
	const set = defaults[brokerKey];
	if (set !== undefined && set !== fallback)
		synonyms.push({ name: brokerKey, value: set, source: CONFIG_SOURCES.STATIC_BROKER });
	synonyms.push({ name: brokerKey, value: fallback, source: CONFIG_SOURCES.DEFAULT });
	return synonyms;
}

/** Only those that `keys` names; all, where it is null or empty. */
export function onlyKeys(
	configs: readonly DescribedConfig[],
	keys: readonly string[] | null,
): readonly DescribedConfig[] {
	if (keys === null || keys.length === 0) return configs;
	const wanted = new Set(keys);
	return configs.filter(({ name }) => wanted.has(name));
}
