/** What of a durable batch is kept while it waits for its file. */
import type { BufferPool } from "../base/buffer-pool.ts";
import type { AppendOperation } from "./entry.ts";

/** A pool's buffer has twice that at least. */
const COPIED_BYTES_MAX = 2048;

/**
 * A small batch leaves its pool's buffer, of which it would keep all: else a few records in each of very many partitions would
 * fill the tails, and each partition would be written to its file all the time. A larger batch stays where it is.
 */
export function tailBatch(append: AppendOperation, pool: BufferPool): AppendOperation {
	const { batch, pooled } = append;
	if (!pooled || batch.length > COPIED_BYTES_MAX) return append;
	// Of Node's own slab, which is let go of as a whole: small batches come and go together.
	const copy = Buffer.allocUnsafe(batch.length);
	copy.set(batch);
	pool.give(Buffer.from(batch.buffer));
	return { ...append, batch: copy, pooled: false };
}
