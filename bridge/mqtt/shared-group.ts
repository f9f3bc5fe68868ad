/**
 * A shared subscription (MQTT 5.0 section 4.8.2) as a consumer group on the log. Events fall into 64 buckets by their key, or
 * their topic where they have none; each bucket belongs to one connected member, which gets its events in order,
 * live or catching up like any subscriber. For each partition and bucket the group knows a floor: everything below
 * was given to a member. When a member goes, its buckets go to others, and what it has not acknowledged is due again.
 * So one slow worker holds up its own buckets only, and the order of a key changes hands with its bucket.
 *
 * What was given to a member at QoS 2 is never given to another [MQTT-4.8.2-5].
 */
import type { Qos } from "./codec/packets.ts";
import type { Feed } from "./delivery.ts";
import { AWAITS_PUBACK, type Delivery, type Outbox } from "./outbox.ts";
import type { Session } from "./session.ts";
import type { GroupRow } from "./shared-store.ts";
import type { StoredEvent } from "./stored-event.ts";
import type { Subscription } from "./subscriptions.ts";

export const BUCKETS = 64;

/** What a group sees of the deliveries. */
export interface GroupFeeds {
	/** By partition id. */
	readonly feeds: ReadonlyMap<number, Feed>;
	/** The highest partition id given out. */
	readonly highestPartition: number;
	/** A member goes back in a partition, from `position` where it is. */
	goBack(outbox: Outbox, partition: number, offset: number, position: number): void;
}

export class SharedGroup {
	/** Share name and filter, `workers/sensors/#`. */
	readonly name: string;
	/** As sessions have it: how many subscriptions can concern a routed topic. */
	concerned: Map<string, number> | undefined;
	/** Connected members, with their subscriptions. */
	readonly members = new Map<Session, Subscription<Session>>();
	/** Floors or members changed since the row was written. */
	stale = false;
	readonly #deliveries: GroupFeeds;
	readonly #owners: (Session | undefined)[] = new Array<Session | undefined>(BUCKETS).fill(undefined);
	/** By partition id: below it, by bucket, everything was given to a member. */
	readonly #floors = new Map<number, Float64Array>();
	/** By partition id: events below their bucket's floor that are due again; offset to bucket. */
	readonly #returned = new Map<number, Map<number, number>>();
	/** By partition id: QoS 2 events that were given out, at or above their bucket's floor as it is stored; offset to bucket. */
	readonly #sent = new Map<number, Map<number, number>>();
	/** By partition id: before it nobody was connected, and QoS 0 is not for later. */
	readonly #awayBelow = new Map<number, number>();

	constructor(name: string, deliveries: GroupFeeds) {
		this.name = name;
		this.#deliveries = deliveries;
	}

