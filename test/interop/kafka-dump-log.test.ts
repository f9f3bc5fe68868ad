/**
 * Kafka's own kafka-dump-log reads our segments and indexes. That its complaints are noticed is shown on a
 * segment damaged on purpose.
 */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { connect } from "../../src/native/client/client.ts";
import { startGateway, temporaryFolder } from "../support/gateway.ts";
import { dumpLog } from "./kafka/dump-log.ts";

const { kafka } = inject("runtimes");
const RECORDS = 4000;

describe.skipIf(!kafka)("kafka-dump-log", () => {
	const folder = temporaryFolder("dump-log");
	let files: string[] = [];
	const withSuffix = (suffix: string): string[] => files.filter((file) => file.endsWith(suffix)).sort();

	beforeAll(async () => {
		const gateway = await startGateway({ dataDirectory: folder });
		const client = await connect({ port: gateway.nativePort });
		// Small segments: several of them, each with index entries.
		await client.topics.create({
			name: "dumped",
			partitions: 1,
			config: { "segment.bytes": "65536", "index.interval.bytes": "1024" },
		});
		for (let i = 0; i < RECORDS; i += 50) {
			const records = Array.from({ length: 50 }, (_, n) => ({
				key: (i + n) % 3 === 0 ? null : `key-${i + n}`,
				value: (i + n) % 7 === 0 ? null : `value-${i + n}-${"x".repeat((i + n) % 100)}`,
				headers: [["site", `s${i + n}`]] as [string, string][],
			}));
			await client.produce("dumped", records, { partition: 0 });
		}
		await client.close();
		expect(await gateway.stop()).toBe(0);
		files = fs
			.readdirSync(folder, { recursive: true, encoding: "utf8" })
			.filter((name) => path.basename(path.dirname(name)) === "dumped-0")
			.map((name) => path.join(folder, name));
	});
	afterAll(() => fs.rmSync(folder, { recursive: true }));

	it("reads every record of every segment", async () => {
		expect(withSuffix(".log").length).toBeGreaterThan(1);
		const { lines, complaints } = await dumpLog(withSuffix(".log"), "--deep-iteration", "--print-data-log");
		expect(complaints).toEqual([]);
		const records = lines.filter((line) => line.startsWith("| offset: "));
		expect(records.map((line) => Number(/offset: (\d+)/.exec(line)?.[1]))).toEqual([...Array(RECORDS).keys()]);
		expect(records[1]).toMatch(/keySize: 5 .*headerKeys: \[site\] key: key-1 payload: value-1-x$/);
		expect(records[21]).toMatch(/keySize: -1 valueSize: -1 /);
	});

	it("finds every index entry where it says it is", async () => {
		const { lines, complaints } = await dumpLog([...withSuffix(".index"), ...withSuffix(".timeindex")]);
		expect(complaints).toEqual([]);
		expect(lines.filter((line) => /^offset: \d+ position: \d+/.test(line)).length).toBeGreaterThan(10);
		expect(lines.filter((line) => /^timestamp: \d+ offset: \d+/.test(line)).length).toBeGreaterThan(1);
		const sanity = await dumpLog([...withSuffix(".index"), ...withSuffix(".timeindex")], "--index-sanity-check");
		expect(sanity.complaints).toEqual([]);
		expect(sanity.lines.filter((line) => line.includes("passed sanity check"))).toHaveLength(
			withSuffix(".index").length + withSuffix(".timeindex").length,
		);
	});

	it("is heard when it complains", async () => {
		const copy = temporaryFolder("damaged");
		const [segment = ""] = withSuffix(".log");
		const damaged = path.join(copy, path.basename(segment));
		const bytes = fs.readFileSync(segment);
		bytes[100] = (bytes[100] ?? 0) ^ 1;
		fs.writeFileSync(damaged, bytes);
		const { complaints } = await dumpLog([damaged], "--deep-iteration", "--print-data-log");
		fs.rmSync(copy, { recursive: true });
		expect(complaints).not.toEqual([]);
	});
});
