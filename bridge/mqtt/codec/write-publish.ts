/**
 * What a broker sends a million times a second, written straight into an output buffer: PUBLISH and the four
 * acknowledgements of success. Nothing is allocated.
 */
import { MAX_REMAINING_LENGTH } from "./framing.ts";
import { variableByteIntegerSize, writeVariableByteInteger } from "./writer.ts";

/** Bytes of a PUBACK, PUBREC, PUBREL or PUBCOMP that says Success, in every version. */
export const ACK_BYTES = 4;

export function writePuback(target: Buffer, at: number, packetId: number): number {
	return writeAck(target, at, 0x40, packetId);
}

export function writePubrec(target: Buffer, at: number, packetId: number): number {
	return writeAck(target, at, 0x50, packetId);
}

export function writePubrel(target: Buffer, at: number, packetId: number): number {
	return writeAck(target, at, 0x62, packetId);
}

export function writePubcomp(target: Buffer, at: number, packetId: number): number {
	return writeAck(target, at, 0x70, packetId);
}

/** Returns the position after the packet. The caller has room for `ACK_BYTES` and gives a packet id of 1 to 65535. */
function writeAck(target: Buffer, at: number, firstByte: number, packetId: number): number {
	target[at] = firstByte;
	target[at + 1] = 2;
	target[at + 2] = packetId >>> 8;
	target[at + 3] = packetId & 0xff;
	return at + ACK_BYTES;
}

/** The low four bits of a PUBLISH's first byte. */
export function publishFlags(qos: 0 | 1 | 2, retain: boolean, dup: boolean): number {
	return (dup ? 0x08 : 0) | (qos << 1) | (retain ? 0x01 : 0);
}

/**
 * The whole length in bytes of the packet that `writePublish` writes. `packetId` 0 is none; `propertiesBytes` counts the
 * Property Length too: 0 before 5.0, at least 1 in it.
 */
export function publishSize(
	topicBytes: number,
	packetId: number,
	propertiesBytes: number,
	payloadBytes: number,
): number {
	const remaining = 2 + topicBytes + (packetId === 0 ? 0 : 2) + propertiesBytes + payloadBytes;
	return 1 + variableByteIntegerSize(remaining) + remaining;
}

/**
 * Writes a PUBLISH at target[at..) and returns the position after it; the caller made sure of `publishSize` bytes.
 * `flags` as `publishFlags` gives them; `topic` is a valid topic name's UTF-8; `packetId` is 0 exactly at QoS 0;
 * `properties` are `encodeProperties("publish", …)` (`NO_PROPERTY_BYTES` for none), or an empty Buffer before 5.0; the
 * payload is source[start..end). Throws a TypeError, with nothing written, where these contradict each other.
 */
export function writePublish(
	target: Buffer,
	at: number,
	flags: number,
	topic: Buffer,
	packetId: number,
	properties: Buffer,
	source: Buffer,
	start: number,
	end: number,
): number {
	const qos = (flags >> 1) & 3;
	if (qos === 3 || (qos === 0) !== (packetId === 0) || (flags & 0x0e) === 0x08) throw contradiction(flags, packetId);
	const remaining = 2 + topic.length + (qos === 0 ? 0 : 2) + properties.length + (end - start);
	if (topic.length > 0xffff || remaining > MAX_REMAINING_LENGTH) throw tooLong(topic.length, remaining);
	target[at] = 0x30 | flags;
	let next = writeVariableByteInteger(target, at + 1, remaining);
	target[next] = topic.length >>> 8;
	target[next + 1] = topic.length & 0xff;
	next = copyBytes(topic, 0, topic.length, target, next + 2);
	if (qos !== 0) {
		target[next] = packetId >>> 8;
		target[next + 1] = packetId & 0xff;
		next += 2;
	}
	next = copyBytes(properties, 0, properties.length, target, next);
	return copyBytes(source, start, end, target, next);
}

/** Below some fifty bytes a loop is quicker than the call into C++ that `copy` makes. */
const LOOP_BYTES = 48;

function copyBytes(source: Buffer, start: number, end: number, target: Buffer, at: number): number {
	const length = end - start;
	if (length > LOOP_BYTES) {
		source.copy(target, at, start, end);
	} else {
		for (let offset = 0; offset < length; offset++) target[at + offset] = source[start + offset]!;
	}
	return at + length;
}

function contradiction(flags: number, packetId: number): TypeError {
	return new TypeError(`PUBLISH flags 0x${flags.toString(16)} and Packet Identifier ${packetId} do not go together`);
}

function tooLong(topicBytes: number, remaining: number): TypeError {
	return new TypeError(
		`a PUBLISH with a topic of ${topicBytes} bytes and a Remaining Length of ${remaining} cannot be sent`,
	);
}
