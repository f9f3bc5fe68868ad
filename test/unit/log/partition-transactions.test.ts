/** A partition's transactions: the last stable offset, which records were aborted, and what is left after a restart. */
import { beforeEach, describe, expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Partition } from "../../../src/log/partition.ts";
import type { AbortedTransaction, PartitionTransactions } from "../../../src/log/partition-transactions.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";
import { encodeBatch, readBatchHeader } from "../../../src/record/batch.ts";
import { World } from "../../simulation/world.ts";

let world: World;

beforeEach(() => {
	world = new World(new SimulatedRandom(3), {
		journalFileBytes: 1024 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: { "log.segment.bytes": "4096", "log.retention.bytes": "8192" },
		tearNeighbours: true,
		syncMs: 1,
	});
	world.start();
	world.broker.topics.create({ name: "t", partitions: 2 });
});

const partition = (): Partition => world.partition("t", 0) as Partition;
const transactions = (): PartitionTransactions => partition().transactions;
const durable = (): Promise<void> => world.finish(world.log.whenCommitted());

function write(producerId: number, bytes = 1): number {
	const batch = encodeBatch([{ timestamp: world.clock.now(), key: null, value: Buffer.alloc(bytes), headers: [] }], {
		producerId,
		producerEpoch: 0,
		baseSequence: 0,
		isTransactional: true,
	});
	const offset = partition().appendBatch(batch, 1);
	transactions().begin(producerId, offset);
	return offset;
}

function end(producerId: number, outcome: "commit" | "abort"): number {
	const batch = encodeBatch([{ timestamp: world.clock.now(), key: Buffer.alloc(4), value: null, headers: [] }], {
		producerId,
		producerEpoch: 0,
		isTransactional: true,
		isControl: true,
	});
	const offset = partition().appendBatch(batch, 1);
	transactions().end(producerId, offset, outcome);
	return offset;
}

async function restart(): Promise<void> {
	await durable();
	await world.crash("power cut", new SimulatedRandom(1));
	world.start();
}

describe("the last stable offset", () => {
	it("is that of the oldest open transaction, until the end of that is durable", async () => {
		write(1);
		write(2);
		await durable();
		expect(partition().lastStableOffset).toBe(0);
		end(1, "commit");
		expect(partition().lastStableOffset).toBe(0);
		await durable();
		expect(partition().lastStableOffset).toBe(1);
		write(3);
		end(2, "abort");
		await durable();
		expect(partition().lastStableOffset).toBe(3);
		end(3, "commit");
		await durable();
		expect([partition().lastStableOffset, partition().highWatermark]).toEqual([6, 6]);
	});

	it("does not move for a transaction whose end a power cut takes", async () => {
		write(1);
		await durable();
		end(1, "commit");
		await world.crash("power cut", new SimulatedRandom(1));
		world.start();
		expect([partition().lastStableOffset, partition().highWatermark]).toEqual([0, 1]);
		expect(transactions().openedAt(1)).toBe(0);
	});

	it("is not before the log's start when retention took the beginning of a transaction", async () => {
		write(1, 3000);
		for (let i = 0; i < 10; i++) {
			write(2, 3000);
			end(2, "commit");
			await durable();
		}
		await world.finish(world.log.checkpoint());
		world.broker.enforceRetention();
		expect(partition().logStartOffset).toBeGreaterThan(0);
		expect(partition().lastStableOffset).toBe(partition().logStartOffset);
		end(1, "abort");
		await durable();
		expect(partition().lastStableOffset).toBe(partition().highWatermark);
	});
});

