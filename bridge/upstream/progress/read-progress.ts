/**
 * Reads from the progress topic what concerns one gateway. To be called when the gateway's own transactions there are all
 * ended, that is, after InitProducerId: those of other gateways in the same partition may be open, and what lies behind them is
 * waited for. They end by their time-outs.
 */
import type { Clock } from "../../../src/base/clock.ts";
import { Patience } from "../../../src/base/patience.ts";
import { forEachRecord } from "../../../src/record/batch.ts";
import { partitionForKey } from "../../../src/record/partitioner.ts";
import { listOffset } from "../client/admin.ts";
import { pause } from "../client/attempts.ts";
import type { Cluster } from "../client/cluster.ts";
import { CommittedView } from "../client/committed.ts";
import { fetchPartition } from "../client/fetch.ts";
import { LinkError } from "../client/link-error.ts";
import { type Owner, ownerKey, type ProgressEntry, readProgress, type Sent, sentKey } from "./progress-record.ts";

export interface Progress {
	owner: Owner | undefined;
	/** By topic and partition, as `sentKey` has them. */
	readonly sent: Map<string, Sent>;
	/** Everything before it was read: the next reading may begin here. */
	nextOffset: number;
	/** Where the log of the progress topic ended when reading began. */
	endOffset: number;
}

export interface ProgressPlace {
	readonly topic: string;
	readonly partition: number;
	readonly gateway: string;
}

const FETCH_BYTES = 1024 * 1024;
const WAIT_MS = 1000;
/** Longer than most transactions may take: then it is said, and waited for anew. */
const OPEN_MAX_MS = 60_000;
/** Sooner than that others' transactions end by themselves. */
const STUCK_MS = 5000;
/** Values are some hundred bytes. */
const DECOMPRESSED_MAX = 16 * 1024 * 1024;

/** Where a gateway's progress is, in a progress topic of so many partitions. */
export function progressPlace(topic: string, partitions: number, gateway: string): ProgressPlace {
	return { topic, gateway, partition: partitionForKey(Buffer.from(ownerKey(gateway)), partitions) };
}

export interface ReadOptions {
	readonly clock: Clock;
	readonly signal: AbortSignal;
	/** Reading has stood still at this offset for a while: called once. */
	readonly stuck: (offset: number) => Promise<void>;
	/** `latest`: waits for open transactions, which may be the gateway's own of the run before; `committed`: up to the first of them. */
	readonly until: "latest" | "committed";
	/** Records about this gateway that cannot be read are as if they were not there. */
	readonly skipsUnreadable?: boolean;
}

/**
 * What there is from `from` on, up to the present end. `from` before the log's start is its start. Rejects
 * with LinkError, KafkaError, and RangeError where records about this gateway cannot be read.
 */
export async function readOwnProgress(
	cluster: Cluster,
	{ topic, partition, gateway }: ProgressPlace,
	from: number,
	how: ReadOptions,
): Promise<Progress> {
	const { signal, until, skipsUnreadable = false } = how;
	const earliest = await listOffset(cluster, topic, partition, "earliest", signal);
	const endOffset = await listOffset(cluster, topic, partition, until, signal);
	const progress: Progress = { owner: undefined, sent: new Map(), nextOffset: Math.max(from, earliest), endOffset };
	const view = new CommittedView();
	const standstill = new Standstill(`${topic}-${partition}`, how);
	while (progress.nextOffset < endOffset) {
		const { nextOffset } = progress;
		const options = { isolation: "committed", maxBytes: FETCH_BYTES, maxWaitMs: WAIT_MS, signal } as const;
		const fetched = await fetchPartition(cluster, topic, partition, nextOffset, options);
		progress.nextOffset = view.walk(fetched, nextOffset, (bytes, position) =>
			forEachRecord(
				bytes,
				position,
				({ offset, source, keyStart, keyEnd, valueStart, valueEnd }) => {
					if (offset < nextOffset) return;
					const key = keyStart < 0 ? null : source.subarray(keyStart, keyEnd);
					const value = valueStart < 0 ? null : source.subarray(valueStart, valueEnd);
					let entry: ProgressEntry | undefined;
					try {
						entry = readProgress(gateway, key, value);
					} catch (error) {
						if (!skipsUnreadable || !(error instanceof RangeError)) throw error;
					}
					if (entry?.kind === "owner") progress.owner = entry.owner;
					else if (entry !== undefined) progress.sent.set(sentKey(entry.topic, entry.partition), entry.sent);
				},
				DECOMPRESSED_MAX,
			),
		);
		if (progress.nextOffset > nextOffset) continue;
		await standstill.wait(nextOffset);
	}
	return progress;
}

/** Whether the batch at `offset`, of producer `producerId`, was committed. Waits until that can be told; rejects as `readOwnProgress`. */
export async function isCommitted(
	cluster: Cluster,
	{ topic, partition }: ProgressPlace,
	offset: number,
	producerId: number,
	how: Pick<ReadOptions, "clock" | "signal" | "stuck">,
): Promise<boolean> {
	const { signal } = how;
	const standstill = new Standstill(`${topic}-${partition}`, how);
	for (;;) {
		const options = { isolation: "committed", maxBytes: 1, maxWaitMs: WAIT_MS, signal } as const;
		const fetched = await fetchPartition(cluster, topic, partition, offset, options);
		if (fetched.lastStableOffset > offset) {
			let found = false;
			new CommittedView().walk(fetched, offset, (_bytes, _position, header) => {
				if (header.baseOffset <= offset && header.lastOffset >= offset) found = header.producerId === producerId;
			});
			return found;
		}
		await standstill.wait(fetched.lastStableOffset);
	}
}

/** Nothing more is committed for the moment: it is waited for, looked into, and at last told. */
class Standstill {
	readonly #where: string;
	readonly #how: Pick<ReadOptions, "clock" | "signal" | "stuck">;
	readonly #patience: Patience;
	#isLookedInto = false;

	constructor(where: string, how: Pick<ReadOptions, "clock" | "signal" | "stuck">) {
		this.#where = where;
		this.#how = how;
		this.#patience = new Patience(how.clock, OPEN_MAX_MS);
	}

	/** Rejects with LinkError when it has taken too long. */
	async wait(offset: number): Promise<void> {
		const { clock, signal, stuck } = this.#how;
		if (this.#patience.leftMs === 0)
			throw new LinkError("timeout", `${this.#where} has a transaction of somebody else that does not end`, {
				action: "find it with kafka-transactions.sh find-hanging, and abort it",
			});
		if (!this.#isLookedInto && this.#patience.spentMs > STUCK_MS) {
			this.#isLookedInto = true;
			await stuck(offset);
		}
		// A broker that answers at once though there is nothing would be asked all the time.
		await pause(clock, WAIT_MS / 4, signal);
	}
}
