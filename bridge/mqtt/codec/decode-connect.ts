/** CONNECT (section 3.1), in the version that it names itself. */
import { type ConnectPacket, MqttError, NO_PROPERTIES, type Qos, type Version, type Will } from "./packets.ts";
import { Reader } from "./primitives.ts";
import { readProperties } from "./properties.ts";
import { ReasonCode } from "./reason-codes.ts";
import { cite, malformed } from "./refusals.ts";
import { printable, validateTopicName } from "./topic.ts";

const USER_NAME = 0x80;
const PASSWORD = 0x40;
const WILL_RETAIN = 0x20;
const WILL = 0x04;
const CLEAN_START = 0x02;
const RESERVED = 0x01;

/**
 * Reads the body of a CONNECT in buffer[start..end). Throws MqttError; its `version` is the one to answer in, undefined
 * when the protocol is not MQTT at all.
 */
export function decodeConnect(buffer: Buffer, start: number, end: number): ConnectPacket {
	const header = new Reader(buffer, start, end, 4);
	const version = readVersion(header);
	const reader = new Reader(buffer, header.position, end, version);

	const flags = reader.byte("the Connect Flags");
	checkFlags(flags, version);
	const keepAliveSeconds = reader.uint16("the Keep Alive");
	const properties = readProperties(reader, "connect", "client");

	const clientId = printable(reader.text("the Client Identifier"), version, "the Client Identifier");
	const cleanStart = (flags & CLEAN_START) !== 0;
	if (clientId === "") checkEmptyClientId(version, cleanStart);
	const will = (flags & WILL) === 0 ? undefined : readWill(reader, flags);
	const username = has(reader, flags, USER_NAME)
		? printable(reader.text("the User Name"), version, "the User Name")
		: undefined;
	const password = has(reader, flags, PASSWORD) ? reader.binary("the Password") : undefined;
	reader.expectEnd("MQTT-3.1.4-1", "the CONNECT's payload");

	return { type: "connect", version, cleanStart, keepAliveSeconds, clientId, username, password, will, properties };
}

function readVersion(reader: Reader): Version {
	const start = readProtocolName(reader);
	const name = reader.buffer.toString("latin1", start, reader.position);
	const level = reader.byte("the Protocol Version");
	if (name === "MQTT" && (level === 4 || level === 5)) return level;
	if (name === "MQIsdp" && level === 3) return 3;
	// 3.1.1 demands its "unacceptable protocol level" here, 5.0 only allows its own answer; so levels that nobody knows get the
	// former. A mosquitto bridge sends 0x80 | level to ask for a private dialect; told so, it tries again without.
	const answer: Version = name === "MQIsdp" ? 3 : 4;
	throw new MqttError(
		ReasonCode.UnsupportedProtocolVersion,
		cite("MQTT-3.1.2-2", answer),
		`protocol ${name} level ${level} is not supported; MQIsdp level 3 and MQTT levels 4 and 5 are`,
		answer,
	);
}

function readProtocolName(reader: Reader): number {
	const length = reader.uint16("the Protocol Name");
	const start = reader.position;
	const available = Math.min(length, reader.end - start);
	const name = reader.buffer.toString("latin1", start, start + Math.min(available, 6));
	if (length === 4 ? name !== "MQTT".slice(0, available) : length !== 6 || name !== "MQIsdp".slice(0, available)) {
		// Whatever it speaks, it would not understand an answer.
		throw new MqttError(
			ReasonCode.UnsupportedProtocolVersion,
			cite("MQTT-3.1.2-1", 5),
			"the Protocol Name is neither MQTT nor MQIsdp",
		);
	}
	if (available < length) throw reader.truncated("the Protocol Name");
	reader.position = start + length;
	return start;
}

function checkFlags(flags: number, version: Version): void {
	// 3.1 leaves the bit unused.
	if ((flags & RESERVED) !== 0 && version !== 3) {
		throw malformed(version, "MQTT-3.1.2-3", "the reserved bit of the Connect Flags is set");
	}
	const willQos = (flags >> 3) & 3;
	if ((flags & WILL) === 0) {
		if (willQos !== 0) throw malformed(version, "MQTT-3.1.2-11", "a Will QoS without a will");
		if ((flags & WILL_RETAIN) !== 0) throw malformed(version, "MQTT-3.1.2-13", "Will Retain without a will");
	} else if (willQos === 3) {
		throw malformed(version, "MQTT-3.1.2-12", "Will QoS 3");
	}
	if (version !== 5 && (flags & PASSWORD) !== 0 && (flags & USER_NAME) === 0) {
		throw new MqttError(
			ReasonCode.MalformedPacket,
			"[MQTT-3.1.2-22] of 3.1.1",
			"a Password without a User Name, which only MQTT 5.0 allows",
			version,
		);
	}
}

function checkEmptyClientId(version: Version, cleanStart: boolean): void {
	if (version === 5 || (version === 4 && cleanStart)) return;
	throw new MqttError(
		ReasonCode.ClientIdentifierNotValid,
		version === 4 ? "[MQTT-3.1.3-8] of 3.1.1" : "3.1 section 3.1",
		version === 4 ? "an empty Client Identifier needs Clean Session 1" : "MQTT 3.1 needs a Client Identifier",
		version,
	);
}

function readWill(reader: Reader, flags: number): Will {
	const properties = reader.version === 5 ? readProperties(reader, "will", "client") : NO_PROPERTIES;
	const topicStart = reader.lengthPrefixed("the Will Topic");
	const topic = validateTopicName(reader.buffer, topicStart, reader.position, reader.version);
	const payload = reader.binary("the Will Payload");
	return { topic, payload, qos: ((flags >> 3) & 3) as Qos, retain: (flags & WILL_RETAIN) !== 0, properties };
}

/** In 3.1 a flagged User Name or Password may be missing at the packet's end, for the sake of clients older than itself. */
function has(reader: Reader, flags: number, flag: number): boolean {
	return (flags & flag) !== 0 && !(reader.version === 3 && reader.atEnd);
}
