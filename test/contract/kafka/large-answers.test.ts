/** What many small requests for large answers, or one for very many things, may cost: bounded memory, and turns for others. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { BufferPool } from "../../../src/base/buffer-pool.ts";
import { systemClock } from "../../../src/base/clock.ts";
import { ERROR_CODES } from "../../../src/base/errors.ts";
import { fetch } from "../../../src/kafka/handlers/01-fetch.ts";
import { offsetCommit } from "../../../src/kafka/handlers/08-offset-commit.ts";
import { offsetFetch } from "../../../src/kafka/handlers/09-offset-fetch.ts";
import { createTopics } from "../../../src/kafka/handlers/19-create-topics.ts";
import { deleteTopics } from "../../../src/kafka/handlers/20-delete-topics.ts";
import { describeConfigs } from "../../../src/kafka/handlers/32-describe-configs.ts";
import { describeLogDirs } from "../../../src/kafka/handlers/35-describe-log-dirs.ts";
import { describeCluster } from "../../../src/kafka/handlers/60-describe-cluster.ts";
import { describeProducers } from "../../../src/kafka/handlers/61-describe-producers.ts";
import { describeTransactions } from "../../../src/kafka/handlers/65-describe-transactions.ts";
import { KafkaGateway, type KafkaGatewayOptions } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";
import { batchOf, record } from "../../support/producer-batches.ts";
import { fetchValue, produceTo, store } from "./records.ts";

let gateway: KafkaGateway;
afterEach(() => {
	vi.restoreAllMocks();
	return gateway.stop();
});

async function start(options: KafkaGatewayOptions = {}): Promise<KafkaWire> {
	gateway = await KafkaGateway.start(options);
	return gateway.connect();
}

const times = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));

/** A clock on which every look takes so many milliseconds. */
function slowClock(stepMs: number) {
	let nowMs = 0;
	return {
		...systemClock,
		monotonic: () => {
			nowMs += stepMs;
			return nowMs;
		},
	};
}

describe("long polls", () => {
	it("that one commit releases are answered a few at a time", async () => {
		const budget = 4 * 1024 * 1024;
		const bytes = 512 * 1024;
		const wire = await start({ broker: { memoryBudgetBytes: budget } });
		gateway.broker.topics.create({ name: "t", partitions: 1 });
		let lent = 0;
		let most = 0;
		const { take, give } = BufferPool.prototype;
		vi.spyOn(BufferPool.prototype, "take").mockImplementation(function (this: BufferPool, minBytes) {
			const buffer = take.call(this, minBytes);
			lent += buffer.length;
			most = Math.max(most, lent);
			return buffer;
		});
		vi.spyOn(BufferPool.prototype, "give").mockImplementation(function (this: BufferPool, buffer) {
			lent -= buffer.length;
			give.call(this, buffer);
		});
		const polls = await Promise.all(times(40, () => gateway.connect()));
		for (const poll of polls)
			poll.send(fetch.request, 12, fetchValue("t", [{ partition: 0, fetchOffset: 0 }], { maxWaitMs: 60_000 }));
		// Answered behind them on the loop: all of them wait.
		await wire.request(describeCluster, 0, {});
		await store(wire, "t", 0, ["x".repeat(bytes)]);
		for (const poll of polls) {
			const { responses } = await poll.answer(fetch.response, 12);
			expect(responses[0]?.partitions[0]?.records?.length).toBeGreaterThan(bytes);
		}
		// All at once they would be 40 MB, for buffers come in powers of two.
		expect(most).toBeLessThan(2 * budget);
	});

	it("of more partitions than may be waited for together are answered at once", async () => {
		await start();
		gateway.broker.topics.create({ name: "wide", partitions: 9000 });
		const value = fetchValue(
			"wide",
			times(9000, (partition) => ({ partition, fetchOffset: 0 })),
			{ maxWaitMs: 60_000 },
		);
		const polls = await Promise.all(times(3, () => gateway.connect()));
		for (const poll of polls) poll.send(fetch.request, 12, value);
		const { responses } = await (polls[2] as KafkaWire).answer(fetch.response, 12);
		expect(responses[0]?.partitions).toHaveLength(9000);
		expect(polls.map(({ answered }) => answered)).toEqual([0, 0, 0]);
		// One that goes makes room for another.
		polls[0]?.socket.resetAndDestroy();
		await expect.poll(() => gateway.door.stats().connections).toBe(3);
		polls[2]?.send(fetch.request, 12, value);
		const other = await gateway.connect();
		await other.request(describeCluster, 0, {});
		await other.request(describeCluster, 0, {});
		expect(polls[2]?.answered).toBe(0);
	});
});

