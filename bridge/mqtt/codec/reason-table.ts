/** Which reason codes each packet may carry (tables 3-1, 3-4 to 3-11 of MQTT 5.0), and which only one side may send. */
import { PacketType, type PacketTypeName, type Sender } from "./packets.ts";

export interface ReasonRule {
	/** The statement that binds the sender to the table. */
	readonly clause: string;
	readonly codes: readonly number[];
	readonly onlyServer?: readonly number[];
	readonly onlyClient?: readonly number[];
}

const PUBLISH_RECEIVED = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const RELEASED = [0x00, 0x92];

export const REASON_RULES: Readonly<Partial<Record<PacketTypeName, ReasonRule>>> = {
	connack: {
		clause: "MQTT-3.2.2-8",
		codes: [
			0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b,
			0x9c, 0x9d, 0x9f,
		],
	},
	puback: { clause: "MQTT-3.4.2-1", codes: PUBLISH_RECEIVED },
	pubrec: { clause: "MQTT-3.5.2-1", codes: PUBLISH_RECEIVED },
	pubrel: { clause: "MQTT-3.6.2-1", codes: RELEASED },
	pubcomp: { clause: "MQTT-3.7.2-1", codes: RELEASED },
	suback: {
		clause: "MQTT-3.9.3-2",
		codes: [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
	},
	unsuback: { clause: "MQTT-3.11.3-2", codes: [0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91] },
	disconnect: {
		clause: "MQTT-3.14.2-1",
		codes: [
			0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97,
			0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
		],
		onlyServer: [0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2],
		onlyClient: [0x04],
	},
	auth: { clause: "MQTT-3.15.2-1", codes: [0x00, 0x18, 0x19], onlyServer: [0x00], onlyClient: [0x19] },
};

/** Per code a bit 1 << PacketType for each packet that may carry it: [sent by anyone, by a client, by a server]. */
const anyone = new Uint16Array(256);
const fromClient = new Uint16Array(256);
const fromServer = new Uint16Array(256);
for (const [type, rule] of Object.entries(REASON_RULES) as [PacketTypeName, ReasonRule][]) {
	const bit = 1 << PacketType[type];
	for (const code of rule.codes) {
		anyone[code]! |= bit;
		if (!rule.onlyServer?.includes(code)) fromClient[code]! |= bit;
		if (!rule.onlyClient?.includes(code)) fromServer[code]! |= bit;
	}
}

/** Whether a packet of this type (a `PacketType` number) may carry the code, sent by `sender` or, if not known, by either. */
export function reasonAllowed(type: number, code: number, sender?: Sender): boolean {
	const table = sender === undefined ? anyone : sender === "client" ? fromClient : fromServer;
	return ((table[code] ?? 0) & (1 << type)) !== 0;
}
