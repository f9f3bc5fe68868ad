/**
 * A connection's bytes as packets: found in place in the chunks that come, put together where a chunk ends within one. What is
 * held back counts as memory in flight.
 */
import type { Pressure } from "../../src/base/pressure.ts";
import { packetLength } from "./codec/framing.ts";
import { MqttError, PacketType, type Version } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import { PartialPacket } from "./partial-packet.ts";

export interface PacketHandler {
	/** CONNECT was taken. */
	readonly greeted: boolean;
	readonly ended: boolean;
	/** 5 only once a CONNECT has said so. */
	readonly version: Version;
	/** No further packet now: `Inbox.goOn` when there may be one again. */
	readonly isBusy: boolean;
	/** A large packet that has arrived in part may be read on: `waits` was true before. */
	roomGranted(): void;
	/** A whole packet, at bytes[start..end), which are its own until it returns only. */
	packet(bytes: Buffer, start: number, end: number): void;
}

export class Inbox {
	readonly #handler: PacketHandler;
	readonly #pressure: Pressure;
	readonly #maxPacketBytes: number;
	#partial: PartialPacket | undefined;
	/** What came behind a packet that made the handler busy. */
	#deferred: Buffer | undefined;

	constructor(handler: PacketHandler, pressure: Pressure, maxPacketBytes: number) {
		this.#handler = handler;
		this.#pressure = pressure;
		this.#maxPacketBytes = maxPacketBytes;
	}

	/** Seconds at `tick` that a packet has been on its way; 0: none is. */
	partialFor(tick: number): number {
		return this.#partial === undefined ? 0 : tick - this.#partial.sinceTick;
	}

	get holdsPart(): boolean {
		return this.#partial !== undefined;
	}

	/** A part of a large packet that must not be read on yet. */
	get waits(): boolean {
		return this.#partial?.waits === true;
	}

	/** What has arrived in part was not read for a while: its time begins anew. */
	excuse(tick: number): void {
		if (this.#partial !== undefined) this.#partial.sinceTick = tick;
	}

	/** Throws MqttError for what no packet begins with or is too large, and what the handler throws. */
	take(chunk: Buffer, tick: number): void {
		const handler = this.#handler;
		const end = chunk.length;
		let at = 0;
		if (this.#deferred !== undefined) {
			this.#defer(chunk);
			return;
		}
		if (this.#partial !== undefined) {
			at = this.#partial.take(chunk, this.#maxPacketBytes, handler.version === 5);
			const whole = this.#partial.whole();
			if (whole === undefined) return;
			this.#partial.discard();
			this.#partial = undefined;
			handler.packet(whole, 0, whole.length);
		}
		while (at < end && !handler.ended) {
			if (handler.isBusy) {
				this.#defer(at === 0 ? chunk : chunk.subarray(at));
				return;
			}
			// Decided by its first byte, whatever length it promises [MQTT-3.1.0-1].
			if (!handler.greeted && chunk[at]! >> 4 !== PacketType.connect) {
				throw new MqttError(ReasonCode.ProtocolError, "[MQTT-3.1.0-1]", "the first packet is not CONNECT");
			}
			const length = packetLength(chunk, at, end, this.#maxPacketBytes, handler.version === 5);
			if (length === 0) {
				this.#partial = new PartialPacket(this.#pressure, tick, () => handler.roomGranted());
				this.#partial.take(at === 0 ? chunk : chunk.subarray(at), this.#maxPacketBytes, handler.version === 5);
				return;
			}
			handler.packet(chunk, at, at + length);
			at += length;
		}
	}

	/** The handler is not busy any more. */
	goOn(tick: number): void {
		const deferred = this.#deferred;
		if (deferred === undefined) return;
		this.#deferred = undefined;
		this.#pressure.subtract(deferred.length);
		this.take(deferred, tick);
	}

	/** The bytes are somebody else's when this turn ends. */
	#defer(rest: Buffer): void {
		this.#deferred = this.#deferred === undefined ? Buffer.from(rest) : Buffer.concat([this.#deferred, rest]);
		this.#pressure.add(rest.length);
	}

	discard(): void {
		this.#partial?.discard();
		this.#partial = undefined;
		if (this.#deferred !== undefined) this.#pressure.subtract(this.#deferred.length);
		this.#deferred = undefined;
	}
}
