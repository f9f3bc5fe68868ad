/**
 * Waiting for records in any number of partitions: it ends when enough bytes have become readable, when a partition is
 * deleted, after a time, or when it is cancelled. While it waits it costs a watcher for each partition and one timer;
 * nothing is read.
 */
import type { Clock, Timer } from "../base/clock.ts";
import type { Partition, Watcher } from "../log/partition.ts";

/** Who reads no further than the last stable offset reads committed records only. */
export type Isolation = "committed" | "uncommitted";

export function readableEnd(partition: Partition, isolation: Isolation): number {
	return isolation === "committed" ? partition.lastStableOffset : partition.highWatermark;
}

export interface DataWaitOptions {
	readonly clock: Clock;
	readonly isolation: Isolation;
	/** Partitions and, for each, up to where everything readable is known already. Belongs to the wait from now on. */
	readonly known: Map<Partition, number>;
	/** What must become readable beyond that. */
	readonly bytes: number;
	readonly waitMs: number;
}

export class DataWait implements Watcher {
	/** Resolves when the wait is over, for whatever reason. */
	readonly over: Promise<void>;
	readonly #isolation: Isolation;
	readonly #known: Map<Partition, number>;
	#missing: number;
	#timer: Timer | undefined;
	#resolve: () => void = () => {};
	#isOver = false;

	constructor({ clock, isolation, known, bytes, waitMs }: DataWaitOptions) {
		this.#isolation = isolation;
		this.#known = known;
		this.#missing = bytes;
		this.over = new Promise((resolve) => {
			this.#resolve = resolve;
		});
		// What came between the reader's look and now.
		for (const partition of known.keys()) this.advanced(partition);
		if (this.#isOver) return;
		for (const partition of known.keys()) partition.watch(this);
		this.#timer = clock.after(waitMs, () => this.end());
	}

	/** Called by a partition after a commit: what that brought is still in memory. */
	advanced(partition: Partition): void {
		if (this.#isOver) return;
		const known = this.#known.get(partition) ?? 0;
		const end = readableEnd(partition, this.#isolation);
		if (end <= known) return;
		this.#known.set(partition, end);
		const batches = partition.readTail(known, end);
		// In a file by now: there is enough, or the reader finds out.
		if (batches === undefined) this.#missing = 0;
		else for (const { length } of batches) this.#missing -= length;
		if (this.#missing <= 0) this.end();
	}

	closed(): void {
		this.end();
	}

	end(): void {
		if (this.#isOver) return;
		this.#isOver = true;
		this.#timer?.cancel();
		for (const partition of this.#known.keys()) partition.unwatch(this);
		this.#known.clear();
		this.#resolve();
	}
}
