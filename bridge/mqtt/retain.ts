/** RETAIN of a publish (MQTT 5.0 section 3.3.1.3): the message that those get who subscribe later, in the commit of the event. */
import type { Companion, InboundEvent, Place } from "./append-event.ts";
import type { Destination } from "./destinations.ts";
import type { Engine } from "./engine.ts";
import { encodeForwardedProperties } from "./publish-writer.ts";
import type { RetainedMessage } from "./retained-store.ts";

const NO_BYTES = Buffer.alloc(0);

/**
 * Keeps the event as its topic's retained message, or with an empty payload removes that [MQTT-3.3.1-5, -6, -7]. Throws
 * BrokerError POLICY_VIOLATION where there are as many as may be.
 */
export function retaining(engine: Engine, event: InboundEvent, destination: Destination, nowMs: number): Companion {
	const { source, payloadStart, payloadEnd, properties, qos } = event;
	const { retained } = engine;
	const payload = source.subarray(payloadStart, payloadEnd);
	const message = ({ partition, offset, topic }: Place): RetainedMessage => ({
		topic,
		payload,
		qos,
		timestampMs: nowMs,
		expirySeconds: properties?.messageExpiryInterval ?? -1,
		propertiesBlock: properties === undefined ? NO_BYTES : encodeForwardedProperties(properties),
		partition,
		offset,
	});
	const kept = payload.length > 0;
	if (kept) retained.checkRoom(destination.topic);
	return {
		bytes: retained.sizeOf(message({ partition: 0, offset: 0, topic: destination.topic })),
		work(place) {
			if (kept) retained.put(message(place));
			else retained.remove(place.topic);
		},
	};
}

/** Both, in one commit; either may be absent. */
export function together(first: Companion | undefined, second: Companion | undefined): Companion | undefined {
	if (first === undefined || second === undefined) return first ?? second;
	return {
		bytes: first.bytes + second.bytes,
		work(place) {
			first.work(place);
			second.work(place);
		},
	};
}
