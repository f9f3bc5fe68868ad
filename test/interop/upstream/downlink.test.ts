/** Topics of an Apache Kafka come here once: over fetch sessions that it keeps, transactions, kills of either side, and a topic made again. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { ensureTopic } from "../../../bridge/upstream/client/admin.ts";
import { Cluster } from "../../../bridge/upstream/client/cluster.ts";
import { Producer } from "../../../bridge/upstream/client/producer.ts";
import { tcpDial } from "../../../bridge/upstream/client/tcp.ts";
import { Downlink } from "../../../bridge/upstream/downlink/downlink.ts";
import { systemClock } from "../../../src/base/clock.ts";
import { NodeDisk } from "../../../src/base/disk.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { DeleteTopicsRequest, DeleteTopicsResponse } from "../../../src/kafka/protocol/messages/20-delete-topics.ts";
import { encodeBatch } from "../../../src/record/batch.ts";
import { recordsIn } from "../../simulation/world.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import { Central } from "./central.ts";

const TOPIC = "commands";
const PARTITIONS = 2;
const POLL = { timeout: 60_000, interval: 100 };

let central: Central;
let local: KafkaGateway;
let writer: Producer;
let cluster: Cluster;
let stop: () => Promise<void>;
let downlink: Downlink;
const lasting = new AbortController();
const { signal } = lasting;
const WISH = { partitions: PARTITIONS, replicationFactor: 1, configs: {}, create: true, signal };

function newCluster(): Cluster {
	const [host, port] = central.bootstrap.split(":") as [string, string];
	return new Cluster({
		...{ bootstrap: [{ host, port: Number(port) }], clientId: "downlink", sasl: undefined, logger: silentLogger },
		...{ dial: tcpDial({}, new NodeDisk()), clock: systemClock, random: systemRandom },
		...{ requestTimeoutMs: 10_000, connectTimeoutMs: 5000, metadataMaxAgeMs: 300_000 },
	});
}

function start(): void {
	const end = new AbortController();
	const rule = { topic: TOPIC, to: "here", key: "gw/*", from: "earliest", retain: false } as const;
	downlink = new Downlink({ broker: local.broker, cluster: newCluster, rules: [rule], gatewayId: "gw" });
	const ended = downlink.run(end.signal).catch(() => {});
	stop = async () => {
		end.abort();
		await ended;
	};
}

async function write(outcome: "commit" | "abort", ...values: readonly string[]): Promise<void> {
	await writer.init(signal);
	const batches = values.map((value, i) => {
		const records = [`gw/${value}`, `other/${value}`].map((key) => ({
			...{ timestamp: Date.now(), key: Buffer.from(key), value: Buffer.from(value), headers: [] },
		}));
		return { topic: TOPIC, partition: i % PARTITIONS, batch: encodeBatch(records, { codec: "gzip" }), count: 2 };
	});
	const outcomes = await writer.send(batches, signal);
	for (const { error } of outcomes) if (error !== undefined) throw error;
	if (outcome === "commit") await writer.commit(signal);
	else await writer.abort(signal);
}

async function values(): Promise<string[]> {
	const found: string[] = [];
	for (const partition of local.broker.topics.get("here")?.partitions ?? [])
		for (let offset = partition.logStartOffset; offset < partition.highWatermark; ) {
			const records = recordsIn(await partition.read(offset, 1_000_000)).filter((each) => each.offset >= offset);
			found.push(...records.map(({ value }) => String(value)));
			offset = (records.at(-1)?.offset ?? Number.POSITIVE_INFINITY) + 1;
		}
	return found.sort();
}

beforeAll(async () => {
	central = await Central.start();
	local = await KafkaGateway.start();
	cluster = newCluster();
	await ensureTopic(cluster, TOPIC, WISH);
	writer = new Producer(cluster, {
		...{
			transactionalId: "commander",
			transactionTimeoutMs: 10_000,
			requestTimeoutMs: 10_000,
			deliveryTimeoutMs: 30_000,
		},
		...{ clock: systemClock, random: systemRandom },
	});
	start();
}, 120_000);

afterAll(async () => {
	await stop?.();
	lasting.abort();
	cluster?.close();
	await local?.stop();
	await central?.close();
});

it("are here once, whatever is killed", { timeout: 180_000 }, async () => {
	await write("commit", "a1", "a2");
	await write("abort", "b1", "b2");
	await write("commit", "c1", "c2");
	await expect.poll(values, POLL).toEqual(["a1", "a2", "c1", "c2"]);
	expect(downlink.status()).toMatchObject([{ receivedRecords: 4, filteredRecords: 4, lag: 0, problem: undefined }]);
	const before = downlink.wireBytes;
	// Stored here and not durable when the process dies.
	local.hold();
	await write("commit", "d1", "d2");
	await expect.poll(() => downlink.wireBytes.received, POLL).toBeGreaterThan(before.received + 100);
	await local.kill();
	await stop();
	await local.start();
	start();
	await expect.poll(values, POLL).toEqual(["a1", "a2", "c1", "c2", "d1", "d2"]);
	await central.kill();
	await central.up();
	await write("commit", "e1", "e2");
	await expect.poll(values, POLL).toEqual(["a1", "a2", "c1", "c2", "d1", "d2", "e1", "e2"]);
	expect(downlink.status()[0]?.problem).toBeUndefined();
});

it("are those of the new topic where the old one was deleted and made again", { timeout: 120_000 }, async () => {
	const request = { topics: [{ name: TOPIC }], topicNames: [TOPIC], timeoutMs: 10_000 };
	await cluster.toAny({ request: DeleteTopicsRequest, response: DeleteTopicsResponse }, request, { signal });
	await expect
		.poll(async () => {
			await cluster.refresh([TOPIC], signal);
			return cluster.topic(TOPIC)?.errorCode;
		}, POLL)
		.not.toBe(0);
	await ensureTopic(cluster, TOPIC, WISH);
	await write("commit", "f1", "f2");
	await expect.poll(values, POLL).toEqual(["a1", "a2", "c1", "c2", "d1", "d2", "e1", "e2", "f1", "f2"]);
	expect(downlink.status()[0]?.problem?.message).toContain("made again");
});
