/**
 * Cuts a stream of bytes into frames: a 32-bit big-endian length, then as many bytes. A frame that lies whole in
 * what was received is a view of it; one that does not is gathered in a buffer that grows with what has come, never by
 * the length that the peer claims.
 */

/** Bytes of a frame's length. */
const LENGTH_BYTES = 4;
const FIRST_BYTES = 1024;

/** The error for a frame of `bytes` bytes: none at all, or more than `maxBytes`. */
export type RefuseFrame = (bytes: number, maxBytes: number) => Error;

export class FrameReader {
	/** The largest frame taken, bytes without its length. May be changed. */
	maxBytes: number;
	#chunk: Buffer = Buffer.alloc(0);
	#at = 0;
	readonly #head = Buffer.alloc(LENGTH_BYTES);
	#headHave = 0;
	#frame: Buffer | undefined;
	#frameHave = 0;
	readonly #refuse: RefuseFrame;

	constructor(maxBytes: number, refuse: RefuseFrame) {
		this.maxBytes = maxBytes;
		this.#refuse = refuse;
	}

	/** Bytes held for a frame that is not complete. */
	get heldBytes(): number {
		return this.#frame?.length ?? 0;
	}

	/** Size of the frame that has come in part; 0 where there is none, or it is not known yet. */
	get expectedBytes(): number {
		return this.#headHave === LENGTH_BYTES ? this.#head.readUInt32BE(0) : 0;
	}

	/** Received and not taken by `next` yet. */
	get unreadBytes(): number {
		return this.#chunk.length - this.#at;
	}

	/** Only when `next` has said that there is no more. */
	push(chunk: Buffer): void {
		this.#chunk = this.#at < this.#chunk.length ? Buffer.concat([this.#chunk.subarray(this.#at), chunk]) : chunk;
		this.#at = 0;
	}

	/** The next whole frame, without its length; undefined when more bytes are needed. Throws `refuse`'s error for a length out of bounds. */
	next(): Buffer | undefined {
		const chunk = this.#chunk;
		while (this.#headHave < LENGTH_BYTES) {
			if (this.#at === chunk.length) return this.#drained();
			this.#head[this.#headHave++] = chunk[this.#at++] as number;
		}
		const need = this.#head.readUInt32BE(0);
		if (need === 0 || need > this.maxBytes) throw this.#refuse(need, this.maxBytes);
		const have = chunk.length - this.#at;
		if (this.#frame === undefined && have >= need) {
			this.#headHave = 0;
			this.#at += need;
			return chunk.subarray(this.#at - need, this.#at);
		}
		if (have === 0) return this.#drained();
		const take = Math.min(have, need - this.#frameHave);
		const wanted = this.#frameHave + take;
		if (this.#frame === undefined || this.#frame.length < wanted) {
			const size = Math.min(need, Math.max(FIRST_BYTES, wanted, (this.#frame?.length ?? 0) * 2));
			const larger = Buffer.allocUnsafeSlow(size);
			this.#frame?.copy(larger, 0, 0, this.#frameHave);
			this.#frame = larger;
		}
		chunk.copy(this.#frame, this.#frameHave, this.#at, this.#at + take);
		this.#frameHave = wanted;
		this.#at += take;
		if (wanted < need) return this.#drained();
		const frame = this.#frame.subarray(0, need);
		this.#frame = undefined;
		this.#frameHave = 0;
		this.#headHave = 0;
		return frame;
	}

	/** Lets go of the received bytes, so that an idle connection holds none. */
	#drained(): undefined {
		this.#chunk = EMPTY;
		this.#at = 0;
		return undefined;
	}
}

const EMPTY = Buffer.alloc(0);
