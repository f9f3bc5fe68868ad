/** The client of a central cluster against the Kafka door here, over sockets: a Headwater can be the central cluster. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ensureTopic, listOffset, topicConfigs } from "../../../bridge/upstream/client/admin.ts";
import { Cluster } from "../../../bridge/upstream/client/cluster.ts";
import { CommittedView } from "../../../bridge/upstream/client/committed.ts";
import { fetchPartition } from "../../../bridge/upstream/client/fetch.ts";
import { type OutgoingBatch, Producer } from "../../../bridge/upstream/client/producer.ts";
import { tcpDial } from "../../../bridge/upstream/client/tcp.ts";
import { systemClock } from "../../../src/base/clock.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { decodeRecords, encodeBatch } from "../../../src/record/batch.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";

const { signal } = new AbortController();
const WISH = { partitions: 2, replicationFactor: -1, configs: { "max.message.bytes": "5000" }, create: true, signal };

let hub: KafkaGateway;
let cluster: Cluster;

beforeEach(async () => {
	hub = await KafkaGateway.start({ kafka: { autoCreateTopics: false } });
	cluster = connect();
	await ensureTopic(cluster, "t", WISH);
});
afterEach(async () => {
	cluster.close();
	await hub.stop();
});

function connect(): Cluster {
	return new Cluster({
		bootstrap: [{ host: "127.0.0.1", port: hub.port }],
		clientId: "test",
		dial: tcpDial({}, hub.disk),
		sasl: undefined,
		clock: systemClock,
		random: systemRandom,
		logger: silentLogger,
		requestTimeoutMs: 5000,
		connectTimeoutMs: 5000,
		metadataMaxAgeMs: 60_000,
	});
}

async function producer(transactionalId: string | undefined): Promise<Producer> {
	const made = new Producer(cluster, {
		transactionalId,
		transactionTimeoutMs: 15_000,
		requestTimeoutMs: 5000,
		deliveryTimeoutMs: 15_000,
		clock: systemClock,
		random: systemRandom,
	});
	await made.init(signal);
	return made;
}

function batch(values: readonly string[], partition = 0, topic = "t"): OutgoingBatch {
	const records = values.map((value) => ({
		timestamp: Date.now(),
		key: Buffer.from("k"),
		value: Buffer.from(value),
		headers: [],
	}));
	return { topic, partition, count: values.length, batch: encodeBatch(records, { codec: "zstd" }) };
}

async function committed(partition = 0): Promise<string[]> {
	const view = new CommittedView();
	const seen: string[] = [];
	let offset = await listOffset(cluster, "t", partition, "earliest", signal);
	const end = await listOffset(cluster, "t", partition, "committed", signal);
	while (offset < end) {
		const options = { isolation: "committed", maxBytes: 100_000, maxWaitMs: 100, signal } as const;
		offset = view.walk(await fetchPartition(cluster, "t", partition, offset, options), offset, (bytes, position) => {
			for (const { value } of decodeRecords(bytes, position)) seen.push(String(value));
		});
	}
	return seen;
}

describe("a Headwater as the central cluster", () => {
	it("makes topics, and tells how they are configured", async () => {
		expect(await ensureTopic(cluster, "t", WISH)).toBe("exists");
		expect(await ensureTopic(cluster, "u", WISH)).toBe("created");
		expect(cluster.topic("u")?.leaders).toHaveLength(2);
		const configs = (await topicConfigs(cluster, ["t"], signal)).get("t") as ReadonlyMap<string, string>;
		expect(configs.get("max.message.bytes")).toBe("5000");
		expect(configs.get("cleanup.policy")).toBe("delete");
		await expect(ensureTopic(cluster, "v", { ...WISH, create: false })).rejects.toMatchObject({ errorClass: "topic" });
	});

	it("shows what was committed, and nothing that was aborted or is open", async () => {
		const first = await producer("a");
		expect(await first.send([batch(["1", "2"]), batch(["3"]), batch(["x"], 1)], signal)).toMatchObject([
			{ baseOffset: 0, error: undefined },
			{ baseOffset: 2 },
			{ baseOffset: 0 },
		]);
		expect(await committed()).toEqual([]);
		await first.commit(signal);
		await first.send([batch(["lost"])], signal);
		await first.abort(signal);
		await first.send([batch(["4"])], signal);
		await first.commit(signal);
		await first.send([batch(["open"])], signal);
		expect(await committed()).toEqual(["1", "2", "3", "4"]);
		expect(await committed(1)).toEqual(["x"]);
		expect(first.epoch).toBe(1);
	});

	it("fences the producer that had the transactional id before, and ends what it left open", async () => {
		const first = await producer("a");
		await first.send([batch(["1"])], signal);
		const second = await producer("a");
		await expect(first.commit(signal)).rejects.toMatchObject({ errorClass: "fenced" });
		await second.send([batch(["2"])], signal);
		await second.commit(signal);
		expect(await committed()).toEqual(["2"]);
		await expect(first.init(signal)).rejects.toMatchObject({ errorClass: "fenced" });
	});

	it("goes on with another epoch where a transaction was left open", async () => {
		const one = await producer("a");
		await one.send([batch(["1"])], signal);
		await one.init(signal);
		expect(one.epoch).toBe(1);
		await one.send([batch(["2"])], signal);
		await one.commit(signal);
		expect(await committed()).toEqual(["2"]);
	});

	it("refuses a batch that is too large, by itself", async () => {
		const one = await producer("a");
		const large = {
			...batch(["x"]),
			batch: encodeBatch([{ timestamp: 0, key: null, value: systemRandom.bytes(6000), headers: [] }]),
			count: 1,
		};
		expect(await one.send([large, batch(["1"], 1)], signal)).toMatchObject([
			{ error: { errorClass: "size" } },
			{ error: undefined },
		]);
		await one.abort(signal);
		await one.send([batch(["2"])], signal);
		await one.commit(signal);
		expect(await committed()).toEqual(["2"]);
		expect(await committed(1)).toEqual([]);
	});

	it("takes idempotent batches, also of an epoch that the producer counted itself", async () => {
		const one = await producer(undefined);
		await one.send([batch(["1"]), batch(["2", "3"])], signal);
		await one.init(signal);
		expect(one.epoch).toBe(1);
		expect(await one.send([batch(["4"]), batch(["5"], 1)], signal)).toMatchObject([
			{ error: undefined },
			{ error: undefined },
		]);
		expect(await committed()).toEqual(["1", "2", "3", "4"]);
	});

	it("that was killed has what it had acknowledged; the producer goes on", async () => {
		const one = await producer("a");
		await one.send([batch(["1"])], signal);
		await one.commit(signal);
		await hub.kill();
		await hub.start();
		await one.send([batch(["2"])], signal);
		await one.commit(signal);
		expect(await committed()).toEqual(["1", "2"]);
	});

	it("gives offsets by place and time", async () => {
		const one = await producer("a");
		const before = Date.now() - 1000;
		await one.send([batch(["1", "2"])], signal);
		await one.commit(signal);
		await one.send([batch(["open"])], signal);
		expect(await listOffset(cluster, "t", 0, "committed", signal)).toBe(3);
		expect(await listOffset(cluster, "t", 0, "latest", signal)).toBe(4);
		expect(await listOffset(cluster, "t", 0, before, signal)).toBe(0);
		expect(await listOffset(cluster, "t", 0, Date.now() + 60_000, signal)).toBe(4);
		const options = { isolation: "committed", maxBytes: 100, maxWaitMs: 0, signal } as const;
		await expect(fetchPartition(cluster, "t", 0, 99, options)).rejects.toMatchObject({ name_: "OFFSET_OUT_OF_RANGE" });
	});
});
