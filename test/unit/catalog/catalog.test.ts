/** The catalog: alone in its file, its schema as its version says, and what it keeps of topics, checkpoints and losses. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import Sqlite from "better-sqlite3";
import { afterAll, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { NodeDisk } from "../../../src/base/disk.ts";
import { StartError } from "../../../src/base/errors.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { Broker } from "../../../src/broker/broker.ts";
import { Catalog } from "../../../src/catalog/catalog.ts";
import { CatalogInUse } from "../../../src/catalog/database.ts";
import { MIGRATIONS } from "../../../src/catalog/migrations.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "headwater-catalog-"));
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));
let files = 0;
const newFile = () => path.join(root, `${files++}.db`);
const inMemory = () => new Catalog({ image: undefined, onCommit: () => {} });

describe("a catalog's file", () => {
	it("is one process's at a time", () => {
		const file = newFile();
		const first = new Catalog({ file });
		expect(() => new Catalog({ file })).toThrow(CatalogInUse);
		first.close();
		new Catalog({ file }).close();
	});

	it("is refused with a format of the future, and left as it is", () => {
		const file = newFile();
		new Catalog({ file }).close();
		const db = new Sqlite(file);
		db.pragma(`user_version = ${MIGRATIONS.length + 1}`);
		db.close();
		expect(() => new Catalog({ file })).toThrow(StartError);
		expect(() => new Catalog({ file })).toThrow(
			`catalog format ${MIGRATIONS.length + 1}, this headwater knows formats up to ${MIGRATIONS.length}: install the newer`,
		);
	});

	it("is migrated from an empty database, once", () => {
		const file = newFile();
		new Catalog({ file }).close();
		const db = new Sqlite(file);
		expect(db.pragma("user_version", { simple: true })).toBe(MIGRATIONS.length);
		db.close();
		const again = new Catalog({ file });
		expect(again.topics()).toEqual([]);
		again.close();
	});

	it("that is none is refused in words", () => {
		const file = newFile();
		fs.writeFileSync(file, "x".repeat(8192));
		expect(() => new Catalog({ file })).toThrow(/is not a catalog/);
	});
});

it("names the process that has the data directory", async () => {
	const dataFolder = path.join(root, "data");
	const open = () =>
		Broker.open(
			{
				dataFolder,
				journal: { fileBytes: 65536, filesMax: 2 },
				lingerMs: 0,
				memoryBudgetBytes: 1e6,
				retentionCheckMs: 1e6,
				defaultPartitions: 1,
				topicDefaults: {},
				onFailure: () => {},
			},
			{
				disk: new NodeDisk(),
				clock: systemClock,
				random: systemRandom,
				logger: { debug() {}, info() {}, warn() {}, error() {} },
			},
		);
	const broker = open();
	expect(open).toThrow(StartError);
	expect(open).toThrow(`is in use by process ${process.pid}: stop that gateway`);
	await broker.stop();
	await open().stop();
});

describe("a catalog", () => {
	const topic = { id: "id-1", name: "t", createdMs: 5, config: { "retention.ms": "1" } };

	it("gives a partition an id that is never given again", () => {
		const catalog = inMemory();
		catalog.createTopic(topic, 2);
		expect(catalog.topics()).toEqual([topic]);
		expect(catalog.partitionIds(topic.id).map(({ id, number }) => [id, number])).toEqual([
			[1, 0],
			[2, 1],
		]);
		catalog.deleteTopic(topic.id);
		expect(catalog.deletedTopics()).toEqual([{ id: topic.id, name: "t" }]);
		catalog.forgetDeletedTopic(topic.id);
		expect(catalog.deletedTopics()).toEqual([]);
		catalog.createTopic({ ...topic, id: "id-2" }, 1);
		catalog.alterTopic("id-2", {}, 1, 2);
		expect(catalog.partitionIds("id-2").map(({ id, number }) => [id, number])).toEqual([
			[3, 0],
			[4, 1],
		]);
	});

	it("writes a checkpoint whole or not at all", () => {
		const catalog = inMemory();
		const state = (function* () {
			yield { space: 1, key: "a", value: Buffer.from("1") };
			throw new Error("in the middle");
		})();
		expect(() => catalog.checkpoint(7, [], state)).toThrow("in the middle");
		expect(catalog.checkpointSequence()).toBe(0);
		expect(catalog.getState(1, "a")).toBeUndefined();
		catalog.checkpoint(7, [], [{ space: 1, key: "a", value: Buffer.from("1") }]);
		expect(catalog.checkpointSequence()).toBe(7);
		expect(catalog.pageState(1, "", undefined, 9, 9).rows.map(([key]) => key)).toEqual(["a"]);
		catalog.checkpoint(8, [], [{ space: 1, key: "a", value: undefined }]);
		expect(catalog.pageState(1, "", undefined, 9, 9).rows).toEqual([]);
	});

	it("counts no record lost twice, wherever a reader came upon the damage", () => {
		const catalog = inMemory();
		const loss = (firstOffset: number, count: number) => ({
			timeMs: 1,
			topic: "t",
			partition: 0,
			firstOffset,
			count,
			reason: "r",
		});
		catalog.recordLoss(loss(15, 5));
		expect([catalog.hasLoss(loss(15, 5)), catalog.hasLoss(loss(17, 3)), catalog.hasLoss(loss(10, 10))]).toEqual([
			true,
			true,
			false,
		]);
		catalog.recordLoss(loss(10, 10));
		expect(catalog.losses()).toEqual([loss(10, 10)]);
		catalog.recordLoss(loss(30, 1));
		expect(catalog.lostRecords()).toBe(11);
		expect(catalog.hasLoss({ ...loss(10, 10), partition: 1 })).toBe(false);
	});
});
