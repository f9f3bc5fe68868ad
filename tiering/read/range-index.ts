/** Which range of which object has a record: from the catalog, the most recently used ones kept decoded. */
import type { RangeRow, TierCatalog } from "../../src/catalog/tier-catalog.ts";
import { decodeBlocks } from "../bundle/block-index.ts";
import { TieredRange } from "./tiered-range.ts";

/** Kept; each block takes some 100 bytes. */
const BLOCKS_MAX = 8192;
const RANGES_MAX = 64;

export class RangeIndex {
	readonly #catalog: TierCatalog;
	readonly #windowBytes: number;
	/** The least recently used first. */
	#ranges: TieredRange[] = [];
	#blocks = 0;

	/** `windowBytes`: see TieredRange. */
	constructor(catalog: TierCatalog, windowBytes: number) {
		this.#catalog = catalog;
		this.#windowBytes = windowBytes;
	}

	/** The range that holds `offset`, or the first one behind it. Throws Error where what the catalog has of it makes no sense. */
	at(partitionId: number, offset: number): TieredRange | undefined {
		const index = this.#ranges.findIndex(
			(range) => range.partitionId === partitionId && range.baseOffset <= offset && offset < range.nextOffset,
		);
		if (index < 0) return this.#keep(this.#catalog.rangeAt(partitionId, offset));
		const [range] = this.#ranges.splice(index, 1) as [TieredRange];
		this.#ranges.push(range);
		return range;
	}

	/** The one that begins where `range` ends. undefined too where what the catalog has of it makes no sense: `at` says that. */
	after(range: TieredRange): TieredRange | undefined {
		try {
			const next = this.at(range.partitionId, range.nextOffset);
			return next?.baseOffset === range.nextOffset ? next : undefined;
		} catch {
			return undefined;
		}
	}

	/** The first range with records at `offset` or behind it that has one of `timestampMs` or later. Throws as `at`. */
	forTime(partitionId: number, offset: number, timestampMs: number): TieredRange | undefined {
		return this.#keep(this.#catalog.rangeForTime(partitionId, offset, timestampMs));
	}

	/** What is known of the partition may be out of date. */
	forget(partitionId: number): void {
		this.#ranges = this.#ranges.filter((range) => range.partitionId !== partitionId);
		this.#count();
	}

	clear(): void {
		this.#ranges = [];
		this.#blocks = 0;
	}

	#keep(row: RangeRow | undefined): TieredRange | undefined {
		if (row === undefined) return undefined;
		const isRow = ({ partitionId, baseOffset, key }: TieredRange): boolean =>
			partitionId === row.partitionId && baseOffset === row.baseOffset && key === row.key;
		const kept = this.#ranges.find(isRow);
		if (kept !== undefined) return kept;
		const range = new TieredRange(row, decodeBlocks(row.blocks, row.baseOffset), this.#windowBytes);
		this.#ranges.push(range);
		this.#blocks += range.blocks.length;
		while (this.#ranges.length > 1 && (this.#ranges.length > RANGES_MAX || this.#blocks > BLOCKS_MAX))
			this.#blocks -= this.#ranges.shift()?.blocks.length ?? 0;
		return range;
	}

	#count(): void {
		this.#blocks = 0;
		for (const { blocks } of this.#ranges) this.#blocks += blocks.length;
	}
}
