/**
 * A session: what the broker knows of a client beyond one connection. While its client is away nothing of it is in memory;
 * session-store.ts keeps it.
 */
import type { Outbox } from "./outbox.ts";
import type { SharedGroup } from "./shared-group.ts";
import type { Subscription } from "./subscriptions.ts";

/** Session Expiry Interval that never ends (5.0 section 3.1.2.11.2). */
export const NEVER_EXPIRES = 0xffff_ffff;

export class Session {
	readonly clientId: string;
	/** Seconds that it outlives its connection; 0: not at all. */
	expirySeconds: number;
	/** By filter. */
	subscriptions: Map<string, Subscription<Session>> | undefined;
	/** Its parts in groups, while connected. */
	shares: SharePart[] | undefined;
	/** How many of them are replays. */
	replays = 0;
	/** Some of them have a `since`. */
	bounded = false;
	/** How many of its own subscriptions can concern a routed topic. */
	concerned: Map<string, number> | undefined;
	/** Packet identifiers of QoS 2 publishes received and not yet released. */
	received: Set<number> | undefined;
	/** Made with the first subscription, while connected. */
	outbox: Outbox | undefined;
	/** A subscription of it is No Local: its publishes have to carry their client's id. */
	noLocal = false;
	/** Cursors moved since the row was written. */
	stale = false;

	constructor(clientId: string, expirySeconds: number) {
		this.clientId = clientId;
		this.expirySeconds = expirySeconds;
	}

	/** Of its filters together. */
	get filterCharacters(): number {
		let characters = 0;
		for (const filter of this.subscriptions?.keys() ?? []) characters += filter.length;
		return characters;
	}

	get durable(): boolean {
		return this.expirySeconds > 0;
	}
}

/** A subscription that is a part in a group. */
export interface SharePart {
	/** The group's. */
	readonly name: string;
	readonly match: string;
	readonly group: SharedGroup;
}

/** When a session left at `nowMs` expires. */
export function expiryMs(expirySeconds: number, nowMs: number): number {
	return expirySeconds === NEVER_EXPIRES ? Number.POSITIVE_INFINITY : nowMs + expirySeconds * 1000;
}
