/**
 * Records as subscribers get them: the batch is read in place, and each record becomes one reused StoredEvent with its
 * MQTT topic, found in its header or made by the routes. Only records with MQTT 5 properties, or from another door, cost more.
 */

import { isUtf8 } from "node:buffer";
import type { Partition } from "../../src/log/partition.ts";
import { MAX_DECOMPRESSED_BYTES, readBatchHeader } from "../../src/record/batch.ts";
import { type RecordHeader, RecordView } from "../../src/record/record-view.ts";
import { BoundedCache } from "./bounded-cache.ts";
import { type EventMeta, isMqttText, metaOfHeaders, QOS_HEADER, TOPIC_HEADER } from "./event-headers.ts";
import { encodeForwardedProperties } from "./publish-writer.ts";
import { COPY_HEADER, ORIGINAL_TOPIC_HEADER } from "./route-headers.ts";
import type { Routes } from "./routes.ts";
import { filterMatches } from "./topic-filter.ts";

const NONE = Buffer.alloc(0);
const TOPIC_KEY = Buffer.from(TOPIC_HEADER);
const QOS_KEY = Buffer.from(QOS_HEADER);
const ORIGINAL_TOPIC_KEY = Buffer.from(ORIGINAL_TOPIC_HEADER);
const COPY_KEY = Buffer.from(COPY_HEADER);
const OWN_PREFIX = Buffer.from("mqtt.");

/** In place of a partition's id: a retained message, from where those are kept. */
export const RETAINED_PARTITION = -1;
/** In place of a partition's id: an event that no log has. */
export const VOLATILE_PARTITION = -2;

/** Valid until the visit that it was given to returns. */
export class StoredEvent {
	/** The partition's id, or one of those above. */
	partition = 0;
	offset = 0;
	timestampMs = 0;
	/** Undefined: no subscriber can be given this record. */
	topic: string | undefined;
	/** The topic's bytes. */
	topicSource: Buffer = NONE;
	topicStart = 0;
	topicEnd = 0;
	source: Buffer = NONE;
	/** The record's key; -1: none. */
	keyStart = -1;
	keyEnd = -1;
	payloadStart = 0;
	payloadEnd = 0;
	qos: 0 | 1 | 2 = 1;
	retain = false;
	/** The publisher, where it matters. */
	clientId: string | undefined;
	/** From the timestamp; -1: never. */
	expirySeconds = -1;
	/** Of MQTT 5, encoded, without length, expiry and identifiers. */
	propertiesBlock: Buffer = NONE;
}

/** Whether a record whose header names the topic belongs to the topic it is stored in, by text. */
const TOPICS_CHECKED = 8_192;

export class EventReader {
	readonly #routes: Routes;
	readonly #event = new StoredEvent();
	/** By topic and MQTT topic; the text itself where it is to be delivered, else "". */
	readonly #checked = new Map<string, BoundedCache<string>>();
	#lastTopic = "";
	#lastBytes = NONE;
	#lastStored = "";

	/** After `read`: the offset behind the last record visited, or of the one at which the visitor stopped. */
	nextOffset = 0;
	/** After `read`: whether the visitor stopped. */
	stopped = false;

	#partition!: Partition;

	constructor(routes: Routes) {
		this.#routes = routes;
	}

