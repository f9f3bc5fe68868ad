/**
 * From the log to subscribers. One feed per partition that some subscription can concern reads every committed batch
 * once, out of memory, matches its events and hands them to the live subscribers; one that cannot take an event
 * now falls behind there and catches up on its own (catch-up.ts). Without subscriptions nothing is watched.
 */

import { BrokerError } from "../../src/base/errors.ts";
import type { Broker } from "../../src/broker/broker.ts";
import type { Partition } from "../../src/log/partition.ts";
import { comesLater } from "../../src/log/tier.ts";
import { AWAITS_PUBACK, AWAITS_PUBCOMP, type Delivery, type Outbox } from "./outbox.ts";
import type { Routes } from "./routes.ts";
import type { Session } from "./session.ts";
import type { Cursors, KeptSession } from "./session-store.ts";
import { goesBack, SharedGroup } from "./shared-group.ts";
import type { DoorStats } from "./stats.ts";
import { EventReader, RETAINED_PARTITION, type StoredEvent, VOLATILE_PARTITION } from "./stored-event.ts";
import { type Interest, joined, type Subscription, SubscriptionTrie } from "./subscriptions.ts";
import { filterMatches, filtersOverlap } from "./topic-filter.ts";

const READ_BYTES = 256 * 1024;
/** When what the object store cannot give now is asked for again. */
const RETRY_MS = 1000;
const NOBODY: readonly Interest<Target>[] = [];

/** Whom events go to. */
export type Target = Session | SharedGroup;

/** The live end of one partition. */
export class Feed {
	readonly partition: Partition;
	/** The next offset that live subscribers get. */
	next: number;
	/** Reading from a file, or from the object store, because memory no longer had it. */
	reading = false;
	/** No subscription follows it: it ends where the partition ended when a returning session had to be sent something again. */
	visited = false;
	unwatch: () => void = () => {};

	constructor(partition: Partition, next: number) {
		this.partition = partition;
		this.next = next;
	}
}

export class Deliveries {
	readonly trie = new SubscriptionTrie<Target>();
	/** By partition id. */
	readonly feeds = new Map<number, Feed>();
	/** How many subscriptions can concern a routed topic. */
	readonly #concerned = new Map<string, number>();
	readonly #filtersOf: ReadonlyMap<string, readonly string[]>;
	readonly #broker: Broker;
	readonly #stats: DoorStats;
	readonly reader: EventReader;
	/** Lets go of what a subscriber has read ahead in a partition; catch-up.ts puts itself here. */
	rewound: (outbox: Outbox, partition: number) => void = () => {};
	/** The subscriber has a track now; catch-up.ts puts itself here. */
	fellBehind: (outbox: Outbox) => void = () => {};
	#nowMs = 0;
	#volatileOffset = 0;

	constructor(broker: Broker, routes: Routes, stats: DoorStats) {
		this.#broker = broker;
		this.#stats = stats;
		this.reader = new EventReader(routes);
		this.#filtersOf = new Map(routes.topics.map((topic) => [topic, routes.filtersOf(topic)]));
	}

	/** The routed topics whose events a filter may match. */
	concerns(filter: string): string[] {
		const topics: string[] = [];
		for (const [topic, filters] of this.#filtersOf) {
			if (filters.some((each) => filtersOverlap(each, filter))) topics.push(topic);
		}
		return topics;
	}

	subscribe(subscription: Subscription<Target>): void {
		this.trie.add(subscription);
		let first = false;
		const target = subscription.subscriber;
		for (const topic of this.concerns(subscription.match)) {
			target.concerned ??= new Map();
			target.concerned.set(topic, (target.concerned.get(topic) ?? 0) + 1);
			const count = this.#concerned.get(topic) ?? 0;
			this.#concerned.set(topic, count + 1);
			first ||= count === 0;
		}
		if (first) this.#follow("end");
	}

	unsubscribe(subscription: Subscription<Target>): void {
		if (!this.trie.remove(subscription)) return;
		let last = false;
		const own = subscription.subscriber.concerned;
		for (const topic of this.concerns(subscription.match)) {
			const left = (own?.get(topic) ?? 1) - 1;
			if (left > 0) own!.set(topic, left);
			else own?.delete(topic);
			const count = this.#concerned.get(topic)! - 1;
			if (count > 0) this.#concerned.set(topic, count);
			else this.#concerned.delete(topic);
			last ||= count === 0;
		}
		if (last) this.#unfollow();
	}

