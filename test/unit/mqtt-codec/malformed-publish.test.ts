/** Every way in which a PUBLISH, its text and its acknowledgements can be wrong, each with the statement it breaks and the answer it gets. */
import { describe, it } from "vitest";
import { type Case, check, packet, properties, raw } from "./bytes.ts";

const M = 0x81;
const P = 0x82;
/** Packet identifier 1. */
const id = raw("0001");
const zero = raw("0000");

const publish: Case[] = [
	{ name: "[MQTT-3.3.1-4] a PUBLISH with QoS 3 is malformed", packet: packet(0x36, "a", id, 0), code: M },
	{
		name: "[MQTT-3.3.1-4] of 3.1.1: a PUBLISH with QoS 3 is malformed",
		packet: packet(0x36, "a", id),
		version: 4,
		code: M,
	},
	{ name: "[MQTT-3.3.1-2] DUP at QoS 0 is malformed", packet: packet(0x38, "a", 0), code: M },
	{
		name: "[MQTT-2.2.1-3] a PUBLISH with Packet Identifier 0 is a protocol error",
		packet: packet(0x32, "a", zero, 0),
		code: P,
	},
	{
		name: "[MQTT-2.3.1-1] of 3.1.1: a PUBLISH with Packet Identifier 0 is a protocol error",
		packet: packet(0x34, "a", zero),
		version: 4,
		code: P,
	},
	{ name: "5.0 section 1.5: a PUBLISH without its Packet Identifier is malformed", packet: packet(0x32, "a"), code: M },
	{
		name: "[MQTT-2.2.2-1] a PUBLISH without a Property Length is malformed",
		packet: packet(0x32, "a", id),
		code: M,
		clause: "5.0 section 1.5",
	},
	{
		name: "[MQTT-3.3.2-1] a PUBLISH without a Topic Name is malformed",
		packet: packet(0x30),
		code: M,
		clause: "5.0 section 1.5",
	},
	{
		name: "[MQTT-3.3.2-1] a Topic Name longer than the packet is malformed",
		packet: packet(0x30, raw("0005 61")),
		code: M,
		clause: "5.0 section 1.5",
	},
	{ name: "[MQTT-3.3.2-2] # in a Topic Name is malformed", packet: packet(0x30, "a/#", 0), code: M },
	{ name: "[MQTT-3.3.2-2] + in a Topic Name is malformed", packet: packet(0x30, "+/a", 0), code: M },
	{
		name: "[MQTT-3.3.2-2] of 3.1.1: a wildcard in a Topic Name is malformed",
		packet: packet(0x30, "a+"),
		version: 4,
		code: M,
	},
	{ name: "[MQTT-4.7.3-1] of 3.1.1: an empty Topic Name is malformed", packet: packet(0x30, ""), version: 4, code: M },
	{
		name: "5.0 section 3.3.2.1: neither Topic Name nor properties is a protocol error",
		packet: packet(0x30, "", 0),
		code: P,
	},
	{
		name: "5.0 section 3.3.2.1: neither Topic Name nor Topic Alias is a protocol error",
		packet: packet(0x30, "", properties(1, 1)),
		code: P,
	},
	{ name: "[MQTT-3.3.2-8] Topic Alias 0 is invalid", packet: packet(0x30, "a", properties(0x23, 0, 0)), code: 0x94 },
	{
		name: "[MQTT-3.3.2-14] a Response Topic with a wildcard is a protocol error",
		packet: packet(0x30, "a", properties(8, "r/+")),
		code: P,
	},
	{
		name: "[MQTT-4.7.3-1] an empty Response Topic is a protocol error",
		packet: packet(0x30, "a", properties(8, "")),
		code: P,
	},
	{
		name: "[MQTT-3.3.2-13] a Response Topic that is not UTF-8 is malformed",
		packet: packet(0x30, "a", properties(8, raw("0001 ff"))),
		code: M,
		clause: "[MQTT-1.5.4-1]",
	},
	{
		name: "[MQTT-3.3.2-19] a Content Type that is not UTF-8 is malformed",
		packet: packet(0x30, "a", properties(3, raw("0001 ff"))),
		code: M,
		clause: "[MQTT-1.5.4-1]",
	},
	{
		name: "[MQTT-3.3.4-6] a client's PUBLISH with a Subscription Identifier is a protocol error",
		packet: packet(0x30, "a", properties(11, 1)),
		sender: "client",
		code: P,
	},
	{
		name: "5.0 section 1.5: a Property Length one byte beyond the packet is malformed",
		packet: packet(0x30, "a", 3, 1, 1),
		code: M,
	},
	{
		name: "5.0 section 1.5: a Property Length beyond the packet is malformed",
		packet: packet(0x30, "a", 5, 1),
		code: M,
	},
	{
		name: "[MQTT-1.5.5-1] a Property Length in more bytes than needed is malformed",
		packet: packet(0x30, "a", 0x80, 0x00),
		code: M,
	},
	{
		name: "5.0 section 1.5.5: a Property Length of five bytes is malformed",
		packet: packet(0x30, "a", raw("8080808001")),
		code: M,
	},
];

