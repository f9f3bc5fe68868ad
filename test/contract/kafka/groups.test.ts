/** Consumer groups over sockets: what Apache Kafka 4.3.1 was seen to answer to the same requests. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ERROR_CODES as E } from "../../../src/base/errors.ts";
import { offsetCommit } from "../../../src/kafka/handlers/08-offset-commit.ts";
import { offsetFetch } from "../../../src/kafka/handlers/09-offset-fetch.ts";
import { joinGroup } from "../../../src/kafka/handlers/11-join-group.ts";
import { heartbeat } from "../../../src/kafka/handlers/12-heartbeat.ts";
import { leaveGroup } from "../../../src/kafka/handlers/13-leave-group.ts";
import { syncGroup } from "../../../src/kafka/handlers/14-sync-group.ts";
import { describeGroups } from "../../../src/kafka/handlers/15-describe-groups.ts";
import { listGroups } from "../../../src/kafka/handlers/16-list-groups.ts";
import { deleteGroups } from "../../../src/kafka/handlers/42-delete-groups.ts";
import { offsetDelete } from "../../../src/kafka/handlers/47-offset-delete.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";

let gateway: KafkaGateway;
let wire: KafkaWire;

beforeEach(async () => {
	gateway = await KafkaGateway.start({ broker: { groups: { initialRebalanceDelayMs: 0 } } });
	gateway.broker.topics.create({ name: "t", partitions: 2 });
	gateway.broker.topics.create({ name: "u", partitions: 1 });
	wire = await gateway.connect();
});
afterEach(() => gateway.stop());

const SUBSCRIPTION = Buffer.from("\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff", "latin1");
const consumer = {
	groupId: "g",
	sessionTimeoutMs: 30_000,
	rebalanceTimeoutMs: 30_000,
	protocolType: "consumer",
	protocols: [{ name: "range", metadata: SUBSCRIPTION }],
};

function commitOf(
	value: object,
	...places: [topic: string, partition: number, offset: number, metadata?: string | null][]
) {
	const topics = places.map(([name, partitionIndex, committedOffset, committedMetadata = ""]) => ({
		name,
		partitions: [{ partitionIndex, committedOffset, committedMetadata }],
	}));
	return { groupId: "g", ...value, topics };
}

async function commit(
	version: number,
	value: Parameters<typeof commitOf>[0],
	...places: Parameters<typeof commitOf>[1][]
) {
	const { topics } = await wire.request(offsetCommit, version, commitOf(value, ...places));
	return topics.flatMap(({ partitions }) => partitions.map(({ errorCode }) => errorCode));
}

async function fetched(topic = "t", partition = 0) {
	const topics = [{ name: topic, partitionIndexes: [partition] }];
	const answer = await wire.request(offsetFetch, 5, { groupId: "g", topics });
	return answer.topics[0]?.partitions[0];
}

/** Alone in the group, and stable. */
async function member() {
	const joined = await wire.request(joinGroup, 3, consumer);
	const { memberId, generationId } = joined;
	const assignments = [{ memberId, assignment: Buffer.from("all") }];
	await wire.request(syncGroup, 3, { groupId: "g", generationId, memberId, assignments });
	return { memberId, generationIdOrMemberEpoch: generationId, generationId };
}

