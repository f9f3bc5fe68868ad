/**
 * `verify` and `dump` on a data directory that a broker wrote, on a real disk: silent where it is sound, and for
 * each kind of damage the file and the place. The broker opened on the damaged directory serves the rest.
 */

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { NodeDisk } from "../../../src/base/disk.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { Broker } from "../../../src/broker/broker.ts";
import { dumpFile } from "../../../src/log/dump.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { offsetForTimestamp } from "../../../src/log/partition-times.ts";
import { type Finding, verifyDataDirectory } from "../../../src/log/verify.ts";
import { decodeRecords, readBatchHeader } from "../../../src/record/batch.ts";
import { EMPTY_HEADERS_BLOCK, encodeKeyBlock } from "../../../src/record/builder.ts";

const disk = new NodeDisk();
const root = fs.mkdtempSync(path.join(os.tmpdir(), "headwater-verify-"));
const SOUND = path.join(root, "sound");
/** As a kill leaves it: entries in the journal that no checkpoint has taken over. */
const KILLED = path.join(root, "killed");
const RECORDS = 40;
const KILLED_RECORDS = 5;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

function open(dataFolder: string): Broker {
	return Broker.open(
		{
			dataFolder,
			journal: { fileBytes: 1024 * 1024, filesMax: 3 },
			lingerMs: 0,
			memoryBudgetBytes: 1 << 24,
			retentionCheckMs: 1e6,
			defaultPartitions: 1,
			topicDefaults: {
				"log.index.interval.bytes": "256",
				"log.retention.bytes": "-1",
				"log.retention.ms": "-1",
				"log.roll.ms": "604800000",
				"log.segment.bytes": "8192",
				"message.max.bytes": "1048588",
			},
			onFailure: (error) => {
				throw error;
			},
		},
		{ disk, clock: systemClock, random: systemRandom, logger: silent },
	);
}

const valueAt = (i: number) => Buffer.from(`value ${i} ${"x".repeat(300)}`);

async function append(broker: Broker, from: number, to: number): Promise<void> {
	for (let i = from; i < to; i++) {
		for (const topic of ["a", "b"]) {
			const [partition] = broker.topics.get(topic)?.partitions ?? [];
			const value = valueAt(i);
			partition?.appendRecord(1000 + i, encodeKeyBlock(null), value, 0, value.length, EMPTY_HEADERS_BLOCK);
		}
		await broker.log.whenCommitted();
	}
}

beforeAll(async () => {
	const broker = open(SOUND);
	broker.topics.create({ name: "a" });
	broker.topics.create({ name: "b" });
	await append(broker, 0, RECORDS);
	await broker.log.checkpoint();
	await append(broker, RECORDS, RECORDS + KILLED_RECORDS);
	// Between two turns of the event loop: what a kill at this instant leaves.
	fs.cpSync(SOUND, KILLED, { recursive: true });
	await broker.stop();
});

afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

let copies = 0;
function copyOf(of: string): string {
	const to = path.join(root, `copy-${copies++}`);
	fs.cpSync(of, to, { recursive: true });
	return to;
}

function verify(folder: string): { findings: Finding[]; records: number } {
	const findings: Finding[] = [];
	const work = verifyDataDirectory(disk, folder);
	let step = work.next();
	for (; !step.done; step = work.next()) findings.push(step.value);
	return { findings, records: step.value.records };
}

