/** docs/bundle-format.md has a reader of bundles in Python, for who has no Headwater: it is run, as it stands there. */
import fs from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, inject, it } from "vitest";
import { bundleRecords } from "../../tiering/bundle/export.ts";
import { readBundleFooter } from "../../tiering/bundle/reader.ts";
import { batchAt, sourceOf, writeBundle } from "../support/bundles.ts";
import { run, temporaryFolder } from "../support/gateway.ts";

// Its environment has zstandard too: Kafka's client needs it.
const { pythonKafka } = inject("runtimes");
const root = path.join(import.meta.dirname, "../..");

describe.skipIf(pythonKafka === undefined)("the reader in Python", () => {
	const folder = temporaryFolder("bundle");
	afterAll(() => fs.rmSync(folder, { recursive: true }));
	const script = path.join(folder, "read.py");
	const document = fs.readFileSync(path.join(root, "docs/bundle-format.md"), "utf8");
	fs.writeFileSync(script, /```python\n([\s\S]*?)```/.exec(document)?.[1] ?? "");

	async function readBoth(bytes: Buffer): Promise<{ theirs: unknown[]; ours: unknown[] }> {
		const file = path.join(folder, "some.bundle");
		fs.writeFileSync(file, bytes);
		const { code, stdout, stderr } = await run(pythonKafka ?? "", [script, file]);
		expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
		const theirs = stdout
			.split("\n")
			.filter((line) => line !== "")
			.map((line): unknown => JSON.parse(line));
		const source = sourceOf(bytes);
		const filter = { topic: undefined, partition: undefined, from: 0, withAborted: false };
		const ours: unknown[] = [];
		for await (const { topic, partition, offset, timestamp, key, value } of bundleRecords(
			source,
			await readBundleFooter(source),
			filter,
		))
			ours.push({
				topic,
				partition,
				offset,
				timestamp,
				key: key?.toString() ?? null,
				value: value?.toString() ?? null,
			});
		return { theirs, ours };
	}

	it("reads a bundle of the first days", async () => {
		const bytes = fs.readFileSync(path.join(root, "test/golden/bundle/format-1.bundle"));
		const { theirs, ours } = await readBoth(bytes);
		expect(theirs).toHaveLength(13);
		expect(theirs).toEqual(ours);
	});

	it("reads one of today, with many blocks, transactions, the broker's timestamps", async () => {
		const value = (n: number) => `${"telemetry ".repeat(1000)}${n}`;
		const batches = Array.from({ length: 60 }, (_, i) => batchAt(i * 2, [value(i), value(i + 1)]));
		const transaction = { producerId: 5, producerEpoch: 0, isTransactional: true };
		const { bytes, footer } = await writeBundle([
			{ batches },
			{
				partition: 1,
				batches: [
					batchAt(0, ["a", "b"], { timestampType: "append" }),
					batchAt(2, ["gone"], transaction),
					batchAt(4, ["stays"], transaction),
					batchAt(5, ["other"], { ...transaction, producerId: 6, codec: "zstd" }),
				],
				aborted: [{ producerId: 5, firstOffset: 2, lastOffset: 3 }],
			},
		]);
		expect(footer.ranges[0]?.blocks.length).toBeGreaterThan(3);
		const { theirs, ours } = await readBoth(bytes);
		expect(theirs).toHaveLength(124);
		expect(theirs).toEqual(ours);
	});
});
