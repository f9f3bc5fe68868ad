/**
 * Reads a partition's batches from its segment files: where a batch lies, what of it is sound, and what to do about
 * damage. Sequential readers find their place again without a look-up.
 */
import type { TakeBuffer } from "../base/buffer-pool.ts";
import { BATCH_HEADER_BYTES, readBatchHeader } from "../record/batch.ts";
import { batchProblem, type Segment } from "./segment.ts";
import type { SegmentSet } from "./segment-set.ts";

export interface SegmentSource {
	readonly segments: SegmentSet;
	/** Records before it are in a file. */
	flushedOffset(): number;
	/** Records from `offset` up to `next` cannot be read any more, because of what is at `position`. */
	lost(segment: Segment, position: number, offset: number, next: number, what: string): void;
}

/** Where a batch lies. */
interface Place {
	readonly segment: Segment;
	/** What is looked for. */
	readonly offset: number;
	readonly position: number;
	/** The batch before it ends with the offset before `offset`. */
	readonly follows: boolean;
}

/** No batch is longer: a damaged length must not take memory. */
const READ_BYTES_MAX = 16 * 1024 * 1024;
/** Remembered places of sequential readers. */
const PLACES = 8;

export class SegmentReader {
	readonly #source: SegmentSource;
	readonly #places: Place[] = [];
	#nextPlace = 0;

	constructor(source: SegmentSource) {
		this.#source = source;
	}

	/**
	 * Whole sound batches from the one that holds `offset`: at least one, else at most `maxBytes`; or the offset from
	 * which on the files have nothing sound. `check` throws when there is nothing to be read there any more.
	 */
	async read(
		offset: number,
		maxBytes: number,
		check: () => void,
		take?: TakeBuffer,
	): Promise<{ bytes: Buffer } | { next: number }> {
		const { segments } = this.#source;
		for (let from = offset; ; ) {
			// Behind the last batch a damaged one may look like more to come.
			const place = from < this.#source.flushedOffset() ? this.#place(from) : undefined;
			if (place === undefined) return { next: from };
			const { segment, position } = place;
			let bytes = await segment.read(position, Math.max(maxBytes, BATCH_HEADER_BYTES), take);
			let end = soundBytes(bytes, from, maxBytes, segment.isCleaned);
			if (end === 0 && segments.has(segment)) {
				// The first batch is larger than maxBytes, or damaged.
				const size = firstBatchBytes(bytes);
				if (size > bytes.length && size <= Math.min(READ_BYTES_MAX, segment.sizeBytes - position)) {
					bytes = await segment.read(position, size, take);
					end = soundBytes(bytes, from, size, segment.isCleaned);
				}
			}
			if (end > 0 && this.#isInPlace(place, bytes, from)) {
				this.#remember(segment, bytes, end, position);
				const { baseOffset } = readBatchHeader(bytes, 0);
				if (baseOffset > from && !segments.mayLack(from, baseOffset))
					this.#source.lost(segment, position, from, baseOffset, "no batch has the records before it");
				return { bytes: bytes.subarray(0, end) };
			}
			// Retention or deletion may have taken the file while it was read.
			check();
			if (segments.has(segment)) from = this.#passOver(segment, position, from);
		}
	}

	/**
	 * Whether the sound batch at the start of `bytes`, found for `offset`, has the offsets that its place calls
	 * for: its checksum does not cover them. They may begin later (a hole), never reach into the next batch.
	 */
	#isInPlace({ segment, position, follows }: Place, bytes: Buffer, offset: number): boolean {
		const { baseOffset, lastOffset, sizeBytes } = readBatchHeader(bytes, 0);
		if (baseOffset === offset) return true;
		if (follows && baseOffset < offset) return false;
		const next = position + sizeBytes < segment.sizeBytes ? segment.headerAt(position + sizeBytes) : undefined;
		return (
			lastOffset <
			(next?.baseOffset ?? this.#source.segments.after(segment)?.baseOffset ?? this.#source.flushedOffset())
		);
	}

