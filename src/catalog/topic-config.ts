/**
 * Topic configuration under Kafka's own names, with Kafka's meanings; a default comes from the
 * broker's configuration, whose names are Kafka's too.
 */
import { BrokerError } from "../base/errors.ts";
import type { PartitionConfig } from "./partition-config.ts";

/** Kafka's names of the broker-wide defaults. */
export type BrokerKey =
	| "log.index.interval.bytes"
	| "log.retention.bytes"
	| "log.retention.ms"
	| "log.roll.ms"
	| "log.segment.bytes"
	| "message.max.bytes";

interface Definition {
	readonly name: string;
	/** The broker's key that gives the default. */
	readonly brokerKey: BrokerKey;
	readonly min: number;
	readonly max: number;
	readonly documentation: string;
}

const MAX = Number.MAX_SAFE_INTEGER;

export const TOPIC_CONFIGS: readonly Definition[] = [
	{
		name: "index.interval.bytes",
		brokerKey: "log.index.interval.bytes",
		min: 0,
		max: 0x7fff_ffff,
		documentation: "Bytes of records between two entries of the offset index.",
	},
	{
		name: "max.message.bytes",
		brokerKey: "message.max.bytes",
		min: 512,
		max: 8 * 1024 * 1024,
		documentation: "The largest record batch that the topic takes, in bytes.",
	},
	{
		name: "retention.bytes",
		brokerKey: "log.retention.bytes",
		min: -1,
		max: MAX,
		documentation: "A partition larger than this loses its oldest segments; -1: no limit.",
	},
	{
		name: "retention.ms",
		brokerKey: "log.retention.ms",
		min: -1,
		max: MAX,
		documentation: "A segment whose newest record is older than this is removed; -1: never.",
	},
	{
		name: "segment.bytes",
		brokerKey: "log.segment.bytes",
		min: 4096,
		max: 0x7fff_ffff,
		documentation: "Size of a segment file, the unit of retention, in bytes.",
	},
	{
		name: "segment.ms",
		brokerKey: "log.roll.ms",
		min: 1,
		max: MAX,
		documentation: "A segment older than this is closed and a new one begun, even if it is not full.",
	},
];

export type TopicConfig = Readonly<Record<string, string>>;

/** Checks `config` as a client gave it; returns it with plain numbers. Throws INVALID_CONFIG naming the key and what would be right. */
export function checkTopicConfig(config: TopicConfig): Record<string, string> {
	const checked: Record<string, string> = {};
	for (const [name, value] of Object.entries(config)) {
		const definition = TOPIC_CONFIGS.find((candidate) => candidate.name === name);
		if (definition === undefined) {
			const names = TOPIC_CONFIGS.map((candidate) => candidate.name).join(", ");
			throw new BrokerError(
				"INVALID_CONFIG",
				`unknown topic configuration ${JSON.stringify(name)}; there are ${names}`,
			);
		}
		const number = /^-?\d+$/.test(value.trim()) ? Number(value) : Number.NaN;
		if (!Number.isSafeInteger(number) || number < definition.min || number > definition.max) {
			throw new BrokerError(
				"INVALID_CONFIG",
				`${name}=${JSON.stringify(value)}: a whole number from ${definition.min} to ${definition.max} would be right`,
			);
		}
		checked[name] = String(number);
	}
	return checked;
}

/** The value in force, and whether it is the broker's default. `defaults` has the broker's keys. */
export function topicConfigValue(
	definition: Definition,
	config: TopicConfig,
	defaults: TopicConfig,
): { value: string; isDefault: boolean } {
	const own = config[definition.name];
	return own === undefined
		? { value: defaults[definition.brokerKey] as string, isDefault: true }
		: { value: own, isDefault: false };
}

/** What the log needs of a topic's configuration. */
export function partitionConfig(config: TopicConfig, defaults: TopicConfig): PartitionConfig {
	const value = (name: string): number => {
		const definition = TOPIC_CONFIGS.find((candidate) => candidate.name === name) as Definition;
		return Number(topicConfigValue(definition, config, defaults).value);
	};
	return {
		segmentBytes: value("segment.bytes"),
		segmentMs: value("segment.ms"),
		indexIntervalBytes: value("index.interval.bytes"),
		maxMessageBytes: value("max.message.bytes"),
		retentionMs: value("retention.ms"),
		retentionBytes: value("retention.bytes"),
	};
}
