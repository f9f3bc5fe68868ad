/**
 * What an object store in a folder holds of one topic, read from the bundles alone, as docs/bundle-format.md describes them to
 * programs of others. The same records may be in several bundles, where an upload was given up and made again; each counts once.
 */
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { type Disk, joinPath } from "../../src/base/disk.ts";
import type { StoredRecord } from "../verifier.ts";
import { batchesOf } from "./record-batch.ts";

interface Block {
	readonly position: number;
	readonly storedBytes: number;
	readonly codec: number;
}

interface Range {
	readonly topic: string;
	readonly partition: number;
	readonly baseOffset: number;
	readonly nextOffset: number;
	readonly aborted: readonly {
		readonly producerId: number;
		readonly firstOffset: number;
		readonly lastOffset: number;
	}[];
	readonly blocks: readonly Block[];
}

interface Bundle {
	readonly file: string;
	readonly sizeBytes: number;
	readonly ranges: readonly Range[];
}

const SUFFIX = ".bundle";
const MAGIC = "HWFOOTER";
const FORMAT = 1;
const TRAILER_BYTES = 40;
const ZSTD = 1;

export class StoreReader {
	readonly #disk: Disk;
	readonly #folder: string;
	readonly #topic: string;
	/** By file; a bundle never changes, but it may go. */
	readonly #bundles = new Map<string, Bundle>();

	constructor(disk: Disk, folder: string, topic: string) {
		this.#disk = disk;
		this.#folder = folder;
		this.#topic = topic;
	}

	get bundles(): number {
		return this.#bundles.size;
	}

	/** Of all bundles. */
	get bytes(): number {
		return [...this.#bundles.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
	}

	/**
	 * Takes note of what has come since, and of what is gone: a gateway that was killed while it uploaded removes what it has no
	 * record of. Throws RangeError for a bundle that is none.
	 */
	look(): void {
		const files = new Set(filesUnder(this.#disk, this.#folder).filter((file) => file.endsWith(SUFFIX)));
		for (const file of this.#bundles.keys()) if (!files.has(file)) this.#bundles.delete(file);
		for (const file of files) {
			if (this.#bundles.has(file) || !this.#disk.exists(file)) continue;
			const opened = this.#disk.open(file, "read");
			try {
				const sizeBytes = opened.size();
				const ranges = footerOf(file, sizeBytes, (at, length) => readAt(opened, at, length));
				this.#bundles.set(file, { file, sizeBytes, ranges });
			} finally {
				opened.close();
			}
		}
	}

	/** Offsets of the topic, over all partitions, as far as the footers say. */
	offsets(): number {
		const ends = new Map<number, number>();
		for (const { partition, nextOffset } of this.#ranges()) {
			ends.set(partition, Math.max(ends.get(partition) ?? 0, nextOffset));
		}
		return [...ends.values()].reduce((sum, end) => sum + end, 0);
	}

	/** All records, by offset in each partition. */
	*records(): Generator<StoredRecord> {
		const next = new Map<number, number>();
		for (const range of this.#ranges()) {
			for (const record of this.#recordsOf(range)) {
				if (record.offset < (next.get(range.partition) ?? 0)) continue;
				next.set(range.partition, record.offset + 1);
				yield record;
			}
		}
	}

	#ranges(): (Range & { file: string })[] {
		return [...this.#bundles.values()]
			.flatMap(({ file, ranges }) =>
				ranges.filter(({ topic }) => topic === this.#topic).map((range) => ({ ...range, file })),
			)
			.sort((a, b) => a.partition - b.partition || a.baseOffset - b.baseOffset || a.nextOffset - b.nextOffset);
	}

	*#recordsOf({ file, partition, blocks, aborted }: Range & { file: string }): Generator<StoredRecord> {
		const opened = this.#disk.open(file, "read");
		try {
			for (const { position, storedBytes, codec } of blocks) {
				const stored = readAt(opened, position, storedBytes);
				for (const batch of batchesOf(codec === ZSTD ? zstdDecompressSync(stored) : stored)) {
					const gone = aborted.some(
						({ producerId, firstOffset, lastOffset }) =>
							BigInt(producerId) === batch.producerId &&
							firstOffset <= batch.baseOffset &&
							batch.baseOffset <= lastOffset,
					);
					if (batch.control || (batch.transactional && gone)) continue;
					for (const record of batch.records()) yield { partition, ...record };
				}
			}
		} finally {
			opened.close();
		}
	}
}

function footerOf(file: string, size: number, read: (position: number, length: number) => Buffer): Range[] {
	const broken = (why: string) => new RangeError(`${file} is no bundle: ${why}`);
	if (size < TRAILER_BYTES) throw broken(`${size} bytes`);
	const trailer = read(size - TRAILER_BYTES, TRAILER_BYTES);
	if (trailer.toString("latin1", 0, 8) !== MAGIC) throw broken("it does not end as one");
	if (trailer.readUInt32BE(8) !== FORMAT) throw broken(`its format is ${trailer.readUInt32BE(8)}`);
	const position = Number(trailer.readBigUInt64BE(12));
	const stored = trailer.readUInt32BE(20);
	if (position + stored !== size - TRAILER_BYTES) throw broken("its footer is not where the trailer says");
	return (JSON.parse(gunzipSync(read(position, stored)).toString()) as { ranges: Range[] }).ranges;
}

function readAt(
	file: { readSync(target: Uint8Array, position: number): number },
	position: number,
	length: number,
): Buffer {
	const bytes = Buffer.alloc(length);
	if (file.readSync(bytes, position) !== length)
		throw new RangeError(`nothing at byte ${position}, ${length} bytes on`);
	return bytes;
}

function filesUnder(disk: Disk, folder: string): string[] {
	return disk.list(folder).flatMap((name) => {
		const whole = joinPath(folder, name);
		const kind = disk.status(whole)?.kind;
		if (kind === "folder") return filesUnder(disk, whole);
		return kind === "file" ? [whole] : [];
	});
}
