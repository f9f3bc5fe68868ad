/** What one node without authentication, quotas or replicas answers to those who ask for them, and how large its partitions are. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ERROR_CODES } from "../../../src/base/errors.ts";
import { describeAcls } from "../../../src/kafka/handlers/29-describe-acls.ts";
import { createAcls } from "../../../src/kafka/handlers/30-create-acls.ts";
import { deleteAcls } from "../../../src/kafka/handlers/31-delete-acls.ts";
import { describeLogDirs } from "../../../src/kafka/handlers/35-describe-log-dirs.ts";
import { electLeaders } from "../../../src/kafka/handlers/43-elect-leaders.ts";
import { alterPartitionReassignments } from "../../../src/kafka/handlers/45-alter-partition-reassignments.ts";
import { listPartitionReassignments } from "../../../src/kafka/handlers/46-list-partition-reassignments.ts";
import { describeClientQuotas } from "../../../src/kafka/handlers/48-describe-client-quotas.ts";
import { alterClientQuotas } from "../../../src/kafka/handlers/49-alter-client-quotas.ts";
import { describeUserScramCredentials } from "../../../src/kafka/handlers/50-describe-user-scram-credentials.ts";
import { alterUserScramCredentials } from "../../../src/kafka/handlers/51-alter-user-scram-credentials.ts";
import { EMPTY_HEADERS_BLOCK, NULL_KEY_BLOCK } from "../../../src/record/builder.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";

const E = ERROR_CODES;

let gateway: KafkaGateway;
let wire: KafkaWire;
beforeEach(async () => {
	gateway = await KafkaGateway.start();
	wire = await gateway.connect();
	gateway.broker.topics.create({ name: "t", partitions: 2 });
});
afterEach(() => gateway.stop());

describe("DescribeLogDirs", () => {
	const sizes = ({ results }: Awaited<ReturnType<typeof ask>>) =>
		results[0]?.topics.map(({ name, partitions }) => [
			name,
			partitions.map(({ partitionIndex, partitionSize }) => [partitionIndex, partitionSize]),
		]);
	const ask = (topics: { topic: string; partitions: number[] }[] | null, version = 4) =>
		wire.request(describeLogDirs, version, { topics });

	it("gives the bytes that each partition has, in files or not yet", async () => {
		const partition = gateway.broker.topics.get("t")?.partitions[1];
		const value = Buffer.alloc(1000, 1);
		partition?.appendRecord(5, NULL_KEY_BLOCK, value, 0, value.length, EMPTY_HEADERS_BLOCK);
		await gateway.broker.log.whenCommitted();
		const size = partition?.sizeBytes as number;
		expect(size).toBeGreaterThan(1000);
		for (const version of [1, 2, 3, 4])
			expect(sizes(await ask(null, version))).toEqual([
				[
					"t",
					[
						[0, 0],
						[1, size],
					],
				],
			]);
		gateway.broker.log.flush();
		const { results } = await ask([
			{ topic: "t", partitions: [1, 7] },
			{ topic: "none", partitions: [0] },
		]);
		expect(results).toMatchObject([
			{
				errorCode: 0,
				logDir: "/data",
				topics: [{ name: "t", partitions: [{ partitionIndex: 1, offsetLag: 0, isFutureKey: false }] }],
			},
		]);
		expect(results[0]?.topics[0]?.partitions[0]?.partitionSize).toBeGreaterThanOrEqual(size);
		expect(results[0]?.usableBytes).toBeGreaterThan(0);
		expect(results[0]?.totalBytes).toBeGreaterThanOrEqual(results[0]?.usableBytes as number);
	});

	it("lists no topic of which nothing is asked for", async () => {
		expect(sizes(await ask([]))).toEqual([]);
		expect(sizes(await ask([{ topic: "t", partitions: [] }]))).toEqual([]);
	});
});

describe("ElectLeaders", () => {
	it.each([0, 1, 2])(
		"version %i says of each partition that there is no need, or no such partition",
		async (version) => {
			const topicPartitions = [
				{ topic: "t", partitions: [0, 9] },
				{ topic: "none", partitions: [0] },
			];
			const answer = await wire.request(electLeaders, version, { topicPartitions });
			expect(answer.errorCode).toBe(0);
			const found = answer.replicaElectionResults.map(({ partitionResult }) =>
				partitionResult.map(({ errorCode }) => errorCode),
			);
			expect(found).toEqual([[E.ELECTION_NOT_NEEDED, E.UNKNOWN_TOPIC_OR_PARTITION], [E.UNKNOWN_TOPIC_OR_PARTITION]]);
			expect((await wire.request(electLeaders, version, { topicPartitions: null })).replicaElectionResults).toEqual([]);
		},
	);

	it("refuses an unknown type of election", async () => {
		const topicPartitions = [{ topic: "t", partitions: [0] }];
		const answer = await wire.request(electLeaders, 2, { electionType: 7, topicPartitions });
		expect(answer).toMatchObject({
			errorCode: E.INVALID_REQUEST,
			replicaElectionResults: [{ partitionResult: [{ errorCode: E.INVALID_REQUEST }] }],
		});
	});
});

describe("partition reassignments", () => {
	it.each([0, 1])("version %i may name this node, and no other", async (version) => {
		const partition = (partitionIndex: number, replicas: number[] | null) => ({ partitionIndex, replicas });
		const given = [[1], [2], [], [1, 1], [1, 2], null].map((replicas) => partition(0, replicas));
		const { errorCode, responses } = await wire.request(alterPartitionReassignments, version, {
			topics: [
				{ name: "t", partitions: [...given, partition(9, [1]), partition(9, null)] },
				{ name: "none", partitions: [partition(0, [1])] },
			],
		});
		expect(errorCode).toBe(0);
		expect(responses.map(({ partitions }) => partitions.map((each) => each.errorCode))).toEqual([
			[
				0,
				E.INVALID_REPLICA_ASSIGNMENT,
				E.INVALID_REPLICA_ASSIGNMENT,
				E.INVALID_REPLICA_ASSIGNMENT,
				E.INVALID_REPLICA_ASSIGNMENT,
				E.NO_REASSIGNMENT_IN_PROGRESS,
				E.UNKNOWN_TOPIC_OR_PARTITION,
				E.UNKNOWN_TOPIC_OR_PARTITION,
			],
			[E.UNKNOWN_TOPIC_OR_PARTITION],
		]);
	});

	it("are never under way", async () => {
		expect(await wire.request(listPartitionReassignments, 0, { topics: null })).toMatchObject({
			errorCode: 0,
			topics: [],
		});
	});
});

describe("client quotas", () => {
	it.each([0, 1])("version %i: there are none", async (version) => {
		const components = [{ entityType: "user", matchType: 0, match: "a" }];
		expect(await wire.request(describeClientQuotas, version, { components })).toMatchObject({
			errorCode: 0,
			entries: [],
		});
		const entity = [{ entityType: "user", entityName: "a" }];
		const ops = [{ key: "producer_byte_rate", value: 1000, remove: false }];
		const { entries } = await wire.request(alterClientQuotas, version, { entries: [{ entity, ops }] });
		expect(entries).toEqual([
			{ errorCode: E.UNSUPPORTED_VERSION, errorMessage: "this gateway has no client quotas", entity },
		]);
	});

	it.each<[string, number, { entityType: string; matchType: number; match: string | null }[]]>([
		["an unknown entity", E.UNSUPPORTED_VERSION, [{ entityType: "city", matchType: 0, match: "a" }]],
		["an empty entity", E.INVALID_REQUEST, [{ entityType: "", matchType: 0, match: "a" }]],
		["an unknown match", E.INVALID_REQUEST, [{ entityType: "user", matchType: 9, match: "a" }]],
		["an exact match of nothing", E.INVALID_REQUEST, [{ entityType: "user", matchType: 0, match: null }]],
		["a name that is not to match", E.INVALID_REQUEST, [{ entityType: "user", matchType: 1, match: "a" }]],
		["one entity twice", E.INVALID_REQUEST, ["a", "b"].map((match) => ({ entityType: "user", matchType: 0, match }))],
		[
			"ip with another",
			E.INVALID_REQUEST,
			["ip", "user"].map((entityType) => ({ entityType, matchType: 2, match: null })),
		],
	])("a filter with %s is refused", async (_what, errorCode, components) => {
		expect(await wire.request(describeClientQuotas, 1, { components })).toMatchObject({ errorCode, entries: null });
	});
});

describe("SCRAM credentials", () => {
	it("nobody has any", async () => {
		expect(await wire.request(describeUserScramCredentials, 0, { users: null })).toMatchObject({
			errorCode: 0,
			results: [],
		});
		const users = ["a", "b", "a"].map((name) => ({ name }));
		const { errorCode, results } = await wire.request(describeUserScramCredentials, 0, { users });
		expect([errorCode, results.map((each) => [each.user, each.errorCode])]).toEqual([
			0,
			[
				["a", E.DUPLICATE_RESOURCE],
				["b", E.RESOURCE_NOT_FOUND],
			],
		]);
	});

	it("nobody can be given any, since nobody would be asked for them", async () => {
		const bytes = Buffer.alloc(16);
		const { results } = await wire.request(alterUserScramCredentials, 0, {
			deletions: [{ name: "a", mechanism: 1 }],
			upsertions: [{ name: "b", mechanism: 1, iterations: 4096, salt: bytes, saltedPassword: bytes }],
		});
		expect(results.map(({ user, errorCode }) => [user, errorCode])).toEqual([
			["a", E.RESOURCE_NOT_FOUND],
			["b", E.UNSUPPORTED_VERSION],
		]);
	});
});

describe("ACLs", () => {
	it.each([1, 2, 3])("version %i: as of a broker without an authorizer", async (version) => {
		const filter = { resourceTypeFilter: 1, patternTypeFilter: 1, operation: 1, permissionType: 1 };
		const nobody = { resourceNameFilter: null, principalFilter: null, hostFilter: null };
		const refused = { errorCode: E.SECURITY_DISABLED, errorMessage: "there is no authorizer on this gateway" };
		expect(await wire.request(describeAcls, version, { ...filter, ...nobody })).toMatchObject({
			...refused,
			resources: [],
		});
		const creation = {
			resourceType: 2,
			resourceName: "t",
			principal: "User:a",
			host: "*",
			operation: 3,
			permissionType: 3,
		};
		const { results } = await wire.request(createAcls, version, { creations: [creation, creation] });
		expect(results).toEqual([refused, refused]);
		const { filterResults } = await wire.request(deleteAcls, version, { filters: [{ ...filter, ...nobody }] });
		expect(filterResults).toEqual([{ ...refused, matchingAcls: [] }]);
	});
});
