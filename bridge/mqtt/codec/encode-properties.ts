/** Properties of MQTT 5.0 as bytes, held to the same table as the decoder's. */
import type { Properties } from "./packets.ts";
import { ownerBit, PROPERTIES, type PropertyOwner, type PropertySpec } from "./property-table.ts";
import { topicNameProblem } from "./topic.ts";
import { Writer } from "./writer.ts";

/** What a packet of 5.0 without properties carries for them [MQTT-2.2.2-1]: a Property Length of 0. */
export const NO_PROPERTY_BYTES: Buffer = Buffer.from([0]);

/**
 * The properties with their Property Length, as they stand in the packet. Throws a TypeError naming the property that
 * may not stand there or whose value is not allowed. A name that is not a property's is refused as well.
 */
export function encodeProperties(owner: PropertyOwner, properties: Properties): Buffer {
	checkNames(owner, properties);
	const bit = ownerBit(owner);
	const writer = new Writer();
	for (const spec of PROPERTIES) {
		const value = properties[spec.name];
		if (value === undefined) continue;
		if ((spec.owners & bit) === 0) throw new TypeError(`${spec.title} is not a property of ${owner}`);
		encodeOne(writer, spec, owner, value);
	}
	return writer.length === 0 ? NO_PROPERTY_BYTES : writer.lengthPrefixed();
}

const KNOWN: ReadonlySet<string> = new Set(PROPERTIES.map((spec) => spec.name));

function checkNames(owner: PropertyOwner, properties: Properties): void {
	for (const name of Object.keys(properties)) {
		if (!KNOWN.has(name)) throw new TypeError(`${name} is not a property`);
	}
	if (properties.authenticationMethod === undefined) {
		if (owner === "auth") throw new TypeError("an AUTH needs an Authentication Method");
		if (properties.authenticationData !== undefined) {
			throw new TypeError("Authentication Data needs an Authentication Method");
		}
	}
	if (properties.responseTopic !== undefined) {
		const problem = topicNameProblem(properties.responseTopic);
		if (problem !== undefined) throw new TypeError(`the Response Topic ${problem} [MQTT-3.3.2-14]`);
	}
}

type Value = NonNullable<Properties[keyof Properties]>;

function encodeOne(writer: Writer, spec: PropertySpec, owner: PropertyOwner, value: Value): void {
	if (spec.type === "pair") {
		for (const [name, text] of value as readonly (readonly [string, string])[]) {
			writer.byte(spec.id);
			writer.text(name, "a User Property's name");
			writer.text(text, "a User Property's value");
		}
		return;
	}
	if (spec.name === "subscriptionIdentifier") {
		const identifiers = value as readonly number[];
		if (owner === "subscribe" && identifiers.length > 1) {
			throw new TypeError("a SUBSCRIBE holds at most one Subscription Identifier");
		}
		for (const identifier of identifiers) encodeValue(writer, spec, identifier);
		return;
	}
	encodeValue(writer, spec, value as number | boolean | string | Buffer);
}

function encodeValue(writer: Writer, spec: PropertySpec, value: number | boolean | string | Buffer): void {
	writer.byte(spec.id);
	switch (spec.type) {
		case "text":
			writer.text(value as string, spec.title);
			break;
		case "binary":
			writer.binary(value as Buffer, spec.title);
			break;
		case "flag":
			if (typeof value !== "boolean") throw new TypeError(`${spec.title} must be true or false`);
			writer.byte(value ? 1 : 0);
			break;
		default:
			encodeNumber(writer, spec, value as number);
			break;
	}
}

function encodeNumber(writer: Writer, spec: PropertySpec, value: number): void {
	if (!Number.isInteger(value) || value < spec.minimum || value > spec.maximum) {
		throw new TypeError(`${spec.title} must be a whole number from ${spec.minimum} to ${spec.maximum}, not ${value}`);
	}
	switch (spec.type) {
		case "uint16":
			writer.uint16(value, spec.title);
			break;
		case "uint32":
			writer.uint32(value, spec.title);
			break;
		case "variable":
			writer.variableByteInteger(value, spec.title);
			break;
		default:
			writer.byte(value);
			break;
	}
}
