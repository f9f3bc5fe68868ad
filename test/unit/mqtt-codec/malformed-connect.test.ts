/** Every way in which a CONNECT can be wrong, each with the statement it breaks and the answer it gets. */
import { describe, expect, it } from "vitest";
import type { MqttError, Version } from "../../../bridge/mqtt/codec/packets.ts";
import { type Case, check, type Part, packet, properties, raw } from "./bytes.ts";

/** A CONNECT up to and with the Keep Alive; payload as given. */
function connect(version: Version, flags: number, ...rest: Part[]): Buffer {
	const name = version === 3 ? "MQIsdp" : "MQTT";
	return packet(0x10, name, version, flags, 0, 60, ...rest);
}
const none = 0;

const cases: Case[] = [
	{
		name: "[MQTT-3.1.2-1] a CONNECT of another protocol is refused",
		packet: packet(0x10, "AMQP", 5, 2, 0, 60, none, "c"),
		code: 0x84,
	},
	{
		name: "[MQTT-3.1.2-1] the Protocol Name is case sensitive",
		packet: packet(0x10, "mqtt", 5, 2, 0, 60, none, "c"),
		code: 0x84,
	},
	{
		name: "[MQTT-3.1.2-1] an empty Protocol Name is refused",
		packet: packet(0x10, "", 5, 2, 0, 60, none, "c"),
		code: 0x84,
	},
	{
		name: "[MQTT-3.1.2-2] of 3.1.1: a CONNECT of a version after 5 is refused",
		packet: packet(0x10, "MQTT", 6, 2, 0, 60, none, "c"),
		code: 0x84,
	},
	{
		name: "[MQTT-3.1.2-2] of 3.1.1: a CONNECT named MQTT of level 3 is refused",
		packet: packet(0x10, "MQTT", 3, 2, 0, 60, "c"),
		code: 0x84,
	},
	{
		name: "[MQTT-3.1.2-2] of 3.1.1: a CONNECT named MQIsdp of level 4 is refused",
		packet: packet(0x10, "MQIsdp", 4, 2, 0, 60, "c"),
		code: 0x84,
	},
	{
		name: "[MQTT-3.1.2-2] of 3.1.1: a mosquitto bridge's private level 0x84 is refused in terms of 3.1.1",
		packet: packet(0x10, "MQTT", 0x84, 2, 0, 60, "c"),
		code: 0x84,
	},
	{
		name: "[MQTT-3.1.2-2] of 3.1.1: a mosquitto bridge's private level 0x83 is refused in terms of 3.1",
		packet: packet(0x10, "MQIsdp", 0x83, 2, 0, 60, "c"),
		code: 0x84,
	},
	{
		name: "5.0 section 1.5.4: a control character in the Client Identifier is refused",
		packet: connect(5, 2, none, "c\n"),
		code: 0x81,
	},
	{
		name: "5.0 section 1.5.4: a control character in the User Name is refused",
		packet: connect(5, 0x82, none, "c", "\u001b[2J"),
		code: 0x81,
	},
	{
		name: "[MQTT-3.1.2-3] a CONNECT whose reserved flag is set is malformed",
		packet: connect(5, 0x03, none, "c"),
		code: 0x81,
	},
	{
		name: "[MQTT-3.1.2-3] of 3.1.1: a CONNECT whose reserved flag is set is malformed",
		packet: connect(4, 0x03, "c"),
		code: 0x81,
	},
	{
		name: "[MQTT-3.1.2-11] a Will QoS without a will is malformed",
		packet: connect(5, 0x0a, none, "c"),
		code: 0x81,
	},
	{
		name: "[MQTT-3.1.2-13] of 3.1.1: a Will QoS without a will is malformed",
		packet: connect(4, 0x0a, "c"),
		code: 0x81,
	},
	{
		name: "[MQTT-3.1.2-12] Will QoS 3 is malformed",
		packet: connect(5, 0x1e, none, "c", none, "w", "x"),
		code: 0x81,
	},
	{
		name: "[MQTT-3.1.2-14] of 3.1.1: Will QoS 3 is malformed",
		packet: connect(4, 0x1e, "c", "w", "x"),
		code: 0x81,
	},
	{
		name: "[MQTT-3.1.2-13] Will Retain without a will is malformed",
		packet: connect(5, 0x22, none, "c"),
		code: 0x81,
	},
	{
		name: "[MQTT-3.1.2-15] of 3.1.1: Will Retain without a will is malformed",
		packet: connect(4, 0x22, "c"),
		code: 0x81,
	},
	{
		name: "[MQTT-3.1.2-22] of 3.1.1: a Password without a User Name is malformed",
		packet: connect(4, 0x42, "c", "p"),
		code: 0x81,
	},
	{
		name: "[MQTT-3.1.2-16] a User Name that no flag announces is malformed",
		packet: connect(5, 0x02, none, "c", "u"),
		code: 0x81,
		clause: "[MQTT-3.1.4-1]",
	},
	{
		name: "[MQTT-3.1.2-17] a flagged User Name that is missing is malformed",
		packet: connect(5, 0x82, none, "c"),
		code: 0x81,
		clause: "5.0 section 1.5",
	},
	{
		name: "[MQTT-3.1.2-18] a Password that no flag announces is malformed",
		packet: connect(5, 0x82, none, "c", "u", "p"),
		code: 0x81,
		clause: "[MQTT-3.1.4-1]",
	},
	{
		name: "[MQTT-3.1.2-19] a flagged Password that is missing is malformed",
		packet: connect(5, 0xc2, none, "c", "u"),
		code: 0x81,
		clause: "5.0 section 1.5",
	},
	{
		name: "[MQTT-3.1.2-19] of 3.1.1: a flagged User Name that is missing is malformed",
		packet: connect(4, 0x82, "c"),
		code: 0x81,
		clause: "3.1.1 section 1.5",
	},
	{
		name: "[MQTT-3.1.2-9] a flagged will that is missing is malformed",
		packet: connect(5, 0x06, none, "c"),
		code: 0x81,
		clause: "5.0 section 1.5",
	},
	{
		name: "[MQTT-3.1.3-3] a CONNECT without a Client Identifier field is malformed",
		packet: connect(5, 0x02, none),
		code: 0x81,
		clause: "5.0 section 1.5",
	},
	{
		name: "[MQTT-3.1.3-4] a Client Identifier that is not UTF-8 is malformed",
		packet: connect(5, 0x02, none, raw("0001 ff")),
		code: 0x81,
		clause: "[MQTT-1.5.4-1]",
	},
	{
		name: "[MQTT-3.1.3-8] of 3.1.1: an empty Client Identifier with Clean Session 0 is not valid",
		packet: connect(4, 0x00, ""),
		code: 0x85,
	},
	{ name: "3.1 section 3.1: an empty Client Identifier is not valid", packet: connect(3, 0x02, ""), code: 0x85 },
	{
		name: "[MQTT-3.1.3-11] a Will Topic that is not UTF-8 is malformed",
		packet: connect(5, 0x06, none, "c", none, raw("0001 c0"), "x"),
		code: 0x81,
		clause: "[MQTT-1.5.4-1]",
	},
	{
		name: "[MQTT-3.1.3-12] a User Name that is not UTF-8 is malformed",
		packet: connect(5, 0x82, none, "c", raw("0002 c328")),
		code: 0x81,
		clause: "[MQTT-1.5.4-1]",
	},
	{
		name: "[MQTT-3.3.2-2] a Will Topic with a wildcard is malformed",
		packet: connect(5, 0x06, none, "c", none, "w/#", "x"),
		code: 0x81,
	},
	{
		name: "[MQTT-4.7.3-1] an empty Will Topic is malformed",
		packet: connect(5, 0x06, none, "c", none, "", "x"),
		code: 0x81,
	},
	{
		name: "[MQTT-3.1.4-1] bytes after the payload are malformed",
		packet: connect(5, 0x02, none, "c", 0),
		code: 0x81,
	},
	{
		name: "[MQTT-3.1.4-1] of 3.1.1: bytes after the payload are malformed",
		packet: connect(4, 0x02, "c", 0),
		code: 0x81,
	},
	{
		name: "[MQTT-2.1.3-1] a CONNECT with flags in its fixed header is malformed",
		packet: raw("11 0e 0004 4d515454 05 02 003c 00 0001 63"),
		code: 0x81,
	},
	{
		name: "5.0 section 3.1.2.11.10: Authentication Data without a method is a protocol error",
		packet: connect(5, 0x02, properties(0x16, "x"), "c"),
		code: 0x82,
	},
];

