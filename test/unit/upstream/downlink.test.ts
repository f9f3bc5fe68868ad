import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Cluster } from "../../../bridge/upstream/client/cluster.ts";
import { Downlink } from "../../../bridge/upstream/downlink/downlink.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { DownlinkRule } from "../../../src/config/definition.ts";
import { encodeBatch } from "../../../src/record/batch.ts";
import { KafkaModel } from "../../simulation/kafka-cluster/kafka-model.ts";
import type { PartitionLog } from "../../simulation/kafka-cluster/partition-log.ts";
import { World } from "../../simulation/world.ts";

const RULE: DownlinkRule = { topic: "commands", to: "here", from: "earliest", retain: false };
const MINUTE_MS = 60_000;

let world: World;
let model: KafkaModel;
let downlink: Downlink;
let process: AbortController;
let random: SimulatedRandom;
let ended: Promise<unknown>;

beforeEach(() => {
	random = new SimulatedRandom("downlink");
	world = new World(random, {
		clock: new SimulatedClock({ random }),
		...{ journalFileBytes: 256 * 1024, journalFilesMax: 3, lingerMs: 0 },
		...{ topicDefaults: {}, tearNeighbours: false, syncMs: 1 },
	});
	model = newModel();
	world.start();
});

afterEach(async () => {
	process.abort();
	await world.clock.settle();
	await world.crash("kill", random);
});

function newModel(name = "model", brokers = 2): KafkaModel {
	return new KafkaModel({ clock: world.clock, random: random.fork(name), brokers });
}

async function start(rules: readonly DownlinkRule[] = [RULE]): Promise<void> {
	process = new AbortController();
	const cluster = () =>
		new Cluster({
			...{ bootstrap: model.bootstrap, clientId: "headwater-gateway-7", dial: model.dial, sasl: undefined },
			...{ clock: world.clock, random: random.fork("client"), logger: silentLogger },
			...{ requestTimeoutMs: 30_000, connectTimeoutMs: 10_000, metadataMaxAgeMs: 300_000 },
		});
	downlink = new Downlink({ broker: world.broker, cluster, rules, gatewayId: "gw" });
	ended = downlink.run(process.signal).catch((error: unknown) => error);
	await world.clock.advance(2000);
}

/** As the process ends, and begins again. */
async function restart(rules?: readonly DownlinkRule[]): Promise<void> {
	process.abort();
	await world.clock.settle();
	await world.stop();
	model.clientDied();
	world.start();
	await start(rules);
}

function log(partition = 0, topic = "commands"): PartitionLog {
	return model.cluster.partition(model.cluster.topic(topic), partition);
}

function write(values: readonly string[], partition = 0, topic = "commands"): void {
	const records = values.map((value) => ({
		timestamp: 1,
		key: Buffer.from("k"),
		value: Buffer.from(value),
		headers: [],
	}));
	log(partition, topic).append(encodeBatch(records));
}

async function here(topic = "here"): Promise<string[]> {
	const { partition } = await world.observe();
	const found: string[] = [];
	for (let i = 0; i < (world.broker.topics.get(topic)?.partitions.length ?? 0); i++)
		found.push(...(partition(topic, i)?.records ?? []).map(({ value }) => String(value)));
	return found;
}

const problem = () => downlink.status()[0]?.problem;

it("reads from its start a topic that was not there when it was looked for first, also by a rule for what is new", async () => {
	await start([{ ...RULE, from: "latest" }]);
	expect(problem()?.message).toContain("commands");
	await restart([{ ...RULE, from: "latest" }]);
	model.createTopic("commands", 2);
	write(["first"]);
	write(["second"], 1);
	await world.clock.advance(10 * MINUTE_MS);
	expect((await here()).sort()).toEqual(["first", "second"]);
});

