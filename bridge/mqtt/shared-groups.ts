/**
 * All shared subscriptions. A group with a connected member is in memory and takes part in the deliveries; one
 * without is a row. It is kept while some kept session subscribes to it, and mqtt.share.expiry.seconds longer.
 */
import type { Broker } from "../../src/broker/broker.ts";
import type { Deliveries, Target } from "./delivery.ts";
import { NEVER_EXPIRES, type Session } from "./session.ts";
import { SharedGroup } from "./shared-group.ts";
import { SharedStore } from "./shared-store.ts";
import { Subscription } from "./subscriptions.ts";

interface Active {
	readonly group: SharedGroup;
	/** What it has in the deliveries. */
	readonly subscription: Subscription<Target>;
	/** It has, or is to have, a row. */
	kept: boolean;
}

export class SharedGroups {
	readonly #active = new Map<string, Active>();
	readonly #broker: Broker;
	readonly #deliveries: Deliveries;
	readonly #store: SharedStore;
	readonly #expirySeconds: number;

	constructor(broker: Broker, deliveries: Deliveries, expirySeconds: number) {
		this.#broker = broker;
		this.#deliveries = deliveries;
		this.#store = new SharedStore(broker.log);
		this.#expirySeconds = expirySeconds;
	}

	/** Groups with a connected member. */
	get size(): number {
		return this.#active.size;
	}

	/** The group is there, and its partitions are followed, before the first of its sessions takes part. */
	wake(subscription: Subscription<Session>, name: string): void {
		if (!this.#active.has(name)) this.#activate(subscription, name);
	}

	/** A connected session takes part, or asks for other options. Throws BrokerError where storage takes nothing. */
	join(session: Session, subscription: Subscription<Session>, name: string): void {
		const active = this.#active.get(name) ?? this.#activate(subscription, name);
		active.kept ||= session.durable || this.#expirySeconds > 0;
		if (session.durable) this.#store.putMember(name, session.clientId);
		active.group.join(session, subscription);
		session.shares = [
			...(session.shares?.filter((part) => part.name !== name) ?? []),
			{ name, match: subscription.match, group: active.group },
		];
		if (active.kept) this.#save(active.group);
	}

	#activate(subscription: Subscription<Session>, name: string): Active {
		const row = this.#store.load(name);
		const group = new SharedGroup(name, this.#deliveries);
		const own = new Subscription<Target>(group, {
			filter: subscription.filter,
			kind: { kind: "share", match: subscription.match, group: name },
			shared: true,
			qos: 2,
		});
		this.#deliveries.subscribe(own);
		if (row === undefined) group.beginAtEnd();
		else group.resume(row, this.#store.sent(name));
		const active = { group, subscription: own, kept: row !== undefined };
		this.#active.set(name, active);
		return active;
	}

	/** The session's connection has gone; its outbox is as it was. Throws BrokerError where storage takes nothing: it is left. */
	leave(session: Session): void {
		const parts = session.shares ?? [];
		session.shares = undefined;
		for (const { group } of parts) group.leave(session);
		let problem: unknown;
		for (const { name } of parts) {
			const active = this.#active.get(name);
			try {
				if (active !== undefined) this.#settle(active, name);
			} catch (error) {
				problem ??= error;
			}
		}
		if (problem !== undefined) throw problem;
	}

	/** Takes back a `join` that storage did not let finish. */
	quit(session: Session, name: string): void {
		const active = this.#active.get(name);
		if (active === undefined) return;
		active.group.leave(session);
		dropShare(session, name);
		this.#settle(active, name);
	}

	/** The session gives up its part, or has ended. */
	unsubscribe(clientId: string, name: string, session: Session | undefined): void {
		this.#store.dropMember(name, clientId); // first: where storage takes nothing, nothing has changed
		const active = this.#active.get(name);
		if (session !== undefined) {
			active?.group.unsubscribe(session);
			dropShare(session, name);
		}
		if (active !== undefined) active.kept = this.#expirySeconds > 0 || this.#store.hasMembers(name);
		if (active !== undefined) this.#settle(active, name);
		else this.#retire(name);
	}

	#settle(active: Active, name: string): void {
		const { group, subscription, kept } = active;
		try {
			if (kept) this.#save(group);
		} finally {
			// What could not be written comes again from where the row is.
			if (group.members.size === 0) {
				this.#active.delete(name);
				this.#deliveries.unsubscribe(subscription);
			}
		}
		if (group.members.size === 0) this.#retire(name);
	}

	/** Nobody is connected: does anything keep it? */
	#retire(name: string): void {
		const row = this.#store.load(name);
		if (row === undefined || this.#store.hasMembers(name)) return;
		if (this.#expirySeconds === 0) this.#store.delete(name);
		else if (row.expiresMs === null && this.#expirySeconds !== NEVER_EXPIRES) {
			this.#store.save(name, { ...row, expiresMs: this.#broker.clock.now() + this.#expirySeconds * 1000 }, []);
		}
	}

	#save(group: SharedGroup): void {
		const { row, passed } = group.row();
		this.#store.save(group.name, row, passed);
	}

	/** What a crash may deliver again is what came since. */
	saveStale(): void {
		for (const { group, kept } of this.#active.values()) if (kept && group.stale) this.#save(group);
	}

	/** Ends groups whose time is over. */
	expire(): void {
		const nowMs = this.#broker.clock.now();
		for (const [name, { expiresMs }] of [...this.#store.groups()]) {
			if (expiresMs !== null && expiresMs <= nowMs && !this.#active.has(name)) this.#store.delete(name);
		}
	}

	/** After a start nobody is connected. */
	start(): void {
		for (const [name] of [...this.#store.groups()]) this.#retire(name);
	}
}

function dropShare(session: Session, name: string): void {
	const left = session.shares?.filter((part) => part.name !== name) ?? [];
	session.shares = left.length > 0 ? left : undefined;
}
