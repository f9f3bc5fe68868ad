/**
 * What is under way to one subscriber: its inflight window, and where it stands in each partition. A subscriber is
 * either live in a partition, and then has no state there, or has a track: the offset it needs next, from which it
 * catches up out of the log. That is all that a slow subscriber costs, however far it is behind.
 */
import type { Qos, Version } from "./codec/packets.ts";
import type { Output } from "./output.ts";
import { type PublishOptions, writePublish } from "./publish-writer.ts";
import type { Session } from "./session.ts";
import type { DoorStats } from "./stats.ts";
import type { StoredEvent } from "./stored-event.ts";
import type { Interest } from "./subscriptions.ts";

/** What an outbox needs to know of its connection. */
export interface Recipient {
	readonly version: Version;
	readonly output: Output;
	/** The client's Maximum Packet Size. */
	readonly maxPacketBytes: number;
	/** QoS 1 and 2 publishes that may be unacknowledged: its Receive Maximum or ours. */
	readonly window: number;
	/** Output was written that has to be flushed at the end of this turn. */
	outputPending(): void;
}

/** Stages of a delivery: what the subscriber has to send next. */
export const AWAITS_PUBACK = 1;
export const AWAITS_PUBREC = 2;
export const AWAITS_PUBCOMP = 3;

export interface Delivery {
	readonly packetId: number;
	/** Partition id. */
	readonly partition: number;
	readonly offset: number;
	state: 1 | 2 | 3;
	/** Over this connection; false for one that an earlier connection left and that is still to be repeated. */
	sent: boolean;
}

export interface Track {
	/** The next offset to look at. */
	next: number;
	/** Below it everything was sent once: only deliveries left unacknowledged are repeated. */
	readonly sentBelow: number;
	/** Below it events were stored while the client was away: QoS 0 is not for later. */
	readonly awayBelow: number;
}

const PACKET_IDS = 65_535;

export class Outbox implements PublishOptions {
	readonly session: Session;
	readonly link: Recipient;
	/** By packet identifier, oldest first. */
	readonly inflight = new Map<number, Delivery>();
	/** By partition id; undefined: live everywhere. */
	tracks: Map<number, Track> | undefined;
	/** Of `inflight`, what counts against the window: sent on this connection. */
	unacknowledged = 0;
	lastPacketId = 0;
	/** Left by an earlier connection: by partition, by offset. */
	#repeats: Map<number, Map<number, Delivery>> | undefined;
	readonly #stats: DoorStats;

	/** Catching up: a read is under way, or its result is not used up. catch-up.ts owns these. */
	reading = false;
	held: { readonly partition: number; readonly bytes: Buffer } | undefined;
	/** The connection is gone. */
	closed = false;

	// The next packet, as PublishOptions: written here so that none is allocated.
	readonly version: Version;
	qos: Qos = 0;
	retain = false;
	dup = false;
	packetId = 0;
	identifiers: readonly number[] | undefined;
	expirySeconds = -1;

	constructor(session: Session, link: Recipient, stats: DoorStats) {
		this.session = session;
		this.link = link;
		this.version = link.version;
		this.#stats = stats;
	}

	/** Whether a QoS 1 or 2 publish may be sent now. */
	get windowOpen(): boolean {
		return this.unacknowledged < this.link.window && this.inflight.size < PACKET_IDS;
	}

