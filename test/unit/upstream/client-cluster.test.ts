import { describe, expect, it } from "vitest";
import {
	API_VERSIONS,
	END_TXN,
	FIND_COORDINATOR,
	LIST_OFFSETS,
	METADATA,
} from "../../../bridge/upstream/client/apis.ts";
import { Cluster, type ClusterOptions, type RequestOptions } from "../../../bridge/upstream/client/cluster.ts";
import type { LinkError } from "../../../bridge/upstream/client/link-error.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { refused, ScriptedBrokers } from "../../support/scripted-brokers.ts";

const UUID = "00000000-0000-0000-0000-000000000001";
const never = new AbortController().signal;

/** Three brokers n1 to n3, of which the bootstrap servers are `seeds`; topic t has partition 0 at node 1 and so on. */
function world(options: Partial<ClusterOptions> & { seeds?: string[]; seed?: number } = {}) {
	const { seeds = ["n1"], seed = 1 } = options;
	const clock = new SimulatedClock();
	const brokers = new ScriptedBrokers();
	const topic = {
		errorCode: 0,
		name: "t",
		topicId: UUID,
		partitions: [1, 2, 3].map((leaderId, partitionIndex) => ({ partitionIndex, leaderId, leaderEpoch: 5 })),
	};
	const state = { nodes: [1, 2, 3], topics: [topic], coordinator: 2 };
	const all = [1, 2, 3].map((nodeId) => {
		const host = `n${nodeId}`;
		return brokers
			.at(host)
			.on(METADATA, ({ value }) => ({
				clusterId: "the-cluster",
				brokers: state.nodes.map((nodeId) => ({ nodeId, host: `n${nodeId}`, port: 9092 })),
				topics: state.topics.filter(({ name }) => value.topics?.some((asked) => asked.name === name)),
			}))
			.on(FIND_COORDINATOR, ({ value }) => {
				const { coordinator: nodeId } = state;
				const [key = ""] = value.coordinatorKeys;
				return { coordinators: [{ key, nodeId, host: `n${nodeId}`, port: 9092, errorCode: 0, errorMessage: null }] };
			})
			.on(LIST_OFFSETS, () => ({}))
			.on(END_TXN, () => ({}));
	});
	const cluster = new Cluster({
		bootstrap: seeds.map((host) => ({ host, port: 9092 })),
		clientId: "gw",
		dial: brokers.dial,
		sasl: undefined,
		clock,
		random: new SimulatedRandom(seed),
		logger: silentLogger,
		requestTimeoutMs: 30_000,
		connectTimeoutMs: 10_000,
		metadataMaxAgeMs: 300_000,
		...options,
	});
	const leader = (partition: number, request: RequestOptions = {}) =>
		cluster.toLeader("t", partition, LIST_OFFSETS, {}, request);
	const end = (key = "tx") => cluster.toCoordinator("transaction", key, END_TXN, {});
	const [n1, n2, n3] = all as [(typeof all)[0], (typeof all)[0], (typeof all)[0]];
	return { clock, brokers, cluster, leader, end, state, topic, n1, n2, n3, all };
}

async function failure(promise: Promise<unknown>): Promise<LinkError> {
	return await promise.then(
		() => expect.unreachable("it did not fail"),
		(error) => error,
	);
}

