/** Every way in which a packet other than CONNECT and the PUBLISH flow can be wrong, each with the statement it breaks and the answer it gets. */
import { describe, it } from "vitest";
import { type Case, check, packet, properties, raw } from "./bytes.ts";

const M = 0x81;
const P = 0x82;
/** Packet identifier 1. */
const id = raw("0001");
const zero = raw("0000");

const fixedHeader: Case[] = [
	{ name: "5.0 section 2.1.2: packet type 0 is malformed", packet: packet(0x00), code: M },
	{ name: "3.1.1 section 2.2.1: AUTH does not exist before 5.0", packet: packet(0xf0), version: 4, code: M },
	{
		name: "[MQTT-1.5.5-1] a Remaining Length in more bytes than needed is malformed",
		packet: raw("c0 80 00"),
		code: M,
	},
	{
		name: "5.0 section 1.5.5: a Remaining Length of five bytes is malformed",
		packet: raw("c0 80 80 80 80 01"),
		code: M,
	},
	{ name: "5.0 section 2.1.4: a Remaining Length that says less is malformed", packet: raw("c0 00 00"), code: M },
	{ name: "5.0 section 2.1.4: a Remaining Length that says more is malformed", packet: raw("c0 01"), code: M },
	{ name: "5.0 section 2.1.4: half a fixed header is malformed", packet: raw("c0"), code: M },
	...[0x21, 0x41, 0x52, 0x78, 0x94, 0xb2, 0xc1, 0xd8].map((first) => ({
		name: `[MQTT-2.1.3-1] flags in the fixed header byte 0x${first.toString(16)} are malformed`,
		packet: packet(first, id),
		code: M,
	})),
	{ name: "[MQTT-2.2.2-2] of 3.1.1: flags in a PUBACK are malformed", packet: packet(0x42, id), version: 4, code: M },
	{ name: "[MQTT-3.6.1-1] a PUBREL without its flags is malformed", packet: packet(0x60, id), code: M },
	{ name: "[MQTT-3.8.1-1] a SUBSCRIBE without its flags is malformed", packet: packet(0x80, id, 0, "a", 0), code: M },
	{
		name: "[MQTT-3.8.1-1] of 3.1.1: a SUBSCRIBE with DUP is malformed",
		packet: packet(0x8a, id, "a", 0),
		version: 4,
		code: M,
	},
	{ name: "[MQTT-3.10.1-1] an UNSUBSCRIBE without its flags is malformed", packet: packet(0xa0, id, 0, "a"), code: M },
	{ name: "[MQTT-3.14.1-1] flags in a DISCONNECT are malformed", packet: packet(0xe1), code: M },
	{ name: "[MQTT-3.15.1-1] flags in an AUTH are malformed", packet: packet(0xf2), code: M },
	{
		name: "[MQTT-3.8.1-1] of 3.1.1: a SUBSCRIBE of 3.1 at another QoS is malformed",
		packet: packet(0x80, id, "a", 0),
		version: 3,
		code: M,
	},
];

const directions: Case[] = [
	...[packet(0x20, 0, 0, 0), packet(0x90, id, 0, 0), packet(0xb0, id, 0, 0), packet(0xd0)].map((whole) => ({
		name: `5.0 section 2.1.2: a client must not send packet type ${whole[0]! >> 4}`,
		packet: whole,
		sender: "client" as const,
		code: P,
	})),
	...[
		packet(0x10, "MQTT", 5, 2, 0, 0, 0, "c"),
		packet(0x82, id, 0, "a", 0),
		packet(0xa2, id, 0, "a"),
		packet(0xc0),
	].map((whole) => ({
		name: `5.0 section 2.1.2: a server must not send packet type ${whole[0]! >> 4}`,
		packet: whole,
		sender: "server" as const,
		code: P,
	})),
];

