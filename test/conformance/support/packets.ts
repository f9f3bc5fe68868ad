/** Packets of a client, built by hand for MQTT 5 (the default) and 3.1.1 (`level: 4`); wrong ones as well, when asked. */
import { type Property, properties, text, u16, variable } from "./properties.ts";

export type Level = 4 | 5;

/** A packet from its first byte and the parts of its body. */
export function packet(first: number, ...parts: (number | Buffer)[]): Buffer {
	const body = Buffer.concat(parts.map((each) => (typeof each === "number" ? Buffer.of(each) : each)));
	return Buffer.concat([Buffer.of(first), variable(body.length), body]);
}

const none = Buffer.alloc(0);
const only5 = (level: Level, list: readonly Property[] | undefined): Buffer => (level === 5 ? properties(list) : none);

export interface Will {
	topic: string | Buffer;
	payload: string | Buffer;
	qos?: number;
	retain?: boolean;
	properties?: readonly Property[];
}

export interface ConnectFields {
	level?: Level;
	clientId?: string | Buffer;
	/** Clean Start, and Clean Session before MQTT 5. */
	clean?: boolean;
	keepAlive?: number;
	properties?: readonly Property[];
	will?: Will;
	userName?: string | Buffer;
	password?: string | Buffer;
	/** The flags as they are, whatever the other fields say. */
	flags?: number;
	/** The protocol's name and the level that is written; for wrong ones. */
	protocolName?: string;
	protocolLevel?: number;
}

export function connect(fields: ConnectFields = {}): Buffer {
	const { level = 5, clientId = "client", clean = true, keepAlive = 0, will, userName, password } = fields;
	let flags = clean ? 0x02 : 0;
	if (will !== undefined) flags |= 0x04 | ((will.qos ?? 0) << 3) | (will.retain === true ? 0x20 : 0);
	if (password !== undefined) flags |= 0x40;
	if (userName !== undefined) flags |= 0x80;
	return packet(
		0x10,
		text(fields.protocolName ?? "MQTT"),
		fields.protocolLevel ?? level,
		fields.flags ?? flags,
		u16(keepAlive),
		only5(level, fields.properties),
		text(clientId),
		will === undefined ? none : Buffer.concat([only5(level, will.properties), text(will.topic), text(will.payload)]),
		userName === undefined ? none : text(userName),
		password === undefined ? none : text(password),
	);
}

export interface PublishFields {
	level?: Level;
	qos?: number;
	id?: number;
	retain?: boolean;
	dup?: boolean;
	properties?: readonly Property[];
}

/** PUBLISH. Its packet identifier is `id`, 1 unless told, from QoS 1 on. */
export function publish(topic: string | Buffer, payload: string | Buffer, fields: PublishFields = {}): Buffer {
	const { level = 5, qos = 0, id = 1, retain = false, dup = false } = fields;
	return packet(
		0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0),
		text(topic),
		qos > 0 ? u16(id) : none,
		only5(level, fields.properties),
		Buffer.from(payload as string),
	);
}

/** SUBSCRIBE: filters with their options byte (the QoS, with whatever else is set). */
export function subscribe(
	filters: readonly (readonly [filter: string | Buffer, options: number])[],
	fields: { level?: Level; id?: number; properties?: readonly Property[] } = {},
): Buffer {
	const { level = 5, id = 1 } = fields;
	const body = filters.map(([filter, options]) => Buffer.concat([text(filter), Buffer.of(options)]));
	return packet(0x82, u16(id), only5(level, fields.properties), ...body);
}

export function unsubscribe(
	filters: readonly (string | Buffer)[],
	fields: { level?: Level; id?: number; properties?: readonly Property[] } = {},
): Buffer {
	const { level = 5, id = 1 } = fields;
	return packet(0xa2, u16(id), only5(level, fields.properties), ...filters.map((each) => text(each)));
}

export const PUBACK = 0x40;
export const PUBREC = 0x50;
export const PUBREL = 0x62;
export const PUBCOMP = 0x70;

/** PUBACK, PUBREC, PUBREL or PUBCOMP; the reason code, and behind it properties, only where given (MQTT 5). */
export function acknowledge(first: number, id: number, reason?: number, list?: readonly Property[]): Buffer {
	return packet(first, u16(id), reason === undefined ? none : Buffer.of(reason), list ? properties(list) : none);
}

export function pingRequest(): Buffer {
	return packet(0xc0);
}

export function disconnect(reason?: number, list?: readonly Property[]): Buffer {
	return packet(0xe0, reason === undefined ? none : Buffer.of(reason), list ? properties(list) : none);
}
