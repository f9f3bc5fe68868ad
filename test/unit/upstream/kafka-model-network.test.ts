/** What goes wrong in the modelled cluster, and on the way to it, goes wrong as it is meant to. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
	CREATE_TOPICS,
	DESCRIBE_CONFIGS,
	END_TXN,
	FETCH,
	FIND_COORDINATOR,
	INIT_PRODUCER_ID,
	METADATA,
} from "../../../bridge/upstream/client/apis.ts";
import { Connection } from "../../../bridge/upstream/client/connection.ts";
import { LinkError } from "../../../bridge/upstream/client/link-error.ts";
import { CODES } from "../../simulation/kafka-cluster/codes.ts";
import type { NetworkFaults } from "../../simulation/kafka-cluster/faults.ts";
import { fetchRequest, ModelBench } from "../../support/model-bench.ts";

let bench: ModelBench;

beforeEach(() => {
	bench = new ModelBench();
});
afterEach(() => {
	expect(bench.model.complaints).toEqual([]);
});

async function throws(work: Promise<unknown>): Promise<LinkError> {
	const error = await work.then(
		() => undefined,
		(reason: unknown) => reason,
	);
	expect(error).toBeInstanceOf(LinkError);
	return error as LinkError;
}

describe("the cluster", () => {
	it("creates topics, describes them and tells who leads", async () => {
		bench = new ModelBench(3);
		const connection = await bench.connect();
		const topics = [{ name: "new", numPartitions: 3, replicationFactor: 3, assignments: [], configs: [] }];
		const create = async () => (await bench.ask(connection, CREATE_TOPICS, { topics, timeoutMs: 1000 })).topics[0];
		expect(await create()).toMatchObject({
			errorCode: 0,
			numPartitions: 3,
			topicId: bench.model.topics.get("new")?.id,
		});
		expect(await create()).toMatchObject({ errorCode: CODES.TOPIC_ALREADY_EXISTS });
		const metadata = await bench.ask(connection, METADATA, { topics: [{ name: "new" }, { name: "none" }] });
		expect(metadata).toMatchObject({ clusterId: bench.model.cluster.clusterId, brokers: [{ nodeId: 1 }, {}, {}] });
		expect(metadata.topics.map(({ errorCode }) => errorCode)).toEqual([0, CODES.UNKNOWN_TOPIC_OR_PARTITION]);
		const leaders = metadata.topics[0]?.partitions.map(({ leaderId }) => leaderId);
		expect(leaders).toEqual(bench.model.topics.get("new")?.partitions.map(({ leader }) => leader));
		const resources = [{ resourceType: 2, resourceName: "new", configurationKeys: ["max.message.bytes"] }];
		const { results } = await bench.ask(connection, DESCRIBE_CONFIGS, { resources });
		expect(results[0]?.configs).toMatchObject([{ name: "max.message.bytes", value: "1048588" }]);
	});

	it("moves leaders and tells so a while later", async () => {
		bench = new ModelBench(2, { staleMs: [500, 500] });
		const [partition] = bench.model.topics.get("t")?.partitions ?? [];
		const old = partition?.leader as number;
		const connection = await bench.connect(old);
		expect((await bench.send(connection, ["a"])).errorCode).toBe(0);
		bench.model.moveLeader("t", 0);
		expect((await bench.send(connection, ["b"])).errorCode).toBe(CODES.NOT_LEADER_OR_FOLLOWER);
		const told = async () => {
			const { topics } = await bench.ask(connection, METADATA, { topics: [{ name: "t" }] });
			return topics[0]?.partitions[0]?.leaderId;
		};
		expect(await told()).toBe(old);
		await bench.clock.advance(500);
		expect(await told()).toBe(3 - old);
		expect((await bench.send(await bench.connect(3 - old), ["b"])).errorCode).toBe(0);
		expect(bench.values()).toEqual(["a", "b"]);
	});

	it("moves coordinators, which then load", async () => {
		bench = new ModelBench(2, { loadMs: [500, 500] });
		const any = await bench.connect();
		const find = async () =>
			(await bench.ask(any, FIND_COORDINATOR, { keyType: 1, coordinatorKeys: ["g"] })).coordinators[0]
				?.nodeId as number;
		const old = await find();
		const by = await bench.init(await bench.connect(old));
		bench.model.moveCoordinator("g");
		expect(await find()).toBe(3 - old);
		expect((await bench.init(await bench.connect(old), by)).errorCode).toBe(CODES.NOT_COORDINATOR);
		const connection = await bench.connect(3 - old);
		expect((await bench.init(connection, by)).errorCode).toBe(CODES.COORDINATOR_LOAD_IN_PROGRESS);
		await bench.clock.advance(500);
		expect(await bench.init(connection, by)).toEqual({ ...by, producerEpoch: 1 });
	});

	it("loses nothing when a broker crashes", async () => {
		bench = new ModelBench(1, { downMs: [2000, 2000], loadMs: [100, 100] });
		const connection = await bench.connect();
		const by = await bench.init(connection);
		await bench.transaction(connection, by, "a", true);
		const asked = throws(
			connection.request(FETCH, fetchRequest({ offset: 9, maxWaitMs: 9000 }), { timeoutMs: 20_000 }),
		);
		bench.model.crashBroker(1);
		await bench.clock.advance(10);
		expect(await throws(bench.connect())).toMatchObject({ failure: "unreachable" });
		expect(await bench.finish(asked)).toMatchObject({ failure: "lost", maybeSent: true });
		await bench.clock.advance(2000);
		expect(await bench.init(await bench.connect(), by)).toEqual({ ...by, producerEpoch: 1 });
		expect(bench.values()).toEqual(["a"]);
	});
});

describe("topics", () => {
	it("are another one when they are created again, also for a transaction that has the former", async () => {
		const connection = await bench.connect();
		const by = await bench.init(connection);
		await bench.add(connection, by);
		await bench.send(connection, ["gone"], { by });
		const { id } = bench.model.deleteTopic("t");
		expect((await bench.send(connection, ["a"], { by, sequence: 1 })).errorCode).toBe(CODES.UNKNOWN_TOPIC_OR_PARTITION);
		expect(bench.model.createTopic("t", 1).id).not.toBe(id);
		expect((await bench.send(connection, ["a"], { by })).errorCode).toBe(0);
		expect(await bench.end(connection, by, true)).toBe(0);
		await bench.clock.advance(100);
		expect(bench.values()).toEqual(["a"]);
		expect(bench.model.transactions.states.get("g")?.state).toBe("CompleteCommit");
		bench.model.addPartitions("t", 3);
		expect((await bench.send(connection, ["b"], { partition: 2 })).errorCode).toBe(0);
	});

	it("are compacted: each key's last committed record stays, at its offset", async () => {
		bench.model.createTopic("progress", 1, { "cleanup.policy": "compact" });
		const connection = await bench.connect();
		const keyed = (key: string, value: string) => bench.record(value, { key: Buffer.from(key) });
		await bench.send(connection, [keyed("a", "1"), keyed("b", "1")], { topic: "progress" });
		const by = await bench.init(connection);
		const put = async (sequence: number, value: string, committed: boolean | undefined) => {
			await bench.add(connection, by, "progress", [0]);
			await bench.send(connection, [keyed("a", value)], { by, sequence, topic: "progress" });
			if (committed !== undefined) await bench.end(connection, by, committed);
			await bench.clock.advance(10);
		};
		await put(0, "2", true);
		await put(1, "aborted", false);
		await put(2, "open", undefined);
		bench.model.compact("progress", 0);
		const seen = bench.model.committed("progress", 0).map(({ offset, value }) => [offset, String(value)]);
		expect(seen).toEqual([
			[1, "1"],
			[2, "2"],
		]);
		await bench.end(connection, by, true);
		await bench.clock.advance(10);
		bench.model.compact("progress", 0);
		expect(bench.values(0, "progress")).toEqual(["1", "open"]);
	});

	it("are not known everywhere as soon as they are created", async () => {
		bench = new ModelBench(1, { unknownMs: [400, 400] });
		const connection = await bench.connect();
		const topics = [{ name: "new", numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }];
		expect((await bench.ask(connection, CREATE_TOPICS, { topics, timeoutMs: 1000 })).topics[0]?.errorCode).toBe(0);
		const send = async () => (await bench.send(connection, ["a"], { topic: "new" })).errorCode;
		expect(await send()).toBe(CODES.UNKNOWN_TOPIC_OR_PARTITION);
		await bench.clock.advance(400);
		expect(await send()).toBe(0);
	});

	it("refuse partitions of a transaction that may not be written to", async () => {
		bench.model.createTopic("other", 1);
		bench.model.refuseTopic("t", CODES.TOPIC_AUTHORIZATION_FAILED);
		const connection = await bench.connect();
		const by = await bench.init(connection);
		expect(await bench.add(connection, by, "t", [0])).toEqual([CODES.TOPIC_AUTHORIZATION_FAILED]);
		expect(await bench.add(connection, by, "other", [0])).toEqual([0]);
	});
});

describe("the network", () => {
	/** A produced record with all that goes wrong in `network`. */
	async function badly(network: Partial<NetworkFaults>) {
		const connection = await bench.connect();
		bench.model.setFaults(network);
		const error = await throws(bench.send(connection, ["a"]));
		bench.model.calm();
		return { error, took: bench.model.requests.get("Produce") ?? 0 };
	}

	it("resets connections", async () => {
		expect(await badly({ reset: 1 })).toMatchObject({ error: { failure: "lost", maybeSent: true }, took: 0 });
		bench.model.settle();
		expect(bench.values()).toEqual([]);
	});

	it("falls silent", async () => {
		const beganMs = bench.clock.monotonic();
		expect(await badly({ silence: 1 })).toMatchObject({ error: { failure: "timeout" }, took: 0 });
		expect(bench.clock.monotonic() - beganMs).toBeGreaterThanOrEqual(10_000);
		bench.model.settle();
		expect(bench.values()).toEqual([]);
	});

	it("loses answers", async () => {
		expect(await badly({ answerLost: 1 })).toMatchObject({ error: { maybeSent: true }, took: 1 });
		expect(bench.values()).toEqual(["a"]);
	});

	it("delivers what its sender has given up", async () => {
		expect(await badly({ late: 1, lateMs: [30_000, 30_000] })).toMatchObject({ error: { maybeSent: true }, took: 0 });
		expect((await bench.send(await bench.connect(), ["b"])).errorCode).toBe(0);
		await bench.clock.advance(30_000);
		expect(bench.values()).toEqual(["b", "a"]);
	});

	it("delivers what a process wrote that has ended since", async () => {
		const connection = await bench.connect();
		bench.model.setFaults({ late: 1, lateMs: [30_000, 30_000] });
		void bench.send(connection, ["a"]).catch(() => {});
		await bench.clock.settle();
		bench.clock.drop();
		bench.model.clientDied();
		bench.model.calm();
		await bench.clock.advance(30_000);
		expect(bench.values()).toEqual(["a"]);
	});

	it("refuses and ignores who dials, and ends idle connections", async () => {
		bench = new ModelBench(1, { idleMs: 60_000 });
		const connection = await bench.connect();
		await bench.clock.advance(61_000);
		expect(connection.isOpen).toBe(false);
		bench.model.setFaults({ refused: 1 });
		expect(await throws(bench.connect())).toMatchObject({ failure: "unreachable" });
		bench.model.setFaults({ refused: 0, unanswered: 1 });
		const beganMs = bench.clock.monotonic();
		expect(await throws(bench.connect())).toMatchObject({ failure: "unreachable" });
		expect(bench.clock.monotonic() - beganMs).toBe(10_000);
		bench.model.calm();
		for (const how of ["silently", "with resets"] as const) {
			const cut = await bench.connect();
			bench.model.cutLink(how);
			const { failure } = await throws(bench.send(cut, ["a"]));
			expect(failure).toBe(how === "silently" ? "timeout" : "lost");
			expect(await throws(bench.connect())).toMatchObject({ failure: "unreachable" });
			bench.model.restoreLink();
		}
		expect(bench.model.sentBytes).toBeGreaterThan(100);
		expect(bench.model.receivedBytes).toBeGreaterThan(100);
	});

	it("has brokers that take no requests for a while", async () => {
		const connection = await bench.connect();
		bench.model.setFaults({ throttled: 1, throttleMs: [700, 700] });
		const list = { topics: [{ name: "t" }] };
		expect(await bench.ask(connection, METADATA, list)).toMatchObject({ throttleTimeMs: 700 });
		const beganMs = bench.clock.monotonic();
		await bench.ask(connection, METADATA, list);
		expect(bench.clock.monotonic() - beganMs).toBeGreaterThanOrEqual(690);
	});

	it("ends the process of one client, not of others", async () => {
		const dialled = (client: string) =>
			Connection.open(
				{ ...bench.connectionOptions, dial: bench.model.dialAs(client) },
				bench.model.cluster.broker(1).address,
				new AbortController().signal,
			);
		const [one, other] = [await bench.finish(dialled("one")), await bench.finish(dialled("other"))];
		const unanswered = throws(dialled("one"));
		bench.model.clientDied("one");
		const asked = one.request(METADATA, { topics: [] }, { timeoutMs: 60_000 });
		expect(await throws(bench.finish(asked))).toMatchObject({ failure: "timeout" });
		expect(await unanswered).toMatchObject({ failure: "unreachable" });
		await bench.ask(other, METADATA, { topics: [] });
		expect(bench.model.requests.get("Metadata")).toBe(1);
	});

	it("has older brokers too", async () => {
		bench = new ModelBench(1, {}, { InitProducerId: 2 });
		const connection = await bench.connect();
		expect(connection.versionOf(INIT_PRODUCER_ID)).toBe(2);
		expect(await bench.init(connection)).toMatchObject({ errorCode: 0, producerEpoch: 0 });
		expect(connection.versionOf(METADATA)).toBe(13);
	});

	it("complains about who does what was not offered", async () => {
		const connection = await bench.connect();
		await throws(
			bench.ask(connection, END_TXN, { transactionalId: "g", producerId: 1, producerEpoch: 1, committed: true }),
		);
		expect(bench.model.complaints.splice(0)).toEqual(["EndTxn v5 is of transactions version 2"]);
	});
});
