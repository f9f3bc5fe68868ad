/**
 * A publish by routes that ask for more than one record with what is known before it: fields of its payload, copies,
 * dropping under pressure, no record at all. All that it stores is in one commit, or nothing of it is.
 */
import { BrokerError } from "../../src/base/errors.ts";
import type { Partition } from "../../src/log/partition.ts";
import type { RecordHeader } from "../../src/record/batch.ts";
import { encodeKeyBlock, NULL_KEY_BLOCK } from "../../src/record/builder.ts";
import type { Companion, InboundEvent, Place } from "./append-event.ts";
import type { Properties } from "./codec/packets.ts";
import type { Deliveries } from "./delivery.ts";
import type { Destination } from "./destinations.ts";
import type { Engine } from "./engine.ts";
import { encodeForwardedProperties } from "./publish-writer.ts";
import { type Filled, fillFields } from "./route-template.ts";
import { timestampOf } from "./route-timestamp.ts";
import { StoredEvent, VOLATILE_PARTITION } from "./stored-event.ts";

/** One record, as it is appended. */
interface Prepared {
	readonly partition: Partition;
	readonly timestampMs: number;
	readonly keyBlock: Uint8Array;
	readonly headersBlock: Buffer;
}

/** A record alone in its batch, beyond key, headers and payload; generous. */
const RECORD_OVERHEAD_BYTES = 128;
const NONE = Buffer.alloc(0);

/** What of the engine an append needs. */
export type AppendContext = Pick<Engine, "broker" | "routes" | "stats"> & {
	readonly deliveries: Pick<Deliveries, "deliverVolatile">;
};

// One for all: it is used up before the next publish.
const passing = new StoredEvent();

/** As appendEvent, which it is a part of. */
export function appendRouted(
	engine: AppendContext,
	destination: Destination,
	event: InboundEvent,
	nowMs: number,
	also: Companion | undefined,
): void {
	const { source, payloadStart, payloadEnd } = event;
	const all = [destination, ...destination.copies];
	if (all.some(({ waiting }) => waiting !== undefined)) engine.routes.fields.read(source, payloadStart, payloadEnd);
	const taken = event.qos === 0 ? withoutDropped(engine, all) : all;
	const isTaken = taken[0] === destination; // else copies may be, and nothing is kept of the event itself
	const records = taken.filter(({ stored }) => stored !== undefined).map((each) => prepare(engine, each, event, nowMs));
	const append = (record: Prepared) =>
		record.partition.appendRecord(
			record.timestampMs,
			record.keyBlock,
			source,
			payloadStart,
			payloadEnd,
			record.headersBlock,
		);
	const companion = isTaken ? also : undefined;
	if (records.length === 1 && companion === undefined) append(records[0]!);
	else if (records.length > 0 || companion !== undefined) {
		const sizes = records.map((record) => sizeOf(record, payloadEnd - payloadStart));
		const bytes = sizes.reduce((sum, size) => sum + size, companion?.bytes ?? 0);
		engine.broker.log.group(bytes, () => {
			const offsets = records.map(append);
			companion?.work(placeOf(destination, records[0], offsets[0]));
		});
	}
	if (isTaken && destination.stored === undefined) deliver(engine, destination, event, nowMs);
}

/** Room is left for what is acknowledged: only these events may go once half of it is used. */
function withoutDropped(engine: AppendContext, all: readonly Destination[]): readonly Destination[] {
	const { bytes, budgetBytes } = engine.broker.pressure;
	if (bytes <= budgetBytes / 2) return all;
	const taken = all.filter(({ dropsUnderPressure }) => !dropsUnderPressure);
	engine.stats.droppedQos0Pressure += all.length - taken.length;
	return taken;
}

function placeOf(destination: Destination, record: Prepared | undefined, offset: number | undefined): Place {
	const { topic, stored } = destination;
	if (stored === undefined) return { partition: VOLATILE_PARTITION, offset: 0, topic };
	return { partition: record!.partition.id, offset: offset!, topic };
}

