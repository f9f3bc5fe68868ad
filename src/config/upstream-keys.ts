/** The configuration keys of upstream, the central cluster, and of the link that it shares with uploads. As in keys.ts. */
import type { KeyDefinition } from "./definition.ts";
import { SERVERS_MATCH, SERVERS_RIGHT, wrongServers } from "./upstream-servers.ts";

const MAX_BYTES = Number.MAX_SAFE_INTEGER;
const TOPIC_NAME = {
	matches: "^(?!\\.{1,2}$)[A-Za-z0-9._-]{1,249}$",
	right: "a topic's name: 1 to 249 of letters, digits, `.`, `_` and `-`",
} as const;

export const UPSTREAM_KEYS = {
	"upstream.bootstrap.servers": {
		kind: "text",
		fallback: "",
		shape: { matches: SERVERS_MATCH, right: SERVERS_RIGHT, wrong: wrongServers },
		documentation:
			"The central cluster: some of its servers, as `kafka1.example.com:9092,kafka2.example.com:9092`; the others it names itself. Apache Kafka, what speaks its protocol, or another Headwater. Empty: nothing is sent upstream.",
	},
	"upstream.topics": {
		kind: "upstream-topics",
		fallback: [],
		documentation:
			"Which topics go to the central cluster: names, or a list of rules. The first rule that fits a topic holds; a topic that none fits is not sent.",
	},
	"upstream.downlink": {
		kind: "downlink",
		fallback: [],
		documentation:
			"Which topics of the central cluster come here, as commands for devices: names, or a list of rules. They are stored as any topic, and so reach MQTT subscribers.",
	},
	"upstream.mode": {
		kind: "choice",
		choices: ["exactly-once", "at-least-once"],
		fallback: "exactly-once",
		documentation:
			"`exactly-once`: with transactions; consumers there that read `read_committed` see each record once. `at-least-once`: for a cluster without transactions; after some errors records come twice.",
	},
	"upstream.security.protocol": {
		kind: "choice",
		choices: ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
		fallback: "PLAINTEXT",
		documentation: "How the central cluster's listener is reached: with TLS (`SSL`), with a login (`SASL`), with both.",
	},
	"upstream.sasl.mechanism": {
		kind: "choice",
		choices: ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
		fallback: "SCRAM-SHA-512",
		documentation: "How the login is done. `PLAIN` tells the server the password itself, so it belongs behind TLS.",
	},
	"upstream.sasl.username": { kind: "text", fallback: "", documentation: "The login's user name." },
	"upstream.sasl.password": {
		kind: "text",
		fallback: "",
		secret: true,
		documentation:
			"The login's password; never shown. A file keeps it out of the list of processes, where `--set` does not.",
	},
	"upstream.sasl.secret.file": {
		kind: "text",
		fallback: "",
		documentation:
			"A file whose only line is the password, in place of `upstream.sasl.password`. Read anew at every login.",
	},
	"upstream.tls.ca": {
		kind: "text",
		fallback: "",
		documentation:
			"PEM file of the authorities that may have signed the cluster's certificates. Empty: those that Node.js knows.",
	},
	"upstream.tls.certificate": {
		kind: "text",
		fallback: "",
		documentation:
			"PEM file of the gateway's own certificate, for a cluster that asks for one. Read anew at every connection.",
	},
	"upstream.tls.key": {
		kind: "text",
		fallback: "",
		documentation: "PEM file of the key of `upstream.tls.certificate`.",
	},
	"upstream.tls.server.name": {
		kind: "text",
		fallback: "",
		documentation: "The name in the cluster's certificates, where it is not the host's.",
	},
	"upstream.tls.insecure": {
		kind: "choice",
		choices: ["true", "false"],
		fallback: "false",
		documentation: "`true` takes any certificate: for trying things out.",
	},
	"upstream.compression.type": {
		kind: "choice",
		choices: ["zstd", "gzip", "snappy", "lz4", "none"],
		fallback: "zstd",
		documentation:
			"How batches are compressed for the link, however they are stored here. The central topic's `compression.type` may have them stored otherwise there.",
	},
	"upstream.compression.level": {
		kind: "integer",
		unit: "count",
		minimum: 1,
		maximum: 9,
		fallback: 9,
		documentation:
			"Of zstd: higher ones take more time for fewer bytes. A backlog that waits for the compressor, not for the link, is compressed with 3 at most.",
	},
	"upstream.linger.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 0,
		maximum: 3_600_000,
		fallback: 5000,
		documentation:
			"How long a record waits for others to be sent with, at most. Longer: larger batches, fewer bytes on the link. Priority `high` does not wait.",
	},
	"upstream.batch.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 1024,
		maximum: 16_777_216,
		fallback: 262_144,
		documentation:
			"Records in one batch, before compression, at most; less where the central topic's `max.message.bytes` says so.",
	},
	"upstream.transaction.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 1024,
		maximum: 67_108_864,
		fallback: 4_194_304,
		documentation:
			"Records in one transaction, before compression, at most. They are in memory while it runs; what a cut link sends again is no more than one.",
	},
	"upstream.transaction.timeout.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1000,
		maximum: 900_000,
		fallback: 15_000,
		documentation:
			"The central cluster aborts a transaction that has been open for so long, and holds its readers back until then. At most the cluster's `transaction.max.timeout.ms`.",
	},
	"upstream.request.timeout.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1000,
		maximum: 600_000,
		fallback: 30_000,
		documentation:
			"A request that the central cluster has not answered in this time has failed, and its connection with it.",
	},
	"upstream.window": {
		kind: "text",
		fallback: "",
		documentation:
			"The minutes in which records are sent: a cron expression (five fields: minute, hour, day of month, month, day of week; the gateway's local time), as `* 1-5 * * *` for the night. Empty: all. Priority `high` is sent at any time.",
	},
	"upstream.create.topics": {
		kind: "choice",
		choices: ["true", "false"],
		fallback: "true",
		documentation:
			"Whether topics that the central cluster does not have are created there. Where not, or where it does not let: `headwater upstream status` has the command.",
	},
	"upstream.partitions": {
		kind: "integer",
		unit: "count",
		minimum: 1,
		maximum: 10_000,
		minusOne: "as many as the topic here",
		fallback: -1,
		documentation: "Partitions of topics that are created there. -1: as many as the topic here.",
	},
	"upstream.replication.factor": {
		kind: "integer",
		unit: "count",
		minimum: 1,
		maximum: 32_767,
		minusOne: "the cluster's default",
		fallback: -1,
		documentation: "Replicas of topics that are created there. -1: the cluster's default.",
	},
	"upstream.transactional.id": {
		kind: "text",
		fallback: "",
		documentation:
			"The name under which the central cluster knows this gateway, different for each. Empty: `headwater-` and `gateway.id`.",
	},
	"upstream.progress.topic": {
		kind: "text",
		fallback: "__headwater_progress",
		shape: TOPIC_NAME,
		documentation:
			"The topic in the central cluster that says, in the same transactions, how far each gateway's records are there. One for all gateways; compacted.",
	},
	"upstream.progress.partitions": {
		kind: "integer",
		unit: "count",
		minimum: 1,
		maximum: 1000,
		fallback: 16,
		documentation: "Its partitions, where this gateway creates it. A gateway reads one of them when it starts.",
	},
	"upstream.quarantine.topic": {
		kind: "text",
		fallback: "__headwater_quarantine",
		shape: TOPIC_NAME,
		documentation:
			"The topic here that keeps the records that the central cluster refuses, as too large or too old, each with the reason; the rest flows on.",
	},
	"upstream.hold.free.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 0,
		maximum: MAX_BYTES,
		fallback: 268_435_456,
		documentation:
			"Retention leaves what is still to be sent upstream, unless the disk has less than this free: then it goes as the topics say, and what was not sent is in the loss ledger.",
	},
	"uplink.bytes.per.second": {
		kind: "integer",
		unit: "bytes",
		minimum: 0,
		maximum: MAX_BYTES,
		fallback: 0,
		documentation: "What upstream and uploads to S3 send in a second, together, at most. 0: no limit.",
	},
	"uplink.bytes.per.day": {
		kind: "integer",
		unit: "bytes",
		minimum: 0,
		maximum: MAX_BYTES,
		fallback: 0,
		documentation:
			"What upstream and uploads to S3 send in a day of the gateway's local time, together, at most; the rest waits. 0: no limit.",
	},
	"uplink.bytes.per.month": {
		kind: "integer",
		unit: "bytes",
		minimum: 0,
		maximum: MAX_BYTES,
		fallback: 0,
		documentation:
			"What upstream and uploads to S3 send in a calendar month, together, at most; the rest waits. 0: no limit.",
	},
	"uplink.reserve.percent": {
		kind: "integer",
		unit: "count",
		minimum: 0,
		maximum: 100,
		fallback: 0,
		documentation:
			"Which part of the day's and of the month's bytes is kept for upstream topics of priority `high`, so that telemetry does not use up what alarms need.",
	},
} as const satisfies Record<string, KeyDefinition>;
