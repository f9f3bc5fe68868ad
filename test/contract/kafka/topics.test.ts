/** CreateTopics, CreatePartitions and DeleteTopics: what Apache Kafka 4.3.1 answered to the same requests, where one node can. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ERROR_CODES } from "../../../src/base/errors.ts";
import { createTopics } from "../../../src/kafka/handlers/19-create-topics.ts";
import { deleteTopics } from "../../../src/kafka/handlers/20-delete-topics.ts";
import { createPartitions } from "../../../src/kafka/handlers/37-create-partitions.ts";
import { type EncodableOf, ZERO_UUID } from "../../../src/kafka/protocol/schema.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";

type Wanted = NonNullable<EncodableOf<typeof createTopics.request>["topics"]>[number];

const E = ERROR_CODES;
const OTHER_ID = "11111111-2222-3333-4444-555555555555";

let gateway: KafkaGateway;
let wire: KafkaWire;
beforeEach(async () => {
	gateway = await KafkaGateway.start();
	wire = await gateway.connect();
});
afterEach(() => gateway.stop());

const one = (given: Partial<Wanted>): Wanted => ({ name: "n", numPartitions: 1, replicationFactor: 1, ...given });
const assigned = (...brokerIds: number[][]): Partial<Wanted> => ({
	numPartitions: -1,
	replicationFactor: -1,
	assignments: brokerIds.map((ids, partitionIndex) => ({ partitionIndex, brokerIds: ids })),
});
async function create(topics: readonly Wanted[], version = 7, validateOnly = false) {
	return (await wire.request(createTopics, version, { topics, validateOnly })).topics;
}
const names = () => gateway.broker.topics.list().map(({ name }) => name);
const partitionsOf = (name: string) => gateway.broker.topics.get(name)?.partitions.length;

describe.each([2, 3, 4, 5, 6, 7])("CreateTopics version %i", (version) => {
	it("makes topics, with the broker's own numbers where the request has -1", async () => {
		const answers = await create(
			[
				one({ name: "a", numPartitions: 3, configs: [{ name: "cleanup.policy", value: "compact" }] }),
				one({ name: "b", numPartitions: -1, replicationFactor: -1 }),
			],
			version,
		);
		expect(answers.map(({ name, errorCode, errorMessage }) => [name, errorCode, errorMessage])).toEqual([
			["a", 0, null],
			["b", 0, null],
		]);
		expect([partitionsOf("a"), partitionsOf("b")]).toEqual([3, 2]);
		expect(gateway.broker.topics.get("a")?.config).toEqual({ "cleanup.policy": "compact" });
		expect(answers[0]?.topicId).toBe(version === 7 ? gateway.broker.topics.get("a")?.id : ZERO_UUID);
		expect(answers.map(({ numPartitions }) => numPartitions)).toEqual(version >= 5 ? [3, 2] : [-1, -1]);
		expect(answers.map(({ replicationFactor }) => replicationFactor)).toEqual(version >= 5 ? [1, 1] : [-1, -1]);
		const policy = answers[0]?.configs?.find(({ name }) => name === "cleanup.policy");
		if (version >= 5)
			expect(policy).toEqual({
				name: "cleanup.policy",
				value: "compact",
				readOnly: false,
				configSource: 1,
				isSensitive: false,
			});
		expect(answers[0]?.configs).toHaveLength(version >= 5 ? 33 : 0);
	});
});

describe("CreateTopics", () => {
	it.each<[string, Partial<Wanted>, number]>([
		["a replication factor of 3", { replicationFactor: 3 }, E.INVALID_REPLICATION_FACTOR],
		["a replication factor of 0", { replicationFactor: 0 }, E.INVALID_REPLICATION_FACTOR],
		["a replication factor of -2", { replicationFactor: -2 }, E.INVALID_REPLICATION_FACTOR],
		["no partitions", { numPartitions: 0 }, E.INVALID_PARTITIONS],
		["-2 partitions", { numPartitions: -2 }, E.INVALID_PARTITIONS],
		["2147483647 partitions", { numPartitions: 2147483647 }, E.INVALID_PARTITIONS],
		["a name that is none", { name: "a b" }, E.INVALID_TOPIC_EXCEPTION],
		["an empty name", { name: "" }, E.INVALID_TOPIC_EXCEPTION],
		["a name that collides", { name: "old_one" }, E.INVALID_TOPIC_EXCEPTION],
		["a name that there is", { name: "old.one" }, E.TOPIC_ALREADY_EXISTS],
		["an unknown setting", { configs: [{ name: "retention.msx", value: "1" }] }, E.INVALID_CONFIG],
		["a wrong value", { configs: [{ name: "retention.ms", value: "abc" }] }, E.INVALID_CONFIG],
		["a null value", { configs: [{ name: "retention.ms", value: null }] }, E.INVALID_CONFIG],
		["another node", assigned([2]), E.INVALID_REPLICA_ASSIGNMENT],
		["a second node", assigned([1, 2]), E.INVALID_REPLICA_ASSIGNMENT],
		["this node twice", assigned([1, 1]), E.INVALID_REPLICA_ASSIGNMENT],
		["no node", assigned([]), E.INVALID_REPLICA_ASSIGNMENT],
		[
			"partitions that do not follow one another",
			{
				...assigned(),
				assignments: [
					{ partitionIndex: 0, brokerIds: [1] },
					{ partitionIndex: 2, brokerIds: [1] },
				],
			},
			E.INVALID_REPLICA_ASSIGNMENT,
		],
		[
			"a partition assigned twice",
			{
				...assigned(),
				assignments: [
					{ partitionIndex: 0, brokerIds: [1] },
					{ partitionIndex: 0, brokerIds: [1] },
				],
			},
			E.INVALID_REPLICA_ASSIGNMENT,
		],
		["assignments and a replication factor", { ...assigned([1]), replicationFactor: 1 }, E.INVALID_REQUEST],
		["assignments and a number of partitions", { ...assigned([1]), numPartitions: 1 }, E.INVALID_REQUEST],
	])("refuses %s, makes nothing, and makes the others", async (_what, given, errorCode) => {
		gateway.broker.topics.create({ name: "old.one" });
		const answers = await create([one(given), one({ name: "good" })]);
		expect(answers[0]).toMatchObject({ errorCode, topicId: ZERO_UUID, numPartitions: -1, configs: [] });
		expect(answers[0]?.errorMessage).not.toBe("");
		expect(answers[1]?.errorCode).toBe(0);
		expect(names()).toEqual(["good", "old.one"]);
	});

	it("takes assignments to this node", async () => {
		const [answer] = await create([one(assigned([1], [1]))]);
		expect(answer).toMatchObject({ errorCode: 0, numPartitions: 2 });
		expect(partitionsOf("n")).toBe(2);
	});

	it("refuses a topic that is in the request twice, once, and makes the others", async () => {
		const answers = await create([one({ name: "a" }), one({ name: "b" }), one({ name: "a" })]);
		expect(answers.map(({ name, errorCode }) => [name, errorCode])).toEqual([
			["a", E.INVALID_REQUEST],
			["b", 0],
		]);
		expect(names()).toEqual(["b"]);
	});

	it("only says what would be made where that is asked", async () => {
		gateway.broker.topics.create({ name: "old" });
		const answers = await create([one({ numPartitions: 3 }), one({ name: "old" })], 7, true);
		expect(answers.map(({ errorCode, numPartitions }) => [errorCode, numPartitions])).toEqual([
			[0, 3],
			[E.TOPIC_ALREADY_EXISTS, -1],
		]);
		expect(names()).toEqual(["old"]);
	});

	it("refuses more partitions in one request than it makes at once", async () => {
		const answers = await create(
			[one({ name: "a", numPartitions: 9999 }), one({ name: "b", numPartitions: 2 })],
			7,
			true,
		);
		expect(answers.map(({ errorCode }) => errorCode)).toEqual([0, E.POLICY_VIOLATION]);
	});

	it("has made what it answers for, whatever happens then", async () => {
		await create([one({ name: "kept", numPartitions: 5 })]);
		await gateway.kill();
		await gateway.start();
		expect(partitionsOf("kept")).toBe(5);
	});
});

describe("CreatePartitions", () => {
	const grow = async (given: object, version = 3, validateOnly = false) =>
		(
			await wire.request(createPartitions, version, {
				topics: [{ name: "t", count: 4, assignments: null, ...given }],
				validateOnly,
			})
		).results;

	beforeEach(() => {
		gateway.broker.topics.create({ name: "t", partitions: 2 });
	});

	it.each([0, 1, 2, 3])("version %i adds partitions", async (version) => {
		expect(await grow({}, version)).toEqual([{ name: "t", errorCode: 0, errorMessage: null }]);
		expect(partitionsOf("t")).toBe(4);
	});

	it.each<[string, object, number]>([
		["as many as there are", { count: 2 }, E.INVALID_PARTITIONS],
		["fewer", { count: 1 }, E.INVALID_PARTITIONS],
		["-1", { count: -1 }, E.INVALID_PARTITIONS],
		["very many", { count: 1_000_000 }, E.INVALID_PARTITIONS],
		["an unknown topic", { name: "u" }, E.UNKNOWN_TOPIC_OR_PARTITION],
		["too few assignments", { assignments: [{ brokerIds: [1] }] }, E.INVALID_REPLICA_ASSIGNMENT],
		["no assignments", { assignments: [] }, E.INVALID_REPLICA_ASSIGNMENT],
		["another node", { count: 3, assignments: [{ brokerIds: [2] }] }, E.INVALID_REPLICA_ASSIGNMENT],
	])("refuses %s", async (_what, given, errorCode) => {
		expect(await grow(given)).toMatchObject([{ errorCode }]);
		expect(partitionsOf("t")).toBe(2);
	});

	it("takes assignments to this node", async () => {
		expect(await grow({ count: 3, assignments: [{ brokerIds: [1] }] })).toMatchObject([{ errorCode: 0 }]);
		expect(partitionsOf("t")).toBe(3);
	});

	it("only checks where that is asked", async () => {
		expect(await grow({}, 3, true)).toMatchObject([{ errorCode: 0 }]);
		expect(partitionsOf("t")).toBe(2);
	});

	it("refuses a topic that is in the request twice, once, and serves the others", async () => {
		gateway.broker.topics.create({ name: "u", partitions: 1 });
		const topics = [
			{ name: "t", count: 3 },
			{ name: "u", count: 3 },
			{ name: "t", count: 5 },
		].map((each) => ({ ...each, assignments: null }));
		const { results } = await wire.request(createPartitions, 3, { topics });
		expect(results.map(({ name, errorCode }) => [name, errorCode])).toEqual([
			["t", E.INVALID_REQUEST],
			["u", 0],
		]);
		expect([partitionsOf("t"), partitionsOf("u")]).toEqual([2, 3]);
	});
});

describe("DeleteTopics", () => {
	beforeEach(() => {
		for (const name of ["a", "b", "c"]) gateway.broker.topics.create({ name });
	});

	it.each([1, 2, 3, 4, 5])("version %i deletes by name", async (version) => {
		const { responses } = await wire.request(deleteTopics, version, { topicNames: ["a", "none", "c"] });
		expect(responses.map(({ name, errorCode }) => [name, errorCode])).toEqual([
			["a", 0],
			["none", E.UNKNOWN_TOPIC_OR_PARTITION],
			["c", 0],
		]);
		expect(names()).toEqual(["b"]);
	});

	it("version 6 deletes by name or id, and tells both", async () => {
		const id = (name: string) => gateway.broker.topics.get(name)?.id as string;
		const [a, b] = [id("a"), id("b")];
		const topics = [{ topicId: a }, { name: "b" }, { topicId: OTHER_ID }, {}, { name: "c", topicId: OTHER_ID }];
		const { responses } = await wire.request(deleteTopics, 6, { topics });
		expect(responses.map(({ name, topicId, errorCode }) => [name, topicId, errorCode])).toEqual([
			["a", a, 0],
			["b", b, 0],
			[null, OTHER_ID, E.UNKNOWN_TOPIC_ID],
			[null, ZERO_UUID, E.INVALID_REQUEST],
			["c", OTHER_ID, E.INVALID_REQUEST],
		]);
		expect(names()).toEqual(["c"]);
	});

	it("refuses a topic that is in the request twice, by whatever it is called, once", async () => {
		const topicId = gateway.broker.topics.get("a")?.id as string;
		const { responses } = await wire.request(deleteTopics, 6, { topics: [{ name: "a" }, { topicId }, { name: "b" }] });
		expect(responses.map(({ errorCode }) => errorCode)).toEqual([E.INVALID_REQUEST, 0]);
		expect(names()).toEqual(["a", "c"]);
	});

	it("deletes nothing where deletion is turned off", async () => {
		const closed = await KafkaGateway.start({ kafka: { deleteTopics: false } });
		closed.broker.topics.create({ name: "a" });
		const { responses } = await (await closed.connect()).request(deleteTopics, 5, { topicNames: ["a"] });
		expect(responses).toMatchObject([{ name: "a", errorCode: E.TOPIC_DELETION_DISABLED }]);
		expect(closed.broker.topics.get("a")).toBeDefined();
		await closed.stop();
	});
});