const subscribe: Case[] = [
	{
		name: "[MQTT-2.2.1-3] a SUBSCRIBE with Packet Identifier 0 is a protocol error",
		packet: packet(0x82, zero, 0, "a", 0),
		code: P,
	},
	{ name: "[MQTT-3.8.3-2] a SUBSCRIBE without a filter is a protocol error", packet: packet(0x82, id, 0), code: P },
	{
		name: "[MQTT-3.8.3-3] of 3.1.1: a SUBSCRIBE without a filter is a protocol error",
		packet: packet(0x82, id),
		version: 4,
		code: P,
	},
	{
		name: "[MQTT-3.8.3-1] a filter that is not UTF-8 is malformed",
		packet: packet(0x82, id, 0, raw("0001 ff"), 0),
		code: M,
		clause: "[MQTT-1.5.4-1]",
	},
	{ name: "[MQTT-3.8.3-5] reserved option bit 6 is malformed", packet: packet(0x82, id, 0, "a", 0x40), code: M },
	{ name: "[MQTT-3.8.3-5] reserved option bit 7 is malformed", packet: packet(0x82, id, 0, "a", 0x80), code: M },
	{
		name: "[MQTT-3.8.3-4] of 3.1.1: reserved bits of the requested QoS are malformed",
		packet: packet(0x82, id, "a", 0x04),
		version: 4,
		code: M,
	},
	{
		name: "[MQTT-3.8.3-4] of 3.1.1: a requested QoS of 3 is malformed",
		packet: packet(0x82, id, "a", 0x03),
		version: 4,
		code: M,
	},
	{
		name: "5.0 section 3.8.3.1: a Maximum QoS of 3 is a protocol error",
		packet: packet(0x82, id, 0, "a", 0x03),
		code: P,
	},
	{
		name: "5.0 section 3.8.3.1: Retain Handling 3 is a protocol error",
		packet: packet(0x82, id, 0, "a", 0x30),
		code: P,
	},
	{
		name: "[MQTT-3.8.3-4] No Local on a shared subscription is a protocol error",
		packet: packet(0x82, id, 0, "$share/g/a", 0x04),
		code: P,
	},
	{ name: "5.0 section 1.5: a filter without its options is malformed", packet: packet(0x82, id, 0, "a"), code: M },
	{
		name: "5.0 section 1.5: the second filter is checked like the first",
		packet: packet(0x82, id, 0, "a", 0, "b"),
		code: M,
	},
	{
		name: "5.0 section 3.8.2.1.2: Subscription Identifier 0 is a protocol error",
		packet: packet(0x82, id, properties(11, 0), "a", 0),
		code: P,
	},
	{
		name: "5.0 section 3.8.2.1.2: two Subscription Identifiers are a protocol error",
		packet: packet(0x82, id, properties(11, 1, 11, 2), "a", 0),
		code: P,
	},
	{
		name: "[MQTT-2.2.1-3] an UNSUBSCRIBE with Packet Identifier 0 is a protocol error",
		packet: packet(0xa2, zero, 0, "a"),
		code: P,
	},
	{ name: "[MQTT-3.10.3-2] an UNSUBSCRIBE without a filter is a protocol error", packet: packet(0xa2, id, 0), code: P },
	{
		name: "[MQTT-3.10.3-2] of 3.1.1: an UNSUBSCRIBE without a filter is a protocol error",
		packet: packet(0xa2, id),
		version: 4,
		code: P,
	},
	{
		name: "[MQTT-3.10.3-1] an UNSUBSCRIBE's filter that is not UTF-8 is malformed",
		packet: packet(0xa2, id, 0, raw("0001 ff")),
		code: M,
		clause: "[MQTT-1.5.4-1]",
	},
	{ name: "[MQTT-4.7.1-1] an UNSUBSCRIBE's filter is checked", packet: packet(0xa2, id, 0, "a#"), code: M },
];

