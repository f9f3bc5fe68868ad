/** Produce over sockets: what is answered, when, and what is stored. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { produce } from "../../../src/kafka/handlers/00-produce.ts";
import { KafkaGateway } from "../../support/kafka-gateway.ts";
import type { KafkaWire } from "../../support/kafka-wire.ts";
import { batchOf } from "../../support/producer-batches.ts";
import { fetchFrom, produceTo, produceValue, store, valuesIn } from "./records.ts";

let gateway: KafkaGateway;
let wire: KafkaWire;

beforeEach(async () => {
	gateway = await KafkaGateway.start();
	gateway.broker.topics.create({ name: "t", partitions: 3 });
	wire = await gateway.connect();
});
afterEach(() => gateway.stop());

const endOffsets = () => gateway.broker.topics.get("t")?.partitions.map(({ endOffset }) => endOffset);
const aRound = () => new Promise((resolve) => setImmediate(resolve));
async function rounds(count = 20): Promise<void> {
	for (let i = 0; i < count; i++) await aRound();
}

describe("an answer", () => {
	for (const acks of [-1, 1]) {
		it(`leaves when the batch is durable, not before (acks=${acks})`, async () => {
			gateway.hold();
			wire.send(produce.request, 11, produceValue("t", [[1, batchOf(["a", "b"])]], acks));
			while (endOffsets()?.[1] !== 2) await aRound();
			await rounds();
			expect(wire.answered).toBe(0);
			gateway.release();
			const { responses } = await wire.answer(produce.response, 11);
			expect(responses[0]?.partitionResponses).toMatchObject([
				{ index: 1, errorCode: 0, baseOffset: 0, logStartOffset: 0 },
			]);
		});
	}

	it("to a duplicate leaves when the first one is durable, and has its offset", async () => {
		gateway.hold();
		const batch = () => batchOf(["a"], { producerId: 5, producerEpoch: 0, baseSequence: 0 });
		wire.send(produce.request, 11, produceValue("t", [[0, batch()]]));
		while (endOffsets()?.[0] !== 1) await aRound();
		const again = await gateway.connect();
		again.send(produce.request, 11, produceValue("t", [[0, batch()]]));
		await rounds();
		expect([wire.answered, again.answered]).toEqual([0, 0]);
		gateway.release();
		const { responses } = await again.answer(produce.response, 11);
		expect(responses[0]?.partitionResponses).toMatchObject([{ errorCode: 0, baseOffset: 0 }]);
		expect(endOffsets()).toEqual([1, 0, 0]);
	});

	it("is given in every version", async () => {
		for (let version = 3; version <= 11; version++) {
			const answers = await produceTo(
				wire,
				"t",
				[
					[0, batchOf(["a"])],
					[7, batchOf(["b"])],
				],
				version,
			);
			expect(answers).toMatchObject([
				{ index: 0, errorCode: 0, baseOffset: version - 3, logAppendTimeMs: -1 },
				{ index: 7, errorCode: 3, baseOffset: -1 },
			]);
			expect(answers[1]?.errorMessage).toEqual(version >= 8 ? expect.stringContaining("no such partition") : null);
		}
	});
});

describe("with acks=0", () => {
	it("nothing is answered, and the next request is", async () => {
		wire.send(produce.request, 9, produceValue("t", [[0, batchOf(["a"])]], 0));
		expect(await store(wire, "t", 0, ["b"])).toBe(1);
		expect(wire.answered).toBe(0);
	});

	it("the connection is closed where not all was taken; the rest is stored", async () => {
		wire.send(
			produce.request,
			9,
			produceValue(
				"t",
				[
					[0, batchOf(["a"])],
					[9, batchOf(["b"])],
				],
				0,
			),
		);
		await wire.closed;
		expect([wire.answered, endOffsets()]).toEqual([0, [1, 0, 0]]);
	});
});

describe("errors", () => {
	it("are each partition's own; the others go on", async () => {
		const spoilt = batchOf(["x"]);
		spoilt.writeUInt32BE(1, 17);
		const answers = await produceTo(wire, "t", [
			[0, batchOf(["a"])],
			[1, spoilt],
			[2, null],
			[3, batchOf(["b"])],
			[2, batchOf(["c"])],
			[2, Buffer.alloc(0)],
		]);
		expect(answers.map(({ index, errorCode }) => [index, errorCode])).toEqual([
			[0, 0],
			[1, 2],
			[2, 87],
			[3, 3],
			[2, 0],
			[2, 87],
		]);
		expect(endOffsets()).toEqual([1, 0, 1]);
	});

	it("name the records that are refused, from version 8 on", async () => {
		gateway.broker.topics.create({ name: "c", config: { "cleanup.policy": "compact" } });
		const batch = () => batchOf(["a", { timestamp: 5, key: null, value: Buffer.from("b"), headers: [] }]);
		const [answer] = await produceTo(wire, "c", [[0, batch()]]);
		expect(answer).toMatchObject({
			errorCode: 87,
			recordErrors: [{ batchIndex: 1, batchIndexErrorMessage: expect.stringContaining("without a key") }],
		});
		const [old] = await produceTo(wire, "c", [[0, batch()]], 7);
		expect(old).toMatchObject({ errorCode: 87, recordErrors: [] });
	});

	it("are INVALID_REQUIRED_ACKS for any other acks, and nothing is stored", async () => {
		for (const acks of [2, -2, 32767]) {
			const { responses } = await wire.request(produce, 9, produceValue("t", [[0, batchOf(["a"])]], acks));
			expect(responses[0]?.partitionResponses).toMatchObject([{ errorCode: 21 }]);
		}
		expect(endOffsets()).toEqual([0, 0, 0]);
	});

	it("keep transactional batches out of a request without a transactional id", async () => {
		const transactional = batchOf(["a"], { producerId: 5, producerEpoch: 0, baseSequence: 0, isTransactional: true });
		const answers = await produceTo(wire, "t", [
			[0, batchOf(["b"])],
			[1, transactional],
		]);
		expect(answers.map(({ errorCode }) => errorCode)).toEqual([53, 53]);
		expect(endOffsets()).toEqual([0, 0, 0]);
	});

	it("are told for 10,000 partitions that are not there", async () => {
		const answers = await produceTo(
			wire,
			"nowhere",
			Array.from({ length: 10_000 }, (_, i) => [i, batchOf(["a"])] as const),
		);
		expect(answers).toHaveLength(10_000);
		expect(new Set(answers.map(({ errorCode }) => errorCode))).toEqual(new Set([3]));
	});
});

it("stores what kill -9 leaves, and a producer goes on where it was", async () => {
	const batch = (sequence: number) =>
		batchOf([`n${sequence}`], { producerId: 5, producerEpoch: 2, baseSequence: sequence });
	for (let i = 0; i < 3; i++) await produceTo(wire, "t", [[0, batch(i)]]);
	await gateway.kill();
	await gateway.start();
	wire = await gateway.connect();
	const answers = [];
	for (const sequence of [1, 2, 4, 3]) answers.push(...(await produceTo(wire, "t", [[0, batch(sequence)]])));
	expect(answers.map(({ errorCode, baseOffset }) => [errorCode, baseOffset])).toEqual([
		[0, 1],
		[0, 2],
		[45, -1],
		[0, 3],
	]);
	const read = async (fetchOffset: number) =>
		valuesIn((await fetchFrom(wire, "t", [{ partition: 0, fetchOffset }]))[0]?.records ?? null);
	expect([...(await read(0)), ...(await read(3))]).toEqual(["0 n0", "1 n1", "2 n2", "3 n3"]);
});
