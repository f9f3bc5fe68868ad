/**
 * Every configuration key: type, default, limits and what it is for. The one definition from which
 * the types, the checks, the reference (docs/configuration.md) and the JSON Schema follow. Names,
 * units and defaults are Apache Kafka's where Kafka has the setting
 * (https://kafka.apache.org/documentation/#brokerconfigs). No key is a dotted prefix of another.
 */
import type { KeyDefinition, ValueOf } from "./definition.ts";
import { KAFKA_KEYS } from "./kafka-keys.ts";
import { TIER_KEYS } from "./tier-keys.ts";
import { UPSTREAM_KEYS } from "./upstream-keys.ts";

const MAX_INT32 = 2_147_483_647;
const MAX_MS = Number.MAX_SAFE_INTEGER;

export const KEYS = {
	"data.directory": {
		kind: "text",
		fallback: "./data",
		documentation:
			"Where everything is stored: journal, segments, catalog. A relative path counts from the working directory. One process at a time.",
	},
	"log.level": {
		kind: "choice",
		choices: ["debug", "info", "warn", "error"],
		fallback: "info",
		documentation: "The least important event that is logged. Logs go to stderr, one JSON object a line.",
	},
	"memory.budget.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 1_048_576,
		maximum: 17_179_869_184,
		fallback: 33_554_432,
		documentation:
			"Bytes in flight, over every connection: received but not yet durable, or waiting to be sent. Above it sockets are not read until it is below again.",
	},
	"mqtt.listen": {
		kind: "address",
		fallback: { host: "127.0.0.1", port: 1883 },
		documentation: "Where the MQTT door listens. Port 0 takes a free port.",
	},
	"mqtt.max.packet.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 128,
		// MQTT 5, 2.1.4: a remaining length of at most 268,435,455 behind five bytes of fixed header.
		maximum: 268_435_460,
		fallback: 1_048_576,
		documentation: "The largest MQTT packet taken (MQTT 5: Maximum Packet Size); a larger one ends its connection.",
	},
	"mqtt.receive.maximum": {
		kind: "integer",
		unit: "count",
		minimum: 1,
		maximum: 65_535,
		fallback: 1024,
		documentation: "QoS 1 and 2 publishes that a client may have unacknowledged (MQTT 5: Receive Maximum).",
	},
	"mqtt.max.inflight": {
		kind: "integer",
		unit: "count",
		minimum: 1,
		maximum: 65_535,
		fallback: 1024,
		documentation:
			"QoS 1 and 2 messages sent to a subscriber and not yet acknowledged, at most; less where the client's Receive Maximum is less.",
	},
	"mqtt.max.connections": {
		kind: "integer",
		unit: "count",
		minimum: 1,
		maximum: 1_000_000,
		fallback: 10_000,
		documentation: "MQTT connections open at one time; further ones are refused.",
	},
	"mqtt.max.subscriptions.per.session": {
		kind: "integer",
		unit: "count",
		minimum: 1,
		maximum: 1_000_000,
		fallback: 1000,
		documentation: "Subscriptions that one MQTT session may hold; a further SUBSCRIBE is refused (MQTT 5: 0x97).",
	},
	"mqtt.connect.timeout.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 10,
		maximum: 3_600_000,
		fallback: 10_000,
		documentation: "A connection that has not sent a whole CONNECT within this time is closed.",
	},
	"mqtt.max.keep.alive.seconds": {
		kind: "integer",
		unit: "seconds",
		minimum: 0,
		maximum: 65_535,
		fallback: 0,
		documentation:
			"The longest keep alive that a client may ask for; one that asks for more, or for none, is held to this (MQTT 5: told as Server Keep Alive). 0: no limit.",
	},
	"mqtt.max.session.expiry.seconds": {
		kind: "integer",
		unit: "seconds",
		minimum: 0,
		maximum: 4_294_967_295,
		fallback: 4_294_967_295,
		documentation: "The longest that a session is kept after its connection ended. 4294967295: for ever.",
	},
	"mqtt.topic.alias.maximum": {
		kind: "integer",
		unit: "count",
		minimum: 0,
		maximum: 65_535,
		fallback: 32,
		documentation:
			"Topic aliases that an MQTT 5 client may use towards the gateway (Topic Alias Maximum), and that the gateway uses at most towards a client. 0: none.",
	},
	"mqtt.max.retained.messages": {
		kind: "integer",
		unit: "count",
		minimum: 0,
		maximum: 1_000_000_000,
		fallback: 5_000_000,
		documentation:
			"Retained messages kept at most; they are on the disk, not in memory. A further one is refused (MQTT 5: 0x97). 0: retained messages are not available.",
	},
	"mqtt.sys.interval.seconds": {
		kind: "integer",
		unit: "seconds",
		minimum: 0,
		maximum: 86_400,
		fallback: 10,
		documentation: "How often the topics below `$SYS` are published to their subscribers. 0: there are none.",
	},
	"mqtt.share.expiry.seconds": {
		kind: "integer",
		unit: "seconds",
		minimum: 0,
		maximum: 4_294_967_295,
		fallback: 0,
		documentation:
			"How long a shared subscription keeps its place in the log when the last session that subscribes to it has ended. 0: not at all. 4294967295: for ever.",
	},
	"mqtt.redirect.to": {
		kind: "text",
		fallback: "",
		documentation:
			"Another broker, as `host:port` or several with a space between, that MQTT 5 clients are sent to (Server Reference). Empty: none.",
	},
	"mqtt.redirect.when": {
		kind: "choice",
		choices: ["full", "stopping", "always"],
		fallback: "full",
		documentation:
			"When clients are sent to `mqtt.redirect.to`: `full`, when all of mqtt.max.connections are taken; `stopping`, then and when the gateway stops; `always`, every client, for good.",
	},
	"http.listen": {
		kind: "address",
		fallback: { host: "127.0.0.1", port: 9480 },
		documentation: "Where the HTTP door listens: MQTT over WebSocket at `/mqtt`. Port 0 takes a free port.",
	},
	"http.allowed.origins": {
		kind: "text",
		fallback: "",
		documentation:
			"Web pages from elsewhere that may connect: origins as `https://panel.example.com`, with a space between; `*` for all. Pages that come from the same host and port, and programs that are no browsers, always may.",
	},
	"native.listen": {
		kind: "address",
		fallback: { host: "127.0.0.1", port: 9470 },
		documentation:
			"Where the native door listens, which the commands and `headwater/client` use. Port 0 takes a free port.",
	},
	"native.max.frame.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 1024,
		maximum: 1_073_741_824,
		fallback: 8_388_608,
		documentation: "The largest frame on the native door, in both directions.",
	},
	"native.max.connections": {
		kind: "integer",
		unit: "count",
		minimum: 1,
		maximum: 1_000_000,
		fallback: 1000,
		documentation: "Native connections open at one time; further ones are refused.",
	},
	...KAFKA_KEYS,
	"num.partitions": {
		kind: "integer",
		unit: "count",
		minimum: 1,
		maximum: 10_000,
		fallback: 4,
		documentation: "Partitions of a topic that is made without saying how many.",
	},
	"log.segment.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 1024,
		maximum: MAX_INT32,
		fallback: 67_108_864,
		documentation:
			"A segment file that has grown to this size is closed and the next one begun. Topic setting: `segment.bytes`.",
	},
	"log.roll.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1,
		maximum: MAX_MS,
		fallback: 604_800_000,
		documentation:
			"A segment this old is closed and the next one begun, however small it is. Topic setting: `segment.ms`.",
	},
	"log.roll.jitter.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 0,
		maximum: MAX_MS,
		fallback: 0,
		documentation:
			"Each segment's age limit is shorter than `log.roll.ms` by a random time of up to this, so that not all of them are closed at once. Topic setting: `segment.jitter.ms`.",
	},
	"log.cleanup.policy": {
		kind: "choice",
		choices: ["delete", "compact", "compact,delete"],
		fallback: "delete",
		documentation:
			"What becomes of old records: `delete` removes the oldest segments as retention says, `compact` keeps the newest record of each key. Topic setting: `cleanup.policy`.",
	},
	"log.retention.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 0,
		maximum: MAX_MS,
		minusOne: "for ever",
		fallback: 604_800_000,
		documentation: "How long records are kept. -1: for ever. Topic setting: `retention.ms`.",
	},
	"log.retention.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 0,
		maximum: Number.MAX_SAFE_INTEGER,
		minusOne: "no limit",
		fallback: -1,
		documentation:
			"How many bytes a partition keeps; its oldest segments beyond that are removed. -1: no limit. Topic setting: `retention.bytes`.",
	},
	"log.retention.check.interval.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1,
		maximum: 86_400_000,
		fallback: 300_000,
		documentation: "How often the gateway looks for segments that retention lets go.",
	},
	"log.remote.storage.enable": {
		kind: "choice",
		choices: ["true", "false"],
		fallback: "false",
		documentation:
			"Tiered storage: whether records go to the object store too. They leave this machine as `log.local.retention.*` say, and stay readable from there. Topic setting: `remote.storage.enable`.",
	},
	"log.local.retention.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 0,
		maximum: MAX_MS,
		minusOne: "for ever",
		minusTwo: "as retention.ms",
		fallback: -2,
		documentation:
			"With tiered storage: how long records that the object store has are kept on this machine too. Topic setting: `local.retention.ms`.",
	},
	"log.local.retention.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 0,
		maximum: Number.MAX_SAFE_INTEGER,
		minusOne: "no limit",
		minusTwo: "as retention.bytes",
		fallback: -2,
		documentation:
			"With tiered storage: how many bytes of a partition stay on this machine where the object store has its older ones. Topic setting: `local.retention.bytes`.",
	},
	"log.cleaner.enable": {
		kind: "choice",
		choices: ["true", "false"],
		fallback: "true",
		documentation: "Whether topics with `cleanup.policy=compact` are compacted.",
	},
	"log.cleaner.backoff.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1,
		maximum: 86_400_000,
		fallback: 15_000,
		documentation: "How long the cleaner waits before it looks again when there was nothing to compact.",
	},
	"log.cleaner.dedupe.buffer.size": {
		kind: "integer",
		unit: "bytes",
		minimum: 65_536,
		maximum: 1_073_741_824,
		fallback: 4_194_304,
		documentation:
			"Memory for the keys of the partition being compacted, there only while it is: 24 bytes a key. What does not fit waits for a further pass.",
	},
	"log.cleaner.io.max.bytes.per.second": {
		kind: "integer",
		unit: "bytes",
		minimum: 65_536,
		maximum: Number.MAX_SAFE_INTEGER,
		fallback: 16_777_216,
		documentation: "How much the cleaner reads and writes in a second, together.",
	},
	"log.cleaner.min.cleanable.ratio": {
		kind: "fraction",
		fallback: 0.5,
		documentation:
			"Which part of a compacted log must be new since the last compaction before the next begins. Topic setting: `min.cleanable.dirty.ratio`.",
	},
	"log.cleaner.delete.retention.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 0,
		maximum: MAX_MS,
		fallback: 86_400_000,
		documentation:
			"How long compaction keeps tombstones and transaction markers for readers that are behind. Topic setting: `delete.retention.ms`.",
	},
	"log.cleaner.min.compaction.lag.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 0,
		maximum: MAX_MS,
		fallback: 0,
		documentation: "A record younger than this is not compacted. Topic setting: `min.compaction.lag.ms`.",
	},
	"log.cleaner.max.compaction.lag.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1,
		maximum: MAX_MS,
		fallback: MAX_MS,
		documentation:
			"A record older than this is compacted whatever part of the log is new; 9007199254740991: no such limit. Topic setting: `max.compaction.lag.ms`.",
	},
	"log.message.timestamp.type": {
		kind: "choice",
		choices: ["CreateTime", "LogAppendTime"],
		fallback: "CreateTime",
		documentation:
			"Whether a record has the timestamp of its producer, or that of its arrival. Topic setting: `message.timestamp.type`.",
	},
	"log.message.timestamp.before.max.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 0,
		maximum: MAX_MS,
		fallback: MAX_MS,
		documentation:
			"How far in the past a Kafka producer's timestamp may lie; 9007199254740991: no limit. Topic setting: `message.timestamp.before.max.ms`.",
	},
	"log.message.timestamp.after.max.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 0,
		maximum: MAX_MS,
		fallback: 3_600_000,
		documentation:
			"How far in the future a Kafka producer's timestamp may lie. Topic setting: `message.timestamp.after.max.ms`.",
	},
	"compression.type": {
		kind: "choice",
		choices: ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"],
		fallback: "producer",
		documentation:
			"How record batches of Kafka producers are stored: `producer`, as they came; else encoded again where they came otherwise. Topic setting: `compression.type`.",
	},
	"log.index.interval.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 0,
		maximum: MAX_INT32,
		fallback: 4096,
		documentation:
			"Bytes of records between two entries of a segment's indexes. Topic setting: `index.interval.bytes`.",
	},
	"message.max.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 1024,
		maximum: 1_073_741_824,
		fallback: 1_048_588,
		documentation: "The largest record batch that a producer may send. Topic setting: `max.message.bytes`.",
	},
	"commit.linger.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 0,
		maximum: 10_000,
		fallback: 0,
		documentation:
			"How long a commit waits for more records before it is written and synced. More: fewer writes to the flash and later acknowledgements. 0: as soon as the one before is durable.",
	},
	"journal.file.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 65_536,
		maximum: MAX_INT32,
		fallback: 33_554_432,
		documentation: "Size of one journal file. The files are made at their full size and used again and again.",
	},
	"journal.files.max": {
		kind: "integer",
		unit: "count",
		minimum: 2,
		maximum: 64,
		fallback: 4,
		documentation: "Journal files at most. With `journal.file.bytes` it bounds what is read after a crash.",
	},
	...TIER_KEYS,
	...UPSTREAM_KEYS,
	routes: {
		kind: "routes",
		fallback: [
			{ filter: "sensors/{site}/{device}/telemetry", topic: "telemetry", key: "{device}", headers: { site: "{site}" } },
			{ filter: "#", topic: "mqtt", key: "{topic}" },
		],
		documentation:
			"Which MQTT topics become records of which topic, tried from the first to the last. A list of your own takes the place of the whole default list, its catch-all included.",
	},
	bridges: {
		kind: "bridges",
		fallback: [],
		documentation:
			"Connections to other MQTT brokers: what comes from them is stored here, and what is stored here is sent to them.",
	},
} as const satisfies Record<string, KeyDefinition>;

export type KeyName = keyof typeof KEYS;

/** The gateway's configuration: every key with its value, `config["mqtt.listen"].port`. */
export type Config = { readonly [K in KeyName]: ValueOf<(typeof KEYS)[K]> };

export const KEY_NAMES = Object.keys(KEYS) as KeyName[];

export function isKeyName(name: string): name is KeyName {
	return Object.hasOwn(KEYS, name);
}

/** The definition in its general form. */
export function definitionOf(key: KeyName): KeyDefinition {
	return KEYS[key];
}

/** The environment variable that sets a key: `mqtt.listen`, HEADWATER_MQTT_LISTEN. */
export function environmentName(key: string): string {
	return `HEADWATER_${key.toUpperCase().replaceAll(".", "_")}`;
}

/** Every key at its default. */
export const DEFAULT_CONFIG = Object.fromEntries(
	KEY_NAMES.map((key) => [key, KEYS[key].fallback]),
) as unknown as Config;
