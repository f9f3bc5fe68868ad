/**
 * One subscription: a cursor per partition, and credits. It pushes records while the client has credits left and takes
 * what it is sent; with no credits it holds its cursors, watches nothing and reads nothing. Records of a partition come in the
 * order of their offsets, each once. A cursor whose records the object store does not give waits for them, and the others go on.
 */
import type { Timer } from "../base/clock.ts";
import { BrokerError } from "../base/errors.ts";
import { Patience } from "../base/patience.ts";
import type { Topic } from "../broker/topics.ts";
import type { Partition } from "../log/partition.ts";
import { comesLater } from "../log/tier.ts";
import { errorBody, wireError } from "./answers.ts";
import { FRAME_HEADER_BYTES, MESSAGE } from "./codec/protocol.ts";
import { CborWriter } from "./codec/writer.ts";
import type { Connection } from "./connection.ts";
import { encodeRecords, RECORDS_FRAME_OVERHEAD } from "./records.ts";
import { readTiered, TIERED_PATIENCE_MS, TIERED_RETRY_MS } from "./tiered-turns.ts";

/** Bytes read from a file at a time, and the most that one push carries but for a single larger record. */
const READ_BYTES = 256 * 1024;
const PUSH_BYTES = 64 * 1024;

export interface Cursor {
	readonly partition: Partition;
	next: number;
	/** Where an `until` subscription ends; Infinity: never. */
	readonly end: number;
}

export interface SubscriptionSpec {
	readonly topic: Topic;
	readonly cursors: Cursor[];
	readonly credits: number;
	readonly byteCredits: number;
	/** Whether partitions added later are read too. */
	readonly follows: boolean;
}

export class Subscription {
	readonly id: number;
	readonly topic: string;
	readonly #topicId: string;
	readonly #connection: Connection;
	readonly #cursors: Cursor[];
	readonly #follows: boolean;
	#credits: number;
	#byteCredits: number;
	/** Those whose records are asked of the object store, or will be again: by a timer then. */
	readonly #away = new Map<Cursor, Timer | undefined>();
	#turn = 0;
	#unwatch: (() => void)[] = [];
	#running = false;
	#again = false;
	#closed = false;

	constructor(connection: Connection, id: number, spec: SubscriptionSpec) {
		this.#connection = connection;
		this.id = id;
		this.topic = spec.topic.name;
		this.#topicId = spec.topic.id;
		this.#cursors = spec.cursors;
		this.#follows = spec.follows;
		this.#credits = spec.credits;
		this.#byteCredits = spec.byteCredits;
	}

	start(): void {
		this.#wake();
	}

	/** More may be sent. */
	grant(records: number, bytes: number): void {
		this.#credits += records;
		this.#byteCredits += bytes;
		this.#wake();
	}

	/** Called by a partition after a commit. */
	advanced(): void {
		this.#wake();
	}

	/** The peer has taken what was sent. */
	writable(): void {
		this.#wake();
	}