describe("a CONNECT that must not be accepted", () => {
	it.each(cases)("$name", (one) => {
		check(one);
	});

	const versionOf = (whole: Buffer): MqttError["version"] =>
		check({ name: "[MQTT-3.1.2-2] x", packet: whole, code: 0x84, clause: expect.any(String) }).version;

	it("is answered in a version that its sender understands, or not at all", () => {
		expect(versionOf(packet(0x10, "MQTT", 6, 2, 0, 60, 0, "c"))).toBe(4);
		expect(versionOf(packet(0x10, "MQTT", 3, 2, 0, 60, "c"))).toBe(4);
		expect(versionOf(packet(0x10, "MQTT", 0x84, 2, 0, 60, "c"))).toBe(4);
		expect(versionOf(packet(0x10, "MQIsdp", 0x83, 2, 0, 60, "c"))).toBe(3);
		expect(versionOf(packet(0x10, "HTTP", 5, 2, 0, 60, 0, "c"))).toBeUndefined();
		expect(check({ name: "[MQTT-3.1.2-3]", packet: connect(5, 3, none, "c"), code: 0x81 }).version).toBe(5);
	});

	it("is not believed a length that is not there", () => {
		for (const name of ["0004", "0006", "ffff"]) {
			check({
				name: "x",
				packet: raw(`10 02 ${name}`),
				code: name === "ffff" ? 0x84 : 0x81,
				clause: expect.any(String),
			});
		}
	});
});
