/** What is built when something goes wrong halfway: the next shipment begins from nothing. */
import { expect, it } from "vitest";
import { buildShipment } from "../../../bridge/upstream/build-shipment.ts";
import { positionAt, runOf } from "../../../bridge/upstream/position.ts";
import { Rebatcher } from "../../../bridge/upstream/shipment/rebatcher.ts";
import type { Source } from "../../../bridge/upstream/sources.ts";
import { BufferPool } from "../../../src/base/buffer-pool.ts";
import { SimulatedClock } from "../../../src/base/clock-simulated.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { BatchError, encodeBatch } from "../../../src/record/batch.ts";

const bytes = encodeBatch([{ timestamp: 1, key: null, value: Buffer.from("a"), headers: [] }]);

function source(read: () => Promise<Buffer>): Source {
	const partition = { topic: "t", number: 0, isVisible: () => true, read } as unknown as Partition;
	const position = positionAt(0);
	const flow = { recordsMax: Number.POSITIVE_INFINITY, batchBytesMax: Number.POSITIVE_INFINITY };
	return { partition, flow, position, isGone: false, run: (at = position) => runOf(at, 1, "oldest-first") } as never;
}

it("has nothing in it of one that could not be finished", async () => {
	const rebatcher = new Rebatcher({ codec: "none", level: undefined, compress: async (_codec, body) => body });
	const random = new SimulatedRandom("build");
	const options = {
		...{
			clock: new SimulatedClock({ random }),
			rebatcher,
			pool: new BufferPool(0),
			batchBytes: 1000,
			rawBytes: 10_000,
		},
		targetOf: () => ({ topic: "there", partitions: 1, partitioner: "key" as const }),
		...{ excludedOf: () => new Set<number>(), failed: () => undefined },
	};
	const sound = source(async () => bytes);
	const broken = source(async () => {
		throw new Error("EIO");
	});
	const counts = async (...sources: Source[]) =>
		(await buildShipment(sources, options))?.batches.map(({ count }) => count);
	// What cannot be read holds up nobody, and is left alone for a while.
	expect(await counts(sound, broken)).toEqual([1]);
	expect(broken.retryAtMs).toBe(60_000);
	const cut = source(async () => Buffer.concat([bytes.subarray(0, 61), Buffer.alloc(bytes.length - 61, 0xff)]));
	await expect(counts(sound, cut)).rejects.toThrow(BatchError);
	expect(cut.retryAtMs).toBe(60_000);
	expect(await counts(sound)).toEqual([1]);
	const none = { ...options, targetOf: () => ({ topic: "there", partitions: 0, partitioner: "key" as const }) };
	await expect(buildShipment([sound], none)).rejects.toThrow("topic there has no partitions");
});
