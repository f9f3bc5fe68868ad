/** A run of the uploader with nothing simulated: files, threads, sockets, and the process that the store lives in. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import { NodeDisk } from "../../../src/base/disk.ts";
import { silentLogger } from "../../../src/base/logger.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { Broker } from "../../../src/broker/broker.ts";
import { encodeBatch } from "../../../src/record/batch.ts";
import { decodeBlock } from "../../../tiering/bundle/block.ts";
import { objectSource, readBundleFooter } from "../../../tiering/bundle/reader.ts";
import type { ObjectStore } from "../../../tiering/object-store.ts";
import { openStore, openStoreProcess } from "../../../tiering/open-store.ts";
import { takeSnapshot } from "../../../tiering/restore/take-snapshot.ts";
import { Schedule } from "../../../tiering/upload/schedule.ts";
import { Uploader } from "../../../tiering/upload/uploader.ts";
import { FakeS3 } from "../../support/fake-s3.ts";
import { s3Options } from "../../support/s3-options.ts";

const PROGRAM = path.resolve(import.meta.dirname, "../../../dist/headwater.js");
const BATCHES = 240;
const BATCH_VALUE_BYTES = 60_000;

function openBroker(folder: string): Broker {
	return Broker.open(
		{
			dataFolder: folder,
			journal: { fileBytes: 8_388_608, filesMax: 4 },
			lingerMs: 0,
			memoryBudgetBytes: 33_554_432,
			retentionCheckMs: 3_600_000,
			defaultPartitions: 2,
			topicDefaults: { "log.remote.storage.enable": "true" },
			onFailure: (error) => {
				throw error;
			},
		},
		{ disk: new NodeDisk(), clock: systemClock, random: systemRandom, logger: silentLogger },
	);
}

async function uploaded(store: ObjectStore): Promise<void> {
	const folder = fs.mkdtempSync(path.join(os.tmpdir(), "upload-run-"));
	const broker = openBroker(folder);
	const random = new SimulatedRandom(1);
	const { partitions } = broker.topics.create({ name: "a" });
	for (let i = 0; i < BATCHES; i++) {
		const record = { timestamp: i, key: null, value: random.bytes(BATCH_VALUE_BYTES), headers: [] };
		partitions[i % 2]?.appendBatch(encodeBatch([record]), 1);
		if (i % 8 === 7) await broker.log.whenCommitted();
	}
	await broker.log.whenCommitted();
	await store.putIfAbsent("gw/0000000001/claim.json", Buffer.from("{}"));
	const times = {
		gatewayId: "gw",
		schedule: "never",
		window: "",
		uploadBytes: 0,
		uploadAgeMs: 0,
		lastRunMs: undefined,
	};
	const head = { gateway: "gw", incarnation: 1, takenMs: 0, writer: "test", scheduleMs: 3_600_000 };
	const uploader = new Uploader({
		broker,
		store,
		schedule: await Schedule.make(systemClock, times),
		uplink: undefined,
		gatewayId: "gw",
		incarnation: 1,
		checkClaim: async () => {},
		takeSnapshot: () => takeSnapshot(broker, head),
		released: () => {},
		bundleBytes: 67_108_864,
		writer: "test",
	});
	await uploader.run();
	const { tier } = broker.catalog;
	const [bundle, ...more] = tier.bundles("stored");
	if (bundle === undefined || more.length > 0) throw new Error("one bundle was to be stored");
	expect(bundle.sizeBytes).toBeGreaterThan(BATCHES * BATCH_VALUE_BYTES);
	const { key } = bundle;
	const footer = await readBundleFooter(objectSource(store, key));
	for (const { partition: number, blocks } of footer.ranges) {
		let offset = 0;
		for (const block of blocks) {
			const bytes = await decodeBlock(await store.get(key, block.position, block.storedBytes), block, key);
			const expected = await partitions[number]?.read(offset, bytes.length);
			expect(bytes.equals(expected as Buffer)).toBe(true);
			offset = block.nextOffset;
		}
		expect(offset).toBe(BATCHES / 2);
	}
	await uploader.stop();
	await store.close();
	await broker.stop();
	fs.rmSync(folder, { recursive: true });
}

describe("an upload in parts arrives whole", () => {
	it("at an S3 service, by this process and by one of its own", async () => {
		for (const inProcess of [true, false]) {
			const fake = new FakeS3();
			await fake.start("bucket");
			const options = s3Options({ endpoint: fake.endpoint, partBytes: 5_242_880 });
			await uploaded(inProcess ? openStore(options) : openStoreProcess(options, PROGRAM));
			await fake.stop();
		}
	});

	it("in a folder", async () => {
		const folder = fs.mkdtempSync(path.join(os.tmpdir(), "upload-run-objects-"));
		const url = pathToFileURL(path.join(folder, "objects")).href;
		await uploaded(openStoreProcess(s3Options({ url, partBytes: 5_242_880 }), PROGRAM));
		fs.rmSync(folder, { recursive: true });
	});
});
