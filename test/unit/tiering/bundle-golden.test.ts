import fs from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { dumpJson } from "../../../src/cli/dump.ts";
import { dumpBundle } from "../../../tiering/bundle/dump.ts";
import { bundleRecords } from "../../../tiering/bundle/export.ts";
import { readBundleFooter, readSnapshot } from "../../../tiering/bundle/reader.ts";
import { verifyBundle } from "../../../tiering/bundle/verify.ts";
import { sourceOf } from "../../support/bundles.ts";

const folder = path.join(import.meta.dirname, "../../golden/bundle");
/** What format 1 was on the day it was made (test/golden/bundle/make.ts). */
const bytes = fs.readFileSync(path.join(folder, "format-1.bundle"));
const source = sourceOf(bytes, "format-1.bundle");

describe("a bundle of format 1", () => {
	it("is read to the last byte as it was when it was written", async () => {
		let lines = "";
		for await (const item of dumpBundle(source, { records: true })) lines += dumpJson(item);
		expect(lines).toBe(fs.readFileSync(path.join(folder, "format-1.ndjson"), "utf8"));
		expect(await verifyBundle(source, (error) => expect.fail(error.message))).toMatchObject({ records: 16, blocks: 3 });
		expect(String(await readSnapshot(source, await readBundleFooter(source)))).toBe("an opaque snapshot");
	});

	it("gives its committed records, those from an offset on where one is named", async () => {
		const filter = { topic: undefined, partition: undefined, from: 0, withAborted: false };
		const late: number[] = [];
		for await (const { offset } of bundleRecords(source, await readBundleFooter(source), { ...filter, from: 531 }))
			late.push(offset);
		expect(late).toEqual([531]);
		const found: string[] = [];
		for await (const { topic, partition, offset } of bundleRecords(source, await readBundleFooter(source), filter))
			found.push(`${topic}-${partition}@${offset}`);
		expect(found).toEqual([
			...[100, 101, 102, 103, 104, 105, 106, 107, 108].map((offset) => `telemetry-0@${offset}`),
			"telemetry-1@2",
			...[510, 530, 531].map((offset) => `device.state-0@${offset}`),
		]);
	});
});
