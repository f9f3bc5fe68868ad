/** A partition whose records are in a simulated object store, and a reader of it. Blocks are as small as a test wants them. */
import { expect } from "vitest";
import { SimulatedClock } from "../../src/base/clock-simulated.ts";
import { SimulatedDisk } from "../../src/base/disk-simulated.ts";
import type { BrokerError } from "../../src/base/errors.ts";
import type { Logger } from "../../src/base/logger.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { Catalog } from "../../src/catalog/catalog.ts";
import { readBatchHeader } from "../../src/record/batch.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { type Block, storeBlock } from "../../tiering/bundle/block.ts";
import { encodeBlocks } from "../../tiering/bundle/block-index.ts";
import { TierReader, type TierReaderOptions } from "../../tiering/read/reader.ts";
import { batchAt } from "./bundles.ts";
import { inlineCompression } from "./inline-compression.ts";
import { SimulatedStore } from "./simulated-store.ts";

const CACHE_FOLDER = "/data/tier-cache";

export interface StoredRange {
	readonly key: string;
	readonly bundleId: number;
	readonly blocks: readonly Block[];
}

export class TieredPartition {
	readonly clock = new SimulatedClock();
	readonly disk = new SimulatedDisk();
	readonly store = new SimulatedStore({ clock: this.clock });
	readonly catalog = new Catalog({ image: undefined, onCommit: () => {} });
	/** `level: message`, with the fields that the test wants to see. */
	readonly lines: { readonly level: string; readonly message: string; readonly fields: unknown }[] = [];
	/** `from..next` */
	readonly losses: string[] = [];
	readonly id: number;
	readonly topic = "telemetry";
	readonly number = 0;
	logStartOffset = 0;
	localStartOffset = 0;
	reader: TierReader;
	readonly #options: Partial<TierReaderOptions>;
	#bundles = 0;

	constructor(options: Partial<TierReaderOptions> = {}) {
		this.#options = options;
		this.catalog.createTopic({ id: "t", name: this.topic, createdMs: 0, config: {} }, 2);
		this.id = this.catalog.partitionIds("t")[0]?.id as number;
		this.reader = this.#newReader();
	}

	#newReader(): TierReader {
		const log = (level: string) => (message: string, fields?: unknown) => {
			this.lines.push({ level, message, fields });
		};
		const logger: Logger = { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
		return new TierReader({
			catalog: this.catalog.tier,
			store: this.store,
			disk: this.disk,
			clock: this.clock,
			logger,
			cacheFolder: CACHE_FOLDER,
			cacheBytes: 0,
			windowBytes: 4096,
			compression: inlineCompression,
			lost: (_, offset, next) => this.losses.push(`${offset}..${next}`),
			...this.#options,
		});
	}

	/** The process ends and begins again. */
	async restart(): Promise<void> {
		await this.reader.close();
		this.reader = this.#newReader();
		this.reader.begin();
	}

	/**
	 * Puts a range into a bundle of its own, behind `before` bytes of something else, and says so in the catalog; the local
	 * start goes behind it. `blocks`: each some batches.
	 */
	async addRange(
		blocks: readonly (readonly Buffer[])[],
		place: { baseOffset: number; nextOffset: number; before?: number; partitionId?: number },
	): Promise<StoredRange> {
		const sequence = ++this.#bundles;
		const key = `gw/0000000001/${String(sequence).padStart(20, "0")}-0badcafe.bundle`;
		const parts: Buffer[] = [Buffer.alloc(place.before ?? 16, sequence)];
		const stored: Block[] = [];
		let position = parts[0]?.length as number;
		for (const batches of blocks) {
			const raw = Buffer.concat(batches);
			const { stored: bytes, codec } = await storeBlock(raw, false, inlineCompression);
			const headers = batches.map((batch) => readBatchHeader(batch, 0));
			stored.push({
				baseOffset: headers[0]?.baseOffset as number,
				nextOffset: (headers.at(-1)?.lastOffset as number) + 1,
				position,
				storedBytes: bytes.length,
				rawBytes: raw.length,
				maxTimestamp: Math.max(...headers.map(({ maxTimestamp }) => maxTimestamp)),
				crc: crc32c(bytes),
				codec,
			});
			parts.push(bytes);
			position += bytes.length;
		}
		const object = Buffer.concat([...parts, Buffer.alloc(100, 0xee)]);
		this.store.bucket.put(key, object);
		const bundleId = this.catalog.tier.beginBundle({ incarnation: 1, sequence, key, createdMs: 0 });
		const sum = (of: (block: Block) => number) => stored.reduce((total, block) => total + of(block), 0);
		this.catalog.tier.commitBundle(bundleId, object.length, [
			{
				partitionId: place.partitionId ?? this.id,
				baseOffset: place.baseOffset,
				nextOffset: place.nextOffset,
				storedBytes: sum((block) => block.storedBytes),
				rawBytes: sum((block) => block.rawBytes),
				maxTimestamp: stored.reduce((most, block) => Math.max(most, block.maxTimestamp), -1),
				blocks: encodeBlocks(stored, place.baseOffset),
			},
		]);
		if (place.partitionId === undefined) this.localStartOffset = place.nextOffset;
		return { key, bundleId, blocks: stored };
	}

