/**
 * Opening a data directory: the catalog says what there is, the segments are taken as far as the
 * last checkpoint vouches for them and beyond as far as they prove sound, and the journal supplies
 * the rest. The cost is bounded by the journal's size, never by the log's.
 */

import type { Clock } from "../base/clock.ts";
import { type Disk, joinPath } from "../base/disk.ts";
import type { Logger } from "../base/logger.ts";
import type { Pressure } from "../base/pressure.ts";
import type { Random } from "../base/random.ts";
import type { Catalog, TopicRow } from "../catalog/catalog.ts";
import type { PartitionConfig } from "../catalog/partition-config.ts";
import { partitionConfig } from "../catalog/topic-config.ts";
import { Journal, type JournalOptions } from "./journal.ts";
import { type ReadEntry, soundAppends } from "./journal-file.ts";
import {
	asideName,
	DELETED_SUFFIX,
	JOURNAL_FOLDER,
	LOG_SUFFIX,
	PARTITION_METADATA,
	partitionFolder,
	partitionMetadata,
	STRAY_SUFFIX,
	TOPICS_FOLDER,
	topicIdIn,
} from "./layout.ts";
import { Log } from "./log.ts";
import { Partition } from "./partition.ts";
import { splitPartitionKey } from "./partition-transactions.ts";
import { SegmentSet } from "./segment-set.ts";
import { StateSpace } from "./state-spaces.ts";
import { StateTable } from "./state-table.ts";

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
	tidyFolders(options);
	const journal = new Journal(disk, joinPath(dataFolder, JOURNAL_FOLDER), options.journal, options.random, logger);
	const state = new StateTable(catalog);
	const log = new Log({ ...options, journal }, state);
	disk.syncDirectory(dataFolder);
	let damages = 0;
	const damage = (file: string, position: number, what: string): void => {
		damages += 1;
		logger.error("stored bytes are damaged", { file, position, what });
	};
	const topics = catalog.topics().map((row) => {
		const config = partitionConfig(row.config, options.topicDefaults);
		const partitions = catalog.partitions(row.id).map((p) => {
			const segments = new SegmentSet(disk, partitionFolder(dataFolder, row.name, p.number), p.logStartOffset);
			prepareFolder(disk, segments.folder, row.id);
			segments.recover(p.checkpointOffset, p.segment, config, damage);
			return addPartition(log, p.id, row.name, p.number, segments, config);
		});
		return { row, partitions };
	});
	const counts = { entries: 0, batches: 0 };
	journal.replay(catalog.checkpointSequence(), {
		entry: (entry) => {
			counts.entries += 1;
			counts.batches += replayEntry(log, state, entry);
		},
		damage,
	});
	log.flush();
	log.recovered();
	loadTransactions(log);
	return { log, topics, recovery: { ...counts, damages } };
}

/** Rows of partitions that are gone, whose deletion a crash cut short, go too. */
function loadTransactions(log: Log): void {
	for (const space of [StateSpace.KAFKA_OPEN_TRANSACTION, StateSpace.KAFKA_ABORTED_TRANSACTION]) {
		for (const [key, value] of log.scanState(space, "")) {
			const { partitionId, rest } = splitPartitionKey(key);
			const transactions = log.partitions.get(partitionId)?.transactions;
			if (transactions === undefined) log.deleteState(space, key);
			else if (space === StateSpace.KAFKA_OPEN_TRANSACTION) transactions.loadOpen(rest, value);
			else transactions.loadAborted(rest);
		}
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
): Partition {
	const partition = new Partition(id, topic, number, segments, log, config);
	log.partitions.set(id, partition);
	return partition;
}

/** A new partition's folder, empty and durable. */
export function newPartitionFolder(
	disk: Disk,
	dataFolder: string,
	topic: string,
	number: number,
	topicId: string,
): SegmentSet {
	const folder = partitionFolder(dataFolder, topic, number);
	disk.removeDirectory(folder);
	prepareFolder(disk, folder, topicId);
	return new SegmentSet(disk, folder, 0);
}

function prepareFolder(disk: Disk, folder: string, topicId: string): void {
	const metadata = joinPath(folder, PARTITION_METADATA);
	if (disk.exists(metadata)) return;
	disk.makeDirectory(folder);
	const file = disk.open(metadata, "create");
	file.write([Buffer.from(partitionMetadata(topicId))], 0);
	file.syncNow();
	file.close();
	disk.syncDirectory(folder);
	disk.syncDirectory(joinPath(folder, ".."));
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

/** Folders of deleted topics go; folders that no topic of the catalog owns are set aside, never read, never removed. */
function tidyFolders({ disk, catalog, dataFolder, logger }: OpenLogOptions): void {
	const root = joinPath(dataFolder, TOPICS_FOLDER);
	const deleted = catalog.deletedTopics();
	const deletedIds = new Set(deleted.map(({ id }) => id));
	const owned = new Map<string, string>();
	for (const { id, name } of catalog.topics())
		for (const { number } of catalog.partitions(id)) owned.set(`${name}-${number}`, id);
	for (const name of disk.list(root)) {
		if (name.endsWith(STRAY_SUFFIX)) continue;
		const folder = joinPath(root, name);
		if (name.endsWith(DELETED_SUFFIX)) {
			disk.removeDirectory(folder);
			continue;
		}
		const topicId = readTopicId(disk, folder);
		if (topicId === undefined ? owned.has(name) : owned.get(name) === topicId) continue;
		const empty = !disk.list(folder).some((file) => file.endsWith(LOG_SUFFIX));
		if (empty || (topicId !== undefined && deletedIds.has(topicId))) disk.removeDirectory(folder);
		else {
			logger.warn("a folder belongs to no topic of the catalog: set aside", { folder, topicId });
			disk.rename(folder, joinPath(root, asideName(name, topicId ?? "unknown", STRAY_SUFFIX)));
		}
	}
	disk.syncDirectory(root);
	for (const { id } of deleted) catalog.forgetDeletedTopic(id);
}

function readTopicId(disk: Disk, folder: string): string | undefined {
	const path = joinPath(folder, PARTITION_METADATA);
	if (!disk.exists(path)) return undefined;
	const file = disk.open(path, "read");
	const bytes = Buffer.alloc(file.size());
	file.readSync(bytes, 0);
	file.close();
	return topicIdIn(bytes.toString("utf8"));
}