	/** Topics were made, changed or deleted; `topic` is the one of this name now. */
	topicsChanged(topic: Topic | undefined): void {
		if (this.#closed) return;
		if (topic?.id !== this.#topicId) {
			this.#end(new BrokerError("UNKNOWN_TOPIC_OR_PARTITION", `topic ${this.topic} was deleted`));
			return;
		}
		if (!this.#follows || topic.partitions.length === this.#cursors.length) return;
		for (const partition of topic.partitions.slice(this.#cursors.length)) {
			this.#cursors.push({ partition, next: partition.logStartOffset, end: Number.POSITIVE_INFINITY });
		}
		this.#stopWatching();
		this.#wake();
	}

	close(): void {
		if (this.#closed) return;
		this.#closed = true;
		this.#stopWatching();
		for (const timer of this.#away.values()) timer?.cancel();
		this.#away.clear();
		this.#connection.subscriptions.delete(this.id);
	}

	#wake(): void {
		if (this.#running) {
			this.#again = true;
			return;
		}
		this.#running = true;
		// All partitions that a commit moved are served together, and what is still in memory is taken from there.
		queueMicrotask(() => {
			this.#run().catch((error: unknown) => this.#end(error));
		});
	}

	get #mayPush(): boolean {
		return !this.#closed && this.#credits > 0 && this.#byteCredits > 0 && this.#connection.canPush;
	}

	async #run(): Promise<void> {
		try {
			do {
				this.#again = false;
				while (this.#mayPush) {
					const cursor = this.#nextReadable();
					if (cursor === undefined) break;
					if (cursor.next < cursor.partition.localStartOffset) {
						this.#readTiered(cursor);
						continue;
					}
					const tail = cursor.partition.readTail(cursor.next);
					if (tail !== undefined && tail.length > 0) this.#pushAll(cursor, tail);
					else await this.#readFile(cursor);
				}
				if (this.#closed) return;
				if (this.#cursors.every((cursor) => cursor.next >= cursor.end)) {
					this.#end(undefined);
					return;
				}
				if (this.#credits > 0 && this.#byteCredits > 0) this.#watch();
				else this.#stopWatching();
			} while (this.#again && this.#mayPush);
		} finally {
			this.#running = false;
		}
	}

	#readFile(cursor: Cursor): Promise<void> {
		return this.#connection.inTurn(async () => {
			if (!this.#mayPush) return;
			const { partition, next } = cursor;
			try {
				const bytes = await partition.read(next, READ_BYTES, undefined, undefined, 0);
				if (bytes.length > 0) this.#pushAll(cursor, [bytes]);
			} catch (error) {
				// It has left this machine meanwhile.
				if (!comesLater(error) || next >= partition.localStartOffset) throw error;
			}
		});
	}

	/** The others go on meanwhile. */
	#readTiered(cursor: Cursor): void {
		this.#away.set(cursor, undefined);
		const { clock } = this.#connection.host.broker;
		let patience = new Patience(clock, TIERED_PATIENCE_MS);
		const task = async (): Promise<void> => {
			if (!this.#mayPush) return;
			patience = new Patience(clock, TIERED_PATIENCE_MS);
			const bytes = await readTiered(cursor.partition, cursor.next, READ_BYTES, patience);
			if (bytes.length > 0) this.#pushAll(cursor, [bytes]);
		};
		this.#connection.tiered.run(task).then(
			() => this.#back(cursor),
			(error: unknown) => {
				if (!comesLater(error)) this.#end(error);
				else if (error.code === "OFFSET_NOT_AVAILABLE" && patience.isSpent) this.#back(cursor);
				else if (!this.#closed)
					this.#away.set(
						cursor,
						clock.after(TIERED_RETRY_MS, () => this.#back(cursor)),
					);
			},
		);
	}

	#back(cursor: Cursor): void {
		this.#away.delete(cursor);
		if (!this.#closed) this.#wake();
	}

	/** The next partition, in turn, that has something to send. */
	#nextReadable(): Cursor | undefined {
		for (let i = 0; i < this.#cursors.length; i++) {
			const at = (this.#turn + i) % this.#cursors.length;
			const cursor = this.#cursors[at] as Cursor;
			if (this.#away.has(cursor)) continue;
			if (cursor.next < Math.min(cursor.end, cursor.partition.lastStableOffset)) {
				this.#turn = at + 1;
				return cursor;
			}
		}
		return undefined;
	}

	/** Pushes from whole batches as far as credits and the socket allow. */
	#pushAll(cursor: Cursor, batches: readonly Buffer[]): void {
		while (this.#mayPush) {
			const frameBytes = this.#connection.peerFrameBytes - RECORDS_FRAME_OVERHEAD;
			const chunk = encodeRecords(batches, {
				partition: cursor.partition,
				from: cursor.next,
				end: Math.min(cursor.end, cursor.partition.lastStableOffset),
				maxRecords: this.#credits,
				softBytes: Math.min(PUSH_BYTES, this.#byteCredits, frameBytes),
				hardBytes: frameBytes,
			});
			if (chunk.count > 0) {
				const writer = new CborWriter(chunk.bytes.length + RECORDS_FRAME_OVERHEAD).beginMessage(
					MESSAGE.RECORDS,
					this.id,
				);
				writer.map(3).uint(0).uint(cursor.partition.number).uint(1).array(chunk.count).raw(chunk.bytes);
				writer.uint(2).uint(cursor.partition.lastStableOffset);
				const frame = writer.endFrame().take();
				this.#connection.push(frame);
				this.#credits -= chunk.count;
				this.#byteCredits -= frame.length - FRAME_HEADER_BYTES;
			}
			const before = cursor.next;
			cursor.next = chunk.next;
			if (chunk.tooLarge !== undefined) throw chunk.tooLarge;
			if (chunk.exhausted || cursor.next === before) return;
		}
	}

	#watch(): void {
		if (this.#unwatch.length > 0) return;
		for (const cursor of this.#cursors) {
			if (cursor.next < cursor.end) this.#unwatch.push(cursor.partition.watch(this));
		}
	}

	#stopWatching(): void {
		for (const unwatch of this.#unwatch.splice(0)) unwatch();
	}

	/** Tells the client that nothing more comes; without an error: all that was asked for has come. */
	#end(error: unknown): void {
		if (this.#closed) return;
		this.close();
		const writer = new CborWriter(64).beginMessage(MESSAGE.END, this.id);
		if (error === undefined) writer.map(0);
		else {
			const { code, message } = wireError(error);
			writer.raw(errorBody(code, message));
		}
		this.#connection.push(writer.endFrame().take());
	}
}