describe("joining", () => {
	it("is refused in Kafka's order, in every version", async () => {
		for (let version = 0; version <= 9; version++) {
			const error = async (value: object) => {
				const { errorCode, memberId, generationId } = await wire.request(joinGroup, version, { ...consumer, ...value });
				return [errorCode, memberId, generationId];
			};
			expect(await error({ groupId: "", sessionTimeoutMs: 1 })).toEqual([E.INVALID_GROUP_ID, "", -1]);
			expect(await error({ sessionTimeoutMs: 1, memberId: "x" })).toEqual([E.INVALID_SESSION_TIMEOUT, "x", -1]);
			expect(await error({ memberId: "x" })).toEqual([E.UNKNOWN_MEMBER_ID, "x", -1]);
			expect(await error({ protocols: [] })).toEqual([E.INCONSISTENT_GROUP_PROTOCOL, "", -1]);
			expect(await error({ protocolType: "" })).toEqual([E.INCONSISTENT_GROUP_PROTOCOL, "", -1]);
		}
	});

	it("gives an id first from version 4 on, then all that a member needs", async () => {
		for (let version = 0; version <= 9; version++) {
			const groupId = `g${version}`;
			let joined = await wire.request(joinGroup, version, { ...consumer, groupId });
			if (version >= 4) {
				expect([joined.errorCode, joined.generationId]).toEqual([E.MEMBER_ID_REQUIRED, -1]);
				joined = await wire.request(joinGroup, version, { ...consumer, groupId, memberId: joined.memberId });
			}
			expect(joined).toMatchObject({ errorCode: 0, generationId: 1, protocolName: "range", leader: joined.memberId });
			expect(joined.protocolType).toBe(version >= 7 ? "consumer" : null);
			expect(joined.members.map(({ metadata }) => metadata)).toEqual([SUBSCRIPTION]);
			expect(joined.memberId).toMatch(/^test-/);
		}
	});

	it("a request that waits holds up nobody else, nor is a member lost with its connection", async () => {
		const { memberId, generationId } = await member();
		const other = await gateway.connect();
		const joining = other.request(joinGroup, 3, consumer).catch(() => undefined);
		const again = { groupId: "g", generationId, memberId };
		await expect.poll(async () => (await wire.request(heartbeat, 4, again)).errorCode).toBe(E.REBALANCE_IN_PROGRESS);
		other.destroy();
		await joining;
		const { members } = await wire.request(joinGroup, 3, { ...consumer, memberId });
		expect(members).toHaveLength(2);
	});
});

describe("groups that are not there", () => {
	it("are told of as Kafka does", async () => {
		const claim = { groupId: "none", generationId: 1, memberId: "m" };
		const names = { protocolType: "a", protocolName: "b" };
		expect((await wire.request(heartbeat, 4, claim)).errorCode).toBe(E.UNKNOWN_MEMBER_ID);
		expect((await wire.request(heartbeat, 4, { ...claim, groupId: "" })).errorCode).toBe(E.INVALID_GROUP_ID);
		expect((await wire.request(syncGroup, 4, claim)).errorCode).toBe(E.UNKNOWN_MEMBER_ID);
		expect((await wire.request(syncGroup, 5, claim)).errorCode).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
		expect((await wire.request(syncGroup, 5, { ...claim, ...names })).errorCode).toBe(E.UNKNOWN_MEMBER_ID);
		for (const version of [0, 1, 2]) {
			expect((await wire.request(leaveGroup, version, { groupId: "none", memberId: "m" })).errorCode).toBe(
				E.UNKNOWN_MEMBER_ID,
			);
			expect((await wire.request(leaveGroup, version, { groupId: "", memberId: "m" })).errorCode).toBe(
				E.INVALID_GROUP_ID,
			);
		}
		for (const version of [3, 4, 5]) {
			const left = await wire.request(leaveGroup, version, { groupId: "none", members: [{ memberId: "m" }] });
			expect([left.errorCode, left.members[0]?.errorCode]).toEqual([0, E.UNKNOWN_MEMBER_ID]);
		}
		const described = await wire.request(describeGroups, 5, { groups: ["none"], includeAuthorizedOperations: true });
		expect(described.groups).toMatchObject([
			{ errorCode: 0, groupState: "Dead", authorizedOperations: 3400, members: [] },
		]);
		const deleted = await wire.request(deleteGroups, 2, { groupsNames: ["none", "", "none"] });
		expect(deleted.results).toEqual([
			{ groupId: "none", errorCode: E.GROUP_ID_NOT_FOUND },
			{ groupId: "", errorCode: E.GROUP_ID_NOT_FOUND },
		]);
		const topics = [{ name: "t", partitions: [{ partitionIndex: 0 }] }];
		expect((await wire.request(offsetDelete, 0, { groupId: "none", topics })).errorCode).toBe(E.GROUP_ID_NOT_FOUND);
		expect((await wire.request(offsetDelete, 0, { groupId: "", topics })).errorCode).toBe(E.INVALID_GROUP_ID);
		expect(await fetched()).toEqual({
			partitionIndex: 0,
			committedOffset: -1,
			committedLeaderEpoch: -1,
			metadata: "",
			errorCode: 0,
		});
	});
});