const illFormed: [what: string, hex: string][] = [
	["a lone continuation byte", "80"],
	["an overlong slash", "c0af"],
	["an overlong NUL", "c080"],
	["an overlong three-byte form", "e09f80"],
	["an overlong four-byte form", "f08f8080"],
	["the surrogate U+D800", "eda080"],
	["the surrogate U+DFFF", "edbfbf"],
	["a surrogate pair (CESU-8)", "eda0bdedb880"],
	["a code point above U+10FFFF", "f4908080"],
	["the byte F5", "f5808080"],
	["the byte FF", "ff"],
	["a character cut off after one byte", "e2"],
	["a character cut off after two bytes", "e282"],
	["a character cut off after three bytes", "f09f98"],
	["a wrong third byte", "e28241"],
	["a wrong fourth byte", "f09f9841"],
];
const text: Case[] = [
	...illFormed.map(([what, hex]) => ({
		name: `[MQTT-1.5.4-1] ${what} is malformed`,
		packet: packet(0x30, raw(`00 0${1 + hex.length / 2} 61 ${hex}`), 0),
		code: M,
	})),
	{
		name: "[MQTT-1.5.3-1] of 3.1.1: ill-formed UTF-8 is malformed",
		packet: packet(0x30, raw("0001 ff")),
		version: 4,
		code: M,
	},
	{ name: "[MQTT-1.5.4-2] U+0000 is malformed", packet: packet(0x30, raw("0003 610062"), 0), code: M },
	...["01", "1f", "7f", "c280", "c29f"].map((hex) => ({
		name: `5.0 section 1.5.4: the control character ${hex} in a Topic Name is refused`,
		packet: packet(0x30, raw(`00 0${1 + hex.length / 2} 61 ${hex}`), 0),
		code: M,
	})),
	{
		name: "3.1.1 section 1.5.3: a control character in a Topic Filter is refused",
		packet: packet(0x82, raw("0001 0002 6101 00")),
		version: 4,
		code: M,
	},
	{
		name: "[MQTT-1.5.4-2] U+0000 after a longer character is malformed",
		packet: packet(0x30, raw("0003 c3a900"), 0),
		code: M,
	},
	{ name: "[MQTT-1.5.3-2] of 3.1.1: U+0000 is malformed", packet: packet(0x30, raw("0001 00")), version: 4, code: M },
	{
		name: "[MQTT-1.5.7-1] a User Property's name must be well-formed",
		packet: packet(0x30, "a", properties(0x26, raw("0001 ff"), "v")),
		code: M,
		clause: "[MQTT-1.5.4-1]",
	},
	{
		name: "[MQTT-1.5.7-1] a User Property's value must be well-formed",
		packet: packet(0x30, "a", properties(0x26, "n", raw("0001 00"))),
		code: M,
		clause: "[MQTT-1.5.4-2]",
	},
];

const acks: Case[] = [
	...[0x40, 0x50, 0x62, 0x70].flatMap((first): Case[] => {
		const type = first >> 4;
		return [
			{
				name: `[MQTT-2.2.1-5] Packet Identifier 0 in packet type ${type} is a protocol error`,
				packet: packet(first, zero),
				code: P,
			},
			{
				name: `[MQTT-2.3.1-6] of 3.1.1: Packet Identifier 0 in packet type ${type} is a protocol error`,
				packet: packet(first, zero),
				version: 4,
				code: P,
			},
			{
				name: `5.0 section 1.5: packet type ${type} without its Packet Identifier is malformed`,
				packet: packet(first, 1),
				code: M,
			},
			{
				name: `3.1.1 section 3.${type}: bytes after the Packet Identifier of packet type ${type} are malformed`,
				packet: packet(first, id, 0),
				version: 4,
				code: M,
			},
			{
				name: `[MQTT-3.${type}.2-1] an unknown reason code in packet type ${type} is a protocol error`,
				packet: packet(first, id, 0x05),
				code: P,
			},
			{
				name: `[MQTT-3.${type}.2-1] a DISCONNECT's reason code in packet type ${type} is a protocol error`,
				packet: packet(first, id, 0x8d),
				code: P,
			},
			{
				name: `5.0 section 3.${type}.2.1: bytes after the properties of packet type ${type} are malformed`,
				packet: packet(first, id, 0, 0, 0),
				code: M,
			},
			{
				name: `5.0 section 1.5: properties of packet type ${type} that are cut off are malformed`,
				packet: packet(first, id, 0, 4, 0x1f),
				code: M,
			},
		];
	}),
	{
		name: "[MQTT-3.6.2-1] a PUBACK's reason code in PUBREL is a protocol error",
		packet: packet(0x62, id, 0x10),
		code: P,
	},
	{
		name: "[MQTT-3.4.2-1] a PUBREL's reason code in PUBACK is a protocol error",
		packet: packet(0x40, id, 0x92),
		code: P,
	},
];

describe.each([
	["PUBLISH", publish],
	["text", text],
	["acknowledgements", acks],
])("%s that must not be accepted", (_what, cases) => {
	it.each(cases)("$name", (one) => {
		check(one);
	});
});
