/**
 * A subscriber of the load generators: counts PUBLISH packets where they lie, checks the numbers in their payloads, and
 * acknowledges all of one read in one write. Nothing is allocated for an event: what it costs competes with the broker.
 */
import type net from "node:net";
import { openClient } from "./client-socket.ts";
import { DISCONNECT, NUMBER_BYTES, subscribePacket } from "./packets.ts";

export interface SubscriberOptions {
	readonly port: number;
	/** Of this connection among those of its process. */
	readonly number: number;
	readonly clientId: string;
	/** Default true. */
	readonly clean?: boolean;
	/** Payloads carry publisher (below that number) and sequence; each publisher's have to come in order, none missing. */
	readonly publishers?: number;
	/** After each event of a publisher that came for the first time. */
	onEvent?(publisher: number): void;
	/** After all events of one read. */
	onRead?(): void;
	failed(error: Error): void;
}

const PUBLISH = 3;
const SUBACK = 9;
const REFUSED = 0x80;
/** As many acknowledgements as one read of 64 KiB can ask for. */
const ACKS_BYTES = 65_536;
/** Filters in one SUBSCRIBE. */
const FILTERS_AT_ONCE = 200;

/** Of all subscribers: written, and free again when the socket has taken it at once. */
let acks = Buffer.allocUnsafe(ACKS_BYTES);
let ackBytes = 0;

export class Subscriber {
	/** Events, repeated ones included. */
	events = 0;
	/** Events that came again. */
	duplicates = 0;
	/** Of the sequence numbers of all events. */
	sequenceSum = 0;
	/** The next sequence number, by publisher. */
	readonly expected: Uint32Array;
	readonly #options: SubscriberOptions;
	#socket: net.Socket | undefined;
	/** The beginning of a packet whose end has not come. */
	#rest = Buffer.alloc(256);
	#restBytes = 0;
	#closing = false;
	#broken = false;
	#suback: { resolve(): void; reject(error: Error): void } | undefined;

