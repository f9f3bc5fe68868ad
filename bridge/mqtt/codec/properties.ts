/**
 * Properties of MQTT 5.0 (section 2.2.2), decoded strictly: each allowed where it stands, once unless it may repeat, its
 * value in range, all of it within the Property Length.
 */
import { MqttError, NO_PROPERTIES, type Properties, type Sender } from "./packets.ts";
import { Reader } from "./primitives.ts";
import { ownerBit, PROPERTY_BY_ID, type PropertyOwner, type PropertySpec } from "./property-table.ts";
import { cite, malformed, protocolError } from "./refusals.ts";
import { topicNameProblem } from "./topic.ts";

type Value = number | boolean | string | Buffer;
type Decoded = Record<string, Value | number[] | [string, string][]>;

/** Reads a Property Length and the properties it spans; versions before 5.0 have neither. */
export function readProperties(reader: Reader, owner: PropertyOwner, sender?: Sender): Properties {
	if (reader.version !== 5) return NO_PROPERTIES;
	const length = reader.variableByteInteger("the Property Length");
	const start = reader.position;
	if (start + length > reader.end) throw reader.truncated("its properties");
	reader.position = start + length;
	return decodeProperties(reader.buffer, start, start + length, owner, sender);
}

/**
 * Decodes the properties in buffer[start..end), the Property Length not included. Throws MqttError: 0x81 for an
 * identifier that is unknown or not allowed in `owner` and for ill-formed values, 0x82 for repetitions and values out of
 * range, 0x94 for Topic Alias 0.
 */
export function decodeProperties(
	buffer: Buffer,
	start: number,
	end: number,
	owner: PropertyOwner,
	sender?: Sender,
): Properties {
	if (start >= end) {
		if (owner === "auth") throw methodMissing();
		return NO_PROPERTIES;
	}
	const reader = new Reader(buffer, start, end, 5);
	const bit = ownerBit(owner);
	const decoded: Decoded = {};
	while (!reader.atEnd) {
		const id = reader.variableByteInteger("a Property Identifier");
		const spec = id < 128 ? PROPERTY_BY_ID[id] : undefined;
		if (spec === undefined) throw malformed(5, "2.2.2.2", `0x${id.toString(16)} is not a Property Identifier`);
		if ((spec.owners & bit) === 0) throw malformed(5, "2.2.2.2", `${spec.title} is not a property of ${owner}`);
		decodeOne(reader, spec, owner, sender, decoded);
	}
	checkTogether(decoded, owner, sender);
	return decoded as Properties;
}

/** The properties of a PUBLISH whose place `PublishView` found. Who sent it decides whether it may hold Subscription Identifiers. */
export function decodePublishProperties(buffer: Buffer, start: number, end: number, sender?: Sender): Properties {
	return decodeProperties(buffer, start, end, "publish", sender);
}

function decodeOne(
	reader: Reader,
	spec: PropertySpec,
	owner: PropertyOwner,
	sender: Sender | undefined,
	decoded: Decoded,
): void {
	const before = decoded[spec.name];
	if (spec.type === "pair") {
		const pair: [string, string] = [reader.text("a User Property's name"), reader.text("a User Property's value")];
		if (before === undefined) decoded[spec.name] = [pair];
		else (before as [string, string][]).push(pair);
		return;
	}
	if (spec.name === "subscriptionIdentifier") {
		const identifier = decodeValue(reader, spec) as number;
		if (before === undefined) {
			decoded[spec.name] = [identifier];
			return;
		}
		// A server lists one for each subscription that matches (section 3.3.2.3.8); a client gives one per SUBSCRIBE.
		if (owner === "publish" && sender !== "client") (before as number[]).push(identifier);
		else throw repeated(spec);
		return;
	}
	if (before !== undefined) throw repeated(spec);
	decoded[spec.name] = decodeValue(reader, spec);
}

function decodeValue(reader: Reader, spec: PropertySpec): Value {
	switch (spec.type) {
		case "text":
			return reader.text(spec.title);
		case "binary":
			return reader.binary(spec.title);
		case "uint16":
			return inRange(spec, reader.uint16(spec.title));
		case "uint32":
			return inRange(spec, reader.uint32(spec.title));
		case "variable":
			return inRange(spec, reader.variableByteInteger(spec.title));
		case "flag":
			return inRange(spec, reader.byte(spec.title)) === 1;
		default:
			return inRange(spec, reader.byte(spec.title));
	}
}

function inRange(spec: PropertySpec, value: number): number {
	if (value >= spec.minimum && value <= spec.maximum) return value;
	throw new MqttError(spec.rangeReason, cite(spec.clause, 5), `${spec.title} must not be ${value}`, 5);
}

/** What can only be seen once all are read. */
function checkTogether(decoded: Properties, owner: PropertyOwner, sender: Sender | undefined): void {
	if (decoded.responseTopic !== undefined) {
		const problem = topicNameProblem(decoded.responseTopic);
		if (problem !== undefined) {
			const clause = decoded.responseTopic === "" ? "MQTT-4.7.3-1" : "MQTT-3.3.2-14";
			throw protocolError(5, clause, `the Response Topic ${problem}`);
		}
	}
	if (decoded.authenticationMethod === undefined) {
		if (owner === "auth") throw methodMissing();
		if (decoded.authenticationData !== undefined) {
			throw protocolError(5, "3.1.2.11.10", "Authentication Data without an Authentication Method");
		}
	}
	if (sender === "client" && owner === "publish" && decoded.subscriptionIdentifier !== undefined) {
		throw protocolError(5, "MQTT-3.3.4-6", "a client's PUBLISH must not hold a Subscription Identifier");
	}
	if (sender === "server" && owner === "disconnect" && decoded.sessionExpiryInterval !== undefined) {
		throw protocolError(5, "MQTT-3.14.2-2", "a server's DISCONNECT must not hold a Session Expiry Interval");
	}
}

function repeated(spec: PropertySpec): MqttError {
	return protocolError(5, spec.clause.startsWith("MQTT-") ? "3.3.2.3.4" : spec.clause, `${spec.title} is given twice`);
}

function methodMissing(): MqttError {
	return protocolError(5, "3.15.2.2.2", "an AUTH without an Authentication Method");
}
