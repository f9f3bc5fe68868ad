/** Names of files and folders in a data directory. Segments lie as Kafka lays them. */
import { joinPath } from "../base/disk.ts";

export const CATALOG_FILE = "catalog.db";
/** While a data directory is made from an object store, its catalog is in there. */
export const RESTORING_FOLDER = "restoring";
export const JOURNAL_FOLDER = "journal";
export const TOPICS_FOLDER = "topics";
export const PARTITION_METADATA = "partition.metadata";
export const DELETED_SUFFIX = "-delete";
export const STRAY_SUFFIX = "-stray";

export const LOG_SUFFIX = ".log";
export const INDEX_SUFFIX = ".index";
export const TIME_INDEX_SUFFIX = ".timeindex";
/** Behind the names of files that compaction writes, until they take the place of others. */
export const CLEANED_SUFFIX = ".cleaned";

export function partitionFolder(dataFolder: string, topic: string, partition: number): string {
	return joinPath(dataFolder, TOPICS_FOLDER, `${topic}-${partition}`);
}

/** A folder's name with `suffix`, out of the way of a topic of the same name; a file name may have 255 bytes. */
export function asideName(name: string, topicId: string, suffix: string): string {
	const end = `.${topicId}${suffix}`;
	if (name.length + end.length <= 255) return name + end;
	const number = name.slice(name.lastIndexOf("-"));
	return name.slice(0, 255 - end.length - number.length) + number + end;
}

/** `00000000000000000042`: 20 digits, as Kafka names a segment. */
export function segmentName(baseOffset: number): string {
	return String(baseOffset).padStart(20, "0");
}

/** The base offset in a segment's file name; undefined for any other file. */
export function baseOffsetOf(fileName: string): number | undefined {
	const match = /^(\d{20})\.log$/.exec(fileName);
	return match === null ? undefined : Number(match[1]);
}

/** Kafka's own format of partition.metadata. */
export function partitionMetadata(topicId: string): string {
	return `version: 0\ntopic_id: ${topicId}\n`;
}

/** undefined where the file was not written to its end. */
export function topicIdIn(metadata: string): string | undefined {
	return /^topic_id: (\S+)\n/m.exec(metadata)?.[1];
}
