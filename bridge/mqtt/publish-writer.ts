/**
 * PUBLISH packets to subscribers, written straight into the connection's output: nothing is allocated per packet. The
 * codec's encoder does the same for single packets; this one exists for the fan-out.
 */
import type { Properties, Qos, Version } from "./codec/packets.ts";
import type { Output } from "./output.ts";
import type { StoredEvent } from "./stored-event.ts";

const NO_PROPERTIES = Buffer.alloc(0);

/** Variable Byte Integer sizes (5.0 section 1.5.5). */
function varintBytes(value: number): number {
	return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
}

function writeVarint(buffer: Buffer, at: number, value: number): number {
	let position = at;
	let rest = value;
	while (rest >= 128) {
		buffer[position++] = (rest & 0x7f) | 0x80;
		rest >>>= 7;
	}
	buffer[position++] = rest;
	return position;
}

function identifiersBytes(identifiers: readonly number[] | undefined): number {
	let bytes = 0;
	if (identifiers !== undefined) for (const identifier of identifiers) bytes += 1 + varintBytes(identifier);
	return bytes;
}

/** How one PUBLISH is to be written. */
export interface PublishOptions {
	readonly version: Version;
	readonly qos: Qos;
	readonly retain: boolean;
	readonly dup: boolean;
	/** At QoS 0 not used. */
	readonly packetId: number;
	readonly identifiers: readonly number[] | undefined;
	/** Message Expiry Interval that is left; -1: none. */
	readonly expirySeconds: number;
	/** Topic Alias; 0: none. */
	readonly alias: number;
	/** The alias stands for the topic. */
	readonly omitTopic: boolean;
	/** It leaves once the commit being gathered is durable. */
	readonly onCommit: boolean;
}

/** Writes the packet and returns true, or false when it would be larger than `maxPacketBytes` [MQTT-3.1.2-24]. */
export function writePublish(
	output: Output,
	event: StoredEvent,
	options: PublishOptions,
	maxPacketBytes: number,
): boolean {
	const { version, qos, identifiers, expirySeconds, alias } = options;
	const topicBytes = options.omitTopic ? 0 : event.topicEnd - event.topicStart;
	const payloadBytes = event.payloadEnd - event.payloadStart;
	let remaining = 2 + topicBytes + (qos > 0 ? 2 : 0) + payloadBytes;
	let propertiesBytes = 0;
	const own = version === 5 ? event.propertiesBlock : NO_PROPERTIES;
	if (version === 5) {
		propertiesBytes = own.length + identifiersBytes(identifiers) + (expirySeconds >= 0 ? 5 : 0) + (alias > 0 ? 3 : 0);
		remaining += varintBytes(propertiesBytes) + propertiesBytes;
	}
	const length = 1 + varintBytes(remaining) + remaining;
	if (length > maxPacketBytes) return false;
	let at = options.onCommit ? output.reserveOnCommit(length) : output.reserve(length);
	const buffer = options.onCommit ? output.onCommitBuffer : output.buffer;
	buffer[at++] = 0x30 | (options.dup ? 8 : 0) | (qos << 1) | (options.retain ? 1 : 0);
	at = writeVarint(buffer, at, remaining);
	buffer[at++] = topicBytes >>> 8;
	buffer[at++] = topicBytes & 0xff;
	if (topicBytes > 0) event.topicSource.copy(buffer, at, event.topicStart, event.topicEnd);
	at += topicBytes;
	if (qos > 0) {
		buffer[at++] = options.packetId >>> 8;
		buffer[at++] = options.packetId & 0xff;
	}
	if (version === 5) {
		at = writeVarint(buffer, at, propertiesBytes);
		if (own.length > 0) at += own.copy(buffer, at);
		if (expirySeconds >= 0) {
			buffer[at] = 0x02;
			at = buffer.writeUInt32BE(expirySeconds, at + 1);
		}
		if (alias > 0) {
			buffer[at] = 0x23;
			at = buffer.writeUInt16BE(alias, at + 1);
		}
		if (identifiers !== undefined) {
			for (const identifier of identifiers) {
				buffer[at++] = 0x0b;
				at = writeVarint(buffer, at, identifier);
			}
		}
	}
	event.source.copy(buffer, at, event.payloadStart, event.payloadEnd);
	return true;
}

/** The properties that a receiver sees as they were sent (5.0 section 3.3.2.3), without expiry and identifiers, encoded. */
export function encodeForwardedProperties(properties: Properties): Buffer {
	const parts: Buffer[] = [];
	const text = (identifier: number, ...values: (string | Buffer)[]) => {
		parts.push(Buffer.of(identifier));
		for (const value of values) {
			const bytes = typeof value === "string" ? Buffer.from(value, "utf8") : value;
			parts.push(Buffer.of(bytes.length >>> 8, bytes.length & 0xff), bytes);
		}
	};
	if (properties.payloadFormatIndicator !== undefined) parts.push(Buffer.of(0x01, properties.payloadFormatIndicator));
	if (properties.contentType !== undefined) text(0x03, properties.contentType);
	if (properties.responseTopic !== undefined) text(0x08, properties.responseTopic);
	if (properties.correlationData !== undefined) text(0x09, properties.correlationData);
	for (const [name, value] of properties.userProperties ?? []) text(0x26, name, value);
	return Buffer.concat(parts);
}
