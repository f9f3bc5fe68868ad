/**
 * Packets as bytes, in every version and direction. Never emits what a strict receiver would refuse: a TypeError names
 * what is wrong. What an older version has no room for is left out where the packet keeps its sense without it
 * (properties, reason codes of acknowledgements) and refused where it would not.
 */
import { encodeProperties } from "./encode-properties.ts";
import {
	type ConnackPacket,
	type ConnectPacket,
	connackReturnCode,
	type DisconnectPacket,
	NO_PROPERTIES,
	type Packet,
	PacketType,
	type PacketTypeName,
	type Properties,
	type PublishPacket,
	type PublishResponsePacket,
	type SubackPacket,
	type SubscribePacket,
	type Subscription,
	type UnsubscribePacket,
	type Version,
} from "./packets.ts";
import { reasonAllowed } from "./reason-table.ts";
import { topicNameProblem, validateTopicFilter } from "./topic.ts";
import { publishFlags } from "./write-publish.ts";
import { Writer } from "./writer.ts";

export { encodeProperties, NO_PROPERTY_BYTES } from "./encode-properties.ts";
export * from "./write-publish.ts";

/** One packet. `version` is the connection's; a CONNECT carries its own, which must be the same. Throws a TypeError. */
export function encodePacket(packet: Packet, version: Version): Buffer {
	const writer = new Writer();
	const flags = encodeBody(writer, packet, version);
	return writer.packet((PacketType[packet.type] << 4) | flags);
}

/**
 * As `encodePacket`, within the receiver's Maximum Packet Size: the Reason String goes first, then the User Properties,
 * of a packet whose sense does not depend on them ([MQTT-3.2.2-19], [MQTT-3.2.2-20] and their like for each packet).
 * Undefined where that is not enough: the packet must not be sent ([MQTT-3.1.2-24], [MQTT-3.1.2-25], [MQTT-3.2.2-15]).
 */
export function encodeWithin(packet: Packet, version: Version, maxBytes: number): Buffer | undefined {
	const whole = encodePacket(packet, version);
	if (whole.length <= maxBytes) return whole;
	// An application's User Properties are to be forwarded unaltered [MQTT-3.3.2-17].
	if (version !== 5 || !("properties" in packet) || CARRIES_MESSAGE.has(packet.type)) return undefined;
	const { reasonString, ...unexplained } = packet.properties;
	const { userProperties, ...bare } = unexplained;
	for (const properties of [unexplained, bare]) {
		const smaller = encodePacket({ ...packet, properties }, version);
		if (smaller.length <= maxBytes) return smaller;
	}
	return undefined;
}

const CARRIES_MESSAGE: ReadonlySet<PacketTypeName> = new Set(["connect", "publish", "subscribe", "unsubscribe"]);

/** Writes what follows the fixed header; returns that header's flags. */
function encodeBody(writer: Writer, packet: Packet, version: Version): number {
	switch (packet.type) {
		case "connect":
			return encodeConnect(writer, packet, version);
		case "connack":
			return encodeConnack(writer, packet, version);
		case "publish":
			return encodePublish(writer, packet, version);
		case "puback":
		case "pubrec":
		case "pubrel":
		case "pubcomp":
			return encodeAck(writer, packet, version);
		case "subscribe":
			return encodeSubscribe(writer, packet, version);
		case "suback":
		case "unsuback":
			return encodeSuback(writer, packet, version);
		case "unsubscribe":
			return encodeUnsubscribe(writer, packet, version);
		case "disconnect":
		case "auth":
			return encodeDisconnect(writer, packet, version);
		default:
			return 0;
	}
}

function properties(writer: Writer, owner: PacketTypeName | "will", value: Properties, version: Version): void {
	if (version === 5) writer.bytes(encodeProperties(owner, value));
}

