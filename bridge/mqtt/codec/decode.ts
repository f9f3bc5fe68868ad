/**
 * One whole packet, of any type, version and direction, decoded strictly. The first thing that is wrong decides the
 * MqttError: reason code, clause and the version to answer in.
 */
import { AckView } from "./ack-view.ts";
import { decodeConnect } from "./decode-connect.ts";
import { readFixedHeader } from "./fixed-header.ts";
import {
	type ConnackPacket,
	type DisconnectPacket,
	type MqttError,
	NO_PROPERTIES,
	type Packet,
	PacketType,
	type PacketTypeName,
	type PingPacket,
	type PublishPacket,
	type PublishResponsePacket,
	type Sender,
	type SubackPacket,
	type SubscribePacket,
	type Subscription,
	type UnsubscribePacket,
	type Version,
} from "./packets.ts";
import { Reader } from "./primitives.ts";
import { decodePublishProperties, readProperties } from "./properties.ts";
import { missingTopic, PublishView } from "./publish-view.ts";
import { ReasonCode, reasonOfConnackReturnCode } from "./reason-codes.ts";
import { REASON_RULES, reasonAllowed } from "./reason-table.ts";
import { malformed, protocolError } from "./refusals.ts";
import { validateTopicFilter, validateTopicName } from "./topic.ts";

const NAMES = Object.keys(PacketType) as PacketTypeName[];
const ONLY_CLIENT: ReadonlySet<PacketTypeName> = new Set(["connect", "subscribe", "unsubscribe", "pingreq"]);
const ONLY_SERVER: ReadonlySet<PacketTypeName> = new Set(["connack", "suback", "unsuback", "pingresp"]);

/**
 * Decodes buffer[position..end), one whole packet from its fixed header on. CONNECT finds its version itself; pass 4
 * before one was seen. With `sender`, what only the other side may send is refused too (0x82). A PUBLISH's payload is a
 * view of `buffer`; everything else is a copy. Throws MqttError and nothing else.
 */
export function decodePacket(buffer: Buffer, position: number, end: number, version: Version, sender?: Sender): Packet {
	const bodyStart = readFixedHeader(buffer, position, end, connectIsOf31(buffer, position, end) ? 3 : version);
	const type = buffer[position]! >> 4;
	const name = NAMES[type - 1]!;
	if (sender === "client" ? ONLY_SERVER.has(name) : sender === "server" && ONLY_CLIENT.has(name)) {
		throw protocolError(version, "2.1.2", `${name.toUpperCase()} is not for a ${sender} to send`);
	}
	switch (name) {
		case "connect":
			return decodeConnect(buffer, bodyStart, end);
		case "publish":
			return decodePublish(buffer, position, end, version, sender);
		case "puback":
		case "pubrec":
		case "pubrel":
		case "pubcomp":
			return decodeAck(buffer, position, end, version, sender);
	}
	const reader = new Reader(buffer, bodyStart, end, version);
	switch (name) {
		case "connack":
			return decodeConnack(reader, sender);
		case "subscribe":
			return decodeSubscribe(reader, sender);
		case "unsubscribe":
			return decodeUnsubscribe(reader, sender);
		case "suback":
		case "unsuback":
			return decodeSuback(reader, name, sender);
		case "disconnect":
		case "auth":
			return decodeDisconnect(reader, name, sender);
		default:
			return decodePing(reader, name);
	}
}

const MQISDP = Buffer.from("\0\x06MQIsdp");

/** CONNECT tells its version only in its body, and its flags are read before: 3.1 calls them "not used". */
function connectIsOf31(buffer: Buffer, position: number, end: number): boolean {
	if (buffer[position]! >> 4 !== PacketType.connect) return false;
	// In front of it a Remaining Length of one to four bytes.
	const found = buffer.indexOf(MQISDP, position + 2);
	return found > 0 && found <= position + 5 && found + MQISDP.length <= end;
}