	/** A new group: from now on. The feeds that concern it are there. */
	beginAtEnd(): void {
		for (const feed of this.#feeds()) this.#floorsOf(feed.partition.id).fill(feed.next);
	}

	/** A group that was away: from where it was. */
	resume(row: GroupRow, sent: Iterable<readonly [partition: number, offset: number, bucket: number]>): void {
		for (const feed of this.#feeds()) {
			const { id, logStartOffset } = feed.partition;
			const saved = row.floors[id];
			const floors = this.#floorsOf(id);
			floors.fill(saved?.[0] ?? (id > row.highestPartition ? logStartOffset : feed.next));
			for (const [bucket, offset] of saved?.[1] ?? []) floors[bucket] = offset;
			this.#awayBelow.set(id, feed.next);
		}
		for (const [partition, offset, bucket] of sent) entriesOf(this.#sent, partition).set(offset, bucket);
	}

	join(session: Session, subscription: Subscription<Session>): void {
		const known = this.members.has(session);
		this.members.set(session, subscription);
		this.stale = true;
		if (known) return;
		const most = Math.ceil(BUCKETS / this.members.size);
		const loads = this.#loads();
		for (let bucket = 0; bucket < BUCKETS; bucket++) {
			const owner = this.#owners[bucket];
			const load = owner === undefined ? BUCKETS + 1 : loads.get(owner)!;
			const own = loads.get(session)!;
			// Only as many move as it takes: what stays keeps its order and its reader.
			if (load <= most && load - own <= 1) continue;
			if (own >= most) break;
			this.#give(bucket, session);
			loads.set(session, own + 1);
			if (owner !== undefined) loads.set(owner, load - 1);
		}
	}

	/** The member has gone; its outbox is as it was. What it has not acknowledged at QoS 1 goes to others. */
	leave(session: Session): void {
		if (!this.members.has(session)) return;
		const returned = this.#takeBack(session);
		this.members.delete(session);
		this.stale = true;
		const loads = this.#loads();
		for (let bucket = 0; bucket < BUCKETS; bucket++) {
			if (this.#owners[bucket] === session) {
				let heir: Session | undefined;
				for (const [member, load] of loads) if (heir === undefined || load < loads.get(heir)!) heir = member;
				this.#owners[bucket] = heir;
				if (heir === undefined) continue;
				loads.set(heir, loads.get(heir)! + 1);
			} else if (!returned.has(bucket)) continue;
			this.#sendBack(bucket);
		}
	}

	/** The member gives up its part: what it was sent stays its own, to be acknowledged [MQTT-3.10.4-3]. */
	unsubscribe(session: Session): void {
		for (const delivery of session.outbox?.inflight.values() ?? []) {
			if (delivery.group === this) delivery.group = undefined;
		}
		this.leave(session);
	}

	/** An event as it comes: to its bucket's member, unless that one catches up and will find it. */
	live(event: StoredEvent, nowMs: number): void {
		const bucket = bucketOf(event);
		const owner = this.#owners[bucket];
		const outbox = owner?.outbox;
		if (outbox === undefined || outbox.tracks?.has(event.partition) || this.#wasGiven(event, bucket)) return;
		if (outbox.offer(event, this.members.get(owner!)!, nowMs, this, bucket)) this.#given(event, bucket, outbox.qos);
		else outbox.fallBehind(event.partition, event.offset);
	}

	/** An event that no log has: true when a member took it. */
	volatile(event: StoredEvent, nowMs: number): boolean {
		const owner = this.#owners[bucketOf(event)];
		return owner?.outbox?.offer(event, this.members.get(owner)!, nowMs) ?? false;
	}

	/** The same event to a member that catches up. False: it takes no more now. */
	offer(event: StoredEvent, session: Session, nowMs: number): boolean {
		const bucket = bucketOf(event);
		if (this.#owners[bucket] !== session || this.#wasGiven(event, bucket)) return true;
		const subscription = this.members.get(session)!;
		const outbox = session.outbox!;
		const away = event.offset < (this.#awayBelow.get(event.partition) ?? 0);
		const passed = away && event.qos === 0; // what was acknowledged to its publisher is for some member
		if (!passed && !outbox.offer(event, subscription, nowMs, this, bucket)) return false;
		this.#given(event, bucket, passed ? 0 : outbox.qos);
		return true;
	}

	/** For the group's row: floors with what is unacknowledged taken back. Forgets QoS 2 events that those are behind. */
	row(): { row: GroupRow; passed: [partition: number, offset: number][] } {
		const floors: Record<number, [number, [number, number][]]> = {};
		const passed: [number, number][] = [];
		for (const [id, values] of this.#currentFloors()) {
			const lowest = Math.min(...values);
			const others: [number, number][] = [];
			values.forEach((offset, bucket) => {
				if (offset !== lowest) others.push([bucket, offset]);
			});
			floors[id] = [lowest, others];
			const sent = this.#sent.get(id);
			for (const [offset, bucket] of sent ?? []) {
				if (offset >= values[bucket]!) continue;
				sent!.delete(offset);
				passed.push([id, offset]);
			}
			if (sent?.size === 0) this.#sent.delete(id);
		}
		const { highestPartition } = this.#deliveries;
		this.stale = false;
		return { row: { format: 1, floors, highestPartition, expiresMs: null }, passed };
	}

	#currentFloors(): Map<number, Float64Array> {
		const current = new Map<number, Float64Array>();
		for (const feed of this.#feeds()) {
			const floors = this.#floorsOf(feed.partition.id);
			current.set(
				feed.partition.id,
				floors.map((_, bucket) => this.#raised(bucket, feed)),
			);
		}
		const lower = (partition: number, offset: number, bucket: number): void => {
			const floors = current.get(partition);
			if (floors !== undefined) floors[bucket] = Math.min(floors[bucket]!, offset);
		};
		for (const { outbox } of this.members.keys()) {
			for (const delivery of this.#unacknowledged(outbox)) {
				lower(delivery.partition, delivery.offset, delivery.bucket ?? 0);
			}
		}
		for (const [partition, returned] of this.#returned) {
			for (const [offset, bucket] of returned) lower(partition, offset, bucket);
		}
		return current;
	}

	/** Before a member goes: what it was given for good, and what not. Returns the buckets in which something is due again. */
	#takeBack(session: Session): Set<number> {
		for (let bucket = 0; bucket < BUCKETS; bucket++) {
			if (this.#owners[bucket] === session) this.#raiseFloors(bucket);
		}
		const buckets = new Set<number>();
		for (const { partition, offset, bucket = 0 } of this.#unacknowledged(session.outbox)) {
			entriesOf(this.#returned, partition).set(offset, bucket);
			buckets.add(bucket);
		}
		return buckets;
	}

	#raiseFloors(bucket: number): void {
		for (const feed of this.#feeds()) this.#floorsOf(feed.partition.id)[bucket] = this.#raised(bucket, feed);
	}

	/** Deliveries at QoS 1 that wait for PUBACK. At QoS 2 they stay their member's. */
	*#unacknowledged(outbox: Outbox | undefined): Generator<Delivery> {
		for (const delivery of outbox?.inflight.values() ?? []) {
			if (delivery.group === this && delivery.state === AWAITS_PUBACK) yield delivery;
		}
	}

	/** The floor of a bucket as of now: its owner has given out, or passed over, everything below its own position. */
	#raised(bucket: number, { partition, next }: Feed): number {
		const floor = this.#floorsOf(partition.id)[bucket]!;
		const outbox = this.#owners[bucket]?.outbox;
		return outbox === undefined ? floor : Math.max(floor, outbox.track(partition.id)?.next ?? next);
	}

	#give(bucket: number, session: Session): void {
		if (this.#owners[bucket] !== undefined) this.#raiseFloors(bucket);
		this.#owners[bucket] = session;
		this.#sendBack(bucket);
	}

	/** A bucket's owner goes on from its floors, or from what is due again. */
	#sendBack(bucket: number): void {
		const outbox = this.#owners[bucket]?.outbox;
		if (outbox === undefined) return;
		for (const { partition, next } of this.#feeds()) {
			let from = this.#floorsOf(partition.id)[bucket]!;
			const returned = this.#returned.get(partition.id);
			for (const [offset, its] of returned ?? []) {
				if (offset < partition.logStartOffset) returned!.delete(offset);
				else if (its === bucket && offset < from) from = offset;
			}
			from = Math.max(from, partition.logStartOffset);
			const position = outbox.track(partition.id)?.next ?? next;
			this.#deliveries.goBack(outbox, partition.id, from, position);
		}
	}

	#wasGiven({ partition, offset }: StoredEvent, bucket: number): boolean {
		if (this.#sent.get(partition)?.has(offset) === true) return true;
		return offset < this.#floorsOf(partition)[bucket]! && this.#returned.get(partition)?.has(offset) !== true;
	}

	#given({ partition, offset }: StoredEvent, bucket: number, qos: Qos): void {
		const floors = this.#floorsOf(partition);
		if (offset >= floors[bucket]!) floors[bucket] = offset + 1;
		else if (this.#returned.get(partition)?.delete(offset) === true && this.#returned.get(partition)!.size === 0) {
			this.#returned.delete(partition);
		}
		this.stale = true;
		if (qos === 2) entriesOf(this.#sent, partition).set(offset, bucket);
	}

	#loads(): Map<Session, number> {
		const loads = new Map<Session, number>([...this.members.keys()].map((session) => [session, 0]));
		for (const owner of this.#owners) {
			if (owner !== undefined && loads.has(owner)) loads.set(owner, loads.get(owner)! + 1);
		}
		return loads;
	}

	*#feeds(): Generator<Feed> {
		for (const feed of this.#deliveries.feeds.values()) {
			if (this.concerned?.has(feed.partition.topic)) yield feed;
		}
	}

	#floorsOf(partition: number): Float64Array {
		let floors = this.#floors.get(partition);
		if (floors === undefined) {
			floors = new Float64Array(BUCKETS);
			this.#floors.set(partition, floors);
		}
		return floors;
	}
}

function entriesOf(maps: Map<number, Map<number, number>>, partition: number): Map<number, number> {
	let entries = maps.get(partition);
	if (entries === undefined) {
		entries = new Map();
		maps.set(partition, entries);
	}
	return entries;
}

/** FNV-1a of the key, or of the topic. */
export function bucketOf(event: StoredEvent): number {
	const keyed = event.keyStart >= 0;
	const source = keyed ? event.source : event.topicSource;
	const end = keyed ? event.keyEnd : event.topicEnd;
	let hash = 0x811c9dc5;
	for (let at = keyed ? event.keyStart : event.topicStart; at < end; at++) {
		hash = Math.imul(hash ^ source[at]!, 0x01000193);
	}
	return ((hash >>> 16) ^ hash) & (BUCKETS - 1);
}

/** Whether a delivery goes back to its group when its member goes. */
export function goesBack(delivery: Delivery): boolean {
	return delivery.group !== undefined && delivery.state === AWAITS_PUBACK;
}
