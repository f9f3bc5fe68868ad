/**
 * `headwater verify`: reads every byte of a data directory that no gateway is using, and reports what
 * is not as it must be. Changes nothing.
 */

import { type Disk, type DiskFile, joinPath } from "../base/disk.ts";
import { DamageError, StartError } from "../base/errors.ts";
import { Catalog, type TopicRow } from "../catalog/catalog.ts";
import type { CleanedSegment, PartitionRow } from "../catalog/partition-rows.ts";
import { BatchError, validateBatch } from "../record/batch.ts";
import { crc32c } from "../record/crc32c.ts";
import { BLOCK_BYTES, type FileStamp, readEntryHeader } from "./entry.ts";
import {
	findLaterEntry,
	HEADER_BYTES,
	JOURNAL_SUFFIX,
	type JournalHeader,
	newestHeader,
	positionAfter,
	readEntry,
	readHeaderCopies,
} from "./journal-file.ts";
import {
	baseOffsetOf,
	CATALOG_FILE,
	CLEANED_SUFFIX,
	JOURNAL_FOLDER,
	PARTITION_METADATA,
	partitionFolder,
} from "./layout.ts";
import { LeaderEpochs } from "./leader-epochs.ts";
import { Segment } from "./segment.ts";
import { indexProblems } from "./verify-indexes.ts";
import { tierHoles } from "./verify-tier.ts";

export interface Finding {
	/** `damage`: stored bytes are not what was written. `warning`: worth knowing, nothing is lost. */
	readonly level: "damage" | "warning";
	readonly file: string;
	/** Bytes from the start of the file. */
	readonly position: number;
	readonly what: string;
}

/** Told as the work goes on; bytes. */
export type VerifyProgress = (done: { readonly bytes: number; readonly totalBytes: number }) => void;

export interface VerifySummary {
	readonly topics: number;
	readonly partitions: number;
	readonly segments: number;
	readonly batches: number;
	readonly records: number;
	readonly journalEntries: number;
	readonly bytes: number;
}

/** Yields findings as they come up; returns what was looked at. Throws StartError where there is nothing to verify. */
export function* verifyDataDirectory(
	disk: Disk,
	dataFolder: string,
	progress: VerifyProgress = () => {},
): Generator<Finding, VerifySummary> {
	const catalogFile = joinPath(dataFolder, CATALOG_FILE);
	if (!disk.exists(catalogFile))
		throw new StartError(`there is no data directory at ${dataFolder}: name the one you mean with --data`);
	if (!beginsAsDatabase(disk, catalogFile)) {
		yield damageAt(catalogFile, 0, "this is no SQLite database: without the catalog nothing else can be judged");
		return { ...NOTHING };
	}
	let catalog: Catalog | undefined;
	try {
		catalog = new Catalog({ file: catalogFile, readOnly: true });
		return yield* new Verification(disk, dataFolder, catalog, progress).run();
	} catch (error) {
		if ((error as { code?: string }).code?.startsWith("SQLITE_CORRUPT") !== true) throw error;
		yield damageAt(catalogFile, 0, `the catalog cannot be read any further: ${(error as Error).message}`);
		return { ...NOTHING };
	} finally {
		catalog?.close();
	}
}

function beginsAsDatabase(disk: Disk, path: string): boolean {
	const file = disk.open(path, "read");
	try {
		const magic = Buffer.alloc(16);
		const got = file.readSync(magic, 0);
		// Empty: one that was killed before its first transaction.
		return got === 0 || magic.toString("latin1") === "SQLite format 3\0";
	} finally {
		file.close();
	}
}

const NOTHING: VerifySummary = {
	topics: 0,
	partitions: 0,
	segments: 0,
	batches: 0,
	records: 0,
	journalEntries: 0,
	bytes: 0,
};
const CATALOG_PAGE_BYTES = 4096;
/** Read at once for a file's checksum. */
const CRC_READ_BYTES = 1024 * 1024;

interface Counts {
	topics: number;
	partitions: number;
	segments: number;
	batches: number;
	records: number;
	journalEntries: number;
	bytes: number;
}

class Verification {
	readonly #disk: Disk;
	readonly #dataFolder: string;
	readonly #catalog: Catalog;
	readonly #progress: VerifyProgress;
	readonly #counts: Counts = { ...NOTHING };
	/** Where each partition's next record in the journal may at most begin. */
	readonly #ends = new Map<number, { next: number; name: string }>();
	#totalBytes = 0;

