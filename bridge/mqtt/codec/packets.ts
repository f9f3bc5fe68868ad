/**
 * The shapes of the fifteen MQTT control packets, for 3.1, 3.1.1 and 5.0 alike, as the decoder returns and the encoder
 * takes them. What a version does not have reads as its neutral value (no properties, reason code 0) and is left out
 * when written. Reason codes are always those of 5.0 (reason-codes.ts).
 */
import type { ReasonCode } from "./reason-codes.ts";

export { connackReturnCode, ReasonCode, reasonOfConnackReturnCode } from "./reason-codes.ts";

/** The protocol level as CONNECT carries it: 3 is MQTT 3.1 (MQIsdp), 4 is 3.1.1, 5 is 5.0. */
export type Version = 3 | 4 | 5;
export type Qos = 0 | 1 | 2;
/** One of `ReasonCode`'s values; a plain number, because the peers' codes arrive as bytes. */
export type ReasonCodeValue = (typeof ReasonCode)[keyof typeof ReasonCode];
/** Who sent the packet that is decoded. Known, it makes the decoder check what only one side may send. */
export type Sender = "client" | "server";

/** Properties of MQTT 5.0 (section 2.2.2.2). Absent is not the same as a default: the standard's defaults are the reader's. */
export interface Properties {
	/** 0 unspecified bytes, 1 UTF-8 text. */
	readonly payloadFormatIndicator?: number | undefined;
	/** Seconds. */
	readonly messageExpiryInterval?: number | undefined;
	readonly contentType?: string | undefined;
	readonly responseTopic?: string | undefined;
	readonly correlationData?: Buffer | undefined;
	/** 1 to 268,435,455 each; several only in a PUBLISH from a server, exactly one in SUBSCRIBE. */
	readonly subscriptionIdentifier?: readonly number[] | undefined;
	/** Seconds; 0xFFFFFFFF never expires. */
	readonly sessionExpiryInterval?: number | undefined;
	readonly assignedClientIdentifier?: string | undefined;
	/** Seconds. */
	readonly serverKeepAlive?: number | undefined;
	readonly authenticationMethod?: string | undefined;
	readonly authenticationData?: Buffer | undefined;
	readonly requestProblemInformation?: boolean | undefined;
	/** Seconds. */
	readonly willDelayInterval?: number | undefined;
	readonly requestResponseInformation?: boolean | undefined;
	readonly responseInformation?: string | undefined;
	readonly serverReference?: string | undefined;
	readonly reasonString?: string | undefined;
	/** 1 to 65,535 packets. */
	readonly receiveMaximum?: number | undefined;
	readonly topicAliasMaximum?: number | undefined;
	/** 1 to 65,535. */
	readonly topicAlias?: number | undefined;
	/** 0 or 1. */
	readonly maximumQos?: number | undefined;
	readonly retainAvailable?: boolean | undefined;
	readonly userProperties?: readonly (readonly [name: string, value: string])[] | undefined;
	/** Bytes, at least 1. */
	readonly maximumPacketSize?: number | undefined;
	readonly wildcardSubscriptionAvailable?: boolean | undefined;
	readonly subscriptionIdentifierAvailable?: boolean | undefined;
	readonly sharedSubscriptionAvailable?: boolean | undefined;
}

/** What a packet without properties has, in every version; shared, never written to. */
export const NO_PROPERTIES: Properties = Object.freeze({});

export interface Will {
	readonly topic: string;
	readonly payload: Buffer;
	readonly qos: Qos;
	readonly retain: boolean;
	readonly properties: Properties;
}

export interface ConnectPacket {
	readonly type: "connect";
	readonly version: Version;
	/** Clean Start of 5.0, Clean Session of 3.1 and 3.1.1. */
	readonly cleanStart: boolean;
	/** Seconds; 0 turns it off. */
	readonly keepAliveSeconds: number;
	/** May be empty: the server then assigns one. */
	readonly clientId: string;
	readonly username?: string | undefined;
	readonly password?: Buffer | undefined;
	readonly will?: Will | undefined;
	readonly properties: Properties;
}

