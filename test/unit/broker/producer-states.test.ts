/** Idempotent producers: the answers of a real Apache Kafka 4.3.1 to the same batches, one behind the other. */
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../../src/base/errors.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";
import type { World } from "../../simulation/world.ts";
import { appendTo, batchOf, START_MS, startWorld } from "../../support/producer-batches.ts";

/** Epoch, first sequence, records; and the offset that is answered, or the error. "=" in front: it is a duplicate's. */
type Step = readonly [epoch: number, sequence: number, count: number, answer: string];

const OUT_OF_ORDER = "OUT_OF_ORDER_SEQUENCE_NUMBER";
const STALE = "INVALID_PRODUCER_EPOCH";
const HIGHEST = 0x7fff_ffff;
const DAY_MS = 86_400_000;

function newWorld(): { world: World; partition: Partition } {
	const world = startWorld();
	const topic = world.broker.topics.create({ name: "t" });
	return { world, partition: topic.partitions[0] as Partition };
}

function answerTo(world: World, partition: Partition, [epoch, sequence, count]: Step, producerId = 7): string {
	const values = Array.from({ length: count }, (_, i) => `${epoch}/${sequence + i}`);
	const batch = batchOf(values, { producerId, producerEpoch: epoch, baseSequence: sequence });
	try {
		const { baseOffset, isDuplicate } = appendTo(world, partition, batch);
		return `${isDuplicate ? "=" : ""}${baseOffset}`;
	} catch (error) {
		if (error instanceof BrokerError) return error.code;
		throw error;
	}
}

const TABLES: readonly (readonly [what: string, steps: readonly Step[]])[] = [
	[
		"takes an unknown producer from any sequence on, then only what comes next",
		[
			[0, 7, 1, "0"],
			[0, 8, 1, "1"],
			[0, 10, 1, OUT_OF_ORDER],
			[0, 3, 1, OUT_OF_ORDER],
			[0, 9, 3, "2"],
			[0, 12, 1, "5"],
		],
	],
	[
		"knows the last five batches again, and only as they were",
		[
			[0, 0, 1, "0"],
			[0, 1, 2, "1"],
			[0, 3, 1, "3"],
			[0, 4, 1, "4"],
			[0, 5, 1, "5"],
			[0, 0, 1, "=0"],
			[0, 6, 1, "6"],
			[0, 0, 1, OUT_OF_ORDER],
			[0, 1, 2, "=1"],
			[0, 1, 1, OUT_OF_ORDER],
			[0, 2, 1, OUT_OF_ORDER],
			[0, 6, 2, OUT_OF_ORDER],
			[0, 6, 1, "=6"],
			[0, 7, 1, "7"],
		],
	],
	[
		"goes on with 0 behind the largest sequence",
		[
			[0, HIGHEST, 1, "0"],
			[0, 0, 1, "1"],
			[0, HIGHEST, 1, "=0"],
		],
	],
	[
		"counts across the largest sequence within a batch",
		[
			[0, HIGHEST - 1, 3, "0"],
			[0, 2, 1, OUT_OF_ORDER],
			[0, 1, 1, "3"],
			[0, HIGHEST - 1, 3, "=0"],
		],
	],
	[
		"begins a new epoch with 0, and then refuses the old one, its duplicates too",
		[
			[0, 0, 1, "0"],
			[1, 5, 1, OUT_OF_ORDER],
			[0, 1, 1, "1"],
			[1, 0, 1, "2"],
			[0, 2, 1, STALE],
			[0, 1, 1, STALE],
			[1, 0, 1, "=2"],
			[1, 2, 1, OUT_OF_ORDER],
			[1, 1, 1, "3"],
			[9, 0, 1, "4"],
		],
	],
];

describe("an idempotent producer", () => {
	for (const [what, steps] of TABLES) {
		it(what, () => {
			const { world, partition } = newWorld();
			for (const step of steps) expect([...step.slice(0, 3), answerTo(world, partition, step)]).toEqual(step);
		});

		it(`${what}, through a power cut between any two batches`, async () => {
			const { world } = newWorld();
			for (const step of steps) {
				const partition = world.partition("t", 0) as Partition;
				expect([...step.slice(0, 3), answerTo(world, partition, step)]).toEqual(step);
				await world.finish(world.log.whenCommitted());
				await world.crash("power cut", new SimulatedRandom(5));
				world.start();
			}
		});
	}

	it("is one of its own in each partition, and each producer in one partition", () => {
		const { world, partition } = newWorld();
		const other = world.broker.topics.create({ name: "u" }).partitions[0] as Partition;
		expect(answerTo(world, partition, [0, 0, 1, ""])).toBe("0");
		expect(answerTo(world, other, [0, 4, 1, ""])).toBe("0");
		expect(answerTo(world, partition, [3, 9, 1, ""], 8)).toBe("1");
		expect(answerTo(world, partition, [0, 1, 1, ""])).toBe("2");
	});
});

