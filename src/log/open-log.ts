/**
 * Opening a data directory: the catalog says what there is, the segments are taken as far as the
 * last checkpoint vouches for them, and the journal supplies the rest. The cost is bounded by the journal's
 * size, never by the log's: files are written only of partitions that the journal has entries of (restoration.ts says why).
 */

import type { Clock } from "../base/clock.ts";
import { type Disk, type DiskFile, joinPath } from "../base/disk.ts";
import type { Logger } from "../base/logger.ts";
import type { Pressure } from "../base/pressure.ts";
import type { Random } from "../base/random.ts";
import type { Catalog, TopicRow } from "../catalog/catalog.ts";
import type { PartitionConfig } from "../catalog/partition-config.ts";
import type { PartitionRow } from "../catalog/partition-rows.ts";
import { partitionConfig } from "../catalog/topic-config.ts";
import { takeCleanStop } from "./clean-stop.ts";
import { Journal, type JournalOptions } from "./journal.ts";
import { type ReadEntry, soundAppends } from "./journal-file.ts";
import {
	asideName,
	DELETED_SUFFIX,
	JOURNAL_FOLDER,
	LOG_SUFFIX,
	PARTITION_METADATA,
	partitionFolder,
	STRAY_SUFFIX,
	TOPICS_FOLDER,
	topicIdIn,
} from "./layout.ts";
import { LeaderEpochs } from "./leader-epochs.ts";
import { Log } from "./log.ts";
import { Partition } from "./partition.ts";
import { PartitionFolder } from "./partition-folder.ts";
import { behindPartition, PartitionTransactions, splitPartitionKey } from "./partition-transactions.ts";
import { Restoration } from "./restoration.ts";
import { SegmentSet } from "./segment-set.ts";
import { removeAllCleaned, renameCleaned } from "./segment-swap.ts";
import { StateSpace } from "./state-spaces.ts";
import { StateTable } from "./state-table.ts";

/** A partition's metadata is two short lines. */
const METADATA_BYTES_MAX = 512;

export interface OpenLogOptions {
	readonly disk: Disk;
	readonly clock: Clock;
	readonly random: Random;
	readonly logger: Logger;
	readonly pressure: Pressure;
	readonly catalog: Catalog;
	readonly dataFolder: string;
	readonly journal: JournalOptions;
	readonly lingerMs: number;
	/** As in LogServices. */
	readonly inlineSyncBelowMs?: number;
	/** Kafka's broker-wide defaults for topic configuration, as `topic-config.ts` names them. */
	readonly topicDefaults: Readonly<Record<string, string>>;
	readonly onFailure: (error: Error) => void;
}

export interface TopicPartitions {
	readonly row: TopicRow;
	readonly partitions: Partition[];
}

export interface OpenedLog {
	readonly log: Log;
	readonly topics: TopicPartitions[];
	/** Entries taken from the journal, and their batches that the segments did not have. */
	readonly recovery: { readonly entries: number; readonly batches: number; readonly damages: number };
}

export function openLog(options: OpenLogOptions): OpenedLog {
	const { disk, logger, catalog, dataFolder } = options;
	disk.makeDirectory(joinPath(dataFolder, TOPICS_FOLDER));
	const isClean = takeCleanStop(catalog);
	const topicRows = catalog.topics();
	const partitionRows = catalog.allPartitions();
	const found = tidyFolders(options, topicRows, partitionRows);
	const journal = new Journal(disk, joinPath(dataFolder, JOURNAL_FOLDER), options.journal, options.random, logger);
	const state = new StateTable(catalog);
	const log = new Log({ ...options, journal }, state);
	disk.syncDirectory(dataFolder);
	let damages = 0;
	const damage = (file: string, position: number, what: string): void => {
		damages += 1;
		logger.error("stored bytes are damaged", { file, position, what });
	};
	const topics = topicRows.map((row) => {
		const config = partitionConfig(row.config, options.topicDefaults);
		const partitions = (partitionRows.get(row.id) ?? []).map((p) => {
			const path = partitionFolder(dataFolder, row.name, p.number);
			const hasMetadata = found.get(`${row.name}-${p.number}`);
			const folder = new PartitionFolder(disk, path, row.id, hasMetadata === true);
			const segments = new SegmentSet(disk, folder, p.logStartOffset);
			segments.recover(p, hasMetadata === undefined ? [] : finishCompaction(options, path, p), damage);
			return addPartition(log, p.id, row.name, p.number, segments, config, LeaderEpochs.of(p.epochs));
		});
		return { row, partitions };
	});
	const counts = { entries: 0, batches: 0 };
	const restoration = new Restoration(catalog, log.partitions, damage);
	if (isClean) journal.skipTo(catalog.checkpointSequence());
	else
		journal.replay(catalog.checkpointSequence(), {
			entry: (entry) => {
				restoration.entry(entry.operations.appends);
				counts.entries += 1;
				counts.batches += replayEntry(log, state, entry);
			},
			inDoubt: () => restoration.begin(),
			damage: (file, position, what) => {
				restoration.isJournalWhole = false;
				damage(file, position, what);
			},
		});
	restoration.finish();
	log.flush();
	for (const partition of log.partitions.values()) skipDamage(log, partition);
	log.recovered();
	loadTransactions(log);
	return { log, topics, recovery: { ...counts, damages } };
}

/**
 * Where damage took the last records: offsets go on behind all that was ever given out, as far as that is known. What the object store has is not
 * lost; the files, which end before that, have nothing that it has not.
 */