	/** Segment and position of the first batch whose last offset is `offset` or above. */
	#place(offset: number): Place | undefined {
		for (const place of this.#places)
			if (
				place.offset === offset &&
				this.#source.segments.has(place.segment) &&
				place.position < place.segment.sizeBytes
			)
				return place;
		for (
			let segment = this.#source.segments.find(offset);
			segment !== undefined;
			segment = this.#source.segments.after(segment)
		) {
			let position = segment.lookUp(offset);
			let before = position;
			while (position < segment.sizeBytes) {
				const header = segment.headerAt(position);
				if (header === undefined || header.baseOffset > offset) {
					// A damaged length may have led here, past what is looked for: go on from where that can be told.
					const inHole = header !== undefined && segment.isCleaned && isSound(segment, before);
					return { segment, offset, position: inHole ? position : before, follows: false };
				}
				before = position;
				if (header.lastOffset >= offset) return { segment, offset, position, follows: false };
				position += header.sizeBytes;
			}
		}
		return undefined;
	}

	#remember(segment: Segment, bytes: Buffer, end: number, position: number): void {
		let at = 0;
		let header = readBatchHeader(bytes, 0);
		while (at + header.sizeBytes < end) {
			at += header.sizeBytes;
			header = readBatchHeader(bytes, at);
		}
		this.#places[this.#nextPlace] = {
			segment,
			offset: header.lastOffset + 1,
			position: position + end,
			follows: true,
		};
		this.#nextPlace = (this.#nextPlace + 1) % PLACES;
	}

	/**
	 * The damage at `position` is in the way to `offset`, or where that was. Returns the offset to go on
	 * from, whose place is remembered; what lies between the two is recorded as lost.
	 */
	#passOver(segment: Segment, position: number, offset: number): number {
		const found = batchBehind(segment, position, offset);
		const next = found?.baseOffset ?? this.#source.segments.after(segment)?.baseOffset ?? this.#source.flushedOffset();
		const from = Math.max(next, offset);
		this.#places.length = 0;
		this.#nextPlace = 0;
		if (found !== undefined) {
			this.#places.push({ segment, offset: from, position: found.position, follows: false });
			this.#nextPlace = 1;
		}
		if (next > offset) this.#source.lost(segment, position, offset, next, "a damaged batch was passed over");
		return from;
	}
}

/** The first batch behind the damage at `position` that holds `offset` or begins after it. */
function batchBehind(
	segment: Segment,
	position: number,
	offset: number,
): { position: number; baseOffset: number } | undefined {
	// Each one checked wholly: a damaged length would lead past sound batches.
	let sound = segment.findSound(position + 1, segment.baseOffset);
	while (sound !== undefined && sound.header.lastOffset < offset)
		sound = segment.findSound(sound.position + sound.header.sizeBytes, sound.header.lastOffset + 1);
	return sound === undefined ? undefined : { position: sound.position, baseOffset: sound.header.baseOffset };
}

function isSound(segment: Segment, position: number): boolean {
	const header = segment.headerAt(position);
	if (header === undefined || header.sizeBytes > READ_BYTES_MAX) return false;
	return batchProblem(segment.readNow(position, header.sizeBytes), header, segment.baseOffset) === undefined;
}

/** Length of the run of whole and sound batches at the start of `bytes`, the first of which holds `offset` or begins after it. Compaction leaves gaps between them. */
function soundBytes(bytes: Buffer, offset: number, maxBytes: number, gaps: boolean): number {
	let at = 0;
	let next = 0;
	while (at + BATCH_HEADER_BYTES <= bytes.length) {
		// The last one of a read is cut off more often than not.
		if (at + firstBatchBytes(bytes.subarray(at)) > bytes.length) break;
		try {
			const header = readBatchHeader(bytes, at);
			const end = at + header.sizeBytes;
			if (end > bytes.length || end > maxBytes) break;
			if (at === 0 ? header.lastOffset < offset : header.baseOffset !== next && !gaps) break;
			if (batchProblem(bytes.subarray(at, end), header, next) !== undefined) break;
			at = end;
			next = header.lastOffset + 1;
		} catch {
			break;
		}
	}
	return at;
}

function firstBatchBytes(bytes: Buffer): number {
	return bytes.length < BATCH_HEADER_BYTES ? 0 : bytes.readUInt32BE(8) + 12;
}
