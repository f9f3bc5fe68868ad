import fs from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { StoreReader } from "../../../../device-sim/demo/store-reader.ts";
import { NodeDisk } from "../../../../src/base/disk.ts";
import { batchAt, type DescribedRange, writeBundle } from "../../../support/bundles.ts";
import { temporaryFolder } from "../../../support/gateway.ts";

const root = temporaryFolder("store-reader");
const golden = path.join(import.meta.dirname, "../../../golden/bundle/format-1.bundle");
afterAll(() => fs.rmSync(root, { recursive: true }));

let folders = 0;

/** A store with these bundles, in their order. */
async function storeOf(...bundles: (readonly DescribedRange[])[]): Promise<{ folder: string; reader: StoreReader }> {
	const folder = path.join(root, String(folders++));
	for (const [i, ranges] of bundles.entries()) put(folder, i + 1, (await writeBundle(ranges)).bytes);
	const reader = new StoreReader(new NodeDisk(), folder, "telemetry");
	reader.look();
	return { folder, reader };
}

function put(folder: string, sequence: number, bytes: Buffer): void {
	const incarnation = path.join(folder, "gw-1", "0000000001");
	fs.mkdirSync(incarnation, { recursive: true });
	fs.writeFileSync(path.join(incarnation, `${String(sequence).padStart(20, "0")}-0badcafe.bundle`), bytes);
}

const found = (reader: StoreReader) =>
	[...reader.records()].map(({ partition, offset, key, value }) => `${partition}@${offset} ${key}=${value}`);
const values = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `value ${from + i}`);
const expected = (partition: number, from: number, to: number) =>
	values(from, to).map((value, i) => `${partition}@${from + i} dev${(from + i) % 5}=${value}`);

describe("what is read from the object store", () => {
	it("is every record of the topic, whatever its batch is compressed with, and the block", async () => {
		const long = values(0, 200);
		const { reader } = await storeOf(
			[
				{ batches: [batchAt(0, long), batchAt(200, values(200, 210), { codec: "gzip" })] },
				{ partition: 1, batches: [batchAt(0, values(0, 3), { codec: "zstd" })] },
			],
			[{ batches: [batchAt(210, values(210, 212))] }],
		);
		expect(found(reader)).toEqual([...expected(0, 0, 212), ...expected(1, 0, 3)]);
		expect([reader.bundles, reader.offsets()]).toEqual([2, 215]);
		expect(reader.bytes).toBeGreaterThan(500);
	});

	it("is each record once, where an upload was given up and made again", async () => {
		const { reader } = await storeOf(
			[{ batches: [batchAt(0, values(0, 5))] }],
			[{ batches: [batchAt(0, values(0, 5)), batchAt(5, values(5, 9))] }],
			[{ batches: [batchAt(9, values(9, 10))] }],
		);
		expect(found(reader)).toEqual(expected(0, 0, 10));
	});

	it("leaves a hole where there is one", async () => {
		const { reader } = await storeOf(
			[{ batches: [batchAt(0, values(0, 2))] }],
			[{ batches: [batchAt(4, values(4, 6))] }],
		);
		expect(found(reader)).toEqual([...expected(0, 0, 2), ...expected(0, 4, 6)]);
	});

	it("comes from bundles that came since, too, and from nothing where there is no store yet", async () => {
		const { folder, reader } = await storeOf();
		expect([found(reader), reader.offsets()]).toEqual([[], 0]);
		put(folder, 1, (await writeBundle([{ batches: [batchAt(0, values(0, 2))] }])).bytes);
		reader.look();
		expect(found(reader)).toEqual(expected(0, 0, 2));
	});

	it("is nothing of a bundle that was removed since", async () => {
		const { folder, reader } = await storeOf(
			[{ batches: [batchAt(0, values(0, 5))] }],
			[{ batches: [batchAt(0, values(0, 3))] }],
		);
		const bytes = reader.bytes;
		fs.rmSync(path.join(folder, "gw-1", "0000000001", "00000000000000000001-0badcafe.bundle"));
		reader.look();
		expect([found(reader), reader.bundles, reader.offsets()]).toEqual([expected(0, 0, 3), 1, 3]);
		expect(reader.bytes).toBeLessThan(bytes);
	});

	it("is committed records only, and of format 1 as it was on its first day", () => {
		const folder = path.join(root, "golden");
		put(folder, 1, fs.readFileSync(golden));
		const reader = new StoreReader(new NodeDisk(), folder, "telemetry");
		reader.look();
		expect(found(reader).map((text) => text.split(" ")[0])).toEqual([
			...[100, 101, 102, 103, 104, 105, 106, 107, 108].map((offset) => `0@${offset}`),
			"1@2",
		]);
	});

	it("is not taken from what is no bundle, or half of one", async () => {
		const { folder, reader } = await storeOf([{ batches: [batchAt(0, values(0, 2))] }]);
		const { bytes } = await writeBundle([{ batches: [batchAt(2, values(2, 9))] }]);
		put(folder, 2, bytes.subarray(0, bytes.length - 1));
		expect(() => reader.look()).toThrow(/00000002-0badcafe.bundle is no bundle: it does not end as one/);
		put(folder, 2, bytes.subarray(bytes.length - 60));
		expect(() => reader.look()).toThrow(/its footer is not where/);
		put(folder, 2, bytes);
		reader.look();
		expect(found(reader)).toHaveLength(9);
	});
});
