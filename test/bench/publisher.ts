/**
 * One connection of the load generator. It keeps a window of publishes unacknowledged (QoS 1 and 2), floods (QoS 0), sends at a
 * pace, or only stays connected. Reads go into one buffer that all connections share, and packets are slices of one buffer made
 * before: the generator has to be lighter than any broker.
 */
import type net from "node:net";
import { openClient } from "./client-socket.ts";
import type { Histogram } from "./histogram.ts";
import { ACK_BYTES, PINGREQ, publishPackets } from "./packets.ts";

export interface PublisherOptions {
	readonly port: number;
	readonly window: number;
	readonly bytes: number;
	readonly qos: 0 | 1 | 2;
	/** Publishes are sent by `one()` only: an acknowledgement does not send the next. */
	readonly paced?: boolean;
	/** The packets of a window go to that many topics in turn. */
	readonly topics?: number;
	readonly latencies: Histogram;
	/** The broker closed the connection, or sent what it must not. */
	failed(error: Error): void;
}

const PUBACK = 0x40;
const PUBREC = 0x50;
const PUBCOMP = 0x70;
const PINGRESP = 0xd0;
/**
 * The part of a window that is sent at a time, at least: a broker that writes each acknowledgement by itself would otherwise be
 * answered with single publishes, and the generator, not the broker, be the limit.
 */
const REFILL = 0.25;

export class Publisher {
	readonly #options: PublisherOptions;
	readonly #window: number;
	readonly #packets: Buffer;
	readonly #packetBytes: number;
	readonly #socket: net.Socket;
	readonly #sentAt: number[] = [];
	readonly #rest = Buffer.alloc(ACK_BYTES);
	#restBytes = 0;
	readonly #refill: number;
	#next = 0;
	#free = 0;
	#unanswered = 0;
	#stopping = false;
	#answered: (() => void) | undefined;
	sent = 0;
	acknowledged = 0;

	/** Resolves when the broker has taken the connection. */
	static async open(number: number, options: PublisherOptions): Promise<Publisher> {
		let publisher: Publisher | undefined;
		const socket = await openClient({
			port: options.port,
			number,
			clientId: `load-${process.pid}-${number}`,
			received: (bytes, length) => publisher?.received(bytes, length),
			failed: options.failed,
		});
		publisher = new Publisher(number, options, socket);
		return publisher;
	}

	private constructor(number: number, options: PublisherOptions, socket: net.Socket) {
		this.#options = options;
		this.#window = options.window;
		this.#packets = publishPackets(number, options.qos, options.window, options.bytes, options.topics);
		this.#packetBytes = this.#packets.length / options.window;
		this.#refill = Math.max(1, Math.floor(options.window * REFILL));
		this.#socket = socket;
	}

	/** Fills the window and keeps it at least three quarters full; QoS 0: writes as much as the socket takes. */
	begin(): void {
		if (this.#options.qos === 0) this.#flood();
		else this.#send(this.#window);
	}

	/** One publish, of a paced connection. False, and nothing is sent, when a whole window is unanswered. */
	one(): boolean {
		if (this.#unanswered >= this.#window) return false;
		this.#sentAt.push(performance.now());
		this.#write(1);
		return true;
	}

	/** Sends nothing new; resolves when everything sent is answered. QoS 0: when the broker has read it, which a PINGRESP behind it says. */
	stop(): Promise<void> {
		this.#stopping = true;
		return new Promise((resolve) => {
			this.#answered = resolve;
			if (this.#options.qos === 0) this.#socket.write(PINGREQ);
			else if (this.#unanswered === 0) resolve();
		});
	}

	/** QoS 0: resolves when the broker has read all that was written before. */
	barrier(): Promise<void> {
		return new Promise((resolve) => {
			this.#answered = resolve;
			this.#socket.write(PINGREQ);
		});
	}

	#flood(): void {
		for (;;) {
			if (this.#stopping) return;
			this.sent += this.#window;
			if (!this.#socket.write(this.#packets)) break;
		}
		this.#socket.once("drain", () => this.#flood());
	}

	#send(count: number): void {
		if (this.#next === 0) this.#sentAt.push(performance.now());
		const first = Math.min(count, this.#window - this.#next);
		this.#write(first);
		if (count > first) this.#send(count - first);
	}

	/** At most to the end of the window's buffer. */
	#write(count: number): void {
		const whole = count === this.#window;
		const from = this.#next * this.#packetBytes;
		this.#socket.write(whole ? this.#packets : this.#packets.subarray(from, from + count * this.#packetBytes));
		this.#next = (this.#next + count) % this.#window;
		this.sent += count;
		this.#unanswered += count;
	}

	received(bytes: Buffer, byteCount: number): void {
		let chunk = bytes;
		let length = byteCount;
		if (this.#restBytes > 0) {
			chunk = Buffer.concat([this.#rest.subarray(0, this.#restBytes), bytes.subarray(0, byteCount)]);
			length = chunk.length;
		}
		let at = 0;
		let completed = 0;
		let releases: Buffer | undefined;
		let released = 0;
		while (at + 2 <= length) {
			const type = chunk[at] as number;
			if (type === PINGRESP) {
				at += 2;
				this.#answered?.();
				continue;
			}
			if (at + ACK_BYTES > length) break;
			if (type === PUBACK || type === PUBCOMP) completed += 1;
			else if (type === PUBREC) {
				releases ??= Buffer.allocUnsafe(length);
				released = releases.writeUInt16BE(0x6202, released);
				released = releases.writeUInt16BE(chunk.readUInt16BE(at + 2), released);
			} else {
				this.#options.failed(new Error(`unexpected packet ${chunk.toString("hex", at, Math.min(length, at + 16))}`));
				return;
			}
			at += ACK_BYTES;
		}
		this.#restBytes = length - at;
		if (this.#restBytes > 0) chunk.copy(this.#rest, 0, at, length);
		if (releases !== undefined) this.#socket.write(releases.subarray(0, released));
		if (completed > 0) this.#count(completed);
	}

	/** Brokers acknowledge one connection's publishes in order [MQTT-4.6.0-2]; the first one of each window is timed. */
	#count(count: number): void {
		const before = this.acknowledged;
		this.acknowledged += count;
		this.#unanswered -= count;
		const step = this.#options.paced ? 1 : this.#window;
		let timed = Math.ceil(this.acknowledged / step) - Math.ceil(before / step);
		for (; timed > 0; timed -= 1) {
			const sent = this.#sentAt.shift();
			if (sent !== undefined) this.#options.latencies.add(performance.now() - sent);
		}
		if (this.#stopping) {
			if (this.#unanswered === 0) this.#answered?.();
		} else if (!this.#options.paced) {
			this.#free += count;
			if (this.#free < this.#refill) return;
			this.#send(this.#free);
			this.#free = 0;
		}
	}
}