describe("aborted transactions", () => {
	it("are found by what they overlap, against a list of all", async () => {
		const random = new SimulatedRandom(5);
		const all: AbortedTransaction[] = [];
		const open = new Map<number, number>();
		const outcomes: { producerId: number; offset: number; outcome?: string }[] = [];
		for (let i = 0; i < 1500; i++) {
			const producerId = random.between(1, 6);
			if (open.has(producerId) && random.chance(0.4)) {
				const outcome = random.chance(0.7) ? "abort" : "commit";
				const firstOffset = open.get(producerId) as number;
				const lastOffset = end(producerId, outcome);
				if (outcome === "abort") all.push({ producerId, firstOffset, lastOffset });
				open.delete(producerId);
				for (const each of outcomes) if (each.producerId === producerId) each.outcome ??= outcome;
			} else {
				const offset = write(producerId);
				if (!open.has(producerId)) open.set(producerId, offset);
				outcomes.push({ producerId, offset });
			}
			if (i === 500) await restart();
			if (i === 1000) await world.finish(world.log.checkpoint());
		}
		const check = () => {
			const stable = partition().lastStableOffset;
			for (let i = 0; i < 100; i++) {
				const from = random.between(0, stable);
				const to = random.between(from, stable);
				const expected = all.filter(({ firstOffset, lastOffset }) => lastOffset >= from && firstOffset < to);
				expect(transactions().aborted(from, to)).toEqual(expected);
			}
			for (const { producerId, offset, outcome } of outcomes)
				if (outcome !== undefined)
					expect(transactions().isAborted(producerId, offset), String(offset)).toBe(outcome === "abort");
		};
		await durable();
		check();
		await restart();
		check();
	});

	it("are found by who has asked for the same producer before", () => {
		write(1);
		end(1, "commit");
		write(2);
		end(2, "abort");
		expect(transactions().isAborted(1, 0)).toBe(false);
		const offset = write(1);
		end(1, "abort");
		expect(transactions().isAborted(1, offset)).toBe(true);
		expect(transactions().isAborted(1, 0)).toBe(false);
	});

	it("cost one look-up each, however many there are of others", async () => {
		for (let i = 0; i < 2000; i++) {
			write(2 + (i % 50));
			end(2 + (i % 50), "abort");
		}
		await durable();
		let rows = 0;
		const { log } = world;
		const pageState = log.pageState.bind(log);
		log.pageState = (...of) => {
			const page = pageState(...of);
			rows += page.length;
			return page;
		};
		for (let offset = 0; offset < 4000; offset += 400) {
			expect(transactions().isAborted(1, offset)).toBe(false);
			expect(transactions().isAborted(2 + ((offset / 2) % 50), offset)).toBe(true);
			expect(transactions().aborted(offset, offset + 10)).toHaveLength(5);
		}
		// A page of 256 for each range, a row for each batch.
		expect(rows).toBeLessThan(10 * (256 + 2) + 1);
	});

	it("are forgotten with their records, and until then none of them is shown to who reads slowly", async () => {
		for (let i = 0; i < 12; i++) {
			write(1, 1500);
			end(1, "abort");
			await durable();
		}
		const bytes = await world.finish(partition().read(0, 100));
		await world.finish(world.log.checkpoint());
		world.broker.enforceRetention();
		const { logStartOffset } = partition();
		expect(logStartOffset).toBeGreaterThan(0);
		expect(partition().isVisible(readBatchHeader(bytes, 0))).toBe(false);
		const left = transactions().aborted(0, 1000);
		expect(left.map(({ lastOffset }) => lastOffset)).toEqual(
			Array.from({ length: 12 }, (_, i) => 2 * i + 1).filter((offset) => offset >= logStartOffset),
		);
		expect([...world.log.scanState(StateSpace.KAFKA_ABORTED_TRANSACTION, "")]).toHaveLength(2 * left.length);
	});

	it("and open ones leave nothing behind when their topic is deleted, whatever cuts that short", async () => {
		write(1);
		end(1, "abort");
		write(1);
		await durable();
		world.broker.catalog.deleteTopic(world.broker.topics.get("t")?.id ?? "");
		await restart();
		expect([...world.log.scanState(StateSpace.KAFKA_ABORTED_TRANSACTION, "")]).toEqual([]);
		expect([...world.log.scanState(StateSpace.KAFKA_OPEN_TRANSACTION, "")]).toEqual([]);
	});

	for (const outcome of ["open", "aborted"] as const)
		for (const isRestarted of [false, true])
			it(`or one that is ${outcome} goes with its topic${isRestarted ? ", over a restart too" : ""}`, async () => {
				write(1);
				if (outcome === "aborted") end(1, "abort");
				const rows = () =>
					[StateSpace.KAFKA_OPEN_TRANSACTION, StateSpace.KAFKA_ABORTED_TRANSACTION].flatMap((space) => [
						...world.log.scanState(space, ""),
					]).length;
				if (isRestarted) await restart();
				expect(rows()).toBeGreaterThan(0);
				world.broker.topics.delete("t");
				expect(rows()).toBe(0);
			});
});