function encodeConnect(writer: Writer, packet: ConnectPacket, version: Version): number {
	if (packet.version !== version) throw new TypeError(`a CONNECT of version ${packet.version} on one of ${version}`);
	const { will, username, password, clientId } = packet;
	if (clientId === "" && (version === 3 || (version === 4 && !packet.cleanStart))) {
		throw new TypeError("an empty Client Identifier needs MQTT 5.0, or 3.1.1 with Clean Session");
	}
	if (password !== undefined && username === undefined && version !== 5) {
		throw new TypeError("a Password without a User Name needs MQTT 5.0 ([MQTT-3.1.2-22] of 3.1.1)");
	}
	writer.text(version === 3 ? "MQIsdp" : "MQTT", "the Protocol Name");
	writer.byte(version);
	writer.byte(
		(username === undefined ? 0 : 0x80) |
			(password === undefined ? 0 : 0x40) |
			(will === undefined ? 0 : 0x04 | (checkQos(will.qos) << 3) | (will.retain ? 0x20 : 0)) |
			(packet.cleanStart ? 0x02 : 0),
	);
	writer.uint16(packet.keepAliveSeconds, "the Keep Alive");
	properties(writer, "connect", packet.properties, version);
	writer.text(clientId, "the Client Identifier");
	if (will !== undefined) {
		properties(writer, "will", will.properties, version);
		topicName(writer, will.topic, "the Will Topic");
		writer.binary(will.payload, "the Will Payload");
	}
	if (username !== undefined) writer.text(username, "the User Name");
	if (password !== undefined) writer.binary(password, "the Password");
	return 0;
}

function encodeConnack(writer: Writer, packet: ConnackPacket, version: Version): number {
	if (packet.sessionPresent && packet.reasonCode !== 0) {
		throw new TypeError("a CONNACK that refuses has no Session Present [MQTT-3.2.2-6]");
	}
	checkReason("connack", packet.reasonCode);
	const code = version === 5 ? packet.reasonCode : connackReturnCode(packet.reasonCode);
	if (code === undefined) {
		throw new TypeError(
			`no return code of MQTT 3 says 0x${packet.reasonCode.toString(16)}: close without a CONNACK ([MQTT-3.2.2-6] of 3.1.1)`,
		);
	}
	writer.byte(packet.sessionPresent && version !== 3 ? 1 : 0);
	writer.byte(code);
	properties(writer, "connack", packet.properties, version);
	return 0;
}

function encodePublish(writer: Writer, packet: PublishPacket, version: Version): number {
	const qos = checkQos(packet.qos);
	if (packet.dup && qos === 0) throw new TypeError("a PUBLISH at QoS 0 has no DUP [MQTT-3.3.1-2]");
	if (packet.topic === "" && version === 5 && packet.properties.topicAlias !== undefined) writer.uint16(0, "");
	else topicName(writer, packet.topic, "the Topic Name");
	if (qos === 0) {
		if (packet.packetId !== undefined) {
			throw new TypeError("a PUBLISH at QoS 0 has no Packet Identifier [MQTT-2.2.1-2]");
		}
	} else if (packet.packetId === undefined) {
		throw new TypeError(`a PUBLISH at QoS ${qos} needs a Packet Identifier [MQTT-2.2.1-3]`);
	} else {
		writer.packetId(packet.packetId);
	}
	properties(writer, "publish", packet.properties, version);
	writer.bytes(packet.payload);
	return publishFlags(qos, packet.retain, packet.dup);
}

function encodeAck(writer: Writer, packet: PublishResponsePacket, version: Version): number {
	checkReason(packet.type, packet.reasonCode);
	writer.packetId(packet.packetId);
	if (version === 5) {
		const bare = isEmpty(packet.properties);
		if (packet.reasonCode !== 0 || !bare) writer.byte(packet.reasonCode);
		if (!bare) properties(writer, packet.type, packet.properties, version);
	}
	return packet.type === "pubrel" ? 2 : 0;
}

function encodeSubscribe(writer: Writer, packet: SubscribePacket, version: Version): number {
	if (packet.subscriptions.length === 0) throw new TypeError("a SUBSCRIBE needs a Topic Filter [MQTT-3.8.3-2]");
	writer.packetId(packet.packetId);
	properties(writer, "subscribe", packet.properties, version);
	for (const subscription of packet.subscriptions) {
		const shared = topicFilter(writer, subscription.filter);
		writer.byte(subscriptionOptions(subscription, shared, version));
	}
	return 2;
}

