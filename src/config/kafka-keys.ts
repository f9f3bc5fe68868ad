/** The configuration keys of what only Kafka clients see: the door, and what coordinates them. As in keys.ts. */
import type { KeyDefinition } from "./definition.ts";

const MAX_INT32 = 2_147_483_647;
const MAX_MS = Number.MAX_SAFE_INTEGER;
/** One listener, as Kafka writes it; the name of the protocol may be left out. */
const ADVERTISED_LISTENER = {
	matches: "^(PLAINTEXT://)?([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$",
	right: "host:port or PLAINTEXT://host:port, as PLAINTEXT://gateway.local:9092",
} as const;

export const KAFKA_KEYS = {
	"kafka.listen": {
		kind: "address",
		fallback: { host: "127.0.0.1", port: 9092 },
		documentation: "Where the Kafka door listens. Port 0 takes a free port.",
	},
	"advertised.listeners": {
		kind: "text",
		fallback: "",
		shape: ADVERTISED_LISTENER,
		documentation:
			"Where Kafka clients are told to connect to, as `PLAINTEXT://host:port` or `host:port`. Empty: where the Kafka door listens; where that is on all addresses, the one that the client has connected to.",
	},
	"node.id": {
		kind: "integer",
		unit: "count",
		minimum: 0,
		maximum: MAX_INT32,
		fallback: 1,
		documentation: "The number by which Kafka clients know this gateway.",
	},
	"auto.create.topics.enable": {
		kind: "choice",
		choices: ["true", "false"],
		fallback: "true",
		documentation: "Whether a topic that a Kafka client asks for by name, and that does not exist, is made.",
	},
	"delete.topic.enable": {
		kind: "choice",
		choices: ["true", "false"],
		fallback: "true",
		documentation: "Whether Kafka clients may delete topics.",
	},
	"socket.request.max.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 1024,
		maximum: 1_073_741_824,
		fallback: 16_777_216,
		documentation:
			"The largest request that a Kafka client may send, and never more than memory.budget.bytes; a larger one ends its connection.",
	},
	"kafka.max.connections": {
		kind: "integer",
		unit: "count",
		minimum: 1,
		maximum: 1_000_000,
		fallback: 1000,
		documentation: "Kafka connections open at one time; further ones are refused.",
	},
	"connections.max.idle.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 10,
		maximum: MAX_MS,
		fallback: 600_000,
		documentation:
			"A Kafka connection on which nothing has come or gone for this long is closed. One that waits for an answer is not idle.",
	},
	"group.min.session.timeout.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1,
		maximum: MAX_INT32,
		fallback: 6000,
		documentation:
			"The shortest session time-out that a member of a consumer group may ask for; a member that is silent for longer than its own is taken for gone.",
	},
	"group.max.session.timeout.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1,
		maximum: MAX_INT32,
		fallback: 1_800_000,
		documentation: "The longest session time-out that a member of a consumer group may ask for.",
	},
	"group.initial.rebalance.delay.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 0,
		maximum: MAX_INT32,
		fallback: 3000,
		documentation:
			"How long an empty consumer group waits for further members when the first one joins; put off again while members come, up to their rebalance time-out.",
	},
	"group.max.size": {
		kind: "integer",
		unit: "count",
		minimum: 1,
		maximum: MAX_INT32,
		fallback: 1000,
		documentation:
			"Members of one consumer group, at most. What the members of all groups tell of themselves takes 16 MiB of memory, at most.",
	},
	"offsets.retention.minutes": {
		kind: "integer",
		unit: "count",
		minimum: 1,
		maximum: MAX_INT32,
		fallback: 10_080,
		documentation:
			"How many minutes the offsets of a consumer group are kept after its last member has gone; those of consumers that assign partitions themselves, after they were committed.",
	},
	"offsets.retention.check.interval.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1,
		maximum: MAX_INT32,
		fallback: 600_000,
		documentation: "How often the gateway looks for offsets that have been kept long enough.",
	},
	"offset.metadata.max.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 0,
		maximum: 32_767,
		fallback: 4096,
		documentation: "The longest text that a consumer may store with an offset.",
	},
	"transaction.max.timeout.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1,
		maximum: MAX_INT32,
		fallback: 900_000,
		documentation:
			"The longest time-out that a transactional producer may ask for. A transaction that is open for longer than its producer's time-out is aborted: until then it holds back who reads committed records only.",
	},
	"transactional.id.expiration.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1,
		maximum: MAX_INT32,
		fallback: 604_800_000,
		documentation:
			"A transactional id that no producer has used for so long is forgotten; its producer, should it come back, has to begin anew.",
	},
	"producer.id.expiration.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1,
		maximum: MAX_INT32,
		fallback: 86_400_000,
		documentation:
			"An idempotent producer that has written nothing to a partition for so long is forgotten there: a batch that it sends once more is stored once more.",
	},
	"fetch.max.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 1024,
		maximum: MAX_INT32,
		fallback: 1_048_576,
		documentation:
			"Record batches in one answer to a Kafka consumer, at most, whatever it asks for; one batch is always sent.",
	},
} as const satisfies Record<string, KeyDefinition>;
