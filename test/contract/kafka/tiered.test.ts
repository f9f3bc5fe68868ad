/** Fetch and ListOffsets over sockets where records have left the gateway's own files: the store is slow, away, and back again. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Clock, systemClock } from "../../../src/base/clock.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { fetch } from "../../../src/kafka/handlers/01-fetch.ts";
import { listOffsets } from "../../../src/kafka/handlers/02-list-offsets.ts";
import { createTopics } from "../../../src/kafka/handlers/19-create-topics.ts";
import { describeLogDirs } from "../../../src/kafka/handlers/35-describe-log-dirs.ts";
import { incrementalAlterConfigs } from "../../../src/kafka/handlers/44-incremental-alter-configs.ts";
import { deleteRecordsBefore } from "../../../src/log/delete-records.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";
import { record } from "../../support/producer-batches.ts";
import { SimulatedTier } from "../../support/simulated-tier.ts";
import { TransactionalWriter } from "../../support/transactional-writer.ts";
import { fetchFrom, fetchValue, offsetsOf, store, valuesIn } from "./records.ts";

const STORAGE_ERROR = 56;
const OUT_OF_RANGE = 1;
const NOT_AVAILABLE = 78;

let gateway: KafkaGateway;
let wire: KafkaWire;
let tier: SimulatedTier;
/** Moved by the test alone. */
let time: SimulatedClock;

beforeEach(async () => {
	time = new SimulatedClock();
	const clock: Clock = {
		...systemClock,
		monotonic: () => time.monotonic(),
		after: (delayMs, task) => time.after(delayMs, task),
	};
	gateway = await KafkaGateway.start({ clock });
	tier = new SimulatedTier(gateway.broker.log, clock);
	gateway.broker.topics.create({ name: "t", partitions: 3, config: { "remote.storage.enable": "true" } });
	wire = await gateway.connect();
});
afterEach(() => gateway.stop());

