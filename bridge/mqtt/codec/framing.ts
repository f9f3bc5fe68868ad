/**
 * Where a packet ends: the fixed header alone (section 2.1), looked at in place as bytes arrive. Allocates nothing and
 * refuses a packet that is too large from its first bytes, before anything has been kept for it.
 */
import { MqttError } from "./packets.ts";
import { ReasonCode } from "./reason-codes.ts";

/** The largest Remaining Length that its four bytes can say (section 1.5.5). */
export const MAX_REMAINING_LENGTH = 268_435_455;

/**
 * Looks at buffer[position..end). Returns the whole length in bytes of the packet that starts there, 0 when the fixed
 * header is not complete or the packet is not whole yet. Throws MqttError: 0x81 for a reserved packet type or an
 * ill-formed Remaining Length, 0x95 when the packet is longer than `maxBytes`. `shortest`: the length takes as few bytes as it
 * can, as 5.0 demands and the versions before it do not.
 */
export function packetLength(buffer: Buffer, position: number, end: number, maxBytes: number, shortest = true): number {
	if (position >= end) return 0;
	if (buffer[position]! < 0x10) throw reservedType();
	let remaining = 0;
	let shift = 0;
	for (let at = position + 1; at < end; at++) {
		const byte = buffer[at]!;
		remaining |= (byte & 0x7f) << shift;
		if (byte < 0x80) {
			// A last byte of zero after others adds nothing: a shorter encoding existed.
			if (shortest && byte === 0 && shift > 0) throw notMinimal();
			const length = at + 1 - position + remaining;
			if (length > maxBytes) throw tooLarge(length, maxBytes);
			return length <= end - position ? length : 0;
		}
		shift += 7;
		if (shift === 28) throw tooLong();
	}
	return 0;
}

/** Throws MqttError where the Remaining Length of the packet at `position` is not as short as it can be. */
export function requireShortest(buffer: Buffer, position: number, end: number): void {
	packetLength(buffer, position, end, Number.POSITIVE_INFINITY, true);
}

function reservedType(): MqttError {
	return new MqttError(ReasonCode.MalformedPacket, "5.0 section 2.1.2", "packet type 0 is reserved");
}

function notMinimal(): MqttError {
	return new MqttError(
		ReasonCode.MalformedPacket,
		"[MQTT-1.5.5-1]",
		"the Remaining Length uses more bytes than its value needs",
		5,
	);
}

function tooLong(): MqttError {
	return new MqttError(
		ReasonCode.MalformedPacket,
		"5.0 section 1.5.5",
		"the Remaining Length has more than four bytes",
	);
}

function tooLarge(length: number, maxBytes: number): MqttError {
	return new MqttError(
		ReasonCode.PacketTooLarge,
		"5.0 section 3.2.2.3.6",
		`a packet of ${length} bytes; the largest accepted here is ${maxBytes}`,
	);
}
