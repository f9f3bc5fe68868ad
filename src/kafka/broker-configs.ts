/**
 * What DescribeConfigs says of the broker: Kafka's names with the values in force here. All of it is read only, because
 * the gateway is configured by its file. What Kafka has and a gateway has nothing like is left out.
 */
import { CONFIG_TYPES, type ConfigType } from "../catalog/config-value.ts";
import { TOPIC_CONFIGS } from "../catalog/topic-config.ts";
import { advertisedTo, type Call } from "./api.ts";
import { CONFIG_SOURCES, type DescribedConfig } from "./config-description.ts";
import type { Setting } from "./options.ts";

/** Keys of the gateway's configuration that are Kafka's own, and Kafka's type of each. */
const CONFIGURED: readonly (readonly [name: string, type: ConfigType])[] = [
	["auto.create.topics.enable", "BOOLEAN"],
	["connections.max.idle.ms", "LONG"],
	["delete.topic.enable", "BOOLEAN"],
	["fetch.max.bytes", "INT"],
	["group.initial.rebalance.delay.ms", "INT"],
	["group.max.session.timeout.ms", "INT"],
	["group.max.size", "INT"],
	["group.min.session.timeout.ms", "INT"],
	["log.cleaner.backoff.ms", "LONG"],
	["log.cleaner.dedupe.buffer.size", "LONG"],
	["log.cleaner.enable", "BOOLEAN"],
	["log.cleaner.io.max.bytes.per.second", "DOUBLE"],
	["log.retention.check.interval.ms", "LONG"],
	["node.id", "INT"],
	["num.partitions", "INT"],
	["offset.metadata.max.bytes", "INT"],
	["offsets.retention.check.interval.ms", "LONG"],
	["offsets.retention.minutes", "INT"],
	["producer.id.expiration.ms", "INT"],
	["socket.request.max.bytes", "INT"],
	["transaction.max.timeout.ms", "INT"],
	["transactional.id.expiration.ms", "INT"],
];

type Fact = readonly [name: string, type: ConfigType, value: string | null, documentation: string];

/** What is the same on every gateway. */
const CONSTANTS: readonly Fact[] = [
	["authorizer.class.name", "STRING", "", "There is no authorizer: whoever connects may do everything."],
	["auto.leader.rebalance.enable", "BOOLEAN", "false", "One node leads every partition."],
	["broker.rack", "STRING", null, "One node has no racks."],
	["controlled.shutdown.enable", "BOOLEAN", "false", "There is no other node to move leaders to."],
	["default.replication.factor", "INT", "1", "There is one node."],
	["group.coordinator.rebalance.protocols", "LIST", "classic", "Consumer groups rebalance by the classic protocol."],
	["inter.broker.listener.name", "STRING", null, "There is no other broker."],
	[
		"listener.security.protocol.map",
		"STRING",
		"PLAINTEXT:PLAINTEXT",
		"Connections are neither encrypted nor authenticated.",
	],
	[
		"log.flush.scheduler.interval.ms",
		"LONG",
		"9223372036854775807",
		"Every record is synced before it is acknowledged.",
	],
	["max.connections.per.ip", "INT", "2147483647", "Only all connections together are limited."],
	[
		"max.incremental.fetch.session.cache.slots",
		"INT",
		"0",
		"There are no fetch sessions: every Fetch says all that it wants.",
	],
	["num.io.threads", "INT", "1", "Requests are handled on one event loop."],
	["num.network.threads", "INT", "1", "Requests are handled on one event loop."],
	[
		"offsets.topic.num.partitions",
		"INT",
		"1",
		"Committed offsets are rows of the gateway's state, not records of a topic.",
	],
	["offsets.topic.replication.factor", "SHORT", "1", "There is one node."],
	["process.roles", "LIST", "broker,controller", "One node is both."],
	["remote.log.storage.system.enable", "BOOLEAN", "false", "There is no tiered storage."],
	["sasl.enabled.mechanisms", "LIST", "", "Connections are not authenticated."],
	["security.inter.broker.protocol", "STRING", "PLAINTEXT", "There is no other broker."],
	[
		"transaction.partition.verification.enable",
		"BOOLEAN",
		"true",
		"A transactional batch is taken only for a partition that its transaction has.",
	],
	["transaction.state.log.min.isr", "INT", "1", "There is one node."],
	[
		"transaction.state.log.num.partitions",
		"INT",
		"1",
		"Transactions are rows of the gateway's state, not records of a topic.",
	],
	["transaction.state.log.replication.factor", "SHORT", "1", "There is one node."],
	[
		"transaction.two.phase.commit.enable",
		"BOOLEAN",
		"false",
		"A transaction that its producer leaves open is aborted in time.",
	],
];

/** What is told under another name than the gateway's own configuration has. */
const RENAMED: readonly (readonly [name: string, type: ConfigType, key: string])[] = [
	["broker.id", "INT", "node.id"],
	["log.dir", "STRING", "data.directory"],
	["log.dirs", "LIST", "data.directory"],
	["max.connections", "INT", "kafka.max.connections"],
];

/** In the order of their names. */
export function describeBrokerConfig(call: Call): DescribedConfig[] {
	const { options } = call.services;
	const settings = options.settings ?? {};
	const found = new Map<string, DescribedConfig>();
	for (const [name, type, value, documentation] of CONSTANTS)
		found.set(name, described(name, type, value, documentation));
	for (const { brokerKey, type, fallback, documentation } of TOPIC_CONFIGS)
		if (brokerKey !== undefined)
			found.set(brokerKey, described(brokerKey, type, fallback, documentation, settings[brokerKey]));
	for (const [name, type, key] of [...CONFIGURED.map(([name, type]) => [name, type, name] as const), ...RENAMED]) {
		const setting = settings[key];
		if (setting !== undefined) found.set(name, described(name, type, null, setting.documentation, setting));
	}
	const advertised = advertisedTo(call);
	const listeners: readonly Fact[] = [
		["advertised.listeners", "LIST", listener(advertised), "Where clients are told to connect to."],
		["listeners", "LIST", listener(options), "Where the Kafka door listens."],
	];
	for (const [name, type, value, documentation] of listeners)
		found.set(name, described(name, type, value, documentation));
	return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function listener({ host, port }: { readonly host: string; readonly port: number }): string {
	return `PLAINTEXT://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** `value` is what holds unless `setting` says otherwise. */
function described(
	name: string,
	type: ConfigType,
	value: string | null,
	documentation: string,
	setting?: Setting,
): DescribedConfig {
	const fallback = setting?.fallback ?? value;
	const isDefault = setting === undefined || setting.value === setting.fallback;
	const synonyms = fallback === null ? [] : [{ name, value: fallback, source: CONFIG_SOURCES.DEFAULT as number }];
	if (!isDefault) synonyms.unshift({ name, value: setting.value, source: CONFIG_SOURCES.STATIC_BROKER });
	return {
		name,
		value: setting?.value ?? value,
		readOnly: true,
		configSource: isDefault ? CONFIG_SOURCES.DEFAULT : CONFIG_SOURCES.STATIC_BROKER,
		isSensitive: false,
		synonyms,
		configType: CONFIG_TYPES[type],
		documentation,
	};
}
