/**
 * Subscribers that fell behind, or come back after an absence, read the log at their own pace until they have reached
 * the live end of the partition, and are live there again: no gap, nothing twice, in order. A turn ends when the
 * window is full or the socket does not drain; an acknowledgement, the drain or the sweep begins the next. Few reads run at once
 * and few results are held, so that any number of slow subscribers costs little memory.
 */
import { BrokerError } from "../../src/base/errors.ts";
import type { Broker } from "../../src/broker/broker.ts";
import type { Deliveries, Feed } from "./delivery.ts";
import type { Outbox, Track } from "./outbox.ts";
import type { RetainedDelivery } from "./retained-delivery.ts";
import type { Session } from "./session.ts";
import { SharedReads } from "./shared-reads.ts";
import type { DoorStats } from "./stats.ts";
import type { StoredEvent } from "./stored-event.ts";
import { filterMatches } from "./topic-filter.ts";

const READ_BYTES = 64 * 1024;
const READS_AT_ONCE = 8;
/** Results that subscribers may keep until their window opens again. */
const HELD = 32;

export class CatchUp {
	readonly #broker: Broker;
	readonly #deliveries: Deliveries;
	readonly #retained: RetainedDelivery;
	readonly #stats: DoorStats;
	readonly #shared = new SharedReads();
	#reads = 0;
	/** Those that wait for their turn to read. */
	readonly #waiting = new Set<Outbox>();
	/** Those that hold a result, oldest first. */
	readonly #holders = new Set<Outbox>();
	/** To be run in the next turn. */
	readonly #rewound = new Set<Outbox>();

	// What `#take` works on, so that no closure is made per batch.
	#outbox!: Outbox;
	#track!: Track;
	#feed!: Feed;
	#nowMs = 0;

	constructor(broker: Broker, deliveries: Deliveries, retained: RetainedDelivery, stats: DoorStats) {
		this.#broker = broker;
		this.#deliveries = deliveries;
		this.#retained = retained;
		this.#stats = stats;
		deliveries.fellBehind = (outbox) => {
			// All connections together had too much: nothing of its own will wake it.
			if (outbox.windowOpen && !outbox.link.output.pending) this.#soon(outbox);
		};
		deliveries.rewound = (outbox, partition) => {
			this.#release(outbox, partition);
			this.#soon(outbox);
		};
	}

