/** Bundles in memory: writes what a test describes, reads it back, counts the requests that this takes. */
import { systemClock } from "../../src/base/clock.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { forEachBatch } from "../../tiering/bundle/block.ts";
import type { Compression } from "../../tiering/bundle/compression.ts";
import type { BundleFooter, BundleRange, BundleTopic } from "../../tiering/bundle/footer.ts";
import type { BundleIdentity } from "../../tiering/bundle/identity.ts";
import type { BundleSource } from "../../tiering/bundle/reader.ts";
import { BundleWriter, type BundleWriterParts } from "../../tiering/bundle/writer.ts";

export const IDENTITY: BundleIdentity = { gateway: "gw-1", incarnation: 1, sequence: 7, attempt: "0badcafe" };

/** A topic with three partitions. */
export const TELEMETRY: BundleTopic = {
	id: "0b0e9f5e-8f4f-4f43-9a53-5b2d1a3c7f11",
	name: "telemetry",
	partitions: 3,
	config: { "retention.ms": "604800000" },
};

export interface DescribedRange {
	readonly topic?: BundleTopic;
	readonly partition?: number;
	readonly baseOffset?: number;
	/** After the last batch, if not given. */
	readonly nextOffset?: number;
	/** Each one batch or several. */
	readonly batches: readonly Buffer[];
	readonly epochs?: BundleRange["epochs"];
	readonly aborted?: BundleRange["aborted"];
}

export interface Bundle {
	readonly bytes: Buffer;
	readonly footer: BundleFooter;
	readonly trailer: Buffer;
}

/** A writer that fills `bytes`, copies of what its sink is given. */
export function bundleWriter(parts: Partial<BundleWriterParts> = {}): { writer: BundleWriter; bytes: Buffer[] } {
	const bytes: Buffer[] = [];
	const sink = async (part: Buffer) => void bytes.push(Buffer.from(part));
	return {
		writer: new BundleWriter(IDENTITY, { sink, clock: systemClock, writer: "headwater test", ...parts }),
		bytes,
	};
}

/** Topics are those of the ranges. */
export async function writeBundle(
	ranges: readonly DescribedRange[],
	{ snapshot, compression }: { snapshot?: Buffer; compression?: Compression } = {},
): Promise<Bundle> {
	const { writer, bytes } = bundleWriter(compression === undefined ? {} : { compression });
	const topics = new Map<string, BundleTopic>();
	for (const { topic = TELEMETRY, partition = 0, batches, ...range } of ranges) {
		topics.set(topic.id, topic);
		const baseOffset = range.baseOffset ?? Number(batches[0]?.readBigInt64BE(0) ?? 0);
		writer.beginRange({ topicId: topic.id, topic: topic.name, partition, partitionId: partition + 40, baseOffset });
		let nextOffset = baseOffset;
		for (const batch of batches) {
			await writer.addBatches(batch);
			forEachBatch(batch, ({ lastOffset }) => {
				nextOffset = lastOffset + 1;
			});
		}
		const epochs = range.epochs ?? [{ epoch: 0, startOffset: baseOffset }];
		await writer.endRange(range.nextOffset ?? nextOffset, epochs, range.aborted ?? []);
	}
	const footer = await writer.finish([...topics.values()], snapshot);
	return { bytes: Buffer.concat(bytes), footer, trailer: writer.trailer };
}

export interface CountedSource extends BundleSource {
	requests: number;
}

export function sourceOf(bytes: Buffer, name = "test.bundle"): CountedSource {
	return {
		name,
		requests: 0,
		async getLast(count) {
			this.requests += 1;
			return { bytes: bytes.subarray(Math.max(0, bytes.length - count)), sizeBytes: bytes.length };
		},
		async get(position, count) {
			this.requests += 1;
			return bytes.subarray(position, position + count);
		},
	};
}

/** A batch of records with these values, a second apart from `timestamp` on. */
export function batchAt(
	baseOffset: number,
	values: readonly (string | Buffer)[],
	options: { timestamp?: number } & Parameters<typeof encodeBatch>[1] = {},
): Buffer {
	const { timestamp = 1_700_000_000_000, ...encoding } = options;
	const records = values.map((value, i) => ({
		timestamp: timestamp + i * 1000,
		key: Buffer.from(`dev${(baseOffset + i) % 5}`),
		value: Buffer.from(value),
		headers: [],
	}));
	return encodeBatch(records, { ...encoding, baseOffset });
}
