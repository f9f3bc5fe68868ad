/**
 * Reads record batches of Kafka's format v2, as its documentation has them: for what the object store holds, without
 * any of the gateway's code. Codecs: none, gzip, zstd. Throws RangeError for bytes that are none.
 */
import { gunzipSync, zstdDecompressSync } from "node:zlib";

export interface BatchRecord {
	readonly offset: number;
	readonly key: Buffer | null;
	readonly value: Buffer | null;
}

export interface Batch {
	readonly baseOffset: number;
	readonly producerId: bigint;
	readonly transactional: boolean;
	/** A transaction's marker. */
	readonly control: boolean;
	records(): Generator<BatchRecord>;
}

const LENGTH_AT = 8;
const HEAD_BYTES = LENGTH_AT + 4;
const MAGIC_AT = 16;
const ATTRIBUTES_AT = 21;
const PRODUCER_AT = 43;
const COUNT_AT = 57;
const RECORDS_AT = 61;
const CODEC_BITS = 0x07;
const TRANSACTIONAL_BIT = 0x10;
const CONTROL_BIT = 0x20;
const UNPACK: Readonly<Record<number, (bytes: Buffer) => Buffer>> = {
	0: (bytes) => bytes,
	1: gunzipSync,
	4: zstdDecompressSync,
};

/** All batches of `bytes`, which stand one behind the other. */
export function* batchesOf(bytes: Buffer): Generator<Batch> {
	for (let at = 0; at < bytes.length; ) {
		const end = at + HEAD_BYTES + bytes.readInt32BE(at + LENGTH_AT);
		if (end > bytes.length || end < at + RECORDS_AT) throw new RangeError(`a batch at byte ${at} that ends at ${end}`);
		yield batchOf(bytes.subarray(at, end));
		at = end;
	}
}

function batchOf(bytes: Buffer): Batch {
	const magic = bytes.readInt8(MAGIC_AT);
	if (magic !== 2) throw new RangeError(`a record batch of format ${magic}`);
	const attributes = bytes.readInt16BE(ATTRIBUTES_AT);
	const baseOffset = Number(bytes.readBigInt64BE(0));
	return {
		baseOffset,
		producerId: bytes.readBigInt64BE(PRODUCER_AT),
		transactional: (attributes & TRANSACTIONAL_BIT) !== 0,
		control: (attributes & CONTROL_BIT) !== 0,
		*records() {
			const unpack = UNPACK[attributes & CODEC_BITS];
			if (!unpack) throw new RangeError(`a record batch of codec ${attributes & CODEC_BITS}`);
			const reader = new FieldReader(unpack(bytes.subarray(RECORDS_AT)));
			const count = bytes.readInt32BE(COUNT_AT);
			for (let i = 0; i < count; i++) yield reader.record(baseOffset);
		},
	};
}

class FieldReader {
	readonly #bytes: Buffer;
	#at = 0;

	constructor(bytes: Buffer) {
		this.#bytes = bytes;
	}

	record(baseOffset: number): BatchRecord {
		const length = this.#number();
		const end = this.#at + length;
		// Its attributes, which say nothing.
		this.#at++;
		// Its time.
		this.#number();
		const offset = baseOffset + this.#number();
		const key = this.#field();
		const value = this.#field();
		// Headers stand up to the end.
		this.#at = end;
		return { offset, key, value };
	}

	/** A zigzag varint. */
	#number(): number {
		let value = 0;
		for (let scale = 1; ; scale *= 128) {
			const byte = this.#bytes.readUInt8(this.#at++);
			value += (byte & 0x7f) * scale;
			if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
		}
	}

	#field(): Buffer | null {
		const length = this.#number();
		if (length < 0) return null;
		if (this.#at + length > this.#bytes.length) throw new RangeError("a field that ends behind its batch");
		this.#at += length;
		return this.#bytes.subarray(this.#at - length, this.#at);
	}
}
