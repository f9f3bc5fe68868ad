/** Reads all of a bundle and finds what is wrong with it: no byte of it is left out. A block is in memory at a time. */
import { DamageError } from "../../src/base/errors.ts";
import { BatchError, validateBatch } from "../../src/record/batch.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { decodeBlock, forEachBatch } from "./block.ts";
import type { BundleRange } from "./footer.ts";
import { checkHeader, HEADER_BYTES } from "./layout.ts";
import { type BundleSource, readBundleFooter, readSnapshot } from "./reader.ts";

export interface VerifiedBundle {
	/** Of the object, as far as it is known. */
	readonly bytes: number;
	readonly ranges: number;
	readonly blocks: number;
	readonly batches: number;
	readonly records: number;
}

interface Counts {
	bytes: number;
	ranges: number;
	blocks: number;
	batches: number;
	records: number;
}

/**
 * Damage is told by `damaged`, as it is come across; behind a damaged block the next one is read. Without a sound footer that is
 * all there is to say. Rejects with BrokerError (UNSUPPORTED_VERSION) for a bundle of a later format, and with what `source` and
 * `damaged` reject with.
 */
export async function verifyBundle(
	source: BundleSource,
	damaged: (error: DamageError) => void | Promise<void>,
): Promise<VerifiedBundle> {
	const counts: Counts = { bytes: 0, ranges: 0, blocks: 0, batches: 0, records: 0 };
	const found = async <T>(work: () => T | Promise<T>): Promise<T | undefined> => {
		try {
			return await work();
		} catch (error) {
			if (!(error instanceof DamageError)) throw error;
			await damaged(error);
			return undefined;
		}
	};
	const footer = await found(() => readBundleFooter(source));
	if (footer === undefined) return counts;
	counts.bytes = footer.sizeBytes;
	await found(async () => checkHeader(await source.get(0, HEADER_BYTES), source.name));
	for (const range of footer.ranges) await verifyRange(source, range, counts, found);
	await found(() => readSnapshot(source, footer));
	return counts;
}

async function verifyRange(
	source: BundleSource,
	range: BundleRange,
	counts: Counts,
	found: <T>(work: () => T | Promise<T>) => Promise<T | undefined>,
): Promise<void> {
	let [crc, records, sound] = [0, 0, true];
	counts.ranges += 1;
	for (const block of range.blocks) {
		counts.blocks += 1;
		const stored = await source.get(block.position, block.storedBytes);
		crc = crc32c(stored, 0, stored.length, crc);
		const raw = await found(() => decodeBlock(stored, block, source.name));
		if (raw === undefined) {
			sound = false;
			continue;
		}
		await found(() =>
			forEachBatch(raw, (header, at) => {
				counts.batches += 1;
				records += header.count;
				try {
					validateBatch(raw, at, { compacted: true });
				} catch (error) {
					if (!(error instanceof BatchError)) throw error;
					const what = `the batch at offset ${header.baseOffset} of ${range.topic}-${range.partition}: ${error.message}`;
					throw new DamageError(source.name, block.position, what);
				}
			}),
		);
	}
	counts.records += records;
	if (!sound) return;
	await found(() => {
		if (crc !== range.crc) throw wrong(source, range, "its CRC-32C is wrong");
		if (records !== range.records) throw wrong(source, range, `${records} records, not ${range.records}`);
	});
}

function wrong({ name }: BundleSource, { position, topic, partition }: BundleRange, what: string): DamageError {
	return new DamageError(name, position, `the range of ${topic}-${partition}: ${what}`);
}
