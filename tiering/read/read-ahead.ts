/**
 * What to fetch for a reader that goes on: more at once the longer it does, and the next before it asks, across the ends of
 * ranges, never beyond what it will read from the store.
 */
import type { Block } from "../bundle/block.ts";
import type { RangeIndex } from "./range-index.ts";
import type { ReadStream, ReadStreams } from "./read-streams.ts";
import type { RangeWindow, TieredRange } from "./tiered-range.ts";
import type { WindowCache } from "./window-cache.ts";
import type { WindowFetcher } from "./window-fetcher.ts";
import type { WindowMemory } from "./window-memory.ts";

export interface ReadAheadParts {
	readonly memory: WindowMemory;
	readonly fetcher: WindowFetcher;
	readonly cache: WindowCache;
	readonly ranges: RangeIndex;
	readonly streams: ReadStreams;
}

/** Of objects, for all sequential readers together. */
export const AHEAD_BYTES_MAX = 4 * 1024 * 1024;
/** Half of that, so that the next is on its way while one is read. */
const GET_BYTES_MAX = AHEAD_BYTES_MAX / 2;
/** Small ranges follow one another: so many are looked at. */
const RANGES_MAX = 4;

export class ReadAhead {
	readonly #parts: ReadAheadParts;

	constructor(parts: ReadAheadParts) {
		this.#parts = parts;
	}

	/** What one request for `window` is to bring: that and what `stream` will read next. From `end` on it reads elsewhere. */
	together(range: TieredRange, window: RangeWindow, stream: ReadStream, end: number): RangeWindow[] {
		const bytes = Math.min(this.#parts.streams.aheadBytes(stream), GET_BYTES_MAX);
		return this.#run(range, window.index, bytes, end);
	}

	/** `stream` has come to `window`: sees to it that what follows is here, or on its way, when half of that is used up. */
	goOn(range: TieredRange, window: RangeWindow, stream: ReadStream, end: number): void {
		const { streams, fetcher, ranges } = this.#parts;
		const aheadBytes = streams.aheadBytes(stream);
		let covered = 0;
		let began = false;
		let at: TieredRange | undefined = range;
		let index = window.index + 1;
		for (let seen = 0; at !== undefined && seen < RANGES_MAX && covered < aheadBytes; seen++) {
			while (index < at.windows.length && covered < aheadBytes) {
				const next = at.windows[index] as RangeWindow;
				if (!isBefore(at, next, end)) return;
				if (this.#isHere(next)) {
					covered += next.sizeBytes;
					index += 1;
					continue;
				}
				if (!began && covered * 2 >= aheadBytes) return;
				const run = this.#run(at, index, Math.min(aheadBytes - covered, GET_BYTES_MAX), end);
				if (!fetcher.fetchAhead(at.partitionId, run)) return;
				if (!began) streams.lengthen(stream);
				began = true;
				for (const { sizeBytes } of run) covered += sizeBytes;
				index += run.length;
			}
			at = ranges.after(at);
			index = 0;
		}
	}

	/** Windows from `index` on, one at least, up to `bytes`, and none that is here already or lies behind `end`. */
	#run(range: TieredRange, index: number, bytes: number, end: number): RangeWindow[] {
		const run: RangeWindow[] = [];
		let sum = 0;
		for (let i = index; i < range.windows.length; i++) {
			const window = range.windows[i] as RangeWindow;
			sum += window.sizeBytes;
			if (run.length > 0 && (sum > bytes || !isBefore(range, window, end) || this.#isHere(window))) break;
			run.push(window);
		}
		return run;
	}

	#isHere(window: RangeWindow): boolean {
		const { memory, fetcher, cache } = this.#parts;
		return memory.has(window) || fetcher.isUnderWay(window) || cache.has(window);
	}
}

/** Whether records in it are before `end`. */
function isBefore(range: TieredRange, window: RangeWindow, end: number): boolean {
	return (range.blocks[window.firstBlock] as Block).baseOffset < end;
}