describe("what is asked for a thousand times in one request", () => {
	it("is told once", async () => {
		const wire = await start();
		gateway.broker.topics.create({ name: "t", partitions: 2 });
		const configs = await wire.request(describeConfigs, 4, {
			resources: times(1000, () => ({ resourceType: 2, resourceName: "t", configurationKeys: null })),
		});
		expect(configs.results).toHaveLength(1);
		const producers = await wire.request(describeProducers, 0, {
			topics: [{ name: "t", partitionIndexes: times(1000, () => 0) }],
		});
		expect(producers.topics[0]?.partitions).toHaveLength(1);
		const transactions = await wire.request(describeTransactions, 0, { transactionalIds: times(1000, () => "x") });
		expect(transactions.transactionStates).toHaveLength(1);
		const folders = await wire.request(describeLogDirs, 4, {
			topics: [{ topic: "t", partitions: [...times(1000, () => 1), 7, -1] }],
		});
		expect(folders.results[0]?.topics[0]?.partitions.map(({ partitionIndex }) => partitionIndex)).toEqual([1]);
	});
});

describe("what is too much for one answer", () => {
	it("is refused: the metadata of very many offsets", async () => {
		const wire = await start();
		gateway.broker.topics.create({ name: "t", partitions: 1100 });
		const offset = { committedOffset: 1, committedMetadata: "m".repeat(4096) };
		const partitions = times(1100, (partitionIndex) => ({ partitionIndex, ...offset }));
		const claim = { groupId: "g", generationIdOrMemberEpoch: -1, memberId: "" };
		for (let at = 0; at < 1100; at += 220)
			await wire.request(offsetCommit, 8, {
				...claim,
				topics: [{ name: "t", partitions: partitions.slice(at, at + 220) }],
			});
		const { topics } = await wire.request(offsetFetch, 5, { groupId: "g", topics: null });
		const errors = topics[0]?.partitions.map(({ errorCode }) => errorCode) ?? [];
		expect(errors.filter((error) => error === 0)).toHaveLength(1024);
		expect(errors.filter((error) => error === ERROR_CODES.OFFSET_METADATA_TOO_LARGE)).toHaveLength(76);
	});

	it("is refused: the settings of very many topics", async () => {
		const wire = await start();
		for (let i = 0; i < 1500; i++) gateway.broker.topics.create({ name: `t${i}`, partitions: 1 });
		const resources = times(1500, (i) => ({ resourceType: 2, resourceName: `t${i}`, configurationKeys: null }));
		const plain = await wire.request(describeConfigs, 4, { resources: resources.slice(0, 300) });
		expect(new Set(plain.results.map(({ errorCode }) => errorCode))).toEqual(new Set([0]));
		wire.send(describeConfigs.request, 4, { resources, includeSynonyms: true, includeDocumentation: true });
		const last = (await wire.frame()).toString("latin1").slice(-500);
		expect(last).toContain("fewer resources at a time");
	});

	it("is cut short: the names of refused records", async () => {
		const wire = await start();
		gateway.broker.topics.create({ name: "c", partitions: 1, config: { "cleanup.policy": "compact" } });
		const keyless = times(90, () => record("v", { key: null, timestamp: Date.now() }));
		const answers = await produceTo(
			wire,
			"c",
			times(5, () => [0, batchOf(keyless)] as const),
		);
		expect(answers.map(({ errorCode }) => errorCode)).toEqual(times(5, () => ERROR_CODES.INVALID_RECORD));
		expect(answers.map(({ recordErrors }) => recordErrors.length)).toEqual([90, 10, 1, 1, 1]);
	});
});

describe("a request for very many things", () => {
	it("lets others have their turn", async () => {
		const wire = await start({ clock: slowClock(5) });
		const other = await gateway.connect();
		await other.request(describeCluster, 0, {});
		const names = times(100, (i) => `t${i}`);
		const order: string[] = [];
		const note = (what: string) => () => void order.push(what);
		const made = wire
			.request(createTopics, 5, { topics: names.map((name) => ({ name, numPartitions: 1, replicationFactor: 1 })) })
			.then(note("made"));
		await Promise.all([made, other.request(describeCluster, 0, {}).then(note("other"))]);
		const deleted = wire.request(deleteTopics, 5, { topicNames: names }).then(note("deleted"));
		await Promise.all([deleted, other.request(describeCluster, 0, {}).then(note("other"))]);
		expect(order).toEqual(["other", "made", "other", "deleted"]);
		expect(gateway.broker.topics.list()).toEqual([]);
	});

	it("brings batches into their topic's codec only as long as that does not hold up others", async () => {
		const wire = await start({ clock: slowClock(60) });
		gateway.broker.topics.create({ name: "z", partitions: 1, config: { "compression.type": "zstd" } });
		const batches = times(6, () => [0, batchOf([record("v", { timestamp: Date.now() })])] as const);
		const errors = (await produceTo(wire, "z", batches)).map(({ errorCode }) => errorCode);
		expect(errors[0]).toBe(0);
		expect(errors.at(-1)).toBe(ERROR_CODES.REQUEST_TIMED_OUT);
		// Sent again it is taken.
		expect((await produceTo(wire, "z", batches.slice(-1)))[0]?.errorCode).toBe(0);
	});
});
