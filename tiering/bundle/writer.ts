/**
 * Writes a bundle, front to back, in bounded memory: one block beside what the footer will say. Bytes leave through `sink`, and
 * no more are made before it has taken them. Between any two blocks everybody else has a turn.
 */
import type { Clock } from "../../src/base/clock.ts";
import type { LeaderEpoch } from "../../src/log/leader-epochs.ts";
import type { AbortedTransaction } from "../../src/log/partition-transactions.ts";
import { BatchError, type BatchHeader } from "../../src/record/batch.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { type Block, checkBatch, storeBlock } from "./block.ts";
import { type Compression, threadCompression } from "./compression.ts";
import {
	type BundleFooter,
	type BundleRange,
	type BundleTopic,
	checkRange,
	checkTopics,
	encodeFooter,
	type SnapshotPlace,
} from "./footer.ts";
import { type BundleIdentity, bundleKey, identityProblem } from "./identity.ts";
import {
	BLOCK_RAW_BYTES,
	BLOCK_RAW_BYTES_MAX,
	encodeHeader,
	encodeTrailer,
	FOOTER_RAW_BYTES_MAX,
	FORMAT,
	SNAPSHOT_RAW_BYTES_MAX,
} from "./layout.ts";

/** Takes the next bytes of the object. They are valid until it resolves; what it rejects with ends the bundle. */
export type Sink = (bytes: Buffer) => Promise<void>;

export interface BundleWriterParts {
	readonly sink: Sink;
	readonly clock: Clock;
	/** Program and version, for people. */
	readonly writer: string;
	readonly compression?: Compression;
}

export type RangeStart = Pick<BundleRange, "topicId" | "topic" | "partition" | "partitionId" | "baseOffset">;

/** A footer is full at half of what readers take: what the last range adds is not known before. */
const FOOTER_BYTES_FULL = FOOTER_RAW_BYTES_MAX / 2;
/** JSON of a block and of a range without its blocks, bytes, more or less. */
const BLOCK_JSON_BYTES = 200;
const RANGE_JSON_BYTES = 1024;
/** Batches checked, or JSON made, between two pauses, bytes. */
const SLICE_BYTES = 128 * 1024;
/** Of a block, how much must be in batches that are compressed already for it not to be tried again. */
const COMPRESSED_PART = 7 / 8;
const UNTRIED_MAX = 15;

interface OpenRange {
	readonly start: RangeStart;
	readonly position: number;
	readonly blocks: Block[];
	/** After the last batch. */
	next: number;
	firstTimestamp: number;
	records: number;
	crc: number;
}

/** The block being gathered. */
interface OpenBlock {
	bytes: number;
	compressedBytes: number;
	baseOffset: number;
	nextOffset: number;
	maxTimestamp: number;
}

const NO_BLOCK: Readonly<OpenBlock> = {
	bytes: 0,
	compressedBytes: 0,
	baseOffset: 0,
	nextOffset: 0,
	maxTimestamp: -1,
};

const partitionOf = ({ topicId, partition }: RangeStart): string => `${topicId}/${partition}`;

export class BundleWriter {
	readonly #identity: BundleIdentity;
	readonly #createdMs: number;
	readonly #parts: BundleWriterParts;
	readonly #compression: Compression;
	readonly #ranges: BundleRange[] = [];
	/** Where the ranges of each partition end. */
	readonly #ends = new Map<string, number>();
	#range: OpenRange | undefined;
	readonly #gathered = Buffer.allocUnsafeSlow(BLOCK_RAW_BYTES);
	#block: OpenBlock = { ...NO_BLOCK };
	/** Blocks that are not tried when the next one does not shrink either; and those that are not tried now. */
	#incompressible = 0;
	#untried = 0;
	#sizeBytes = 0;
	#footerBytes = 0;
	#sincePause = 0;
	#trailer: Buffer | undefined;

	/** Throws RangeError for an identity that no bundle can have. */
	constructor(identity: BundleIdentity, parts: BundleWriterParts) {
		const problem = identityProblem(identity);
		if (problem !== undefined) throw new RangeError(problem);
		this.#identity = identity;
		this.#createdMs = parts.clock.now();
		this.#parts = parts;
		this.#compression = parts.compression ?? threadCompression;
	}

	/** Of the object, as far as the sink has it. */
	get sizeBytes(): number {
		return this.#sizeBytes;
	}

