/**
 * A publisher of the load generators whose events are numbered: payloads begin with publisher and sequence, so that whoever
 * receives them can tell what is missing, repeated or out of order. Its packets lie in a ring made before; a slot is
 * numbered anew when the event that it held has been answered or delivered.
 */
import type net from "node:net";
import { openClient } from "./client-socket.ts";
import { ACK_BYTES, publishPacket } from "./packets.ts";

export interface NumberedPublisherOptions {
	readonly port: number;
	/** Of this connection among those of its process. */
	readonly number: number;
	readonly clientId: string;
	/** In payloads. */
	readonly publisher: number;
	/** Of the first event; default 0. */
	readonly firstSequence?: number;
	/** Each `#` becomes a decimal digit of the event's sequence number. */
	readonly topic: string;
	readonly qos: 0 | 1;
	readonly retain?: boolean;
	/** Of payload, 8 at least. */
	readonly bytes: number;
	/** Events that may be under way. */
	readonly window: number;
	/** After the acknowledgements of one read. */
	onAcknowledged?(publisher: NumberedPublisher): void;
	failed(error: Error): void;
}

const PUBACK = 0x40;
const HASH = "#".charCodeAt(0);
const ZERO = "0".charCodeAt(0);
/** The part of a window that is sent at a time, at least. */
const REFILL = 0.25;

export class NumberedPublisher {
	sent = 0;
	acknowledged = 0;
	readonly window: number;
	readonly #options: NumberedPublisherOptions;
	readonly #ring: Buffer;
	readonly #packetBytes: number;
	/** In a packet, the topic's digits, last first, and the sequence number. */
	readonly #digitsAt: readonly number[];
	readonly #sequenceAt: number;
	#sequence: number;
	#socket: net.Socket | undefined;
	#restBytes = 0;
	#until = 0;
	#finished: (() => void) | undefined;

	static async open(options: NumberedPublisherOptions): Promise<NumberedPublisher> {
		const publisher = new NumberedPublisher(options);
		publisher.#socket = await openClient({
			...options,
			received: (bytes, length) => publisher.#received(bytes, length),
		});
		return publisher;
	}

	private constructor(options: NumberedPublisherOptions) {
		const { topic, bytes, qos, retain = false, window } = options;
		this.#options = options;
		this.window = window;
		this.#sequence = options.firstSequence ?? 0;
		const payload = Buffer.alloc(bytes, "t=21.5;");
		payload.writeUInt32BE(options.publisher, 0);
		const packets = Array.from({ length: window }, (_, i) => publishPacket(topic, qos, retain, i + 1, payload));
		this.#ring = Buffer.concat(packets);
		const [packet] = packets as [Buffer];
		this.#packetBytes = packet.length;
		this.#sequenceAt = packet.length - bytes + 4;
		const topicAt = packet.indexOf(topic);
		const hashes = [...Buffer.from(topic)].flatMap((byte, i) => (byte === HASH ? [topicAt + i] : []));
		this.#digitsAt = hashes.reverse();
	}

	/** The next `count` events; the caller knows that so many slots are free. */
	send(count: number): void {
		const slot = this.sent % this.window;
		const first = Math.min(count, this.window - slot);
		const from = slot * this.#packetBytes;
		const to = from + first * this.#packetBytes;
		for (let at = from; at < to; at += this.#packetBytes) this.#number(at);
		this.sent += first;
		this.#socket?.write(this.#ring.subarray(from, to));
		if (count > first) this.send(count - first);
	}

	/** Sends that many more, a window at a time; QoS 1. Resolves when all are acknowledged. */
	run(count: number): Promise<void> {
		this.#until = this.sent + count;
		return new Promise((resolve) => {
			this.#finished = resolve;
			this.#refill();
		});
	}

	/** For the end of the measurement: nothing more is expected of the connection. */
	close(): void {
		this.#socket?.removeAllListeners("close").destroy();
	}

	#number(at: number): void {
		const ring = this.#ring;
		const sequence = this.#sequence++;
		ring.writeUInt32BE(sequence, at + this.#sequenceAt);
		let rest = sequence;
		for (const digitAt of this.#digitsAt) {
			const tenth = Math.floor(rest / 10);
			ring[at + digitAt] = ZERO + rest - tenth * 10;
			rest = tenth;
		}
	}

	#refill(): void {
		const room = Math.min(this.window - (this.sent - this.acknowledged), this.#until - this.sent);
		if (room >= this.window * REFILL || (room > 0 && this.sent + room === this.#until)) this.send(room);
		else if (this.acknowledged === this.#until) this.#finished?.();
	}

	/** Only PUBACKs come: four bytes each. */
	#received(bytes: Buffer, length: number): void {
		const total = this.#restBytes + length;
		const first = (ACK_BYTES - this.#restBytes) % ACK_BYTES;
		if (first < length && bytes[first] !== PUBACK) {
			this.#options.failed(new Error(`PUBACK expected: ${bytes.toString("hex", 0, Math.min(length, 16))}`));
			return;
		}
		this.acknowledged += Math.floor(total / ACK_BYTES);
		this.#restBytes = total % ACK_BYTES;
		if (this.#finished !== undefined) this.#refill();
		this.#options.onAcknowledged?.(this);
	}
}
