/**
 * Makes large batches for the central cluster of the small ones that are in the log here: fewer and longer ones compress
 * better and cost less on the link. Records are copied as they are, key to headers; nothing is allocated for one. The order of
 * the records of a partition here that go to the same partition there stays.
 */
import { BufferPool } from "../../../src/base/buffer-pool.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { MAX_DECOMPRESSED_BYTES, RecordView, readBatchHeader } from "../../../src/record/batch.ts";
import { BATCH_HEADER_BYTES, type BatchHeader } from "../../../src/record/batch-header.ts";
import type { Codec } from "../../../src/record/compression.ts";
import type { Compress } from "./compress.ts";
import { firstBodyBytes, GrowingBatch, type SealedBatch, wholeRecordBytes } from "./outgoing-batch.ts";
import { type Limits, type Target, targetPartition } from "./target.ts";

export interface RebatcherOptions {
	readonly codec: Codec;
	/** Of gzip and zstd. */
	readonly level: number | undefined;
	readonly compress: Compress;
}

/** The batches of one partition there, in order; undefined where it has none. */
type Lane = GrowingBatch[] | undefined;

/** What one `add` goes by. */
interface Work {
	readonly partition: Partition;
	readonly from: number;
	readonly end: number;
	readonly target: Target;
	readonly limits: Limits;
	readonly excluded: ReadonlySet<number> | undefined;
	readonly rawBytesMax: number;
	/** By partition there; the last batch of each is the one that grows. */
	readonly lanes: Lane[];
}

/** Memory that is kept from shipment to shipment: for batches that grow, and for those that are compressed. */
const IDLE_BYTES_MAX = 4 * 1024 * 1024;
const SEALED_IDLE_BYTES_MAX = 2 * 1024 * 1024;
/** A shipment smaller than this is one of a trickle, for which nothing need be kept. */
const TRICKLE_BYTES = 64 * 1024;
/** Where nothing is known about how many records there will be. */
const FIRST_BYTES = 4096;

export class Rebatcher {
	readonly #options: RebatcherOptions;
	/** For what is sealed from now on. */
	level: number | undefined;
	readonly #pool = new BufferPool(IDLE_BYTES_MAX);
	readonly #sealedPool = new BufferPool(SEALED_IDLE_BYTES_MAX);
	/** By topic there. */
	#topics = new Map<string, Lane[]>();
	#rawBytes = 0;
	#records = 0;

	constructor(options: RebatcherOptions) {
		this.#options = options;
		this.level = options.level;
	}

	/** Of all batches so far, before compression, their headers included. */
	get rawBytes(): number {
		return this.#rawBytes;
	}

	get records(): number {
		return this.#records;
	}

	/**
	 * Adds what people may see of the whole batches `bytes` of `partition`, its records with from <= offset < end that are not
	 * in `excluded`; `end` is not beyond the last stable offset. Stops before a record that would make `rawBytes` more than
	 * `rawBytesMax`, but takes one where there is none yet. Returns the offset to go on at. Throws BatchError; what came
	 * before the damage is added then.
	 */
	add(
		partition: Partition,
		bytes: Buffer,
		from: number,
		end: number,
		target: Target,
		limits: Limits,
		excluded: ReadonlySet<number> | undefined,
		rawBytesMax: number,
	): number {
		// Records of no partition would be in no batch.
		if (target.partitions < 1) throw new RangeError(`topic ${target.topic} has no partitions`);
		const lanes = this.#lanesOf(target.topic);
		const work: Work = { partition, from, end, target, limits, excluded, rawBytesMax, lanes };
		let next = from;
		for (let position = 0; position < bytes.length && next < end; ) {
			const header = readBatchHeader(bytes, position);
			if (header.lastOffset >= next) {
				const stoppedAt = partition.isVisible(header) ? this.#addBatch(bytes, position, header, work) : undefined;
				if (stoppedAt !== undefined) return stoppedAt;
				next = Math.min(header.lastOffset + 1, end);
			}
			position += header.sizeBytes;
		}
		return next;
	}

	/** The offset of the first record that there was no room for. */
	#addBatch(bytes: Buffer, position: number, header: BatchHeader, work: Work): number | undefined {
		const { from, end, excluded, partition, target } = work;
		const view = new RecordView(bytes, position, header, MAX_DECOMPRESSED_BYTES);
		while (view.next()) {
			const { offset } = view;
			if (offset < from) continue;
			if (offset >= end) return undefined;
			if (excluded?.has(offset) === true) continue;
			if (!this.#addRecord(view, targetPartition(target, partition.number, view), work)) return offset;
		}
		return undefined;
	}

	/** False where there is no room. */
	#addRecord(view: RecordView, number: number, { lanes, limits, partition, target, rawBytesMax }: Work): boolean {
		let lane = lanes[number];
		if (lane === undefined) {
			lane = [];
			lanes[number] = lane;
		}
		let batch = lane[lane.length - 1];
		if (batch !== undefined && batch.count < limits.recordsMax && batch.reaches(view)) {
			const bodyBytes = batch.bodyBytes(view);
			const bytes = wholeRecordBytes(bodyBytes);
			if (batch.rawBytes + bytes <= limits.batchBytes) {
				if (this.#rawBytes + bytes > rawBytesMax) return false;
				batch.append(view, bodyBytes, partition);
				this.#added(bytes);
				return true;
			}
		}
		const bodyBytes = firstBodyBytes(view);
		const bytes = BATCH_HEADER_BYTES + wholeRecordBytes(bodyBytes);
		if (this.#records > 0 && this.#rawBytes + bytes > rawBytesMax) return false;
		if (batch !== undefined) this.#full(batch);
		// Where one became full, the next is likely to.
		const firstBytes = Math.max(FIRST_BYTES, batch?.rawBytes ?? 0);
		batch = new GrowingBatch(target.topic, number, this.#pool, this.#sealedPool, firstBytes);
		batch.append(view, bodyBytes, partition);
		lane.push(batch);
		this.#added(bytes);
		return true;
	}

	/** It is compressed while the rest is read: that takes less time, and memory for fewer that are not. */
	#full(batch: GrowingBatch): void {
		const { codec, compress } = this.#options;
		// `seal` tells.
		batch.seal(codec, this.level, compress).catch(() => {});
	}

	#added(bytes: number): void {
		this.#rawBytes += bytes;
		this.#records += 1;
	}

	#lanesOf(topic: string): Lane[] {
		let lanes = this.#topics.get(topic);
		if (lanes === undefined) {
			lanes = [];
			this.#topics.set(topic, lanes);
		}
		return lanes;
	}

	/**
	 * All batches, those of a partition in order. The rebatcher is empty from the call on, and may be filled again meanwhile.
	 * Rejects as `compress` does: what it had is gone then.
	 */
	async seal(): Promise<SealedBatch[]> {
		const topics = this.#topics;
		const isTrickle = this.#rawBytes < TRICKLE_BYTES;
		this.#topics = new Map();
		this.#rawBytes = 0;
		this.#records = 0;
		const { codec, compress } = this.#options;
		const { level } = this;
		const sealed: SealedBatch[] = [];
		for (const lanes of topics.values())
			for (const lane of lanes) for (const batch of lane ?? []) sealed.push(await batch.seal(codec, level, compress));
		if (isTrickle) {
			this.#pool.clear();
			this.#sealedPool.clear();
		}
		return sealed;
	}
}