function decodePublish(
	buffer: Buffer,
	position: number,
	end: number,
	version: Version,
	sender: Sender | undefined,
): PublishPacket {
	const view = new PublishView();
	view.read(buffer, position, end, version);
	const properties =
		version === 5 ? decodePublishProperties(buffer, view.propertiesStart, view.propertiesEnd, sender) : NO_PROPERTIES;
	let topic = "";
	if (view.topicStart < view.topicEnd) topic = validateTopicName(buffer, view.topicStart, view.topicEnd, version);
	else if (properties.topicAlias === undefined) throw missingTopic();
	return {
		type: "publish",
		topic,
		payload: buffer.subarray(view.payloadStart, view.payloadEnd),
		qos: view.qos,
		retain: view.retain,
		dup: view.dup,
		packetId: view.qos === 0 ? undefined : view.packetId,
		properties,
	};
}

function decodeAck(
	buffer: Buffer,
	position: number,
	end: number,
	version: Version,
	sender: Sender | undefined,
): PublishResponsePacket {
	const view = new AckView();
	view.read(buffer, position, end, version, sender);
	return { type: view.type, packetId: view.packetId, reasonCode: view.reasonCode, properties: view.properties };
}

function decodeConnack(reader: Reader, sender: Sender | undefined): ConnackPacket {
	const version = reader.version;
	const flags = reader.byte("the Connect Acknowledge Flags");
	const code = reader.byte("the Connect Reason Code");
	// 3.1 has no Session Present; its first byte is "not used".
	if (flags > 1 && version !== 3) {
		throw malformed(version, "MQTT-3.2.2-1", "reserved bits of the Connect Acknowledge Flags are set");
	}
	const sessionPresent = version !== 3 && flags === 1;
	if (sessionPresent && code !== 0) {
		throw protocolError(version, "MQTT-3.2.2-6", "Session Present in a CONNACK that refuses");
	}
	const reasonCode =
		version === 5 ? (reasonAllowed(PacketType.connack, code) ? code : undefined) : reasonOfConnackReturnCode(code);
	if (reasonCode === undefined) throw wrongReason(version, "connack", code);
	const properties = readProperties(reader, "connack", sender);
	reader.expectEnd("3.2", "the CONNACK");
	return { type: "connack", sessionPresent, reasonCode, properties };
}

function decodeSubscribe(reader: Reader, sender: Sender | undefined): SubscribePacket {
	const version = reader.version;
	const packetId = reader.packetId("MQTT-2.2.1-3");
	const properties = readProperties(reader, "subscribe", sender);
	if (reader.atEnd) throw protocolError(version, "MQTT-3.8.3-2", "a SUBSCRIBE without a Topic Filter");
	const subscriptions: Subscription[] = [];
	while (!reader.atEnd) subscriptions.push(decodeSubscription(reader));
	return { type: "subscribe", packetId, subscriptions, properties };
}

function decodeSubscription(reader: Reader): Subscription {
	const version = reader.version;
	const filter = reader.text("a Topic Filter");
	const { shareName } = validateTopicFilter(filter, version);
	let options = reader.byte("the Subscription Options");
	// The upper six bits: reserved in 3.1.1, "not used" in 3.1; in 5.0 four of them have a meaning.
	if (version === 3) options &= 0x03;
	if (version === 4 ? options > 2 : (options & 0xc0) !== 0) {
		throw malformed(version, "MQTT-3.8.3-5", "reserved bits of the Subscription Options are set, or QoS 3");
	}
	const qos = options & 3;
	const noLocal = (options & 0x04) !== 0;
	const retainHandling = (options >> 4) & 3;
	if (qos === 3) throw protocolError(version, "3.8.3.1", "a Maximum QoS of 3 is asked for");
	if (retainHandling === 3) throw protocolError(version, "3.8.3.1", "Retain Handling 3");
	if (noLocal && shareName !== undefined) {
		throw protocolError(version, "MQTT-3.8.3-4", "No Local on a shared subscription");
	}
	return {
		filter,
		qos: qos as Subscription["qos"],
		noLocal,
		retainAsPublished: (options & 0x08) !== 0,
		retainHandling: retainHandling as Subscription["retainHandling"],
	};
}

