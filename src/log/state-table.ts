/**
 * High-rate state: small values under (space, key) that change together with records. A change
 * travels in the journal entry of its commit; the catalog has what the last checkpoint wrote; this
 * holds what came since. Reads see the newest value, durable or not, as appends see their offsets.
 */
import type { Catalog, StateChange } from "../catalog/catalog.ts";
import type { StateOperation } from "./entry.ts";

type Layer = Map<string, StateOperation>;

export class StateTable {
	readonly #catalog: Catalog;
	#gathering: Layer = new Map();
	/** Of commits that are being written, oldest first. */
	readonly #committing: Layer[] = [];
	#committed: Layer = new Map();
	/** Being written to the catalog. */
	#checkpointing: Layer | undefined;

	constructor(catalog: Catalog) {
		this.#catalog = catalog;
	}

	/** Adds to the commit being gathered; a value of undefined deletes. */
	set(space: number, key: string, value: Uint8Array | undefined): void {
		this.#gathering.set(`${space}/${key}`, { space, key, value });
	}

	get(space: number, key: string): Uint8Array | undefined {
		const name = `${space}/${key}`;
		for (const layer of this.#layers()) {
			const found = layer.get(name);
			if (found !== undefined) return found.value;
		}
		return this.#catalog.getState(space, key);
	}

	/** All whose key begins with `prefix`, in no particular order. */
	*scan(space: number, prefix: string): Generator<[key: string, value: Uint8Array]> {
		const seen = new Set<string>();
		for (const layer of this.#layers()) {
			for (const { space: itsSpace, key, value } of layer.values()) {
				if (itsSpace !== space || !key.startsWith(prefix) || seen.has(key)) continue;
				seen.add(key);
				if (value !== undefined) yield [key, value];
			}
		}
		for (const { key, value } of this.#catalog.scanState(space, prefix)) if (!seen.has(key)) yield [key, value];
	}

	/** What the commit that begins now carries. */
	takeGathered(): StateOperation[] {
		if (this.#gathering.size === 0) {
			this.#committing.push(NOTHING);
			return [];
		}
		const layer = this.#gathering;
		this.#gathering = new Map();
		this.#committing.push(layer);
		return [...layer.values()];
	}

	/** The oldest commit under way is durable. */
	committed(): void {
		for (const [name, operation] of this.#committing.shift() ?? []) this.#committed.set(name, operation);
	}

	/** Found in the journal at start. */
	replayed(operation: StateOperation): void {
		this.#committed.set(`${operation.space}/${operation.key}`, operation);
	}

	get gathering(): boolean {
		return this.#gathering.size > 0;
	}

	/** What a checkpoint that begins now has to write; `checkpointed` or `checkpointFailed` must follow. */
	beginCheckpoint(): Iterable<StateChange> {
		this.#checkpointing = this.#committed;
		this.#committed = new Map();
		return this.#checkpointing.values();
	}

	checkpointed(): void {
		this.#checkpointing = undefined;
	}

	checkpointFailed(): void {
		const newer = this.#committed;
		this.#committed = this.#checkpointing ?? new Map();
		for (const [name, operation] of newer) this.#committed.set(name, operation);
		this.#checkpointing = undefined;
	}

	*#layers(): Generator<Layer> {
		yield this.#gathering;
		for (let i = this.#committing.length - 1; i >= 0; i--) yield this.#committing[i] as Layer;
		yield this.#committed;
		if (this.#checkpointing !== undefined) yield this.#checkpointing;
	}
}

const NOTHING: Layer = new Map();
