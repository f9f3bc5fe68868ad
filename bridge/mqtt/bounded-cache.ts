/**
 * A cache of at most about `capacity` entries that costs one Map lookup per hit: two generations, of which the older is
 * dropped when the younger is full. What is asked for at least once per generation stays.
 */
export class BoundedCache<Value> {
	readonly #half: number;
	#young = new Map<string, Value>();
	#old = new Map<string, Value>();

	constructor(capacity: number) {
		this.#half = Math.max(1, capacity >> 1);
	}

	get(key: string): Value | undefined {
		const young = this.#young.get(key);
		if (young !== undefined) return young;
		const old = this.#old.get(key);
		if (old !== undefined) this.set(key, old);
		return old;
	}

	set(key: string, value: Value): void {
		if (this.#young.size >= this.#half) {
			this.#old = this.#young;
			this.#young = new Map();
		}
		this.#young.set(key, value);
	}

	clear(): void {
		this.#young.clear();
		this.#old.clear();
	}

	get size(): number {
		return this.#young.size + this.#old.size;
	}
}
