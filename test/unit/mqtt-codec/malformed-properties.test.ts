/**
 * Each packet with each property: allowed exactly where the packet's own section of the standard lists it, refused
 * elsewhere, once only, in range. The lists here are by packet, the codec's table is by property.
 */
import { describe, expect, it } from "vitest";
import { decode, expectRefusal, type Part, packet, properties, raw } from "./bytes.ts";

const id = raw("0001");

/** A valid value for every Property Identifier of table 2-4. */
const VALUES: Readonly<Record<number, Buffer>> = {
	1: raw("01"),
	2: raw("0000000a"),
	3: raw("0001 63"),
	8: raw("0001 72"),
	9: raw("0001 ff"),
	11: raw("05"),
	17: raw("0000000a"),
	18: raw("0001 63"),
	19: raw("000a"),
	21: raw("0001 6d"),
	22: raw("0001 ff"),
	23: raw("01"),
	24: raw("0000000a"),
	25: raw("01"),
	26: raw("0001 72"),
	28: raw("0001 73"),
	31: raw("0001 72"),
	33: raw("000a"),
	34: raw("000a"),
	35: raw("000a"),
	36: raw("01"),
	37: raw("01"),
	38: raw("0001 6e 0001 76"),
	39: raw("0000000a"),
	40: raw("01"),
	41: raw("01"),
	42: raw("01"),
};
const IDS = Object.keys(VALUES).map(Number);

/** Each packet with a block of properties in its place, and what its section of chapter 3 lists. */
const PACKETS: readonly { name: string; build: (block: Buffer) => Buffer; allowed: number[]; always?: Part[] }[] = [
	{
		name: "CONNECT",
		build: (block) => packet(0x10, "MQTT", 5, 2, 0, 60, block, "c"),
		allowed: [17, 33, 39, 34, 25, 23, 38, 21],
	},
	{
		name: "the will",
		build: (block) => packet(0x10, "MQTT", 5, 6, 0, 60, 0, "c", block, "w", "x"),
		allowed: [24, 1, 2, 3, 8, 9, 38],
	},
	{
		name: "CONNACK",
		build: (block) => packet(0x20, 0, 0, block),
		allowed: [17, 33, 36, 37, 39, 18, 34, 31, 38, 40, 41, 42, 19, 26, 28, 21],
	},
	{ name: "PUBLISH", build: (block) => packet(0x30, "a", block), allowed: [1, 2, 35, 8, 9, 38, 11, 3] },
	{ name: "PUBACK", build: (block) => packet(0x40, id, 0, block), allowed: [31, 38] },
	{ name: "PUBREC", build: (block) => packet(0x50, id, 0, block), allowed: [31, 38] },
	{ name: "PUBREL", build: (block) => packet(0x62, id, 0, block), allowed: [31, 38] },
	{ name: "PUBCOMP", build: (block) => packet(0x70, id, 0, block), allowed: [31, 38] },
	{ name: "SUBSCRIBE", build: (block) => packet(0x82, id, block, "a", 0), allowed: [11, 38] },
	{ name: "SUBACK", build: (block) => packet(0x90, id, block, 0), allowed: [31, 38] },
	{ name: "UNSUBSCRIBE", build: (block) => packet(0xa2, id, block, "a"), allowed: [38] },
	{ name: "UNSUBACK", build: (block) => packet(0xb0, id, block, 0), allowed: [31, 38] },
	{ name: "DISCONNECT", build: (block) => packet(0xe0, 0, block), allowed: [17, 31, 38, 28] },
	{
		name: "AUTH",
		build: (block) => packet(0xf0, 0x18, block),
		allowed: [21, 22, 31, 38],
		always: [21, raw("0001 6d")],
	},
];

