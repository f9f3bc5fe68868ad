/** What the client asks of the central cluster besides producing: fetches, offsets, topics and their configurations. */
import { describe, expect, it } from "vitest";
import { ensureTopic, listOffset, type TopicWish, topicConfigs } from "../../../bridge/upstream/client/admin.ts";
import { fetchPartition } from "../../../bridge/upstream/client/fetch.ts";
import { KafkaError } from "../../../bridge/upstream/client/kafka-error.ts";
import { LinkError } from "../../../bridge/upstream/client/link-error.ts";
import { type Asked, ScriptedCluster } from "../../support/scripted-cluster.ts";

const { signal } = new AbortController();
const lost = (): LinkError => new LinkError("lost", "gone", { maybeSent: true });

/** Answers from a list; the last one holds. A number is the partition's error. */
function scripted(...answers: (number | object)[]): ScriptedCluster {
	const cluster = new ScriptedCluster((asked) => {
		const next = answers.length > 1 ? answers.shift() : answers[0];
		if (next instanceof Error) throw next;
		return typeof next === "number" ? refusal(asked, next) : (next as object);
	});
	cluster.lead("t", [1, 2]);
	return cluster;
}

function refusal({ api }: Asked, errorCode: number): object {
	if (api === "Fetch") return { responses: [{ topic: "t", partitions: [{ partitionIndex: 1, errorCode }] }] };
	if (api === "ListOffsets") return { topics: [{ name: "t", partitions: [{ partitionIndex: 1, errorCode }] }] };
	if (api === "CreateTopics") return { topics: [{ name: "new", errorCode, errorMessage: "because" }] };
	throw new Error(api);
}

const FOUND = {
	responses: [
		{
			topic: "t",
			partitions: [
				{
					partitionIndex: 1,
					highWatermark: 30,
					lastStableOffset: 20,
					logStartOffset: 5,
					abortedTransactions: [{ producerId: 7, firstOffset: 8 }],
					records: Buffer.from("bytes"),
				},
			],
		},
	],
};

describe("a fetch", () => {
	const fetch = (cluster: ScriptedCluster) =>
		cluster.finish(
			fetchPartition(cluster.cluster, "t", 1, 9, {
				isolation: "committed",
				maxBytes: 1000,
				maxWaitMs: 45_000,
				lane: "poll",
				signal,
			}),
		);

	it("asks the leader, for no longer than it may take, and brings all that is said", async () => {
		const cluster = scripted(FOUND);
		expect(await fetch(cluster)).toEqual({
			records: Buffer.from("bytes"),
			highWatermark: 30,
			lastStableOffset: 20,
			logStartOffset: 5,
			aborted: [{ producerId: 7, firstOffset: 8 }],
		});
		const [asked] = cluster.asked;
		expect(asked).toMatchObject({ node: 2, version: 12, options: { lane: "poll", timeoutMs: 55_000 } });
		expect(asked?.value).toMatchObject({
			...{ isolationLevel: 1, maxWaitMs: 45_000, minBytes: 1, maxBytes: 1000, sessionId: 0, sessionEpoch: -1 },
			topics: [{ topic: "t", partitions: [{ partition: 1, fetchOffset: 9, partitionMaxBytes: 1000 }] }],
		});
	});

	it("of nothing is empty", async () => {
		const nothing = { partitionIndex: 1, records: null, abortedTransactions: null };
		const cluster = scripted({ responses: [{ topic: "t", partitions: [nothing] }] });
		expect(await fetch(cluster)).toMatchObject({ records: Buffer.alloc(0), aborted: [] });
	});

	it.each([5, 6, 74, 75, 56, 78, -1, 7])("goes on after error %i", async (code) => {
		const cluster = scripted(code, code, FOUND);
		expect(await fetch(cluster)).toMatchObject({ highWatermark: 30 });
		expect(cluster.asked).toHaveLength(3);
	});

	it("looks for another leader where it may have moved, or its connection broke; once", async () => {
		const moved = scripted(6, FOUND);
		await fetch(moved);
		expect(moved.refreshes).toBe(1);
		const broken = scripted(lost(), FOUND);
		await fetch(broken);
		expect(broken.refreshes).toBe(1);
		await expect(fetch(scripted(lost(), lost(), FOUND))).rejects.toBeInstanceOf(LinkError);
	});

	it("has patience, and then its topic is held up", async () => {
		const cluster = scripted(6);
		await expect(fetch(cluster)).rejects.toMatchObject({ errorClass: "topic", name_: "NOT_LEADER_OR_FOLLOWER" });
		expect(cluster.clock.monotonic()).toBeGreaterThanOrEqual(10_000);
		expect(cluster.clock.monotonic()).toBeLessThan(20_000);
	});

	it.each([
		[1, "topic"],
		[29, "topic"],
		[2, "topic"],
		[35, "fatal"],
	])("rejects error %i at once", async (code, errorClass) => {
		const cluster = scripted(code, FOUND);
		await expect(fetch(cluster)).rejects.toMatchObject({ code, errorClass });
		expect(cluster.clock.monotonic()).toBe(0);
	});

	it("heeds an error of all of the answer", async () => {
		await expect(fetch(scripted({ errorCode: 29 }))).rejects.toMatchObject({ code: 29 });
	});

	it("asks for a topic that was never asked for first, and for an answer that is one", async () => {
		const cluster = scripted(FOUND);
		cluster.topics.clear();
		cluster.onRefresh = () => cluster.lead("t", [1, 2]);
		await fetch(cluster);
		expect(cluster.refreshes).toBe(1);
		await expect(fetch(scripted({ responses: [] }))).rejects.toMatchObject({ failure: "malformed" });
	});

	it("ends with the signal", async () => {
		const cluster = scripted(6);
		const controller = new AbortController();
		cluster.clock.after(2000, () => controller.abort(new Error("stop")));
		const options = { isolation: "committed", maxBytes: 1, maxWaitMs: 0, signal: controller.signal } as const;
		await expect(cluster.finish(fetchPartition(cluster.cluster, "t", 1, 0, options))).rejects.toThrow("stop");
	});
});

