/** MQTT 5 bytes as the crash tests' subscribers need them; their own, so that no mistake is shared with the door. */

export const CONNACK = 2;
export const PUBLISH = 3;
export const PUBACK = 4;
export const PUBREC = 5;
export const PUBREL = 6;
export const PUBCOMP = 7;
export const SUBACK = 9;
export const UNSUBACK = 11;

export type Qos = 0 | 1 | 2;

export interface WillPacket {
	readonly topic: string;
	readonly payload: string;
	readonly qos: Qos;
	readonly delaySeconds: number;
}

export interface ConnectPacket {
	readonly clientId: string;
	readonly cleanStart: boolean;
	readonly expirySeconds: number;
	readonly receiveMaximum: number;
	readonly will: WillPacket | undefined;
}

export interface PublishPacket {
	readonly topic: string;
	readonly payload: string;
	readonly qos: Qos;
	readonly retain: boolean;
	readonly dup: boolean;
	/** 0 at QoS 0. */
	readonly packetId: number;
}

export interface Packet {
	readonly type: number;
	readonly flags: number;
	/** What follows the fixed header. */
	readonly body: Buffer;
}

export function connectPacket({ clientId, cleanStart, expirySeconds, receiveMaximum, will }: ConnectPacket): Buffer {
	const flags = (cleanStart ? 2 : 0) | (will === undefined ? 0 : 4 | (will.qos << 3));
	const properties = Buffer.concat([Buffer.of(0x11), u32(expirySeconds), Buffer.of(0x21), u16(receiveMaximum)]);
	const parts = [text("MQTT"), Buffer.of(5, flags, 0, 0, properties.length), properties, text(clientId)];
	if (will !== undefined) {
		parts.push(Buffer.of(5, 0x18), u32(will.delaySeconds), text(will.topic), text(will.payload));
	}
	return packet(0x10, parts);
}

export function publishPacket({ topic, payload, qos, retain, dup, packetId }: PublishPacket): Buffer {
	const first = 0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
	const id = qos === 0 ? [] : [u16(packetId)];
	return packet(first, [text(topic), ...id, Buffer.of(0), Buffer.from(payload)]);
}

export function subscribePacket(packetId: number, filter: string, qos: Qos): Buffer {
	return packet(0x82, [u16(packetId), Buffer.of(0), text(filter), Buffer.of(qos)]);
}

export function unsubscribePacket(packetId: number, filter: string): Buffer {
	return packet(0xa2, [u16(packetId), Buffer.of(0), text(filter)]);
}

/** PUBACK, PUBREC, PUBREL, PUBCOMP. */
export function answerPacket(type: number, packetId: number, reasonCode = 0): Buffer {
	const first = (type << 4) | (type === PUBREL ? 2 : 0);
	return packet(first, [u16(packetId), ...(reasonCode === 0 ? [] : [Buffer.of(reasonCode)])]);
}

export function disconnectPacket(reasonCode: number): Buffer {
	return packet(0xe0, [Buffer.of(reasonCode)]);
}

/** The first packet of `bytes` and how many bytes it takes; undefined: it is not there as a whole. */
export function firstPacket(bytes: Buffer): { packet: Packet; length: number } | undefined {
	const head = varint(bytes, 1);
	if (head === undefined || bytes.length < head.end + head.value) return undefined;
	const length = head.end + head.value;
	const first = bytes[0]!;
	return { packet: { type: first >> 4, flags: first & 15, body: bytes.subarray(head.end, length) }, length };
}

export function decodePublish({ flags, body }: Packet): PublishPacket {
	const qos = ((flags >> 1) & 3) as Qos;
	let at = 2 + body.readUInt16BE(0);
	const topic = body.toString("utf8", 2, at);
	const packetId = qos === 0 ? 0 : body.readUInt16BE(at);
	if (qos > 0) at += 2;
	const properties = varint(body, at);
	if (properties === undefined) throw new Error("a PUBLISH ends before its properties");
	const payload = body.toString("utf8", properties.end + properties.value);
	return { topic, payload, qos, retain: (flags & 1) === 1, dup: (flags & 8) === 8, packetId };
}

/** The reason code behind a packet identifier, which is 0 where it is left out; of SUBACK and UNSUBACK the first. */
export function reasonCodeOf({ type, body }: Packet): number {
	if (type !== SUBACK && type !== UNSUBACK) return body[2] ?? 0;
	const properties = varint(body, 2);
	return properties === undefined ? 0x80 : (body[properties.end + properties.value] ?? 0x80);
}

function varint(bytes: Buffer, from: number): { value: number; end: number } | undefined {
	let value = 0;
	for (let at = from, shift = 0; at < bytes.length && shift < 28; at++, shift += 7) {
		value += (bytes[at]! & 127) * 2 ** shift;
		if (bytes[at]! < 128) return { value, end: at + 1 };
	}
	return undefined;
}

function packet(first: number, parts: readonly Buffer[]): Buffer {
	const body = Buffer.concat(parts);
	const head = [first];
	let left = body.length;
	do {
		head.push(left > 127 ? (left & 127) | 128 : left);
		left >>= 7;
	} while (left > 0);
	return Buffer.concat([Buffer.from(head), body]);
}

function text(value: string): Buffer {
	const bytes = Buffer.from(value);
	return Buffer.concat([u16(bytes.length), bytes]);
}

function u16(value: number): Buffer {
	return Buffer.of(value >> 8, value & 255);
}

function u32(value: number): Buffer {
	const bytes = Buffer.alloc(4);
	bytes.writeUInt32BE(value);
	return bytes;
}
