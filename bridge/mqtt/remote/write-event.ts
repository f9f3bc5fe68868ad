/** A stored event as the PUBLISH that goes to the other broker: topic rewritten, time left of its expiry, one hop added. */
import { publishFlags } from "../codec/write-publish.ts";
import { variableByteIntegerSize, writeVariableByteInteger } from "../codec/writer.ts";
import type { StoredEvent } from "../stored-event.ts";

export interface EventForm {
	readonly version: 4 | 5;
	readonly qos: 0 | 1;
	readonly retainAvailable: boolean;
	readonly maxPacketBytes: number;
	/** The user property of this hop, encoded; not written before MQTT 5. */
	readonly hop: Buffer;
}

/** What follows the fixed header, in bytes. `expirySeconds` -1: none. */
function remainingLength(event: StoredEvent, topic: Buffer, expirySeconds: number, form: EventForm): number {
	const properties = propertiesLength(event, expirySeconds, form);
	const framed = form.version === 5 ? variableByteIntegerSize(properties) + properties : 0;
	return 2 + topic.length + (form.qos > 0 ? 2 : 0) + framed + event.payloadEnd - event.payloadStart;
}

function propertiesLength(event: StoredEvent, expirySeconds: number, form: EventForm): number {
	return event.propertiesBlock.length + (expirySeconds >= 0 ? 5 : 0) + form.hop.length;
}

/** The whole packet's length in bytes. */
export function eventLength(event: StoredEvent, topic: Buffer, expirySeconds: number, form: EventForm): number {
	const remaining = remainingLength(event, topic, expirySeconds, form);
	return 1 + variableByteIntegerSize(remaining) + remaining;
}

/** Writes the packet, `eventLength` bytes, at buffer[start..). Returns where its packet identifier lies; at QoS 0 it has none. */
export function writeEvent(
	buffer: Buffer,
	start: number,
	event: StoredEvent,
	topic: Buffer,
	dup: boolean,
	expirySeconds: number,
	form: EventForm,
): number {
	const { version, qos, hop } = form;
	let at = start;
	buffer[at++] = 0x30 | publishFlags(qos, event.retain && form.retainAvailable, dup);
	at = writeVariableByteInteger(buffer, at, remainingLength(event, topic, expirySeconds, form));
	buffer[at++] = topic.length >>> 8;
	buffer[at++] = topic.length & 0xff;
	at += topic.copy(buffer, at);
	const identifierAt = at;
	if (qos > 0) at += 2;
	if (version === 5) {
		at = writeVariableByteInteger(buffer, at, propertiesLength(event, expirySeconds, form));
		at += event.propertiesBlock.copy(buffer, at);
		if (expirySeconds >= 0) {
			buffer[at] = 0x02;
			at = buffer.writeUInt32BE(expirySeconds, at + 1);
		}
		at += hop.copy(buffer, at);
	}
	event.source.copy(buffer, at, event.payloadStart, event.payloadEnd);
	return identifierAt;
}
