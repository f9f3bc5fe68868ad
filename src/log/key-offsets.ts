/**
 * The newest offset of each key, in memory of a fixed size, while a partition is compacted. A key is known by
 * 128 bits of SipHash-1-3 under a seed that nobody outside can know: two keys that a client chose will not be
 * taken for one another, by which one would be lost.
 *
 * Open addressing with linear probing; a slot is six 32-bit words, the hash and the offset plus one (0: free).
 */

const SLOT_WORDS = 6;
export const SLOT_BYTES = SLOT_WORDS * 4;
const LOAD_MAX = 0.75;
const TWO_32 = 0x1_0000_0000;

export class KeyOffsets {
	readonly #slots: number;
	readonly #table: Uint32Array;
	readonly #capacity: number;
	#size = 0;
	/** Of the two 64-bit words of the seed, the halves. */
	readonly #seed: readonly [number, number, number, number];
	readonly #hash = new Int32Array(4);

	/** `memoryBytes` is all that it ever takes; `seed`: 16 random bytes. */
	constructor(memoryBytes: number, seed: Buffer) {
		this.#slots = Math.max(8, Math.floor(memoryBytes / SLOT_BYTES));
		this.#table = new Uint32Array(this.#slots * SLOT_WORDS);
		this.#capacity = Math.floor(this.#slots * LOAD_MAX);
		this.#seed = [seed.readInt32LE(0), seed.readInt32LE(4), seed.readInt32LE(8), seed.readInt32LE(12)];
	}

	/** Keys that are known. */
	get size(): number {
		return this.#size;
	}

	/** Bytes that it takes. */
	get memoryBytes(): number {
		return this.#table.byteLength;
	}

