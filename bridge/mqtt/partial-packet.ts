/**
 * The beginning of a packet whose end has not arrived yet: the only received bytes that are ever copied. Grows with what
 * arrives, not with what the fixed header promises, and counts in the memory budget. A large one must not be read on
 * before it has room there.
 */
import { SMALL_REQUEST_BYTES } from "../../src/base/arrival.ts";
import type { Pressure } from "../../src/base/pressure.ts";
import { packetLength } from "./codec/framing.ts";

/** The first byte and a Remaining Length of up to four. */
const FIXED_HEADER_MAX = 5;

export class PartialPacket {
	/** When its first byte came, or when it could be read on. */
	sinceTick: number;
	readonly #pressure: Pressure;
	readonly #granted: () => void;
	#giveRoom: (() => void) | undefined;
	#hasRoom = false;
	#bytes = Buffer.alloc(0);
	#length = 0;
	/** Whole length, once the fixed header is complete. */
	#expected = 0;

	/** `granted`: it may be read on, after `waits` was true. */
	constructor(pressure: Pressure, sinceTick: number, granted: () => void) {
		this.#pressure = pressure;
		this.sinceTick = sinceTick;
		this.#granted = granted;
	}

	/** It has no room yet. */
	get waits(): boolean {
		return this.#giveRoom !== undefined && !this.#hasRoom;
	}

	/** Takes what belongs to the packet from the chunk's beginning; returns how much. Throws MqttError as packetLength does. */
	take(chunk: Buffer, maxPacketBytes: number, shortest = true): number {
		let taken = 0;
		while (this.#expected === 0 && taken < chunk.length) {
			this.#append(chunk, taken, taken + 1);
			taken++;
			this.#readHeader(maxPacketBytes, shortest);
		}
		if (this.#expected > this.#length) {
			const end = Math.min(chunk.length, taken + this.#expected - this.#length);
			this.#append(chunk, taken, end);
			taken = end;
		}
		return taken;
	}

	/** The packet, when all of it is here. */
	whole(): Buffer | undefined {
		return this.#expected > 0 && this.#length === this.#expected ? this.#bytes.subarray(0, this.#length) : undefined;
	}

	discard(): void {
		this.#pressure.arriving(-this.#bytes.length);
		this.#bytes = Buffer.alloc(0);
		this.#length = 0;
		this.#giveRoom?.();
		this.#giveRoom = undefined;
	}

	#append(chunk: Buffer, start: number, end: number): void {
		const length = this.#length + end - start;
		if (length > this.#bytes.length) {
			const capacity = Math.max(length, Math.min(this.#expected, this.#bytes.length * 2), FIXED_HEADER_MAX);
			const grown = Buffer.allocUnsafe(capacity);
			this.#bytes.copy(grown, 0, 0, this.#length);
			this.#pressure.arriving(capacity - this.#bytes.length);
			this.#bytes = grown;
		}
		chunk.copy(this.#bytes, this.#length, start, end);
		this.#length = length;
	}

	#readHeader(maxPacketBytes: number, shortest: boolean): void {
		// Refuses reserved types and lengths that are too large; 0 while the packet is not whole.
		packetLength(this.#bytes, 0, this.#length, maxPacketBytes, shortest);
		const last = this.#length - 1;
		if (last < 1 || this.#bytes[last]! >= 0x80) return;
		let remaining = 0;
		for (let i = 1; i <= last; i++) remaining |= (this.#bytes[i]! & 0x7f) << (7 * (i - 1));
		this.#expected = this.#length + remaining;
		if (this.#expected > SMALL_REQUEST_BYTES) this.#askForRoom();
	}

	#askForRoom(): void {
		this.#giveRoom = this.#pressure.room.claim(this.#expected, () => {
			const waited = this.waits;
			this.#hasRoom = true;
			if (waited) this.#granted();
		});
	}
}
