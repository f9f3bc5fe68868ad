/**
 * Kafka clients, unmodified: each runs one scenario, a program of the kit. It makes a topic with three partitions and writes to it
 * with every compression that the client has, 20 records each, then a tombstone; reads it as a group, commits,
 * resumes; shares it between two members; commits, aborts and fences transactions; administers topic and group.
 */
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { run } from "../../support/gateway.ts";
import { type KafkaBroker, startKafka } from "./broker.ts";
import { KAFKA_CLI } from "./tool-shell.ts";

const { kafkaClasses, pythonKafka, nodeKafka, goKafka } = inject("runtimes");
const kit = path.resolve(import.meta.dirname, "../kit");
const HOUR_MS = 3_600_000;

interface Seen {
	readonly partition: number;
	readonly offset: number;
	readonly timestamp: number;
	readonly key: string;
	readonly value: string | null;
	readonly headers: Readonly<Record<string, string>>;
}

interface Client {
	readonly name: string;
	/** Undefined where the machine has not what it needs. */
	readonly command: readonly [string, ...string[]] | undefined;
	readonly lastArguments?: readonly string[];
	/** Of none, gzip, snappy, lz4, zstd. */
	readonly codecs?: number;
	/** What its report says differently or besides. */
	readonly differs: Readonly<Record<string, unknown>>;
	readonly administration: Readonly<Record<string, unknown>>;
}

const CODECS = ["none", "gzip", "snappy", "lz4", "zstd"];
const five = (name: string): string[] => Array.from({ length: 5 }, (_, n) => `${name}${n}`);
const ofNode = (script: string): readonly [string, ...string[]] | undefined =>
	nodeKafka === undefined ? undefined : [process.execPath, path.join(kit, "node", script)];
const ofPython = (script: string): readonly [string, ...string[]] | undefined =>
	pythonKafka === undefined ? undefined : [pythonKafka, path.join(kit, "python", script)];

const CLIENTS: readonly Client[] = [
	{
		name: "Kafka's Java client",
		command: kafkaClasses === undefined ? undefined : [KAFKA_CLI, "ClientScenario"],
		differs: { transactionalOffset: "7 by c" },
		administration: { state: "Empty", tooLarge: "RecordTooLargeException", lowWatermark: 3 },
	},
	{
		name: "franz-go",
		command: goKafka === undefined ? undefined : [goKafka],
		// It has no offsets of others in a transaction, but a session that copies: both markers before it count.
		differs: {
			copied: [...five("a"), ...five("c")],
			copiedUpTo: 17,
		},
		administration: { state: "Empty", tooLarge: "MESSAGE_TOO_LARGE", lowWatermark: 3 },
	},
	{
		name: "confluent-kafka (librdkafka)",
		command: ofPython("confluent_scenario.py"),
		differs: { transactionalOffset: "7 by c" },
		administration: { state: "EMPTY", tooLarge: "MSG_SIZE_TOO_LARGE", lowWatermark: 3, committed: 106 },
	},
	{
		name: "kafka-python",
		command: ofPython("kafka_python_scenario.py"),
		differs: { transactionalOffset: "7 by c" },
		administration: { state: "Empty", tooLarge: "MessageSizeTooLargeError", lowWatermark: 3 },
	},
	{
		name: "kafkajs",
		command: ofNode("kafkajs-scenario.mjs"),
		lastArguments: [nodeKafka ?? ""],
		codecs: 2,
		differs: { transactionalOffset: "7" },
		administration: { state: "Empty", tooLarge: "MESSAGE_TOO_LARGE" },
	},
	{
		name: "@platformatic/kafka",
		command: ofNode("platformatic-scenario.mjs"),
		lastArguments: [nodeKafka ?? ""],
		differs: {
			transactionalOffset: true,
			read: { read_uncommitted: [...five("a"), ...five("b"), ...five("c"), "of the second"] },
		},
		administration: { state: "Empty", tooLarge: true, lowWatermark: 3 },
	},
];

/** What was written with the first `codecs` compressions, as (key, value, timestamp, headers), in order. */
function written(codecs: number, start: number): Omit<Seen, "partition" | "offset">[] {
	const records = CODECS.slice(0, codecs).flatMap((codec, c) =>
		Array.from({ length: 20 }, (_, n) => ({
			timestamp: start + (c * 20 + n) * 1000,
			key: `k${n % 5}`,
			value: `${codec}-${n}`,
			headers: { codec },
		})),
	);
	return [...records, { timestamp: start + records.length * 1000, key: "gone", value: null, headers: {} }] as const;
}

describe("Kafka clients", () => {
	let broker: KafkaBroker;
	beforeAll(async () => {
		broker = await startKafka();
	});
	afterAll(() => broker.close());

	CLIENTS.forEach(({ name, command, lastArguments = [], codecs = 5, differs, administration }, index) => {
		it.skipIf(command === undefined)(`${name} writes, reads, shares, commits, aborts and administers`, async () => {
			const start = Date.now() - HOUR_MS;
			const [program, ...first] = command ?? ["false"];
			const { code, stdout, stderr } = await run(
				"timeout",
				["120", program, ...first, broker.bootstrap, `client${index}`, String(start), ...lastArguments],
				{ env: { ...process.env, KAFKA_CLASSES: kafkaClasses } },
			);
			expect(code, stderr).toBe(0);
			const { consumed, resumed, ...report }: { consumed: Seen[]; resumed: string[] } = JSON.parse(stdout);
			const expected = written(codecs, start);
			const inOrder = consumed.toSorted((a, b) => a.timestamp - b.timestamp);
			expect(inOrder.map(({ partition: _, offset: __, ...record }) => record)).toEqual(expected);
			for (const partition of new Set(consumed.map((record) => record.partition))) {
				// In order within a partition, with nothing between.
				const inPartition = consumed.filter((record) => record.partition === partition);
				expect(inPartition.map((record) => record.offset)).toEqual([...inPartition.keys()]);
				expect(inPartition).toEqual(inOrder.filter((record) => record.partition === partition));
			}
			for (const { key } of expected) {
				expect(new Set(consumed.filter((record) => record.key === key).map((record) => record.partition)).size).toBe(1);
			}
			expect(resumed.toSorted()).toEqual(five("more-"));
			expect(report).toEqual({
				partitions: 3,
				offsetsAtSecondCodec: 20,
				members: [[1, 2], [3]],
				fenced: true,
				read: {
					read_committed: [...five("a"), ...five("c")],
					read_uncommitted: [...five("a"), ...five("b"), ...five("c")],
				},
				...differs,
				administration: {
					"max.message.bytes": "2000",
					partitions: 4,
					earliest: 3,
					listed: true,
					listedAfterDelete: false,
					topicAfterDelete: false,
					...administration,
				},
			});
		});
	});
});
