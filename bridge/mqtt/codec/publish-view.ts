/**
 * A PUBLISH read in place (section 3.3), for a million of them a second: no object, string or copy per packet, only
 * positions within the buffer it arrived in.
 */
import { isUtf8 } from "node:buffer";
import type { MqttError, Qos, Version } from "./packets.ts";
import { zeroPacketId } from "./primitives.ts";
import { malformed, protocolError } from "./refusals.ts";

export { decodePublishProperties } from "./properties.ts";
export { validateTopicName } from "./topic.ts";

/**
 * Reusable: `read` overwrites every field. Positions index the buffer given to `read` and are valid as long as its bytes
 * are. Not checked here: the topic's text (`validateTopicName`) and the properties' content (`decodePublishProperties`);
 * when both are empty of a topic, see `missingTopic`.
 */
export class PublishView {
	qos: Qos = 0;
	retain = false;
	dup = false;
	/** 0 at QoS 0, which has none. */
	packetId = 0;
	topicStart = 0;
	/** Equal to `topicStart` only in 5.0, where properties then have to name a topic alias. */
	topicEnd = 0;
	/** The properties without their length prefix; equal to `propertiesEnd` when there are none. */
	propertiesStart = 0;
	propertiesEnd = 0;
	payloadStart = 0;
	payloadEnd = 0;

	/**
	 * Reads the whole PUBLISH in buffer[position..end), its extent found by `packetLength`. Throws MqttError 0x81 where
	 * it is malformed, 0x82 for Packet Identifier 0 and for a missing topic that no property can replace.
	 */
	read(buffer: Buffer, position: number, end: number, version: Version): void {
		const flags = buffer[position]!;
		const qos = (flags >> 1) & 3;
		if (qos === 3) throw malformed(version, "MQTT-3.3.1-4", "the QoS bits say 3");
		const dup = (flags & 0x08) !== 0;
		if (dup && qos === 0) throw malformed(version, "MQTT-3.3.1-2", "DUP is set at QoS 0");
		this.qos = qos as Qos;
		this.retain = (flags & 0x01) !== 0;
		this.dup = dup;

		// The Remaining Length itself was checked by packetLength.
		let at = position + 1;
		while (at < end && buffer[at]! >= 0x80) at++;
		at++;

		if (at + 2 > end) throw truncated(version, "the Topic Name");
		const topicStart = at + 2;
		at = topicStart + ((buffer[at]! << 8) | buffer[at + 1]!);
		if (at > end) throw truncated(version, "the Topic Name");
		this.topicStart = topicStart;
		this.topicEnd = at;

		if (qos === 0) {
			this.packetId = 0;
		} else {
			if (at + 2 > end) throw truncated(version, "the Packet Identifier");
			const packetId = (buffer[at]! << 8) | buffer[at + 1]!;
			if (packetId === 0) throw zeroPacketId(version, "MQTT-2.2.1-3");
			this.packetId = packetId;
			at += 2;
		}

		if (version === 5) {
			let length = 0;
			let shift = 0;
			for (;;) {
				if (at >= end) throw truncated(version, "the Property Length");
				const byte = buffer[at++]!;
				length |= (byte & 0x7f) << shift;
				if (byte < 0x80) {
					if (byte === 0 && shift > 0) {
						throw malformed(version, "MQTT-1.5.5-1", "the Property Length uses more bytes than its value needs");
					}
					break;
				}
				shift += 7;
				if (shift === 28) throw malformed(version, "1.5.5", "the Property Length has more than four bytes");
			}
			this.propertiesStart = at;
			at += length;
			if (at > end) throw truncated(version, "its properties");
			this.propertiesEnd = at;
			if (topicStart === this.topicEnd && length === 0) throw missingTopic();
		} else {
			if (topicStart === this.topicEnd) throw malformed(version, "MQTT-4.7.3-1", "the Topic Name is empty");
			this.propertiesStart = at;
			this.propertiesEnd = at;
		}
		this.payloadStart = at;
		this.payloadEnd = end;
	}
}

/** A PUBLISH of 5.0 with neither Topic Name nor Topic Alias: for callers who find no alias among its properties. */
export function missingTopic(): MqttError {
	return protocolError(5, "3.3.2.1", "the Topic Name is empty and there is no Topic Alias");
}

/**
 * Whether a payload is what Payload Format Indicator 1 says, UTF-8 (section 3.3.2.3.2). A receiver may check and answer
 * 0x99 Payload format invalid, in the PUBACK or PUBREC where there is one.
 */
export function payloadIsText(buffer: Buffer, start: number, end: number): boolean {
	return isUtf8(buffer.subarray(start, end));
}

function truncated(version: Version, what: string): MqttError {
	return malformed(version, "1.5", `the packet ends before ${what} does`);
}
