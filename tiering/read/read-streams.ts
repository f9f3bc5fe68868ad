/**
 * Who reads on where it left off. A read that begins where another ended is one stream with it, and what a stream will ask
 * for next can be fetched before it asks; the longer it goes on, the more. Streams of the same time share what memory there is.
 */
import type { Clock } from "../../src/base/clock.ts";

export interface ReadStream {
	readonly partitionId: number;
	/** What it reads next. */
	nextOffset: number;
	/** It has been read from before. */
	isSequential: boolean;
	/** Stored bytes to have at hand before they are asked for, if others left it so much. */
	aheadBytes: number;
	usedMs: number;
}

/** Remembered; the least recently used is forgotten. */
const STREAMS_MAX = 64;
/** Who has not read for so long does not count. */
const ACTIVE_MS = 10_000;

export class ReadStreams {
	readonly #clock: Clock;
	readonly #bounds: { readonly leastBytes: number; readonly mostBytes: number };
	/** The least recently used first. */
	#streams: ReadStream[] = [];

	/** `leastBytes`: what a stream begins with; `mostBytes`: what all have together. */
	constructor(clock: Clock, bounds: { readonly leastBytes: number; readonly mostBytes: number }) {
		this.#clock = clock;
		this.#bounds = bounds;
	}

	/** The stream that goes on at `offset`, or a new one. */
	at(partitionId: number, offset: number): ReadStream {
		const usedMs = this.#clock.monotonic();
		const index = this.#streams.findIndex(
			(stream) => stream.partitionId === partitionId && stream.nextOffset === offset,
		);
		const [found] = index < 0 ? [] : this.#streams.splice(index, 1);
		if (this.#streams.length >= STREAMS_MAX) this.#streams.shift();
		const aheadBytes = this.#bounds.leastBytes;
		const stream = found ?? { partitionId, nextOffset: offset, isSequential: false, aheadBytes, usedMs };
		stream.usedMs = usedMs;
		this.#streams.push(stream);
		return stream;
	}

	/** Stored bytes that it may have at hand: nothing but what it asks for until it has gone on once. */
	aheadBytes(stream: ReadStream): number {
		if (!stream.isSequential) return 0;
		const { leastBytes, mostBytes } = this.#bounds;
		const sinceMs = this.#clock.monotonic() - ACTIVE_MS;
		let active = 0;
		for (const { isSequential, usedMs } of this.#streams) if (isSequential && usedMs >= sinceMs) active += 1;
		return Math.max(leastBytes, Math.min(stream.aheadBytes, Math.floor(mostBytes / active)));
	}

	/** It has read up to `nextOffset`. */
	advance(stream: ReadStream, nextOffset: number): void {
		stream.nextOffset = nextOffset;
		stream.isSequential = true;
	}

	/** It has used up what was fetched for it. */
	lengthen(stream: ReadStream): void {
		stream.aheadBytes = Math.min(stream.aheadBytes * 2, this.#bounds.mostBytes);
	}

	clear(): void {
		this.#streams = [];
	}
}
