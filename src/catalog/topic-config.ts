/**
 * Topic configuration under Kafka's own names, with Kafka's types and meanings: all that Kafka 4.3 has. A
 * default comes from the broker's configuration, whose names are Kafka's too, or else from here. What has
 * no meaning on one node is checked, kept and given back, and says so.
 */
import { BrokerError } from "../base/errors.ts";
import { boolean, type ConfigForm, choice, fraction, int, list, long, MAX_LONG } from "./config-value.ts";
import type { PartitionConfig } from "./partition-config.ts";

export interface TopicConfigDefinition extends ConfigForm {
	readonly name: string;
	/** The broker's key that gives the default; undefined where Kafka has none. */
	readonly brokerKey: string | undefined;
	/** Where the broker's key is not set, as text. */
	readonly fallback: string;
	readonly documentation: string;
}

const NO_EFFECT = "Kept and given back, without effect:";
const REPLICAS = list(
	"* or a list of partition:broker with commas between, as 0:1,1:1",
	(item) => item === "*" || /^\d+:\d+$/.test(item),
);

function define(
	name: string,
	brokerKey: string | undefined,
	form: ConfigForm,
	fallback: bigint | string,
	documentation: string,
): TopicConfigDefinition {
	return { ...form, name, brokerKey, fallback: String(fallback), documentation };
}