	/** Sends the event, or finds that it is not for this subscriber now: true. False: it cannot be taken yet. */
	offer(event: StoredEvent, interest: Interest<Session>, nowMs: number): boolean {
		let wanted: Interest<Session> | undefined = interest;
		if (interest.noLocal && event.clientId === this.session.clientId) {
			wanted = interest.withoutLocal();
			if (wanted === undefined) return true;
		}
		const qos = Math.min(event.qos, wanted.qos) as Qos;
		if (this.link.output.blocked || (qos > 0 && !this.windowOpen)) return false;
		this.qos = qos;
		this.retain = event.retain && wanted.retainAsPublished;
		this.identifiers = wanted.identifiers;
		this.dup = false;
		this.packetId = qos > 0 ? this.#freePacketId() : 0;
		if (!this.#write(event, nowMs)) return true;
		if (qos > 0) {
			this.inflight.set(this.packetId, {
				packetId: this.packetId,
				partition: event.partition,
				offset: event.offset,
				state: qos === 1 ? AWAITS_PUBACK : AWAITS_PUBREC,
				sent: true,
			});
			this.unacknowledged++;
			this.session.stale = true;
		}
		return true;
	}

	/** The same for an event below `sentBelow`: only a delivery that was not acknowledged goes out again. */
	offerAgain(event: StoredEvent, interest: Interest<Session> | undefined, nowMs: number): boolean {
		const repeats = this.#repeats?.get(event.partition);
		const delivery = repeats?.get(event.offset);
		if (delivery === undefined) return true;
		if (this.link.output.blocked || !this.windowOpen) return false;
		repeats!.delete(event.offset);
		this.qos = delivery.state === AWAITS_PUBACK ? 1 : 2;
		this.retain = event.retain && (interest?.retainAsPublished ?? false);
		this.identifiers = interest?.identifiers;
		this.dup = true; // [MQTT-3.3.1-1]
		this.packetId = delivery.packetId;
		if (this.#write(event, nowMs)) {
			delivery.sent = true;
			this.unacknowledged++;
		} else {
			this.inflight.delete(delivery.packetId);
		}
		return true;
	}

	#write(event: StoredEvent, nowMs: number): boolean {
		this.expirySeconds = -1;
		if (event.expirySeconds >= 0) {
			const left = event.expirySeconds - Math.floor((nowMs - event.timestampMs) / 1000);
			if (left <= 0) {
				this.#stats.expired++; // [MQTT-3.3.2-5]
				return false;
			}
			this.expirySeconds = Math.min(left, event.expirySeconds); // [MQTT-3.3.2-6]
		}
		if (!writePublish(this.link.output, event, this, this.link.maxPacketBytes)) {
			this.#stats.tooLargeForSubscriber++;
			return false;
		}
		this.#stats.sent[this.qos]++;
		this.link.outputPending();
		return true;
	}

	#freePacketId(): number {
		do this.lastPacketId = (this.lastPacketId % PACKET_IDS) + 1;
		while (this.inflight.has(this.lastPacketId));
		return this.lastPacketId;
	}

	puback(packetId: number): void {
		const delivery = this.inflight.get(packetId);
		if (delivery?.state === AWAITS_PUBACK) this.#finish(delivery);
	}

	/** Returns whether a PUBREL is due: the identifier is known, and the subscriber took the message. */
	pubrec(packetId: number, refused: boolean): boolean {
		const delivery = this.inflight.get(packetId);
		if (delivery === undefined || delivery.state === AWAITS_PUBACK) return false;
		if (refused) {
			this.#finish(delivery);
			return false;
		}
		this.#forget(delivery);
		delivery.state = AWAITS_PUBCOMP;
		this.session.stale = true;
		return true;
	}

	pubcomp(packetId: number): void {
		const delivery = this.inflight.get(packetId);
		if (delivery?.state === AWAITS_PUBCOMP) this.#finish(delivery);
	}

	#finish(delivery: Delivery): void {
		this.inflight.delete(delivery.packetId);
		this.#forget(delivery);
		if (delivery.sent) this.unacknowledged--;
		this.session.stale = true;
	}

	/** An acknowledgement of what has not been repeated yet: it need not be. */
	#forget(delivery: Delivery): void {
		if (!delivery.sent) this.#repeats?.get(delivery.partition)?.delete(delivery.offset);
	}

	/** A delivery of an earlier connection. What awaits PUBCOMP needs its PUBREL only, which the caller sends. */
	restore(delivery: Delivery): void {
		this.inflight.set(delivery.packetId, delivery);
		if (delivery.state === AWAITS_PUBCOMP) {
			delivery.sent = true;
			this.unacknowledged++;
			return;
		}
		this.#repeats ??= new Map();
		let ofPartition = this.#repeats.get(delivery.partition);
		if (ofPartition === undefined) {
			ofPartition = new Map();
			this.#repeats.set(delivery.partition, ofPartition);
		}
		ofPartition.set(delivery.offset, delivery);
	}

	/** Deliveries whose records are gone, below `offset`: they will not be repeated. Returns how many. */
	dropRepeats(partition: number, offset: number): number {
		let dropped = 0;
		for (const delivery of [...(this.#repeats?.get(partition)?.values() ?? [])]) {
			if (delivery.offset >= offset) continue;
			this.#finish(delivery);
			dropped++;
		}
		return dropped;
	}

	/** Leaves the live path of a partition at `offset`. */
	fallBehind(partition: number, offset: number): void {
		this.tracks ??= new Map();
		this.tracks.set(partition, { next: offset, sentBelow: 0, awayBelow: 0 });
	}

	track(partition: number): Track | undefined {
		return this.tracks?.get(partition);
	}
}
