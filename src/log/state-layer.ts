/**
 * State changes that the catalog does not have yet, of one stage on their way there: the newest of each (space, key).
 * Changing one is cheap, for it is on every message's way at QoS 2. What finds keys by what they begin with, or in their
 * order, is made when it is first asked for, and kept up from then on.
 */
import type { StateOperation } from "./entry.ts";
import { compareKeys, firstNotBefore, sortKeys } from "./key-order.ts";

/** Ends what stands for the owner of a row, in keys that have one. */
const OWNER_END = "\0";
/** What the engine needs to keep an entry, beside its key and value. */
const ENTRY_BYTES = 150;
/** The sorted keys are given up when what they do not have yet, or have too much, is more than that beside their number. */
const UNSORTED_MAX = 1024;

export class StateLayer {
	/** By space. */
	readonly #spaces = new Map<number, SpaceRows>();
	/** Roughly the memory of all operations. */
	bytes = 0;

	get size(): number {
		let size = 0;
		for (const rows of this.#spaces.values()) size += rows.byKey.size;
		return size;
	}

	get(space: number, key: string): StateOperation | undefined {
		return this.#spaces.get(space)?.byKey.get(key);
	}

	set(operation: StateOperation): void {
		let rows = this.#spaces.get(operation.space);
		if (rows === undefined) {
			rows = new SpaceRows();
			this.#spaces.set(operation.space, rows);
		}
		this.bytes += bytesOf(operation) - bytesOf(rows.set(operation));
	}

	/** Takes the operation out, as if there had been none. */
	remove(space: number, key: string): void {
		this.bytes -= bytesOf(this.#spaces.get(space)?.remove(key));
	}

	/** All operations, in no particular order. */
	*all(): Generator<StateOperation> {
		for (const rows of this.#spaces.values()) yield* rows.byKey.values();
	}

	/** All operations by space and key: what is written in that order touches each page of a tree once. */
	*inOrder(): Generator<StateOperation> {
		const bySpace = [...this.#spaces].sort(([a], [b]) => a - b);
		for (const [, rows] of bySpace) {
			for (const key of rows.sortedKeys()) {
				const operation = rows.byKey.get(key);
				if (operation !== undefined) yield operation;
			}
		}
	}

	/** Operations on keys that begin with `prefix`, in no particular order. */
	matching(space: number, prefix: string): Iterable<StateOperation> {
		return this.#spaces.get(space)?.matching(prefix) ?? [];
	}

	/** Stands at the first key from `from` on; undefined where there is none before `to`. */
	cursor(space: number, from: string, to: string | undefined): LayerCursor | undefined {
		const rows = this.#spaces.get(space);
		if (rows === undefined) return undefined;
		const keys = rows.sortedKeys();
		const at = firstNotBefore(keys, from);
		const end = to === undefined ? keys.length : firstNotBefore(keys, to);
		const cursor = new LayerCursor(keys, rows.byKey, at, end);
		return cursor.key === undefined ? undefined : cursor;
	}
}

/** Goes over a layer's operations of one space in the order of their keys. Good until the layer changes. */
export class LayerCursor {
	readonly #keys: readonly string[];
	readonly #byKey: ReadonlyMap<string, StateOperation>;
	#at: number;
	readonly #end: number;
	operation: StateOperation | undefined;

	constructor(keys: readonly string[], byKey: ReadonlyMap<string, StateOperation>, at: number, end: number) {
		this.#keys = keys;
		this.#byKey = byKey;
		this.#at = at - 1;
		this.#end = end;
		this.next();
	}

	/** Undefined at the end. */
	get key(): string | undefined {
		return this.operation?.key;
	}

	next(): void {
		this.operation = undefined;
		// A key that was removed may still be among the sorted ones.
		while (this.operation === undefined && ++this.#at < this.#end)
			this.operation = this.#byKey.get(this.#keys[this.#at] as string);
	}
}

class SpaceRows {
	readonly byKey = new Map<string, StateOperation>();
	/** Keys by owner, as soon as that was asked for. */
	#owned: Map<string, Set<string>> | undefined;
	/** As soon as that was asked for: all keys that there were then, rising. */
	#sorted: string[] | undefined;
	/** Keys set since. */
	#unsorted: string[] = [];
	/** Keys removed since. */
	#removed = 0;

	/** Returns what it replaces. */
	set(operation: StateOperation): StateOperation | undefined {
		const { key } = operation;
		const replaced = this.byKey.get(key);
		this.byKey.set(key, operation);
		if (replaced !== undefined) return replaced;
		if (this.#owned !== undefined) own(this.#owned, key);
		if (this.#sorted !== undefined) {
			this.#unsorted.push(key);
			if (this.#unsorted.length > this.#sorted.length + UNSORTED_MAX) this.#sorted = undefined;
		}
		return undefined;
	}

	/** Returns what was there. */
	remove(key: string): StateOperation | undefined {
		const removed = this.byKey.get(key);
		if (removed === undefined) return undefined;
		this.byKey.delete(key);
		if (this.#owned !== undefined) {
			const owner = ownerOf(key);
			const keys = this.#owned.get(owner);
			keys?.delete(key);
			if (keys?.size === 0) this.#owned.delete(owner);
		}
		if (this.#sorted !== undefined && ++this.#removed > this.#sorted.length / 2 + UNSORTED_MAX)
			this.#sorted = undefined;
		return removed;
	}

	*matching(prefix: string): Generator<StateOperation> {
		const owner = ownerOf(prefix);
		if (owner === "") {
			for (const operation of this.byKey.values()) if (operation.key.startsWith(prefix)) yield operation;
			return;
		}
		if (this.#owned === undefined) {
			this.#owned = new Map();
			for (const key of this.byKey.keys()) own(this.#owned, key);
		}
		for (const key of this.#owned.get(owner) ?? []) {
			if (key.startsWith(prefix)) yield this.byKey.get(key) as StateOperation;
		}
	}

	/** Has every key, each once, and perhaps some that were removed. */
	sortedKeys(): readonly string[] {
		if (this.#sorted === undefined) {
			this.#sorted = sortKeys([...this.byKey.keys()]);
			this.#removed = 0;
		} else if (this.#unsorted.length > 0) {
			this.#sorted = merged(this.#sorted, sortKeys(this.#unsorted));
		}
		this.#unsorted = [];
		return this.#sorted;
	}
}

/** With its end; "" where the key has none. */
function ownerOf(key: string): string {
	return key.slice(0, key.indexOf(OWNER_END) + 1);
}

function own(owned: Map<string, Set<string>>, key: string): void {
	const owner = ownerOf(key);
	if (owner === "") return;
	const keys = owned.get(owner);
	if (keys === undefined) owned.set(owner, new Set([key]));
	else keys.add(key);
}

/** Both in one, what both have once. */
function merged(left: readonly string[], right: readonly string[]): string[] {
	const all: string[] = [];
	let i = 0;
	for (const key of right) {
		let order = -1;
		while (i < left.length) {
			order = compareKeys(left[i] as string, key);
			if (order >= 0) break;
			all.push(left[i++] as string);
		}
		// A key may have been removed and set again.
		if (order === 0) i++;
		if (all.at(-1) !== key) all.push(key);
	}
	while (i < left.length) all.push(left[i++] as string);
	return all;
}

function bytesOf(operation: StateOperation | undefined): number {
	if (operation === undefined) return 0;
	return ENTRY_BYTES + operation.key.length + (operation.value?.length ?? 0);
}
