/** Publishes that no client's connection sends: wills, and what a bridge brings from another broker. */
import { appendEvent, type Companion } from "./append-event.ts";
import type { Properties, Qos } from "./codec/packets.ts";
import type { Engine } from "./engine.ts";
import { retaining, together } from "./retain.ts";

export interface OutsideEvent {
	/** A valid topic name. */
	readonly topic: string;
	readonly payload: Buffer;
	readonly qos: Qos;
	readonly retain: boolean;
	readonly properties?: Properties | undefined;
	/** As in InboundEvent. */
	readonly clientId?: string | undefined;
}

/**
 * Adds the event to the commit being gathered; `Log.onCommit` tells when it is durable. Throws PublishRefused where no
 * route takes it, and BrokerError where storage does not.
 */
export function publishEvent(engine: Engine, event: OutsideEvent, also?: Companion): void {
	const { topic, payload, qos, retain, properties, clientId } = event;
	const destination = engine.destinations.of(topic);
	const inbound = { qos, retain, properties, clientId, source: payload, payloadStart: 0, payloadEnd: payload.length };
	const nowMs = engine.broker.clock.now();
	const companion = retain && engine.retainAvailable ? retaining(engine, inbound, destination, nowMs) : undefined;
	appendEvent(engine, destination, inbound, nowMs, together(companion, also));
}
