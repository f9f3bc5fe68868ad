/**
 * High-rate state: small values under (space, key) that change together with records. A change
 * travels in the journal entry of its commit; the catalog has what the last checkpoint wrote; this
 * holds what came since. Reads see the newest value, durable or not, as appends see their offsets.
 *
 * Memory: what no checkpoint has written yet is counted, so that one can be begun in time. Of what the
 * catalog has, nothing is held.
 */
import type { Catalog, StateChange, StateRow } from "../catalog/catalog.ts";
import type { StateOperation } from "./entry.ts";
import { behindPrefix, compareKeys, keyBehind } from "./key-order.ts";
import { type LayerCursor, StateLayer } from "./state-layer.ts";

/** So much waits for a checkpoint at most, roughly; what is being written meanwhile comes on top. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
/** What a scan reads from the catalog at a time. */
const SCAN_ROWS = 256;
const SCAN_BYTES = 256 * 1024;

export class StateTable {
	readonly #catalog: Catalog;
	#gathering = new StateLayer();
	/** Of commits that are being written, oldest first. */
	readonly #committing: StateLayer[] = [];
	#committed = new StateLayer();
	/** Being written to the catalog. */
	#checkpointing: StateLayer | undefined;

	constructor(catalog: Catalog) {
		this.#catalog = catalog;
	}

	/** Adds to the commit being gathered; a value of undefined deletes. */
	set(space: number, key: string, value: Uint8Array | undefined): void {
		this.#gathering.set({ space, key, value });
	}

	get(space: number, key: string): Uint8Array | undefined {
		let found = this.#gathering.get(space, key);
		for (let i = this.#committing.length - 1; found === undefined && i >= 0; i--)
			found = this.#committing[i]?.get(space, key);
		found ??= this.#committed.get(space, key) ?? this.#checkpointing?.get(space, key);
		return found === undefined ? this.#catalog.getState(space, key) : found.value;
	}

	/**
	 * All whose key begins with `prefix`, in no particular order. With a prefix up to a NUL, or beyond, it costs no more
	 * than what begins with the part up to the NUL.
	 */
	*scan(space: number, prefix: string): Generator<StateRow> {
		const seen = new Set<string>();
		for (const layer of this.#layers()) {
			for (const { key, value } of layer.matching(space, prefix)) {
				if (seen.has(key)) continue;
				seen.add(key);
				if (value !== undefined) yield [key, value];
			}
		}
		const to = behindPrefix(prefix);
		for (let from = prefix; ; ) {
			const { rows, more } = this.#catalog.pageState(space, from, to, SCAN_ROWS, SCAN_BYTES);
			for (const row of rows) if (!seen.has(row[0])) yield row;
			if (!more) return;
			from = keyBehind((rows.at(-1) as StateRow)[0]);
		}
	}

	/**
	 * Rows with keys from `from` on and before `to` (undefined: to the end), in key order: at most `limit`, and none after
	 * the one whose value makes `bytesMax` full. Only at the end there are none.
	 */
	page(
		space: number,
		from: string,
		to: string | undefined,
		limit: number,
		bytesMax = Number.POSITIVE_INFINITY,
	): StateRow[] {
		const cursors: LayerCursor[] = [];
		for (const layer of this.#layers()) {
			const cursor = layer.cursor(space, from, to);
			if (cursor !== undefined) cursors.push(cursor);
		}
		let { rows: stored, more } = this.#catalog.pageState(space, from, to, limit, bytesMax);
		if (cursors.length === 0) return stored;
		const page: StateRow[] = [];
		let at = 0;
		for (let bytes = 0; page.length < limit && bytes < bytesMax; ) {
			if (at === stored.length && more) {
				const next = keyBehind((stored.at(-1) as StateRow)[0]);
				({ rows: stored, more } = this.#catalog.pageState(space, next, to, limit, bytesMax));
				at = 0;
			}
			let key = stored[at]?.[0];
			let value = stored[at]?.[1];
			// Newest first: of those that stand at the same key, the first has its value.
			let newest: LayerCursor | undefined;
			for (const cursor of cursors) {
				if (cursor.key === undefined) continue;
				const order = key === undefined ? -1 : compareKeys(cursor.key, key);
				if (order > 0 || (order === 0 && newest !== undefined)) continue;
				newest = cursor;
				key = cursor.key;
				value = cursor.operation?.value;
			}
			if (key === undefined) break;
			if (stored[at]?.[0] === key) at++;
			for (const cursor of cursors) if (cursor.key === key) cursor.next();
			if (value === undefined) continue;
			page.push([key, value]);
			bytes += value.length;
		}
		return page;
	}

	/** What the commit that begins now carries. */
	takeGathered(): StateOperation[] {
		if (!this.gathering) {
			this.#committing.push(NOTHING);
			return [];
		}
		const layer = this.#gathering;
		this.#gathering = new StateLayer();
		this.#committing.push(layer);
		return [...layer.all()];
	}

	/** The oldest commit under way is durable. */
	committed(): void {
		const layer = this.#committing.shift();
		if (layer !== undefined && layer !== NOTHING) for (const operation of layer.all()) this.#commit(operation);
	}

	/** Found in the journal at start. */
	replayed(operation: StateOperation): void {
		this.#commit(operation);
	}

	#commit(operation: StateOperation): void {
		const { space, key } = operation;
		// What came and went since the checkpoint leaves nothing to be written: so it is with every message at QoS 2.
		if (
			operation.value === undefined &&
			this.#committed.get(space, key) !== undefined &&
			this.#checkpointing?.get(space, key) === undefined &&
			!this.#isStored(space, key)
		) {
			this.#committed.remove(space, key);
		} else {
			this.#committed.set(operation);
		}
	}

	#isStored(space: number, key: string): boolean {
		try {
			return this.#catalog.hasState(space, key);
		} catch {
			// A catalog that cannot be read is for the checkpoint to report.
			return true;
		}
	}

	get gathering(): boolean {
		return this.#gathering.bytes > 0;
	}

	/** Whether so much waits that a checkpoint is due. What one that runs is writing does not count. */
	get checkpointDue(): boolean {
		return this.#committed.bytes > WAITING_BYTES_MAX;
	}

	/** What a checkpoint that begins now has to write; `checkpointed` or `checkpointFailed` must follow. */
	beginCheckpoint(): Iterable<StateChange> {
		this.#checkpointing = this.#committed;
		this.#committed = new StateLayer();
		return this.#checkpointing.inOrder();
	}

	checkpointed(): void {
		this.#checkpointing = undefined;
	}

	checkpointFailed(): void {
		const newer = this.#committed;
		this.#committed = this.#checkpointing ?? new StateLayer();
		this.#checkpointing = undefined;
		for (const operation of newer.all()) this.#commit(operation);
	}

	/** Newest first. */
	#layers(): StateLayer[] {
		const layers = [this.#gathering, ...this.#committing.toReversed(), this.#committed];
		if (this.#checkpointing !== undefined) layers.push(this.#checkpointing);
		return layers;
	}
}

const NOTHING = new StateLayer();
