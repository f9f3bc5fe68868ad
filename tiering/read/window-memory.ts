/**
 * What was fetched and is being read, in memory: a bounded number of bytes, counted from before a request until they go. A
 * request's bytes are kept and let go together. What somebody waits for stays until it has been read from, or for some
 * seconds: else many readers at once would only push out each other's windows and none would come on.
 */
import type { Clock } from "../../src/base/clock.ts";
import { freeMemory } from "./free-memory.ts";
import type { RangeWindow } from "./tiered-range.ts";

/** A reader that was told to ask again has asked by then. */
const PROTECTED_MS = 5000;

export interface Fetched {
	/** Consecutive ones. */
	readonly windows: readonly RangeWindow[];
	/** Theirs, from the first one's position on; of nobody else. */
	readonly bytes: Buffer;
	/** Asked for before anybody needed it. */
	readonly isAhead: boolean;
	/** The disk had it, not the store. */
	readonly isCached: boolean;
}

interface Chunk extends Fetched {
	usedMs: number;
	/** Who is working with the bytes: they stay so long, whatever becomes of the chunk. */
	users: number;
	isDropped: boolean;
	isTouched: boolean;
	/** It has been read to its end. */
	isDone: boolean;
}

export class WindowMemory {
	readonly #maxBytes: number;
	readonly #clock: Clock;
	/** By the id of each window. */
	readonly #byWindow = new Map<string, Chunk>();
	readonly #chunks = new Set<Chunk>();
	#bytes = 0;

	constructor(maxBytes: number, clock: Clock) {
		this.#maxBytes = maxBytes;
		this.#clock = clock;
	}

	/** Kept, and reserved for what is on its way. */
	get bytes(): number {
		return this.#bytes;
	}

	/**
	 * Whether there is room for `bytes`: it is taken, until `keep` or `giveBack`. What has been read to its end goes for it;
	 * for an urgent request also what has been read in part, or was fetched ahead. More than the bound is possible where nothing else is held.
	 */
	reserve(bytes: number, isUrgent: boolean): boolean {
		while (this.#bytes > 0 && this.#bytes + bytes > this.#maxBytes) {
			const victim = this.#victim(isUrgent);
			if (victim === undefined) return false;
			this.#drop(victim);
		}
		this.#bytes += bytes;
		return true;
	}

	/** The least recently used of what has been read, else of what may go. */
	#victim(isUrgent: boolean): Chunk | undefined {
		const freshMs = this.#clock.monotonic() - PROTECTED_MS;
		let found: Chunk | undefined;
		for (const chunk of this.#chunks) {
			const isAwaited = !chunk.isTouched && !chunk.isAhead;
			const mayGo = chunk.isDone || chunk.usedMs < freshMs || (isUrgent && !isAwaited);
			if (!mayGo || chunk.users > 0) continue;
			const isBetter =
				found === undefined || (chunk.isDone === found.isDone ? chunk.usedMs < found.usedMs : chunk.isDone);
			if (isBetter) found = chunk;
		}
		return found;
	}

	/** Of a reservation that came to nothing. */
	giveBack(bytes: number): void {
		this.#bytes -= bytes;
	}

	/** In the place of a reservation of as many bytes. */
	keep(fetched: Fetched): void {
		const chunk: Chunk = {
			...fetched,
			usedMs: this.#clock.monotonic(),
			users: 0,
			isDropped: false,
			isTouched: false,
			isDone: false,
		};
		this.#chunks.add(chunk);
		for (const window of chunk.windows) this.#byWindow.set(window.id, chunk);
	}

	has(window: RangeWindow): boolean {
		return this.#byWindow.has(window.id);
	}

	/** What `work` makes of the window's bytes, a view that is valid until it resolves; undefined where they are not here. */
	use<T>(window: RangeWindow, work: (bytes: Buffer, isCached: boolean) => Promise<T>): Promise<T> | undefined {
		const chunk = this.#byWindow.get(window.id);
		if (chunk === undefined) return undefined;
		chunk.usedMs = this.#clock.monotonic();
		chunk.isTouched = true;
		chunk.users += 1;
		const from = window.position - (chunk.windows[0] as RangeWindow).position;
		const bytes = chunk.bytes.subarray(from, from + window.sizeBytes);
		return work(bytes, chunk.isCached).finally(() => {
			chunk.users -= 1;
			if (chunk.isDropped && chunk.users === 0) freeMemory(chunk.bytes);
		});
	}

	/** The window has been read to its end. */
	finished(window: RangeWindow): void {
		const chunk = this.#byWindow.get(window.id);
		if (chunk !== undefined && chunk.windows.at(-1)?.id === window.id) chunk.isDone = true;
	}

	/** What came with the window is not to be used again. */
	drop(window: RangeWindow): void {
		const chunk = this.#byWindow.get(window.id);
		if (chunk !== undefined) this.#drop(chunk);
	}

	/** All but what is on its way. */
	clear(): void {
		for (const chunk of [...this.#chunks]) this.#drop(chunk);
	}

	#drop(chunk: Chunk): void {
		this.#chunks.delete(chunk);
		this.#bytes -= chunk.bytes.length;
		for (const { id } of chunk.windows) if (this.#byWindow.get(id) === chunk) this.#byWindow.delete(id);
		chunk.isDropped = true;
		if (chunk.users === 0) freeMemory(chunk.bytes);
	}
}