const answers: Case[] = [
	{
		name: "[MQTT-3.2.2-1] reserved bits of the Connect Acknowledge Flags are malformed",
		packet: packet(0x20, 2, 0, 0),
		code: M,
	},
	{
		name: "3.1.1 section 3.2.2.1: reserved bits of the Connect Acknowledge Flags are malformed",
		packet: packet(0x20, 2, 0),
		version: 4,
		code: M,
	},
	{
		name: "[MQTT-3.2.2-6] Session Present with a refusal is a protocol error",
		packet: packet(0x20, 1, 0x87, 0),
		code: P,
	},
	{
		name: "[MQTT-3.2.2-4] of 3.1.1: Session Present with a refusal is a protocol error",
		packet: packet(0x20, 1, 5),
		version: 4,
		code: P,
	},
	{
		name: "[MQTT-3.2.2-8] an unknown reason code in CONNACK is a protocol error",
		packet: packet(0x20, 0, 0x05, 0),
		code: P,
	},
	{
		name: "3.1.1 section 3.2.2.3: a reserved CONNACK return code is a protocol error",
		packet: packet(0x20, 0, 6),
		version: 4,
		code: P,
	},
	{
		name: "3.1.1 section 3.2: a CONNACK of three bytes is malformed",
		packet: packet(0x20, 0, 0, 0),
		version: 4,
		code: M,
	},
	{
		name: "5.0 section 3.2: bytes after a CONNACK's properties are malformed",
		packet: packet(0x20, 0, 0, 0, 0),
		code: M,
	},
	{
		name: "5.0 section 1.5: a CONNACK of 5.0 without a Property Length is malformed",
		packet: packet(0x20, 0, 0),
		code: M,
	},
	{
		name: "[MQTT-2.2.1-6] a SUBACK with Packet Identifier 0 is a protocol error",
		packet: packet(0x90, zero, 0, 0),
		code: P,
	},
	{ name: "[MQTT-3.8.4-6] a SUBACK without a reason code is malformed", packet: packet(0x90, id, 0), code: M },
	{
		name: "[MQTT-3.9.3-2] an unknown reason code in SUBACK is a protocol error",
		packet: packet(0x90, id, 0, 3),
		code: P,
	},
	{
		name: "[MQTT-3.9.3-2] of 3.1.1: a reason code of 5.0 in SUBACK is a protocol error",
		packet: packet(0x90, id, 0x87),
		version: 4,
		code: P,
	},
	{ name: "[MQTT-3.11.3-2] an UNSUBACK without a reason code is malformed", packet: packet(0xb0, id, 0), code: M },
	{
		name: "[MQTT-3.11.3-2] an unknown reason code in UNSUBACK is a protocol error",
		packet: packet(0xb0, id, 0, 1),
		code: P,
	},
	{
		name: "3.1.1 section 3.11.3: bytes after an UNSUBACK's Packet Identifier are malformed",
		packet: packet(0xb0, id, 0),
		version: 4,
		code: M,
	},
	{ name: "5.0 section 3.12: a PINGREQ with a body is malformed", packet: packet(0xc0, 0), code: M },
	{ name: "5.0 section 3.13: a PINGRESP with a body is malformed", packet: packet(0xd0, 0), code: M },
	{ name: "3.1.1 section 3.12: a PINGREQ with a body is malformed", packet: packet(0xc0, 0), version: 4, code: M },
];

const endings: Case[] = [
	{
		name: "[MQTT-3.14.2-1] an unknown reason code in DISCONNECT is a protocol error",
		packet: packet(0xe0, 0x03),
		code: P,
	},
	{
		name: "[MQTT-3.14.2-1] a client must not say that the server shuts down",
		packet: packet(0xe0, 0x8b),
		sender: "client",
		code: P,
	},
	{ name: "[MQTT-3.14.2-1] a server must not ask for the will", packet: packet(0xe0, 0x04), sender: "server", code: P },
	{
		name: "[MQTT-3.14.2-2] a server's DISCONNECT with a Session Expiry Interval is a protocol error",
		packet: packet(0xe0, 0, properties(0x11, 0, 0, 0, 1)),
		sender: "server",
		code: P,
	},
	{
		name: "5.0 section 3.14: bytes after a DISCONNECT's properties are malformed",
		packet: packet(0xe0, 0, 0, 0),
		code: M,
	},
	{ name: "3.1.1 section 3.14: a DISCONNECT with a body is malformed", packet: packet(0xe0, 0), version: 4, code: M },
	{
		name: "[MQTT-3.15.2-1] an unknown reason code in AUTH is a protocol error",
		packet: packet(0xf0, 0x87, properties(0x15, "m")),
		code: P,
	},
	{
		name: "[MQTT-3.15.2-1] a server must not re-authenticate",
		packet: packet(0xf0, 0x19, properties(0x15, "m")),
		sender: "server",
		code: P,
	},
	{ name: "[MQTT-3.15.2-1] a client must not say Success in AUTH", packet: packet(0xf0), sender: "client", code: P },
	{
		name: "5.0 section 3.15.2.2.2: an AUTH without a method is a protocol error",
		packet: packet(0xf0, 0x18, properties(0x16, "x")),
		code: P,
	},
	{
		name: "5.0 section 3.15.2.2.2: an AUTH without properties is a protocol error",
		packet: packet(0xf0, 0x18, 0),
		code: P,
	},
	{ name: "5.0 section 1.5: an AUTH of a reason code alone is malformed", packet: packet(0xf0, 0x18), code: M },
	{
		name: "5.0 section 3.15: bytes after an AUTH's properties are malformed",
		packet: packet(0xf0, 0x18, properties(0x15, "m"), 0),
		code: M,
	},
];

describe.each([
	["fixed headers", fixedHeader],
	["packets from the wrong side", directions],
	["SUBSCRIBE and UNSUBSCRIBE", subscribe],
	["CONNACK, SUBACK, UNSUBACK, PINGREQ and PINGRESP", answers],
	["DISCONNECT and AUTH", endings],
])("%s that must not be accepted", (_what, cases) => {
	it.each(cases)("$name", (one) => {
		check(one);
	});
});