describe("what is known of the central cluster", () => {
	it("is what was asked for, no topic is made by asking", async () => {
		const { cluster, n1 } = world();
		expect([cluster.clusterId, cluster.topic("t")]).toEqual([undefined, undefined]);
		await cluster.refresh(["t", "other", "t"], never);
		expect(cluster.clusterId).toBe("the-cluster");
		expect(cluster.topic("t")).toMatchObject({ name: "t", id: UUID, errorCode: 0, leaders: [1, 2, 3] });
		expect(cluster.topic("other")).toMatchObject({ errorCode: 3, leaders: [] });
		const question = n1.valuesOf(METADATA)[0]!;
		expect(question.allowAutoTopicCreation).toBe(false);
		expect(question.topics?.map(({ name }) => name)).toEqual(["other", "t"]);
	});

	it("is not asked for where that would make a topic", async () => {
		const { cluster, n1 } = world();
		n1.on(API_VERSIONS, () => ({ apiKeys: [{ apiKey: 3, minVersion: 0, maxVersion: 3 }] }));
		expect(await failure(cluster.refresh(["t"], never))).toMatchObject({ failure: "unsupported", lasting: true });
	});

	it("is asked for once where many ask for the same", async () => {
		const { cluster, n1 } = world();
		await Promise.all([cluster.refresh(["t"], never), cluster.refresh(["t"], never), cluster.refresh(["u"], never)]);
		expect([n1.asked, n1.dials]).toEqual([["Metadata", "Metadata"], 1]);
	});

	it("is not taken back by a broker that is behind, but by a new topic of the same name", async () => {
		const { cluster, topic } = world();
		await cluster.refresh(["t"], never);
		topic.partitions[0] = { partitionIndex: 0, leaderId: 3, leaderEpoch: 4 };
		topic.partitions[1] = { partitionIndex: 1, leaderId: 3, leaderEpoch: 6 };
		await cluster.refresh(["t"], never);
		expect(cluster.topic("t")?.leaders).toEqual([1, 3, 3]);
		topic.topicId = UUID.replace("1", "2");
		await cluster.refresh(["t"], never);
		expect(cluster.topic("t")?.leaders).toEqual([3, 3, 3]);
	});

	it("is not what cannot be", async () => {
		const { cluster, topic, n1 } = world();
		topic.partitions[0]!.partitionIndex = 3;
		expect(await failure(cluster.refresh(["t"], never))).toMatchObject({ failure: "malformed" });
		n1.on(METADATA, () => ({ brokers: [{ nodeId: 1, host: "", port: 9092 }] }));
		const error = await failure(cluster.refresh([], never));
		expect(error).toMatchObject({ failure: "malformed", action: expect.stringContaining("advertised.listeners") });
	});

	it("comes from another bootstrap server where one does not answer", async () => {
		for (let seed = 0; seed < 5; seed++) {
			const { cluster, n1, n2, n3 } = world({ seeds: ["n1", "n2", "n3"], seed });
			n1.refusal = refused(n1.address);
			n3.refusal = refused(n3.address);
			await cluster.refresh(["t"], never);
			expect(n2.asked).toEqual(["Metadata"]);
		}
	});

	it("comes from any of the bootstrap servers: gateways do not all ask the first", async () => {
		const asked = new Set<string>();
		for (let seed = 0; seed < 20; seed++) {
			const { cluster, all } = world({ seeds: ["n1", "n2", "n3"], seed });
			await cluster.refresh([], never);
			for (const broker of all) if (broker.dials > 0) asked.add(broker.address.host);
		}
		expect([...asked].sort()).toEqual(["n1", "n2", "n3"]);
	});

	it("says of each why none answers, what lasts first", async () => {
		const { cluster, n1, n2 } = world({ seeds: ["n1", "n2"] });
		n1.refusal = refused(n1.address);
		n2.on(API_VERSIONS, ({ connection }) => {
			connection.send(Buffer.from("HTTP/1.1"));
			return undefined;
		});
		const error = await failure(cluster.refresh([], never));
		expect(error).toMatchObject({ failure: "malformed", lasting: false, maybeSent: false });
		expect(error.message).toMatch(
			/^no broker of the central cluster answers: n2:9092 is no Kafka .*; nothing listens at n1:9092$/,
		);
	});

	it("comes from the bootstrap servers again where all others are gone", async () => {
		const { cluster, brokers, all, clock } = world({ seeds: ["seed"] });
		const seed = brokers.at("seed");
		seed.on(METADATA, () => ({ clusterId: "c", brokers: [{ nodeId: 1, host: "n1", port: 9092 }] }));
		await cluster.refresh([], never);
		seed.connections[0]!.drop();
		for (const broker of all) broker.refusal = refused(broker.address);
		seed.on(METADATA, () => ({ clusterId: "c", brokers: [{ nodeId: 1, host: "moved", port: 9092 }] }));
		await cluster.refresh([], never);
		await clock.settle();
		brokers.at("moved").on(LIST_OFFSETS, () => ({}));
		await cluster.toNode(1, LIST_OFFSETS, {});
		expect(brokers.at("moved").asked).toEqual(["ListOffsets"]);
	});

	it("is forgotten where the cluster says that it leads nowhere", async () => {
		const { cluster, n1, n2, brokers } = world({ seeds: ["seed"] });
		brokers.at("seed").on(METADATA, () => ({ brokers: [{ nodeId: 1, host: "n1", port: 9092 }] }));
		await cluster.refresh([], never);
		brokers.at("seed").connections[0]!.drop();
		n1.on(METADATA, () => ({ errorCode: 129 }));
		brokers.at("seed").on(METADATA, () => ({ brokers: [{ nodeId: 2, host: "n2", port: 9092 }] }));
		await cluster.refresh([], never);
		await cluster.toNode(2, LIST_OFFSETS, {});
		expect(n2.asked).toEqual(["ListOffsets"]);
		expect(n1.openConnections).toEqual([]);
	});
});

