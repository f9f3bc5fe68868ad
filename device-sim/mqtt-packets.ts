/**
 * The few MQTT packets that a publishing device needs, for 3.1, 3.1.1 and 5: what it sends as bytes, and
 * a reader for what it is answered. Written apart from the gateway's codec on purpose: a mistake made
 * once must not be made on both sides of the connection. Clauses are those of MQTT 5.0 unless they say 3.1.1.
 */

/** The protocol level on the wire. */
export type MqttVersion = 3 | 4 | 5;
export type Qos = 0 | 1 | 2;

/** Control packet types, MQTT 5.0 table 2-1. */
export const PACKET_TYPE = {
	CONNECT: 1,
	CONNACK: 2,
	PUBLISH: 3,
	PUBACK: 4,
	PUBREC: 5,
	PUBREL: 6,
	PUBCOMP: 7,
	PINGREQ: 12,
	PINGRESP: 13,
	DISCONNECT: 14,
} as const;

export interface ConnectFields {
	readonly version: MqttVersion;
	readonly clientId: string;
	readonly clean: boolean;
	readonly keepAliveSeconds: number;
	/** Version 5: how long the gateway keeps the session without a connection. Before 5 it is for ever. */
	readonly sessionExpirySeconds: number;
}

/** What the gateway says. */
export type Answer =
	| {
			readonly type: "connack";
			readonly sessionPresent: boolean;
			readonly reasonCode: number;
			/** Version 5: how many QoS 1 and 2 publishes may be unacknowledged; 65,535 when it does not say. */
			readonly receiveMaximum: number;
			readonly maximumQos: Qos;
			/** Version 5: the keep alive that the gateway asks for instead, seconds. */
			readonly serverKeepAliveSeconds: number | undefined;
	  }
	| { readonly type: "puback" | "pubrec" | "pubcomp"; readonly packetId: number; readonly reasonCode: number }
	| { readonly type: "pingresp" }
	| { readonly type: "disconnect"; readonly reasonCode: number };

export class MqttProtocolError extends Error {
	override readonly name = "MqttProtocolError";
}

const SESSION_EXPIRY_INTERVAL = 0x11;
const RECEIVE_MAXIMUM = 0x21;
const MAXIMUM_QOS = 0x24;
const SERVER_KEEP_ALIVE = 0x13;
/** An answer to a publisher is small; more than this is a mistake. */
const MAX_ANSWER_BYTES = 65_536;

export function encodeConnect({ version, clientId, clean, keepAliveSeconds, ...rest }: ConnectFields): Buffer {
	const name = version === 3 ? "MQIsdp" : "MQTT";
	const properties = Buffer.alloc(version === 5 ? 6 : 0);
	if (version === 5) {
		properties[0] = 5;
		properties[1] = SESSION_EXPIRY_INTERVAL;
		properties.writeUInt32BE(rest.sessionExpirySeconds, 2);
	}
	// Clean Start (3.1.2.4), in 3.1.1 Clean Session, is bit 1.
	const body = [text(name), Buffer.from([version, clean ? 2 : 0]), u16(keepAliveSeconds), properties, text(clientId)];
	return packet(PACKET_TYPE.CONNECT << 4, body);
}

/** @param packetId 1 to 65,535; ignored at QoS 0, which has none */
export function encodePublish(
	version: MqttVersion,
	topic: string,
	payload: Uint8Array,
	qos: Qos,
	dup: boolean,
	packetId: number,
): Buffer {
	const topicBytes = Buffer.byteLength(topic);
	const bodyBytes = 2 + topicBytes + (qos > 0 ? 2 : 0) + (version === 5 ? 1 : 0) + payload.length;
	const bytes = Buffer.allocUnsafe(1 + variableLengthBytes(bodyBytes) + bodyBytes);
	bytes[0] = (PACKET_TYPE.PUBLISH << 4) | (dup ? 8 : 0) | (qos << 1);
	let at = writeVariableLength(bytes, 1, bodyBytes);
	at = bytes.writeUInt16BE(topicBytes, at);
	at += bytes.write(topic, at);
	if (qos > 0) at = bytes.writeUInt16BE(packetId, at);
	// No properties.
	if (version === 5) bytes[at++] = 0;
	bytes.set(payload, at);
	return bytes;
}

