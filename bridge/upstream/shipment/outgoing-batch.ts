/**
 * A batch for one partition of the central cluster: it grows record by record, in memory used again, and is compressed and
 * sealed when all of its shipment is there. It remembers where each of its records comes from, for the day that one is refused.
 */
import type { BufferPool } from "../../../src/base/buffer-pool.ts";
import type { Partition } from "../../../src/log/partition.ts";
import type { RecordView } from "../../../src/record/batch.ts";
import {
	BATCH_HEADER_BYTES,
	CODECS,
	CRC_COVERS_FROM,
	CRC_POSITION,
	writeBatchHeader,
} from "../../../src/record/batch-header.ts";
import { copy } from "../../../src/record/builder.ts";
import type { Codec } from "../../../src/record/compression.ts";
import { crc32c } from "../../../src/record/crc32c.ts";
import {
	MAX_VARINT_BYTES,
	varintSize,
	varlongSize,
	writeUnsignedVarint,
	writeVarlong,
} from "../../../src/record/varint.ts";
import type { OutgoingBatch } from "../client/producer.ts";
import type { Compress } from "./compress.ts";

export interface RecordSource {
	readonly partition: Partition;
	readonly offset: number;
}

export interface SealedBatch extends OutgoingBatch {
	/** Before compression, its header included. */
	readonly rawBytes: number;
	/** Of its record `index`, from 0. */
	sourceOf(index: number): RecordSource;
	/** Gives its memory back, once: nobody has `batch` any more, no request that may still be on its way either. Whoever cannot tell leaves it. */
	release(): void;
}

/** Records from `index` on, up to the next run's, are of that partition; their offsets count from `base`. */
interface SourceRun {
	readonly index: number;
	readonly partition: Partition;
	readonly base: number;
}

/** Of the first record of a batch, but for its length. */
export function firstBodyBytes(view: RecordView): number {
	return bodyBytes(view, 0, 0);
}

function bodyBytes({ end, keyLengthStart }: RecordView, timestampDelta: number, index: number): number {
	return 1 + varlongSize(timestampDelta) + varintSize(index) + end - keyLengthStart;
}

/** With its length in front. */
export function wholeRecordBytes(bodyBytes: number): number {
	return varintSize(bodyBytes) + bodyBytes;
}

const FIRST_SOURCES = 64;
const UINT32_MAX = 0xffff_ffff;
/** The producer's, not known yet. */
const NO_EPOCH = -1;

export class GrowingBatch {
	readonly topic: string;
	readonly partition: number;
	count = 0;
	/** Header included. */
	rawBytes = BATCH_HEADER_BYTES;
	readonly #pool: BufferPool;
	readonly #sealedPool: BufferPool;
	#buffer: Buffer;
	#baseTimestamp = 0;
	#maxTimestamp = -1;
	readonly #runs: SourceRun[] = [];
	/** Of each record, from its run's base. */
	#offsets = new Uint32Array(FIRST_SOURCES);
	#sealed: Promise<SealedBatch> | undefined;

	/** While it grows it has memory of `pool`, sealed of `sealedPool`. `firstBytes`: the size that it is likely to get. */
	constructor(topic: string, partition: number, pool: BufferPool, sealedPool: BufferPool, firstBytes: number) {
		this.topic = topic;
		this.partition = partition;
		this.#pool = pool;
		this.#sealedPool = sealedPool;
		this.#buffer = pool.take(firstBytes);
	}