	/** Topics were made, changed or deleted: what is new is followed from its first record. */
	topicsChanged(): void {
		if (this.#concerned.size === 0) return;
		this.#unfollow();
		this.#follow("start");
	}

	#follow(from: "start" | "end"): void {
		for (const name of this.#concerned.keys()) {
			for (const partition of this.#broker.topics.get(name)?.partitions ?? []) {
				const known = this.feeds.get(partition.id);
				if (known !== undefined && !known.visited) continue;
				const feed = new Feed(partition, from === "end" ? partition.lastStableOffset : partition.logStartOffset);
				this.feeds.set(partition.id, feed);
				feed.unwatch = partition.watch({ advanced: () => this.#advance(feed) });
				this.#advance(feed);
			}
		}
	}

	#unfollow(): void {
		for (const feed of [...this.feeds.values()]) {
			const { id, topic } = feed.partition;
			const exists = this.#broker.topics.get(topic)?.partitions.some((partition) => partition.id === id);
			if (exists && (feed.visited || this.#concerned.has(topic))) continue;
			feed.unwatch();
			this.feeds.delete(id);
		}
	}

	/** Called by the log right after a commit: must not throw, and must not wait, for memory is let go afterwards. */
	#advance(feed: Feed): void {
		if (feed.reading) return;
		try {
			this.#nowMs = this.#broker.clock.now();
			while (feed.next < feed.partition.lastStableOffset) {
				const batches = feed.partition.readTail(feed.next);
				if (batches === undefined || batches.length === 0) {
					feed.reading = true;
					void this.#readOn(feed);
					return;
				}
				for (const batch of batches) this.#dispatch(feed, batch, 0);
			}
		} catch (error) {
			this.#skipDamage(feed, error);
		}
	}

	/** Live, but no longer in memory: from the file, until memory has it again. */
	async #readOn(feed: Feed): Promise<void> {
		try {
			while (this.feeds.get(feed.partition.id) === feed && feed.next < feed.partition.lastStableOffset) {
				const bytes = await feed.partition.read(feed.next, READ_BYTES);
				if (bytes.length === 0) break;
				this.#nowMs = this.#broker.clock.now();
				let at = 0;
				while (at < bytes.length) at = this.#dispatch(feed, bytes, at);
			}
		} catch (error) {
			if (comesLater(error) && this.feeds.get(feed.partition.id) === feed) {
				// Whoever keeps the object store reports it. Nothing is passed over.
				this.#broker.clock.after(RETRY_MS, () => void this.#readOn(feed));
				return;
			}
			if (error instanceof BrokerError && error.code === "OFFSET_OUT_OF_RANGE") {
				const start = feed.partition.logStartOffset;
				if (start > feed.next) this.#stats.overtakenByRetention += start - feed.next;
				feed.next = Math.max(feed.next, start);
			} else {
				this.#skipDamage(feed, error);
			}
		}
		feed.reading = false;
	}

	/** What cannot be read here cannot be delivered live; storage's own checks report it, the door goes on. */
	#skipDamage(feed: Feed, error: unknown): void {
		if (this.feeds.get(feed.partition.id) !== feed) return; // its topic was deleted
		const { topic, number, lastStableOffset } = feed.partition;
		this.#broker.logger.error("events could not be delivered to MQTT subscribers", {
			topic,
			partition: number,
			fromOffset: feed.next,
			toOffset: lastStableOffset,
			error: error instanceof Error ? error.message : String(error),
		});
		feed.next = lastStableOffset;
	}

	/** One batch to the live subscribers; returns where the next one starts. */
	#dispatch(feed: Feed, bytes: Buffer, position: number): number {
		const end = this.reader.read(feed.partition, bytes, position, feed.next, this.#onEvent);
		feed.next = Math.max(feed.next, this.reader.nextOffset);
		return end;
	}

	readonly #onEvent = (event: StoredEvent): boolean => {
		const interests = this.interests(event);
		for (let i = 0; i < interests.length; i++) {
			const interest = interests[i]!;
			const target = interest.subscriber;
			if (target instanceof SharedGroup) {
				target.live(event, this.#nowMs);
				continue;
			}
			const { outbox } = target;
			if (outbox === undefined || outbox.tracks?.has(event.partition)) continue;
			if (!outbox.offer(event, interest as Interest<Session>, this.#nowMs)) {
				outbox.fallBehind(event.partition, event.offset);
				this.fellBehind(outbox);
			}
		}
		return true;
	};

	/** An event that no log has, to those who can take it now. */
	deliverVolatile(event: StoredEvent): void {
		if (event.topic === undefined) return;
		event.partition = VOLATILE_PARTITION;
		event.offset = ++this.#volatileOffset;
		const nowMs = this.#broker.clock.now();
		for (const interest of this.trie.match(event.topic)) {
			const target = interest.subscriber;
			const taken =
				target instanceof SharedGroup
					? target.volatile(event, nowMs)
					: target.outbox?.offer(event, interest as Interest<Session>, nowMs);
			if (taken === false) this.#stats.droppedVolatile++;
		}
	}

	interests(event: StoredEvent): readonly Interest<Target>[] {
		return event.topic === undefined ? NOBODY : this.trie.match(event.topic);
	}

	/**
	 * What one session that catches up wants of an event, its part in groups apart. `replayed`: it was sent what its
	 * other subscriptions asked for.
	 */
	interestOf(session: Session, event: StoredEvent, replayed = false): Interest<Session> | undefined {
		const { topic } = event;
		const { subscriptions } = session;
		if (topic === undefined || subscriptions === undefined || (replayed && session.replays === 0)) return undefined;
		if (!session.bounded && !replayed) {
			const interests = this.trie.match(topic);
			if (interests.length <= 8 || subscriptions.size > 64) {
				return interests.find((interest) => interest.subscriber === session) as Interest<Session> | undefined;
			}
		}
		const own: Subscription<Session>[] = [];
		for (const subscription of subscriptions.values()) {
			const { kind, since, match } = subscription;
			if (kind === "share" || (replayed && kind !== "replay")) continue;
			if (since !== undefined && event.offset < (since.get(event.partition) ?? 0)) continue;
			if (filterMatches(match, topic)) own.push(subscription);
		}
		return joined(own);
	}

	/** By partition id, for those that a filter concerns: the offset that the session gets next, or from where all is live. */
	positions(match: string, outbox: Outbox | undefined): Map<number, number> {
		const topics = new Set(this.concerns(match));
		const positions = new Map<number, number>();
		for (const [id, feed] of this.feeds) {
			if (topics.has(feed.partition.topic)) positions.set(id, outbox?.track(id)?.next ?? feed.next);
		}
		return positions;
	}

	/** From now on, also where the session is behind: what is unread there is not for a subscription made only now. */
	boundBacklog(subscription: Subscription<Session>): void {
		const session = subscription.subscriber;
		if (session.outbox?.tracks === undefined) return;
		subscription.since = this.positions(subscription.match, undefined);
		session.bounded = true;
	}

	/** A replay begins at `starts`, by partition id; the session's other subscriptions go on from where they are. */
	replay(subscription: Subscription<Session>, starts: ReadonlyMap<number, number>): void {
		const session = subscription.subscriber;
		const outbox = session.outbox!;
		subscription.since = new Map();
		session.bounded = true;
		for (const [id, position] of this.positions(subscription.match, outbox)) {
			const start = Math.min(starts.get(id) ?? position, position);
			this.goBack(outbox, id, start, position);
			subscription.since.set(id, start);
		}
	}

	/** A subscriber goes back in a partition, from `position` where it is; what it has replayed until there is not repeated. */
	goBack(outbox: Outbox, id: number, offset: number, position: number): void {
		if (offset >= position) return;
		const { session } = outbox;
		for (const subscription of session.replays > 0 ? session.subscriptions!.values() : []) {
			if (subscription.kind !== "replay") continue;
			subscription.since ??= new Map();
			subscription.since.set(id, Math.max(subscription.since.get(id) ?? 0, position));
			session.bounded = true;
		}
		outbox.rewind(id, offset, position);
		this.rewound(outbox, id);
	}

	/** The highest partition id given out. */
	get highestPartition(): number {
		let highest = -1;
		for (const id of this.#broker.log.partitions.keys()) highest = Math.max(highest, id);
		return highest;
	}

	/** Events that retention took from an absent session's partitions before it read them. */
	overtaken({ cursors }: KeptSession): number {
		let events = 0;
		for (const [id, next] of cursors.next) {
			events += Math.max(0, (this.#broker.log.partitions.get(id)?.logStartOffset ?? 0) - next);
		}
		return events;
	}

	/** Where the session stands, for its row. */
	cursorsOf(session: Session): Cursors {
		const { outbox } = session;
		const next: [number, number][] = [];
		const floors: [number, number][] = [];
		for (const [id, feed] of this.feeds) {
			if (!session.concerned?.has(feed.partition.topic)) continue;
			const track = outbox?.track(id);
			next.push([id, track?.next ?? feed.next]);
			if (track !== undefined && track.sentBelow > track.next) floors.push([id, track.sentBelow]);
		}
		const replays = session.replays === 0 ? [] : replayPositions(session);
		const retained = outbox?.scans?.map(
			({ subscription, after, sinceOrder }) => [subscription.filter, after ?? null, sinceOrder] as const,
		);
		return {
			next,
			highestPartition: this.highestPartition,
			inflight: [...(outbox?.inflight.values() ?? [])]
				.filter((each) => each.state === AWAITS_PUBACK && each.partition >= RETAINED_PARTITION && !goesBack(each))
				.map(({ packetId, partition, offset, order, topic }) =>
					topic === undefined
						? ([packetId, partition, offset, order] as const)
						: ([packetId, partition, offset, order, topic] as const),
				),
			lastPacketId: outbox?.lastPacketId ?? 0,
			lastOrder: outbox?.lastOrder ?? 0,
			...(floors.length > 0 && { floors }),
			...(retained !== undefined && { retained }),
			...(replays.length > 0 && { replays }),
		};
	}

	/** Sets a returning session's outbox to where it was; its subscriptions are in the trie again. */
	resume(outbox: Outbox, { session, cursors, sent }: KeptSession): void {
		const saved = new Map(cursors.next);
		const floors = new Map(cursors.floors ?? []);
		const positionOf = (id: number, { partition, next }: Feed): number =>
			saved.get(id) ?? (id > cursors.highestPartition ? partition.logStartOffset : next);
		const lowest = new Map<number, number>();
		const restore = (delivery: Delivery): void => {
			const { partition, offset, state } = delivery;
			const feed = this.feeds.get(partition) ?? this.#visit(partition);
			if (partition !== RETAINED_PARTITION && feed === undefined) return;
			outbox.restore(delivery, feed === undefined ? 0 : positionOf(partition, feed));
			if (state !== AWAITS_PUBCOMP) lowest.set(partition, Math.min(offset, lowest.get(partition) ?? offset));
		};
		const deliveries: Delivery[] = sent.map((each) => ({ ...each, sent: false }));
		for (const [packetId, partition, offset, order, topic] of cursors.inflight) {
			deliveries.push({ packetId, partition, offset, order, topic, state: AWAITS_PUBACK, sent: false });
		}
		for (const delivery of deliveries.sort((a, b) => a.order - b.order)) restore(delivery);
		outbox.lastOrder = Math.max(outbox.lastOrder, cursors.lastOrder);
		const newest = sent.at(-1);
		outbox.lastPacketId =
			newest !== undefined && newest.order > cursors.lastOrder ? newest.packetId : cursors.lastPacketId;
		for (const [filter, since] of cursors.replays ?? []) {
			const subscription = session.subscriptions?.get(filter);
			if (subscription?.kind === "replay") subscription.since = new Map(since);
		}
		for (const [id, feed] of this.feeds) {
			const position = positionOf(id, feed);
			// What lies before it was sent; a replay too is past it.
			for (const { since } of session.subscriptions?.values() ?? []) {
				if (since !== undefined && (since.get(id) ?? position) < position) since.set(id, position);
			}
			const next = Math.min(position, lowest.get(id) ?? position);
			if (next >= feed.next) continue;
			outbox.tracks ??= new Map();
			outbox.tracks.set(id, {
				next,
				sentBelow: Math.max(position, floors.get(id) ?? 0),
				awayBelow: feed.next,
			});
		}
	}

	/** A partition in which a session has something under way that it does not subscribe to any more; undefined: deleted. */
	#visit(id: number): Feed | undefined {
		const partition = this.#broker.log.partitions.get(id);
		if (partition === undefined) return undefined;
		const feed = new Feed(partition, partition.lastStableOffset);
		feed.visited = true;
		this.feeds.set(id, feed);
		return feed;
	}

	/** Nothing is watched any more. */
	stop(): void {
		for (const feed of this.feeds.values()) feed.unwatch();
		this.feeds.clear();
		this.#concerned.clear();
	}
}

/** From where on events are for each replay, while it has not reached the live end. */
function replayPositions({ subscriptions, outbox }: Session): [string, [number, number][]][] {
	const positions: [string, [number, number][]][] = [];
	for (const { kind, filter, since } of subscriptions?.values() ?? []) {
		if (kind !== "replay" || since === undefined) continue;
		positions.push([filter, [...since].map(([id, offset]) => [id, Math.max(offset, outbox?.track(id)?.next ?? 0)])]);
	}
	return positions;
}
