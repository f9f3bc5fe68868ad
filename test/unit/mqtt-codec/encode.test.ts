/** What the encoder refuses to send, how it makes a packet fit, what it leaves out for older versions, the hot writers. */
import { describe, expect, it } from "vitest";
import {
	ACK_BYTES,
	encodePacket,
	encodeProperties,
	encodeWithin,
	NO_PROPERTY_BYTES,
	publishFlags,
	publishSize,
	writePuback,
	writePubcomp,
	writePublish,
	writePubrec,
	writePubrel,
} from "../../../bridge/mqtt/codec/encode.ts";
import { NO_PROPERTIES, type Packet, type Version } from "../../../bridge/mqtt/codec/packets.ts";
import { connackReturnCode, ReasonCode, reasonOfConnackReturnCode } from "../../../bridge/mqtt/codec/reason-codes.ts";
import { decode, raw } from "./bytes.ts";

const p = NO_PROPERTIES;
const publish = {
	type: "publish",
	topic: "t",
	payload: Buffer.from("x"),
	qos: 1,
	retain: false,
	dup: false,
	packetId: 1,
	properties: p,
} as const;
const connect = {
	type: "connect",
	version: 5,
	cleanStart: false,
	keepAliveSeconds: 0,
	clientId: "c",
	properties: p,
} as const;
const subscription = { filter: "a", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
const subscribe = { type: "subscribe", packetId: 1, subscriptions: [subscription], properties: p } as const;
const connack = { type: "connack", sessionPresent: false, reasonCode: 0, properties: p } as const;
const long = "x".repeat(65_536);

describe("a packet that must not be sent is a TypeError", () => {
	const refused: [why: RegExp, version: Version, packet: Packet][] = [
		[/Packet Identifier/, 5, { ...publish, packetId: undefined }],
		[/Packet Identifier/, 5, { ...publish, packetId: 0 }],
		[/Packet Identifier/, 5, { ...publish, packetId: 65_536 }],
		[/Packet Identifier/, 5, { ...publish, qos: 0 }],
		[/DUP/, 5, { ...publish, qos: 0, packetId: undefined, dup: true }],
		[/QoS/, 5, { ...publish, qos: 3 as 2 }],
		[/Topic Name/, 5, { ...publish, topic: "" }],
		[/Topic Name/, 4, { ...publish, topic: "", properties: { topicAlias: 1 } }],
		[/Topic Name/, 5, { ...publish, topic: "a/#" }],
		[/Topic Name/, 5, { ...publish, topic: long }],
		[/U\+0000/, 5, { ...publish, topic: "a\0" }],
		[/surrogate/, 5, { ...publish, topic: "a\ud800" }],
		[/Topic Alias must/, 5, { ...publish, properties: { topicAlias: 0 } }],
		[/Response Topic/, 5, { ...publish, properties: { responseTopic: "+" } }],
		[/Session Expiry Interval/, 5, { ...publish, properties: { sessionExpiryInterval: 1 } }],
		[/not a property/, 5, { ...publish, properties: { colour: 1 } as object }],
		[/Subscription Identifier/, 5, { ...subscribe, properties: { subscriptionIdentifier: [1, 2] } }],
		[/Subscription Identifier/, 5, { ...subscribe, properties: { subscriptionIdentifier: [0] } }],
		[/needs a Topic Filter/, 5, { ...subscribe, subscriptions: [] }],
		[/whole level/, 5, { ...subscribe, subscriptions: [{ ...subscription, filter: "a+" }] }],
		[/No Local/, 5, { ...subscribe, subscriptions: [{ ...subscription, filter: "$share/g/a", noLocal: true }] }],
		[/5\.0/, 4, { ...subscribe, subscriptions: [{ ...subscription, noLocal: true }] }],
		[/Retain Handling/, 5, { ...subscribe, subscriptions: [{ ...subscription, retainHandling: 3 as 2 }] }],
		[/needs a Topic Filter/, 5, { type: "unsubscribe", packetId: 1, filters: [], properties: p }],
		[/version/, 4, connect],
		[/Client Identifier/, 4, { ...connect, version: 4, clientId: "" }],
		[/Client Identifier/, 3, { ...connect, version: 3, cleanStart: true, clientId: "" }],
		[/User Name/, 4, { ...connect, version: 4, password: Buffer.from("p") }],
		[/Keep Alive/, 5, { ...connect, keepAliveSeconds: 65_536 }],
		[/Keep Alive/, 5, { ...connect, keepAliveSeconds: 1.5 }],
		[/Password has/, 5, { ...connect, password: Buffer.alloc(65_536) }],
		[/Receive Maximum/, 5, { ...connect, properties: { receiveMaximum: 0 } }],
		[/true or false/, 5, { ...connect, properties: { requestProblemInformation: 1 as unknown as boolean } }],
		[/Authentication Method/, 5, { ...connect, properties: { authenticationData: Buffer.from("x") } }],
		[/Session Present/, 5, { ...connack, sessionPresent: true, reasonCode: 0x87 }],
		[/reason code/, 5, { ...connack, reasonCode: 0x93 }],
		[/close without a CONNACK/, 4, { ...connack, reasonCode: 0x81 }],
		[/reason code/, 5, { type: "puback", packetId: 1, reasonCode: 0x92, properties: p }],
		[/reason code/, 5, { type: "suback", packetId: 1, reasonCodes: [3], properties: p }],
		[/reason code/, 5, { type: "suback", packetId: 1, reasonCodes: [], properties: p }],
		[/only in MQTT 5.0/, 4, { type: "disconnect", reasonCode: 0x8e, properties: p }],
		[/AUTH needs MQTT 5/, 4, { type: "auth", reasonCode: 0, properties: p }],
		[/Authentication Method/, 5, { type: "auth", reasonCode: 0x18, properties: p }],
	];
	it.each(refused)("%s in version %i", (why, version, packet) => {
		expect(() => encodePacket(packet, version)).toThrow(TypeError);
		expect(() => encodePacket(packet, version)).toThrow(why);
	});
});

describe("for versions before 5.0", () => {
	it("properties and the reasons of acknowledgements are left out", () => {
		const properties = { reasonString: "no", userProperties: [["a", "b"]] as const };
		const refusing = { type: "pubrec", packetId: 7, reasonCode: 0x97, properties } as const;
		expect(encodePacket(refusing, 4)).toEqual(raw("50 02 0007"));
		expect(encodePacket({ ...publish, properties: { contentType: "x" } }, 4)).toEqual(raw("32 06 0001 74 0001 78"));
	});

	it("every failed subscription is 0x80", () => {
		const packet = { type: "suback", packetId: 1, reasonCodes: [0, 0x8f, 0x97], properties: p } as const;
		expect(encodePacket(packet, 4)).toEqual(raw("90 05 0001 00 80 80"));
	});

	it("CONNACK codes translate both ways", () => {
		for (let code = 0; code <= 5; code++) {
			const reason = reasonOfConnackReturnCode(code);
			expect(connackReturnCode(reason!)).toBe(code);
			expect(decode(encodePacket({ ...connack, reasonCode: reason! }, 4), 4)).toMatchObject({ reasonCode: reason });
		}
		expect(reasonOfConnackReturnCode(6)).toBeUndefined();
		expect(connackReturnCode(ReasonCode.ServerBusy)).toBe(3);
		expect(connackReturnCode(ReasonCode.Banned)).toBe(5);
		expect(connackReturnCode(ReasonCode.MalformedPacket)).toBeUndefined();
	});

	it("3.1 has no Session Present", () => {
		expect(encodePacket({ ...connack, sessionPresent: true }, 3)).toEqual(raw("20 02 00 00"));
	});
});

describe("encodeWithin", () => {
	const properties = { reasonString: "because", userProperties: [["name", "value"]] as const };
	const puback = { type: "puback", packetId: 1, reasonCode: 0x87, properties } as const;
	const full = encodePacket(puback, 5).length;
	const withoutReason = encodePacket(
		{ ...puback, properties: { userProperties: properties.userProperties } },
		5,
	).length;

	it("[MQTT-3.4.2-2] drops the Reason String first, [MQTT-3.4.2-3] then the User Properties", () => {
		expect(decode(encodeWithin(puback, 5, full)!)).toMatchObject({ properties });
		const smaller = decode(encodeWithin(puback, 5, full - 1)!);
		expect(smaller).toMatchObject({ properties: { userProperties: properties.userProperties } });
		expect(smaller).not.toHaveProperty("properties.reasonString");
		expect(encodeWithin(puback, 5, withoutReason - 1)).toEqual(raw("40 03 0001 87"));
		expect(encodeWithin(puback, 5, 5)).toEqual(raw("40 03 0001 87"));
		expect(encodeWithin(puback, 5, 4)).toBeUndefined();
	});

	it("keeps a CONNACK's other properties", () => {
		const answer = { ...connack, properties: { ...properties, receiveMaximum: 9 } };
		expect(decode(encodeWithin(answer, 5, 10)!)).toMatchObject({ properties: { receiveMaximum: 9 } });
	});

	it("[MQTT-3.3.2-17] never drops a PUBLISH's User Properties", () => {
		const message = { ...publish, properties: { userProperties: properties.userProperties } };
		const bytes = encodePacket(message, 5).length;
		expect(encodeWithin(message, 5, bytes)).toHaveLength(bytes);
		expect(encodeWithin(message, 5, bytes - 1)).toBeUndefined();
	});

	it("has nothing to drop before 5.0", () => {
		expect(encodeWithin(publish, 4, 7)).toBeUndefined();
		expect(encodeWithin({ type: "pingreq" }, 5, 1)).toBeUndefined();
	});
});

describe("the hot writers", () => {
	const none = Buffer.alloc(0);

	it("write what encodePacket writes", () => {
		const writers = { puback: writePuback, pubrec: writePubrec, pubrel: writePubrel, pubcomp: writePubcomp };
		for (const [type, write] of Object.entries(writers)) {
			for (const packetId of [1, 255, 256, 65_535]) {
				const target = Buffer.alloc(8, 0xee);
				expect(write(target, 2, packetId)).toBe(2 + ACK_BYTES);
				const expected = encodePacket({ type, packetId, reasonCode: 0, properties: p } as Packet, 5);
				expect(target).toEqual(Buffer.concat([raw("eeee"), expected, raw("eeee")]));
			}
		}
	});

	it.each([0, 1, 47, 48, 49, 120, 127, 128, 16_375, 16_384, 2_097_152])(
		"write a PUBLISH with a payload of %i bytes into the bytes that publishSize promised",
		(payloadBytes) => {
			const source = Buffer.alloc(payloadBytes + 5, 0x61);
			source.fill(0x7a, 0, 3);
			const topic = Buffer.from("a/b");
			for (const version of [4, 5] as const) {
				for (const qos of [0, 1, 2] as const) {
					const properties = version === 5 ? encodeProperties("publish", { messageExpiryInterval: 5 }) : none;
					const packetId = qos === 0 ? 0 : 513;
					const size = publishSize(topic.length, packetId, properties.length, payloadBytes);
					const target = Buffer.alloc(size + 4, 0xee);
					const flags = publishFlags(qos, true, qos > 0);
					const end = writePublish(target, 2, flags, topic, packetId, properties, source, 3, 3 + payloadBytes);
					expect(end).toBe(2 + size);
					const expected = encodePacket(
						{
							...publish,
							topic: "a/b",
							qos,
							retain: true,
							dup: qos > 0,
							packetId: qos === 0 ? undefined : 513,
							payload: source.subarray(3, 3 + payloadBytes),
							properties: { messageExpiryInterval: 5 },
						},
						version,
					);
					expect(target.subarray(2, end).equals(expected)).toBe(true);
					expect([target[1], target[end]]).toEqual([0xee, 0xee]);
				}
			}
		},
	);

	it("[MQTT-2.2.2-1] a PUBLISH of 5.0 without properties has a Property Length of 0", () => {
		const target = Buffer.alloc(8);
		const end = writePublish(target, 0, 0, Buffer.from("t"), 0, NO_PROPERTY_BYTES, Buffer.from("x"), 0, 1);
		expect(target.subarray(0, end)).toEqual(raw("30 05 0001 74 00 78"));
		expect(encodeProperties("publish", {})).toEqual(NO_PROPERTY_BYTES);
	});

	it("refuse what does not go together, writing nothing", () => {
		const target = Buffer.alloc(8, 0xee);
		const topic = Buffer.from("t");
		for (const [flags, packetId] of [
			[0, 1],
			[2, 0],
			[6, 1],
			[8, 0],
		] as const) {
			expect(() => writePublish(target, 0, flags, topic, packetId, none, none, 0, 0)).toThrow(TypeError);
		}
		expect(() => writePublish(target, 0, 0, Buffer.alloc(65_536), 0, none, none, 0, 0)).toThrow(TypeError);
		expect(target).toEqual(Buffer.alloc(8, 0xee));
	});
});
