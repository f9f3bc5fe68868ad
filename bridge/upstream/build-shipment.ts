/**
 * What goes to the central cluster in one transaction, built wholly before one is opened: batches by partition there, and how
 * far it brings each local partition. Memory is bounded by `rawBytes`, whatever waits.
 */
import { type BufferPool, Loan } from "../../src/base/buffer-pool.ts";
import type { Clock } from "../../src/base/clock.ts";
import { BrokerError } from "../../src/base/errors.ts";
import { comesLater } from "../../src/log/tier.ts";
import { type Position, sent } from "./position.ts";
import type { SealedBatch } from "./shipment/outgoing-batch.ts";
import type { Rebatcher } from "./shipment/rebatcher.ts";
import type { Target } from "./shipment/target.ts";
import type { Source } from "./sources.ts";

export interface Shipment {
	readonly batches: readonly SealedBatch[];
	/** Where each local partition is when it has arrived. */
	readonly moves: ReadonlyMap<Source, Position>;
	/** Of each, records as offsets, and their bytes here, roughly. */
	readonly records: number;
	readonly rawBytes: number;
	/** Of the batches. */
	readonly wireBytes: number;
	/** There was more to be sent than it has room for. */
	readonly isFull: boolean;
}

export interface BuildOptions {
	readonly clock: Clock;
	readonly rebatcher: Rebatcher;
	/** For what is read. */
	readonly pool: BufferPool;
	/** Of a batch, before compression. */
	readonly batchBytes: number;
	/** Of all of them. */
	readonly rawBytes: number;
	readonly targetOf: (source: Source) => Target;
	/** Offsets that are not to be sent. */
	readonly excludedOf: (source: Source) => ReadonlySet<number>;
	/** It cannot be read now. */
	readonly failed: (source: Source, error: unknown) => void;
}

type Outcome = "more" | "done" | "full";

const READ_BYTES = 256 * 1024;
/** For the object store: others, an alarm among them, must not wait for it. It goes on reading meanwhile. */
const PATIENCE_MS = 500;
/** What the object store is to give is asked for again after so long. */
const LATER_MS = 1000;
/** What cannot be read for another reason is tried again after so long. */
const RETRY_MS = 60_000;

/** From `sources` in turn, a piece of each, until there is enough or nothing is left. undefined: there is nothing to send, nor to note. */
export async function buildShipment(sources: readonly Source[], options: BuildOptions): Promise<Shipment | undefined> {
	const { rebatcher } = options;
	const moves = new Map<Source, Position>();
	let waiting = [...sources];
	let isFull = false;
	while (waiting.length > 0 && !isFull) {
		const more: Source[] = [];
		for (const source of waiting) {
			let outcome: Outcome;
			try {
				outcome = await addPiece(source, moves, options);
			} catch (error) {
				// What was added so far belongs to no shipment: it must not be in the next one too.
				await rebatcher.seal().catch(() => undefined);
				throw error;
			}
			if (outcome === "more") more.push(source);
			isFull = outcome === "full" || rebatcher.rawBytes >= options.rawBytes;
			if (isFull) break;
		}
		waiting = more;
	}
	const { records, rawBytes } = rebatcher;
	const batches = await rebatcher.seal();
	if (moves.size === 0) return undefined;
	const wireBytes = batches.reduce((sum, { batch }) => sum + batch.length, 0);
	return { batches, moves, records, rawBytes, wireBytes, isFull };
}

async function addPiece(
	source: Source,
	moves: Map<Source, Position>,
	{ clock, rebatcher, pool, batchBytes, rawBytes, targetOf, excludedOf, failed }: BuildOptions,
): Promise<Outcome> {
	const position = moves.get(source) ?? source.position;
	const run = source.run(position);
	if (run === undefined || source.isGone) return "done";
	const { partition, flow } = source;
	// Who looks for a record that is not wanted sends little at a time.
	const to = Math.min(run.to, run.from + flow.recordsMax);
	const loan = new Loan(pool);
	let bytes: Buffer;
	try {
		bytes = await partition.read(run.from, READ_BYTES, to, loan.take, PATIENCE_MS);
	} catch (error) {
		loan.giveBack();
		const code = error instanceof BrokerError ? error.code : undefined;
		// Retention was quicker, or the topic was deleted: the next look finds out.
		if (code === "OFFSET_OUT_OF_RANGE" || code === "UNKNOWN_TOPIC_OR_PARTITION") return "done";
		const isLater = comesLater(error);
		source.retryAtMs = clock.monotonic() + (isLater ? LATER_MS : RETRY_MS);
		if (!isLater) failed(source, error);
		return "done";
	}
	const limits = { batchBytes: Math.min(batchBytes, flow.batchBytesMax), recordsMax: flow.recordsMax };
	// Where nothing is read, all the rest is damaged, and recorded as lost.
	let next = to;
	try {
		if (bytes.length > 0)
			next = rebatcher.add(partition, bytes, run.from, to, targetOf(source), limits, excludedOf(source), rawBytes);
	} catch (error) {
		// The next shipment is built without it.
		source.retryAtMs = clock.monotonic() + RETRY_MS;
		failed(source, error);
		throw error;
	} finally {
		loan.giveBack();
	}
	if (next === run.from) return "full";
	moves.set(source, sent(position, run.from, Math.min(next, to)));
	return flow.recordsMax === Number.POSITIVE_INFINITY ? "more" : "done";
}
