/**
 * A subscription as an async iterator. The gateway may send as many records ahead as there are credits; reading gives
 * them back. After a reconnect it goes on behind the last record received: none is missing, none comes twice.
 */
import { MAX_CREDITS, MESSAGE, POSITION } from "../codec/protocol.ts";
import { CborWriter } from "../codec/writer.ts";
import { HeadwaterError } from "./errors.ts";
import { errorOf, type Fields } from "./link.ts";
import type { ConsumedRecord, SubscribeFrom, SubscribeOptions } from "./types.ts";
import { ANSWERS, check, consumedRecords, encodePairs, encodePosition, wholeNumber } from "./wire.ts";

const DEFAULT_CREDITS = 1024;
/** Bytes of record frames that the gateway may send ahead. */
const BYTE_CREDITS = 1024 * 1024;

/** What a stream needs of its client. */
export interface StreamHost {
	nextId(): number;
	/** Sends now, or not at all when there is no connection: `connected` comes then. */
	send(frame: Buffer): void;
	/** Nothing more is to be given to this stream. */
	ended(stream: RecordStream): void;
}

interface Chunk {
	readonly records: ConsumedRecord[];
	readonly frameBytes: number;
	at: number;
}

interface Reader {
	resolve(result: IteratorResult<ConsumedRecord>): void;
	reject(error: unknown): void;
}

export class RecordStream implements AsyncIterableIterator<ConsumedRecord> {
	/** Request id of the subscription on the present connection. */
	id = 0;
	readonly #topic: string;
	readonly #options: SubscribeOptions;
	readonly #host: StreamHost;
	readonly #credits: number;
	readonly #partitions: readonly number[] | undefined;
	/** Where each partition goes on; known once the gateway has answered the first subscribe. */
	#next: Map<number, number> | undefined;
	#ends: Map<number, number> | undefined;
	#chunks: Chunk[] = [];
	#held = 0;
	#heldBytes = 0;
	#readRecords = 0;
	#readBytes = 0;
	#readers: Reader[] = [];
	#finished: { error: HeadwaterError | undefined } | undefined;
	readonly #abort = () => this.finish(new HeadwaterError("ABORTED", "the subscription was given up"));