describe("an offset", () => {
	const list = (cluster: ScriptedCluster, at: Parameters<typeof listOffset>[3]) =>
		cluster.finish(listOffset(cluster.cluster, "t", 1, at, signal));
	const found = (offset: number) => ({ topics: [{ name: "t", partitions: [{ partitionIndex: 1, offset }] }] });

	it.each([
		["earliest", -2, 0],
		["latest", -1, 0],
		["committed", -1, 1],
		[1234, 1234, 0],
	] as const)("%s is asked for", async (at, timestamp, isolationLevel) => {
		const cluster = scripted(found(77));
		expect(await list(cluster, at)).toBe(77);
		expect(cluster.asked[0]?.value).toMatchObject({
			replicaId: -1,
			isolationLevel,
			topics: [{ name: "t", partitions: [{ partitionIndex: 1, timestamp }] }],
		});
	});

	it("of a time that no record has reached is the end", async () => {
		expect(await list(scripted(found(-1), found(90)), 5000)).toBe(90);
	});

	it("is asked for again after what passes; what does not rejects", async () => {
		expect(await list(scripted(6, 78, found(3)), "latest")).toBe(3);
		await expect(list(scripted(29), "latest")).rejects.toMatchObject({ errorClass: "topic" });
		await expect(list(scripted(found(-1)), "latest")).rejects.toMatchObject({ failure: "malformed" });
	});
});