describe("a transaction's marker", () => {
	it("fences the epochs before its own, and lets its own epoch go on", () => {
		const { world, partition } = newWorld();
		answerTo(world, partition, [0, 0, 1, ""]);
		world.broker.producers.marker(partition, 7, 0);
		expect(answerTo(world, partition, [0, 0, 1, ""])).toBe("=0");
		expect(answerTo(world, partition, [0, 1, 1, ""])).toBe("1");
		world.broker.producers.marker(partition, 7, 1);
		expect(answerTo(world, partition, [0, 2, 1, ""])).toBe(STALE);
		expect(answerTo(world, partition, [1, 2, 1, ""])).toBe(OUT_OF_ORDER);
		expect(answerTo(world, partition, [1, 0, 1, ""])).toBe("2");
	});

	it("of a producer that wrote nothing here makes it begin with 0", () => {
		const { world, partition } = newWorld();
		world.broker.producers.marker(partition, 7, 4);
		expect(answerTo(world, partition, [3, 0, 1, ""])).toBe(STALE);
		expect(answerTo(world, partition, [4, 1, 1, ""])).toBe(OUT_OF_ORDER);
		expect(answerTo(world, partition, [4, 0, 1, ""])).toBe("0");
	});
});

describe("transactional batches", () => {
	const transactional = { producerId: 7, producerEpoch: 0, baseSequence: 0, isTransactional: true };

	it("are taken only where the producer's open transaction has the partition", () => {
		const { world, partition } = newWorld();
		const other = world.broker.topics.create({ name: "u" }).partitions[0] as Partition;
		world.broker.producers.transactions = {
			holds: (id, epoch, which) => id === 7 && epoch === 0 && which === partition,
		};
		expect(() => appendTo(world, other, batchOf(["x"], transactional))).toThrow(/has not added the partition/);
		expect(() => appendTo(world, partition, batchOf(["x"], { ...transactional, producerEpoch: 1 }))).toThrow(
			/has not added the partition/,
		);
		expect(other.endOffset + partition.endOffset).toBe(0);
		appendTo(world, partition, batchOf(["x"], transactional));
		expect(partition.transactions.openedAt(7)).toBe(0);
		expect(world.broker.producers.describe(partition)).toMatchObject([{ producerId: 7, transactionStartOffset: 0 }]);
	});

	it("leave no room for others of the same producer before their end", () => {
		const { world, partition } = newWorld();
		world.broker.producers.transactions = { holds: () => true };
		appendTo(world, partition, batchOf(["x"], transactional));
		const plain = batchOf(["y"], { ...transactional, isTransactional: false, baseSequence: 1 });
		expect(() => appendTo(world, partition, plain)).toThrow(/open transaction/);
		expect(partition.endOffset).toBe(1);
	});

	it("of a fenced producer are told so by its transactional id", () => {
		const { world, partition } = newWorld();
		const init = () =>
			world.broker.transactions.initProducerId({
				transactionalId: "x",
				timeoutMs: 60_000,
				producerId: -1,
				producerEpoch: -1,
			});
		const { producerId, producerEpoch } = init();
		const code = (batch: Buffer) => {
			try {
				appendTo(world, partition, batch, "x");
			} catch (error) {
				return (error as BrokerError).code;
			}
			return "none";
		};
		const own = { ...transactional, producerId, producerEpoch };
		expect(code(batchOf(["x"], own))).toBe("INVALID_TXN_STATE");
		expect(code(batchOf(["x"], { ...own, producerId: producerId + 1 }))).toBe("INVALID_PRODUCER_ID_MAPPING");
		init();
		expect(code(batchOf(["x"], own))).toBe(STALE);
		expect(partition.endOffset).toBe(0);
	});
});

