/** The records in a bundle, one by one, for who reads it without a gateway. A block is in memory at a time. */
import { DamageError } from "../../src/base/errors.ts";
import { BatchError, type BatchHeader, decodeRecords, type LogRecord } from "../../src/record/batch.ts";
import { decodeBlock, forEachBatch } from "./block.ts";
import type { BundleFooter } from "./footer.ts";
import type { BundleSource } from "./reader.ts";

interface RecordFilter {
	/** undefined: of all topics. */
	readonly topic: string | undefined;
	/** undefined: of all partitions. */
	readonly partition: number | undefined;
	/** Those before it are left out. */
	readonly from: number;
	/** Those of aborted transactions too. */
	readonly withAborted: boolean;
}

export interface BundleRecord extends LogRecord {
	readonly topic: string;
	readonly partition: number;
}

/**
 * In the order of the ranges, in each by offset; transactions' markers are no records. Throws DamageError, when what came before it
 * was given out, and what `source` rejects with.
 */
export async function* bundleRecords(
	source: BundleSource,
	footer: BundleFooter,
	filter: RecordFilter,
): AsyncGenerator<BundleRecord> {
	for (const range of footer.ranges) {
		if (filter.topic !== undefined && range.topic !== filter.topic) continue;
		if (filter.partition !== undefined && range.partition !== filter.partition) continue;
		const aborted = Map.groupBy(filter.withAborted ? [] : range.aborted, ({ producerId }) => producerId);
		const isWanted = ({ isControl, isTransactional, producerId, baseOffset, lastOffset }: BatchHeader) =>
			!isControl &&
			lastOffset >= filter.from &&
			!(
				isTransactional &&
				aborted.get(producerId)?.some((each) => each.firstOffset <= baseOffset && baseOffset <= each.lastOffset)
			);
		for (const block of range.blocks) {
			if (block.nextOffset <= filter.from) continue;
			const raw = await decodeBlock(await source.get(block.position, block.storedBytes), block, source.name);
			const wanted: number[] = [];
			forEachBatch(raw, (header, at) => {
				if (isWanted(header)) wanted.push(at);
			});
			for (const at of wanted) {
				for (const record of recordsAt(raw, at, source.name, block.position))
					if (record.offset >= filter.from) yield { topic: range.topic, partition: range.partition, ...record };
			}
		}
	}
}

function recordsAt(raw: Buffer, at: number, name: string, position: number): LogRecord[] {
	try {
		return decodeRecords(raw, at);
	} catch (error) {
		if (!(error instanceof BatchError)) throw error;
		throw new DamageError(name, position, `in the block there: ${error.message}`);
	}
}