/** Throws MESSAGE_TOO_LARGE and INVALID_RECORD before anything is appended: of several records none may be left out. */
function sizeOf({ partition, keyBlock, headersBlock }: Prepared, payloadBytes: number): number {
	if (keyBlock[0] === NULL_KEY_BLOCK[0]) partition.requireKey();
	const bytes = keyBlock.length + headersBlock.length + payloadBytes + RECORD_OVERHEAD_BYTES;
	if (bytes <= partition.config.maxMessageBytes) return bytes;
	throw new BrokerError(
		"MESSAGE_TOO_LARGE",
		`a record of about ${bytes} bytes; topic ${partition.topic} takes max.message.bytes=${partition.config.maxMessageBytes}`,
	);
}

function prepare(engine: AppendContext, destination: Destination, event: InboundEvent, nowMs: number): Prepared {
	const { waiting } = destination;
	const { qos, retain, clientId, properties } = event;
	if (waiting === undefined) {
		const { partition, keyBlock } = destination;
		const headersBlock = destination.headersBlockFor(qos, retain, properties, clientId);
		return { partition, timestampMs: nowMs, keyBlock, headersBlock };
	}
	const { stats, routes } = engine;
	const fill = (filled: Filled): Buffer | undefined => {
		const text = fillFields(filled, routes.fields);
		if (text === undefined) stats.routeFieldsMissing++;
		return text === undefined ? undefined : Buffer.from(text, "utf8");
	};
	const key = typeof waiting.key === "object" ? fill(waiting.key) : undefined;
	const more: RecordHeader[] = [];
	for (const [name, filled] of waiting.headers) {
		const value = typeof filled === "object" ? fill(filled) : undefined;
		if (value !== undefined) more.push({ key: name, value });
	}
	const partition = key === undefined ? destination.partition : destination.partitionOf(key);
	const isArrival = partition.config.timestampType === "append";
	const timestampMs = isArrival ? nowMs : timestamp(engine, waiting.timestampSlot, properties, nowMs);
	const timely = timestampMs === nowMs ? properties : countedFrom(timestampMs, properties, nowMs);
	return {
		partition,
		timestampMs,
		keyBlock: key === undefined ? destination.keyBlock : encodeKeyBlock(key),
		headersBlock: destination.headersBlockFor(qos, retain, timely, clientId, more),
	};
}

function timestamp(
	{ stats, routes: { fields } }: AppendContext,
	slot: number,
	properties: Properties | undefined,
	nowMs: number,
): number {
	if (slot < 0) return nowMs;
	const text = fields.text(slot);
	if (text === undefined) {
		stats.routeFieldsMissing++;
		return nowMs;
	}
	const ms = timestampOf(fields, slot, text, nowMs);
	// An interval that begins before the timestamp could not be told from it.
	if (ms !== undefined && (ms <= nowMs || properties?.messageExpiryInterval === undefined)) return ms;
	stats.routeTimestampsRefused++;
	return nowMs;
}

/** The header counts from the timestamp, the interval from the arrival [MQTT-3.3.2-6]. */
function countedFrom(timestampMs: number, properties: Properties | undefined, nowMs: number): Properties | undefined {
	const interval = properties?.messageExpiryInterval;
	if (interval === undefined) return properties;
	const passed = Math.floor((nowMs - timestampMs) / 1000);
	return { ...properties, messageExpiryInterval: Math.min(interval + passed, 0xffff_ffff) };
}

/** To live subscribers, from where it came in. */
function deliver(engine: AppendContext, { topic, topicBytes }: Destination, event: InboundEvent, nowMs: number): void {
	const { properties } = event;
	passing.partition = VOLATILE_PARTITION;
	passing.offset = 0;
	passing.timestampMs = nowMs;
	passing.topic = topic;
	passing.topicSource = topicBytes;
	passing.topicStart = 0;
	passing.topicEnd = topicBytes.length;
	passing.source = event.source;
	passing.payloadStart = event.payloadStart;
	passing.payloadEnd = event.payloadEnd;
	passing.qos = event.qos;
	passing.retain = event.retain;
	passing.clientId = event.clientId;
	passing.expirySeconds = properties?.messageExpiryInterval ?? -1;
	passing.propertiesBlock = properties === undefined ? NONE : encodeForwardedProperties(properties);
	engine.deliveries.deliverVolatile(passing);
	passing.source = NONE;
}
