/**
 * Wills whose Will Delay Interval runs (MQTT 5.0 section 3.1.3.2.2): published when it is over or the session ends, whichever
 * is first, and not at all when the client continues its session before. They are in memory: an orderly stop publishes them,
 * a crash loses them.
 */
import type { Will } from "./codec/packets.ts";
import type { Session } from "./session.ts";

interface DelayedWill {
	readonly session: Session;
	readonly will: Will;
	readonly dueTick: number;
}

/** What may wait together; beyond, the oldest are published early rather than lost. */
const BYTES_MAX = 4 * 1024 * 1024;
const OVERHEAD_BYTES = 256;

export class DelayedWills {
	/** By client id, oldest first. */
	readonly #waiting = new Map<string, DelayedWill>();
	readonly #publish: (session: Session, will: Will) => void;
	#bytes = 0;

	constructor(publish: (session: Session, will: Will) => void) {
		this.#publish = publish;
	}

	/** The client went without DISCONNECT at `tick` (seconds); its session is what `session` says. */
	left(session: Session, will: Will, tick: number): void {
		// The session's end comes first where it expires earlier [MQTT-3.1.2-8].
		const delay = Math.min(will.properties.willDelayInterval ?? 0, session.expirySeconds);
		if (delay === 0) {
			this.#publish(session, will);
			return;
		}
		this.#take(session.clientId);
		// The tick under way does not count: never early, late by less than a second.
		this.#waiting.set(session.clientId, { session, will, dueTick: tick + 1 + delay });
		this.#bytes += sizeOf(will);
		for (const clientId of this.#waiting.keys()) {
			if (this.#bytes <= BYTES_MAX) return;
			this.#publishNow(clientId);
		}
	}

	/** The client is back: with its session, and the will is void [MQTT-3.1.3-9], or that session has ended and it is due. */
	returned(clientId: string, continues: boolean): void {
		if (continues) this.#take(clientId);
		else this.#publishNow(clientId);
	}

	publishDue(tick: number): void {
		for (const [clientId, { dueTick }] of this.#waiting) if (dueTick <= tick) this.#publishNow(clientId);
	}

	publishAll(): void {
		for (const clientId of this.#waiting.keys()) this.#publishNow(clientId);
	}

	get size(): number {
		return this.#waiting.size;
	}

	#publishNow(clientId: string): void {
		const waiting = this.#take(clientId);
		if (waiting !== undefined) this.#publish(waiting.session, waiting.will);
	}

	#take(clientId: string): DelayedWill | undefined {
		const waiting = this.#waiting.get(clientId);
		if (waiting === undefined) return undefined;
		this.#waiting.delete(clientId);
		this.#bytes -= sizeOf(waiting.will);
		return waiting;
	}
}

function sizeOf({ topic, payload, properties }: Will): number {
	let bytes = OVERHEAD_BYTES + topic.length + payload.length + (properties.correlationData?.length ?? 0);
	bytes += (properties.contentType?.length ?? 0) + (properties.responseTopic?.length ?? 0);
	for (const [name, value] of properties.userProperties ?? []) bytes += OVERHEAD_BYTES + name.length + value.length;
	return bytes;
}
