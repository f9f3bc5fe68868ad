/**
 * What was produced and is not yet acknowledged: a bounded window, in order. After a reconnect all of it is sent again with the
 * same sequence numbers, and the gateway answers what it has already stored with its first answer.
 */
import { MESSAGE } from "../codec/protocol.ts";
import { CborWriter } from "../codec/writer.ts";
import { HeadwaterError } from "./errors.ts";
import { errorOf, type Fields, type Link } from "./link.ts";
import type { ProduceOptions, ProduceRecord, ProduceResult } from "./types.ts";
import { ANSWERS, check, encodeGroups, produceResults } from "./wire.ts";

/** What a produce request takes beside its groups, bytes. */
const REQUEST_OVERHEAD_BYTES = 32;

interface Entry {
	readonly id: number;
	sequence: number;
	/** CBOR. */
	readonly groups: Buffer;
	readonly records: readonly ProduceRecord[];
	readonly resolve: (results: ProduceResult[]) => void;
	readonly reject: (error: HeadwaterError) => void;
}

export class ProduceQueue {
	readonly #nextId: () => number;
	readonly #maxInFlight: number;
	#window = 1;
	#link: Link | undefined;
	#maxFrameBytes = 0;
	#nextSequence = 1;
	/** The highest sequence that the gateway has durably answered. */
	#acknowledged = 0;
	#attached = false;
	/** In the window: sent, or to be sent by the next connection. */
	readonly #entries = new Map<number, Entry>();
	/** Waiting for room in the window. */
	readonly #waiting = new Set<Entry>();
	#idle: (() => void)[] = [];
	#closed: HeadwaterError | undefined;

	constructor(nextId: () => number, maxInFlight: number | undefined) {
		this.#nextId = nextId;
		this.#maxInFlight = maxInFlight ?? Number.POSITIVE_INFINITY;
	}

	get empty(): boolean {
		return this.#entries.size === 0 && this.#waiting.size === 0;
	}

	/** Resolves when all that was produced is settled. */
	whenEmpty(): Promise<void> {
		return this.empty ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
	}

	produce(topic: string, records: readonly ProduceRecord[], options: ProduceOptions): Promise<ProduceResult[]> {
		return new Promise((resolve, reject) => {
			if (this.#closed) throw this.#closed;
			const { signal } = options;
			if (signal?.aborted) throw new HeadwaterError("ABORTED", "the produce was given up");
			const groups = encodeGroups(topic, records, options.partition);
			if (groups.length + REQUEST_OVERHEAD_BYTES > this.#maxFrameBytes) {
				throw new HeadwaterError(
					"MESSAGE_TOO_LARGE",
					`the request takes ${groups.length} bytes and the gateway's native.max.frame.bytes is ${this.#maxFrameBytes}: send fewer records at a time`,
				);
			}
			const aborted = () => {
				this.#waiting.delete(entry);
				this.#settled();
				reject(new HeadwaterError("ABORTED", "the produce was given up; its records may be stored all the same"));
			};
			const done = () => signal?.removeEventListener("abort", aborted);
			const entry: Entry = {
				id: this.#nextId(),
				sequence: 0,
				groups,
				records,
				resolve: (results) => {
					done();
					resolve(results);
				},
				reject: (error) => {
					done();
					reject(error);
				},
			};
			signal?.addEventListener("abort", aborted, { once: true });
			this.#waiting.add(entry);
			this.#fill();
		});
	}

	/** A connection is there: sends what is not acknowledged. */
	attach(link: Link): void {
		const greeting = link.greeting;
		if (greeting === undefined) return;
		const { lastSequence } = greeting;
		this.#link = link;
		this.#maxFrameBytes = greeting.maxFrameBytes;
		this.#window = Math.max(1, Math.min(greeting.window, this.#maxInFlight));
		const newest = this.#nextSequence - 1;
		if (this.#attached && lastSequence < this.#acknowledged) {
			this.#rejectAll(
				"OUT_OF_ORDER_SEQUENCE_NUMBER",
				"the gateway does not know any more what this client has produced (another data directory, or an older state of it): whether these records are stored is not known",
			);
		} else if (this.#entries.size > 0 && lastSequence > newest) {
			this.#rejectAll("INVALID_PRODUCER_EPOCH", "something else has produced with this client id in the meantime");
		}
		// What the gateway refused for want of storage it does not count: those behind it move up.
		const first = this.#entries.values().next().value;
		if (first === undefined) this.#nextSequence = lastSequence + 1;
		else if (lastSequence + 1 < first.sequence) {
			this.#nextSequence = lastSequence + 1;
			for (const entry of this.#entries.values()) entry.sequence = this.#nextSequence++;
		}
		this.#acknowledged = first === undefined ? lastSequence : Math.min(lastSequence, first.sequence - 1);
		this.#attached = true;
		for (const entry of this.#entries.values()) this.#send(entry);
		this.#fill();
	}

	detach(): void {
		this.#link = undefined;
	}

	/** An answer with this id; false when it is not one of these. */
	answered(type: number, id: number, body: Fields): boolean {
		const entry = this.#entries.get(id);
		if (entry === undefined) return false;
		if (type === MESSAGE.ERROR) {
			const error = errorOf(body);
			this.#entries.delete(id);
			if (error.code !== "KAFKA_STORAGE_ERROR") this.#acknowledged = entry.sequence;
			entry.reject(error);
		} else {
			check(body, ANSWERS.produce, "produce");
			const results = produceResults(body, entry.records);
			this.#entries.delete(id);
			this.#acknowledged = entry.sequence;
			entry.resolve(results);
		}
		this.#fill();
		this.#settled();
		return true;
	}

	/** Nothing more can be produced. */
	close(error: HeadwaterError): void {
		this.#closed ??= error;
		this.#rejectAll(error.code, error.message);
		for (const entry of this.#waiting) entry.reject(error);
		this.#waiting.clear();
		this.#settled();
	}

	#fill(): void {
		if (!this.#attached) return;
		for (const entry of this.#waiting) {
			if (this.#entries.size >= this.#window) return;
			this.#waiting.delete(entry);
			entry.sequence = this.#nextSequence++;
			this.#entries.set(entry.id, entry);
			this.#send(entry);
		}
	}

	#send(entry: Entry): void {
		if (this.#link === undefined) return;
		const writer = new CborWriter(entry.groups.length + REQUEST_OVERHEAD_BYTES).beginMessage(MESSAGE.PRODUCE, entry.id);
		this.#link.send(writer.map(2).uint(0).raw(entry.groups).uint(1).uint(entry.sequence).endFrame().take());
	}

	#rejectAll(code: string, message: string): void {
		for (const entry of this.#entries.values()) entry.reject(new HeadwaterError(code, message));
		this.#entries.clear();
	}

	#settled(): void {
		if (this.empty) for (const resolve of this.#idle.splice(0)) resolve();
	}
}