	constructor(disk: Disk, dataFolder: string, catalog: Catalog, progress: VerifyProgress) {
		this.#disk = disk;
		this.#dataFolder = dataFolder;
		this.#catalog = catalog;
		this.#progress = progress;
	}

	*run(): Generator<Finding, VerifySummary> {
		for (const problem of this.#catalog.integrityProblems())
			yield damageAt(joinPath(this.#dataFolder, CATALOG_FILE), pagePosition(problem), problem);
		const partitions = this.#catalog.allPartitions();
		const topics = this.#catalog.topics().map((topic) => ({ topic, partitions: partitions.get(topic.id) ?? [] }));
		this.#totalBytes = this.#size(topics);
		for (const { topic, partitions } of topics) {
			this.#counts.topics += 1;
			for (const partition of partitions) yield* this.#partition(topic, partition);
		}
		yield* this.#journal();
		for (const loss of this.#catalog.losses())
			yield {
				level: "warning",
				file: partitionFolder(this.#dataFolder, loss.topic, loss.partition),
				position: 0,
				what: `${loss.count} records from offset ${loss.firstOffset} were lost on ${new Date(loss.timeMs).toISOString()}: ${loss.reason}`,
			};
		return this.#counts;
	}

	#size(topics: readonly { topic: TopicRow; partitions: readonly PartitionRow[] }[]): number {
		let bytes = 0;
		const folders = topics.flatMap(({ topic, partitions }) =>
			partitions.map(({ number }) => partitionFolder(this.#dataFolder, topic.name, number)),
		);
		for (const folder of [...folders, joinPath(this.#dataFolder, JOURNAL_FOLDER)])
			for (const name of this.#disk.list(folder)) bytes += this.#disk.fileSize(joinPath(folder, name)) ?? 0;
		return bytes;
	}

	#done(bytes: number): void {
		this.#counts.bytes += bytes;
		this.#progress({ bytes: this.#counts.bytes, totalBytes: this.#totalBytes });
	}

	*#partition(topic: TopicRow, row: PartitionRow): Generator<Finding> {
		this.#counts.partitions += 1;
		// What is before it is not kept here.
		const start = Math.max(row.logStartOffset, row.localStartOffset);
		const folder = partitionFolder(this.#dataFolder, topic.name, row.number);
		// Before its first segment a partition has no folder.
		if (this.#disk.exists(folder) && !this.#disk.exists(joinPath(folder, PARTITION_METADATA)))
			yield { level: "warning", file: joinPath(folder, PARTITION_METADATA), position: 0, what: "the file is missing" };
		const bases = this.#disk
			.list(folder)
			.map(baseOffsetOf)
			.filter((base) => base !== undefined)
			.sort((a, b) => a - b);
		const cleaned = new Map(row.cleanedSegments.map((one) => [one.baseOffset, one]));
		for (const one of row.cleanedSegments)
			if (!bases.includes(one.baseOffset) && one.nextOffset > start) bases.push(one.baseOffset);
		bases.sort((a, b) => a - b);
		let next = bases[0] ?? start;
		if (next > start) yield { level: "damage", file: folder, position: 0, what: `no segment has offset ${start}` };
		for (const base of bases) {
			if (row.swap?.replaced.includes(base) === true) continue;
			const segment = this.#open(folder, base, row, cleaned.get(base));
			// Nobody reads what is before the start here.
			if (base > Math.max(next, start))
				yield damageAt(segment.path, 0, `offsets ${next} to ${base - 1} are missing before this segment`);
			next = yield* this.#segment(segment, row, base, cleaned.get(base));
		}
		if (Math.max(next, start) < row.checkpointOffset)
			yield {
				level: "damage",
				file: folder,
				position: 0,
				what: `records end at offset ${next}, at the last checkpoint they ended at ${row.checkpointOffset}`,
			};
		const name = `${topic.name}-${row.number}`;
		for (const what of tierHoles(this.#catalog.tier, row, name))
			yield { level: "damage", file: joinPath(this.#dataFolder, CATALOG_FILE), position: 0, what };
		// What the segments have behind the checkpoint does not count: it may not be durable.
		this.#ends.set(row.id, { next: row.checkpointOffset, name });
	}

	/** Where a crash came between the catalog and the names of a swap, the new segment still has its other name. */
	#open(folder: string, base: number, { swap }: PartitionRow, cleaned: CleanedSegment | undefined): Segment {
		const segment = new Segment(this.#disk, folder, base, { isCleaned: cleaned !== undefined });
		if (swap?.baseOffset !== base || !this.#disk.exists(segment.path + CLEANED_SUFFIX)) return segment;
		return new Segment(this.#disk, folder, base, { isCleaned: true, suffix: CLEANED_SUFFIX });
	}

	/** A compacted segment's records may have gaps, which show no damage: its bytes do. */
	*#cleanedBytes(segment: Segment, { sizeBytes, crc }: CleanedSegment): Generator<Finding> {
		if (segment.sizeBytes !== sizeBytes) {
			yield damageAt(
				segment.path,
				Math.min(segment.sizeBytes, sizeBytes),
				`the file has ${segment.sizeBytes} bytes; compaction wrote ${sizeBytes}`,
			);
			return;
		}
		let sum = 0;
		for (let at = 0; at < sizeBytes; at += CRC_READ_BYTES)
			sum = crc32c(segment.readNow(at, CRC_READ_BYTES), 0, undefined, sum);
		if (sum !== crc) yield damageAt(segment.path, 0, "the file is not what compaction wrote: its CRC-32C is wrong");
	}

	/** Returns the offset after the segment's last record; of a compacted one, after the last that it stands for. */
	*#segment(
		segment: Segment,
		row: PartitionRow,
		from: number,
		cleaned: CleanedSegment | undefined,
	): Generator<Finding, number> {
		this.#counts.segments += 1;
		if (cleaned !== undefined) yield* this.#cleanedBytes(segment, cleaned);
		const findings: Finding[] = [];
		const batches = new Map<number, { lastOffset: number; maxTimestamp: number }>();
		const epochs = LeaderEpochs.of(row.epochs);
		let next = from;
		let position = 0;
		for (;;) {
			const scan = segment.scan(position, next, (batch, header, at) => {
				batches.set(at, { lastOffset: header.lastOffset, maxTimestamp: header.maxTimestamp });
				this.#counts.batches += 1;
				this.#counts.records += header.count;
				if (header.baseOffset > Math.max(next, row.logStartOffset) && cleaned === undefined)
					findings.push(damageAt(segment.path, at, `offsets ${next} to ${header.baseOffset - 1} are missing`));
				const epoch = epochs.at(header.baseOffset);
				if (header.leaderEpoch !== epoch)
					findings.push(damageAt(segment.path, at + 12, `leader epoch ${header.leaderEpoch}; ${epoch} was written`));
				next = header.lastOffset + 1;
				const problem = recordsProblem(batch, cleaned !== undefined);
				if (problem !== undefined) findings.push(damageAt(segment.path, at, problem));
			});
			yield* findings.splice(0);
			if (scan.problem === undefined) break;
			// Behind the checkpoint an unfinished batch is what a crash leaves; the journal has it.
			if (scan.nextOffset >= row.checkpointOffset) {
				yield { level: "warning", file: segment.path, position: scan.endPosition, what: `unfinished: ${scan.problem}` };
				break;
			}
			const sound = segment.findSound(scan.endPosition + 1, scan.nextOffset);
			const until = sound === undefined ? "the end" : `byte ${sound.position}`;
			yield damageAt(segment.path, scan.endPosition, `${scan.problem}; damaged up to ${until}`);
			if (sound === undefined) break;
			position = sound.position;
			next = sound.header.baseOffset;
		}
		const activeBase = row.segment?.baseOffset ?? -1;
		if (segment.baseOffset <= activeBase && row.swap?.baseOffset !== segment.baseOffset)
			for (const problem of indexProblems(
				this.#disk,
				segment,
				batches,
				segment.baseOffset === activeBase ? row.segment : undefined,
			))
				yield damageOf(problem);
		this.#done(segment.footprintBytes);
		segment.release();
		return cleaned?.nextOffset ?? next;
	}

	*#journal(): Generator<Finding> {
		const folder = joinPath(this.#dataFolder, JOURNAL_FOLDER);
		const checkpoint = this.#catalog.checkpointSequence();
		const files: { path: string; header: JournalHeader }[] = [];
		for (const name of this.#disk.list(folder).filter((name) => name.endsWith(JOURNAL_SUFFIX))) {
			const path = joinPath(folder, name);
			const file = this.#disk.open(path, "read");
			try {
				const [first, second] = readHeaderCopies(file);
				const header = newestHeader([first, second]);
				if (header !== undefined) files.push({ path, header });
				else yield* headlessFile(path, file, checkpoint);
				if ((first === undefined) !== (second === undefined))
					yield {
						level: "warning",
						file: path,
						position: first === undefined ? 0 : HEADER_BYTES / 2,
						what: "one of the two headers is damaged",
					};
			} catch (error) {
				if (!(error instanceof DamageError)) throw error;
				yield damageOf(error);
			} finally {
				file.close();
			}
		}
		files.sort((a, b) => a.header.generation - b.header.generation);
		let expected = checkpoint + 1;
		for (const [i, { path, header }] of files.entries()) {
			const nextFirst = files[i + 1]?.header.firstSequence;
			if (nextFirst === undefined || nextFirst > expected) {
				if (header.firstSequence > expected)
					yield damageAt(path, 0, `entries ${expected} to ${header.firstSequence - 1} are missing before this file`);
				expected = Math.max(
					expected,
					yield* this.#journalFile(path, header, header.firstSequence, nextFirst, checkpoint),
				);
			}
			this.#done(this.#disk.fileSize(path) ?? 0);
		}
	}

	/** Returns the sequence after the file's last entry. */
	*#journalFile(
		path: string,
		stamp: FileStamp,
		firstSequence: number,
		nextFirst: number | undefined,
		checkpoint: number,
	): Generator<Finding, number> {
		const file = this.#disk.open(path, "read");
		try {
			const sizeBytes = file.size();
			let position = HEADER_BYTES;
			let expected = firstSequence;
			for (;;) {
				let entry = readEntry(file, sizeBytes, stamp, position, expected);
				const later =
					"why" in entry || entry.bad.length > 0
						? findLaterEntry(file, sizeBytes, stamp, position, expected)
						: undefined;
				const durable = later !== undefined || (nextFirst !== undefined && nextFirst > expected);
				// Entries that a checkpoint has made superfluous may be damaged without harm.
				const needed = expected > checkpoint;
				if ("why" in entry) {
					if (durable && needed) yield damageAt(path, position, `entry ${expected}: ${entry.why}`);
					if (later === undefined) return expected;
					entry = later;
				} else if (entry.bad.length > 0) {
					if (!durable) return expected;
					if (needed)
						for (const bad of entry.bad)
							yield damageAt(path, position + bad.position, `a batch of entry ${expected} is damaged`);
				}
				if (entry.header.sequence > checkpoint) {
					this.#counts.journalEntries += 1;
					for (const append of entry.operations.appends) {
						const end = this.#ends.get(append.partitionId);
						if (end === undefined) continue;
						if (append.baseOffset > end.next)
							yield damageAt(
								path,
								entry.position,
								`${end.name}: offsets ${end.next} to ${append.baseOffset - 1} are missing`,
							);
						end.next = Math.max(end.next, append.baseOffset + append.offsets);
					}
				}
				expected = entry.header.sequence + 1;
				position = positionAfter(entry);
			}
		} finally {
			file.close();
		}
	}
}

/**
 * A file without a sound header: never used, its first write torn by a crash, or both headers damaged. Only
 * in the last case can a second entry of the same use be there: it was written when the first was durable.
 */
function* headlessFile(path: string, file: DiskFile, checkpoint: number): Generator<Finding> {
	const sizeBytes = file.size();
	const block = Buffer.alloc(BLOCK_BYTES);
	const found = new Map<number, number[]>();
	for (let at = HEADER_BYTES; at < sizeBytes; at += BLOCK_BYTES) {
		file.readSync(block, at);
		const header = readEntryHeader(block, 0, sizeBytes - at);
		if (typeof header === "string" || header.sequence <= checkpoint) continue;
		found.set(header.generation, [...(found.get(header.generation) ?? []), header.sequence]);
	}
	for (const [generation, sequences] of found)
		if (sequences.length > 1)
			yield damageAt(
				path,
				0,
				`both headers are damaged; entries ${Math.min(...sequences)} to ${Math.max(...sequences)} of use ${generation} cannot be read`,
			);
}

/** SQLite names the page; byte 0 where it does not. */
function pagePosition(problem: string): number {
	const page = Number(/page (\d+)/.exec(problem)?.[1] ?? 1);
	return Math.max(0, page - 1) * CATALOG_PAGE_BYTES;
}

function damageAt(file: string, position: number, what: string): Finding {
	return { level: "damage", file, position, what };
}

function damageOf(error: DamageError): Finding {
	return { level: "damage", file: error.file, position: error.position, what: error.message };
}

function recordsProblem(batch: Buffer, compacted: boolean): string | undefined {
	try {
		validateBatch(batch, 0, { compacted });
		return undefined;
	} catch (error) {
		if (error instanceof BatchError) return error.message;
		throw error;
	}
}
