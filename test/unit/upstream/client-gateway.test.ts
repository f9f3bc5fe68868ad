import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
	CREATE_TOPICS,
	DESCRIBE_CONFIGS,
	INIT_PRODUCER_ID,
	LIST_OFFSETS,
	PRODUCE,
} from "../../../bridge/upstream/client/apis.ts";
import { Cluster } from "../../../bridge/upstream/client/cluster.ts";
import { tcpDial } from "../../../bridge/upstream/client/tcp.ts";
import { systemClock } from "../../../src/base/clock.ts";
import { NodeDisk } from "../../../src/base/disk.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";

const never = new AbortController().signal;

let gateway: KafkaGateway;
let cluster: Cluster;

beforeEach(async () => {
	gateway = await KafkaGateway.start({ kafka: { autoCreateTopics: true } });
	cluster = new Cluster({
		bootstrap: [{ host: "127.0.0.1", port: gateway.port }],
		clientId: "gw",
		softwareVersion: "1.0.0",
		dial: tcpDial({}, new NodeDisk()),
		sasl: undefined,
		clock: systemClock,
		random: systemRandom,
		logger: silentLogger,
		requestTimeoutMs: 10_000,
		connectTimeoutMs: 10_000,
		metadataMaxAgeMs: 300_000,
	});
});

afterEach(async () => {
	cluster.close();
	await gateway.stop();
});

describe("another Headwater as the central cluster", () => {
	it("is asked, written to and coordinates, over one connection", async () => {
		await cluster.refresh(["t"], never);
		expect(cluster.clusterId).toMatch(/./);
		expect(cluster.topic("t")).toMatchObject({ errorCode: 3, leaders: [] });
		const topics = [{ name: "t", numPartitions: 3, replicationFactor: -1 }];
		const created = await cluster.toAny(CREATE_TOPICS, { topics, timeoutMs: 5000 });
		expect(created.body.topics[0]).toMatchObject({ name: "t", errorCode: 0 });
		await cluster.refresh(["t"], never);
		expect(cluster.topic("t")).toMatchObject({ errorCode: 0, leaders: [1, 1, 1] });
		const offsets = await cluster.toLeader("t", 2, LIST_OFFSETS, {
			replicaId: -1,
			topics: [{ name: "t", partitions: [{ partitionIndex: 2, timestamp: -1 }] }],
		});
		expect(offsets.body.topics[0]?.partitions[0]).toMatchObject({ errorCode: 0, offset: 0 });
		const configs = await cluster.toAny(DESCRIBE_CONFIGS, { resources: [{ resourceType: 2, resourceName: "t" }] });
		expect(configs.body.results[0]?.errorCode).toBe(0);
		const id = { transactionalId: "tx", transactionTimeoutMs: 10_000, producerId: -1, producerEpoch: -1 };
		const init = await cluster.toCoordinator("transaction", "tx", INIT_PRODUCER_ID, id);
		expect(init.body).toMatchObject({ errorCode: 0, producerEpoch: 0 });
		const refused = await cluster.toLeader(
			"t",
			0,
			PRODUCE,
			{ acks: 1, timeoutMs: 1000, topicData: [] },
			{ atMost: 11 },
		);
		expect(refused.version).toBe(11);
	});

	it("may be killed and come back between two requests", async () => {
		await cluster.toAny(CREATE_TOPICS, {
			topics: [{ name: "t", numPartitions: 1, replicationFactor: -1 }],
			timeoutMs: 5000,
		});
		await cluster.refresh(["t"], never);
		await gateway.kill();
		await gateway.start();
		const listed = { replicaId: -1, topics: [{ name: "t", partitions: [{ partitionIndex: 0, timestamp: -1 }] }] };
		const { body } = await cluster.toLeader("t", 0, LIST_OFFSETS, listed);
		expect(body.topics[0]?.partitions[0]).toMatchObject({ errorCode: 0 });
	});
});
