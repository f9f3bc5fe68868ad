/**
 * What an MQTT PUBLISH carries besides topic and payload, as record headers, and back. Lossless: user properties keep
 * their order and repeats. All values are text but correlation data, so that a Kafka consumer reads them as they are.
 * docs/mqtt.md lists them for users.
 */

import type { RecordHeader } from "../../src/record/batch.ts";
import type { Properties } from "./codec/packets.ts";

/** The exact topic name. Every event that came in over MQTT has it, as its first header. */
export const TOPIC_HEADER = "mqtt.topic";
/** "0" or "2"; absent: 1. */
export const QOS_HEADER = "mqtt.qos";
/** "1" where the event was published with RETAIN; else absent. */
export const RETAIN_HEADER = "mqtt.retain";
/** The publisher's client id, only where that client has a No Local subscription. */
export const CLIENT_HEADER = "mqtt.client-id";
export const PAYLOAD_FORMAT_HEADER = "mqtt.payload-format";
/** Seconds from the record's timestamp. */
export const EXPIRY_HEADER = "mqtt.message-expiry";
export const CONTENT_TYPE_HEADER = "mqtt.content-type";
export const RESPONSE_TOPIC_HEADER = "mqtt.response-topic";
export const CORRELATION_HEADER = "mqtt.correlation-data";
/** A user property `name` is the header `mqtt.user.name`. */
export const USER_HEADER_PREFIX = "mqtt.user.";

function header(key: string, value: string): RecordHeader {
	return { key, value: Buffer.from(value, "utf8") };
}

/** The headers for one PUBLISH's properties, in a fixed order; user properties last, in theirs. */
export function headersOfProperties(properties: Properties): RecordHeader[] {
	const headers: RecordHeader[] = [];
	const { payloadFormatIndicator: format, messageExpiryInterval: expiry } = properties;
	if (format !== undefined) headers.push(header(PAYLOAD_FORMAT_HEADER, String(format)));
	if (expiry !== undefined) headers.push(header(EXPIRY_HEADER, String(expiry)));
	if (properties.contentType !== undefined) headers.push(header(CONTENT_TYPE_HEADER, properties.contentType));
	if (properties.responseTopic !== undefined) headers.push(header(RESPONSE_TOPIC_HEADER, properties.responseTopic));
	if (properties.correlationData !== undefined) {
		headers.push({ key: CORRELATION_HEADER, value: Buffer.from(properties.correlationData) });
	}
	for (const [name, value] of properties.userProperties ?? []) headers.push(header(USER_HEADER_PREFIX + name, value));
	return headers;
}

/** What a subscriber is told of a record, read from its headers. */
export interface EventMeta {
	/** Undefined: the record did not come in over MQTT. */
	topic: Buffer | undefined;
	qos: 0 | 1 | 2;
	retain: boolean;
	clientId: string | undefined;
	/** Seconds from the record's timestamp; undefined: never. */
	expirySeconds: number | undefined;
	/** Without the expiry, which is counted down at delivery; undefined when there are none. */
	properties: Properties | undefined;
}

/** `Properties` while they are gathered. */
type Growing = { -readonly [K in keyof Properties]: Properties[K] };

/**
 * Reads headers as `headersOfProperties` and the door wrote them. A producer over another door may have written
 * anything: what does not read as its kind is left out. Headers of a record that did not come over MQTT are given
 * as user properties where they are text.
 */
export function metaOfHeaders(headers: readonly RecordHeader[]): EventMeta {
	const meta: EventMeta = {
		topic: undefined,
		qos: 1,
		retain: false,
		clientId: undefined,
		expirySeconds: undefined,
		properties: undefined,
	};
	const properties: Growing = {};
	const user: [string, string][] = [];
	const foreign: [string, string][] = [];
	for (const { key, value } of headers) {
		if (value === null) continue;
		if (!key.startsWith("mqtt.")) {
			if (isMqttText(key) && isMqttText(value)) foreign.push([key, value.toString("utf8")]);
			continue;
		}
		if (key === TOPIC_HEADER) meta.topic ??= value;
		else if (key === QOS_HEADER) meta.qos = value[0] === 0x30 ? 0 : value[0] === 0x32 ? 2 : 1;
		else if (key === RETAIN_HEADER) meta.retain = value[0] === 0x31;
		else if (key === CORRELATION_HEADER) {
			if (value.length <= 65_535) properties.correlationData = value;
		} else if (!isMqttText(value)) continue;
		else if (key === CLIENT_HEADER) meta.clientId = value.toString("utf8");
		else if (key === PAYLOAD_FORMAT_HEADER) properties.payloadFormatIndicator = value[0] === 0x31 ? 1 : 0;
		else if (key === EXPIRY_HEADER) {
			const seconds = Number(value.toString("latin1"));
			if (Number.isInteger(seconds) && seconds >= 0 && seconds <= 0xffff_ffff) meta.expirySeconds = seconds;
		} else if (key === CONTENT_TYPE_HEADER) properties.contentType = value.toString("utf8");
		else if (key === RESPONSE_TOPIC_HEADER) {
			const topic = value.toString("utf8");
			if (topic.length > 0 && !/[+#]/.test(topic)) properties.responseTopic = topic;
		} else if (key.startsWith(USER_HEADER_PREFIX)) {
			user.push([key.slice(USER_HEADER_PREFIX.length), value.toString("utf8")]);
		}
	}
	const all = meta.topic === undefined ? [...foreign, ...user] : user;
	if (all.length > 0) properties.userProperties = all;
	for (const _ in properties) {
		meta.properties = properties;
		break;
	}
	return meta;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** Whether bytes or text can be an MQTT UTF-8 string: well formed, no U+0000, at most 65,535 bytes [MQTT-1.5.4-1, -2]. */
export function isMqttText(value: Buffer | string): boolean {
	if (typeof value === "string") {
		return Buffer.byteLength(value) <= 65_535 && !value.includes("\0") && value.isWellFormed();
	}
	if (value.length > 65_535 || value.includes(0)) return false;
	try {
		UTF8.decode(value);
		return true;
	} catch {
		return false;
	}
}
