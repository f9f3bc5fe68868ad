/**
 * Decoded blocks: each is decoded once for all who read it at the time, a few at a time, and some are kept, the most recently
 * used ones within a bound. A reader that takes small steps through a block decodes it once.
 */
import { type Block, decodeBlock } from "../bundle/block.ts";
import type { Compression } from "../bundle/compression.ts";
import { freeMemory } from "./free-memory.ts";

/** Each takes its decoded bytes beside what is kept. */
const AT_A_TIME = 2;

interface Decoded {
	readonly raw: Buffer;
	/** Who waited for it and has not used it yet. */
	waiting: number;
	isKept: boolean;
}

interface UnderWay {
	readonly decoded: Promise<Decoded>;
	waiting: number;
}

export class BlockMemory {
	readonly #maxBytes: number;
	readonly #compression: Compression | undefined;
	/** By object and position, the least recently used first. */
	readonly #kept = new Map<string, Decoded>();
	readonly #underWay = new Map<string, UnderWay>();
	readonly #queue: (() => void)[] = [];
	#running = 0;
	#bytes = 0;

	constructor(maxBytes: number, compression: Compression | undefined) {
		this.#maxBytes = maxBytes;
		this.#compression = compression;
	}

	/** Kept. */
	get bytes(): number {
		return this.#bytes;
	}

	/** The batches of `block` of the object `key`, if they are here: valid until the caller returns to the event loop. */
	find(key: string, block: Block): Buffer | undefined {
		const id = idOf(key, block);
		const kept = this.#kept.get(id);
		if (kept === undefined) return undefined;
		this.#kept.delete(id);
		this.#kept.set(id, kept);
		return kept.raw;
	}

	/**
	 * What `work` makes of the batches of `block` of the object `key`, whose stored bytes are `stored` and stay so until it
	 * resolves. The batches are valid until `work` returns. Rejects with DamageError.
	 */
	async use<T>(key: string, block: Block, stored: Buffer, work: (raw: Buffer) => T): Promise<T> {
		const kept = this.find(key, block);
		if (kept !== undefined) return work(kept);
		const underWay = this.#underWay.get(idOf(key, block)) ?? this.#begin(key, block, stored);
		underWay.waiting += 1;
		const decoded = await underWay.decoded;
		try {
			return work(decoded.raw);
		} finally {
			decoded.waiting -= 1;
			this.#freeUnused(decoded);
		}
	}

	clear(): void {
		for (const id of [...this.#kept.keys()]) this.#drop(id);
	}

	#begin(key: string, block: Block, stored: Buffer): UnderWay {
		const id = idOf(key, block);
		const underWay: UnderWay = {
			waiting: 0,
			decoded: this.#decode(key, block, stored).then(
				(raw) => {
					this.#underWay.delete(id);
					return this.#keep(id, { raw, waiting: underWay.waiting, isKept: false });
				},
				(error: unknown) => {
					this.#underWay.delete(id);
					throw error;
				},
			),
		};
		this.#underWay.set(id, underWay);
		return underWay;
	}

	async #decode(key: string, block: Block, stored: Buffer): Promise<Buffer> {
		if (this.#running >= AT_A_TIME) await new Promise<void>((resolve) => this.#queue.push(resolve));
		else this.#running += 1;
		try {
			const raw = await decodeBlock(stored, block, key, this.#compression);
			// A view would keep all that was fetched with it, and go with it.
			return raw.buffer === stored.buffer ? Buffer.from(raw) : raw;
		} finally {
			// The turn goes to who waits.
			const next = this.#queue.shift();
			if (next !== undefined) next();
			else this.#running -= 1;
		}
	}

	#keep(id: string, decoded: Decoded): Decoded {
		if (decoded.raw.length > this.#maxBytes) return decoded;
		decoded.isKept = true;
		this.#kept.set(id, decoded);
		this.#bytes += decoded.raw.length;
		for (const oldest of this.#kept.keys()) {
			if (this.#bytes <= this.#maxBytes) break;
			this.#drop(oldest);
		}
		return decoded;
	}

	#drop(id: string): void {
		const decoded = this.#kept.get(id) as Decoded;
		this.#kept.delete(id);
		this.#bytes -= decoded.raw.length;
		decoded.isKept = false;
		this.#freeUnused(decoded);
	}

	#freeUnused({ raw, waiting, isKept }: Decoded): void {
		if (waiting === 0 && !isKept) freeMemory(raw);
	}
}

function idOf(key: string, { position }: Block): string {
	return `${key} ${position}`;
}
