/**
 * The bytes of each packet in each version, written out by hand from the standards; decoded and encoded here, and read
 * and written by an independent implementation (the `mqtt-packet` library) as a second opinion.
 */
import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";
import { encodePacket } from "../../../bridge/mqtt/codec/encode.ts";
import { NO_PROPERTIES, type Packet, type Properties, type Version } from "../../../bridge/mqtt/codec/packets.ts";
import { decode, raw } from "./bytes.ts";

interface Other {
	generate(packet: unknown, options?: unknown): Buffer;
	parser(options?: unknown): {
		on(event: string, listener: (value: never) => void): void;
		parse(bytes: Buffer): number;
	};
}
const require = createRequire(import.meta.url);
// A dependency of MQTT.js, resolved as MQTT.js does.
const other = createRequire(require.resolve("mqtt"))("mqtt-packet") as Other;

const p = NO_PROPERTIES;
const will = { topic: "w", payload: Buffer.from("x"), qos: 1, retain: true, properties: p } as const;
const connect = { type: "connect", cleanStart: true, keepAliveSeconds: 60, clientId: "c", properties: p } as const;
const publish = {
	type: "publish",
	topic: "a/b",
	payload: Buffer.from("hi"),
	qos: 0,
	retain: false,
	dup: false,
	properties: p,
} as const;
const subscription = { filter: "a", qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
const userProperties: Properties["userProperties"] = [["n", "v"]];

const GOLDEN: [name: string, version: Version, hex: string, packet: Packet][] = [
	["CONNECT", 3, "10 0f 0006 4d5149736470 03 02 003c 0001 63", { ...connect, version: 3 }],
	["CONNECT", 4, "10 0d 0004 4d515454 04 02 003c 0001 63", { ...connect, version: 4 }],
	["CONNECT", 5, "10 0e 0004 4d515454 05 02 003c 00 0001 63", { ...connect, version: 5 }],
	[
		"CONNECT with everything",
		4,
		"10 19 0004 4d515454 04 ee 003c 0001 63 0001 77 0001 78 0001 75 0001 70",
		{ ...connect, version: 4, will, username: "u", password: Buffer.from("p") },
	],
	[
		"CONNECT with everything",
		5,
		[
			"10 37 0004 4d515454 05 ee 003c",
			"17 11 0000000a 21 0005 22 0007 26 0001 6e 0001 76 27 00001000",
			"0001 63 05 18 00000003 0001 77 0001 78 0001 75 0001 70",
		].join(" "),
		{
			...connect,
			version: 5,
			will: { ...will, properties: { willDelayInterval: 3 } },
			username: "u",
			password: Buffer.from("p"),
			properties: {
				sessionExpiryInterval: 10,
				receiveMaximum: 5,
				topicAliasMaximum: 7,
				userProperties,
				maximumPacketSize: 4096,
			},
		},
	],
	["CONNACK", 3, "20 02 00 00", { type: "connack", sessionPresent: false, reasonCode: 0, properties: p }],
	["CONNACK", 4, "20 02 01 00", { type: "connack", sessionPresent: true, reasonCode: 0, properties: p }],
	["CONNACK refusing", 4, "20 02 00 05", { type: "connack", sessionPresent: false, reasonCode: 0x87, properties: p }],
	[
		"CONNACK",
		5,
		"20 0b 00 00 08 12 0001 63 24 01 29 00",
		{
			type: "connack",
			sessionPresent: false,
			reasonCode: 0,
			properties: { assignedClientIdentifier: "c", maximumQos: 1, subscriptionIdentifierAvailable: false },
		},
	],
	["PUBLISH", 3, "30 07 0003 612f62 6869", publish],
	["PUBLISH", 4, "3d 09 0003 612f62 0102 6869", { ...publish, qos: 2, retain: true, dup: true, packetId: 258 }],
	["PUBLISH", 5, "32 0a 0003 612f62 ffff 00 6869", { ...publish, qos: 1, packetId: 65535 }],
	[
		"PUBLISH by alias",
		5,
		"30 17 0000 12 01 01 02 0000000a 09 0002 00ff 0b 8001 23 0001 6869",
		{
			...publish,
			topic: "",
			properties: {
				payloadFormatIndicator: 1,
				messageExpiryInterval: 10,
				correlationData: raw("00ff"),
				subscriptionIdentifier: [128],
				topicAlias: 1,
			},
		},
	],
	...(["puback", "pubrec", "pubrel", "pubcomp"] as const).flatMap((type, index): typeof GOLDEN => {
		const first = ["40", "50", "62", "70"][index]!;
		const reasonCode = index < 2 ? 0x87 : 0x92;
		const code = reasonCode.toString(16);
		return [
			[type, 3, `${first} 02 0102`, { type, packetId: 258, reasonCode: 0, properties: p }],
			[type, 4, `${first} 02 0102`, { type, packetId: 258, reasonCode: 0, properties: p }],
			[type, 5, `${first} 02 0102`, { type, packetId: 258, reasonCode: 0, properties: p }],
			[`${type} refusing`, 5, `${first} 03 0102 ${code}`, { type, packetId: 258, reasonCode, properties: p }],
			[
				`${type} explaining`,
				5,
				`${first} 08 0102 ${code} 04 1f 0001 78`,
				{ type, packetId: 258, reasonCode, properties: { reasonString: "x" } },
			],
		];
	}),
	[
		"SUBSCRIBE",
		3,
		"82 06 0001 0001 61 01",
		{ type: "subscribe", packetId: 1, subscriptions: [subscription], properties: p },
	],
	[
		"SUBSCRIBE",
		4,
		"82 06 0001 0001 61 01",
		{ type: "subscribe", packetId: 1, subscriptions: [subscription], properties: p },
	],
	[
		"SUBSCRIBE",
		5,
		"82 10 0001 03 0b ff7f 0001 61 2d 0003 2b2f23 12",
		{
			type: "subscribe",
			packetId: 1,
			subscriptions: [
				{ filter: "a", qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 2 },
				{ filter: "+/#", qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 1 },
			],
			properties: { subscriptionIdentifier: [16383] },
		},
	],
	["SUBACK", 3, "90 04 0001 00 02", { type: "suback", packetId: 1, reasonCodes: [0, 2], properties: p }],
	["SUBACK", 4, "90 04 0001 01 80", { type: "suback", packetId: 1, reasonCodes: [1, 0x80], properties: p }],
	["SUBACK", 5, "90 05 0001 00 01 87", { type: "suback", packetId: 1, reasonCodes: [1, 0x87], properties: p }],
	["UNSUBSCRIBE", 3, "a2 05 0001 0001 61", { type: "unsubscribe", packetId: 1, filters: ["a"], properties: p }],
	[
		"UNSUBSCRIBE",
		4,
		"a2 08 0001 0001 61 0001 23",
		{ type: "unsubscribe", packetId: 1, filters: ["a", "#"], properties: p },
	],
	[
		"UNSUBSCRIBE",
		5,
		"a2 0d 0001 07 26 0001 6e 0001 76 0001 61",
		{ type: "unsubscribe", packetId: 1, filters: ["a"], properties: { userProperties } },
	],
	["UNSUBACK", 3, "b0 02 0001", { type: "unsuback", packetId: 1, reasonCodes: [], properties: p }],
	["UNSUBACK", 4, "b0 02 0001", { type: "unsuback", packetId: 1, reasonCodes: [], properties: p }],
	["UNSUBACK", 5, "b0 05 0001 00 00 11", { type: "unsuback", packetId: 1, reasonCodes: [0, 0x11], properties: p }],
	...([3, 4, 5] as const).flatMap((version): typeof GOLDEN => [
		["PINGREQ", version, "c0 00", { type: "pingreq" }],
		["PINGRESP", version, "d0 00", { type: "pingresp" }],
		["DISCONNECT", version, "e0 00", { type: "disconnect", reasonCode: 0, properties: p }],
	]),
	["DISCONNECT with the will", 5, "e0 01 04", { type: "disconnect", reasonCode: 4, properties: p }],
	[
		"DISCONNECT elsewhere",
		5,
		"e0 06 9d 04 1c 0001 73",
		{ type: "disconnect", reasonCode: 0x9d, properties: { serverReference: "s" } },
	],
	[
		"AUTH that goes on",
		5,
		"f0 0a 18 08 15 0001 6d 16 0001 ff",
		{ type: "auth", reasonCode: 0x18, properties: { authenticationMethod: "m", authenticationData: raw("ff") } },
	],
];

interface Theirs {
	cmd: string;
	messageId?: number;
	topic?: string;
	payload?: Buffer | string;
	clientId?: string;
}

function readByOther(whole: Buffer, version: Version): Theirs {
	const seen: Theirs[] = [];
	const parser = other.parser({ protocolVersion: version });
	parser.on("packet", (packet: Theirs) => seen.push(packet));
	parser.on("error", (error: Error) => {
		throw error;
	});
	parser.parse(whole);
	expect(seen).toHaveLength(1);
	return seen[0]!;
}

describe.each(GOLDEN)("%s of version %i as %s", (_name, version, hex, packet) => {
	const whole = raw(hex);

	it("is what the standard says, read", () => {
		expect(decode(whole, version)).toEqual(packet);
	});

	it("is what the standard says, written", () => {
		expect(encodePacket(packet, version).toString("hex")).toBe(whole.toString("hex"));
	});

	it("is understood by another implementation, and its bytes by this one", () => {
		const theirs = readByOther(whole, version);
		expect(theirs.cmd).toBe(packet.type);
		if ("packetId" in packet) expect(theirs.messageId).toBe(packet.packetId);
		if (packet.type === "publish") expect([theirs.topic, theirs.payload]).toEqual([packet.topic, packet.payload]);
		if (packet.type === "connect") expect(theirs.clientId).toBe(packet.clientId);
		const written = other.generate(theirs, { protocolVersion: version });
		expect(decode(written, version)).toEqual(packet);
	});
});

it("an AUTH of Success without properties has no body (section 3.15.2.1), which the other implementation does not know", () => {
	const packet = { type: "auth", reasonCode: 0, properties: p } as const;
	expect(decode(raw("f0 00"))).toEqual(packet);
	expect(encodePacket(packet, 5)).toEqual(raw("f0 00"));
});

describe("what a version before 5.0 is lenient in", () => {
	it("3.1 lets SUBSCRIBE, UNSUBSCRIBE and PUBREL be sent again with DUP and ignores unused bits", () => {
		expect(decode(raw("8a 06 0001 0001 61 fd"), 3)).toMatchObject({ subscriptions: [{ filter: "a", qos: 1 }] });
		expect(decode(raw("aa 05 0001 0001 61"), 3)).toMatchObject({ filters: ["a"] });
		expect(decode(raw("6a 02 0001"), 3)).toMatchObject({ type: "pubrel", packetId: 1 });
		expect(decode(raw("c1 00"), 3)).toEqual({ type: "pingreq" });
		expect(decode(raw("20 02 7f 00"), 3)).toMatchObject({ sessionPresent: false, reasonCode: 0 });
	});

	it("3.1 allows a flagged User Name and Password to be missing at the end", () => {
		expect(decode(raw("10 0f 0006 4d5149736470 03 c3 003c 0001 63"), 4)).toMatchObject({
			version: 3,
			username: undefined,
			password: undefined,
		});
	});

	it("a long client identifier is accepted in every version", () => {
		const clientId = "x".repeat(200);
		for (const version of [3, 4, 5] as const) {
			expect(decode(encodePacket({ ...connect, version, clientId }, version))).toMatchObject({ clientId, version });
		}
	});

	it("flags in the fixed header of a CONNECT of 3.1 are not used", () => {
		const body = "4d5149736470 03 02 003c 0001 63";
		expect(decode(raw(`14 0f 0006 ${body}`))).toMatchObject({ version: 3, clientId: "c" });
		expect(() => decode(raw("14 0d 0004 4d515454 04 02 003c 0001 63"))).toThrow(/flags/);
	});

	it("[MQTT-3.1.3-6] an empty client identifier is accepted where the server may assign one", () => {
		expect(decode(raw("10 0c 0004 4d515454 04 02 003c 0000"))).toMatchObject({ version: 4, clientId: "" });
		expect(decode(raw("10 0d 0004 4d515454 05 00 003c 00 0000"))).toMatchObject({ version: 5, clientId: "" });
	});

	it("a Password without a User Name is accepted in 5.0", () => {
		expect(decode(raw("10 11 0004 4d515454 05 42 003c 00 0001 63 0001 70"))).toMatchObject({
			username: undefined,
			password: Buffer.from("p"),
		});
	});
});

describe("text", () => {
	it("[MQTT-1.5.4-3] U+FEFF is kept", () => {
		expect(decode(raw("30 07 0004 efbbbf61 00"))).toMatchObject({ topic: "\ufeffa" });
	});

	it("noncharacters and the last code point are accepted in names, and control characters in what names nothing", () => {
		const lines = { ...publish, properties: { userProperties: [["a\tb", "1\n2"]] as [string, string][] } };
		expect(decode(encodePacket(lines, 5), 5)).toMatchObject({ properties: lines.properties });
		for (const topic of ["\u00a0", " ", "\ufdd0", "\uffff", "\u{10ffff}", "\ud7ff\ue000"]) {
			const packet = { ...publish, topic };
			expect(decode(encodePacket(packet, 4), 4)).toMatchObject({ topic });
		}
	});
});
