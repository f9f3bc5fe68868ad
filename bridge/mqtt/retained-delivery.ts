/**
 * Retained messages to those who subscribe (MQTT 5.0 section 3.3.1.3): each new subscription walks the store in key order, at
 * its subscriber's pace, a page at a time. That is all it costs, however many match. A message that is
 * newer than its subscription comes live and is passed over here.
 */
import type { Broker } from "../../src/broker/broker.ts";
import type { Deliveries } from "./delivery.ts";
import { AWAITS_PUBACK, type Delivery, type Outbox } from "./outbox.ts";
import type { RetainedMessage, RetainedStore } from "./retained-store.ts";
import type { Session } from "./session.ts";
import type { KeptSession } from "./session-store.ts";
import { RETAINED_PARTITION, StoredEvent } from "./stored-event.ts";
import type { Subscription } from "./subscriptions.ts";

/** Where the subscription stands in the store. */
export interface RetainedScan {
	readonly subscription: Subscription<Session>;
	/** The last topic that it is done with. */
	after: string | undefined;
	/** By partition id: events from that offset on come live. Partitions made later do so from their start. */
	readonly live: ReadonlyMap<number, number>;
	readonly highestPartition: number;
	/** Its session was away meanwhile, and QoS 0 is not for later. */
	readonly resumed?: boolean;
	/** The session's last delivery before it began: those after it may be its own. */
	readonly sinceOrder: number;
	/** Sent at QoS 2 before a crash, and perhaps not known of `after`. */
	sent: Set<string> | undefined;
}

/** What one step reads at most. */
const PAGE = { messages: 64, bytes: 65_536, looks: 256 };
/** Milliseconds of a turn of the event loop for all who walk the store. */
const STEP_MS = 4;

export class RetainedDelivery {
	readonly #broker: Broker;
	readonly #deliveries: Deliveries;
	readonly #store: RetainedStore;
	readonly #event = new StoredEvent();
	/** To go on with in the event loop's next turn. */
	readonly #later = new Set<Outbox>();
	#scheduled = false;
	readonly #run: (outbox: Outbox) => void;

	/** `run` is called for a subscriber that may go on; it must not throw. */
	constructor(broker: Broker, deliveries: Deliveries, store: RetainedStore, run: (outbox: Outbox) => void) {
		this.#broker = broker;
		this.#deliveries = deliveries;
		this.#store = store;
		this.#run = run;
	}

	/** The subscription is new, and what comes from now on it gets as it comes. */
	add(outbox: Outbox, subscription: Subscription<Session>): void {
		this.cancel(outbox, subscription.filter);
		const live = this.#deliveries.positions(subscription.match, undefined);
		const { highestPartition } = this.#deliveries;
		outbox.scans ??= [];
		const sinceOrder = outbox.lastOrder;
		outbox.scans.push({ subscription, after: undefined, live, highestPartition, sinceOrder, sent: undefined });
	}

	cancel(outbox: Outbox, filter: string): void {
		const left = outbox.scans?.filter(({ subscription }) => subscription.filter !== filter) ?? [];
		outbox.scans = left.length > 0 ? left : undefined;
	}

	/** The subscriber is back. */
	resume(outbox: Outbox, { cursors, sent }: KeptSession): void {
		for (const [filter, after, sinceOrder] of cursors.retained ?? []) {
			const topics = sent.flatMap(({ partition, topic, order }) =>
				partition === RETAINED_PARTITION && topic !== undefined && order > sinceOrder ? [topic] : [],
			);
			const subscription = outbox.session.subscriptions?.get(filter);
			if (subscription === undefined) continue;
			outbox.scans ??= [];
			outbox.scans.push({
				subscription,
				after: after ?? undefined,
				live: new Map(cursors.next),
				highestPartition: cursors.highestPartition,
				resumed: true,
				sinceOrder,
				sent: topics.length > 0 ? new Set(topics) : undefined,
			});
		}
	}