describe("committing", () => {
	it("is answered when it is durable", async () => {
		gateway.hold();
		const other = await gateway.connect();
		const answer = other.request(offsetCommit, 8, commitOf({}, ["t", 0, 5]));
		await wire.request(heartbeat, 4, { groupId: "g", generationId: 1, memberId: "m" });
		await new Promise((resolve) => setImmediate(resolve));
		expect(other.answered).toBe(0);
		gateway.release();
		expect((await answer).topics[0]?.partitions[0]?.errorCode).toBe(0);
	});

	it("keeps offset, leader epoch and metadata, for groups of consumers that assign partitions themselves", async () => {
		for (let version = 2; version <= 9; version++) {
			expect(
				await commit(version, {}, ["t", 0, version, `note ${version}`], ["t", 1, 1, null], ["t", 2, 1], ["nix", 0, 1]),
			).toEqual([0, 0, E.UNKNOWN_TOPIC_OR_PARTITION, E.UNKNOWN_TOPIC_OR_PARTITION]);
			expect(await fetched()).toMatchObject({ committedOffset: version, metadata: `note ${version}` });
		}
		expect(await commit(8, {}, ["t", 0, 77, "x".repeat(4097)], ["t", 1, 78, "x".repeat(4096)])).toEqual([
			E.OFFSET_METADATA_TOO_LARGE,
			0,
		]);
		expect(await fetched()).toMatchObject({ committedOffset: 9 });
	});

	it("is checked as Kafka does: unknown topics first, then who commits", async () => {
		const at = ["t", 0, 5] as [string, number, number];
		const stranger = { generationIdOrMemberEpoch: 4, memberId: "z" };
		expect(await commit(8, stranger, ["nix", 0, 1])).toEqual([E.UNKNOWN_TOPIC_OR_PARTITION]);
		expect(await commit(8, stranger, ["nix", 0, 1], at)).toEqual([E.UNKNOWN_TOPIC_OR_PARTITION, E.ILLEGAL_GENERATION]);
		expect(await commit(8, { ...stranger, generationIdOrMemberEpoch: -1 }, at)).toEqual([0]);
		expect(await commit(8, stranger, at)).toEqual([E.UNKNOWN_MEMBER_ID]);
		const own = await member();
		expect(await commit(8, own, at)).toEqual([0]);
		expect(await commit(8, { ...own, generationIdOrMemberEpoch: 9 }, at)).toEqual([E.ILLEGAL_GENERATION]);
		expect(await commit(8, { ...own, generationIdOrMemberEpoch: -1 }, at)).toEqual([E.ILLEGAL_GENERATION]);
		expect(await commit(8, { ...own, memberId: "" }, at)).toEqual([E.UNKNOWN_MEMBER_ID]);
		expect(await commit(8, {}, at)).toEqual([E.UNKNOWN_MEMBER_ID]);
		await wire.request(joinGroup, 3, { ...consumer, memberId: own.memberId });
		expect(await commit(8, { ...own, generationIdOrMemberEpoch: 2 }, at)).toEqual([E.REBALANCE_IN_PROGRESS]);
	});
});

describe("fetching offsets", () => {
	it("of all topics, of several groups, and not of what a transaction may still change", async () => {
		await commit(8, {}, ["t", 0, 5], ["t", 1, 6], ["u", 0, 7]);
		for (let version = 2; version <= 7; version++) {
			const { topics } = await wire.request(offsetFetch, version, { groupId: "g", topics: null });
			expect(
				topics.map(({ name, partitions }) => [name, partitions.map(({ committedOffset }) => committedOffset)]),
			).toEqual([
				["t", [5, 6]],
				["u", [7]],
			]);
		}
		const entry = { topic: "t", partition: 1, offset: 60, leaderEpoch: -1, metadata: "" };
		gateway.broker.groups.offsets.pending(1, 0, "g", [entry]);
		for (const requireStable of [false, true]) {
			const groups = [
				{ groupId: "g", topics: null },
				{ groupId: "other", topics: [{ name: "t", partitionIndexes: [1] }] },
			];
			const { groups: answered } = await wire.request(offsetFetch, 9, { groups, requireStable });
			const places = answered.map(({ topics }) =>
				topics.map(({ partitions }) => partitions.map((p) => [p.committedOffset, p.errorCode])),
			);
			expect(places).toEqual([
				[[[5, 0], requireStable ? [-1, E.UNSTABLE_OFFSET_COMMIT] : [6, 0]], [[7, 0]]],
				[[[-1, 0]]],
			]);
		}
	});
});

