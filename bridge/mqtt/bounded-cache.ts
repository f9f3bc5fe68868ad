/**
 * A cache of at most about `capacity` entries and `bytesMax` bytes that costs one Map lookup per hit: two generations, of
 * which the older is dropped when the younger is full. What is asked for at least once per generation stays. What would
 * take more than a sixteenth of the bytes is not kept at all: MQTT topics may have 65,535 bytes, and clients choose them.
 */
const BYTES_MAX = 4 * 1024 * 1024;
const ENTRY_BYTES = 64;

export class BoundedCache<Value> {
	readonly #half: number;
	readonly #halfBytes: number;
	readonly #largestBytes: number;
	#young = new Map<string, Value>();
	#old = new Map<string, Value>();
	#youngBytes = 0;

	constructor(capacity: number, bytesMax = BYTES_MAX) {
		this.#half = Math.max(1, capacity >> 1);
		this.#halfBytes = bytesMax / 2;
		this.#largestBytes = bytesMax / 16;
	}

	/** `weight`: bytes of the value for each character of its key; it moves with an old entry that is asked for again. */
	get(key: string, weight = 1): Value | undefined {
		const young = this.#young.get(key);
		if (young !== undefined) return young;
		const old = this.#old.get(key);
		if (old !== undefined) this.set(key, old, weight);
		return old;
	}

	set(key: string, value: Value, weight = 1): void {
		const bytes = key.length * (weight + 1) + ENTRY_BYTES;
		if (bytes > this.#largestBytes) return;
		if (this.#young.size >= this.#half || this.#youngBytes + bytes > this.#halfBytes) {
			this.#old = this.#young;
			this.#young = new Map();
			this.#youngBytes = 0;
		}
		this.#young.set(key, value);
		this.#youngBytes += bytes;
	}

	clear(): void {
		this.#young.clear();
		this.#old.clear();
		this.#youngBytes = 0;
	}

	get size(): number {
		return this.#young.size + this.#old.size;
	}
}