function subscriptionOptions(subscription: Subscription, shared: boolean, version: Version): number {
	const { noLocal, retainAsPublished, retainHandling } = subscription;
	const qos = checkQos(subscription.qos);
	if (version !== 5) {
		if (!noLocal && !retainAsPublished && retainHandling === 0) return qos;
		throw new TypeError("No Local, Retain As Published and Retain Handling need MQTT 5.0");
	}
	if (noLocal && shared) throw new TypeError("No Local does not go with a shared subscription [MQTT-3.8.3-4]");
	if (retainHandling !== 0 && retainHandling !== 1 && retainHandling !== 2) {
		throw new TypeError(`Retain Handling must be 0, 1 or 2, not ${retainHandling}`);
	}
	return qos | (noLocal ? 0x04 : 0) | (retainAsPublished ? 0x08 : 0) | (retainHandling << 4);
}

function encodeSuback(writer: Writer, packet: SubackPacket, version: Version): number {
	writer.packetId(packet.packetId);
	properties(writer, packet.type, packet.properties, version);
	for (const code of packet.reasonCodes) checkReason(packet.type, code);
	if (packet.type === "unsuback" && version !== 5) return 0;
	if (packet.reasonCodes.length === 0)
		throw new TypeError(`${packet.type.toUpperCase()} needs a reason code per filter`);
	// 3.1.1 knows one failure, 0x80 ([MQTT-3.9.3-2] of 3.1.1).
	for (const code of packet.reasonCodes) writer.byte(version === 5 || code < 0x80 ? code : 0x80);
	return 0;
}

function encodeUnsubscribe(writer: Writer, packet: UnsubscribePacket, version: Version): number {
	if (packet.filters.length === 0) throw new TypeError("an UNSUBSCRIBE needs a Topic Filter [MQTT-3.10.3-2]");
	writer.packetId(packet.packetId);
	properties(writer, "unsubscribe", packet.properties, version);
	for (const filter of packet.filters) topicFilter(writer, filter);
	return 2;
}

function encodeDisconnect(writer: Writer, packet: DisconnectPacket, version: Version): number {
	const { type, reasonCode } = packet;
	checkReason(type, reasonCode);
	if (version !== 5) {
		if (type === "auth") throw new TypeError("AUTH needs MQTT 5.0");
		if (reasonCode !== 0) throw new TypeError("DISCONNECT has a reason code only in MQTT 5.0: close instead");
		return 0;
	}
	const bare = isEmpty(packet.properties);
	if (reasonCode === 0 && bare) return 0;
	writer.byte(reasonCode);
	if (type === "auth" || !bare) properties(writer, type, packet.properties, version);
	return 0;
}

function isEmpty(value: Properties): boolean {
	if (value === NO_PROPERTIES) return true;
	for (const one of Object.values(value)) if (one !== undefined) return false;
	return true;
}

function checkQos(qos: number): 0 | 1 | 2 {
	if (qos !== 0 && qos !== 1 && qos !== 2) throw new TypeError(`QoS must be 0, 1 or 2, not ${qos}`);
	return qos;
}

function checkReason(type: PacketTypeName, code: number): void {
	if (!reasonAllowed(PacketType[type], code)) {
		throw new TypeError(`${code} is not a reason code of ${type.toUpperCase()}`);
	}
}

function topicName(writer: Writer, topic: string, what: string): void {
	const problem = topicNameProblem(topic);
	if (problem !== undefined) throw new TypeError(`${what} ${problem}`);
	writer.text(topic, what);
}

/** Returns whether the filter is a shared subscription's. */
function topicFilter(writer: Writer, filter: string): boolean {
	let shared: boolean;
	try {
		shared = validateTopicFilter(filter).shareName !== undefined;
	} catch (error) {
		throw new TypeError((error as Error).message, { cause: error });
	}
	writer.text(filter, "a Topic Filter");
	return shared;
}
