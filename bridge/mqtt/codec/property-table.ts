/**
 * Table 2-4 of MQTT 5.0 as data: each property's identifier, type, the packets it may stand in, the values it may have.
 * Decoder and encoder both go by it.
 */
import { PacketType, type PacketTypeName, type Properties } from "./packets.ts";
import { ReasonCode } from "./reason-codes.ts";

/** Where a block of properties stands: in a packet, or among a CONNECT's will. */
export type PropertyOwner = PacketTypeName | "will";

export type PropertyType = "byte" | "flag" | "uint16" | "uint32" | "variable" | "text" | "binary" | "pair";

export interface PropertySpec {
	readonly id: number;
	readonly name: keyof Properties;
	/** As the standard writes it, for refusals. */
	readonly title: string;
	/** "flag" is a byte of 0 or 1 that reads as a boolean. */
	readonly type: PropertyType;
	/** Bit 1 << PacketType for each packet, bit 0 for will properties. */
	readonly owners: number;
	readonly minimum: number;
	readonly maximum: number;
	/** The answer to a value out of range. */
	readonly rangeReason: number;
	/** What a value out of range or a repetition cites. */
	readonly clause: string;
}

const WILL_BIT = 1;

export function ownerBit(owner: PropertyOwner): number {
	return owner === "will" ? WILL_BIT : 1 << PacketType[owner];
}

const MAXIMUM: Readonly<Record<PropertyType, number>> = {
	byte: 0xff,
	flag: 1,
	uint16: 0xffff,
	uint32: 0xffff_ffff,
	variable: 268_435_455,
	text: 0,
	binary: 0,
	pair: 0,
};

interface Range {
	readonly minimum?: number;
	readonly maximum?: number;
	readonly rangeReason?: number;
}

function spec(
	id: number,
	name: keyof Properties,
	title: string,
	type: PropertyType,
	owners: readonly PropertyOwner[],
	clause: string,
	range: Range = {},
): PropertySpec {
	let bits = 0;
	for (const owner of owners) bits |= ownerBit(owner);
	return {
		id,
		name,
		title,
		type,
		owners: bits,
		minimum: range.minimum ?? 0,
		maximum: range.maximum ?? MAXIMUM[type],
		rangeReason: range.rangeReason ?? ReasonCode.ProtocolError,
		clause,
	};
}

const MESSAGE = ["publish", "will"] as const;
const REASONED = [
	"connack",
	"puback",
	"pubrec",
	"pubrel",
	"pubcomp",
	"suback",
	"unsuback",
	"disconnect",
	"auth",
] as const;
const EVERYWHERE = ["connect", "publish", "will", "subscribe", "unsubscribe", ...REASONED] as const;
const AUTHENTICATED = ["connect", "connack", "auth"] as const;

export const PROPERTIES: readonly PropertySpec[] = [
	spec(0x01, "payloadFormatIndicator", "Payload Format Indicator", "byte", MESSAGE, "3.3.2.3.2", { maximum: 1 }),
	spec(0x02, "messageExpiryInterval", "Message Expiry Interval", "uint32", MESSAGE, "3.3.2.3.3"),
	spec(0x03, "contentType", "Content Type", "text", MESSAGE, "3.3.2.3.9"),
	spec(0x08, "responseTopic", "Response Topic", "text", MESSAGE, "3.3.2.3.5"),
	spec(0x09, "correlationData", "Correlation Data", "binary", MESSAGE, "3.3.2.3.6"),
	spec(0x0b, "subscriptionIdentifier", "Subscription Identifier", "variable", ["publish", "subscribe"], "3.8.2.1.2", {
		minimum: 1,
	}),
	spec(
		0x11,
		"sessionExpiryInterval",
		"Session Expiry Interval",
		"uint32",
		["connect", "connack", "disconnect"],
		"3.1.2.11.2",
	),
	spec(0x12, "assignedClientIdentifier", "Assigned Client Identifier", "text", ["connack"], "3.2.2.3.7"),
	spec(0x13, "serverKeepAlive", "Server Keep Alive", "uint16", ["connack"], "3.2.2.3.14"),
	spec(0x15, "authenticationMethod", "Authentication Method", "text", AUTHENTICATED, "3.1.2.11.9"),
	spec(0x16, "authenticationData", "Authentication Data", "binary", AUTHENTICATED, "3.1.2.11.10"),
	spec(0x17, "requestProblemInformation", "Request Problem Information", "flag", ["connect"], "3.1.2.11.7"),
	spec(0x18, "willDelayInterval", "Will Delay Interval", "uint32", ["will"], "3.1.3.2.2"),
	spec(0x19, "requestResponseInformation", "Request Response Information", "flag", ["connect"], "3.1.2.11.6"),
	spec(0x1a, "responseInformation", "Response Information", "text", ["connack"], "3.2.2.3.15"),
	spec(0x1c, "serverReference", "Server Reference", "text", ["connack", "disconnect"], "3.2.2.3.16"),
	spec(0x1f, "reasonString", "Reason String", "text", REASONED, "3.2.2.3.9"),
	spec(0x21, "receiveMaximum", "Receive Maximum", "uint16", ["connect", "connack"], "3.1.2.11.3", { minimum: 1 }),
	spec(0x22, "topicAliasMaximum", "Topic Alias Maximum", "uint16", ["connect", "connack"], "3.1.2.11.5"),
	spec(0x23, "topicAlias", "Topic Alias", "uint16", ["publish"], "MQTT-3.3.2-8", {
		minimum: 1,
		rangeReason: ReasonCode.TopicAliasInvalid,
	}),
	spec(0x24, "maximumQos", "Maximum QoS", "byte", ["connack"], "3.2.2.3.4", { maximum: 1 }),
	spec(0x25, "retainAvailable", "Retain Available", "flag", ["connack"], "3.2.2.3.5"),
	spec(0x26, "userProperties", "User Property", "pair", EVERYWHERE, "3.1.2.11.8"),
	spec(0x27, "maximumPacketSize", "Maximum Packet Size", "uint32", ["connect", "connack"], "3.1.2.11.4", {
		minimum: 1,
	}),
	spec(0x28, "wildcardSubscriptionAvailable", "Wildcard Subscription Available", "flag", ["connack"], "3.2.2.3.11"),
	spec(
		0x29,
		"subscriptionIdentifierAvailable",
		"Subscription Identifiers Available",
		"flag",
		["connack"],
		"3.2.2.3.12",
	),
	spec(0x2a, "sharedSubscriptionAvailable", "Shared Subscription Available", "flag", ["connack"], "3.2.2.3.13"),
];

/** By identifier; identifiers are below 128, one byte of their Variable Byte Integer. */
export const PROPERTY_BY_ID: readonly (PropertySpec | undefined)[] = Array.from({ length: 128 }, (_, id) =>
	PROPERTIES.find((one) => one.id === id),
);
