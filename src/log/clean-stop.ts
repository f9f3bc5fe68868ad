/**
 * Whether the last process ended with everything synced: then a start need write nothing to the segments. The catalog
 * has it, from the end of one process to the start of the next, with the checkpoint that it is true of.
 */
import type { Catalog } from "../catalog/catalog.ts";
import type { Partition } from "./partition.ts";

const CLEAN_STOP = "clean.stop";

/** After the last checkpoint, and only where that has all of every partition. */
export function noteCleanStop(catalog: Catalog, partitions: Iterable<Partition>): void {
	for (const partition of partitions) if (partition.needsCheckpoint) return;
	catalog.setMeta(CLEAN_STOP, String(catalog.checkpointSequence()));
}

/** True at most once, and durably so: before anything is written that a crash could leave half done. */
export function takeCleanStop(catalog: Catalog): boolean {
	if (catalog.getMeta(CLEAN_STOP) !== String(catalog.checkpointSequence())) return false;
	catalog.setMeta(CLEAN_STOP, "");
	return true;
}