describe("a request to a leader", () => {
	it("takes the way to the partition's leader, over the connection that is there", async () => {
		const { cluster, leader, all } = world();
		await cluster.refresh(["t"], never);
		for (const partition of [0, 1, 2, 0]) await leader(partition);
		expect(all.map(({ asked }) => asked)).toEqual([
			["Metadata", "ListOffsets", "ListOffsets"],
			["ListOffsets"],
			["ListOffsets"],
		]);
		expect(all.map(({ dials }) => dials)).toEqual([1, 1, 1]);
	});

	it("fails where none is known", async () => {
		const { cluster, leader, topic } = world();
		await expect(leader(0)).rejects.toMatchObject({ name: "KafkaError", code: 5, api: "ListOffsets" });
		topic.partitions[1]!.leaderId = -1;
		await cluster.refresh(["t", "gone"], never);
		await expect(leader(1)).rejects.toMatchObject({ code: 5, errorClass: "metadata" });
		await expect(leader(3)).rejects.toMatchObject({ code: 5 });
		await expect(cluster.toLeader("gone", 0, LIST_OFFSETS, {})).rejects.toMatchObject({ code: 3 });
		await expect(cluster.toNode(9, LIST_OFFSETS, {})).rejects.toMatchObject({ failure: "unreachable" });
	});

	it("asks again after the leaders were forgotten, and after a fault", async () => {
		const { cluster, leader, topic, n1, n3 } = world({ seeds: ["n2"] });
		await cluster.refresh(["t"], never);
		cluster.forgetLeaders("t");
		expect(cluster.topic("t")).toMatchObject({ id: UUID, leaders: [-1, -1, -1] });
		await leader(0);
		expect(n1.asked).toEqual(["ListOffsets"]);
		n1.on(LIST_OFFSETS, ({ connection }) => {
			connection.drop();
			return undefined;
		});
		await expect(leader(0)).rejects.toMatchObject({ failure: "lost", maybeSent: true });
		topic.partitions[0] = { partitionIndex: 0, leaderId: 3, leaderEpoch: 6 };
		await leader(0);
		expect(n3.asked).toEqual(["ListOffsets"]);
	});

	it("asks again where what is known is old", async () => {
		const { cluster, leader, n1, clock } = world();
		await cluster.refresh(["t", "u"], never);
		await clock.advance(299_000);
		await leader(0);
		expect(n1.asked).toEqual(["Metadata", "ListOffsets"]);
		await clock.advance(2000);
		await leader(0);
		await leader(0);
		expect(n1.asked.slice(2)).toEqual(["Metadata", "ListOffsets", "ListOffsets"]);
		expect(n1.valuesOf(METADATA).at(-1)?.topics).toHaveLength(2);
	});

	it("was not sent where the question before it was not answered", async () => {
		const { cluster, leader, end, n1, state, clock } = world();
		state.nodes = [1];
		await cluster.refresh(["t"], never);
		n1.on(METADATA, () => undefined).on(FIND_COORDINATOR, () => undefined);
		cluster.forgetLeaders("t");
		const asked = Promise.all([failure(leader(0)), failure(end())]);
		await clock.advance(30_000);
		for (const error of await asked) expect(error).toMatchObject({ name: "LinkError", maybeSent: false });
	});
});