	/** Whether the record's time can be told from the first's: not the latest that there is from none (-1). */
	reaches({ timestamp }: RecordView): boolean {
		return Number.isSafeInteger(timestamp - this.#baseTimestamp);
	}

	/** Of the record that `view` stands at, as the next of this, but for its length. */
	bodyBytes(view: RecordView): number {
		return this.count === 0 ? firstBodyBytes(view) : bodyBytes(view, view.timestamp - this.#baseTimestamp, this.count);
	}

	/** That record, of a batch of `partition`, with what `bodyBytes` gave for it. */
	append(view: RecordView, bodyBytes: number, partition: Partition): void {
		const { timestamp, offset } = view;
		const index = this.count;
		if (index === 0) this.#baseTimestamp = timestamp;
		if (timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp;
		let at = this.rawBytes;
		if (at + bodyBytes + MAX_VARINT_BYTES > this.#buffer.length) this.#grow(at + bodyBytes + MAX_VARINT_BYTES);
		const buffer = this.#buffer;
		at = writeUnsignedVarint(buffer, at, bodyBytes << 1);
		buffer[at++] = 0;
		at = writeVarlong(buffer, at, timestamp - this.#baseTimestamp);
		at = writeUnsignedVarint(buffer, at, index << 1);
		this.rawBytes = copy(buffer, at, view.source, view.keyLengthStart, view.end);
		this.count = index + 1;
		this.#note(index, partition, offset);
	}

	#note(index: number, partition: Partition, offset: number): void {
		let run = this.#runs.at(-1);
		if (run === undefined || run.partition !== partition || offset < run.base || offset - run.base > UINT32_MAX) {
			run = { index, partition, base: offset };
			this.#runs.push(run);
		}
		if (index === this.#offsets.length) {
			const more = new Uint32Array(2 * index);
			more.set(this.#offsets);
			this.#offsets = more;
		}
		this.#offsets[index] = offset - run.base;
	}

	/** `codec` only where that makes it shorter. Nothing more is to be appended; asked again it gives the same. */
	seal(codec: Codec, level: number | undefined, compress: Compress): Promise<SealedBatch> {
		this.#sealed ??= this.#seal(codec, level, compress);
		return this.#sealed;
	}

	async #seal(codec: Codec, level: number | undefined, compress: Compress): Promise<SealedBatch> {
		const { topic, partition, count, rawBytes } = this;
		const raw = this.#buffer.subarray(0, rawBytes);
		const plain = raw.subarray(BATCH_HEADER_BYTES);
		const compressed = codec === "none" ? plain : await compress(codec, plain, level);
		const isShorter = compressed.length < plain.length;
		const sealedPool = this.#sealedPool;
		const sizeBytes = BATCH_HEADER_BYTES + Math.min(compressed.length, plain.length);
		const memory = sealedPool.take(sizeBytes);
		const batch = memory.subarray(0, sizeBytes);
		(isShorter ? compressed : plain).copy(batch, BATCH_HEADER_BYTES);
		this.#writeHeader(batch, isShorter ? codec : "none");
		this.#pool.give(this.#buffer);
		const runs = this.#runs;
		const offsets = this.#offsets;
		const sourceOf = (index: number): RecordSource => {
			const run = runs.findLast((one) => one.index <= index);
			if (run === undefined || index >= count) throw new RangeError(`record ${index} of ${count}`);
			return { partition: run.partition, offset: run.base + (offsets[index] as number) };
		};
		return { topic, partition, batch, count, rawBytes, sourceOf, release: () => sealedPool.give(memory) };
	}

	#writeHeader(batch: Buffer, codec: Codec): void {
		writeBatchHeader(batch, batch.length, {
			baseOffset: 0,
			leaderEpoch: NO_EPOCH,
			attributes: CODECS.indexOf(codec),
			lastOffsetDelta: this.count - 1,
			baseTimestamp: this.#baseTimestamp,
			maxTimestamp: this.#maxTimestamp,
			producerId: -1,
			producerEpoch: -1,
			baseSequence: -1,
			count: this.count,
		});
		batch.writeUInt32BE(crc32c(batch, CRC_COVERS_FROM), CRC_POSITION);
	}

	#grow(bytes: number): void {
		const before = this.#buffer;
		this.#buffer = this.#pool.take(Math.max(bytes, 2 * before.length));
		before.copy(this.#buffer, 0, 0, this.rawBytes);
		this.#pool.give(before);
	}
}
