/** How the producer of the central cluster brings batches to leaders, and what it holds to without transactions. */
import { beforeEach, describe, expect, it } from "vitest";
import type { OutgoingBatch } from "../../../bridge/upstream/client/producer.ts";
import { encodeBatch, readBatchHeader } from "../../../src/record/batch.ts";
import type { Asked, ScriptedCluster } from "../../support/scripted-cluster.ts";
import { DELIVERY_MS, lost, outgoing, type Produced, ScriptedProducer } from "../../support/scripted-producer.ts";

const { signal } = new AbortController();
const batch = outgoing;

let kit: ScriptedProducer;
let cluster: ScriptedCluster;
let producer: ScriptedProducer["producer"];

function begin(options: { isTransactional?: boolean } = {}): void {
	kit = new ScriptedProducer(options);
	({ cluster, producer } = kit);
}

const finish = <T>(promise: Promise<T>): Promise<T> => cluster.finish(promise);

beforeEach(() => begin());

describe("without a transactional id", () => {
	beforeEach(() => begin({ isTransactional: false }));

	it("batches have sequences, and no transaction", async () => {
		await finish(producer.init(signal));
		await finish(producer.send([batch("t", 0, 3), batch("t", 0, 1)], signal));
		await finish(producer.commit(signal));
		await finish(producer.send([batch()], signal));
		expect(kit.apis).toEqual(["InitProducerId", "Produce", "Produce", "Produce"]);
		expect(cluster.named("InitProducerId")[0]?.value).toMatchObject({ transactionalId: null });
		expect(kit.headers.map(({ baseSequence, isTransactional }) => [baseSequence, isTransactional])).toEqual([
			[0, false],
			[3, false],
			[4, false],
		]);
	});

	it("a duplicate is there already", async () => {
		await finish(producer.init(signal));
		kit.codes.Produce = [lost()];
		kit.codes["Produce t/0"] = [46];
		expect(await finish(producer.send([batch()], signal))).toMatchObject([{ error: undefined }]);
		await finish(producer.send([batch()], signal));
		expect(kit.headers.map(({ baseSequence }) => baseSequence)).toEqual([0, 0, 2]);
	});

	it("a refused batch has used no sequence up", async () => {
		await finish(producer.init(signal));
		kit.codes["Produce t/0"] = [10];
		expect(await finish(producer.send([batch()], signal))).toMatchObject([{ error: { errorClass: "size" } }]);
		await finish(producer.send([batch("t", 0, 1)], signal));
		expect(kit.headers.map(({ baseSequence, producerEpoch }) => [baseSequence, producerEpoch])).toEqual([
			[0, 5],
			[0, 5],
		]);
	});

	it("after one of unknown outcome everything begins anew, of itself: the cluster would take another for the same", async () => {
		await finish(producer.init(signal));
		kit.codes.Produce = Array(1000).fill(lost());
		await expect(finish(producer.send([batch()], signal))).rejects.toMatchObject({ failure: "lost" });
		kit.codes = {};
		await finish(producer.send([batch()], signal));
		expect(kit.headers.at(-1)).toMatchObject({ producerId: 77, producerEpoch: 6, baseSequence: 0 });
		// Counted here: the cluster need not be asked.
		expect(cluster.named("InitProducerId")).toHaveLength(1);
		kit.codes["Produce t/0"] = Array(1000).fill(7);
		expect(await finish(producer.send([batch()], signal))).toMatchObject([{ error: { errorClass: "topic" } }]);
		kit.codes = {};
		await finish(producer.send([batch()], signal));
		expect(kit.headers.at(-1)).toMatchObject({ producerEpoch: 7, baseSequence: 0 });
	});

	it("so after one that was written, but to too few replicas, though it was tried only once", async () => {
		await finish(producer.init(signal));
		cluster.script = async (asked) => {
			if (asked.api === "Produce") await new Promise<void>((resolve) => cluster.clock.after(DELIVERY_MS, resolve));
			return kit.answer(asked);
		};
		kit.codes["Produce t/0"] = [20];
		expect(await finish(producer.send([batch()], signal))).toMatchObject([{ error: { errorClass: "topic" } }]);
		await finish(producer.send([batch()], signal));
		expect(kit.headers.map(({ producerEpoch }) => producerEpoch)).toEqual([5, 6]);
	});

	it("sequences begin again after the largest", async () => {
		await finish(producer.init(signal));
		const big = { ...batch(), count: 2 ** 31 - 1 };
		await finish(producer.send([big, batch("t", 0, 1), batch("t", 0, 1)], signal));
		expect(kit.headers.map(({ baseSequence }) => baseSequence)).toEqual([0, 2 ** 31 - 1, 0]);
	});

	it("an exhausted epoch is followed by another producer id", async () => {
		// The cluster's answer is one more.
		kit.epoch = 32_764;
		await finish(producer.init(signal));
		await finish(producer.init(signal));
		expect([producer.epoch, cluster.named("InitProducerId").length]).toEqual([32_766, 1]);
		kit.epoch = -1;
		await finish(producer.init(signal));
		expect([producer.epoch, cluster.named("InitProducerId").length]).toEqual([0, 2]);
	});
});

describe("requests", () => {
	it("have a partition's batches one by one, and about a mebibyte", async () => {
		await finish(producer.init(signal));
		const large = (partition: number): OutgoingBatch => ({
			...batch("t", partition, 1),
			batch: encodeBatch([{ timestamp: 0, key: null, value: Buffer.alloc(600_000), headers: [] }]),
		});
		cluster.lead("t", [1, 1, 1]);
		let underWay = 0;
		cluster.script = async (asked) => {
			if (asked.api !== "Produce") return kit.answer(asked);
			expect(++underWay).toBe(1);
			await new Promise<void>((resolve) => cluster.clock.after(1, resolve));
			underWay--;
			return kit.answer(asked);
		};
		await finish(producer.send([large(0), large(1), large(0), batch("t", 2)], signal));
		const places = cluster
			.named("Produce")
			.map(({ value }) =>
				(value as unknown as Produced).topicData.flatMap(({ partitionData }) =>
					partitionData.map(({ index }) => index),
				),
			);
		expect(places).toEqual([[0, 2], [0], [1]]);
	});

	it("have more time the more bytes they have", async () => {
		await finish(producer.init(signal));
		const value = Buffer.alloc(800_000);
		await finish(
			producer.send(
				[{ ...batch(), count: 1, batch: encodeBatch([{ timestamp: 0, key: null, value, headers: [] }]) }],
				signal,
			),
		);
		const [{ options, value: sent }] = cluster.named("Produce") as [Asked];
		expect(options.timeoutMs).toBeGreaterThanOrEqual(10_000 + 100_000);
		expect(sent).toMatchObject({ acks: -1, timeoutMs: 7500 });
		expect(readBatchHeader(batch().batch, 0).timestampType).toBe("append");
	});

	it("whose answer leaves a partition out are malformed", async () => {
		await finish(producer.init(signal));
		cluster.script = (asked) => (asked.api === "Produce" ? { responses: [] } : kit.answer(asked));
		await expect(finish(producer.send([batch()], signal))).rejects.toMatchObject({
			failure: "malformed",
			maybeSent: true,
		});
	});
});
