/**
 * `tier`, the restore: a bucket as a gateway with 100 partitions and 10 GB leaves it after 1,000 uploads, then `headwater tier
 * restore` and the first start. Bundles are made by the program's own writer, with the ranges, blocks and snapshots that a gateway
 * makes; only their records are all alike, so that the objects are small. A restore reads nothing of them but footers.
 */
import { execFile } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import path from "node:path";
import { promisify } from "node:util";
import { systemClock } from "../../src/base/clock.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import type { BundleTopic } from "../../tiering/bundle/footer.ts";
import { bundleKey } from "../../tiering/bundle/identity.ts";
import { BundleWriter } from "../../tiering/bundle/writer.ts";
import type { ObjectStore } from "../../tiering/object-store.ts";
import { makeClaim } from "../../tiering/restore/claim.ts";
import { endLine, headLine, partitionLine, topicLine } from "../../tiering/restore/snapshot.ts";
import { S3Store } from "../../tiering/s3.ts";
import { HEADWATER } from "../support/gateway.ts";
import { type BenchOptions, storedIn } from "./driver.ts";
import { startHeadwater } from "./targets.ts";
import { type BenchStore, CountingProxy, type RequestCounts } from "./tier-store.ts";

const TOPICS = 10;
const PARTITIONS_OF_EACH = 10;
const RECORD_BYTES = 1000;
const UPLOADS_AT_ONCE = 4;
const GATEWAY = "lost";
const WRITER = "headwater bench";

export interface Restored {
	readonly bundles: number;
	/** Record batches. */
	readonly bytes: number;
	readonly restoreSeconds: number;
	/** From the start of the process to its greeting. */
	readonly startSeconds: number;
	readonly requests: RequestCounts;
}

export async function measureRestore(options: BenchOptions, store: BenchStore): Promise<Restored> {
	const bundles = options.quick ? 100 : 1000;
	const { bytes, records } = await fabricate(options, new S3Store(store.options()), bundles, options.storedBytes);
	const proxy = new CountingProxy(store.endpoint);
	await proxy.start();
	const dataDirectory = path.join(options.workplace.folder("restored"), "data");
	const sets = Object.entries({ ...store.settings(proxy.endpoint), "gateway.id": GATEWAY });
	const words = ["tier", "restore", "--from", `${sets.find(([key]) => key === "objectStore.url")?.[1]}`];
	const settings = sets.flatMap(([key, value]) => ["--set", `${key}=${value}`]);
	options.progress("restore");
	let began = performance.now();
	// Without --force it would ask the store for its time: the last bundle is a moment old.
	const command = [
		HEADWATER,
		...words,
		"--gateway",
		GATEWAY,
		"--data",
		dataDirectory,
		"--force",
		"--json",
		...settings,
	];
	let said = "";
	const requests = await proxy.during(async () => {
		said = (await promisify(execFile)(process.execPath, command)).stdout;
	});
	const restoreSeconds = (performance.now() - began) / 1000;
	const report = JSON.parse(said) as { records: number; partitions: number; holes: unknown[] };
	if (report.records !== records || report.holes.length > 0)
		throw new Error(`restored ${said}, not ${records} records`);
	began = performance.now();
	const target = await startHeadwater(options.workplace, { dataDirectory, settings: { ...Object.fromEntries(sets) } });
	const startSeconds = (performance.now() - began) / 1000;
	const stored = await storedIn(target);
	if (stored.records !== records) throw new Error(`the restored gateway has ${stored.records} records, not ${records}`);
	await target.stop();
	proxy.stop();
	return { bundles, bytes, restoreSeconds, startSeconds, requests };
}

async function fabricate(
	{ progress }: BenchOptions,
	store: ObjectStore,
	bundles: number,
	bytes: number,
): Promise<{ bytes: number; records: number }> {
	const identity = randomBytes(16).toString("hex");
	const now = Date.now();
	await makeClaim(store, {
		gateway: GATEWAY,
		incarnation: 1,
		identity,
		claimedMs: now,
		writer: WRITER,
		basedOn: undefined,
	});
	const topics: BundleTopic[] = Array.from({ length: TOPICS }, (_, i) => ({
		id: randomUUID(),
		name: `topic-${i}`,
		partitions: PARTITIONS_OF_EACH,
		config: { "remote.storage.enable": "true", "retention.ms": "-1", "local.retention.ms": "3600000" },
	}));
	const count = Math.max(1, Math.round(bytes / bundles / TOPICS / PARTITIONS_OF_EACH / RECORD_BYTES));
	const value = Buffer.alloc(RECORD_BYTES - 40, "x");
	const batch = encodeBatch(
		Array.from({ length: count }, () => ({ timestamp: now, key: null, value, headers: [] })),
		{ leaderEpoch: 0 },
	);
	let next = 0;
	const one = async (): Promise<void> => {
		for (;;) {
			const number = next++;
			if (number >= bundles) return;
			if (number % 50 === 0) progress(`a bucket of ${bundles} bundles: ${number}`);
			const own = Buffer.from(batch);
			const ends = (number + 1) * count;
			const key = { gateway: GATEWAY, incarnation: 1, sequence: number + 1, attempt: randomBytes(4).toString("hex") };
			const parts: Buffer[] = [];
			const sink = async (part: Buffer): Promise<void> => void parts.push(Buffer.from(part));
			const writer = new BundleWriter(key, { sink, clock: systemClock, writer: WRITER });
			for (const [t, { id, name }] of topics.entries()) {
				for (let partition = 0; partition < PARTITIONS_OF_EACH; partition += 1) {
					const partitionId = t * PARTITIONS_OF_EACH + partition + 1;
					const baseOffset = number * count;
					writer.beginRange({ topicId: id, topic: name, partition, partitionId, baseOffset });
					own.writeBigInt64BE(BigInt(baseOffset), 0);
					await writer.addBatches(own);
					await writer.endRange(ends, [{ epoch: 0, startOffset: baseOffset }], []);
				}
			}
			await writer.finish(topics, snapshot(topics, ends, now));
			await store.put(bundleKey(key), Buffer.concat(parts));
		}
	};
	await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, one));
	await store.close();
	const partitions = TOPICS * PARTITIONS_OF_EACH;
	return { bytes: batch.length * bundles * partitions, records: count * bundles * partitions };
}

function snapshot(topics: readonly BundleTopic[], end: number, nowMs: number): Buffer {
	const lines = [headLine({ gateway: GATEWAY, incarnation: 1, takenMs: nowMs, writer: WRITER, scheduleMs: 3_600_000 })];
	let id = 0;
	for (const { partitions, ...topic } of topics) {
		lines.push(topicLine({ ...topic, createdMs: nowMs }));
		for (let number = 0; number < partitions; number += 1) {
			id += 1;
			const epochs = [{ epoch: 0, startOffset: 0 }];
			lines.push(partitionLine({ id, number, logStartOffset: 0, tieredOffset: end, endOffset: end, epochs }));
		}
	}
	lines.push(endLine(lines.length, new Map()));
	return Buffer.from(lines.map((line) => `${line}\n`).join(""));
}
