/** What is decided about batches that the central cluster refuses: every way ends in the quarantine, or with a problem of the topic. */
import { describe, expect, it } from "vitest";
import { kafkaError } from "../../../bridge/upstream/client/kafka-error.ts";
import { Rejections } from "../../../bridge/upstream/rejections.ts";
import type { Rejection } from "../../../bridge/upstream/session.ts";
import type { Quarantine } from "../../../bridge/upstream/shipment/quarantine.ts";
import type { Sources } from "../../../bridge/upstream/sources.ts";
import type { Partition } from "../../../src/log/partition.ts";

const INVALID_RECORD = 87;
const MESSAGE_TOO_LARGE = 10;

/** Two topics here that go to one there. */
function kit() {
	const flows = ["a", "b"].map(() => ({
		recordsMax: Number.POSITIVE_INFINITY,
		batchBytesMax: Number.POSITIVE_INFINITY,
		counters: { quarantined: 0 },
	}));
	const [a, b] = ["a", "b"].map((topic) => ({ topic, number: 0 }) as Partition) as [Partition, Partition];
	const sources = { of: (partition: Partition) => ({ flow: flows[partition === a ? 0 : 1], excluded: new Set() }) };
	const held: { partition: Partition; offset: number }[] = [];
	const quarantine = { hold: async (records: typeof held) => held.push(...records), offsetsOf: () => [] };
	const refused: unknown[] = [];
	const rejections = new Rejections(sources as unknown as Sources, quarantine as unknown as Quarantine, (flow) =>
		refused.push(flow),
	);
	const settle = (code: number, from: readonly Partition[], recordErrors: Rejection["recordErrors"] = []) => {
		const sourceOf = (index: number) => ({ partition: from[index] as Partition, offset: index });
		const batch = { count: from.length, rawBytes: 4000, sourceOf } as unknown as Rejection["batch"];
		return rejections.settle([{ batch, error: kafkaError(code, "Produce", { topic: "there" }), recordErrors }]);
	};
	return { flows, a, b, held, refused, settle };
}

describe("a batch of two topics", () => {
	it.each([INVALID_RECORD, MESSAGE_TOO_LARGE])("that is refused with %i is made smaller for both", async (code) => {
		const { flows, a, b, settle } = kit();
		for (let i = 0; i < 20; i++) await settle(code, [a, b, b, b]);
		expect(flows.map(({ recordsMax }) => recordsMax)).toEqual([1, 1]);
	});

	it("whose topic refuses everything holds up both", async () => {
		const { flows, a, b, refused, settle } = kit();
		await settle(29, [a, b]);
		expect(refused).toEqual(flows);
	});
});

describe("records that are named", () => {
	it("are held", async () => {
		const { a, b, held, flows, settle } = kit();
		await settle(INVALID_RECORD, [a, b, b], [{ index: 2, message: "no key" }]);
		expect(held).toMatchObject([{ partition: b, offset: 2, reason: "no key" }]);
		expect(flows.map(({ recordsMax }) => recordsMax)).toEqual([Infinity, Infinity]);
	});

	it("and are none of the batch do not end in an endless repetition", async () => {
		const { a, flows, held, settle } = kit();
		await settle(INVALID_RECORD, [a, a], [{ index: 7, message: null }]);
		expect(flows[0]?.recordsMax).toBe(1);
		await settle(INVALID_RECORD, [a], [{ index: -1, message: null }]);
		expect(held).toHaveLength(1);
	});
});