/** Offsets of the records that can be read, whose values are what was written. */
async function readable(partition: Partition | undefined): Promise<number[]> {
	const offsets: number[] = [];
	if (partition === undefined) return offsets;
	for (let offset = partition.logStartOffset; offset < partition.highWatermark; ) {
		const bytes = await partition.read(offset, 1000);
		if (bytes.length === 0) break;
		for (let at = 0; at < bytes.length; at += readBatchHeader(bytes, at).sizeBytes) {
			for (const record of decodeRecords(bytes, at)) {
				expect(record.value).toEqual(valueAt(record.offset));
				offsets.push(record.offset);
				offset = record.offset + 1;
			}
		}
	}
	return offsets;
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

function files(folder: string, suffix: string): string[] {
	return fs
		.readdirSync(folder, { recursive: true, encoding: "utf8" })
		.filter((name) => name.endsWith(suffix))
		.sort()
		.map((name) => path.join(folder, name));
}

const segments = (folder: string) => files(folder, ".log").filter((file) => file.includes("a-0"));

function flip(file: string, position: number): void {
	const bytes = fs.readFileSync(file);
	bytes[position] = (bytes[position] as number) ^ 0x10;
	fs.writeFileSync(file, bytes);
}

/** Start and size of each batch of a segment. */
function batchesOf(file: string): { position: number; offset: number; sizeBytes: number }[] {
	const bytes = fs.readFileSync(file);
	const found: { position: number; offset: number; sizeBytes: number }[] = [];
	for (let at = 0; at < bytes.length; ) {
		const { baseOffset, sizeBytes } = readBatchHeader(bytes, at);
		found.push({ position: at, offset: baseOffset, sizeBytes });
		at += sizeBytes;
	}
	return found;
}

describe("verify", () => {
	it("finds nothing in a directory that was closed, and counts what is there", () => {
		const { findings, records } = verify(copyOf(SOUND));
		expect(findings).toEqual([]);
		expect(records).toBe(2 * (RECORDS + KILLED_RECORDS));
		expect(segments(SOUND).length).toBeGreaterThan(2);
	});

	it("finds nothing in a directory whose gateway was killed", () => {
		expect(verify(copyOf(KILLED)).findings).toEqual([]);
	});

	it("changes no file but SQLite's own", () => {
		const folder = copyOf(KILLED);
		const content = () =>
			files(folder, "")
				.filter((file) => fs.statSync(file).isFile() && !file.includes("catalog.db"))
				.map((file) => [file, fs.readFileSync(file).toString("base64")]);
		const before = content();
		verify(folder);
		expect(content()).toEqual(before);
	});

	// Each byte of a batch's header: base offset 0, length 8, epoch 12, magic 16, CRC 17, attributes 21 ...
	for (const at of [0, 6, 7, 8, 10, 11, 12, 15, 16, 17, 20, 22, 26, 30, 40, 50, 60, 61, 80, 200]) {
		it(`finds a flipped bit in byte ${at} of a batch, and the broker loses no more than that batch`, async () => {
			const folder = copyOf(SOUND);
			const file = segments(folder)[0] as string;
			const batch = batchesOf(file)[3] as { position: number; offset: number; sizeBytes: number };
			flip(file, batch.position + at);
			const [first] = verify(folder).findings;
			expect(first).toMatchObject({ level: "damage", file });
			expect(first?.position).toBeGreaterThanOrEqual(batch.position);
			expect(first?.position).toBeLessThan(batch.position + batch.sizeBytes);
			const broker = open(folder);
			const all = range(0, RECORDS + KILLED_RECORDS);
			const got = await readable(broker.topics.get("a")?.partitions[0]);
			// The leader epoch (bytes 12 to 15) is nobody's to read here.
			expect(got).toEqual(at >= 12 && at < 16 ? all : all.filter((offset) => offset !== batch.offset));
			expect(await readable(broker.topics.get("b")?.partitions[0])).toEqual(all);
			await broker.stop();
		});
	}

	for (const suffix of [".index", ".timeindex"]) {
		it(`finds a flipped bit in ${suffix}, and the broker loses nothing`, async () => {
			const folder = copyOf(SOUND);
			const file = files(folder, suffix).find((name) => name.includes("a-0")) as string;
			for (const at of [3, 7, 9, 21]) {
				flip(file, at);
				const [first] = verify(folder).findings;
				expect(first).toMatchObject({ level: "damage", file });
				expect(Math.abs((first?.position ?? -100) - at)).toBeLessThan(12);
				flip(file, at);
			}
			for (const at of [3, 7, 9, 21]) flip(file, at);
			await losesNothing(folder);
		});

		it(`finds that ${suffix} is missing, and that it is cut short, and the broker loses nothing`, async () => {
			const folder = copyOf(SOUND);
			const file = files(folder, suffix).find((name) => name.includes("a-0")) as string;
			fs.truncateSync(file, fs.statSync(file).size - 3);
			expect(verify(folder).findings[0]).toMatchObject({ level: "damage", file });
			fs.rmSync(file);
			expect(verify(folder).findings).toEqual([{ level: "damage", file, position: 0, what: expect.any(String) }]);
			await losesNothing(folder);
		});
	}

	async function losesNothing(folder: string): Promise<void> {
		const broker = open(folder);
		const partition = broker.topics.get("a")?.partitions[0] as Partition;
		const all = range(0, RECORDS + KILLED_RECORDS);
		expect(await readable(partition)).toEqual(all);
		for (const offset of all) {
			expect(readBatchHeader(await partition.read(offset, 1), 0).baseOffset).toBe(offset);
			expect((await offsetForTimestamp(partition, 1000 + offset))?.offset).toBe(offset);
		}
		expect(broker.catalog.losses()).toEqual([]);
		await broker.stop();
	}

	it("finds a sealed segment that is cut short", async () => {
		const folder = copyOf(SOUND);
		const [file, next] = segments(folder) as [string, string];
		const last = batchesOf(file).at(-1) as { position: number; offset: number };
		fs.truncateSync(file, last.position + 100);
		expect(verify(folder).findings[0]).toMatchObject({ level: "damage", file, position: last.position });
		const broker = open(folder);
		const got = await readable(broker.topics.get("a")?.partitions[0]);
		expect(got).toEqual(range(0, RECORDS + KILLED_RECORDS).filter((offset) => offset !== last.offset));
		expect(broker.catalog.losses()).toMatchObject([{ topic: "a", firstOffset: last.offset, count: 1 }]);
		await broker.stop();
		expect(fs.existsSync(next)).toBe(true);
	});

	it("finds that a segment is missing", async () => {
		const folder = copyOf(SOUND);
		const [, file, next] = segments(folder) as [string, string, string];
		const [from, to] = [file, next].map((name) => Number(path.basename(name, ".log"))) as [number, number];
		fs.rmSync(file);
		expect(verify(folder).findings).toContainEqual(
			expect.objectContaining({
				level: "damage",
				file: next,
				position: 0,
				what: expect.stringContaining(`${from} to`),
			}),
		);
		const broker = open(folder);
		const got = await readable(broker.topics.get("a")?.partitions[0]);
		expect(got).toEqual(range(0, RECORDS + KILLED_RECORDS).filter((offset) => offset < from || offset >= to));
		expect(broker.catalog.losses()).toMatchObject([{ topic: "a", firstOffset: from, count: to - from }]);
		await broker.stop();
	});

	it("finds that a partition's folder is missing; the broker serves the others and goes on", async () => {
		const folder = copyOf(SOUND);
		fs.rmSync(path.join(folder, "topics", "a-0"), { recursive: true });
		const { findings } = verify(folder);
		expect(findings).toContainEqual(
			expect.objectContaining({ level: "damage", file: path.join(folder, "topics", "a-0") }),
		);
		const broker = open(folder);
		const all = range(0, RECORDS + KILLED_RECORDS);
		expect(await readable(broker.topics.get("b")?.partitions[0])).toEqual(all);
		expect(broker.topics.get("a")?.partitions[0]?.endOffset).toBe(all.length);
		await append(broker, all.length, all.length + 1);
		expect(await readable(broker.topics.get("a")?.partitions[0])).toEqual([all.length]);
		await broker.stop();
	});

	/** Position of the first byte of the entry that has record `i` of both topics. */
	function entryWith(file: string, i: number): number {
		const at = fs.readFileSync(file).indexOf(valueAt(i));
		return at < 0 ? -1 : at - (at % 4096);
	}

	function journalOf(folder: string): string {
		return files(folder, ".journal").find((file) => entryWith(file, RECORDS + 2) >= 0) as string;
	}

	it("finds a damaged head of a journal entry", async () => {
		const folder = copyOf(KILLED);
		const file = journalOf(folder);
		const position = entryWith(file, RECORDS + 2);
		flip(file, position + 50);
		expect(verify(folder).findings[0]).toMatchObject({ level: "damage", file, position });
		const broker = open(folder);
		const rest = range(0, RECORDS + KILLED_RECORDS).filter((offset) => offset !== RECORDS + 2);
		expect(await readable(broker.topics.get("a")?.partitions[0])).toEqual(rest);
		expect(broker.recovery.damages).toBeGreaterThan(0);
		await broker.stop();
	});

	it("finds a damaged batch in the journal that no segment has yet", async () => {
		const folder = copyOf(KILLED);
		const file = journalOf(folder);
		const position = fs.readFileSync(file).indexOf(valueAt(RECORDS + 1));
		flip(file, position + 20);
		const [first] = verify(folder).findings;
		expect(first).toMatchObject({ level: "damage", file });
		expect(position - (first?.position ?? 0)).toBeLessThan(200);
		expect(position).toBeGreaterThanOrEqual(first?.position ?? Number.POSITIVE_INFINITY);
		const broker = open(folder);
		const all = range(0, RECORDS + KILLED_RECORDS);
		const got = await readable(broker.topics.get("a")?.partitions[0]);
		expect(got).toEqual(all.filter((offset) => offset !== RECORDS + 1));
		expect(await readable(broker.topics.get("b")?.partitions[0])).toEqual(all);
		await broker.stop();
	});

	it("warns of one damaged header of a journal file, and reports both", async () => {
		const folder = copyOf(KILLED);
		const file = journalOf(folder);
		flip(file, 10);
		expect(verify(folder).findings).toEqual([{ level: "warning", file, position: 0, what: expect.any(String) }]);
		flip(file, 4096 + 10);
		expect(verify(folder).findings).toContainEqual(
			expect.objectContaining({ level: "damage", file, position: 0, what: expect.stringContaining("both headers") }),
		);
		const broker = open(folder);
		expect(await readable(broker.topics.get("a")?.partitions[0])).toEqual(range(0, RECORDS));
		await broker.stop();
	});

	it("finds a garbled page of the catalog, and a catalog that is none", () => {
		const folder = copyOf(SOUND);
		const file = path.join(folder, "catalog.db");
		expect(fs.statSync(file).size).toBeGreaterThan(3 * 4096);
		fs.writeFileSync(file, fs.readFileSync(file).fill(0xa5, 2 * 4096, 3 * 4096));
		expect(verify(folder).findings[0]).toMatchObject({ level: "damage", file });
		fs.writeFileSync(file, Buffer.alloc(8192, 0xa5));
		expect(verify(folder).findings).toMatchObject([{ level: "damage", file, position: 0 }]);
	});
});

describe("dump", () => {
	it("shows the batches and records of a segment, and damage among them", () => {
		const folder = copyOf(SOUND);
		const file = segments(folder)[0] as string;
		const batches = batchesOf(file);
		const items = [...dumpFile(disk, file, { records: true })];
		expect(items.filter(({ kind }) => kind === "batch").map(({ position }) => position)).toEqual(
			batches.map(({ position }) => position),
		);
		expect(items.filter(({ kind }) => kind === "record").map(({ value }) => value)).toEqual(
			batches.map(({ offset }) => valueAt(offset)),
		);
		const { position } = batches[2] as { position: number };
		flip(file, position + 70);
		expect([...dumpFile(disk, file)].map(({ kind }) => kind)).toEqual(
			batches.map((_, i) => (i === 2 ? "damage" : "batch")),
		);
		expect([...dumpFile(disk, file)][2]?.position).toBe(position);
	});

	it("shows the entries of both indexes", () => {
		const file = segments(SOUND)[0] as string;
		const positions = new Map(batchesOf(file).map(({ position, offset }) => [offset, position]));
		const index = [...dumpFile(disk, file.replace(/log$/, "index"))];
		expect(index.length).toBeGreaterThan(3);
		for (const { offset, batchPosition } of index) expect(positions.get(offset as number)).toBe(batchPosition);
		const times = [...dumpFile(disk, file.replace(/log$/, "timeindex"))];
		expect(times.at(-1)).toMatchObject({ offset: positions.size - 1, timestamp: 1000 + positions.size - 1 });
	});

	it("shows the journal's entries and where they end", () => {
		const file = files(KILLED, ".journal").find((name) => fs.readFileSync(name).includes(valueAt(RECORDS))) as string;
		const items = [...dumpFile(disk, file)];
		expect(items[0]).toMatchObject({ kind: "header", soundCopies: 2 });
		expect(items.at(-1)).toMatchObject({ kind: "end" });
		const entries = items.filter(({ kind }) => kind === "entry");
		expect(entries.at(-1)).toMatchObject({
			appends: [
				{ partitionId: 1, baseOffset: RECORDS + KILLED_RECORDS - 1, records: 1 },
				{ partitionId: 2, baseOffset: RECORDS + KILLED_RECORDS - 1, records: 1 },
			],
		});
	});

	it("refuses a file that is none of ours", () => {
		expect(() => [...dumpFile(disk, path.join(SOUND, "catalog.db"))]).toThrow("is no file of a log");
		expect(() => [...dumpFile(disk, path.join(SOUND, "none.log"))]).toThrow("there is no file");
	});
});