	/** Nothing more should be added: the footer has become as long as readers take. */
	get isFull(): boolean {
		return this.#footerBytes >= FOOTER_BYTES_FULL;
	}

	/** The object's last bytes, once it is finished: no other bundle has the same. */
	get trailer(): Buffer {
		if (this.#trailer === undefined) throw new Error("the bundle is not finished");
		return this.#trailer;
	}

	/** Begins a range, in which nothing is yet. Throws RangeError where the partition has one already that ends behind `baseOffset`. */
	beginRange(start: RangeStart): void {
		if (this.#range !== undefined) throw new Error("a range is open");
		if (start.baseOffset < (this.#ends.get(partitionOf(start)) ?? 0))
			throw new RangeError(`a range of ${start.topic} from ${start.baseOffset} lies in the one before`);
		this.#range = {
			start,
			position: Math.max(this.#sizeBytes, encodeHeader().length),
			blocks: [],
			next: start.baseOffset,
			firstTimestamp: -1,
			records: 0,
			crc: 0,
		};
		this.#footerBytes += RANGE_JSON_BYTES;
	}

	/**
	 * Adds whole batches, each of which is checked, at offsets that rise. Where they are cut between two calls makes no difference.
	 * `batches` is not used once it resolves. Rejects with BatchError, whose position counts in `batches`, and with what the sink
	 * rejects with; the bundle is of no use then.
	 */
	async addBatches(batches: Buffer): Promise<void> {
		const range = this.#openRange();
		for (let at = 0; at < batches.length; ) {
			const header = checkBatch(batches, at);
			if (header.baseOffset < range.next)
				throw new BatchError(at, "INVALID_RECORD", `offset ${header.baseOffset} where ${range.next} was due`);
			if (header.sizeBytes > BLOCK_RAW_BYTES_MAX)
				throw new BatchError(at, "RECORD_LIST_TOO_LARGE", `${header.sizeBytes} bytes; ${BLOCK_RAW_BYTES_MAX} at most`);
			if (this.#block.bytes + header.sizeBytes > BLOCK_RAW_BYTES) await this.#closeBlock(range);
			const batch = batches.subarray(at, at + header.sizeBytes);
			this.#note(range, header);
			if (header.sizeBytes > BLOCK_RAW_BYTES) await this.#closeBlock(range, batch);
			else batch.copy(this.#gathered, this.#block.bytes - header.sizeBytes);
			at += header.sizeBytes;
			await this.#spent(header.sizeBytes);
		}
	}

	#note(range: OpenRange, { sizeBytes, codec, baseOffset, lastOffset, maxTimestamp, count }: BatchHeader): void {
		const block = this.#block;
		if (block.bytes === 0) {
			if (range.blocks.length === 0) range.firstTimestamp = maxTimestamp;
			block.baseOffset = baseOffset;
		}
		block.bytes += sizeBytes;
		if (codec !== "none") block.compressedBytes += sizeBytes;
		block.nextOffset = lastOffset + 1;
		block.maxTimestamp = Math.max(block.maxTimestamp, maxTimestamp);
		range.next = lastOffset + 1;
		range.records += count;
	}

	/** `large`: the one batch of a block that is too large to be gathered. */
	async #closeBlock(range: OpenRange, large?: Buffer): Promise<void> {
		const { bytes, compressedBytes, ...place } = this.#block;
		if (bytes === 0) return;
		this.#block = { ...NO_BLOCK };
		const raw = large ?? this.#gathered.subarray(0, bytes);
		const { stored, codec } = await this.#store(raw, compressedBytes >= bytes * COMPRESSED_PART);
		const crc = crc32c(stored);
		range.crc = crc32c(stored, 0, stored.length, range.crc);
		await this.#send(stored);
		const position = this.#sizeBytes - stored.length;
		range.blocks.push({ ...place, position, storedBytes: stored.length, rawBytes: bytes, crc, codec });
		this.#footerBytes += BLOCK_JSON_BYTES;
	}

	/** What does not shrink is mostly followed by more of the same: after each such block more of them are not tried. */
	async #store(raw: Buffer, isCompressed: boolean): ReturnType<typeof storeBlock> {
		const isTried = !isCompressed && this.#untried === 0;
		const block = await storeBlock(raw, !isTried, this.#compression);
		if (!isTried) this.#untried = Math.max(0, this.#untried - 1);
		else if (block.codec === 1) this.#incompressible = 0;
		else {
			this.#incompressible = Math.min(this.#incompressible * 2 + 1, UNTRIED_MAX);
			this.#untried = this.#incompressible;
		}
		return block;
	}

	/**
	 * The range stands for all offsets from its base offset up to `nextOffset`; `epochs` and `aborted` (in any order) are as
	 * BundleRange has them. Rejects with RangeError where they do not fit what was added.
	 */
	async endRange(
		nextOffset: number,
		epochs: readonly LeaderEpoch[],
		aborted: readonly AbortedTransaction[],
	): Promise<BundleRange> {
		const range = this.#openRange();
		if (nextOffset < range.next)
			throw new RangeError(
				`a range from ${range.start.baseOffset} with batches before ${range.next} ends at ${nextOffset}`,
			);
		await this.#closeBlock(range);
		const { start, position, firstTimestamp, records, crc, blocks } = range;
		const sum = (of: (block: Block) => number) => blocks.reduce((total, block) => total + of(block), 0);
		const ended: BundleRange = {
			...start,
			nextOffset,
			firstTimestamp,
			maxTimestamp: blocks.reduce((most, block) => Math.max(most, block.maxTimestamp), -1),
			records,
			position,
			storedBytes: sum((block) => block.storedBytes),
			rawBytes: sum((block) => block.rawBytes),
			crc,
			epochs,
			aborted: [...aborted].sort((a, b) => a.lastOffset - b.lastOffset),
			blocks,
		};
		checkRange(ended);
		this.#ranges.push(ended);
		this.#ends.set(partitionOf(start), nextOffset);
		this.#footerBytes += aborted.length * BLOCK_JSON_BYTES;
		this.#range = undefined;
		return ended;
	}

	/**
	 * `topics`: those of the ranges, each once. `snapshot` is compressed here; 64 MiB at most. The object is whole when it
	 * resolves. Rejects with RangeError where `topics` do not fit the ranges.
	 */
	async finish(topics: readonly BundleTopic[], snapshot: Buffer | undefined): Promise<BundleFooter> {
		if (this.#range !== undefined) throw new Error("a range is open");
		checkTopics(topics, this.#ranges);
		if (this.#sizeBytes === 0) await this.#send(Buffer.alloc(0));
		const footer: BundleFooter = {
			format: FORMAT,
			...this.#identity,
			key: bundleKey(this.#identity),
			createdMs: this.#createdMs,
			writer: this.#parts.writer,
			topics,
			snapshot: snapshot === undefined ? undefined : await this.#sendSnapshot(snapshot),
			ranges: this.#ranges,
		};
		const parts: Buffer[] = [];
		for (const part of encodeFooter(footer)) {
			parts.push(Buffer.from(part));
			await this.#spent(part.length);
		}
		const json = Buffer.concat(parts);
		if (json.length > FOOTER_RAW_BYTES_MAX) throw new RangeError(`a footer of ${json.length} bytes`);
		const stored = await this.#compression.gzip(json);
		const trailer = encodeTrailer({
			footerPosition: this.#sizeBytes,
			footerBytes: stored.length,
			footerRawBytes: json.length,
			footerCrc: crc32c(stored),
		});
		await this.#send(stored);
		await this.#send(trailer);
		this.#trailer = trailer;
		return footer;
	}

	async #sendSnapshot(snapshot: Buffer): Promise<SnapshotPlace> {
		if (snapshot.length > SNAPSHOT_RAW_BYTES_MAX) throw new RangeError(`a snapshot of ${snapshot.length} bytes`);
		const stored = await this.#compression.zstd(snapshot);
		const crc = crc32c(stored);
		await this.#send(stored);
		const position = this.#sizeBytes - stored.length;
		return { position, storedBytes: stored.length, rawBytes: snapshot.length, crc };
	}

	/** With the header before the first. */
	async #send(bytes: Buffer): Promise<void> {
		for (const part of this.#sizeBytes === 0 ? [encodeHeader(), bytes] : [bytes]) {
			if (part.length === 0) continue;
			await this.#parts.sink(part);
			this.#sizeBytes += part.length;
		}
	}

	#openRange(): OpenRange {
		if (this.#range === undefined) throw new Error("no range is open");
		return this.#range;
	}

	async #spent(bytes: number): Promise<void> {
		this.#sincePause += bytes;
		if (this.#sincePause < SLICE_BYTES) return;
		this.#sincePause = 0;
		await new Promise<void>((resolve) => this.#parts.clock.soon(resolve));
	}
}