describe.each(PACKETS)("the properties of $name", ({ name, build, allowed, always = [] }) => {
	const method = name === "AUTH" || name === "CONNECT" || name === "CONNACK" ? [22] : [];

	it.each(IDS)("5.0 section 2.2.2.2: property %i is accepted exactly where the standard lists it", (property) => {
		const own = property === 21 && always.length > 0 ? [] : [property, VALUES[property]!];
		// Authentication Data stands with a method only.
		const needed = always.length > 0 ? always : method.includes(property) ? [21, raw("0001 6d")] : [];
		const whole = build(properties(...needed, ...own));
		if (allowed.includes(property) || method.includes(property)) expect(() => decode(whole)).not.toThrow();
		else expectRefusal(() => decode(whole), { code: 0x81, clause: "5.0 section 2.2.2.2" });
	});

	it.each(
		IDS.filter((property) => property !== 38 && !(name === "PUBLISH" && property === 11) && allowed.includes(property)),
	)("5.0 section 3: property %i given twice is a protocol error", (property) => {
		const twice = [property, VALUES[property]!, property, VALUES[property]!];
		const whole = build(properties(...(property === 21 ? [] : always), ...twice));
		const error = expectRefusal(() => decode(whole), {
			code: 0x82,
			clause: expect.stringMatching(/^5\.0 section 3\./),
		});
		expect(error.message).toContain("twice");
	});

	it("[MQTT-3.3.2-18] User Properties may repeat and keep their order", () => {
		const decoded = decode(build(properties(...always, 38, "n", "2", 38, "n", "1")));
		expect(JSON.stringify(decoded)).toContain('"userProperties":[["n","2"],["n","1"]]');
	});

	it("5.0 section 2.2.2.2: an identifier that does not exist is malformed", () => {
		for (const unknown of [0, 4, 27, 43, 127]) {
			const whole = build(properties(...always, unknown, 1));
			expectRefusal(() => decode(whole), { code: 0x81, clause: "5.0 section 2.2.2.2" });
		}
		const twoBytes = build(properties(...always, 0x80, 0x01, 1));
		expectRefusal(() => decode(twoBytes), { code: 0x81, clause: "5.0 section 2.2.2.2" });
	});

	it("[MQTT-1.5.5-1] an identifier in more bytes than needed is malformed", () => {
		const whole = build(properties(...always, 0xa6, 0x00, "n", "v"));
		expectRefusal(() => decode(whole), { code: 0x81, clause: "[MQTT-1.5.5-1]" });
	});

	it("5.0 section 1.5: a value that reaches beyond the Property Length is malformed", () => {
		const whole = build(properties(...always, 38, "n", raw("0009 76")));
		expectRefusal(() => decode(whole), { code: 0x81, clause: "5.0 section 1.5" });
	});
});

describe("values out of range", () => {
	const publish = (...block: Part[]) => packet(0x30, "a", properties(...block));
	const connect = (...block: Part[]) => packet(0x10, "MQTT", 5, 2, 0, 60, properties(...block), "c");
	const connack = (...block: Part[]) => packet(0x20, 0, 0, properties(...block));
	const zero2 = raw("0000");
	const zero4 = raw("00000000");
	it.each([
		["3.3.2.3.2", "Payload Format Indicator 2", publish(1, 2)],
		["3.8.2.1.2", "Subscription Identifier 0", publish(11, 0)],
		["3.1.2.11.3", "Receive Maximum 0", connect(33, zero2)],
		["3.1.2.11.3", "Receive Maximum 0 from a server", connack(33, zero2)],
		["3.1.2.11.4", "Maximum Packet Size 0", connect(39, zero4)],
		["3.1.2.11.4", "Maximum Packet Size 0 from a server", connack(39, zero4)],
		["3.1.2.11.6", "Request Response Information 2", connect(25, 2)],
		["3.1.2.11.7", "Request Problem Information 2", connect(23, 2)],
		["3.2.2.3.4", "Maximum QoS 2", connack(36, 2)],
		["3.2.2.3.5", "Retain Available 2", connack(37, 2)],
		["3.2.2.3.11", "Wildcard Subscription Available 2", connack(40, 2)],
		["3.2.2.3.12", "Subscription Identifiers Available 255", connack(41, 255)],
		["3.2.2.3.13", "Shared Subscription Available 2", connack(42, 2)],
		["3.1.2.11.10", "Authentication Data without a method in CONNACK", connack(22, "x")],
	])("5.0 section %s: %s is a protocol error", (section, _what, whole) => {
		expectRefusal(() => decode(whole), { code: 0x82, clause: `5.0 section ${section}` });
	});

	it("5.0 section 3.3.2.3.4: a repeated Topic Alias is a protocol error, not an invalid alias", () => {
		expectRefusal(() => decode(publish(35, 0, 1, 35, 0, 1)), { code: 0x82, clause: "5.0 section 3.3.2.3.4" });
	});

	it("[MQTT-3.3.4-4] a server may give several Subscription Identifiers in one PUBLISH", () => {
		const decoded = decode(publish(11, 1, 11, 0xff, 0xff, 0xff, 0x7f), 5, "server");
		expect(decoded).toMatchObject({ properties: { subscriptionIdentifier: [1, 268_435_455] } });
	});
});
