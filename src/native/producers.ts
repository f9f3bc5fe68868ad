/**
 * What makes a produce happen once however often it is sent. For each client id the state table keeps the answers of the last
 * PRODUCER_WINDOW sequence numbers, one entry each (key: sequence modulo the window, "/", client id), written in the same commit
 * as the records. So a resend, after a cut connection or a kill -9, is answered with the first answer and stores nothing.
 *
 * An entry's value is CBOR: [sequence, epoch, time in ms, message type of the answer, the answer's body as bytes].
 */
import type { Broker } from "../broker/broker.ts";
import { RowAges } from "../broker/row-ages.ts";
import { StateSpace } from "../log/state-spaces.ts";
import type { Decode } from "./codec/decode.ts";
import { PRODUCER_WINDOW } from "./codec/protocol.ts";
import { CborWriter } from "./codec/writer.ts";

/** Who may be connected as a producer. */
export interface ProducerOwner {
	/** Another connection has taken the client id over. */
	fenced(): void;
}

/** Waits for a request that another connection sent and whose commit is not finished. */
export type Waiter = (type: number, body: Buffer) => void;

export class Producer {
	readonly clientId: string;
	owner: ProducerOwner | undefined;
	epoch = 0;
	/** The highest sequence number taken, durable or about to be. 0: none. */
	lastSequence = 0;
	/** Sequence numbers whose commit is not finished, and who else waits for it. */
	readonly uncommitted = new Map<number, Waiter[]>();

	constructor(clientId: string) {
		this.clientId = clientId;
	}
}

export interface StoredAnswer {
	readonly sequence: number;
	readonly epoch: number;
	readonly timeMs: number;
	readonly type: number;
	readonly body: Buffer;
}

export class Producers {
	readonly #broker: Broker;
	readonly #decode: Decode;
	readonly #active = new Map<string, Producer>();
	readonly #ages: RowAges;

	constructor(broker: Broker, decode: Decode, ages = new RowAges(broker.clock)) {
		this.#broker = broker;
		this.#ages = ages;
		this.#decode = decode;
	}

	/**
	 * Makes `owner` the one that produces as `clientId`; whoever did so before is fenced. A client that was connected before gives
	 * the epoch it was given then; a new one gives none and gets the next. Undefined: the epoch is an old one.
	 */
	attach(clientId: string, epoch: number | undefined, owner: ProducerOwner): Producer | undefined {
		const producer = this.#active.get(clientId) ?? this.#load(clientId);
		if (epoch !== undefined && epoch < producer.epoch) return undefined;
		producer.epoch = epoch ?? producer.epoch + 1;
		const before = producer.owner;
		producer.owner = owner;
		this.#active.set(clientId, producer);
		before?.fenced();
		return producer;
	}

	detach(producer: Producer, owner: ProducerOwner): void {
		if (producer.owner === owner) producer.owner = undefined;
		this.#release(producer);
	}

	/** The answer given, or to be given, to a sequence number that was taken; undefined: it is too far back. Durable ones only. */
	storedAnswer(producer: Producer, sequence: number): StoredAnswer | undefined {
		const answer = this.#read(slotKey(producer.clientId, sequence));
		return answer?.sequence === sequence ? answer : undefined;
	}

	/** Takes the next sequence number, in the commit being gathered. `committed` must be called when that is durable. */
	take(producer: Producer, sequence: number, type: number, body: Buffer): void {
		const value = new CborWriter(body.length + 40)
			.array(5)
			.uint(sequence)
			.uint(producer.epoch)
			.uint(Math.max(0, this.#broker.clock.now()))
			.uint(type)
			.bytes(body);
		this.#broker.log.putState(StateSpace.NATIVE_PRODUCER, slotKey(producer.clientId, sequence), value.take());
		producer.lastSequence = sequence;
		producer.uncommitted.set(sequence, []);
	}

	committed(producer: Producer, sequence: number, type: number, body: Buffer): void {
		const waiters = producer.uncommitted.get(sequence) ?? [];
		producer.uncommitted.delete(sequence);
		for (const waiter of waiters) waiter(type, body);
		this.#release(producer);
	}

	/** Forgets a client id that will not come back. */
	forget(producer: Producer): void {
		for (let slot = 0; slot < PRODUCER_WINDOW; slot++) {
			const key = slotKey(producer.clientId, slot);
			if (this.#broker.log.getState(StateSpace.NATIVE_PRODUCER, key) !== undefined) {
				this.#broker.log.deleteState(StateSpace.NATIVE_PRODUCER, key);
			}
		}
		producer.lastSequence = 0;
	}

	/** Forgets client ids not heard of for `ageMs`. What was stored before the clock was set, or stepped, counts from now. */
	expire(ageMs: number): void {
		const walk = this.#ages.begin();
		const newest = new Map<string, number>();
		for (const [key, value] of this.#broker.log.scanState(StateSpace.NATIVE_PRODUCER, "")) {
			const clientId = key.slice(key.indexOf("/") + 1);
			newest.set(clientId, Math.max(newest.get(clientId) ?? 0, this.#parse(value).timeMs));
		}
		for (const [clientId, timeMs] of newest) {
			if (this.#active.has(clientId)) continue;
			const fate = walk.fateOf(timeMs, timeMs + ageMs);
			if (fate === "restamp") this.#restamp(clientId, walk.now);
			else if (fate === "expire") this.forget(new Producer(clientId));
		}
		walk.finished();
	}

	#restamp(clientId: string, now: number): void {
		for (let slot = 0; slot < PRODUCER_WINDOW; slot++) {
			const answer = this.#read(slotKey(clientId, slot));
			if (answer === undefined) continue;
			const value = new CborWriter(answer.body.length + 40)
				.array(5)
				.uint(answer.sequence)
				.uint(answer.epoch)
				.uint(now)
				.uint(answer.type)
				.bytes(answer.body);
			this.#broker.log.putState(StateSpace.NATIVE_PRODUCER, slotKey(clientId, slot), value.take());
		}
	}

	#load(clientId: string): Producer {
		const producer = new Producer(clientId);
		for (let slot = 0; slot < PRODUCER_WINDOW; slot++) {
			const answer = this.#read(slotKey(clientId, slot));
			if (answer === undefined || answer.sequence <= producer.lastSequence) continue;
			producer.lastSequence = answer.sequence;
			producer.epoch = answer.epoch;
		}
		return producer;
	}

	#read(key: string): StoredAnswer | undefined {
		const value = this.#broker.log.getState(StateSpace.NATIVE_PRODUCER, key);
		return value && this.#parse(value);
	}

	#parse(value: Uint8Array): StoredAnswer {
		const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
		const [sequence, epoch, timeMs, type, body] = this.#decode(bytes) as [number, number, number, number, Buffer];
		return { sequence, epoch, timeMs, type, body };
	}

	#release(producer: Producer): void {
		if (producer.owner === undefined && producer.uncommitted.size === 0) this.#active.delete(producer.clientId);
	}
}

function slotKey(clientId: string, sequence: number): string {
	return `${sequence % PRODUCER_WINDOW}/${clientId}`;
}
