/** Metadata in every version: which topics, made when, refused how. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ERROR_CODES } from "../../../src/base/errors.ts";
import { metadata } from "../../../src/kafka/handlers/03-metadata.ts";
import { ZERO_UUID } from "../../../src/kafka/protocol/schema.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";

const VERSIONS = Array.from({ length: 13 }, (_, version) => version);
const { UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION, LEADER_NOT_AVAILABLE, INVALID_REQUEST, UNKNOWN_TOPIC_ID } =
	ERROR_CODES;

let gateway: KafkaGateway;
let wire: KafkaWire;
beforeEach(async () => {
	gateway = await KafkaGateway.start();
	wire = await gateway.connect();
	gateway.broker.topics.create({ name: "b", partitions: 1 });
	gateway.broker.topics.create({ name: "a", partitions: 3 });
});
afterEach(() => gateway.stop());

describe.each(VERSIONS)("version %i", (version) => {
	it("describes the node and the topics asked for, each once", async () => {
		const answer = await wire.request(metadata, version, { topics: [{ name: "a" }, { name: "b" }, { name: "a" }] });
		expect(answer.brokers).toEqual([{ nodeId: 1, host: "127.0.0.1", port: gateway.port, rack: null }]);
		if (version >= 1) expect(answer.controllerId).toBe(1);
		if (version >= 2) expect(answer.clusterId).toMatch(/^.{22}$/);
		const partition = (partitionIndex: number) => ({
			errorCode: 0,
			partitionIndex,
			leaderId: 1,
			leaderEpoch: version >= 7 ? 0 : -1,
			replicaNodes: [1],
			isrNodes: [1],
			offlineReplicas: [],
		});
		const topic = (name: string, partitions: number) => ({
			errorCode: 0,
			name,
			topicId: version >= 10 ? gateway.broker.topics.get(name)?.id : ZERO_UUID,
			isInternal: false,
			partitions: Array.from({ length: partitions }, (_, i) => partition(i)),
			topicAuthorizedOperations: -2147483648,
		});
		expect(answer.topics).toEqual([topic("a", 3), topic("b", 1)]);
	});

	it("describes all topics, by name, where that is asked", async () => {
		const answer = await wire.request(metadata, version, { topics: version === 0 ? [] : null });
		expect(answer.topics.map(({ name }) => name)).toEqual(["a", "b"]);
		if (version > 0) expect((await wire.request(metadata, version, { topics: [] })).topics).toEqual([]);
	});

	it("makes a topic that is asked for by name, unless it is told not to", async () => {
		if (version >= 4) {
			const no = await wire.request(metadata, version, { topics: [{ name: "new" }], allowAutoTopicCreation: false });
			expect(no.topics).toMatchObject([{ errorCode: UNKNOWN_TOPIC_OR_PARTITION, name: "new", partitions: [] }]);
			expect(gateway.broker.topics.get("new")).toBeUndefined();
		}
		const yes = await wire.request(metadata, version, { topics: [{ name: "new" }] });
		expect(yes.topics).toMatchObject([{ errorCode: 0, name: "new", partitions: [{}, {}] }]);
		expect(gateway.broker.topics.get("new")?.partitions.length).toBe(2);
	});

	it("refuses names that cannot be, one by one", async () => {
		const names = ["a", "", "..", "with space", "x".repeat(250), "a/b"];
		const answer = await wire.request(metadata, version, { topics: names.map((name) => ({ name })) });
		expect(answer.topics.map(({ name, errorCode }) => [name, errorCode])).toEqual(
			names.map((name) => [name, name === "a" ? 0 : INVALID_TOPIC_EXCEPTION]),
		);
	});
});

describe("topics by id", () => {
	it("are found from version 12 on, and those that do not exist are told by theirs", async () => {
		const topicId = gateway.broker.topics.get("a")?.id ?? "";
		const unknown = "b7fc5cfe-afa6-43ae-b16f-652f31ca122a";
		const answer = await wire.request(metadata, 12, {
			topics: [
				{ topicId, name: null },
				{ topicId: unknown, name: "b" },
			],
		});
		expect(answer.topics).toMatchObject([
			{ errorCode: 0, topicId, name: "a", partitions: [{}, {}, {}] },
			{ errorCode: UNKNOWN_TOPIC_ID, topicId: unknown, name: null, partitions: [] },
		]);
	});

	it("and topics without a name are refused before", async () => {
		const topicId = gateway.broker.topics.get("a")?.id ?? "";
		for (const version of [10, 11]) {
			const byId = await wire.request(metadata, version, { topics: [{ topicId, name: "a" }] });
			expect(byId).toMatchObject({ brokers: [], topics: [{ errorCode: INVALID_REQUEST, name: "a", topicId }] });
			const unnamed = await wire.request(metadata, version, { topics: [{ name: null }] });
			expect(unnamed.topics).toMatchObject([{ errorCode: INVALID_REQUEST, name: "" }]);
		}
	});
});

describe("automatic creation", () => {
	it("is off where auto.create.topics.enable says so", async () => {
		const own = await KafkaGateway.start({ kafka: { autoCreateTopics: false } });
		const answer = await (await own.connect()).request(metadata, 12, { topics: [{ name: "new" }] });
		expect(answer.topics).toMatchObject([{ errorCode: UNKNOWN_TOPIC_OR_PARTITION }]);
		expect(own.broker.topics.list()).toEqual([]);
		await own.stop();
	});

	it("never makes a topic of Kafka's own", async () => {
		for (const name of ["__consumer_offsets", "__transaction_state"]) {
			const answer = await wire.request(metadata, 12, { topics: [{ name }] });
			expect(answer.topics).toMatchObject([{ errorCode: UNKNOWN_TOPIC_OR_PARTITION, isInternal: true }]);
		}
		gateway.broker.topics.create({ name: "__consumer_offsets" });
		const answer = await wire.request(metadata, 12, { topics: [{ name: "__consumer_offsets" }] });
		expect(answer.topics).toMatchObject([{ errorCode: 0, isInternal: true }]);
	});

	it("does not make a name that collides", async () => {
		gateway.broker.topics.create({ name: "x.y" });
		const answer = await wire.request(metadata, 12, { topics: [{ name: "x_y" }] });
		expect(answer.topics).toMatchObject([{ errorCode: INVALID_TOPIC_EXCEPTION, name: "x_y" }]);
	});

	it("makes a few at once, and has a client ask again for the others", async () => {
		const topics = Array.from({ length: 40 }, (_, i) => ({ name: `new-${i}` }));
		const errors = async () =>
			(await wire.request(metadata, 12, { topics })).topics.filter(
				({ errorCode }) => errorCode === LEADER_NOT_AVAILABLE,
			);
		expect((await errors()).length).toBe(24);
		expect((await errors()).length).toBe(8);
		expect((await errors()).length).toBe(0);
		expect(gateway.broker.topics.list().length).toBe(42);
	});
});

describe("authorized operations", () => {
	it("are told where they are asked for, as Kafka tells them where everybody may do all", async () => {
		for (const version of [8, 9, 10]) {
			const answer = await wire.request(metadata, version, {
				topics: [{ name: "a" }, { name: "no such" }],
				includeTopicAuthorizedOperations: true,
				includeClusterAuthorizedOperations: true,
			});
			expect(answer.clusterAuthorizedOperations).toBe(8096);
			expect(answer.topics.map(({ topicAuthorizedOperations }) => topicAuthorizedOperations)).toEqual([3576, 3576]);
		}
	});
});
