/** `verify` and `dump` on a compacted log: gaps are no damage there, and damage is found although gaps could hide it. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import Sqlite from "better-sqlite3";
import { afterAll, beforeAll, expect, it } from "vitest";
import { NodeDisk } from "../../../src/base/disk.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { dumpFile } from "../../../src/log/dump.ts";
import { type Finding, verifyDataDirectory } from "../../../src/log/verify.ts";
import { readBatchHeader } from "../../../src/record/batch.ts";
import { openCompacted, writeCompacted } from "./compacted.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "headwater-compacted-"));
const SOUND = path.join(root, "sound");
/** Base offset of the segment that the tests damage. */
let base = 0;
let copies = 0;

beforeAll(async () => {
	const broker = await writeCompacted(SOUND);
	const cleaned = broker.topics.get("c")?.partitions[0]?.segments.list.filter((one) => one.isCleaned) ?? [];
	expect(cleaned.length).toBeGreaterThan(0);
	base = cleaned.at(-1)?.baseOffset as number;
	await broker.stop();
});
afterAll(() => fs.rmSync(root, { recursive: true }));

function copy(): { folder: string; file: (suffix: string) => string } {
	const folder = path.join(root, `copy-${copies++}`);
	fs.cpSync(SOUND, folder, { recursive: true });
	const name = String(base).padStart(20, "0");
	return { folder, file: (suffix) => path.join(folder, "topics", "c-0", `${name}${suffix}`) };
}

function verify(folder: string): Finding[] {
	return [...verifyDataDirectory(new NodeDisk(), folder)].filter(({ level }) => level === "damage");
}

it("says nothing of a sound one, and dump shows its batches with their gaps", () => {
	const { folder, file } = copy();
	expect(verify(folder)).toEqual([]);
	const items = [...dumpFile(new NodeDisk(), file(".log"), { records: true })];
	expect(items.filter(({ kind }) => kind === "damage")).toEqual([]);
	const offsets = items.filter(({ kind }) => kind === "record").map(({ offset }) => offset as number);
	expect(offsets.length).toBeGreaterThan(3);
	expect((offsets.at(-1) as number) - (offsets[0] as number)).toBeGreaterThan(offsets.length);
	expect(items.some((item) => item.hasDeleteHorizon === true)).toBe(true);
});

it("finds any byte that was changed, also where only the gaps could tell", () => {
	const size = fs.statSync(copy().file(".log")).size;
	const random = new SimulatedRandom("flips");
	// Of the first batch: offset, length, epoch, magic, checksum, attributes; then anywhere.
	for (const position of [...Array(24).keys(), ...Array.from({ length: 40 }, () => random.between(0, size - 1))]) {
		const { folder, file } = copy();
		const bytes = fs.readFileSync(file(".log"));
		bytes[position] = (bytes[position] as number) ^ (1 << random.between(0, 7));
		fs.writeFileSync(file(".log"), bytes);
		expect([position, verify(folder).some((finding) => finding.file === file(".log"))]).toEqual([position, true]);
		fs.rmSync(folder, { recursive: true });
	}
});

it("finds a file that ends with an earlier batch, or is not there", () => {
	const cut = copy();
	const bytes = fs.readFileSync(cut.file(".log"));
	let last = 0;
	for (let at = 0; at < bytes.length; at += readBatchHeader(bytes, at).sizeBytes) last = at;
	fs.truncateSync(cut.file(".log"), last);
	expect(verify(cut.folder).some(({ file, position }) => file === cut.file(".log") && position === last)).toBe(true);
	const gone = copy();
	fs.rmSync(gone.file(".log"));
	expect(verify(gone.folder).some(({ file }) => file === gone.file(".log"))).toBe(true);
	expect(fs.existsSync(gone.file(".log"))).toBe(false);
});

it("understands a swap that a crash cut short, and the next start finishes it", async () => {
	for (const done of [[], [".index"], [".index", ".timeindex"], [".index", ".timeindex", ".log"]]) {
		const { folder, file } = copy();
		for (const suffix of [".index", ".timeindex", ".log"]) {
			if (done.includes(suffix)) continue;
			fs.renameSync(file(suffix), file(`${suffix}.cleaned`));
			fs.writeFileSync(file(suffix), "what was there before");
		}
		const catalog = new Sqlite(path.join(folder, "catalog.db"));
		catalog.prepare("INSERT INTO segment_swaps VALUES (1, ?, '[]')").run(base);
		catalog.close();
		expect(verify(folder)).toEqual([]);
		const broker = openCompacted(folder);
		const segment = broker.topics.get("c")?.partitions[0]?.segments.list.find((one) => one.baseOffset === base);
		expect(segment?.isCleaned).toBe(true);
		await broker.stop();
		expect(fs.readFileSync(file(".log"))).toEqual(fs.readFileSync(copy().file(".log")));
		expect(verify(folder)).toEqual([]);
	}
});

it("a catalog of the format before is verified as it is", () => {
	const folder = path.join(root, "old");
	fs.mkdirSync(folder);
	const db = new Sqlite(path.join(folder, "catalog.db"));
	const columns =
		"id INTEGER PRIMARY KEY, topic_id TEXT, number INTEGER, log_start_offset INTEGER, checkpoint_offset INTEGER, segment TEXT";
	db.exec(`CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT);
		CREATE TABLE topics (id TEXT, name TEXT, created_ms INTEGER, config TEXT);
		CREATE TABLE partitions (${columns});
		CREATE TABLE losses (id INTEGER, time_ms INTEGER, topic TEXT, partition INTEGER, first_offset INTEGER, count INTEGER, reason TEXT);
		INSERT INTO topics VALUES ('x', 't', 1, '{}');
		INSERT INTO partitions VALUES (1, 'x', 0, 0, 0, NULL);
		PRAGMA user_version = 1`);
	db.close();
	expect(verify(folder)).toEqual([]);
});