const partition = (number: number) => {
	const found = gateway.broker.topics.get("t")?.partitions[number];
	if (found === undefined) throw new Error(`no partition ${number}`);
	return found;
};
async function rounds(count = 30): Promise<void> {
	for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
/** Two records in the store alone, two here. */
async function tiered(number: number): Promise<void> {
	for (const value of ["a", "b", "c", "d"]) await store(wire, "t", number, [`${number}${value}`]);
	await tier.copy(partition(number));
	tier.evict(partition(number), 2);
}
const from = (...offsets: readonly number[]) =>
	offsets.map((fetchOffset, number) => ({ partition: number, fetchOffset }));
const seen = (answers: Awaited<ReturnType<typeof fetchFrom>>) =>
	answers.map(({ errorCode, records }) => (errorCode === 0 ? valuesIn(records) : errorCode));

const seenFrom = async (fetchOffset: number) => seen(await fetchFrom(wire, "t", [{ partition: 0, fetchOffset }]))[0];

/** A Fetch on its way, and its answer if it has come. */
function asking(own: KafkaWire, ...[partitions, given]: [ReturnType<typeof from>, Parameters<typeof fetchValue>[2]?]) {
	const asked = { answer: undefined as Awaited<ReturnType<typeof fetchFrom>> | undefined };
	fetchFrom(own, "t", partitions, given).then(
		(answer) => {
			asked.answer = answer;
		},
		() => {},
	);
	return asked;
}

describe("a Fetch", () => {
	it("reads on from the store into the gateway's own files, and a consumer sees no difference", async () => {
		await tiered(0);
		expect(partition(0).localStartOffset).toBe(2);
		const values: string[] = [];
		for (let next = 0; next < 4; ) {
			const [answer] = await fetchFrom(wire, "t", [{ partition: 0, fetchOffset: next }]);
			expect(answer).toMatchObject({ errorCode: 0, highWatermark: 4, logStartOffset: 0 });
			const found = valuesIn(answer?.records ?? null);
			values.push(...found);
			next += found.length;
		}
		expect(values).toEqual(["0 0a", "1 0b", "2 0c", "3 0d"]);
		expect(tier.asked.map(({ offset }) => offset)).toEqual([0]);
	});

	it("asks for all partitions at once and waits for them together, no longer than remote.fetch.max.wait.ms", async () => {
		for (const number of [0, 1, 2]) await tiered(number);
		tier.hold(...[0, 1, 2].map(partition));
		const asked = asking(wire, from(0, 0, 0), { maxWaitMs: 500 });
		await rounds();
		expect([tier.waiting, asked.answer]).toEqual([3, undefined]);
		await time.advance(499);
		await rounds();
		expect(asked.answer).toBeUndefined();
		await time.advance(1);
		await rounds();
		expect(seen(asked.answer ?? [])).toEqual([[], [], []]);
		expect(asked.answer).toMatchObject([{ highWatermark: 4 }, { highWatermark: 4 }, { highWatermark: 4 }]);
		// It went on being fetched meanwhile.
		tier.release();
		expect(seen(await fetchFrom(wire, "t", from(0, 0, 0)))).toEqual([
			["0 0a", "1 0b"],
			["0 1a", "1 1b"],
			["0 2a", "1 2b"],
		]);
	});

	it("is answered as soon as the store answers", async () => {
		await tiered(0);
		tier.hold(partition(0));
		const asked = asking(wire, from(0), { maxWaitMs: 10_000, minBytes: 100_000 });
		await rounds();
		tier.release();
		await rounds();
		expect(seen(asked.answer ?? [])).toEqual([["0 0a", "1 0b"]]);
	});

	it("gives records that are here at once, whatever the store does", async () => {
		for (const number of [0, 1]) await tiered(number);
		tier.hold(partition(0));
		const asked = asking(wire, from(0, 2), { maxWaitMs: 10_000 });
		await rounds();
		await time.advance(20);
		await rounds();
		expect(seen(asked.answer ?? [])).toEqual([[], ["2 1c", "3 1d"]]);
		tier.fail(partition(0));
		tier.release();
		expect(seen(await fetchFrom(wire, "t", from(0, 2)))).toEqual([STORAGE_ERROR, ["2 1c", "3 1d"]]);
	});

	it("that waits for the store is answered by a record that comes in another partition", async () => {
		await tiered(0);
		tier.fail(partition(0));
		const asked = asking(wire, from(0, 0), { maxWaitMs: 500 });
		await rounds();
		expect(asked.answer).toBeUndefined();
		await store(await gateway.connect(), "t", 1, ["live"]);
		await rounds();
		expect(seen(asked.answer ?? [])).toEqual([STORAGE_ERROR, ["0 live"]]);
	});

	it("is not answered by records that come behind those that it waits for", async () => {
		await tiered(0);
		tier.fail(partition(0));
		const asked = asking(wire, from(0), { maxWaitMs: 500 });
		await rounds();
		await store(await gateway.connect(), "t", 0, ["live"]);
		await rounds();
		expect(asked.answer).toBeUndefined();
		await time.advance(500);
		await rounds();
		expect(seen(asked.answer ?? [])).toEqual([STORAGE_ERROR]);
	});

	it("gets a retriable error while the store is away, not at once, and its records when it is back", async () => {
		await tiered(0);
		tier.fail(partition(0));
		const asked = asking(wire, from(0), { maxWaitMs: 30_000 });
		await rounds();
		await time.advance(499);
		await rounds();
		expect(asked.answer).toBeUndefined();
		await time.advance(1);
		await rounds();
		expect(seen(asked.answer ?? [])).toEqual([STORAGE_ERROR]);
		tier.recover();
		expect(seen(await fetchFrom(wire, "t", from(0)))).toEqual([["0 0a", "1 0b"]]);
	});

	it("of other connections is not held up by those that wait", async () => {
		for (const number of [0, 1]) await tiered(number);
		tier.hold(partition(0));
		const waiting = await Promise.all(Array.from({ length: 40 }, () => gateway.connect()));
		const before = gateway.door.stats().requests;
		const asked = waiting.map((each) => asking(each, from(0), { maxWaitMs: 500 }));
		await expect.poll(() => gateway.door.stats().requests - before).toBe(40);
		await rounds();
		// What they may take is bounded: most have not begun.
		expect(tier.mostWaiting).toBeGreaterThan(0);
		expect(tier.mostWaiting).toBeLessThan(6);
		expect(seen(await fetchFrom(wire, "t", [{ partition: 1, fetchOffset: 2 }]))).toEqual([["2 1c", "3 1d"]]);
		await store(wire, "t", 1, ["ingest goes on"]);
		await time.advance(500);
		await expect.poll(() => asked.map(({ answer }) => seen(answer ?? []))).toEqual(asked.map(() => [[]]));
		tier.release();
		const again = waiting.map((each) => asking(each, from(0), { maxWaitMs: 500 }));
		await expect.poll(() => again.map(({ answer }) => seen(answer ?? []))).toEqual(again.map(() => [["0 0a", "1 0b"]]));
	});

	it("takes no more from the store than was asked for, and leaves the others theirs", async () => {
		for (const number of [0, 1, 2]) await tiered(number);
		const one = (await partition(0).read(0, 1)).length;
		const sizes = async (given: object, partitionMaxBytes = 1 << 20) =>
			(
				await fetchFrom(
					wire,
					"t",
					from(0, 2, 0).map((each) => ({ ...each, partitionMaxBytes })),
					given,
				)
			).map(({ records }) => (records?.length ?? -1) / one);
		expect(await sizes({})).toEqual([2, 2, 2]);
		expect(await sizes({}, one)).toEqual([1, 1, 1]);
		// What there is room for is shared: whether something comes from the store nobody knows before.
		expect(await sizes({ maxBytes: 3 * one + 8 })).toEqual([1, 1, 1]);
		expect(await sizes({ maxBytes: 0 })).toEqual([0, 1, 0]);
	});

	it("gets a batch that is larger than it asked for only where it could not get on otherwise", async () => {
		await store(wire, "t", 0, ["x".repeat(5000)]);
		await tier.copy(partition(0));
		tier.evict(partition(0));
		await store(wire, "t", 1, ["small"]);
		const small = from(0, 0).map((each) => ({ ...each, partitionMaxBytes: 1000 }));
		expect(seen(await fetchFrom(wire, "t", small))).toEqual([[], ["0 small"]]);
		expect(seen(await fetchFrom(wire, "t", small.slice(0, 1)))).toEqual([[`0 ${"x".repeat(5000)}`]]);
	});

	it("answers that retention was quicker, and that the topic is gone, when that is so", async () => {
		for (const number of [0, 1]) await tiered(number);
		tier.hold(partition(0), partition(1));
		const overtaken = asking(wire, from(0), { maxWaitMs: 500 });
		await rounds();
		deleteRecordsBefore(gateway.broker.log, partition(0), 3);
		tier.fail(partition(0));
		tier.release();
		await rounds();
		expect(seen(overtaken.answer ?? [])).toEqual([OUT_OF_RANGE]);
		tier.hold(partition(1));
		const [, second] = from(0, 1);
		const orphan = asking(wire, second === undefined ? [] : [second], { maxWaitMs: 500 });
		await rounds();
		gateway.broker.topics.delete("t");
		tier.release();
		await rounds();
		expect(orphan.answer?.[0]?.errorCode).toBe(3);
	});

	it("goes on here where the local start has moved back over what it reads", async () => {
		await tiered(0);
		tier.evict(partition(0), 3);
		expect(seen(await fetchFrom(wire, "t", from(2)))).toEqual([["2 0c"]]);
		expect(seen(await fetchFrom(wire, "t", from(3)))).toEqual([["3 0d"]]);
	});

	it("of committed records is told which are aborted, on both sides of the local start", async () => {
		const writer = new TransactionalWriter(gateway.broker, "x");
		await writer.write(partition(0), "k", "no");
		await writer.end("abort");
		await writer.write(partition(0), "k", "yes");
		await writer.end("commit");
		await writer.write(partition(0), "k", "no more");
		await writer.end("abort");
		await tier.copy(partition(0));
		tier.evict(partition(0), 3);
		const read = async (fetchOffset: number) => {
			const [answer] = await fetchFrom(wire, "t", [{ partition: 0, fetchOffset }], { isolationLevel: 1 });
			return [answer?.errorCode, answer?.abortedTransactions?.map(({ firstOffset }) => firstOffset)];
		};
		expect([await read(0), await read(2), await read(3)]).toEqual([
			[0, [0]],
			[0, []],
			[0, [4]],
		]);
	});

	it("of a compacted topic passes over what compaction took, in the store and up to what is here", async () => {
		await tiered(0);
		tier.evict(partition(0), 3);
		tier.compact(partition(0), 0);
		tier.compact(partition(0), 2);
		const values: string[] = [];
		for (const fetchOffset of [0, 2]) values.push(...((await seenFrom(fetchOffset)) as string[]));
		expect(values).toEqual(["1 0b", "3 0d"]);
	});

	it("leaves nothing behind when its client goes while it waits", async () => {
		await tiered(0);
		const before = gateway.broker.pressure.bytes;
		tier.hold(partition(0));
		const leaving = await gateway.connect();
		leaving.send(fetch.request, 12, fetchValue("t", from(0), { maxWaitMs: 500 }));
		await rounds();
		expect(tier.waiting).toBe(1);
		leaving.destroy();
		await rounds();
		tier.release();
		await rounds();
		expect([gateway.broker.pressure.bytes, tier.waiting]).toEqual([before, 0]);
	});
});

describe("ListOffsets", () => {
	const EARLIEST = -2;
	const LARGEST_TIME = -3;
	const EARLIEST_LOCAL = -4;
	const LATEST_TIERED = -5;
	const EARLIEST_PENDING = -6;

	it("tells what is here, what is in the store, and what is still to go there", async () => {
		await tiered(0);
		await store(wire, "t", 0, ["new"]);
		const special = [EARLIEST, EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING];
		const offsets = async (number: number) => (await offsetsOf(wire, "t", number, special, 11)).map(([, at]) => at);
		expect(await offsets(0)).toEqual([0, 2, 3, 4]);
		expect(await offsets(1)).toEqual([0, 0, -1, 0]);
		deleteRecordsBefore(gateway.broker.log, partition(0), 5);
		expect(await offsets(0)).toEqual([5, 5, -1, 5]);
		gateway.broker.topics.create({ name: "here", partitions: 1 });
		expect((await offsetsOf(wire, "here", 0, special, 11)).map(([, at]) => at)).toEqual([0, 0, -1, -1]);
		expect(await offsetsOf(wire, "t", 0, [EARLIEST_PENDING], 10)).toEqual([[35, -1, -1]]);
	});

	it("finds times in the store, and asks it for nothing that is known to be older", async () => {
		for (const timestamp of [10, 20, 30, 40, 50]) await store(wire, "t", 0, [record("x", { timestamp })]);
		await tier.copy(partition(0));
		tier.evict(partition(0), 4);
		expect(await offsetsOf(wire, "t", 0, [5, 20, 21, 41, 51])).toEqual([
			[0, 0, 10],
			[0, 1, 20],
			[0, 2, 30],
			[0, 4, 50],
			[0, -1, -1],
		]);
		expect(tier.asked.map(({ offset }) => offset)).toEqual([0, 1, 2]);
		expect(await offsetsOf(wire, "t", 0, [LARGEST_TIME])).toEqual([[0, 4, 50]]);
		tier.evict(partition(0), 5);
		expect(await offsetsOf(wire, "t", 0, [LARGEST_TIME])).toEqual([[0, 4, 50]]);
	});

	it("waits for the store as long as the request allows, all partitions together, and answers for the others", async () => {
		for (const number of [0, 1]) await tiered(number);
		await store(wire, "t", 2, ["here"]);
		tier.hold(partition(0), partition(1));
		const ask = (version: number, timeoutMs: number) => {
			const partitions = [0, 1, 2].map((partitionIndex) => ({ partitionIndex, timestamp: 1 }));
			const asked = { errors: undefined as number[] | undefined };
			void wire
				.request(listOffsets, version, {
					replicaId: -1,
					isolationLevel: 0,
					topics: [{ name: "t", partitions }],
					...(version >= 10 && { timeoutMs }),
				})
				.then(({ topics }) => {
					asked.errors = topics[0]?.partitions.map(({ errorCode }) => errorCode);
				});
			return asked;
		};
		const short = ask(10, 1000);
		await rounds();
		expect([tier.waiting, short.errors]).toEqual([2, undefined]);
		await time.advance(900);
		await rounds();
		expect(short.errors).toEqual([NOT_AVAILABLE, NOT_AVAILABLE, 0]);
		const long = ask(9, 0);
		await rounds();
		await time.advance(19_999);
		await rounds();
		expect(long.errors).toBeUndefined();
		tier.release();
		await rounds();
		expect(long.errors).toEqual([0, 0, 0]);
		tier.fail(partition(0));
		const failed = ask(11, 1000);
		await rounds();
		expect(failed.errors).toEqual([STORAGE_ERROR, 0, 0]);
	});
});

describe("a topic's settings", () => {
	const create = async (configs: Record<string, string>) => {
		const topic = { name: "c", numPartitions: 1, replicationFactor: 1 };
		const given = Object.entries(configs).map(([name, value]) => ({ name, value }));
		const asked = { topics: [{ ...topic, configs: given }], timeoutMs: 1000, validateOnly: false };
		const { topics } = await wire.request(createTopics, 7, asked);
		return [topics[0]?.errorCode, topics[0]?.errorMessage] as const;
	};
	const alter = async (configs: Record<string, string | null>) => {
		const given = Object.entries(configs).map(([name, value]) => ({
			name,
			configOperation: value === null ? 1 : 0,
			value,
		}));
		const resources = [{ resourceType: 2, resourceName: "t", configs: given }];
		const { responses } = await wire.request(incrementalAlterConfigs, 1, { resources, validateOnly: false });
		return [responses[0]?.errorCode, responses[0]?.errorMessage] as const;
	};

	it("may ask for tiered storage, of compacted topics too, and what is kept here is no more than the whole", async () => {
		const on = { "remote.storage.enable": "true" };
		expect(await create({ ...on, "cleanup.policy": "compact" })).toEqual([0, null]);
		gateway.broker.topics.delete("c");
		expect(await create({ ...on, "retention.ms": "1000", "local.retention.ms": "1000" })).toEqual([0, null]);
		const [code, message] = await alter({ "retention.ms": "1000", "local.retention.ms": "1001" });
		expect([code, message]).toEqual([40, expect.stringContaining("local.retention.ms (1001)")]);
		expect((await alter({ "retention.bytes": "1000", "local.retention.bytes": "-1" }))[0]).toBe(40);
		expect(await alter({ "retention.ms": "-1", "local.retention.ms": "1001" })).toEqual([0, null]);
	});

	it("give tiered storage up only with what becomes of the records in the store", async () => {
		await tiered(0);
		const [code, message] = await alter({ "remote.storage.enable": "false" });
		expect([code, message]).toEqual([40, expect.stringContaining("remote.log.delete.on.disable=true")]);
		expect(await alter({ "remote.log.copy.disable": "true" })).toEqual([0, null]);
		expect(await seenFrom(0)).toEqual(["0 0a", "1 0b"]);
		tier.hold(partition(0));
		const off = { "remote.storage.enable": "false", "remote.log.delete.on.disable": "true" };
		expect(await alter(off)).toEqual([0, null]);
		expect([await seenFrom(0), await seenFrom(2)]).toEqual([OUT_OF_RANGE, ["2 0c", "3 0d"]]);
	});
});

it("DescribeLogDirs tells what is on the disk, whatever the store has", async () => {
	const size = async () => {
		const { results } = await wire.request(describeLogDirs, 4, { topics: [{ topic: "t", partitions: [0] }] });
		return Number(results[0]?.topics[0]?.partitions[0]?.partitionSize);
	};
	gateway.broker.topics.alter("t", { set: { "segment.bytes": "4096" } });
	for (let i = 0; i < 3; i++) {
		await store(wire, "t", 0, ["x".repeat(4000)]);
		await gateway.broker.log.checkpoint();
	}
	const before = await size();
	await tier.copy(partition(0));
	tier.evict(partition(0), 2);
	expect(before - (await size())).toBeGreaterThan(8000);
});