describe("a request to a coordinator", () => {
	it("finds it once", async () => {
		const { end, cluster, n1, n2 } = world();
		await Promise.all([end(), end()]);
		await end();
		expect(n1.valuesOf(FIND_COORDINATOR)[0]).toMatchObject({ keyType: 1 });
		await cluster.toCoordinator("group", "tx", END_TXN, {});
		expect(n1.asked.concat(n2.asked).filter((api) => api === "FindCoordinator")).toHaveLength(2);
		expect(n2.asked.filter((api) => api === "EndTxn")).toHaveLength(4);
	});

	it("finds it again when told to, and after a fault", async () => {
		const { end, cluster, state, n2, n3 } = world();
		await end();
		state.coordinator = 3;
		await end();
		expect(n3.asked).not.toContain("EndTxn");
		cluster.forgetCoordinator("transaction", "tx");
		await end();
		expect(n3.asked).toContain("EndTxn");
		n3.on(END_TXN, ({ connection }) => {
			connection.drop();
			return undefined;
		});
		state.coordinator = 2;
		expect(await failure(end())).toMatchObject({ failure: "lost", maybeSent: true });
		const before = n2.asked.length;
		await end();
		expect(n2.asked.slice(before)).toContain("EndTxn");
	});

	it("finds it again where its broker is none of the cluster any more", async () => {
		const { end, cluster, state, n2, n3 } = world();
		await end();
		state.nodes = [1, 3];
		state.coordinator = 3;
		await cluster.refresh([], never);
		await end();
		expect([n2, n3].map(({ asked }) => asked.filter((api) => api === "EndTxn"))).toEqual([["EndTxn"], ["EndTxn"]]);
	});

	it("speaks to brokers that know of one key at a time", async () => {
		const { end, n1, n2 } = world();
		n1.on(API_VERSIONS, () => ({ apiKeys: [{ apiKey: 10, minVersion: 0, maxVersion: 3 }] })).on(
			FIND_COORDINATOR,
			({ value }) => ({ nodeId: value.key === "tx" ? 2 : 3, host: "n2", port: 9092 }),
		);
		await end();
		expect(n2.asked).toEqual(["EndTxn"]);
	});

	it("fails as the cluster says", async () => {
		const { end, n1 } = world();
		n1.on(FIND_COORDINATOR, () => ({ coordinators: [{ key: "tx", errorCode: 15, nodeId: -1, host: "", port: -1 }] }));
		await expect(end()).rejects.toMatchObject({ name: "KafkaError", code: 15, errorClass: "coordinator" });
		n1.on(FIND_COORDINATOR, () => ({ coordinators: [{ key: "other", nodeId: 1, host: "n1", port: 1 }] }));
		expect(await failure(end())).toMatchObject({ failure: "malformed" });
		n1.on(FIND_COORDINATOR, () => ({ coordinators: [{ key: "tx", nodeId: 1, host: "n1", port: 70_000 }] }));
		expect(await failure(end())).toMatchObject({ failure: "malformed" });
	});
});