	/**
	 * Visits the records of the batch at bytes[position..) from offset `from` on, until `visit` returns false. Returns
	 * where the next batch starts. Throws what the record layer throws for damage. Not reentrant.
	 */
	read(
		partition: Partition,
		bytes: Buffer,
		position: number,
		from: number,
		visit: (event: StoredEvent) => boolean,
	): number {
		const header = readBatchHeader(bytes, position);
		this.stopped = false;
		this.nextOffset = header.lastOffset + 1;
		if (header.lastOffset >= from && partition.isVisible(header)) {
			this.#partition = partition;
			const view = new RecordView(bytes, position, header, MAX_DECOMPRESSED_BYTES);
			while (view.next()) {
				if (view.offset < from) continue;
				this.#fill(view);
				if (visit(this.#event)) continue;
				this.stopped = true;
				this.nextOffset = view.offset;
				break;
			}
		}
		return position + header.sizeBytes;
	}

	#fill(view: RecordView): void {
		const event = this.#event;
		const { source } = view;
		event.partition = this.#partition.id;
		event.offset = view.offset;
		event.timestampMs = view.timestamp;
		event.source = source;
		event.keyStart = view.keyStart;
		event.keyEnd = view.keyEnd;
		// A record without a value, a tombstone, reads as an empty payload.
		event.payloadStart = Math.max(view.valueStart, 0);
		event.payloadEnd = Math.max(view.valueEnd, event.payloadStart);
		event.qos = 1;
		event.retain = false;
		event.clientId = undefined;
		event.expirySeconds = -1;
		event.propertiesBlock = NONE;
		let topicStart = -1;
		let topicEnd = -1;
		let more = false;
		for (let i = 0; i < view.headerCount; i++) {
			view.header(i);
			const { headerKeyStart: start, headerKeyEnd: end } = view;
			if (topicStart < 0 && same(source, start, end, TOPIC_KEY) && view.headerValueStart >= 0) {
				topicStart = view.headerValueStart;
				topicEnd = view.headerValueEnd;
			} else if (same(source, start, end, QOS_KEY) && view.headerValueStart >= 0) {
				const digit = source[view.headerValueStart];
				event.qos = digit === 0x30 ? 0 : digit === 0x32 ? 2 : 1;
			} else if (same(source, start, end, COPY_KEY)) {
				event.topic = undefined; // subscribers get what it is a copy of
				return;
			} else if (same(source, start, end, ORIGINAL_TOPIC_KEY)) {
				// For who reads the log; subscribers see the other one.
			} else if (startsWith(source, start, end, OWN_PREFIX)) {
				more = true;
			}
		}
		if (topicStart >= 0 && !more) {
			this.#setTopic(source, topicStart, topicEnd);
			return;
		}
		const headers = view.headers();
		this.#setMeta(metaOfHeaders(headers));
		if (topicStart >= 0) this.#setTopic(source, topicStart, topicEnd);
		else this.#setRoutedTopic(view, headers);
	}

	#setMeta(meta: EventMeta): void {
		const event = this.#event;
		event.qos = meta.qos;
		event.retain = meta.retain;
		event.clientId = meta.clientId;
		event.expirySeconds = meta.expirySeconds ?? -1;
		if (meta.properties !== undefined) event.propertiesBlock = encodeForwardedProperties(meta.properties);
	}

	#setTopic(source: Buffer, start: number, end: number): void {
		const event = this.#event;
		event.topicSource = source;
		event.topicStart = start;
		event.topicEnd = end;
		const stored = this.#partition.topic;
		if (this.#lastStored !== stored || !same(source, start, end, this.#lastBytes)) {
			this.#lastBytes = Buffer.from(source.subarray(start, end));
			this.#lastStored = stored;
			const bytes = this.#lastBytes;
			this.#lastTopic = isUtf8(bytes) ? this.#check(bytes.toString("utf8")) : "";
		}
		event.topic = this.#lastTopic === "" ? undefined : this.#lastTopic;
	}

	/**
	 * A producer over another door may have written any mqtt.topic: it counts where the stored topic's routes could have
	 * given it, so that what subscribers see does not depend on who else is subscribed.
	 */
	#check(text: string): string {
		const stored = this.#partition.topic;
		let cache = this.#checked.get(stored);
		if (cache === undefined) {
			cache = new BoundedCache(TOPICS_CHECKED);
			this.#checked.set(stored, cache);
		}
		let checked = cache.get(text);
		if (checked === undefined) {
			const valid = text !== "" && !/[+#]/.test(text) && isMqttText(text);
			const routed = valid && this.#routes.filtersOf(stored).some((filter) => filterMatches(filter, text));
			checked = routed ? text : "";
			cache.set(text, checked);
		}
		return checked;
	}

	#setRoutedTopic(view: RecordView, headers: readonly RecordHeader[]): void {
		const key = view.keyStart < 0 ? undefined : textOf(view.source.subarray(view.keyStart, view.keyEnd));
		const topic = this.#routes.topicOf(this.#partition.topic, key, (name) => {
			const value = headers.find((header) => header.key === name)?.value;
			return value == null ? undefined : textOf(value);
		});
		const event = this.#event;
		event.topic = topic;
		event.topicSource = Buffer.from(topic, "utf8");
		event.topicStart = 0;
		event.topicEnd = event.topicSource.length;
	}
}

function textOf(bytes: Buffer): string | undefined {
	return isMqttText(bytes) ? bytes.toString("utf8") : undefined;
}

function same(source: Buffer, start: number, end: number, expected: Buffer): boolean {
	const length = end - start;
	if (expected.length !== length) return false;
	for (let i = length - 1; i >= 0; i--) if (expected[i] !== source[start + i]) return false;
	return true;
}

function startsWith(source: Buffer, start: number, end: number, prefix: Buffer): boolean {
	return end - start >= prefix.length && same(source, start, start + prefix.length, prefix);
}
