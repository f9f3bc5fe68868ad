/** What one bridge counts, and how it stands, for people. */

export type BridgeState = "connecting" | "connected" | "waiting" | "stopped";

/** Since the gateway started. Every event that is not passed on is counted under its reason. */
export class BridgeCounters {
	/** Connections that came up. */
	connects = 0;
	/** Events that came from the other broker. */
	received = 0;
	/** Of those, stored here and durable. */
	stored = 0;
	/** Of those, not taken here: no rule, no route, too large. */
	refused = 0;
	/** Events, in either direction, that were here before or have passed too many bridges. */
	looped = 0;
	/** Events sent to the other broker, those sent again included. */
	sent = 0;
	/** Of those, acknowledged by it. */
	acknowledged = 0;
	/** Sent, and refused by it for good. */
	refusedThere = 0;
	/** Not sent: Message Expiry Interval over. */
	expired = 0;
	/** Not sent: larger than the other broker takes. */
	tooLarge = 0;
	/** Offsets that retention took before they were sent. */
	overtakenByRetention = 0;
}

export interface BridgeStatus extends Readonly<BridgeCounters> {
	readonly name: string;
	/** host:port. */
	readonly address: string;
	readonly state: BridgeState;
	/** When it came into that state, milliseconds since 1970. */
	readonly sinceMs: number;
	/** Why it waits. */
	readonly reason: string | undefined;
	/** When it tries again, milliseconds since 1970. */
	readonly nextTryMs: number | undefined;
	/** What is spoken, while connected. */
	readonly protocol: string | undefined;
	/** Events sent and not acknowledged. */
	readonly inflight: number;
	/** Offsets of the log that are not behind the bridge yet. */
	readonly lag: number;
	readonly lastError: string | undefined;
}