describe("connections of the cluster", () => {
	it("are made anew without a word where the broker has closed them meanwhile", async () => {
		const { cluster, leader, n1 } = world();
		await cluster.refresh(["t"], never);
		for (let i = 0; i < 3; i++) {
			n1.openConnections[0]!.drop();
			await leader(0);
		}
		expect([n1.dials, n1.asked.length]).toEqual([4, 4]);
	});

	it("are not trusted after nine minutes without a word, and cost nothing in them", async () => {
		const { cluster, leader, n1, clock } = world({ metadataMaxAgeMs: 10_000_000 });
		await cluster.refresh(["t"], never);
		await clock.advance(539_000);
		expect([clock.pending, n1.requests.length]).toEqual([0, 2]);
		await leader(0);
		expect(n1.dials).toBe(1);
		await clock.advance(541_000);
		await leader(0);
		expect([n1.dials, n1.openConnections.length]).toEqual([2, 1]);
	});

	it("are one for each lane: a long poll holds nobody up", async () => {
		const { cluster, leader, n1, clock } = world();
		await cluster.refresh(["t"], never);
		n1.on(LIST_OFFSETS, () => undefined);
		const poll = leader(0, { lane: "downlink" });
		await clock.settle();
		n1.on(LIST_OFFSETS, () => ({}));
		await Promise.all([leader(0), leader(0)]);
		expect(
			n1.openConnections.map((connection) => n1.requests.filter((one) => one.connection === connection).length),
		).toEqual([4, 2]);
		n1.requests.find(({ connection, api }) => connection === n1.connections[1] && api === "ListOffsets")?.answer({});
		await poll;
	});

	it("are not tried again at once where a node refused them, but after a while", async () => {
		const { cluster, leader, n2, clock } = world();
		await cluster.refresh(["t"], never);
		n2.refusal = refused(n2.address);
		await expect(leader(1)).rejects.toMatchObject({ failure: "unreachable", maybeSent: false });
		await expect(leader(1)).rejects.toMatchObject({ failure: "unreachable", maybeSent: false });
		expect(n2.dials).toBe(1);
		n2.refusal = undefined;
		await clock.advance(1000);
		await leader(1);
		expect(n2.dials).toBe(2);
	});

	it("wait as long as a broker asks, a minute at most, and only to that broker", async () => {
		const { cluster, leader, n1, n2, clock } = world();
		await cluster.refresh(["t"], never);
		n1.on(LIST_OFFSETS, () => ({ throttleTimeMs: 5000 }));
		await leader(0);
		const waiting = leader(0);
		await leader(1);
		await clock.advance(4999);
		expect([n1.asked.length, n2.asked.length]).toEqual([2, 1]);
		await clock.advance(1);
		await waiting;
		expect(n1.asked).toHaveLength(3);
		await clock.advance(5000);
		n1.on(LIST_OFFSETS, () => ({ throttleTimeMs: 2_000_000_000 }));
		await leader(0);
		const stop = new AbortController();
		const given = failure(leader(0, { signal: stop.signal }));
		const longer = leader(0);
		stop.abort(new Error("enough"));
		expect((await given).message).toBe("enough");
		await clock.advance(60_000);
		await longer;
	});

	it("to a broker that leaves the cluster end when what is under way has ended", async () => {
		const { cluster, leader, state, n2, clock } = world();
		await cluster.refresh(["t"], never);
		n2.on(LIST_OFFSETS, () => undefined);
		const asked = leader(1);
		await clock.settle();
		state.nodes = [1, 3];
		await cluster.refresh([], never);
		n2.requests.at(-1)?.answer({});
		await asked;
		expect(n2.openConnections).toHaveLength(1);
		await cluster.refresh([], never);
		expect(n2.openConnections).toEqual([]);
	});

	it("are counted on the wire for good", async () => {
		const { cluster, leader, all, state, clock } = world();
		await cluster.refresh(["t"], never);
		for (const partition of [0, 1, 2]) await leader(partition);
		all[1]!.openConnections[0]!.drop();
		await leader(1);
		state.nodes = [1, 3];
		await cluster.refresh([], never);
		expect(all[1]!.openConnections).toEqual([]);
		all[2]!.openConnections[0]!.drop();
		all[2]!.on(API_VERSIONS, () => undefined);
		const asked = failure(leader(2));
		await clock.advance(30_000);
		await asked;
		const sum = (what: "sentBytes" | "receivedBytes"): number =>
			all.flatMap(({ connections }) => connections.map((one) => one[what])).reduce((a, b) => a + b, 0);
		expect([cluster.sentBytes, cluster.receivedBytes]).toEqual([sum("sentBytes"), sum("receivedBytes")]);
	});

	it("end with the cluster, and nothing is made after that", async () => {
		const { cluster, leader, end, all, n2, clock } = world();
		await cluster.refresh(["t"], never);
		n2.on(LIST_OFFSETS, () => undefined);
		const asked = failure(leader(1));
		await clock.settle();
		const dialled = failure(leader(2));
		cluster.close();
		expect(await asked).toMatchObject({ failure: "lost", maybeSent: true });
		expect(await dialled).toMatchObject({ failure: "lost" });
		const dials = all.map((broker) => broker.dials);
		for (const attempt of [leader(0), end(), cluster.refresh([], never), cluster.toAny(LIST_OFFSETS, {})])
			expect(await failure(attempt)).toMatchObject({ failure: "lost", maybeSent: false });
		expect(all.map((broker) => broker.dials)).toEqual(dials);
		expect([all.flatMap((broker) => broker.openConnections), clock.pending]).toEqual([[], 0]);
	});
});

