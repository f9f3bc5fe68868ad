/** What scripted clients are like, and what they need of the world around them. */
import type { Qos } from "../../bridge/mqtt/codec/packets.ts";
import type { SimulatedClock } from "../../src/base/clock-simulated.ts";
import type { Link, LinkEnd } from "./mqtt-link.ts";
import type { MqttModel } from "./mqtt-model.ts";

export interface ClientTraits {
	readonly version: 4 | 5;
	/** Its session outlives its connections. */
	readonly kept: boolean;
	/** Highest packet identifier that it uses: a low one comes again soon. */
	readonly packetIds: number;
	// Those below are of MQTT 5, and count for nothing before it.
	readonly receiveMaximum: number;
	readonly topicAliasMaximum: number;
	readonly retainAsPublished: boolean;
	readonly retainHandling: 0 | 1 | 2;
	/** Of its subscriptions that are no shares. */
	readonly noLocal: boolean;
	/** Of its session; Infinity: never. */
	readonly expirySeconds: number;
	/** Bytes; 0: any. */
	readonly maximumPacketSize: number;
}

/** A subscription to be asked for. */
export interface Wish {
	readonly filter: string;
	readonly qos: Qos;
}

export interface WillPlan {
	readonly topic: string;
	readonly qos: Qos;
	readonly retain: boolean;
	readonly delaySeconds: number;
}

export interface ClientWorld {
	/** The disk was full since the gateway started: it may have ended a connection for that. */
	readonly wasFull: boolean;
	readonly clock: SimulatedClock;
	readonly model: MqttModel;
	/** Undefined: the door refuses it. */
	dial(end: LinkEnd): Link | undefined;
	/** When the gateway was started last, in monotonic time. */
	readonly startedMs: number;
	/** The door's own bound of a client's window. */
	readonly maxInflight: number;
}