describe("what is asked for a thousand times in one request", () => {
	it("is told once", async () => {
		await commit(8, {}, ["t", 0, 5, "x".repeat(4000)]);
		const partitionIndexes = Array.from({ length: 1000 }, () => 0);
		const topics = [
			{ name: "t", partitionIndexes },
			{ name: "t", partitionIndexes },
		];
		const one = await wire.request(offsetFetch, 5, { groupId: "g", topics });
		expect(one.topics.map(({ partitions }) => partitions.length)).toEqual([1]);
		const groups = partitionIndexes.map(() => ({ groupId: "g", topics: null }));
		expect((await wire.request(offsetFetch, 8, { groups })).groups).toHaveLength(1);
		const described = await wire.request(describeGroups, 5, { groups: partitionIndexes.map(() => "g") });
		expect(described.groups).toHaveLength(1);
	});
});

describe("looking after groups", () => {
	it("lists them by state and type, and describes members only of a stable one in full", async () => {
		const own = await member();
		await commit(8, { groupId: "simple" }, ["t", 0, 5]);
		const listed = async (version: number, filter: object) =>
			(await wire.request(listGroups, version, filter)).groups.map(({ groupId }) => groupId).sort();
		expect(await listed(0, {})).toEqual(["g", "simple"]);
		expect(await listed(5, { statesFilter: ["STABLE"] })).toEqual(["g"]);
		expect(await listed(5, { statesFilter: ["empty"], typesFilter: ["Classic"] })).toEqual(["simple"]);
		expect(await listed(5, { typesFilter: ["consumer"] })).toEqual([]);
		const described = async () => (await wire.request(describeGroups, 5, { groups: ["g"] })).groups[0];
		expect(await described()).toMatchObject({
			groupState: "Stable",
			protocolData: "range",
			members: [
				{
					clientHost: "/127.0.0.1",
					clientId: "test",
					memberMetadata: SUBSCRIPTION,
					memberAssignment: Buffer.from("all"),
				},
			],
		});
		await wire.request(joinGroup, 3, { ...consumer, memberId: own.memberId });
		expect(await described()).toMatchObject({
			groupState: "CompletingRebalance",
			protocolData: "",
			members: [{ memberMetadata: Buffer.alloc(0) }],
		});
	});

	it("deletes groups without members, and offsets of topics that are not consumed", async () => {
		const own = await member();
		await commit(8, own, ["t", 0, 5], ["u", 0, 6]);
		expect((await wire.request(deleteGroups, 2, { groupsNames: ["g"] })).results[0]?.errorCode).toBe(E.NON_EMPTY_GROUP);
		const topics = ["t", "u", "nix"].map((name) => ({ name, partitions: [{ partitionIndex: 0 }] }));
		const deleted = await wire.request(offsetDelete, 0, { groupId: "g", topics });
		expect(deleted.topics.map(({ partitions }) => partitions[0]?.errorCode)).toEqual([
			E.GROUP_SUBSCRIBED_TO_TOPIC,
			0,
			E.UNKNOWN_TOPIC_OR_PARTITION,
		]);
		expect([(await fetched())?.committedOffset, (await fetched("u"))?.committedOffset]).toEqual([5, -1]);
		expect((await wire.request(leaveGroup, 1, { groupId: "g", memberId: own.memberId })).errorCode).toBe(0);
		expect((await wire.request(deleteGroups, 2, { groupsNames: ["g"] })).results[0]?.errorCode).toBe(0);
		expect((await fetched())?.committedOffset).toBe(-1);
	});
});