	/** Sends what can be sent now. True: nothing is left. */
	run(outbox: Outbox, patiently = false): boolean {
		if (outbox.retainedRepeats !== undefined && !this.#repeat(outbox)) return false;
		const scan = outbox.scans?.[0];
		if (scan === undefined) return true;
		if (outbox.link.output.blocked || (!outbox.worthwhile && !patiently)) return false;
		const nowMs = this.#broker.clock.now();
		const page = this.#store.page(scan.subscription.match, scan.after, nowMs, PAGE);
		for (const message of page.messages) {
			const wasSent = scan.sent?.delete(message.topic) === true;
			if (!wasSent && !isLive(scan, message)) {
				if (!outbox.offer(this.#fill(message), scan.subscription, nowMs)) return false;
			}
			scan.after = message.topic;
		}
		scan.after = page.after ?? scan.after;
		if (scan.sent?.size === 0) scan.sent = undefined;
		outbox.session.stale = true;
		if (page.done) {
			const left = outbox.scans!.filter((each) => each !== scan);
			outbox.scans = left.length > 0 ? left : undefined;
		}
		if (outbox.scans === undefined) return true;
		this.#goOn(outbox);
		return false;
	}

	/** What an earlier connection left unacknowledged, as far as it is still kept. */
	#repeat(outbox: Outbox): boolean {
		const repeats = outbox.retainedRepeats!;
		const nowMs = this.#broker.clock.now();
		for (let delivery: Delivery | undefined = repeats[0]; delivery !== undefined; delivery = repeats[0]) {
			if (outbox.inflight.get(delivery.packetId) === delivery) {
				if (outbox.link.output.blocked || !outbox.windowOpen) return false;
				const message = delivery.topic === undefined ? undefined : this.#store.get(delivery.topic, nowMs);
				// Another one in its place would not be the one that the packet identifier stands for.
				if (message?.offset !== delivery.offset) {
					if (delivery.state === AWAITS_PUBACK) outbox.finish(delivery);
					else outbox.giveUp(delivery);
				} else outbox.repeat(delivery, this.#fill(message), undefined, nowMs);
			}
			repeats.shift();
		}
		outbox.retainedRepeats = undefined;
		return true;
	}

	/** In the next turn: thousands of messages of one subscriber must not hold up all others. */
	#goOn(outbox: Outbox): void {
		this.#later.add(outbox);
		if (this.#scheduled) return;
		this.#scheduled = true;
		this.#broker.clock.soon(this.#step);
	}

	/** A fleet that comes back after an outage walks the store all at once: all of it together gets a part of each turn. */
	readonly #step = (): void => {
		const { clock } = this.#broker;
		const until = clock.monotonic() + STEP_MS;
		for (const outbox of this.#later) {
			this.#later.delete(outbox);
			if (!outbox.closed) this.#run(outbox);
			if (clock.monotonic() >= until) break;
		}
		this.#scheduled = this.#later.size > 0;
		if (this.#scheduled) clock.soon(this.#step);
	};

	/** Valid until the next. */
	#fill(message: RetainedMessage): StoredEvent {
		const event = this.#event;
		event.partition = RETAINED_PARTITION;
		event.offset = message.offset;
		event.timestampMs = message.timestampMs;
		event.topic = message.topic;
		event.topicSource = Buffer.from(message.topic, "utf8");
		event.topicStart = 0;
		event.topicEnd = event.topicSource.length;
		event.source = message.payload;
		event.payloadStart = 0;
		event.payloadEnd = message.payload.length;
		event.qos = message.qos;
		event.retain = true;
		event.expirySeconds = message.expirySeconds;
		event.propertiesBlock = message.propertiesBlock;
		return event;
	}
}

function isLive(
	{ live, highestPartition, resumed, subscription }: RetainedScan,
	{ partition, offset, qos }: RetainedMessage,
): boolean {
	if (resumed === true && (qos === 0 || subscription.qos === 0)) return false;
	const from = live.get(partition);
	return from === undefined ? partition > highestPartition : offset >= from;
}
