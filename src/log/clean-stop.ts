/**
 * Whether the last process ended with all of the journal in a checkpoint: then a start need not read it. The catalog has
 * it, from the end of one process to the start of the next, with the checkpoint that it is true of.
 */
import type { Catalog } from "../catalog/catalog.ts";

const JOURNAL_DONE = "journal.done";

/** After the last checkpoint; of no use where that has not the newest entry of the journal. Nothing may be written to that any more. */
export function noteCleanStop(catalog: Catalog, journalSequence: number): void {
	if (journalSequence === catalog.checkpointSequence()) catalog.setMeta(JOURNAL_DONE, String(journalSequence));
}

/** True at most once, and durably so: before anything is written to the journal. */
export function takeCleanStop(catalog: Catalog): boolean {
	if (catalog.getMeta(JOURNAL_DONE) !== String(catalog.checkpointSequence())) return false;
	catalog.setMeta(JOURNAL_DONE, "");
	return true;
}