describe("a request to any broker", () => {
	it("goes to the next where it certainly did not arrive, and to none where it may have", async () => {
		const { cluster, n1, n2, n3 } = world({ seeds: ["n1", "n2", "n3"] });
		await cluster.refresh([], never);
		const first = [n1, n2, n3].find(({ asked }) => asked.length > 0)!;
		first.on(LIST_OFFSETS, ({ connection }) => {
			connection.drop();
			return undefined;
		});
		expect(await failure(cluster.toAny(LIST_OFFSETS, {}))).toMatchObject({ failure: "lost", maybeSent: true });
		first.refusal = refused(first.address);
		await cluster.toAny(LIST_OFFSETS, {});
		await cluster.toAny(LIST_OFFSETS, {});
		expect([n1, n2, n3].map(({ asked }) => asked.filter((api) => api === "ListOffsets").length).sort()).toEqual([
			0, 1, 2,
		]);
	});

	it("tries a refused one again at once where there is no other: who asks has paused", async () => {
		const { cluster, n1 } = world();
		n1.refusal = refused(n1.address);
		expect(await failure(cluster.refresh([], never))).toMatchObject({ message: "nothing listens at n1:9092" });
		n1.refusal = undefined;
		await cluster.refresh([], never);
		expect(n1.dials).toBe(2);
	});

	it("does not try a wrong password at every broker", async () => {
		const sasl = { mechanism: "PLAIN", username: "u", password: () => "p" } as const;
		const { cluster, all } = world({ sasl, seeds: ["n1", "n2", "n3"] });
		for (const broker of all)
			broker.on(API_VERSIONS, () => ({
				apiKeys: [17, 36, 3].map((apiKey) => ({ apiKey, minVersion: 0, maxVersion: 1 })),
			}));
		const asked = failure(cluster.refresh([], never));
		await new Promise(setImmediate);
		for (const broker of all) broker.requests.at(-1)?.answer({ errorCode: 33, mechanisms: [] });
		expect(await asked).toMatchObject({ failure: "login", lasting: true });
		expect(all.map(({ dials }) => dials).sort()).toEqual([0, 0, 1]);
	});
});
