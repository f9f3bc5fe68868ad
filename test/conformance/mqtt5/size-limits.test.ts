/**
 * Reason strings and user properties that a receiver's Maximum Packet Size has no room for. The door itself explains in
 * few packets; every one of them is made by `encodeWithin`, which is tried here with each kind that may explain.
 */
import { expect, test } from "vitest";
import { encodeWithin } from "../../../bridge/mqtt/codec/encode.ts";
import type { Packet, Properties } from "../../../bridge/mqtt/codec/packets.ts";
import { Received } from "../support/peer.ts";
import { REASON_STRING, Reader, USER_PROPERTY } from "../support/properties.ts";

const REASON = "the reason why";
const PAIR = ["name", "value"] as const;
const explained: Properties = { reasonString: REASON, userProperties: [PAIR] };

/** What a receiver that takes `maxBytes` reads, or undefined where nothing may be sent. */
function within(packet: Packet, maxBytes: number): Received | undefined {
	const bytes = encodeWithin(packet, 5, maxBytes);
	if (bytes === undefined) return undefined;
	expect(bytes.length).toBeLessThanOrEqual(maxBytes);
	const from = new Reader(bytes);
	const first = from.byte();
	return new Received(first, from.take(from.variable()), bytes, 5);
}

const KINDS: [name: string, packet: Packet][] = [
	[
		"[MQTT-3.2.2-19] [MQTT-3.2.2-20] CONNACK",
		{ type: "connack", sessionPresent: false, reasonCode: 0x87, properties: explained },
	],
	["[MQTT-3.4.2-2] [MQTT-3.4.2-3] PUBACK", { type: "puback", packetId: 1, reasonCode: 0x87, properties: explained }],
	["[MQTT-3.5.2-2] [MQTT-3.5.2-3] PUBREC", { type: "pubrec", packetId: 1, reasonCode: 0x87, properties: explained }],
	["[MQTT-3.6.2-2] [MQTT-3.6.2-3] PUBREL", { type: "pubrel", packetId: 1, reasonCode: 0x92, properties: explained }],
	["[MQTT-3.7.2-2] [MQTT-3.7.2-3] PUBCOMP", { type: "pubcomp", packetId: 1, reasonCode: 0x92, properties: explained }],
	["[MQTT-3.9.2-1] [MQTT-3.9.2-2] SUBACK", { type: "suback", packetId: 1, reasonCodes: [0x87], properties: explained }],
	[
		"[MQTT-3.11.2-1] [MQTT-3.11.2-2] UNSUBACK",
		{ type: "unsuback", packetId: 1, reasonCodes: [0x11], properties: explained },
	],
	["[MQTT-3.14.2-3] [MQTT-3.14.2-4] DISCONNECT", { type: "disconnect", reasonCode: 0x81, properties: explained }],
	[
		"[MQTT-3.15.2-2] [MQTT-3.15.2-3] AUTH",
		{ type: "auth", reasonCode: 0x18, properties: { ...explained, authenticationMethod: "m" } },
	],
];
for (const [name, packet] of KINDS) {
	test(`${name} goes without its reason string, then without its user properties, where they do not fit`, () => {
		const whole = within(packet, 1000)!;
		expect([whole.property(REASON_STRING), whole.property(USER_PROPERTY)]).toEqual([REASON, PAIR]);
		const tight = within(packet, whole.bytes.length - 1)!;
		expect([tight.property(REASON_STRING), tight.property(USER_PROPERTY)]).toEqual([undefined, PAIR]);
		const bare = within(packet, tight.bytes.length - 1)!;
		expect([bare.property(REASON_STRING), bare.property(USER_PROPERTY)]).toEqual([undefined, undefined]);
		// The rest of it is what it was.
		expect([bare.name, bare.id, bare.reason, bare.reasons]).toEqual([
			whole.name,
			whole.id,
			whole.reason,
			whole.reasons,
		]);
		expect(within(packet, 2)).toBeUndefined();
	});
}