	/** Throws HeadwaterError INVALID_REQUEST for options that make no sense. */
	constructor(topic: string, options: SubscribeOptions, host: StreamHost) {
		this.#topic = topic;
		this.#options = options;
		this.#host = host;
		this.#credits = wholeNumber(options.credits ?? DEFAULT_CREDITS, "credits");
		if (this.#credits < 1 || this.#credits > MAX_CREDITS) {
			throw new HeadwaterError("INVALID_REQUEST", `credits ${this.#credits}: 1 to ${MAX_CREDITS}`);
		}
		const listed = offsetsOf(options.from);
		this.#partitions = options.partitions ?? (listed === undefined ? undefined : [...listed.keys()]);
		if (this.#partitions?.length === 0) throw new HeadwaterError("INVALID_REQUEST", "a subscription to no partition");
		this.#firstFrame();
		options.signal?.addEventListener("abort", this.#abort, { once: true });
		if (options.signal?.aborted) this.#abort();
	}

	get finished(): boolean {
		return this.#finished !== undefined;
	}

	/** There is a connection, the first or another: asks for what is still to come. */
	connected(): void {
		if (this.#finished) return;
		this.id = this.#host.nextId();
		this.#host.send(this.#next === undefined ? this.#firstFrame() : this.#resumeFrame(this.#next));
	}

	/** A message with this stream's id. A ProtocolError thrown means that the gateway does not keep to the protocol. */
	received(type: number, body: Fields, frameBytes: number): void {
		if (type === MESSAGE.RECORDS) this.#records(body, frameBytes);
		else if (type === MESSAGE.END) this.finish(body.size === 0 ? undefined : errorOf(body));
		else if (type === MESSAGE.ERROR) this.finish(errorOf(body));
		else if (type === MESSAGE.SUBSCRIBE) this.#started(body);
	}

	/** Ends the iteration, after the records that are here already. */
	finish(error: HeadwaterError | undefined): void {
		if (this.#finished) return;
		this.#finished = { error };
		this.#options.signal?.removeEventListener("abort", this.#abort);
		this.#host.ended(this);
		if (this.#chunks.length > 0) return;
		const [first, ...others] = this.#readers.splice(0);
		if (error !== undefined && first !== undefined) {
			this.#finished = { error: undefined };
			first.reject(error);
		} else first?.resolve({ done: true, value: undefined });
		for (const reader of others) reader.resolve({ done: true, value: undefined });
	}

	next(): Promise<IteratorResult<ConsumedRecord>> {
		const record = this.#take();
		if (record !== undefined) return Promise.resolve({ done: false, value: record });
		if (this.#finished) {
			const { error } = this.#finished;
			this.#finished = { error: undefined };
			return error === undefined ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error);
		}
		return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
	}

	/** Leaving a `for await` ends the subscription. */
	return(): Promise<IteratorResult<ConsumedRecord>> {
		this.#chunks = [];
		this.finish(undefined);
		return Promise.resolve({ done: true, value: undefined });
	}

	[Symbol.asyncIterator](): this {
		return this;
	}

	#firstFrame(): Buffer {
		const { from } = this.#options;
		const listed = offsetsOf(from);
		return this.#frame((writer) => {
			if (listed !== undefined) encodePairs(writer.array(2).uint(POSITION.OFFSETS), listed);
			else if (typeof from === "object" && "offset" in from) {
				writer
					.array(2)
					.uint(POSITION.OFFSET)
					.uint(wholeNumber(from.offset as number, "offset"));
			} else encodePosition(writer, from as "earliest" | "latest" | { timestamp: number });
		}, this.#partitions);
	}

	#resumeFrame(next: Map<number, number>): Buffer {
		const partitions = this.#partitions ?? (this.#ends === undefined ? undefined : [...this.#ends.keys()]);
		return this.#frame((writer) => encodePairs(writer.array(2).uint(POSITION.OFFSETS), next), partitions);
	}

	#frame(from: (writer: CborWriter) => void, partitions: readonly number[] | undefined): Buffer {
		const until = this.#options.until === "end";
		const writer = new CborWriter(128).beginMessage(MESSAGE.SUBSCRIBE, this.id);
		writer.map(4 + (partitions === undefined ? 0 : 1) + (until ? 1 : 0));
		writer.uint(0).text(this.#topic).uint(1);
		from(writer);
		writer.uint(2).uint(Math.max(0, this.#credits - this.#held));
		writer.uint(3).uint(Math.max(0, BYTE_CREDITS - this.#heldBytes));
		if (partitions !== undefined) {
			writer.uint(4).array(partitions.length);
			for (const partition of partitions) writer.uint(wholeNumber(partition, "partition"));
		}
		if (until) {
			writer.uint(5);
			if (this.#ends === undefined) writer.bool(true);
			else encodePairs(writer, this.#ends);
		}
		this.#readRecords = 0;
		this.#readBytes = 0;
		return writer.endFrame().take();
	}

	#started(body: Fields): void {
		check(body, ANSWERS.subscribe, "subscribe");
		if (this.#next !== undefined) return;
		const places = body.get(0) as [partition: number, start: number, end?: number][];
		this.#next = new Map(places.map(([partition, start]) => [partition, start]));
		if (this.#options.until !== "end") return;
		this.#ends = new Map(places.map(([partition, start, end]) => [partition, end ?? start]));
	}

	#records(body: Fields, frameBytes: number): void {
		check(body, ANSWERS.records, "subscribe");
		const partition = body.get(0) as number;
		const records = consumedRecords(this.#topic, partition, body.get(1));
		const last = records.at(-1);
		if (last === undefined) return;
		this.#next?.set(partition, last.offset + 1);
		this.#chunks.push({ records, frameBytes, at: 0 });
		this.#held += records.length;
		this.#heldBytes += frameBytes;
		while (this.#readers.length > 0) {
			const value = this.#take();
			if (value === undefined) return;
			this.#readers.shift()?.resolve({ done: false, value });
		}
	}

	#take(): ConsumedRecord | undefined {
		const chunk = this.#chunks[0];
		if (chunk === undefined) return undefined;
		const record = chunk.records[chunk.at++];
		if (chunk.at === chunk.records.length) {
			this.#chunks.shift();
			this.#giveBack(chunk);
		}
		return record;
	}

	/** Grants the gateway what was read, not for every record but a good part of the credits at a time. */
	#giveBack({ records, frameBytes }: Chunk): void {
		this.#held -= records.length;
		this.#heldBytes -= frameBytes;
		this.#readRecords += records.length;
		this.#readBytes += frameBytes;
		if (this.#finished || this.#next === undefined) return;
		const much = this.#readRecords * 2 >= this.#credits || this.#readBytes * 2 >= BYTE_CREDITS;
		if (!much && this.#chunks.length > 0) return;
		const writer = new CborWriter(32).beginMessage(MESSAGE.CREDIT, this.id);
		this.#host.send(writer.map(2).uint(0).uint(this.#readRecords).uint(1).uint(this.#readBytes).endFrame().take());
		this.#readRecords = 0;
		this.#readBytes = 0;
	}
}

/** Partition and offset, where `from` lists them. */
function offsetsOf(from: SubscribeFrom): Map<number, number> | undefined {
	if (typeof from === "string" || "offset" in from || "timestamp" in from) return undefined;
	return new Map(Object.entries(from).map(([partition, offset]) => [Number(partition), offset as number]));
}
