/** Kafka's own kafka-dump-log reads segments that compaction wrote: every batch, every record, every index entry. */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { decodeRecords, readBatchHeader } from "../../src/record/batch.ts";
import { writeCompacted } from "../contract/verify/compacted.ts";
import { run, temporaryFolder } from "../support/gateway.ts";

const { kafka } = inject("runtimes");
const COMPLAINT = /isvalid: false|Found \d+ invalid bytes|mismatch|out of order|not monotonic|Exception|Error/i;

describe.skipIf(!kafka)("kafka-dump-log, of a compacted log", () => {
	const folder = temporaryFolder("dump-compacted");
	const files = (suffix: string): string[] =>
		fs
			.readdirSync(path.join(folder, "topics", "c-0"))
			.filter((name) => name.endsWith(suffix))
			.sort()
			.map((name) => path.join(folder, "topics", "c-0", name));

	beforeAll(async () => {
		const broker = await writeCompacted(folder);
		await broker.stop();
	});
	afterAll(() => fs.rmSync(folder, { recursive: true }));

	async function dump(...options: string[]): Promise<string[]> {
		const program = path.join(import.meta.dirname, "kit", "kafka", "kafka-cli");
		const { stdout, stderr } = await run(program, ["dump-log", ...options]);
		return `${stdout}\n${stderr}`.split("\n");
	}

	it("finds the records that we find, markers and delete horizons among them", async () => {
		const lines = await dump("--deep-iteration", "--files", files(".log").join(","));
		expect(lines.filter((line) => COMPLAINT.test(line))).toEqual([]);
		const ours: number[] = [];
		let horizons = 0;
		for (const bytes of files(".log").map((file) => fs.readFileSync(file)))
			for (let at = 0; at < bytes.length; at += readBatchHeader(bytes, at).sizeBytes) {
				ours.push(...decodeRecords(bytes, at).map(({ offset }) => offset));
				if (readBatchHeader(bytes, at).hasDeleteHorizon) horizons++;
			}
		const theirs = lines.flatMap((line) => /^\| offset: (\d+)/.exec(line)?.[1] ?? []).map(Number);
		expect(theirs).toEqual(ours);
		expect(lines.some((line) => line.includes("endTxnMarker: COMMIT"))).toBe(true);
		expect(horizons).toBeGreaterThan(0);
		expect(lines.filter((line) => /deleteHorizonMs: OptionalLong\[\d+\]/.test(line))).toHaveLength(horizons);
	});

	it("finds every index entry where it says it is", async () => {
		const lines = await dump("--files", [...files(".index"), ...files(".timeindex")].join(","));
		expect(lines.filter((line) => COMPLAINT.test(line))).toEqual([]);
		expect(lines.filter((line) => /^offset: \d+ position: \d+/.test(line)).length).toBeGreaterThan(5);
	});
});
