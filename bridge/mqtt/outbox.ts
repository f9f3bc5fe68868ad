/**
 * What is under way to one subscriber: its inflight window, and where it stands in each partition. A subscriber is
 * either live in a partition, and then has no state there, or has a track: the offset it needs next, from which it
 * catches up out of the log. That is all that a slow subscriber costs, however far it is behind.
 *
 * QoS 2 to a session that is kept is exactly once, also when the gateway is killed: a PUBLISH leaves when its packet
 * identifier is durable, a PUBREL when the PUBREC before it is, and what is known of a delivery stays until the session's
 * cursor has passed it.
 */
import { BrokerError } from "../../src/base/errors.ts";
import { PUBREL } from "./codec/first-bytes.ts";
import { MqttError, type Qos, type Version } from "./codec/packets.ts";
import { ReasonCode } from "./codec/reason-codes.ts";
import type { Output } from "./output.ts";
import { type PublishOptions, writePublish } from "./publish-writer.ts";
import type { RetainedScan } from "./retained-delivery.ts";
import type { Session } from "./session.ts";
import type { SharedGroup } from "./shared-group.ts";
import type { DoorStats } from "./stats.ts";
import { RETAINED_PARTITION, type StoredEvent } from "./stored-event.ts";
import type { Interest } from "./subscriptions.ts";
import type { TopicAliases } from "./topic-aliases.ts";
import { OUTPUT_HIGH_BYTES } from "./transport.ts";

/** What an outbox needs to know of its connection. */
export interface Recipient {
	readonly version: Version;
	readonly output: Output;
	/** The client's Maximum Packet Size. */
	readonly maxPacketBytes: number;
	/** QoS 1 and 2 publishes that may be unacknowledged: its Receive Maximum or ours. */
	readonly window: number;
	/** Towards the client, where it allows any. */
	readonly aliases: TopicAliases | undefined;
	/** Output was written, at once or for the commit, that has to be seen to at the end of this turn. */
	outputPending(): void;
}

/** Keeps QoS 2 deliveries in the commit being gathered; both throw BrokerError where storage takes nothing. */
export interface DeliveryLedger {
	record(delivery: Delivery): void;
	forget(delivery: Settled): void;
}

/** Stages of a delivery: what the subscriber has to send next. */
export const AWAITS_PUBACK = 1;
export const AWAITS_PUBREC = 2;
export const AWAITS_PUBCOMP = 3;

export interface Delivery {
	readonly packetId: number;
	/** Partition id, or a pseudo partition of stored-event.ts. */
	readonly partition: number;
	readonly offset: number;
	/** It was a group's, which knows of it: what the session itself asked for is another delivery. */
	readonly shared?: boolean;
	/** Of a retained message: what it is found by. */
	readonly topic?: string | undefined;
	/** The group whose event it is, and which of its buckets'. */
	group?: SharedGroup | undefined;
	readonly bucket?: number;
	state: 1 | 2 | 3;
	/** Rises with every delivery of the session. */
	readonly order: number;
	/** Over this connection; false for one that an earlier connection left and that is still to be repeated. */
	sent: boolean;
}

export interface Track {
	/** The next offset to look at. */
	next: number;
	/** Below it everything was sent once: only unacknowledged deliveries are repeated, and replays and groups find theirs. */
	readonly sentBelow: number;
	/** Below it events were stored while the client was away: QoS 0 is not for later. */
	readonly awayBelow: number;
}

/** A QoS 2 delivery that is over. */
export interface Settled {
	readonly partition: number;
	readonly offset: number;
	readonly order: number;
}

const PACKET_IDS = 65_535;
const SMALL_WINDOW = 8;
// Of all that have none; never written to.
const NO_DELIVERIES = new Map<number, Delivery>();
const NONE_SETTLED: readonly Settled[] = [];

