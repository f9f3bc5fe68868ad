/**
 * How a segment that compaction wrote takes the place of others. The catalog's row is what counts: once it has the
 * swap, a start finishes what a crash left undone; before, the files are only leftovers. docs/compaction.md.
 */
import { type Disk, joinPath } from "../base/disk.ts";
import type { SegmentSwap } from "../catalog/partition-rows.ts";
import { CLEANED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, segmentName, TIME_INDEX_SUFFIX } from "./layout.ts";

/** The log last: while it has its other name, so may the indexes. */
const SUFFIXES = [INDEX_SUFFIX, TIME_INDEX_SUFFIX, LOG_SUFFIX];

/** Gives the files of `swap` their names, durably, however far that had come. */
export function renameCleaned(disk: Disk, folder: string, swap: SegmentSwap): void {
	for (const suffix of SUFFIXES) {
		const path = joinPath(folder, segmentName(swap.baseOffset) + suffix);
		if (disk.exists(path + CLEANED_SUFFIX)) disk.rename(path + CLEANED_SUFFIX, path);
	}
	for (const baseOffset of swap.replaced) removeFiles(disk, folder, baseOffset, "");
	disk.syncDirectory(folder);
}

/** Files of a compaction that came to nothing. */
export function removeCleaned(disk: Disk, folder: string, baseOffset: number): void {
	removeFiles(disk, folder, baseOffset, CLEANED_SUFFIX);
}

/** Those of any among the `names` in a folder. */
export function removeAllCleaned(disk: Disk, folder: string, names: readonly string[]): void {
	for (const name of names) if (name.endsWith(CLEANED_SUFFIX)) disk.remove(joinPath(folder, name));
}

function removeFiles(disk: Disk, folder: string, baseOffset: number, suffix: string): void {
	for (const kind of SUFFIXES) disk.remove(joinPath(folder, segmentName(baseOffset) + kind + suffix));
}