/** By name. */
export const TOPIC_CONFIGS: readonly TopicConfigDefinition[] = [
	define(
		"cleanup.policy",
		"log.cleanup.policy",
		list("delete, compact, both with a comma between, or nothing", (item) => item === "delete" || item === "compact"),
		"delete",
		"What becomes of old records. delete: segments go as retention.ms and retention.bytes say. compact: of each key the newest record stays. Both may be given; with neither all is kept.",
	),
	define(
		"compression.gzip.level",
		"compression.gzip.level",
		int(1, 9, -1),
		"-1",
		"Level of gzip where compression.type is gzip; -1: gzip's own default.",
	),
	define(
		"compression.lz4.level",
		"compression.lz4.level",
		int(1, 17),
		"9",
		`${NO_EFFECT} this encoder of lz4 has no levels.`,
	),
	define(
		"compression.type",
		"compression.type",
		choice("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
		"producer",
		"How record batches are stored. producer: as they came; else they are encoded again where they came otherwise.",
	),
	define(
		"compression.zstd.level",
		"compression.zstd.level",
		int(-131_072, 22),
		"3",
		"Level of zstd where compression.type is zstd; those above 9 are as 9, which holds nobody up.",
	),
	define(
		"delete.retention.ms",
		"log.cleaner.delete.retention.ms",
		long(0),
		"86400000",
		"How long compaction keeps tombstones and transaction markers, so that a reader who began earlier learns of the deletion.",
	),
	define(
		"file.delete.delay.ms",
		"log.segment.delete.delay.ms",
		long(0),
		"60000",
		`${NO_EFFECT} segments are removed at once; a reader under way finishes its read.`,
	),
	define(
		"flush.messages",
		"log.flush.interval.messages",
		long(1),
		MAX_LONG,
		`${NO_EFFECT} every record is synced before it is acknowledged.`,
	),
	define(
		"flush.ms",
		"log.flush.interval.ms",
		long(0),
		MAX_LONG,
		`${NO_EFFECT} every record is synced before it is acknowledged.`,
	),
	define(
		"follower.replication.throttled.replicas",
		undefined,
		REPLICAS,
		"",
		`${NO_EFFECT} one node has no followers to throttle.`,
	),
	define(
		"index.interval.bytes",
		"log.index.interval.bytes",
		int(0),
		"4096",
		"Bytes of records between two entries of the offset index.",
	),
	define(
		"leader.replication.throttled.replicas",
		undefined,
		REPLICAS,
		"",
		`${NO_EFFECT} one node has no followers to throttle.`,
	),
	define(
		"local.retention.bytes",
		"log.local.retention.bytes",
		long(-2),
		"-2",
		"With tiered storage: what of a partition stays here when the object store has it, in bytes; -1: all, -2: as retention.bytes.",
	),
	define(
		"local.retention.ms",
		"log.local.retention.ms",
		long(-2),
		"-2",
		"With tiered storage: how old a segment gets here when the object store has it; -1: as old as the whole, -2: as retention.ms.",
	),
	define(
		"max.compaction.lag.ms",
		"log.cleaner.max.compaction.lag.ms",
		long(1),
		MAX_LONG,
		"A record older than this is compacted whatever min.cleanable.dirty.ratio says; its segment is closed early for that.",
	),
	define(
		"max.message.bytes",
		"message.max.bytes",
		int(512, 8 * 1024 * 1024),
		"1048588",
		"The largest record batch that the topic takes, in bytes.",
	),
	define(
		"message.timestamp.after.max.ms",
		"log.message.timestamp.after.max.ms",
		long(0),
		"3600000",
		"How far a producer's timestamp may lie in the future.",
	),
	define(
		"message.timestamp.before.max.ms",
		"log.message.timestamp.before.max.ms",
		long(0),
		MAX_LONG,
		"How far a producer's timestamp may lie in the past.",
	),
	define(
		"message.timestamp.type",
		"log.message.timestamp.type",
		choice("CreateTime", "LogAppendTime"),
		"CreateTime",
		"Whether a record has the timestamp of its producer, or that of its arrival.",
	),
	define(
		"min.cleanable.dirty.ratio",
		"log.cleaner.min.cleanable.ratio",
		fraction(),
		"0.5",
		"How much of a compacted log, from 0 to 1, must be new since the last compaction before the next begins.",
	),
	define(
		"min.compaction.lag.ms",
		"log.cleaner.min.compaction.lag.ms",
		long(0),
		"0",
		"A record younger than this is not compacted.",
	),
	define("min.insync.replicas", "min.insync.replicas", int(1), "1", `${NO_EFFECT} one node has one replica.`),
	define(
		"preallocate",
		"log.preallocate",
		boolean(),
		"false",
		`${NO_EFFECT} segments grow; the journal is what is made at its full size.`,
	),
	define(
		"remote.log.copy.disable",
		undefined,
		boolean(),
		"false",
		"With tiered storage: nothing more goes to the object store; what is there is read, and kept for as long as retention.* say.",
	),
	define(
		"remote.log.delete.on.disable",
		undefined,
		boolean(),
		"false",
		"Needed to set remote.storage.enable to false again: what the object store has of the topic is then removed.",
	),
	define(
		"remote.storage.enable",
		"log.remote.storage.enable",
		boolean(),
		"false",
		"Tiered storage: records go to the object store too, leave this machine as local.retention.* say, and stay readable from there.",
	),
	define(
		"retention.bytes",
		"log.retention.bytes",
		long(-1),
		"-1",
		"A partition larger than this loses its oldest segments; -1: no limit.",
	),
	define(
		"retention.ms",
		"log.retention.ms",
		long(-1),
		"604800000",
		"A segment whose newest record is older than this is removed; -1: never.",
	),
	define(
		"segment.bytes",
		"log.segment.bytes",
		int(4096),
		"67108864",
		"Size of a segment file, the unit of retention and compaction, in bytes.",
	),
	define(
		"segment.index.bytes",
		"log.index.size.max.bytes",
		int(4),
		"10485760",
		`${NO_EFFECT} an index grows with its segment.`,
	),
	define(
		"segment.jitter.ms",
		"log.roll.jitter.ms",
		long(0),
		"0",
		"Each segment's age limit is shorter than segment.ms by a random time of up to this.",
	),
	define(
		"segment.ms",
		"log.roll.ms",
		long(1),
		"604800000",
		"A segment older than this is closed and a new one begun, even if it is not full.",
	),
	define(
		"unclean.leader.election.enable",
		"unclean.leader.election.enable",
		boolean(),
		"false",
		`${NO_EFFECT} one node elects nobody.`,
	),
];

const BY_NAME = new Map(TOPIC_CONFIGS.map((definition) => [definition.name, definition]));

export type TopicConfig = Readonly<Record<string, string>>;

/** Throws INVALID_CONFIG for a name that there is not. */
export function topicConfigDefinition(name: string): TopicConfigDefinition {
	const definition = BY_NAME.get(name);
	if (definition === undefined)
		throw new BrokerError(
			"INVALID_CONFIG",
			`unknown topic configuration ${JSON.stringify(name)}; there are ${[...BY_NAME.keys()].join(", ")}`,
		);
	return definition;
}

/** Checks `config` as a client gave it; returns it as it is kept. Throws INVALID_CONFIG naming the key and what would be right. */
export function checkTopicConfig(config: TopicConfig): Record<string, string> {
	const checked: Record<string, string> = {};
	for (const [name, value] of Object.entries(config)) {
		const definition = topicConfigDefinition(name);
		const parsed = definition.parse(value.trim());
		if (parsed === undefined)
			throw new BrokerError("INVALID_CONFIG", `${name}=${JSON.stringify(value)}: ${definition.right} would be right`);
		checked[name] = parsed;
	}
	return checked;
}

/** Settings right each for itself that cannot hold together, all of a topic's given. Throws INVALID_CONFIG. */
export function checkTopicConfigTogether(config: TopicConfig, defaults: TopicConfig): void {
	const { minCompactionLagMs, maxCompactionLagMs, cleanupPolicy, retentionMs, retentionBytes, tier } = partitionConfig(
		config,
		defaults,
	);
	if (minCompactionLagMs > maxCompactionLagMs)
		throw new BrokerError(
			"INVALID_CONFIG",
			`min.compaction.lag.ms (${minCompactionLagMs}) is more than max.compaction.lag.ms (${maxCompactionLagMs}): at most the same would be right`,
		);
	if (!tier.enabled || !cleanupPolicy.delete) return;
	checkLocalRetention("retention.ms", retentionMs, tier.localRetentionMs);
	checkLocalRetention("retention.bytes", retentionBytes, tier.localRetentionBytes);
}

/** What is kept here cannot be more than what is kept at all. */
function checkLocalRetention(name: string, whole: number, local: number): void {
	if (whole >= 0 && (local > whole || local < 0))
		throw new BrokerError(
			"INVALID_CONFIG",
			`local.${name} (${local}) is more than ${name} (${whole}): at most the same, or -2, would be right`,
		);
}

/** The value in force, and whether it is the broker's default. `defaults` has broker keys; one that it has not is as Kafka's. */
export function topicConfigValue(
	definition: TopicConfigDefinition,
	config: TopicConfig,
	defaults: TopicConfig,
): { value: string; isDefault: boolean } {
	const own = config[definition.name];
	if (own !== undefined) return { value: own, isDefault: false };
	const { brokerKey, fallback } = definition;
	return { value: (brokerKey === undefined ? undefined : defaults[brokerKey]) ?? fallback, isDefault: true };
}

/** What the log needs of a topic's configuration. */
export function partitionConfig(config: TopicConfig, defaults: TopicConfig): PartitionConfig {
	const text = (name: string): string => topicConfigValue(topicConfigDefinition(name), config, defaults).value;
	// Kafka's "without end" has more than 53 bits; what it rounds to is as good.
	const number = (name: string): number => Number(text(name));
	const policy = text("cleanup.policy").split(",");
	const compressionType = text("compression.type") as PartitionConfig["compressionType"];
	return {
		segmentBytes: number("segment.bytes"),
		segmentMs: number("segment.ms"),
		segmentJitterMs: number("segment.jitter.ms"),
		indexIntervalBytes: number("index.interval.bytes"),
		maxMessageBytes: number("max.message.bytes"),
		cleanupPolicy: { delete: policy.includes("delete"), compact: policy.includes("compact") },
		retentionMs: number("retention.ms"),
		retentionBytes: number("retention.bytes"),
		deleteRetentionMs: number("delete.retention.ms"),
		minCompactionLagMs: number("min.compaction.lag.ms"),
		maxCompactionLagMs: number("max.compaction.lag.ms"),
		minCleanableDirtyRatio: number("min.cleanable.dirty.ratio"),
		compressionType,
		compressionLevel: compressionLevel(compressionType, number),
		timestampType: text("message.timestamp.type") === "LogAppendTime" ? "append" : "create",
		timestampBeforeMaxMs: number("message.timestamp.before.max.ms"),
		timestampAfterMaxMs: number("message.timestamp.after.max.ms"),
		tier: {
			enabled: text("remote.storage.enable") === "true",
			copies: text("remote.storage.enable") === "true" && text("remote.log.copy.disable") === "false",
			localRetentionMs: localOr(number("local.retention.ms"), policy.includes("delete") ? number("retention.ms") : -1),
			localRetentionBytes: localOr(
				number("local.retention.bytes"),
				policy.includes("delete") ? number("retention.bytes") : -1,
			),
		},
	};
}

/** -2: as the whole, of which compaction alone lets nothing go. */
function localOr(local: number, whole: number): number {
	return local === -2 ? whole : local;
}

function compressionLevel(
	type: PartitionConfig["compressionType"],
	number: (name: string) => number,
): number | undefined {
	if (type === "zstd") return number("compression.zstd.level");
	const level = type === "gzip" ? number("compression.gzip.level") : -1;
	return level === -1 ? undefined : level;
}
