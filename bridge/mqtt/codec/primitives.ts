/**
 * The data types of section 1.5, read strictly from a bounded slice: no read passes the slice's end, no length field is
 * believed before it has been compared with the bytes that are there, nothing is copied but the strings handed out.
 */
import type { MqttError, Version } from "./packets.ts";
import { malformed, protocolError } from "./refusals.ts";

/** What `checkUtf8` found. */
export const UTF8_ASCII = 0;
export const UTF8_VALID = 1;
export const UTF8_ILL_FORMED = 2;
export const UTF8_NUL = 3;

/**
 * Looks at buffer[start..end) in place: plain ASCII, well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates,
 * nothing above U+10FFFF), ill-formed, or holding U+0000. Control characters and noncharacters are allowed: the standard
 * only advises against them (section 1.5.4).
 */
export function checkUtf8(buffer: Uint8Array, start: number, end: number): 0 | 1 | 2 | 3 {
	let at = start;
	while (at < end) {
		const byte = buffer[at]!;
		if (byte >= 0x80) return checkMultibyte(buffer, at, end);
		if (byte === 0) return UTF8_NUL;
		at++;
	}
	return UTF8_ASCII;
}

function checkMultibyte(buffer: Uint8Array, start: number, end: number): 1 | 2 | 3 {
	let at = start;
	while (at < end) {
		const byte = buffer[at]!;
		if (byte < 0x80) {
			if (byte === 0) return UTF8_NUL;
			at++;
			continue;
		}
		// The second byte's range depends on the first (RFC 3629 section 4): that excludes overlongs and surrogates.
		let more: number;
		let low = 0x80;
		let high = 0xbf;
		if (byte < 0xc2) return UTF8_ILL_FORMED;
		if (byte < 0xe0) {
			more = 1;
		} else if (byte < 0xf0) {
			more = 2;
			if (byte === 0xe0) low = 0xa0;
			else if (byte === 0xed) high = 0x9f;
		} else if (byte < 0xf5) {
			more = 3;
			if (byte === 0xf0) low = 0x90;
			else if (byte === 0xf4) high = 0x8f;
		} else {
			return UTF8_ILL_FORMED;
		}
		if (at + more >= end) return UTF8_ILL_FORMED;
		const second = buffer[at + 1]!;
		if (second < low || second > high) return UTF8_ILL_FORMED;
		for (let next = 2; next <= more; next++) {
			if ((buffer[at + next]! & 0xc0) !== 0x80) return UTF8_ILL_FORMED;
		}
		at += more + 1;
	}
	return UTF8_VALID;
}

/** The string in buffer[start..end), U+FEFF kept [MQTT-1.5.4-3]; throws MqttError 0x81 unless it is as section 1.5.4 asks. */
export function readText(buffer: Buffer, start: number, end: number, version: Version, what: string): string {
	switch (checkUtf8(buffer, start, end)) {
		case UTF8_ASCII:
			return buffer.toString("latin1", start, end);
		case UTF8_VALID:
			return buffer.toString("utf8", start, end);
		case UTF8_NUL:
			throw malformed(version, "MQTT-1.5.4-2", `${what} contains U+0000`);
		default:
			throw malformed(version, "MQTT-1.5.4-1", `${what} is not well-formed UTF-8`);
	}
}

/** Reads one field after the other from buffer[position..end). `what` names the field in the refusal. */
export class Reader {
	readonly buffer: Buffer;
	readonly end: number;
	readonly version: Version;
	position: number;

	constructor(buffer: Buffer, position: number, end: number, version: Version) {
		this.buffer = buffer;
		this.position = position;
		this.end = end;
		this.version = version;
	}

	get atEnd(): boolean {
		return this.position >= this.end;
	}

	byte(what: string): number {
		if (this.position >= this.end) throw this.truncated(what);
		return this.buffer[this.position++]!;
	}

	uint16(what: string): number {
		const at = this.position;
		if (at + 2 > this.end) throw this.truncated(what);
		this.position = at + 2;
		return (this.buffer[at]! << 8) | this.buffer[at + 1]!;
	}

	uint32(what: string): number {
		const at = this.position;
		if (at + 4 > this.end) throw this.truncated(what);
		this.position = at + 4;
		return this.buffer.readUInt32BE(at);
	}

	/** Variable Byte Integer (section 1.5.5): one to four bytes, as few as the value needs. */
	variableByteInteger(what: string): number {
		let value = 0;
		for (let shift = 0; shift < 28; shift += 7) {
			const byte = this.byte(what);
			value |= (byte & 0x7f) << shift;
			if (byte < 0x80) {
				if (byte === 0 && shift > 0) {
					throw malformed(this.version, "MQTT-1.5.5-1", `${what} uses more bytes than its value needs`);
				}
				return value;
			}
		}
		throw malformed(this.version, "1.5.5", `${what} has more than four bytes`);
	}

	text(what: string): string {
		const start = this.lengthPrefixed(what);
		return readText(this.buffer, start, this.position, this.version, what);
	}

	/** A copy: what is decoded may outlive the buffer that it came in. */
	binary(what: string): Buffer {
		const start = this.lengthPrefixed(what);
		return Buffer.from(this.buffer.subarray(start, this.position));
	}

	/** Steps over a two-byte length and that many bytes; returns where these start (they end at `position`). */
	lengthPrefixed(what: string): number {
		const length = this.uint16(what);
		const start = this.position;
		if (start + length > this.end) throw this.truncated(what);
		this.position = start + length;
		return start;
	}

	/** A packet identifier: never 0 (section 2.2.1). */
	packetId(clause: string): number {
		const id = this.uint16("the Packet Identifier");
		if (id === 0) throw zeroPacketId(this.version, clause);
		return id;
	}

	expectEnd(clause: string, what: string): void {
		if (this.position < this.end) {
			throw malformed(this.version, clause, `${this.end - this.position} bytes follow the end of ${what}`);
		}
	}

	truncated(what: string): MqttError {
		return malformed(this.version, "1.5", `the packet ends before ${what} does`);
	}
}

export function zeroPacketId(version: Version, clause: string): MqttError {
	// It can be read but is not allowed, so a Protocol Error (definitions in section 1.2).
	return protocolError(version, clause, "the Packet Identifier is 0");
}