/** Its flags are 0010 (3.6.1). Without a reason code, which means success (3.6.2.1). */
export function encodePubrel(packetId: number): Buffer {
	return Buffer.from([(PACKET_TYPE.PUBREL << 4) | 2, 2, packetId >> 8, packetId & 0xff]);
}

export function encodePingreq(): Buffer {
	return Buffer.from([PACKET_TYPE.PINGREQ << 4, 0]);
}

/** @param endSession version 5: the gateway need not keep the session any longer (3.14.2.2.2) */
export function encodeDisconnect(version: MqttVersion, endSession: boolean): Buffer {
	if (version !== 5 || !endSession) return Buffer.from([PACKET_TYPE.DISCONNECT << 4, 0]);
	return Buffer.from([PACKET_TYPE.DISCONNECT << 4, 7, 0, 5, SESSION_EXPIRY_INTERVAL, 0, 0, 0, 0]);
}

/** Cuts the stream of a connection into answers. */
export class AnswerReader {
	readonly #version: MqttVersion;
	#rest: Buffer = Buffer.alloc(0);

	constructor(version: MqttVersion) {
		this.#version = version;
	}

	/** Calls `visit` for each packet that `chunk` completes. Throws MqttProtocolError. */
	take(chunk: Buffer, visit: (answer: Answer) => void): void {
		const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
		let at = 0;
		for (;;) {
			const length = readLength(bytes, at);
			if (length === undefined || at + length.whole > bytes.length) break;
			visit(decodeAnswer(bytes[at]!, bytes.subarray(at + length.header, at + length.whole), this.#version));
			at += length.whole;
		}
		this.#rest = bytes.subarray(at);
	}
}

function readLength(bytes: Buffer, at: number): { header: number; whole: number } | undefined {
	let remaining = 0;
	for (let i = 0; i < 4; i++) {
		const byte = bytes[at + 1 + i];
		if (byte === undefined) return undefined;
		remaining += (byte & 0x7f) * 128 ** i;
		if (byte < 0x80) {
			if (remaining > MAX_ANSWER_BYTES) throw new MqttProtocolError(`an answer of ${remaining} bytes`);
			return { header: 2 + i, whole: 2 + i + remaining };
		}
	}
	throw new MqttProtocolError("a remaining length of more than four bytes (1.5.5)");
}

function decodeAnswer(first: number, body: Buffer, version: MqttVersion): Answer {
	if ((first & 0x0f) !== 0) throw new MqttProtocolError(`reserved flags set in packet type ${first >> 4} (2.1.3)`);
	switch (first >> 4) {
		case PACKET_TYPE.CONNACK:
			return decodeConnack(body, version);
		case PACKET_TYPE.PUBACK:
			return decodeAck("puback", body, version);
		case PACKET_TYPE.PUBREC:
			return decodeAck("pubrec", body, version);
		case PACKET_TYPE.PUBCOMP:
			return decodeAck("pubcomp", body, version);
		case PACKET_TYPE.PINGRESP:
			if (body.length !== 0) throw new MqttProtocolError("a PINGRESP with a body (3.13)");
			return { type: "pingresp" };
		case PACKET_TYPE.DISCONNECT:
			if (version !== 5) throw new MqttProtocolError("a DISCONNECT from the gateway before version 5 (3.1.1: 3.14)");
			return { type: "disconnect", reasonCode: body[0] ?? 0 };
		default:
			throw new MqttProtocolError(`packet type ${first >> 4}, which a publisher is never sent`);
	}
}

function decodeConnack(body: Buffer, version: MqttVersion): Answer {
	const flags = body[0];
	const reasonCode = body[1];
	if (flags === undefined || reasonCode === undefined) throw new MqttProtocolError("a CONNACK cut short (3.2)");
	if (flags > 1) throw new MqttProtocolError(`CONNACK flags ${flags} (3.2.2.1)`);
	if (reasonCode !== 0 && flags === 1) throw new MqttProtocolError("a refused connection with a session (3.2.2.1.1)");
	let receiveMaximum = 65_535;
	let maximumQos: Qos = 2;
	let serverKeepAliveSeconds: number | undefined;
	if (version === 5 && body.length > 2) {
		for (const [id, value] of decodeProperties(body, 2)) {
			if (id === RECEIVE_MAXIMUM) receiveMaximum = value;
			if (id === MAXIMUM_QOS) maximumQos = value === 0 ? 0 : 1;
			if (id === SERVER_KEEP_ALIVE) serverKeepAliveSeconds = value;
		}
		if (receiveMaximum === 0) throw new MqttProtocolError("a Receive Maximum of 0 (3.2.2.3.3)");
	}
	const sessionPresent = flags === 1;
	return { type: "connack", sessionPresent, reasonCode, receiveMaximum, maximumQos, serverKeepAliveSeconds };
}

function decodeAck(type: "puback" | "pubrec" | "pubcomp", body: Buffer, version: MqttVersion): Answer {
	if (body.length < 2 || (version !== 5 && body.length !== 2))
		throw new MqttProtocolError(`a ${type} of ${body.length} bytes`);
	const packetId = body.readUInt16BE(0);
	if (packetId === 0) throw new MqttProtocolError(`a ${type} with packet identifier 0 (2.2.1)`);
	return { type, packetId, reasonCode: body[2] ?? 0 };
}

/** How the value of each property that a CONNACK may carry is written (table 2-4). */
const PROPERTY_SHAPES: Readonly<Record<number, 1 | 2 | 4 | "text" | "pair">> = {
	17: 4,
	18: "text",
	19: 2,
	21: "text",
	22: "text",
	26: "text",
	28: "text",
	31: "text",
	33: 2,
	34: 2,
	36: 1,
	37: 1,
	38: "pair",
	39: 4,
	40: 1,
	41: 1,
	42: 1,
};

/** The numeric properties; the others are stepped over. */
function decodeProperties(body: Buffer, start: number): [id: number, value: number][] {
	// The length is a variable byte integer, which no CONNACK of ours needs more than two bytes of.
	const first = body[start]!;
	const length = first < 0x80 ? first : (first & 0x7f) + (body[start + 1] ?? 0) * 128;
	let at = start + (first < 0x80 ? 1 : 2);
	if (at + length !== body.length) throw new MqttProtocolError(`CONNACK properties of ${length} bytes (2.2.2.1)`);
	const found: [number, number][] = [];
	try {
		while (at < body.length) {
			const id = body[at++]!;
			const shape = PROPERTY_SHAPES[id];
			if (shape === undefined) throw new MqttProtocolError(`property ${id} in a CONNACK (3.2.2.3)`);
			if (typeof shape === "number") {
				found.push([id, body.readUIntBE(at, shape)]);
				at += shape;
			} else {
				at += 2 + body.readUInt16BE(at);
				if (shape === "pair") at += 2 + body.readUInt16BE(at);
			}
		}
	} catch (error) {
		if (error instanceof RangeError) throw new MqttProtocolError("CONNACK properties cut short (2.2.2)");
		throw error;
	}
	if (at !== body.length) throw new MqttProtocolError("CONNACK properties cut short (2.2.2)");
	return found;
}

function packet(first: number, parts: Buffer[]): Buffer {
	const bodyBytes = parts.reduce((sum, part) => sum + part.length, 0);
	const head = Buffer.alloc(1 + variableLengthBytes(bodyBytes));
	head[0] = first;
	writeVariableLength(head, 1, bodyBytes);
	return Buffer.concat([head, ...parts]);
}

function text(value: string): Buffer {
	const bytes = Buffer.from(value);
	return Buffer.concat([u16(bytes.length), bytes]);
}

function u16(value: number): Buffer {
	return Buffer.from([value >> 8, value & 0xff]);
}

function variableLengthBytes(value: number): number {
	return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
}

function writeVariableLength(bytes: Buffer, at: number, value: number): number {
	let rest = value;
	while (rest >= 128) {
		bytes[at++] = (rest & 0x7f) | 0x80;
		rest >>>= 7;
	}
	bytes[at++] = rest;
	return at;
}
