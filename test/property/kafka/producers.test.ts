/** Random producers over random lives of a broker, against a model that keeps it simple: nothing twice, nothing lost, nothing out of order. */
import fc from "fast-check";
import { it } from "vitest";
import { BrokerError } from "../../../src/base/errors.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { decodeRecords, readBatchHeader } from "../../../src/record/batch.ts";
import type { World } from "../../simulation/world.ts";
import { appendTo, batchOf, startWorld } from "../../support/producer-batches.ts";

const TOP = 2 ** 31;

interface ModelBatch {
	readonly epoch: number;
	readonly sequence: number;
	readonly count: number;
	readonly offset: number;
}

/** What Kafka's rules say of one producer's batches, kept as a list of all of them. */
class ModelProducer {
	readonly taken: ModelBatch[] = [];
	fence = -1;

	answer(epoch: number, sequence: number, count: number, endOffset: number): string {
		const newest = Math.max(this.fence, this.taken.at(-1)?.epoch ?? -1);
		const own = this.taken.filter((batch) => batch.epoch === epoch);
		if (epoch === newest)
			for (const batch of own.slice(-5))
				if (batch.sequence === sequence && batch.count === count) return `=${batch.offset}`;
		if (epoch < newest) return "INVALID_PRODUCER_EPOCH";
		const last = own.at(-1);
		const due = last === undefined ? 0 : (last.sequence + last.count) % TOP;
		if (newest >= 0 && sequence !== due) return "OUT_OF_ORDER_SEQUENCE_NUMBER";
		this.taken.push({ epoch, sequence, count, offset: endOffset });
		return `${endOffset}`;
	}
}

const step = fc.oneof(
	{
		weight: 12,
		arbitrary: fc.record({
			kind: fc.constant("write" as const),
			producer: fc.integer({ min: 0, max: 2 }),
			epochStep: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, -1),
			// Of what comes next; 0 mostly.
			shift: fc.constantFrom(0, 0, 0, 0, 1, -1, -2, -7, 5),
			count: fc.integer({ min: 1, max: 3 }),
		}),
	},
	{
		weight: 4,
		arbitrary: fc.record({
			kind: fc.constant("again" as const),
			producer: fc.integer({ min: 0, max: 2 }),
			back: fc.integer({ min: 1, max: 8 }),
		}),
	},
	{
		weight: 1,
		arbitrary: fc.record({ kind: fc.constant("marker" as const), producer: fc.integer({ min: 0, max: 2 }) }),
	},
	{
		weight: 1,
		arbitrary: fc.record({
			kind: fc.constant("restart" as const),
			how: fc.constantFrom("kill" as const, "power cut" as const, "stop" as const),
		}),
	},
);

async function restart(world: World, kind: "kill" | "power cut" | "stop"): Promise<void> {
	await world.finish(world.log.whenCommitted());
	if (kind === "stop") await world.stop();
	else await world.crash(kind, new SimulatedRandom(9));
	world.start();
}

function append(world: World, epoch: number, sequence: number, count: number, producerId: number): string {
	const values = Array.from({ length: count }, (_, i) => `${producerId}/${epoch}/${(sequence + i) % TOP}`);
	const partition = world.partition("t", 0) as Partition;
	const batch = batchOf(values, { producerId, producerEpoch: epoch, baseSequence: sequence });
	try {
		const { baseOffset, isDuplicate } = appendTo(world, partition, batch);
		return `${isDuplicate ? "=" : ""}${baseOffset}`;
	} catch (error) {
		if (error instanceof BrokerError) return error.code;
		throw error;
	}
}

async function readAll(world: World): Promise<string[]> {
	const partition = world.partition("t", 0) as Partition;
	await world.finish(world.log.whenCommitted());
	const values: string[] = [];
	for (let offset = 0; offset < partition.highWatermark; ) {
		const bytes = await world.finish(partition.read(offset, 1 << 20));
		for (let at = 0; at < bytes.length; at += readBatchHeader(bytes, at).sizeBytes) {
			for (const record of decodeRecords(bytes, at)) values.push(`${record.offset} ${record.value}`);
			offset = readBatchHeader(bytes, at).lastOffset + 1;
		}
	}
	return values;
}

it("answers every batch as the model does, over restarts, and stores what it said", async () => {
	await fc.assert(
		fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.constantFrom(0, 5, TOP - 4), async (steps, first) => {
			const world = startWorld();
			world.broker.topics.create({ name: "t", partitions: 1 });
			const models = [0, 1, 2].map(() => new ModelProducer());
			for (const one of steps) {
				if (one.kind === "restart") {
					await restart(world, one.how);
					continue;
				}
				const model = models[one.producer] as ModelProducer;
				const newest = Math.max(model.fence, model.taken.at(-1)?.epoch ?? 0, 0);
				if (one.kind === "marker") {
					model.fence = newest + 1;
					world.broker.producers.marker(world.partition("t", 0) as Partition, one.producer, newest + 1);
					continue;
				}
				let [epoch, sequence, count] = [newest, first, 1];
				if (one.kind === "again") {
					const before = model.taken.at(-one.back);
					if (before === undefined) continue;
					({ epoch, sequence, count } = before);
				} else {
					epoch = Math.max(0, newest + one.epochStep);
					const last = model.taken.filter((batch) => batch.epoch === epoch).at(-1);
					const due =
						last === undefined ? (model.taken.length === 0 && model.fence < 0 ? first : 0) : last.sequence + last.count;
					sequence = (due + one.shift + TOP) % TOP;
					count = one.count;
				}
				const endOffset = (world.partition("t", 0) as Partition).endOffset;
				const expected = model.answer(epoch, sequence, count, endOffset);
				const answer = append(world, epoch, sequence, count, one.producer);
				if (answer !== expected)
					throw new Error(`${JSON.stringify({ epoch, sequence, count })}: ${answer}, not ${expected}`);
			}
			const expected = models
				.flatMap(({ taken }, id) =>
					taken.flatMap(({ epoch, sequence, count, offset }) =>
						Array.from({ length: count }, (_, i) => [offset + i, `${id}/${epoch}/${(sequence + i) % TOP}`] as const),
					),
				)
				.sort(([a], [b]) => a - b)
				.map(([offset, value]) => `${offset} ${value}`);
			const found = await readAll(world);
			if (found.join() !== expected.join()) throw new Error(`stored: ${found.join()}; said: ${expected.join()}`);
		}),
		{ numRuns: 60 },
	);
});
