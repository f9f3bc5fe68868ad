/** Restoring with real files on both sides: from a folder to a data directory that a gateway starts from, and that is sound. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { NodeDisk } from "../../../src/base/disk.ts";
import { StartError } from "../../../src/base/errors.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { Broker } from "../../../src/broker/broker.ts";
import { Catalog } from "../../../src/catalog/catalog.ts";
import { verifyDataDirectory } from "../../../src/log/verify.ts";
import { DirectoryStore } from "../../../tiering/directory-store.ts";
import { StoreError } from "../../../tiering/object-store.ts";
import { makeClaim, readClaim } from "../../../tiering/restore/claim.ts";
import { restore } from "../../../tiering/restore/restore.ts";
import { UploadingGateway } from "../../support/uploading-gateway.ts";

const disk = new NodeDisk();
const seams = { disk, clock: systemClock, random: systemRandom };
const claim = {
	gateway: "gw-1",
	incarnation: 1,
	identity: "0".repeat(32),
	claimedMs: 1,
	writer: "w",
	basedOn: undefined,
};

let root: string;
let dataFolder: string;
let store: DirectoryStore;

/** A folder with what a gateway of three partitions uploaded. */
beforeEach(async () => {
	root = mkdtempSync(path.join(tmpdir(), "restore-"));
	dataFolder = path.join(root, "data");
	const url = pathToFileURL(path.join(root, "store")).href;
	store = new DirectoryStore({ url, partBytes: 1 << 20 }, disk);
	await makeClaim(store, claim);
	const gateway = await UploadingGateway.start();
	gateway.topic("a", 3);
	for (let i = 0; i < 6; i++) {
		await gateway.append("a", 10, 100, i % 3);
		await gateway.upload();
	}
	for (const [key, bytes] of gateway.store.bucket.objects()) await store.put(key, bytes);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const run = () => {
	const options = { store, gateway: "gw-1", dataFolder, force: true, writer: "w", progress: () => {} };
	return restore(options, seams);
};

function start(): Broker {
	return Broker.open(
		{
			dataFolder,
			journal: { fileBytes: 1 << 20, filesMax: 4 },
			lingerMs: 0,
			memoryBudgetBytes: 1 << 25,
			retentionCheckMs: 3_600_000,
			defaultPartitions: 1,
			topicDefaults: {},
			onFailure: (error) => {
				throw error;
			},
		},
		{ ...seams, logger: silentLogger },
	);
}

function findings(): string[] {
	const found: string[] = [];
	for (const { what } of verifyDataDirectory(disk, dataFolder)) found.push(what);
	return found;
}

it("a gateway starts from what came of it, and verify finds it sound, before and after", async () => {
	expect(await run()).toMatchObject({ incarnation: 2, records: 60, partitions: 3 });
	expect(readdirSync(dataFolder)).toEqual(["catalog.db"]);
	expect(findings()).toEqual([]);
	const broker = start();
	const partition = broker.topics.get("a")?.partitions[1];
	expect(partition).toMatchObject({ logStartOffset: 0, localStartOffset: 20, tieredOffset: 20, endOffset: 20 });
	partition?.appendRecord(5, Buffer.of(1), Buffer.from("x"), 0, 1, Buffer.of(0));
	await broker.log.whenCommitted();
	await broker.stop();
	expect(findings()).toEqual([]);
	await expect(run()).rejects.toThrow(StartError);
});

it("one that did not get to the claim is done again under the same identity, and one that did not get its name too", async () => {
	const putIfAbsent = store.putIfAbsent.bind(store);
	store.putIfAbsent = () => Promise.reject(new StoreError("denied", "no"));
	await expect(run()).rejects.toThrow("no");
	expect(readdirSync(dataFolder)).toEqual(["restoring"]);
	expect(start).toThrow(/a restore to .*data was cut short: run headwater tier restore again/);
	store.putIfAbsent = async (key, body) => {
		await putIfAbsent(key, body);
		// The process dies here.
		throw new StoreError("denied", "dead");
	};
	await expect(run()).rejects.toThrow("dead");
	const first = await readClaim(store, "gw-1", 2);
	store.putIfAbsent = putIfAbsent;
	expect(await run()).toMatchObject({ incarnation: 2, records: 60 });
	expect(readdirSync(dataFolder)).toEqual(["catalog.db"]);
	expect(await readClaim(store, "gw-1", 2)).toEqual(first);
	expect(await readClaim(store, "gw-1", 3)).toBeUndefined();
});

it("a folder where one is at work is left alone", async () => {
	disk.makeDirectory(path.join(dataFolder, "restoring"));
	const other = new Catalog({ file: path.join(dataFolder, "restoring", "catalog.db") });
	await expect(run()).rejects.toThrow(/restoring is in use: a gateway is being restored there/);
	other.close();
	expect(await run()).toMatchObject({ incarnation: 2 });
});
