/** The catalog when the disk is full: what an upload has to write there, for records to leave, can be written. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, it } from "vitest";
import { isDiskFull } from "../../../src/base/errors.ts";
import { type Database, openDatabase } from "../../../src/catalog/database.ts";
import { type NewRange, TierCatalog } from "../../../src/catalog/tier-catalog.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "headwater-tier-room-"));
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));
let files = 0;

const PARTITIONS = 500;

function open(): { db: Database; tier: TierCatalog; logBytes: () => number } {
	const file = path.join(root, `${files++}.db`);
	const db = openDatabase({ file });
	db.exec("INSERT INTO topics VALUES ('t', 't', 0, '{}')");
	const insert = db.prepare("INSERT INTO partitions (topic_id, number) VALUES ('t', ?)");
	for (let number = 0; number < PARTITIONS; number++) insert.run(number);
	const tier = new TierCatalog({
		prepare: (sql) => db.prepare<unknown[]>(sql),
		change: (work) => db.transaction(work)(),
	});
	return { db, tier, logBytes: () => fs.statSync(`${file}-wal`).size };
}

/** What SQLite says of a disk without room. */
function fill(db: Database): void {
	db.pragma(`max_page_count = ${db.pragma("page_count", { simple: true })}`);
}

/** As an upload does that has records of every partition. */
function upload(tier: TierCatalog, sequence: number): void {
	const id = tier.beginBundle({ incarnation: 1, sequence, key: `g/1/${sequence}`, createdMs: 0 });
	const range = { baseOffset: sequence, nextOffset: sequence + 1, storedBytes: 1, rawBytes: 1, maxTimestamp: 0 };
	const ranges = Array.from(
		{ length: PARTITIONS },
		(_, i): NewRange => ({
			...range,
			partitionId: i + 1,
			blocks: Buffer.alloc(30),
		}),
	);
	tier.commitBundle(id, 1, ranges);
}

it("takes several uploads of all partitions", () => {
	const { db, tier, logBytes } = open();
	tier.keepRoom();
	const before = logBytes();
	fill(db);
	for (let sequence = 1; sequence <= 3; sequence++) upload(tier, sequence);
	expect(tier.totals().ranges).toBe(3 * PARTITIONS);
	expect(logBytes()).toBe(before);
	db.close();
});

it("takes none where nothing was kept for that: the room is what does it", () => {
	const { db, tier } = open();
	fill(db);
	expect(() => upload(tier, 1)).toThrow(expect.toSatisfy(isDiskFull) as never);
	db.close();
});

it("gets back what was used when there is room again, and begins without any", () => {
	const { db, tier } = open();
	fill(db);
	tier.keepRoom();
	db.pragma("max_page_count = 1000000");
	for (let round = 0; round < 20; round++) {
		tier.keepRoom();
		upload(tier, round + 1);
	}
	fill(db);
	upload(tier, 21);
	expect(db.prepare("SELECT count(*) AS n FROM meta WHERE key = 'tier.room'").get()).toEqual({ n: 0 });
	db.close();
});
