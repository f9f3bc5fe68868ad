/**
 * Packets out of what a socket brings, handled in place where a chunk has them whole. MQTT before 5 cannot be told what is
 * too large, and an event that ends the connection would come again for ever: of such a PUBLISH only the head is kept, for
 * its acknowledgement, and the payload is passed over.
 */
import type { Pressure } from "../../../src/base/pressure.ts";
import { packetLength } from "../codec/framing.ts";
import { MqttError, PacketType } from "../codec/packets.ts";
import { ReasonCode } from "../codec/reason-codes.ts";
import { PartialPacket } from "../partial-packet.ts";

const FIXED_HEADER_MAX = 5;
const ANY_LENGTH = Number.POSITIVE_INFINITY;

export interface PacketHandler {
	/** bytes[start..end) is one packet, valid until this returns. */
	packet(bytes: Buffer, start: number, end: number): void;
	/** `head` is a PUBLISH up to its packet identifier; the whole would be `sizeBytes`. */
	oversized(head: Buffer, sizeBytes: number): void;
}

export class PacketStream {
	readonly #pressure: Pressure;
	readonly #granted: () => void;
	readonly #maxBytes: number;
	readonly #passOver: boolean;
	/** A fixed header that is not complete. */
	#header = Buffer.alloc(0);
	#partial: PartialPacket | undefined;
	/** Of a packet that is too large: what is to come, and its head as far as it is here. */
	#oversizedLeft = 0;
	#oversizedBytes = 0;
	#head: Buffer | undefined;

	/**
	 * `passOver`: a PUBLISH that is too large is passed over, else it is an MqttError. `granted`: a large packet may be read
	 * on, after `waits` was true.
	 */
	constructor(pressure: Pressure, maxBytes: number, passOver: boolean, granted: () => void) {
		this.#pressure = pressure;
		this.#granted = granted;
		this.#maxBytes = maxBytes;
		this.#passOver = passOver;
	}

	/** A packet has arrived in part. */
	get holdsPart(): boolean {
		return this.#partial !== undefined;
	}

	/** It must not be read on yet. */
	get waits(): boolean {
		return this.#partial?.waits === true;
	}

	/** Throws MqttError, and what the handler throws. */
	feed(chunk: Buffer, handler: PacketHandler): void {
		let bytes = chunk;
		if (this.#header.length > 0) {
			bytes = Buffer.concat([this.#header, chunk]);
			this.#header = Buffer.alloc(0);
		}
		let at = 0;
		if (this.#partial !== undefined) {
			at = this.#partial.take(bytes, this.#maxBytes);
			const whole = this.#partial.whole();
			if (whole === undefined) return;
			this.discard();
			handler.packet(whole, 0, whole.length);
		} else if (this.#oversizedLeft > 0) {
			at = this.#passOn(bytes, 0, handler);
		}
		while (at < bytes.length) {
			const length = packetLength(bytes, at, bytes.length, ANY_LENGTH);
			const announced = length > 0 ? length : announcedLength(bytes, at);
			if (announced === 0) {
				this.#header = Buffer.from(bytes.subarray(at));
				return;
			}
			if (announced > this.#maxBytes) {
				this.#begin(bytes[at]!, announced);
				at = this.#passOn(bytes, at, handler);
			} else if (length > 0) {
				handler.packet(bytes, at, at + length);
				at += length;
			} else {
				this.#partial = new PartialPacket(this.#pressure, 0, this.#granted);
				this.#partial.take(bytes.subarray(at), this.#maxBytes);
				return;
			}
		}
	}

	#begin(firstByte: number, sizeBytes: number): void {
		if (!this.#passOver || firstByte >> 4 !== PacketType.publish) {
			throw new MqttError(
				ReasonCode.PacketTooLarge,
				"5.0 section 3.1.2.11.4",
				`a packet of ${sizeBytes} bytes; the largest accepted here is ${this.#maxBytes}`,
			);
		}
		this.#oversizedLeft = this.#oversizedBytes = sizeBytes;
		this.#head = Buffer.alloc(0);
	}

	/** Takes what of the packet that is too large lies at bytes[at..); returns where the rest begins. */
	#passOn(bytes: Buffer, at: number, handler: PacketHandler): number {
		const end = Math.min(bytes.length, at + this.#oversizedLeft);
		if (this.#head !== undefined) {
			const joined = Buffer.concat([this.#head, bytes.subarray(at, end)]);
			const headBytes = headLength(joined);
			if (headBytes > 0 && headBytes <= joined.length) {
				this.#head = undefined;
				handler.oversized(joined.subarray(0, headBytes), this.#oversizedBytes);
			} else this.#head = joined; // below 70 KB: its topic is not whole yet
		}
		this.#oversizedLeft -= end - at;
		if (this.#oversizedLeft === 0) this.#head = undefined;
		return end;
	}

	/** The connection is gone. */
	discard(): void {
		this.#partial?.discard();
		this.#partial = undefined;
	}
}

/** What the fixed header at `position` promises; 0 while it is not complete. */
function announcedLength(bytes: Buffer, position: number): number {
	let remaining = 0;
	for (let i = 1; i < FIXED_HEADER_MAX && position + i < bytes.length; i++) {
		const byte = bytes[position + i]!;
		remaining |= (byte & 0x7f) << (7 * (i - 1));
		if (byte < 0x80) return 1 + i + remaining;
	}
	return 0;
}

/** The bytes of a PUBLISH up to its payload, in a version without properties; 0 while its topic's length is not here. */
function headLength(bytes: Buffer): number {
	let at = 1;
	while (at < bytes.length && bytes[at]! >= 0x80) at++;
	at++;
	if (at + 2 > bytes.length) return 0;
	const hasIdentifier = (bytes[0]! & 0x06) !== 0;
	return at + 2 + bytes.readUInt16BE(at) + (hasIdentifier ? 2 : 0);
}