describe("rows of producers", () => {
	const rows = (world: World) => [...world.log.scanState(StateSpace.KAFKA_PRODUCER, "")].length;

	it("are described by producer id, with what is known of each", () => {
		const { world, partition } = newWorld();
		answerTo(world, partition, [2, 3, 4, ""], 300);
		answerTo(world, partition, [0, 0, 1, ""], 9);
		world.broker.producers.marker(partition, 9, 1);
		expect(world.broker.producers.describe(partition)).toEqual([
			{
				producerId: 9,
				epoch: 1,
				lastSequence: -1,
				lastTimestamp: START_MS,
				coordinatorEpoch: 0,
				transactionStartOffset: -1,
			},
			{
				producerId: 300,
				epoch: 2,
				lastSequence: 6,
				lastTimestamp: START_MS,
				coordinatorEpoch: -1,
				transactionStartOffset: -1,
			},
		]);
	});

	it("go with their topic, and what is left of very many goes in turns", async () => {
		const { world, partition } = newWorld();
		const other = world.broker.topics.create({ name: "u" }).partitions[0] as Partition;
		for (let id = 0; id < 700; id++) answerTo(world, partition, [0, 0, 1, ""], id);
		answerTo(world, other, [0, 0, 1, ""], 5);
		expect(world.broker.producers.describe(partition)).toHaveLength(700);
		await world.finish(world.log.whenCommitted());
		world.broker.topics.delete("t");
		await world.clock.settle();
		expect(rows(world)).toBe(1);
	});

	it("of every partition of a topic go with it, and of no other's between them", async () => {
		const { world } = newWorld();
		const { topics } = world.broker;
		const all = [...topics.create({ name: "a", partitions: 3 }).partitions];
		const [other] = topics.create({ name: "b" }).partitions;
		all.push(...topics.alter("a", { partitions: 5 }).partitions.slice(3));
		for (const partition of [...all, other as Partition]) answerTo(world, partition, [0, 0, 1, ""]);
		await world.finish(world.log.whenCommitted());
		topics.delete("a");
		expect(rows(world)).toBe(1);
		expect(world.broker.producers.describe(other as Partition)).toHaveLength(1);
	});

	it("go when a producer has been silent for a day, but not while its transaction is open", async () => {
		const { world, partition } = newWorld();
		answerTo(world, partition, [0, 0, 1, ""], 1);
		world.broker.producers.transactions = { holds: () => true };
		appendTo(
			world,
			partition,
			batchOf(["x"], { producerId: 2, producerEpoch: 0, baseSequence: 0, isTransactional: true }),
		);
		await world.clock.advance(23 * 3_600_000);
		answerTo(world, partition, [0, 0, 1, ""], 3);
		expect(rows(world)).toBe(3);
		await world.clock.advance(2 * 3_600_000);
		expect(world.broker.producers.describe(partition).map(({ producerId }) => producerId)).toEqual([2, 3]);
		// Whom nobody remembers may begin anywhere.
		expect(answerTo(world, partition, [0, 44, 1, ""], 1)).toBe("3");
	});

	const steps = [
		["out of 1970 while the gateway is off", START_MS, START_MS, true],
		["by ten years while it runs", 0, 3650 * DAY_MS, false],
	] as const;
	for (const [what, back, forward, isOff] of steps)
		it(`outlive a clock that steps forward ${what}: what is sent again then is not stored again`, async () => {
			const { world, partition } = newWorld();
			const sentAgain = () => answerTo(world, world.partition("t", 0) as Partition, [0, 0, 1, ""]);
			const restart = async () => {
				await world.finish(world.log.whenCommitted());
				await world.stop();
				world.start();
			};
			// The records are of another time than the clock is.
			world.broker.topics.alter("t", { set: { "message.timestamp.after.max.ms": String(START_MS) } });
			world.clock.step(-back);
			expect(answerTo(world, partition, [0, 0, 1, ""])).toBe("0");
			if (isOff) await restart();
			world.clock.step(forward);
			if (isOff) await restart();
			await world.clock.advance(DAY_MS / 2);
			expect(sentAgain()).toBe("=0");
			await restart();
			await world.clock.advance(DAY_MS / 4);
			expect(sentAgain()).toBe("=0");
			await world.clock.advance(DAY_MS / 2);
			expect(rows(world)).toBe(0);
		});
});
