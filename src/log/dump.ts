/** `headwater dump`: what is in one of our files, for people. Reads only; a damaged place is shown as such. */
import { type Disk, type DiskFile, joinPath } from "../base/disk.ts";
import { StartError } from "../base/errors.ts";
import { decodeRecords, type LogRecord } from "../record/batch.ts";
import { readUint53 } from "./entry.ts";
import {
	findLaterEntry,
	HEADER_BYTES,
	JOURNAL_SUFFIX,
	newestHeader,
	positionAfter,
	readEntry,
	readHeaderCopies,
} from "./journal-file.ts";
import { baseOffsetOf, INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX } from "./layout.ts";
import { Segment } from "./segment.ts";

/** One thing found in a file; `kind` says what, the other fields follow from it. */
export interface DumpItem {
	readonly kind: string;
	readonly position: number;
	readonly [field: string]: unknown;
}

export interface DumpOptions {
	/** Also the records in each batch of a segment. */
	readonly records?: boolean;
}

/** Throws StartError for a file that is none of ours. */
export function* dumpFile(disk: Disk, path: string, options: DumpOptions = {}): Generator<DumpItem> {
	if (!disk.exists(path)) throw new StartError(`there is no file ${path}`);
	if (path.endsWith(JOURNAL_SUFFIX)) yield* dumpJournal(disk, path);
	else if (path.endsWith(LOG_SUFFIX)) yield* dumpSegment(disk, path, options);
	else if (path.endsWith(TIME_INDEX_SUFFIX)) yield* dumpEntries(disk, path, 12, timeIndexEntry);
	else if (path.endsWith(INDEX_SUFFIX)) yield* dumpEntries(disk, path, 8, indexEntry);
	else
		throw new StartError(
			`${path} is no file of a log: dump reads ${[JOURNAL_SUFFIX, LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX].join(", ")}`,
		);
}

function* withFile(disk: Disk, path: string, work: (file: DiskFile) => Generator<DumpItem>): Generator<DumpItem> {
	const file = disk.open(path, "read");
	try {
		yield* work(file);
	} finally {
		file.close();
	}
}

function* dumpJournal(disk: Disk, path: string): Generator<DumpItem> {
	yield* withFile(disk, path, function* (file) {
		const copies = readHeaderCopies(file);
		const header = newestHeader(copies);
		if (header === undefined) {
			yield { kind: "unused", position: 0, sizeBytes: file.size() };
			return;
		}
		yield {
			kind: "header",
			position: 0,
			...header,
			sizeBytes: file.size(),
			soundCopies: copies.filter(Boolean).length,
		};
		let position = HEADER_BYTES;
		let sequence = header.firstSequence;
		for (;;) {
			let entry = readEntry(file, file.size(), header, position, sequence);
			if ("why" in entry) {
				const later = findLaterEntry(file, file.size(), header, position, sequence);
				yield { kind: later === undefined ? "end" : "damage", position, what: entry.why };
				if (later === undefined) return;
				entry = later;
			}
			const { bad } = entry;
			yield {
				kind: "entry",
				position: entry.position,
				sequence: entry.header.sequence,
				bytes: entry.header.totalBytes,
				appends: entry.operations.appends.map((append) => ({
					partitionId: append.partitionId,
					baseOffset: append.baseOffset,
					records: append.offsets,
					bytes: append.sizeBytes,
					...(bad.includes(append) ? { damaged: true } : {}),
				})),
				state: entry.operations.state.map(({ space, key, value }) => ({ space, key, bytes: value?.length ?? null })),
			};
			sequence = entry.header.sequence + 1;
			position = positionAfter(entry);
		}
	});
}

function* dumpSegment(disk: Disk, path: string, options: DumpOptions): Generator<DumpItem> {
	const slash = path.lastIndexOf("/");
	const name = path.slice(slash + 1);
	const base = baseOffsetOf(name);
	if (base === undefined) throw new StartError(`${path} is not named for its base offset, as a segment is`);
	const segment = new Segment(disk, slash < 0 ? "." : joinPath(path.slice(0, slash + 1), "."), base);
	let position = 0;
	let next = base;
	for (;;) {
		const items: DumpItem[] = [];
		const scan = segment.scan(position, next, (batch, header, at) => {
			items.push({ kind: "batch", position: at, ...header });
			if (options.records === true)
				for (const record of decodeRecords(Buffer.from(batch))) items.push(recordItem(at, record));
		});
		yield* items;
		if (scan.problem === undefined) break;
		yield { kind: "damage", position: scan.endPosition, what: scan.problem };
		const sound = segment.findSound(scan.endPosition + 1, scan.nextOffset);
		if (sound === undefined) break;
		position = sound.position;
		next = sound.header.baseOffset;
	}
	segment.release();
}

function recordItem(position: number, record: LogRecord): DumpItem {
	return { kind: "record", position, ...record };
}

function* dumpEntries(
	disk: Disk,
	path: string,
	entryBytes: number,
	read: (entry: Buffer, baseOffset: number) => Record<string, unknown>,
): Generator<DumpItem> {
	const baseOffset = Number.parseInt(path.slice(path.lastIndexOf("/") + 1), 10) || 0;
	yield* withFile(disk, path, function* (file) {
		const entry = Buffer.alloc(entryBytes);
		let position = 0;
		for (; file.readSync(entry, position) === entryBytes; position += entryBytes)
			yield { kind: "entry", position, ...read(entry, baseOffset) };
		if (position < file.size()) yield { kind: "damage", position, what: "the file ends within an entry" };
	});
}

function indexEntry(entry: Buffer, baseOffset: number): Record<string, unknown> {
	return { offset: baseOffset + entry.readUInt32BE(0), batchPosition: entry.readUInt32BE(4) };
}

function timeIndexEntry(entry: Buffer, baseOffset: number): Record<string, unknown> {
	return { timestamp: readUint53(entry, 0), offset: baseOffset + entry.readUInt32BE(8) };
}