export class Outbox implements PublishOptions {
	readonly session: Session;
	readonly link: Recipient;
	/** By packet identifier, oldest first. */
	get inflight(): ReadonlyMap<number, Delivery> {
		return this.#inflight;
	}
	#inflight = NO_DELIVERIES;
	/** By partition id; undefined: live everywhere. */
	tracks: Map<number, Track> | undefined;
	/** Of `inflight`, what counts against the window: sent on this connection. */
	unacknowledged = 0;
	lastPacketId = 0;
	lastOrder = 0;
	/** QoS 2 deliveries that are over, and whose ledger entries stay until the session's cursor is written behind them. */
	settled: readonly Settled[] = NONE_SETTLED;
	/** Retained messages still to be sent; retained-delivery.ts owns these. */
	scans: RetainedScan[] | undefined;
	retainedRepeats: Delivery[] | undefined;
	/** Left by an earlier connection, to be repeated or, where only PUBREL is due, passed over: by partition, by offset. */
	#repeats: Map<number, Map<number, Delivery[]>> | undefined;
	readonly #stats: DoorStats;
	readonly #ledger: DeliveryLedger | undefined;

	/** Catching up: a read of a file is under way; results that are not used up, by partition id. catch-up.ts owns these. */
	reading = false;
	held: Map<number, { readonly bytes: Buffer }> | undefined;
	/** The connection is gone. */
	closed = false;
	/** A SUBACK that goes before the rest waits for its commit. */
	waits = false;

	// The next packet, as PublishOptions: written here so that none is allocated.
	readonly version: Version;
	qos: Qos = 0;
	retain = false;
	dup = false;
	packetId = 0;
	identifiers: readonly number[] | undefined;
	expirySeconds = -1;
	onCommit = false;
	alias = 0;
	omitTopic = false;

	/** `ledger`: where QoS 2 has to survive a crash; undefined for a session that ends with its connection. */
	constructor(session: Session, link: Recipient, stats: DoorStats, ledger: DeliveryLedger | undefined) {
		this.session = session;
		this.link = link;
		this.version = link.version;
		this.#stats = stats;
		this.#ledger = ledger;
	}

	/** Not everything that is for this subscriber comes to it live. */
	get behind(): boolean {
		return this.tracks !== undefined || this.scans !== undefined || this.retainedRepeats !== undefined;
	}

	/**
	 * Whether to look for more to send: with half the window free, so that a batch is not decoded again for every single
	 * acknowledgement; a small window costs less than the wait.
	 */
	get worthwhile(): boolean {
		const { window } = this.link;
		return this.unacknowledged <= (window <= SMALL_WINDOW ? window - 1 : window >> 1);
	}

	/** Whether a QoS 1 or 2 publish may be sent now. */
	get windowOpen(): boolean {
		return this.unacknowledged < this.link.window && this.inflight.size < PACKET_IDS;
	}

