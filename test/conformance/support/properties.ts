/** MQTT 5 properties by hand, both ways: written from the standard's table 2-4, so that the codec is not its own judge. */

export type PropertyValue = number | string | Buffer | readonly [string, string];
export type Property = readonly [id: number, value: PropertyValue];

export const PAYLOAD_FORMAT = 0x01;
export const MESSAGE_EXPIRY = 0x02;
export const CONTENT_TYPE = 0x03;
export const RESPONSE_TOPIC = 0x08;
export const CORRELATION_DATA = 0x09;
export const SUBSCRIPTION_IDENTIFIER = 0x0b;
export const SESSION_EXPIRY = 0x11;
export const ASSIGNED_CLIENT_ID = 0x12;
export const SERVER_KEEP_ALIVE = 0x13;
export const AUTHENTICATION_METHOD = 0x15;
export const AUTHENTICATION_DATA = 0x16;
export const REQUEST_PROBLEM_INFORMATION = 0x17;
export const WILL_DELAY = 0x18;
export const REQUEST_RESPONSE_INFORMATION = 0x19;
export const RESPONSE_INFORMATION = 0x1a;
export const REASON_STRING = 0x1f;
export const RECEIVE_MAXIMUM = 0x21;
export const TOPIC_ALIAS_MAXIMUM = 0x22;
export const TOPIC_ALIAS = 0x23;
export const MAXIMUM_QOS = 0x24;
export const RETAIN_AVAILABLE = 0x25;
export const USER_PROPERTY = 0x26;
export const MAXIMUM_PACKET_SIZE = 0x27;
export const SHARED_SUBSCRIPTION_AVAILABLE = 0x2a;

const BYTES = new Set([0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a]);
const SHORTS = new Set([0x13, 0x21, 0x22, 0x23]);
const LONGS = new Set([0x02, 0x11, 0x18, 0x27]);
const TEXTS = new Set([0x03, 0x08, 0x12, 0x15, 0x1a, 0x1c, 0x1f]);
const BINARIES = new Set([0x09, 0x16]);

export function u16(value: number): Buffer {
	return Buffer.of(value >> 8, value & 0xff);
}

/** A string or bytes behind their length. */
export function text(value: string | Buffer): Buffer {
	const bytes = Buffer.from(value as string);
	return Buffer.concat([u16(bytes.length), bytes]);
}

export function variable(value: number): Buffer {
	const bytes: number[] = [];
	for (let left = value; ; left >>>= 7) {
		if (left < 128) return Buffer.of(...bytes, left);
		bytes.push((left & 0x7f) | 0x80);
	}
}

function valueBytes(id: number, value: PropertyValue): Buffer {
	if (BYTES.has(id)) return Buffer.of(value as number);
	if (SHORTS.has(id)) return u16(value as number);
	if (LONGS.has(id)) {
		const bytes = Buffer.alloc(4);
		bytes.writeUInt32BE(value as number);
		return bytes;
	}
	if (id === SUBSCRIPTION_IDENTIFIER) return variable(value as number);
	if (id === USER_PROPERTY) {
		const [name, content] = value as readonly [string, string];
		return Buffer.concat([text(name), text(content)]);
	}
	return text(value as string | Buffer);
}

/** The properties with their length in front. */
export function properties(list: readonly Property[] = []): Buffer {
	const bytes = Buffer.concat(list.map(([id, value]) => Buffer.concat([Buffer.of(id), valueBytes(id, value)])));
	return Buffer.concat([variable(bytes.length), bytes]);
}

/** Reads what a packet holds, from front to back; throws when it holds less. */
export class Reader {
	readonly #bytes: Buffer;
	#at = 0;

	constructor(bytes: Buffer) {
		this.#bytes = bytes;
	}

	get left(): number {
		return this.#bytes.length - this.#at;
	}

	take(count: number): Buffer {
		if (this.left < count) throw new Error(`the packet ends too early: ${this.#bytes.toString("hex")}`);
		this.#at += count;
		return this.#bytes.subarray(this.#at - count, this.#at);
	}

	byte(): number {
		return this.take(1)[0]!;
	}

	short(): number {
		return this.take(2).readUInt16BE();
	}

	variable(): number {
		for (let value = 0, shift = 0; ; shift += 7) {
			const byte = this.byte();
			value |= (byte & 0x7f) << shift;
			if (byte < 128) {
				if (byte === 0 && shift > 0) throw new Error("a Variable Byte Integer longer than it need be");
				return value;
			}
			if (shift === 21) throw new Error("a Variable Byte Integer of more than four bytes");
		}
	}

	text(): string {
		return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.take(this.short()));
	}

	properties(): Property[] {
		const list: Property[] = [];
		const inside = new Reader(this.take(this.variable()));
		while (inside.left > 0) list.push(inside.#property());
		return list;
	}

	#property(): Property {
		const id = this.byte();
		if (BYTES.has(id)) return [id, this.byte()];
		if (SHORTS.has(id)) return [id, this.short()];
		if (LONGS.has(id)) return [id, this.take(4).readUInt32BE()];
		if (TEXTS.has(id)) return [id, this.text()];
		if (BINARIES.has(id)) return [id, this.take(this.short())];
		if (id === SUBSCRIPTION_IDENTIFIER) return [id, this.variable()];
		if (id === USER_PROPERTY) return [id, [this.text(), this.text()]];
		throw new Error(`property ${id} is not in the standard`);
	}
}
