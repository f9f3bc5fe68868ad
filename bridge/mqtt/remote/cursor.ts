/**
 * Where an outbound rule stands in one partition, without memory per event: offsets still to be sent are ranges. Oldest first
 * is one range without an end. Newest first sends what comes now at once, and what lies behind it in chunks, the newest chunk
 * first, each in order. Only what is acknowledged is behind the cursor: what `remaining` says is what a crash sends again.
 */

/** Offsets from `start` up to, not including, `end`. */
export interface Range {
	start: number;
	end: number;
}

export type Order = "oldest-first" | "newest-first";

/** Offsets that newest-first sends in their order. */
export const CHUNK_OFFSETS = 256;
/** Gaps between what was sent and what was not that newest-first leaves behind it; then it waits for one to be filled. */
export const RANGES_MAX = 64;

/** A range that is being sent in order. */
export class Run {
	/** The next offset to look at. */
	next: number;
	end: number;
	/** Sent and not acknowledged: sent[head..). */
	readonly #sent: number[] = [];
	#head = 0;
	/** Acknowledged before one that was sent earlier. */
	#early: Set<number> | undefined;

	constructor(next: number, end: number) {
		this.next = next;
		this.end = end;
	}

	sent(offset: number): void {
		this.#sent.push(offset);
	}

	acknowledged(offset: number): void {
		const sent = this.#sent;
		if (sent[this.#head] !== offset) {
			this.#early ??= new Set();
			this.#early.add(offset);
			return;
		}
		this.#head++;
		while (this.#early?.delete(sent[this.#head]!)) this.#head++;
		if (this.#head === sent.length) {
			sent.length = 0;
			this.#head = 0;
		} else if (this.#head >= 1024) {
			sent.splice(0, this.#head);
			this.#head = 0;
		}
	}

	/** Everything before it is acknowledged or concerns nobody. */
	get low(): number {
		return this.#head < this.#sent.length ? this.#sent[this.#head]! : this.next;
	}

	get settled(): boolean {
		return this.next >= this.end && this.#head === this.#sent.length;
	}
}

export class Cursor {
	readonly order: Order;
	/** What comes from now on. */
	#live: Run;
	/** Begun chunks, and what was live before a cut. */
	#runs: Run[] = [];
	/** Not begun: ascending, apart from each other. */
	#pending: Range[];

	constructor(order: Order, next: number, pending: readonly Range[] = []) {
		this.order = order;
		this.#live = new Run(next, Number.POSITIVE_INFINITY);
		this.#pending = merged(pending.filter(({ start, end }) => start < end && end <= next));
	}

	/** The run to go on with, given the partition's high watermark; undefined when all of it is sent. */
	take(highWatermark: number): Run | undefined {
		this.#runs = this.#runs.filter((run) => !run.settled);
		if (this.order === "newest-first" && highWatermark - this.#live.next > CHUNK_OFFSETS) this.cut(highWatermark);
		if (this.#live.next < highWatermark) return this.#live;
		const begun = this.#runs.find((run) => run.next < run.end);
		if (begun !== undefined) return begun;
		const newest = this.#pending.at(-1);
		if (newest === undefined) return undefined;
		const start = this.order === "oldest-first" ? newest.start : Math.max(newest.start, newest.end - CHUNK_OFFSETS);
		const run = new Run(start, newest.end);
		if (start === newest.start) this.#pending.pop();
		else newest.end = start;
		this.#runs.push(run);
		return run;
	}

	/** Newest first: what lies between the last event sent live and `highWatermark` is sent later. */
	cut(highWatermark: number): void {
		const live = this.#live;
		if (this.order !== "newest-first" || live.next >= highWatermark) return;
		const last = this.#pending.at(-1);
		const joins = last !== undefined && last.end === live.next;
		if (!joins && this.#pending.length >= RANGES_MAX) return;
		if (joins) last.end = highWatermark;
		else this.#pending.push({ start: live.next, end: highWatermark });
		live.end = live.next;
		if (!live.settled) this.#runs.push(live);
		this.#live = new Run(highWatermark, Number.POSITIVE_INFINITY);
	}

	/** The connection is gone: what was not acknowledged is to be sent again. */
	reset(): void {
		const { next, ranges } = this.remaining();
		this.#live = new Run(next, Number.POSITIVE_INFINITY);
		this.#runs = [];
		this.#pending = ranges;
	}

	/** Retention has taken what is before `logStart`; returns how many offsets of it were still to be sent. */
	trim(logStart: number): number {
		let taken = 0;
		for (const run of [this.#live, ...this.#runs]) {
			const to = Math.min(logStart, run.end);
			if (run.next >= to) continue;
			taken += to - run.next;
			run.next = to;
		}
		while (this.#pending.length > 0 && this.#pending[0]!.start < logStart) {
			const oldest = this.#pending[0]!;
			const to = Math.min(logStart, oldest.end);
			taken += to - oldest.start;
			oldest.start = to;
			if (oldest.start === oldest.end) this.#pending.shift();
			else break;
		}
		return taken;
	}

	/** What is not acknowledged: all from `next` on, and the ranges before it. */
	remaining(): { next: number; ranges: Range[] } {
		const unsettled = this.#runs.filter((run) => !run.settled).map((run) => ({ start: run.low, end: run.end }));
		return { next: this.#live.low, ranges: merged([...this.#pending, ...unsettled]) };
	}

	/** How many offsets below `highWatermark` are not acknowledged. */
	lag(highWatermark: number): number {
		const { next, ranges } = this.remaining();
		return ranges.reduce((sum, { start, end }) => sum + end - start, Math.max(0, highWatermark - next));
	}
}

/** Ascending, with those that touch made one. */
function merged(ranges: readonly Range[]): Range[] {
	const result: Range[] = [];
	for (const { start, end } of [...ranges].sort((a, b) => a.start - b.start)) {
		const last = result.at(-1);
		if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end);
		else result.push({ start, end });
	}
	return result;
}