	/**
	 * Sends the event, or finds that it is not for this subscriber now: true. False: it cannot be taken yet. `group`: it is
	 * that group's part of the events, from that bucket of it.
	 */
	offer(event: StoredEvent, interest: Interest<Session>, nowMs: number, group?: SharedGroup, bucket = 0): boolean {
		let wanted: Interest<Session> | undefined = interest;
		if (interest.noLocal && event.clientId === this.session.clientId) {
			wanted = interest.withoutLocal();
			if (wanted === undefined) return true;
		}
		const qos = Math.min(event.qos, wanted.qos) as Qos;
		if (this.#blockedFor(event) || (qos > 0 && !this.windowOpen)) return false;
		this.qos = qos;
		const retained = event.partition === RETAINED_PARTITION;
		this.retain = event.retain && (retained || wanted.retainAsPublished); // [MQTT-3.3.1-12, -13]
		this.identifiers = wanted.identifiers;
		this.dup = false;
		this.session.stale = true;
		if (qos === 0) {
			this.packetId = 0;
			this.#write(event, nowMs);
			return true;
		}
		this.packetId = this.#freePacketId();
		const order = ++this.lastOrder;
		const delivery: Delivery = {
			packetId: this.packetId,
			partition: event.partition,
			offset: event.offset,
			topic: retained ? event.topic : undefined,
			group,
			bucket,
			shared: group !== undefined,
			state: qos === 1 ? AWAITS_PUBACK : AWAITS_PUBREC,
			order,
			sent: true,
		};
		const ledger = qos === 2 && event.partition >= RETAINED_PARTITION ? this.#ledger : undefined;
		if (ledger !== undefined && !recorded(ledger, delivery)) return false;
		this.onCommit = ledger !== undefined;
		const written = this.#write(event, nowMs);
		this.onCommit = false;
		if (written) {
			this.#setInflight(delivery);
			this.unacknowledged++;
		} else {
			ledger?.forget(delivery);
		}
		return true;
	}

	/** What an earlier connection left of this event's deliveries, the groups' before the session's own; undefined: nothing. */
	repeatsOf(partition: number, offset: number): readonly Delivery[] | undefined {
		return this.#repeats?.get(partition)?.get(offset);
	}

	/** Sends those again that were not acknowledged. False: no more can be taken now. */
	offerAgain(event: StoredEvent, interest: Interest<Session> | undefined, nowMs: number): boolean {
		const ofPartition = this.#repeats?.get(event.partition);
		const deliveries = ofPartition?.get(event.offset);
		for (let delivery = deliveries?.[0]; delivery !== undefined; delivery = deliveries![0]) {
			if (delivery.state !== AWAITS_PUBCOMP) {
				if (this.#blockedFor(event) || !this.windowOpen) return false;
				this.repeat(delivery, event, interest, nowMs);
			}
			deliveries!.shift();
		}
		ofPartition?.delete(event.offset);
		return true;
	}

	/** A QoS 2 delivery of an earlier connection that cannot be repeated: its packet identifier is released. */
	giveUp(delivery: Delivery): void {
		delivery.state = AWAITS_PUBCOMP;
		delivery.sent = true;
		this.unacknowledged++;
		this.link.output.response(PUBREL, delivery.packetId);
		this.link.outputPending();
	}

	/** Sends a delivery of an earlier connection again; `event` is its event. */
	repeat(delivery: Delivery, event: StoredEvent, interest: Interest<Session> | undefined, nowMs: number): void {
		this.qos = delivery.state === AWAITS_PUBACK ? 1 : 2;
		const retained = event.partition === RETAINED_PARTITION;
		this.retain = event.retain && (retained || (interest?.retainAsPublished ?? false));
		this.identifiers = interest?.identifiers;
		this.dup = true; // [MQTT-3.3.1-1]
		this.packetId = delivery.packetId;
		// The commit that has its packet identifier may still be under way.
		this.onCommit = this.qos === 2 && this.#ledger !== undefined;
		if (this.#write(event, nowMs)) {
			delivery.sent = true;
			this.unacknowledged++;
		} else {
			this.finish(delivery);
		}
		this.onCommit = false;
	}

	#write(event: StoredEvent, nowMs: number): boolean {
		this.expirySeconds = -1;
		if (event.expirySeconds >= 0) {
			const left = event.expirySeconds - Math.floor((nowMs - event.timestampMs) / 1000);
			if (left <= 0 && !this.dup) {
				this.#stats.expired++; // [MQTT-3.3.2-5]
				return false;
			}
			// [MQTT-3.3.2-6]; what was under way when it expired is repeated all the same [MQTT-4.3.3-7].
			this.expirySeconds = Math.max(1, Math.min(left, event.expirySeconds));
		}
		if (!this.#writeAliased(event)) {
			this.#stats.tooLargeForSubscriber++;
			return false;
		}
		// A large packet's buffer is for the socket, not for a thousand others that follow it in this turn.
		if (event.payloadEnd - event.payloadStart > OUTPUT_HIGH_BYTES && !this.onCommit) this.link.output.flush();
		this.#stats.sent[this.qos]++;
		this.#stats.traffic.publishBytesSent += event.payloadEnd - event.payloadStart;
		this.link.outputPending();
		return true;
	}

	#blockedFor({ payloadStart, payloadEnd }: StoredEvent): boolean {
		const { output } = this.link;
		const bytes = payloadEnd - payloadStart;
		return output.blocked || (bytes > OUTPUT_HIGH_BYTES && output.refusesLarge);
	}