	/** Lets time go on until `work` has an outcome. */
	async finish<T>(work: Promise<T>): Promise<T> {
		let isOver = false;
		const over = () => {
			isOver = true;
		};
		work.then(over, over);
		await this.clock.settle();
		while (!isOver) if (!(await this.clock.advanceToNext()) && !isOver) throw new Error("it never ends");
		return work;
	}

	read(offset: number, maxBytes = 1, patienceMs = 30_000): Promise<Buffer> {
		return this.finish(this.reader.read(this, offset, maxBytes, patienceMs));
	}

	/** All from `offset` on, as a reader that goes on reads it. */
	async readOn(offset: number, maxBytes: number): Promise<Buffer[]> {
		const found: Buffer[] = [];
		for (let next = offset; next < this.localStartOffset; ) {
			const bytes = await this.read(next, maxBytes);
			if (bytes.length === 0) break;
			found.push(...batchesIn(bytes));
			next = readBatchHeader(found.at(-1) as Buffer, 0).lastOffset + 1;
		}
		return found;
	}

	/** Requests to the store. */
	get gets(): number {
		return this.store.counts.get;
	}

	/** What was logged at `level`. */
	messages(level: string): string[] {
		return this.lines.filter((line) => line.level === level).map(({ message }) => message);
	}

	/** Files of the disk cache, by name. */
	cached(): Map<string, Buffer> {
		return new Map([...this.disk.files()].filter(([name]) => name.startsWith(CACHE_FOLDER)));
	}
}

function batchesIn(bytes: Buffer): Buffer[] {
	const batches: Buffer[] = [];
	for (let at = 0; at < bytes.length; ) {
		const { sizeBytes } = readBatchHeader(bytes, at);
		batches.push(bytes.subarray(at, at + sizeBytes));
		at += sizeBytes;
	}
	return batches;
}

const noise = new SimulatedRandom("noise").bytes(300_000);

/** A batch of one record that does not compress, nor together with its neighbours. */
export function noiseBatch(offset: number, bytes = 1000): Buffer {
	const at = (offset % Math.floor(noise.length / bytes)) * bytes;
	return batchAt(offset, [noise.subarray(at, at + bytes)], { timestamp: offset * 1000 });
}

/** Blocks of two batches of one record each, from `from` on. */
export function blocksOf(count: number, from = 0, bytes = 1000): Buffer[][] {
	return Array.from({ length: count }, (_, i) => [
		noiseBatch(from + 2 * i, bytes),
		noiseBatch(from + 2 * i + 1, bytes),
	]);
}

/** One range of `count` blocks of two batches of some 1,070 bytes each; windows of two blocks. */
export async function storedBlocks(count: number, options: Partial<TierReaderOptions> = {}): Promise<StoredBlocks> {
	const world = new TieredPartition({ windowBytes: 4500, ...options });
	const content = blocksOf(count);
	const range = await world.addRange(content, { baseOffset: 0, nextOffset: 2 * count });
	return { world, range, batches: content.flat() };
}

export interface StoredBlocks {
	readonly world: TieredPartition;
	readonly range: StoredRange;
	readonly batches: readonly Buffer[];
}

/** An error with this code, whose message is like that. */
export const refused = (code: string, message = /./) =>
	expect.objectContaining({ code, message: expect.stringMatching(message) }) as BrokerError;
