/**
 * A range of a partition in an object, cut into the windows that are fetched, kept and shared: consecutive blocks worth a
 * request. The cut depends on the range alone, so every reader, and every run, finds the same windows.
 */
import type { Block } from "../bundle/block.ts";
import type { ObjectWindow } from "./window-cache.ts";

/** Blocks from `firstBlock` up to `endBlock` of a range. */
export interface RangeWindow extends ObjectWindow {
	/** Unlike any other's. */
	readonly id: string;
	readonly index: number;
	readonly firstBlock: number;
	readonly endBlock: number;
}

export class TieredRange {
	readonly partitionId: number;
	readonly key: string;
	/** It stands for all records from here up to `nextOffset`; compaction may have left holes. */
	readonly baseOffset: number;
	readonly nextOffset: number;
	readonly blocks: readonly Block[];
	readonly windows: readonly RangeWindow[];

	/** `windowBytes`: a window has more only where a block has. */
	constructor(
		place: {
			readonly partitionId: number;
			readonly key: string;
			readonly baseOffset: number;
			readonly nextOffset: number;
		},
		blocks: readonly Block[],
		windowBytes: number,
	) {
		this.partitionId = place.partitionId;
		this.key = place.key;
		this.baseOffset = place.baseOffset;
		this.nextOffset = place.nextOffset;
		this.blocks = blocks;
		this.windows = cutWindows(place.key, blocks, windowBytes);
	}

	/** Index of the first block with a record at `offset` or behind it; undefined where there is none. */
	blockAt(offset: number): number | undefined {
		return firstIndex(this.blocks.length, (i) => (this.blocks[i] as Block).nextOffset > offset);
	}

	/** The window that has the block with this index. */
	windowOf(block: number): RangeWindow {
		const index = firstIndex(this.windows.length, (i) => (this.windows[i] as RangeWindow).endBlock > block);
		if (index === undefined) throw new RangeError(`block ${block} of ${this.blocks.length} of ${this.key}`);
		return this.windows[index] as RangeWindow;
	}
}

function cutWindows(key: string, blocks: readonly Block[], windowBytes: number): RangeWindow[] {
	const windows: RangeWindow[] = [];
	for (let firstBlock = 0; firstBlock < blocks.length; ) {
		const { position } = blocks[firstBlock] as Block;
		let endBlock = firstBlock;
		let sizeBytes = 0;
		do {
			sizeBytes += (blocks[endBlock] as Block).storedBytes;
			endBlock += 1;
		} while (endBlock < blocks.length && sizeBytes + (blocks[endBlock] as Block).storedBytes <= windowBytes);
		const id = `${key} at byte ${position}`;
		windows.push({ id, key, position, sizeBytes, index: windows.length, firstBlock, endBlock });
		firstBlock = endBlock;
	}
	return windows;
}

/** The first of `count` numbers for which `isBehind`, which is true of all that follow such a one. */
function firstIndex(count: number, isBehind: (index: number) => boolean): number | undefined {
	let low = 0;
	let high = count;
	while (low < high) {
		const middle = (low + high) >>> 1;
		if (isBehind(middle)) high = middle;
		else low = middle + 1;
	}
	return low < count ? low : undefined;
}