describe("a topic", () => {
	const WISH: TopicWish = {
		partitions: 3,
		replicationFactor: -1,
		configs: { "cleanup.policy": "compact" },
		create: true,
		signal,
	};
	const ensure = (cluster: ScriptedCluster, wish: Partial<TopicWish> = {}) =>
		cluster.finish(ensureTopic(cluster.cluster, "new", { ...WISH, ...wish }));
	/** Missing, until it was asked for so often. */
	function missing(refreshes: number, ...answers: (number | object)[]): ScriptedCluster {
		const cluster = scripted(...answers);
		cluster.onRefresh = () => {
			if (cluster.refreshes >= refreshes) cluster.lead("new", [1, 1, 1]);
			else cluster.lead("new", [], 3);
		};
		return cluster;
	}

	it("that is there is left alone, even where a partition has no leader", async () => {
		const cluster = missing(1, 0);
		cluster.onRefresh = () => cluster.lead("new", [1, -1]);
		expect(await ensure(cluster)).toBe("exists");
		expect(cluster.asked).toEqual([]);
	});

	it("that is missing is made, and waited for", async () => {
		const cluster = missing(4, 0);
		expect(await ensure(cluster)).toBe("created");
		expect(cluster.asked).toHaveLength(1);
		expect(cluster.asked[0]?.value.topics).toMatchObject([
			{ name: "new", numPartitions: 3, replicationFactor: -1, configs: [{ name: "cleanup.policy", value: "compact" }] },
		]);
		expect(cluster.refreshes).toBe(4);
	});

	it("that somebody else makes at the same moment exists", async () => {
		expect(await ensure(missing(2, 36))).toBe("exists");
	});

	it("is asked for again where the answer was lost or late", async () => {
		expect(await ensure(missing(3, lost(), 36))).toBe("exists");
		expect(await ensure(missing(3, 7, 0))).toBe("created");
		await expect(ensure(missing(99, lost()))).rejects.toBeInstanceOf(LinkError);
	});

	it("that may not be made is for a person, who is told the command", async () => {
		const error = await ensure(missing(99, 0), { create: false, replicationFactor: 2 }).catch((e: unknown) => e);
		expect(error).toMatchObject({ errorClass: "topic", code: 3 });
		expect((error as KafkaError).action).toBe(
			"Create it: kafka-topics.sh --bootstrap-server SERVER:PORT --create --topic new --partitions 3 --replication-factor 2 --config cleanup.policy=compact",
		);
	});

	it.each([29, 31, 37, 38, 40, 44, 17])("that the cluster refuses to make (%i) is for a person", async (code) => {
		const cluster = missing(99, code);
		const error = await ensure(cluster).catch((e: unknown) => e);
		expect(error).toMatchObject({ errorClass: "topic", code });
		expect((error as KafkaError).action).toContain(
			"--create --topic new --partitions 3 --config cleanup.policy=compact",
		);
		expect((error as KafkaError).message).toContain("because");
		expect(cluster.asked).toHaveLength(1);
		if (code === 29 || code === 31) expect((error as KafkaError).action).toContain("kafka-acls.sh");
	});

	it("that may not be seen is for a person", async () => {
		const cluster = scripted(0);
		cluster.onRefresh = () => cluster.lead("new", [], 29);
		await expect(ensure(cluster)).rejects.toMatchObject({
			code: 29,
			action: expect.stringContaining("--operation Describe"),
		});
	});

	it("is made by the controller, where brokers do not pass it on", async () => {
		const cluster = missing(2, 41, { controllerId: 9, brokers: [] }, 0);
		expect(await ensure(cluster)).toBe("created");
		expect(cluster.asked.map(({ api, node }) => [api, node])).toEqual([
			["CreateTopics", undefined],
			["Metadata", undefined],
			["CreateTopics", 9],
		]);
	});

	it("that never comes is waited for within bounds", async () => {
		const cluster = missing(1_000_000, 0);
		await expect(ensure(cluster)).rejects.toMatchObject({ errorClass: "topic", code: 3 });
		expect(cluster.clock.monotonic()).toBeLessThan(20_000);
	});
});

describe("configurations", () => {
	it("are those of each topic that matter here, or why they are not told", async () => {
		const cluster = scripted({
			results: [
				{
					...{ resourceType: 2, resourceName: "a" },
					configs: [
						{ name: "max.message.bytes", value: "1000", synonyms: [] },
						{ name: "secret", value: null, synonyms: [] },
					],
				},
				{ resourceType: 2, resourceName: "b", errorCode: 29, errorMessage: "no", configs: [] },
			],
		});
		const found = await cluster.finish(topicConfigs(cluster.cluster, ["a", "b"], signal));
		expect(found.get("a")).toEqual(new Map([["max.message.bytes", "1000"]]));
		expect(found.get("b")).toBeInstanceOf(KafkaError);
		expect((found.get("b") as KafkaError).action).toContain("--operation DescribeConfigs --topic b");
		const [{ value }] = cluster.asked as [Asked];
		expect(value.resources).toMatchObject([
			{ resourceType: 2, resourceName: "a", configurationKeys: expect.arrayContaining(["max.message.bytes"]) },
			{ resourceName: "b" },
		]);
	});

	it("of no topic are not asked for; one that is not answered is malformed", async () => {
		const cluster = scripted({ results: [] });
		expect(await cluster.finish(topicConfigs(cluster.cluster, [], signal))).toEqual(new Map());
		expect(cluster.asked).toEqual([]);
		await expect(cluster.finish(topicConfigs(cluster.cluster, ["a"], signal))).rejects.toMatchObject({
			failure: "malformed",
		});
	});
});
