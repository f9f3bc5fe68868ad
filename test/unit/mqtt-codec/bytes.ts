/** Packets put together byte by byte, without the encoder, so that they can be wrong. */
import { expect } from "vitest";
import { decodePacket } from "../../../bridge/mqtt/codec/decode.ts";
import { MqttError, type Packet, type Sender, type Version } from "../../../bridge/mqtt/codec/packets.ts";

/** A number is a byte, a string a UTF-8 Encoded String with its length, bytes stand for themselves. */
export type Part = number | string | Uint8Array;

export function bytes(...parts: Part[]): Buffer {
	return Buffer.concat(
		parts.map((part) => {
			if (typeof part === "number") return Buffer.from([part]);
			if (typeof part !== "string") return part;
			const text = Buffer.from(part);
			return Buffer.concat([Buffer.from([text.length >> 8, text.length & 0xff]), text]);
		}),
	);
}

/** A packet whose Remaining Length is right. */
export function packet(firstByte: number, ...parts: Part[]): Buffer {
	const body = bytes(...parts);
	const length: number[] = [];
	let rest = body.length;
	do {
		length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
		rest >>= 7;
	} while (rest > 0);
	return Buffer.concat([Buffer.from([firstByte, ...length]), body]);
}

/** Properties with their length before them, at most 127 bytes. */
export function properties(...parts: Part[]): Buffer {
	const body = bytes(...parts);
	return Buffer.concat([Buffer.from([body.length]), body]);
}

export function raw(hex: string): Buffer {
	return Buffer.from(hex.replaceAll(" ", ""), "hex");
}

export function decode(whole: Buffer, version: Version = 5, sender?: Sender): Packet {
	// Not at the buffer's start, and not up to its end: positions must be honoured.
	const framed = Buffer.concat([raw("ffff"), whole, raw("ffff")]);
	return decodePacket(framed, 2, 2 + whole.length, version, sender);
}

export interface Refusal {
	readonly code: number;
	readonly clause: string;
}

/** The packet is refused with this reason code for this clause. */
export function expectRefusal(act: () => unknown, refusal: Refusal): MqttError {
	let thrown: unknown;
	try {
		act();
	} catch (error) {
		thrown = error;
	}
	expect(thrown, "it was accepted").toBeInstanceOf(MqttError);
	const error = thrown as MqttError;
	expect({ code: error.reasonCode, clause: error.clause }).toEqual(refusal);
	expect(error.message.length).toBeGreaterThan(5);
	return error;
}

export interface Case {
	readonly name: string;
	readonly packet: Buffer;
	readonly version?: Version;
	readonly sender?: Sender;
	readonly code: number;
	/** Where the name does not begin with it. */
	readonly clause?: string;
}

/** "[MQTT-3.1.2-3] a CONNECT …" cites [MQTT-3.1.2-3]; "[MQTT-3.1.3-8] of 3.1.1: …" that standard; "5.0 section 2.1.2: …" the section. */
export function clauseOf(name: string): string {
	const cited = /^(\[MQTT-[\d.-]+\](?: of 3\.1\.1)?|[\d.]+ section [\d.]*\d)/.exec(name)?.[1];
	if (cited === undefined) throw new Error(`${name} does not begin with its clause`);
	return cited;
}

export function check(one: Case): MqttError {
	return expectRefusal(() => decode(one.packet, one.version ?? 5, one.sender), {
		code: one.code,
		clause: one.clause ?? clauseOf(one.name),
	});
}