function skipDamage(log: Log, partition: Partition): void {
	const { segments } = partition;
	if (partition.endOffset < segments.tieredOffset) {
		log.services.catalog.beginAnewAt(partition.id, segments.tieredOffset);
		partition.skipTo(segments.tieredOffset);
		segments.beginAnewAt(segments.tieredOffset);
	}
	partition.skipTo(partition.logStartOffset);
}

/** What a crash left of a compaction: a swap that the catalog knows is finished, other files of one go. Returns the names in the folder. */
function finishCompaction({ disk, catalog }: OpenLogOptions, folder: string, { id, swap }: PartitionRow): string[] {
	if (swap !== undefined) {
		renameCleaned(disk, folder, swap);
		catalog.endSwap(id);
	}
	const names = disk.list(folder);
	removeAllCleaned(disk, folder, names);
	return names;
}

/** Rows of partitions that are gone, whose deletion a crash cut short, go too. */
function loadTransactions(log: Log): void {
	for (const [key, value] of log.scanState(StateSpace.KAFKA_OPEN_TRANSACTION, "")) {
		const { partitionId, rest } = splitPartitionKey(key);
		const transactions = log.partitions.get(partitionId)?.transactions;
		if (transactions === undefined) log.deleteState(StateSpace.KAFKA_OPEN_TRANSACTION, key);
		else transactions.loadOpen(rest, value);
	}
	// There may be very many: one of each partition tells.
	for (let from = ""; ; ) {
		const [row] = log.pageState(StateSpace.KAFKA_ABORTED_TRANSACTION, from, undefined, 1);
		if (row === undefined) return;
		const { partitionId } = splitPartitionKey(row[0]);
		const partition = log.partitions.get(partitionId);
		if (partition !== undefined) partition.transactions.loadAborted(partition.endOffset);
		else new PartitionTransactions(partitionId, log).forget();
		from = behindPartition(partitionId);
	}
}

/** Makes a partition of the log and gives it its place in it. */
export function addPartition(
	log: Log,
	id: number,
	topic: string,
	number: number,
	segments: SegmentSet,
	config: PartitionConfig,
	epochs = LeaderEpochs.FIRST,
): Partition {
	const partition = new Partition(id, topic, number, segments, log, config, epochs);
	log.partitions.set(id, partition);
	return partition;
}

/** Of a new partition: its folder is made with its first segment. What an earlier topic may have left in its place goes. */
export function newSegmentSet(
	disk: Disk,
	dataFolder: string,
	topic: string,
	number: number,
	topicId: string,
): SegmentSet {
	const path = partitionFolder(dataFolder, topic, number);
	if (disk.exists(path)) disk.removeDirectory(path);
	return new SegmentSet(disk, new PartitionFolder(disk, path, topicId, false), 0);
}

/** Applies an entry; returns how many batches the segments did not have yet. */
function replayEntry(log: Log, state: StateTable, entry: ReadEntry): number {
	let added = 0;
	for (const append of soundAppends(entry)) {
		const { partitionId, baseOffset } = append;
		const partition = log.partitions.get(partitionId);
		if (partition === undefined || baseOffset < partition.endOffset) continue; // deleted, or the segment has it
		if (baseOffset > partition.endOffset) log.losses.hole(partition, partition.endOffset, baseOffset);
		log.replayed(partition, append);
		added += 1;
	}
	for (const operation of entry.operations.state) state.replayed(operation);
	return added;
}

/**
 * Folders of deleted topics go; folders that no topic of the catalog owns are set aside, never read, never removed.
 * Returns the names of the others, and whether each has its metadata.
 */
function tidyFolders(
	{ disk, catalog, dataFolder, logger }: OpenLogOptions,
	topics: readonly TopicRow[],
	partitions: ReadonlyMap<string, readonly PartitionRow[]>,
): ReadonlyMap<string, boolean> {
	const root = joinPath(dataFolder, TOPICS_FOLDER);
	const deleted = catalog.deletedTopics();
	const deletedIds = new Set(deleted.map(({ id }) => id));
	const owned = new Map<string, string>();
	const found = new Map<string, boolean>();
	for (const { id, name } of topics)
		for (const { number } of partitions.get(id) ?? []) owned.set(`${name}-${number}`, id);
	for (const name of disk.list(root)) {
		if (name.endsWith(STRAY_SUFFIX)) continue;
		const folder = joinPath(root, name);
		if (name.endsWith(DELETED_SUFFIX)) {
			disk.removeDirectory(folder);
			continue;
		}
		const topicId = readTopicId(disk, folder);
		if (topicId === undefined ? owned.has(name) : owned.get(name) === topicId) {
			found.set(name, topicId !== undefined);
			continue;
		}
		const empty = !disk.list(folder).some((file) => file.endsWith(LOG_SUFFIX));
		if (empty || (topicId !== undefined && deletedIds.has(topicId))) disk.removeDirectory(folder);
		else {
			logger.warn("a folder belongs to no topic of the catalog: set aside", { folder, topicId });
			disk.rename(folder, joinPath(root, asideName(name, topicId ?? "unknown", STRAY_SUFFIX)));
		}
	}
	disk.syncDirectory(root);
	for (const { id } of deleted) catalog.forgetDeletedTopic(id);
	return found;
}

/** undefined where there is no metadata, or not all of it. */
function readTopicId(disk: Disk, folder: string): string | undefined {
	let file: DiskFile;
	try {
		file = disk.open(joinPath(folder, PARTITION_METADATA), "read");
	} catch (error) {
		if ((error as { code?: string }).code !== "ENOENT") throw error;
		return undefined;
	}
	const bytes = Buffer.alloc(METADATA_BYTES_MAX);
	const read = file.readSync(bytes, 0);
	file.close();
	return topicIdIn(bytes.toString("utf8", 0, read));
}