	clear(): void {
		if (this.#size > 0) this.#table.fill(0);
		this.#size = 0;
	}

	/** The key is `source[start..end)`. False when it is a new one and there is no room: nothing is changed then. */
	put(source: Uint8Array, start: number, end: number, offset: number): boolean {
		const at = this.#find(source, start, end);
		const table = this.#table;
		if (table[at + 4] === 0 && table[at + 5] === 0) {
			if (this.#size >= this.#capacity) return false;
			this.#size += 1;
			for (let i = 0; i < 4; i++) table[at + i] = this.#hash[i] as number;
		}
		table[at + 4] = Math.floor((offset + 1) / TWO_32);
		table[at + 5] = (offset + 1) >>> 0;
		return true;
	}

	/** The offset that was put last for the key; -1 where it is not known. */
	get(source: Uint8Array, start: number, end: number): number {
		const at = this.#find(source, start, end);
		return (this.#table[at + 4] as number) * TWO_32 + (this.#table[at + 5] as number) - 1;
	}

	/** Where the key's slot begins, or the free one that it would get. */
	#find(source: Uint8Array, start: number, end: number): number {
		sipHash(this.#seed, source, start, end, this.#hash);
		const table = this.#table;
		const [a, b, c, d] = this.#hash as unknown as [number, number, number, number];
		for (let slot = (a >>> 0) % this.#slots; ; slot = slot + 1 === this.#slots ? 0 : slot + 1) {
			const at = slot * SLOT_WORDS;
			if (table[at + 4] === 0 && table[at + 5] === 0) return at;
			if (table[at] === a >>> 0 && table[at + 1] === b >>> 0 && table[at + 2] === c >>> 0 && table[at + 3] === d >>> 0)
				return at;
		}
	}
}

/** The state of one SipHash: four 64-bit words in halves; one at a time is enough for all. */
const v = new Int32Array(8);

/**
 * SipHash-1-3 with an output of 128 bits (https://github.com/veorq/SipHash) of `source[start..end)`, to `out` in
 * 32-bit words, each half of a 64-bit word, the lower first.
 */
export function sipHash(
	[k0l, k0h, k1l, k1h]: readonly [number, number, number, number],
	source: Uint8Array,
	start: number,
	end: number,
	out: Int32Array,
): void {
	v[0] = k0l ^ 0x70736575;
	v[1] = k0h ^ 0x736f6d65;
	v[2] = k1l ^ 0x6e646f6d ^ 0xee;
	v[3] = k1h ^ 0x646f7261;
	v[4] = k0l ^ 0x6e657261;
	v[5] = k0h ^ 0x6c796765;
	v[6] = k1l ^ 0x79746573;
	v[7] = k1h ^ 0x74656462;
	let at = start;
	for (; at + 8 <= end; at += 8) absorb(word(source, at), word(source, at + 4));
	let low = 0;
	let high = (end - start) << 24;
	for (let i = 0; at < end; at++, i++) {
		if (i < 4) low |= (source[at] as number) << (8 * i);
		else high |= (source[at] as number) << (8 * (i - 4));
	}
	absorb(low, high);
	v[4] = (v[4] as number) ^ 0xee;
	finish(out, 0);
	v[2] = (v[2] as number) ^ 0xdd;
	finish(out, 2);
}

function word(source: Uint8Array, at: number): number {
	return (
		(source[at] as number) |
		((source[at + 1] as number) << 8) |
		((source[at + 2] as number) << 16) |
		((source[at + 3] as number) << 24)
	);
}

function absorb(low: number, high: number): void {
	v[6] = (v[6] as number) ^ low;
	v[7] = (v[7] as number) ^ high;
	round();
	v[0] = (v[0] as number) ^ low;
	v[1] = (v[1] as number) ^ high;
}

function finish(out: Int32Array, at: number): void {
	for (let i = 0; i < 3; i++) round();
	out[at] = (v[0] as number) ^ (v[2] as number) ^ (v[4] as number) ^ (v[6] as number);
	out[at + 1] = (v[1] as number) ^ (v[3] as number) ^ (v[5] as number) ^ (v[7] as number);
}

function round(): void {
	let l0 = v[0] as number;
	let h0 = v[1] as number;
	let l1 = v[2] as number;
	let h1 = v[3] as number;
	let l2 = v[4] as number;
	let h2 = v[5] as number;
	let l3 = v[6] as number;
	let h3 = v[7] as number;
	let sum = (l0 >>> 0) + (l1 >>> 0);
	h0 = (h0 + h1 + (sum >= TWO_32 ? 1 : 0)) | 0;
	l0 = sum | 0;
	let low = ((l1 << 13) | (h1 >>> 19)) ^ l0;
	h1 = ((h1 << 13) | (l1 >>> 19)) ^ h0;
	l1 = low;
	low = h0;
	h0 = l0;
	l0 = low;
	sum = (l2 >>> 0) + (l3 >>> 0);
	h2 = (h2 + h3 + (sum >= TWO_32 ? 1 : 0)) | 0;
	l2 = sum | 0;
	low = ((l3 << 16) | (h3 >>> 16)) ^ l2;
	h3 = ((h3 << 16) | (l3 >>> 16)) ^ h2;
	l3 = low;
	sum = (l0 >>> 0) + (l3 >>> 0);
	h0 = (h0 + h3 + (sum >= TWO_32 ? 1 : 0)) | 0;
	l0 = sum | 0;
	low = ((l3 << 21) | (h3 >>> 11)) ^ l0;
	h3 = ((h3 << 21) | (l3 >>> 11)) ^ h0;
	l3 = low;
	sum = (l2 >>> 0) + (l1 >>> 0);
	h2 = (h2 + h1 + (sum >= TWO_32 ? 1 : 0)) | 0;
	l2 = sum | 0;
	low = ((l1 << 17) | (h1 >>> 15)) ^ l2;
	h1 = ((h1 << 17) | (l1 >>> 15)) ^ h2;
	l1 = low;
	low = h2;
	h2 = l2;
	l2 = low;
	v[0] = l0;
	v[1] = h0;
	v[2] = l1;
	v[3] = h1;
	v[4] = l2;
	v[5] = h2;
	v[6] = l3;
	v[7] = h3;
}
