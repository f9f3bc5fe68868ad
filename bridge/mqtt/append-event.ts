/**
 * One publish into the commit being gathered, with all that must be atomic with it: its record, and what its sender
 * keeps of it (a QoS 2 packet identifier, a retained message, a will that is published).
 */
import type { Properties, Qos } from "./codec/packets.ts";
import type { Destination } from "./destinations.ts";
import { type AppendContext, appendRouted } from "./route-append.ts";

/** A publish as it came in. The payload is source[payloadStart..payloadEnd); its topic is the destination's. */
export interface InboundEvent {
	readonly qos: Qos;
	readonly retain: boolean;
	readonly properties: Properties | undefined;
	/** The publisher, where a subscription of its own must not get the event (No Local, bridges). */
	readonly clientId: string | undefined;
	readonly source: Buffer;
	readonly payloadStart: number;
	readonly payloadEnd: number;
}

/** Where an event went. */
export interface Place {
	/** The partition's id, or VOLATILE_PARTITION. */
	readonly partition: number;
	readonly offset: number;
	/** The MQTT topic that subscribers see. */
	readonly topic: string;
}

/** State changes in the commit of an event. */
export interface Companion {
	/** What they add to the commit, at most. */
	readonly bytes: number;
	work(place: Place): void;
}

/** What a record takes in a commit beyond key, headers and payload; generous. */
const RECORD_OVERHEAD_BYTES = 64;

/** Throws PublishRefused and BrokerError, with nothing added. */
export function appendEvent(
	engine: AppendContext,
	destination: Destination,
	event: InboundEvent,
	nowMs: number,
	also?: Companion,
): void {
	if (!destination.plain || (event.qos === 0 && destination.dropsUnderPressure)) {
		appendRouted(engine, destination, event, nowMs, also);
		return;
	}
	const { partition, keyBlock } = destination;
	const { source, payloadStart, payloadEnd } = event;
	const headers = destination.headersBlockFor(event.qos, event.retain, event.properties, event.clientId);
	if (also === undefined) {
		partition.appendRecord(nowMs, keyBlock, source, payloadStart, payloadEnd, headers);
		return;
	}
	const bytes = keyBlock.length + headers.length + payloadEnd - payloadStart + RECORD_OVERHEAD_BYTES;
	engine.broker.log.group(bytes + also.bytes, () => {
		const offset = partition.appendRecord(nowMs, keyBlock, source, payloadStart, payloadEnd, headers);
		also.work({ partition: partition.id, offset, topic: destination.topic });
	});
}
