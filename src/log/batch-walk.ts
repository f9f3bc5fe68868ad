/** Goes through a segment's batches off the event loop, a window at a time, without keeping any of them. */
import { DamageError } from "../base/errors.ts";
import { BATCH_HEADER_BYTES, BatchError, type BatchHeader, readBatchHeader } from "../record/batch.ts";
import { batchProblem, type Segment } from "./segment.ts";

/** Read at once: what is done with it holds up the event loop. */
export const WINDOW_BYTES = 128 * 1024;
/** No batch is longer. */
const BATCH_BYTES_MAX = 16 * 1024 * 1024;

export interface Walk {
	/** Memory for what is read, at least a window; longer batches get their own. */
	readonly window: Buffer;
	/** Throws where the segment is none of the log's any more: that ends the walk. */
	readonly check: () => void;
	/** For the time of the call. False ends the walk. */
	readonly visit: (batch: Buffer, header: BatchHeader) => boolean;
	/** Between windows, after so many bytes: the batches visited so far are valid until it returns its promise. */
	readonly pause: (bytes: number) => Promise<void>;
	/** Damage was passed over. */
	readonly damaged: (error: DamageError) => void;
}

/** From the batch at `position` to the segment's end. Rejects with what `check` and `pause` throw. */
export async function walkBatches(segment: Segment, position: number, walk: Walk): Promise<void> {
	let at = position;
	let next = segment.baseOffset;
	while (at < segment.sizeBytes) {
		walk.check();
		let bytes = await segment.readInto(walk.window, at);
		let run = visitRun(bytes, next, walk);
		if (run.used === 0 && run.wants > bytes.length && run.wants <= Math.min(BATCH_BYTES_MAX, segment.sizeBytes - at)) {
			walk.check();
			bytes = await segment.read(at, run.wants);
			run = visitRun(bytes, next, walk);
		}
		next = run.next;
		if (run.used === 0 && !run.done) {
			const sound = segment.findSound(at + 1, next);
			const end = sound?.position ?? segment.sizeBytes;
			walk.damaged(new DamageError(segment.path, at, run.problem ?? "a batch is cut short"));
			at = end;
		} else at += run.used;
		await walk.pause(run.used);
		if (run.done) return;
	}
}

interface Run {
	/** Bytes of the batches that were visited. */
	readonly used: number;
	readonly next: number;
	/** Length of the batch that did not fit. */
	readonly wants: number;
	readonly done: boolean;
	readonly problem: string | undefined;
}

function visitRun(bytes: Buffer, expectedOffset: number, walk: Walk): Run {
	let used = 0;
	let next = expectedOffset;
	const ended = (more: Partial<Run>): Run => ({ used, next, wants: 0, done: false, problem: undefined, ...more });
	while (used + BATCH_HEADER_BYTES <= bytes.length) {
		try {
			const header = readBatchHeader(bytes, used, Number.MAX_SAFE_INTEGER);
			if (used + header.sizeBytes > bytes.length) return ended({ wants: header.sizeBytes });
			const batch = bytes.subarray(used, used + header.sizeBytes);
			const problem = batchProblem(batch, header, next);
			if (problem !== undefined) return ended({ problem });
			const goesOn = walk.visit(batch, header);
			used += header.sizeBytes;
			next = header.lastOffset + 1;
			if (!goesOn) return ended({ done: true });
		} catch (error) {
			if (!(error instanceof BatchError)) throw error;
			return ended({ problem: error.message });
		}
	}
	return ended({});
}