function decodeUnsubscribe(reader: Reader, sender: Sender | undefined): UnsubscribePacket {
	const version = reader.version;
	const packetId = reader.packetId("MQTT-2.2.1-3");
	const properties = readProperties(reader, "unsubscribe", sender);
	if (reader.atEnd) throw protocolError(version, "MQTT-3.10.3-2", "an UNSUBSCRIBE without a Topic Filter");
	const filters: string[] = [];
	while (!reader.atEnd) {
		const filter = reader.text("a Topic Filter");
		validateTopicFilter(filter, version);
		filters.push(filter);
	}
	return { type: "unsubscribe", packetId, filters, properties };
}

function decodeSuback(reader: Reader, name: "suback" | "unsuback", sender: Sender | undefined): SubackPacket {
	const version = reader.version;
	const packetId = reader.packetId("MQTT-2.2.1-6");
	const properties = readProperties(reader, name, sender);
	const reasonCodes: number[] = [];
	if (name === "unsuback" && version !== 5) {
		reader.expectEnd("3.11.3", "the UNSUBACK");
		return { type: name, packetId, reasonCodes, properties };
	}
	if (reader.atEnd) {
		const clause = name === "suback" ? "MQTT-3.8.4-6" : "MQTT-3.11.3-2";
		throw malformed(version, clause, `the ${name.toUpperCase()} holds no reason code`);
	}
	while (!reader.atEnd) {
		const code = reader.byte("a reason code");
		const allowed = version === 5 ? reasonAllowed(PacketType[name], code) : code <= 2 || code === 0x80;
		if (!allowed) throw wrongReason(version, name, code);
		reasonCodes.push(code);
	}
	return { type: name, packetId, reasonCodes, properties };
}

function decodeDisconnect(reader: Reader, name: "disconnect" | "auth", sender: Sender | undefined): DisconnectPacket {
	const version = reader.version;
	if (version !== 5) reader.expectEnd("3.14", "the DISCONNECT");
	if (reader.atEnd) {
		// The short form: Success, no properties (sections 3.14.2.1 and 3.15.2.1).
		if (!reasonAllowed(PacketType[name], ReasonCode.Success, sender)) throw wrongSender(name, 0, sender);
		return { type: name, reasonCode: ReasonCode.Success, properties: NO_PROPERTIES };
	}
	const reasonCode = reader.byte("the Reason Code");
	if (!reasonAllowed(PacketType[name], reasonCode)) throw wrongReason(version, name, reasonCode);
	if (!reasonAllowed(PacketType[name], reasonCode, sender)) throw wrongSender(name, reasonCode, sender);
	// Only DISCONNECT may leave out the Property Length after a reason code (section 3.14.2.2.1).
	const properties = name === "disconnect" && reader.atEnd ? NO_PROPERTIES : readProperties(reader, name, sender);
	reader.expectEnd(name === "auth" ? "3.15" : "3.14", `the ${name.toUpperCase()}`);
	return { type: name, reasonCode, properties };
}

function decodePing(reader: Reader, name: PingPacket["type"]): PingPacket {
	reader.expectEnd(name === "pingreq" ? "3.12" : "3.13", `the ${name.toUpperCase()}`);
	return { type: name };
}

function wrongReason(version: Version, name: PacketTypeName, code: number): MqttError {
	const what = `0x${code.toString(16)} is not a reason code of ${name.toUpperCase()}`;
	return protocolError(version, REASON_RULES[name]!.clause, what);
}

function wrongSender(name: PacketTypeName, code: number, sender: Sender | undefined): MqttError {
	const what = `reason code 0x${code.toString(16)} of ${name.toUpperCase()} is not for a ${sender} to send`;
	return protocolError(5, REASON_RULES[name]!.clause, what);
}