	/** Sends what can be sent now. `patiently`: for a while nothing was acknowledged. */
	run(outbox: Outbox, patiently = false): void {
		if (outbox.closed || outbox.waits || !this.#retained.run(outbox, patiently)) return;
		const { link } = outbox;
		while (!outbox.closed && !outbox.reading && outbox.tracks !== undefined) {
			if (link.output.blocked || (!outbox.worthwhile && !patiently)) return;
			const { tracks } = outbox;
			const first = tracks.entries().next().value;
			if (first === undefined) {
				outbox.tracks = undefined;
				unbound(outbox);
				return;
			}
			const [id, track] = first;
			const feed = this.#deliveries.feeds.get(id);
			if (feed === undefined || track.next >= feed.next) {
				if (feed === undefined) outbox.dropRepeats(id, Number.POSITIVE_INFINITY); // the topic was deleted
				tracks.delete(id);
				this.#release(outbox, id);
				continue;
			}
			if (!this.#advance(outbox, feed, track)) return;
			// Its partitions take turns.
			tracks.delete(id);
			tracks.set(id, track);
		}
	}

	/** From memory, from what is held, or by a read that goes on later. False: nothing more now. */
	#advance(outbox: Outbox, feed: Feed, track: Track): boolean {
		const { id } = feed.partition;
		if (outbox.held?.partition === id) {
			const done = this.#send(outbox, feed, track, outbox.held.bytes);
			if (done) this.#release(outbox, id);
			return done;
		}
		const batches = track.next >= feed.partition.logStartOffset ? feed.partition.readTail(track.next) : undefined;
		if (batches === undefined || batches.length === 0) {
			outbox.reading = true;
			this.#waiting.add(outbox);
			this.#startReads();
			return false;
		}
		for (const batch of batches) {
			if (!this.#send(outbox, feed, track, batch)) return false;
			if (track.next >= feed.next) break;
		}
		return true;
	}

	/** The events of whole batches, from the track's offset on. False when the subscriber takes no more. */
	#send(outbox: Outbox, feed: Feed, track: Track, bytes: Buffer): boolean {
		this.#outbox = outbox;
		this.#track = track;
		this.#feed = feed;
		this.#nowMs = this.#broker.clock.now();
		const { reader } = this.#deliveries;
		for (let at = 0; at < bytes.length; ) {
			at = reader.read(feed.partition, bytes, at, track.next, this.#take);
			track.next = Math.max(track.next, reader.nextOffset);
			if (reader.stopped) return track.next >= feed.next;
		}
		return true;
	}

	readonly #take = (event: StoredEvent): boolean => {
		if (event.offset >= this.#feed.next) return false;
		const outbox = this.#outbox;
		const track = this.#track;
		const { session } = outbox;
		// Groups first: they remember what they gave, so that an event which is only half taken is not given twice.
		if (session.shares !== undefined && !this.#takeShares(session, event)) return false;
		const repeats = outbox.repeatsOf(event.partition, event.offset);
		if (repeats !== undefined) {
			// Of its own there is one at the end, if any: until that is sent, what it stands for is not offered anew.
			const own = repeats.some(({ shared }) => shared !== true);
			if (!outbox.offerAgain(event, this.#deliveries.interestOf(session, event), this.#nowMs)) return false;
			if (own) return true;
		}
		let replayed = event.offset < track.sentBelow;
		let interest = this.#deliveries.interestOf(session, event, replayed);
		if (interest === undefined) return true;
		if (!replayed && event.offset < track.awayBelow && (event.qos === 0 || interest.qos === 0)) {
			// Not for later, but for those who ask for what was.
			replayed = true;
			interest = this.#deliveries.interestOf(session, event, replayed);
			if (interest === undefined) return true;
		}
		return outbox.offer(event, interest, this.#nowMs);
	};

	#takeShares(session: Session, event: StoredEvent): boolean {
		for (const { match, group } of session.shares ?? []) {
			if (event.topic === undefined || !filterMatches(match, event.topic)) continue;
			if (!group.offer(event, session, this.#nowMs)) return false;
		}
		return true;
	}

	#startReads(): void {
		while (this.#reads < READS_AT_ONCE) {
			const outbox = this.#waiting.values().next().value;
			if (outbox === undefined) return;
			this.#waiting.delete(outbox);
			this.#reads++;
			void this.#read(outbox).finally(() => {
				this.#reads--;
				this.#startReads();
			});
		}
	}

	async #read(outbox: Outbox): Promise<void> {
		const id = outbox.tracks?.keys().next().value;
		const track = id === undefined ? undefined : outbox.track(id);
		const feed = id === undefined ? undefined : this.#deliveries.feeds.get(id);
		try {
			if (id === undefined || track === undefined || feed === undefined) {
				this.#again(outbox);
				return;
			}
			const { partition } = feed;
			const from = track.next;
			const bytes = await this.#shared.read(partition, from, READ_BYTES);
			if (outbox.closed) return;
			if (outbox.track(id) !== track || track.next !== from) {
				// It went elsewhere meanwhile: read from there.
			} else if (bytes.length === 0) track.next = Math.max(track.next, feed.next);
			else this.#hold(outbox, id, bytes);
		} catch (error) {
			if (outbox.closed || id === undefined || track === undefined || feed === undefined) return;
			if (
				this.#deliveries.feeds.get(id) === feed &&
				!(error instanceof BrokerError && error.code === "OFFSET_OUT_OF_RANGE")
			) {
				this.#broker.logger.error("an MQTT subscriber could not catch up; it will be tried again", {
					clientId: outbox.session.clientId,
					topic: feed.partition.topic,
					partition: feed.partition.number,
					offset: track.next,
					error: error instanceof Error ? error.message : String(error),
				});
				outbox.reading = false; // the sweep tries again
				return;
			}
			if (outbox.track(id) !== track) {
				this.#again(outbox);
				return;
			}
			const start = feed.partition.logStartOffset;
			this.#stats.overtakenByRetention += Math.max(0, start - Math.max(track.next, track.sentBelow));
			outbox.dropRepeats(feed.partition.id, start);
			track.next = start > track.next ? start : feed.next;
		}
		this.#again(outbox);
	}

	#again(outbox: Outbox): void {
		outbox.reading = false;
		try {
			this.run(outbox);
		} catch (error) {
			this.#broker.logger.error("an MQTT subscriber could not catch up", {
				clientId: outbox.session.clientId,
				error: error instanceof Error ? error.message : String(error),
			});
		}
	}

	#hold(outbox: Outbox, partition: number, bytes: Buffer): void {
		outbox.held = { partition, bytes };
		this.#holders.delete(outbox);
		this.#holders.add(outbox);
		if (this.#holders.size <= HELD) return;
		const oldest = this.#holders.values().next().value!;
		oldest.held = undefined; // it reads again when it can go on
		this.#holders.delete(oldest);
	}

	/** It went back, and nothing of its own may wake it. */
	#soon(outbox: Outbox): void {
		this.#rewound.add(outbox);
		if (this.#rewound.size > 1) return;
		this.#broker.clock.soon(() => {
			const due = [...this.#rewound];
			this.#rewound.clear();
			for (const each of due) if (!each.reading) this.#again(each);
		});
	}

	#release(outbox: Outbox, partition: number): void {
		if (outbox.held?.partition !== partition) return;
		outbox.held = undefined;
		this.#holders.delete(outbox);
	}

	/** The subscriber has gone. */
	forget(outbox: Outbox): void {
		this.#waiting.delete(outbox);
		this.#rewound.delete(outbox);
		this.#holders.delete(outbox);
		outbox.held = undefined;
	}
}

/** It has reached the live end everywhere: what its subscriptions began with is behind it. */
function unbound({ session }: Outbox): void {
	if (!session.bounded) return;
	session.bounded = false;
	for (const subscription of session.subscriptions?.values() ?? []) subscription.since = undefined;
}