describe("a downlink", () => {
	it("brings what is there and what comes, and knows how far behind it is", async () => {
		model.createTopic("commands", 2);
		write(["a", "b"]);
		await start();
		expect(await here()).toEqual(["a", "b"]);
		expect(downlink.status()).toEqual([
			{ topic: "commands", to: "here", receivedRecords: 2, filteredRecords: 0, lag: 0, problem: undefined },
		]);
		write(["c"], 1);
		await world.clock.advance(100);
		expect((await here()).sort()).toEqual(["a", "b", "c"]);
	});

	it("begins at the end where the rule says so, once and for all", async () => {
		model.createTopic("commands", 1);
		write(["before"]);
		const latest = [{ ...RULE, from: "latest" }] as const;
		await start(latest);
		process.abort();
		write(["while away"]);
		await restart(latest);
		expect(await here()).toEqual(["while away"]);
	});

	it("stands before an open transaction where it begins at the end", async () => {
		model.createTopic("commands", 1);
		write(["before"]);
		const record = { timestamp: 1, key: null, value: Buffer.from("in the transaction"), headers: [] };
		const transaction = { producerId: 5, producerEpoch: 0, baseSequence: 0, isTransactional: true };
		log().append(encodeBatch([record], transaction));
		await start([{ ...RULE, from: "latest" }]);
		log().appendMarker(5, 0, true, 1);
		await world.clock.advance(100);
		expect(await here()).toEqual(["in the transaction"]);
	});

	it("waits for a topic that is missing, says so, and takes others meanwhile", async () => {
		model.createTopic("other", 1);
		write(["x"], 0, "other");
		await start([RULE, { ...RULE, topic: "other", to: "there" }]);
		expect(await here("there")).toEqual(["x"]);
		expect(downlink.status().map((one) => one.problem?.message)).toEqual([
			expect.stringContaining("UNKNOWN_TOPIC_OR_PARTITION"),
			undefined,
		]);
		expect(problem()?.action).toContain("kafka-topics.sh");
		const sinceMs = problem()?.sinceMs;
		await world.clock.advance(20 * MINUTE_MS);
		expect(problem()?.sinceMs).toBe(sinceMs);
		model.createTopic("commands", 1);
		write(["a"]);
		await world.clock.advance(6 * MINUTE_MS);
		expect(await here()).toEqual(["a"]);
		expect(problem()).toBeUndefined();
	});

	it("reads the partitions that have a leader, and the others when they have one again", async () => {
		model.createTopic("commands", 2);
		const { leader } = log(1);
		Object.assign(log(1), { leader: -1, announcedLeader: -1 });
		await start([{ ...RULE, from: "latest" }]);
		expect(problem()?.message).toContain("LEADER_NOT_AVAILABLE");
		Object.assign(log(1), { leader, announcedLeader: leader });
		await world.clock.advance(6 * MINUTE_MS);
		expect(problem()).toBeUndefined();
		Object.assign(log(1), { leader: -1, announcedLeader: -1 });
		write(["b"], 1);
		await world.clock.advance(6 * MINUTE_MS);
		write(["a"]);
		await world.clock.advance(1000);
		expect(await here()).toEqual(["a"]);
		expect(problem()?.message).toContain("LEADER_NOT_AVAILABLE");
		model.moveLeader("commands", 0);
		await world.clock.advance(8000);
		write(["c"]);
		await world.clock.advance(1000);
		expect(await here()).toEqual(["a", "c"]);
		Object.assign(log(1), { leader, announcedLeader: leader });
		await world.clock.advance(6 * MINUTE_MS);
		expect((await here()).sort()).toEqual(["a", "b", "c"]);
		expect(problem()).toBeUndefined();
	});

	it("is held up by no topic that cannot be here", async () => {
		model.createTopic("commands", 1);
		model.createTopic("other", 1);
		write(["a"]);
		write(["x"], 0, "other");
		world.broker.topics.create({ name: "a.b", partitions: 1 });
		await start([
			{ ...RULE, to: "a_b" },
			{ ...RULE, topic: "other", to: "there" },
		]);
		expect(await here("there")).toEqual(["x"]);
		expect(downlink.status().map((one) => one.problem?.message)).toEqual([
			expect.stringContaining("collides"),
			undefined,
		]);
		world.broker.topics.delete("a.b");
		await world.clock.advance(MINUTE_MS);
		expect(await here("a_b")).toEqual(["a"]);
	});

	it("waits for space on a full disk, and has everything once then", async () => {
		model.createTopic("commands", 1);
		await start();
		world.disk.capacityBytes = 0;
		for (let i = 0; i < 20; i++) write([`${i}/${"x".repeat(50_000)}`]);
		await world.clock.advance(3 * MINUTE_MS);
		expect(problem()?.message).toContain("disk is full");
		expect(await here()).not.toHaveLength(20);
		world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		await world.clock.advance(3 * MINUTE_MS);
		expect((await here()).map((value) => Number(value.split("/")[0]))).toEqual(Array.from({ length: 20 }, (_, i) => i));
		expect(problem()).toBeUndefined();
	});

	it("takes new partitions from their start", async () => {
		model.createTopic("commands", 1);
		await start([{ ...RULE, from: "latest" }]);
		model.addPartitions("commands", 2);
		write(["new"], 1);
		await world.clock.advance(6 * MINUTE_MS);
		expect(await here()).toEqual(["new"]);
	});

	it("reads a topic that was made again from its new start, and says so", async () => {
		model.createTopic("commands", 2);
		write(["a", "b", "c"]);
		await start();
		model.deleteTopic("commands");
		model.createTopic("commands", 1);
		write(["new a"]);
		await world.clock.advance(MINUTE_MS);
		expect(await here()).toEqual(["a", "b", "c", "new a"]);
		expect(problem()?.message).toContain("made again");
		await restart();
		expect(await here()).toEqual(["a", "b", "c", "new a"]);
		expect(problem()).toBeUndefined();
	});

	it("does not take a broker that is behind for a topic made again", async () => {
		const first = model.createTopic("commands", 2);
		write(["a"]);
		await start();
		model.deleteTopic("commands");
		const second = model.createTopic("commands", 2);
		write(["b"], 1);
		await world.clock.advance(MINUTE_MS);
		const { id } = second;
		Object.assign(second, { id: first.id });
		await world.clock.advance(MINUTE_MS);
		expect(problem()?.message).toContain("UNKNOWN_TOPIC_ID");
		Object.assign(second, { id });
		const [last] = second.partitions.splice(1);
		await world.clock.advance(10 * MINUTE_MS);
		expect(problem()?.message).toContain("UNKNOWN_TOPIC_OR_PARTITION");
		second.partitions.push(last as PartitionLog);
		write(["c"], 1);
		await world.clock.advance(10 * MINUTE_MS);
		expect((await here()).sort()).toEqual(["a", "b", "c"]);
		expect(problem()?.message).toContain("made again");
	});

	it("reads on at the start where retention there was faster, and says what is missing", async () => {
		model.createTopic("commands", 1);
		write(["a"]);
		await start();
		process.abort();
		write(["lost", "lost"]);
		write(["b"]);
		model.deleteBefore("commands", 0, 3);
		await restart();
		expect(await here()).toEqual(["a", "b"]);
		expect(problem()).toMatchObject({
			message: expect.stringContaining("2 offsets were deleted"),
			action: expect.stringContaining("retention.ms"),
		});
	});

	it("reads on at the end where the log there was cut back", async () => {
		model.createTopic("commands", 1);
		write(["a"]);
		write(["b"]);
		await start();
		process.abort();
		log().batches.pop();
		log().endOffset = 1;
		await restart();
		expect(problem()?.message).toContain("ends at offset 1");
		write(["c"]);
		await world.clock.advance(100);
		expect(await here()).toEqual(["a", "b", "c"]);
	});

	it("begins as its rule says in another cluster", async () => {
		model.createTopic("commands", 1);
		write(["a"]);
		await start([{ ...RULE, from: "latest" }]);
		process.abort();
		model = newModel("other");
		model.createTopic("commands", 1);
		write(["old", "old", "old"]);
		await restart([{ ...RULE, from: "latest" }]);
		expect(problem()?.message).toContain("this is cluster");
		write(["new"]);
		await world.clock.advance(100);
		expect(await here()).toEqual(["new"]);
	});

	it("goes on when its broker has forgotten the fetch session", async () => {
		model.createTopic("commands", 1);
		await start();
		model.evictFetchSessions();
		await world.clock.advance(MINUTE_MS);
		write(["a"]);
		await world.clock.advance(100);
		expect(await here()).toEqual(["a"]);
		expect(problem()).toBeUndefined();
	});

	it("follows a leader that moves, without waiting for the polls of others", async () => {
		model.createTopic("commands", 4);
		await start();
		model.moveLeader("commands", 0);
		await world.clock.advance(8000);
		write(["a"]);
		await world.clock.advance(1000);
		expect(await here()).toEqual(["a"]);
	});

	it("says that the link is down, and since when, and goes on when it is back", async () => {
		model.createTopic("commands", 1);
		await start();
		model.cutLink("with resets");
		await world.clock.advance(10 * MINUTE_MS);
		const first = problem();
		expect(first?.message).toMatch(/\w/);
		expect(world.clock.now() - (first?.sinceMs ?? 0)).toBeGreaterThan(9 * MINUTE_MS);
		write(["a"]);
		model.restoreLink();
		await world.clock.advance(2 * MINUTE_MS);
		expect(await here()).toEqual(["a"]);
		expect(problem()).toBeUndefined();
	});

	it("costs less than 300 bytes a minute while nothing comes", async () => {
		model = newModel("one broker", 1);
		model.createTopic("commands", 3);
		await start([{ ...RULE, key: "{gateway}/*" }]);
		const before = downlink.wireBytes;
		await world.clock.advance(60 * MINUTE_MS);
		const { sent, received } = downlink.wireBytes;
		expect((sent + received - before.sent - before.received) / 60).toBeLessThan(300);
		// One for its polls, one for everything else.
		expect(model.dials).toBe(2);
		expect(model.complaints).toEqual([]);
	});

	it("ends when it is told to, and notes what it has passed over", async () => {
		model.createTopic("commands", 1);
		await start([{ ...RULE, key: "none" }]);
		write(["a", "b"]);
		await world.clock.advance(100);
		process.abort(new Error("the end"));
		expect(await ended).toEqual(new Error("the end"));
		await restart([{ ...RULE, key: "none" }]);
		expect(downlink.status()).toMatchObject([{ filteredRecords: 0, lag: 0 }]);
	});

	it("takes more than one answer's worth, whichever partition has it", async () => {
		model.createTopic("commands", 3);
		for (let i = 0; i < 30; i++) write([`${i}/${"x".repeat(120_000)}`], i % 3);
		await start();
		await world.clock.advance(20_000);
		expect((await here()).map((value) => Number(value.split("/")[0])).sort((a, b) => a - b)).toEqual(
			Array.from({ length: 30 }, (_, i) => i),
		);
	});
});