export interface ConnackPacket {
	readonly type: "connack";
	/** Always false in 3.1, which has no such flag. */
	readonly sessionPresent: boolean;
	readonly reasonCode: number;
	readonly properties: Properties;
}

export interface PublishPacket {
	readonly type: "publish";
	/** Empty only in 5.0 with a topic alias. */
	readonly topic: string;
	/** A view of the decoded buffer: copy what has to outlive it. */
	readonly payload: Buffer;
	readonly qos: Qos;
	readonly retain: boolean;
	readonly dup: boolean;
	/** Present exactly when qos is 1 or 2. */
	readonly packetId?: number | undefined;
	readonly properties: Properties;
}

/** PUBACK, PUBREC, PUBREL and PUBCOMP. */
export interface PublishResponsePacket {
	readonly type: "puback" | "pubrec" | "pubrel" | "pubcomp";
	readonly packetId: number;
	readonly reasonCode: number;
	readonly properties: Properties;
}

export interface Subscription {
	readonly filter: string;
	readonly qos: Qos;
	readonly noLocal: boolean;
	readonly retainAsPublished: boolean;
	/** 0 send retained at subscribe, 1 only if the subscription is new, 2 do not. */
	readonly retainHandling: 0 | 1 | 2;
}

export interface SubscribePacket {
	readonly type: "subscribe";
	readonly packetId: number;
	readonly subscriptions: readonly Subscription[];
	readonly properties: Properties;
}

export interface SubackPacket {
	readonly type: "suback" | "unsuback";
	readonly packetId: number;
	/** One per filter, in its order; UNSUBACK of 3.1 and 3.1.1 carries none. */
	readonly reasonCodes: readonly number[];
	readonly properties: Properties;
}

export interface UnsubscribePacket {
	readonly type: "unsubscribe";
	readonly packetId: number;
	readonly filters: readonly string[];
	readonly properties: Properties;
}

export interface PingPacket {
	readonly type: "pingreq" | "pingresp";
}

/** DISCONNECT (reason code and properties in 5.0 only) and AUTH (5.0 only). */
export interface DisconnectPacket {
	readonly type: "disconnect" | "auth";
	readonly reasonCode: number;
	readonly properties: Properties;
}

export type Packet =
	| ConnectPacket
	| ConnackPacket
	| PublishPacket
	| PublishResponsePacket
	| SubscribePacket
	| SubackPacket
	| UnsubscribePacket
	| PingPacket
	| DisconnectPacket;

export type PacketTypeName = Packet["type"];

/** Control packet types as the first byte's upper four bits carry them (section 2.1.2). */
export const PacketType = {
	connect: 1,
	connack: 2,
	publish: 3,
	puback: 4,
	pubrec: 5,
	pubrel: 6,
	pubcomp: 7,
	subscribe: 8,
	suback: 9,
	unsubscribe: 10,
	unsuback: 11,
	pingreq: 12,
	pingresp: 13,
	disconnect: 14,
	auth: 15,
} as const satisfies Record<PacketTypeName, number>;

/**
 * A packet that must not be accepted. The connection ends: in 5.0 after a CONNACK or DISCONNECT with `reasonCode`; in
 * 3.1 and 3.1.1 a CONNECT may be answered with `connackReturnCode(reasonCode)`, anything else by closing.
 */
export class MqttError extends Error {
	override readonly name = "MqttError";
	/** Of MQTT 5.0, whatever the peer speaks. */
	readonly reasonCode: number;
	/** "[MQTT-x.y.z-n]" is a statement of 5.0, "[MQTT-x.y.z-n] of 3.1.1" one of 3.1.1, else a section: "5.0 section 2.1.2". */
	readonly clause: string;
	/**
	 * The version in which the peer can be answered. Undefined when it is not known: a malformed fixed header (the
	 * connection then knows), or a CONNECT whose protocol name is not MQTT's (nothing can be answered).
	 */
	readonly version: Version | undefined;

	constructor(reasonCode: number, clause: string, message: string, version?: Version) {
		super(message);
		this.reasonCode = reasonCode;
		this.clause = clause;
		this.version = version;
	}
}