	/** With a topic alias where the client allows them; false where the packet is too large for it. */
	#writeAliased(event: StoredEvent): boolean {
		const { link } = this;
		this.alias = 0;
		this.omitTopic = false;
		const { topic } = event;
		// What waits for a commit may be overtaken, so it neither sets an alias nor relies on one.
		if (link.aliases === undefined || this.onCommit || topic === undefined) {
			return writePublish(link.output, event, this, link.maxPacketBytes);
		}
		const known = link.aliases.of(topic);
		this.omitTopic = known > 0;
		this.alias = known > 0 ? known : link.aliases.nextFor(topic);
		if (writePublish(link.output, event, this, link.maxPacketBytes)) {
			if (known === 0 && this.alias > 0) link.aliases.sent(topic);
			return true;
		}
		if (this.omitTopic || this.alias === 0) return false;
		this.alias = 0; // its three bytes may be the ones too many
		return writePublish(link.output, event, this, link.maxPacketBytes);
	}

	#freePacketId(): number {
		do this.lastPacketId = (this.lastPacketId % PACKET_IDS) + 1;
		while (this.inflight.has(this.lastPacketId));
		return this.lastPacketId;
	}

	/** Throws MqttError, as the others do, where the delivery waits for something else (4.3, 4.8 and 4.13 of 5.0). */
	puback(packetId: number): void {
		const delivery = this.inflight.get(packetId);
		if (delivery === undefined) return;
		if (delivery.state !== AWAITS_PUBACK) throw wrongAnswer("PUBACK", delivery);
		this.finish(delivery);
	}

	/**
	 * Returns whether a PUBREL is due: the identifier is known, and the subscriber took the message. Where there is a
	 * ledger, it must not leave before the commit being gathered is durable. Throws BrokerError if there will be none.
	 */
	pubrec(packetId: number, refused: boolean): boolean {
		const delivery = this.inflight.get(packetId);
		if (delivery === undefined) return false;
		if (delivery.state === AWAITS_PUBACK) throw wrongAnswer("PUBREC", delivery);
		if (delivery.state === AWAITS_PUBCOMP) return true;
		if (!refused) this.#ledger?.record({ ...delivery, state: AWAITS_PUBCOMP });
		delivery.state = AWAITS_PUBCOMP;
		if (refused) {
			this.finish(delivery);
			return false;
		}
		this.session.stale = true;
		return true;
	}

	pubcomp(packetId: number): void {
		const delivery = this.inflight.get(packetId);
		if (delivery === undefined) return;
		if (delivery.state !== AWAITS_PUBCOMP) throw wrongAnswer("PUBCOMP", delivery);
		this.finish(delivery);
	}

	/** The delivery is over. */
	finish(delivery: Delivery): void {
		this.#inflight.delete(delivery.packetId);
		this.#forget(delivery);
		if (delivery.sent) this.unacknowledged--;
		if (this.#ledger !== undefined && delivery.state !== AWAITS_PUBACK && delivery.partition >= RETAINED_PARTITION) {
			const settled = { partition: delivery.partition, offset: delivery.offset, order: delivery.order };
			if (this.settled === NONE_SETTLED) this.settled = [settled];
			else (this.settled as Settled[]).push(settled);
		}
		this.session.stale = true;
	}

	/** Takes those out of `settled` that the cursors are behind; a partition without one is gone. */
	takeSettled(next: ReadonlyMap<number, number>): readonly Settled[] {
		const { settled } = this;
		if (settled.length === 0) return settled;
		// What a resumed walk may still come to must be known to have been sent.
		const walked = this.scans?.some(({ sent }) => sent !== undefined) !== true;
		const passed = ({ partition, offset }: Settled) =>
			partition === RETAINED_PARTITION ? walked : offset < (next.get(partition) ?? Number.POSITIVE_INFINITY);
		const left = settled.filter((each) => !passed(each));
		this.settled = left.length === 0 ? NONE_SETTLED : left;
		return left.length === 0 ? settled : settled.filter(passed);
	}

	#setInflight(delivery: Delivery): void {
		if (this.#inflight === NO_DELIVERIES) this.#inflight = new Map();
		this.#inflight.set(delivery.packetId, delivery);
	}

	/** Once a second: at rest it holds no memory. */
	rest(): void {
		if (this.#inflight.size === 0) this.#inflight = NO_DELIVERIES;
	}

	/** An acknowledgement of what has not been repeated yet: it need not be. At QoS 2 it is passed over when its turn comes. */
	#forget(delivery: Delivery): void {
		if (!delivery.sent && delivery.state === AWAITS_PUBACK) this.#removeRepeat(delivery);
	}

	#removeRepeat(delivery: Delivery): void {
		const ofPartition = this.#repeats?.get(delivery.partition);
		const left = ofPartition?.get(delivery.offset)?.filter((each) => each !== delivery) ?? [];
		if (left.length > 0) ofPartition!.set(delivery.offset, left);
		else ofPartition?.delete(delivery.offset);
	}

	/**
	 * A delivery of an earlier connection, oldest first: one whose packet identifier a later one has was over. What awaits
	 * PUBCOMP needs its PUBREL only, which the caller sends; `sentBelow` says up to where no event comes anew.
	 */
	restore(delivery: Delivery, sentBelow: number): void {
		this.lastOrder = Math.max(this.lastOrder, delivery.order);
		const former = this.inflight.get(delivery.packetId);
		if (former !== undefined) {
			this.finish(former);
			this.#removeRepeat(former);
			if (former.state !== AWAITS_PUBACK) this.#addRepeat({ ...former, state: AWAITS_PUBCOMP });
		}
		this.#setInflight(delivery);
		if (delivery.state === AWAITS_PUBCOMP) {
			delivery.sent = true;
			this.unacknowledged++;
			if (delivery.offset < sentBelow) return;
		}
		this.#addRepeat(delivery);
	}

	#addRepeat(delivery: Delivery): void {
		if (delivery.partition === RETAINED_PARTITION) {
			if (delivery.state === AWAITS_PUBCOMP) return;
			this.retainedRepeats ??= [];
			this.retainedRepeats.push(delivery);
			return;
		}
		this.#repeats ??= new Map();
		let ofPartition: Map<number, Delivery[]> | undefined = this.#repeats.get(delivery.partition);
		if (ofPartition === undefined) {
			ofPartition = new Map();
			this.#repeats.set(delivery.partition, ofPartition);
		}
		const others = ofPartition.get(delivery.offset);
		if (others === undefined) ofPartition.set(delivery.offset, [delivery]);
		else if (delivery.shared === true) others.unshift(delivery);
		else others.push(delivery);
	}

	/** Deliveries whose records are gone, below `offset`: they will not be repeated. Returns how many. */
	dropRepeats(partition: number, offset: number): number {
		let dropped = 0;
		const repeats = this.#repeats?.get(partition);
		for (const [at, deliveries] of [...(repeats ?? [])]) {
			if (at >= offset) continue;
			repeats!.delete(at);
			for (const delivery of deliveries) {
				if (delivery.state === AWAITS_PUBCOMP) continue;
				if (delivery.state === AWAITS_PUBREC && !delivery.sent) this.giveUp(delivery);
				else this.finish(delivery);
				dropped++;
			}
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

	/** Goes back in a partition, from `position` where it is now, for those that are to have earlier events. */
	rewind(partition: number, offset: number, position: number): void {
		if (offset >= position) return;
		const track = this.track(partition);
		this.tracks ??= new Map();
		this.tracks.set(partition, {
			next: offset,
			sentBelow: Math.max(track?.sentBelow ?? 0, position),
			awayBelow: track?.awayBelow ?? 0,
		});
	}
}

/** False where storage takes nothing now. */
function recorded(ledger: DeliveryLedger, delivery: Delivery): boolean {
	try {
		ledger.record(delivery);
		return true;
	} catch (error) {
		if (error instanceof BrokerError) return false;
		throw error;
	}
}

function wrongAnswer(name: string, { packetId, state }: Delivery): MqttError {
	const due = state === AWAITS_PUBACK ? "PUBACK" : state === AWAITS_PUBREC ? "PUBREC" : "PUBCOMP";
	const clause = state === AWAITS_PUBACK ? "[MQTT-4.3.2-4]" : "[MQTT-4.3.3-11]";
	return new MqttError(
		ReasonCode.ProtocolError,
		clause,
		`${name} for packet identifier ${packetId}, which waits for ${due}`,
	);
}