	/** Resolves when the broker has taken the connection. `expected`: where an earlier connection's sequences ended. */
	static async open(options: SubscriberOptions): Promise<Subscriber> {
		const subscriber = new Subscriber(options);
		subscriber.#socket = await openClient({
			...options,
			received: (bytes, length, socket) => subscriber.received(bytes, length, socket),
			failed: (error) => subscriber.#failed(error),
		});
		return subscriber;
	}

	constructor(options: SubscriberOptions) {
		this.#options = options;
		this.expected = new Uint32Array(options.publishers ?? 0);
	}

	/** Resolves when all are granted. */
	async subscribe(filters: readonly string[], qos: number): Promise<void> {
		for (let at = 0; at < filters.length; at += FILTERS_AT_ONCE) {
			const answered = Promise.withResolvers<void>();
			this.#suback = answered;
			this.#socket?.write(subscribePacket(1, filters.slice(at, at + FILTERS_AT_ONCE), qos));
			await answered.promise;
		}
	}

	/** DISCONNECT; resolves when the connection is closed. */
	leave(): Promise<void> {
		this.#closing = true;
		return new Promise((resolve) => {
			this.#socket?.once("close", () => resolve());
			this.#socket?.end(DISCONNECT);
		});
	}

	/** One read: `bytes[0..length)`. */
	received(bytes: Buffer, length: number, socket: net.Socket): void {
		if (this.#broken) return;
		let at = this.#restBytes > 0 ? this.#complete(bytes, length) : 0;
		while (at < length) {
			const end = packetEnd(bytes, at, length);
			if (end < 0) break;
			this.#packet(bytes, at, end);
			at = end;
		}
		if (at < length) this.#keep(bytes, at, length);
		if (ackBytes > 0) acknowledge(socket);
		this.#options.onRead?.();
	}

	/** Completes the packet begun before and handles it; returns where the next one begins, or `length`. */
	#complete(bytes: Buffer, length: number): number {
		let at = 0;
		// Its length is known after five bytes at most.
		while (at < length && packetLength(this.#rest, 0, this.#restBytes) < 0) this.#keep(bytes, at, ++at);
		const whole = packetLength(this.#rest, 0, this.#restBytes);
		if (whole < 0) return length;
		const taken = Math.min(whole - this.#restBytes, length - at);
		this.#keep(bytes, at, at + taken);
		if (this.#restBytes === whole) {
			this.#packet(this.#rest, 0, whole);
			this.#restBytes = 0;
		}
		return at + taken;
	}

	#keep(bytes: Buffer, from: number, to: number): void {
		const total = this.#restBytes + to - from;
		if (total > this.#rest.length) {
			const grown = Buffer.alloc(total * 2);
			this.#rest.copy(grown, 0, 0, this.#restBytes);
			this.#rest = grown;
		}
		bytes.copy(this.#rest, this.#restBytes, from, to);
		this.#restBytes = total;
	}

	#packet(bytes: Buffer, start: number, end: number): void {
		const first = bytes[start] as number;
		const type = first >> 4;
		if (type === PUBLISH) this.#publish(bytes, start, end, (first >> 1) & 3);
		else if (type === SUBACK) {
			const refused = bytes
				.subarray(start, end)
				.subarray(4)
				.some((code) => code >= REFUSED);
			if (refused) this.#suback?.reject(new Error(`${this.#options.clientId}: a subscription was refused`));
			else this.#suback?.resolve();
		}
	}

	#publish(bytes: Buffer, start: number, end: number, qos: number): void {
		let at = start + 2;
		while ((bytes[at - 1] as number) >= 0x80) at++;
		at += 2 + ((bytes[at] as number) << 8) + (bytes[at + 1] as number);
		if (qos > 0) {
			acks[ackBytes] = 0x40;
			acks[ackBytes + 1] = 2;
			acks[ackBytes + 2] = bytes[at] as number;
			acks[ackBytes + 3] = bytes[at + 1] as number;
			ackBytes += 4;
			at += 2;
		}
		this.events++;
		if (end - at < NUMBER_BYTES) return;
		const publisher = word(bytes, at);
		const sequence = word(bytes, at + 4);
		this.sequenceSum += sequence;
		if (publisher >= this.expected.length) return;
		const expected = this.expected[publisher] as number;
		if (sequence !== expected) {
			this.#outOfOrder(publisher, sequence, expected, ((bytes[start] as number) & 8) !== 0);
			return;
		}
		this.expected[publisher] = expected + 1;
		this.#options.onEvent?.(publisher);
	}

	#outOfOrder(publisher: number, sequence: number, expected: number, dup: boolean): void {
		this.duplicates++;
		if (sequence < expected && dup) return;
		const what = sequence < expected ? "came again without DUP" : "came";
		this.#failed(
			new Error(
				`${this.#options.clientId}: event ${sequence} of publisher ${publisher} ${what}, ${expected} was expected`,
			),
		);
	}

	#failed(error: Error): void {
		if (this.#closing || this.#broken) return;
		this.#broken = true;
		this.#suback?.reject(error);
		this.#options.failed(error);
	}
}

function acknowledge(socket: net.Socket): void {
	socket.write(acks.subarray(0, ackBytes));
	// What the operating system has not taken still belongs to the socket.
	if (socket.writableLength > 0) acks = Buffer.allocUnsafe(ACKS_BYTES);
	ackBytes = 0;
}

function word(bytes: Buffer, at: number): number {
	return (
		(((bytes[at] as number) << 24) |
			((bytes[at + 1] as number) << 16) |
			((bytes[at + 2] as number) << 8) |
			(bytes[at + 3] as number)) >>>
		0
	);
}

/** Of the packet at `at`, its fixed header included; -1 while the header is not whole. */
function packetLength(bytes: Buffer, at: number, end: number): number {
	let remaining = 0;
	for (let i = 0; i < 4; i++) {
		if (at + 1 + i >= end) return -1;
		const byte = bytes[at + 1 + i] as number;
		remaining += (byte & 0x7f) * 2 ** (7 * i);
		if (byte < 0x80) return 2 + i + remaining;
	}
	throw new Error("a remaining length of more than four bytes");
}

/** Where the packet at `at` ends; -1 if not in these bytes. */
function packetEnd(bytes: Buffer, at: number, end: number): number {
	const length = packetLength(bytes, at, end);
	return length < 0 || at + length > end ? -1 : at + length;
}
