/**
 * Seeded randomness for simulations: the same seed gives the same numbers on every machine.
 * sfc32 (Chris Doty-Humphrey, PractRand), seeded by hashing the seed's text; never for secrets.
 */
import type { Random } from "./random.ts";

export class SimulatedRandom implements Random {
	readonly seed: string;
	#a: number;
	#b: number;
	#c: number;
	#counter = 1;

	constructor(seed: number | string) {
		this.seed = String(seed);
		this.#a = hashText(this.seed, 0x9e3779b9);
		this.#b = hashText(this.seed, 0x243f6a88);
		this.#c = hashText(this.seed, 0xb7e15162);
		for (let i = 0; i < 12; i++) this.u32();
	}

	/** A generator of its own for `name`: what one part of a simulation draws does not shift the draws of another. */
	fork(name: string): SimulatedRandom {
		return new SimulatedRandom(`${this.seed}/${name}`);
	}

	u32(): number {
		const sum = (this.#a + this.#b + this.#counter) | 0;
		this.#counter = (this.#counter + 1) | 0;
		this.#a = this.#b ^ (this.#b >>> 9);
		this.#b = (this.#c + (this.#c << 3)) | 0;
		this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
		return sum >>> 0;
	}

	bytes(count: number): Buffer {
		const bytes = Buffer.allocUnsafe(count);
		let i = 0;
		for (; i + 4 <= count; i += 4) bytes.writeUInt32LE(this.u32(), i);
		for (; i < count; i++) bytes[i] = this.u32() & 0xff;
		return bytes;
	}

	/** From 0 up to, not including, 1. */
	fraction(): number {
		return this.u32() / 2 ** 32;
	}

	/** A whole number from `low` to `high`, both included. */
	between(low: number, high: number): number {
		return low + Math.floor(this.fraction() * (high - low + 1));
	}

	/** True with `probability` (0 to 1). */
	chance(probability: number): boolean {
		return this.fraction() < probability;
	}

	/** One of `items`, which must not be empty. */
	pick<T>(items: readonly T[]): T {
		if (items.length === 0) throw new RangeError("pick: no items");
		return items[this.between(0, items.length - 1)] as T;
	}

	/** One of the names, as often as its weight among all the weights. */
	weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
		let total = 0;
		for (const name in weights) total += weights[name];
		let left = this.fraction() * total;
		let last: K | undefined;
		for (const name in weights) {
			if (weights[name] <= 0) continue;
			last = name;
			left -= weights[name];
			if (left < 0) return name;
		}
		if (last === undefined) throw new RangeError("weighted: no weights");
		return last;
	}
}

/** FNV-1a with a final avalanche (MurmurHash3's fmix32). */
function hashText(text: string, basis: number): number {
	let hash = basis;
	for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
	hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
	hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
	return (hash ^ (hash >>> 16)) | 0;
}
