/**
 * Subscribers that fell behind, or come back after an absence, read the log at their own pace until they have reached
 * the live end of the partition, and are live there again: no gap, nothing twice, in order. A turn ends when the
 * window is full or the socket does not drain; an acknowledgement, the drain or the sweep begins the next. Few reads run at once
 * and few results are held, so that any number of slow subscribers costs little memory. What only the object store has is read
 * apart (tiered-catch-up.ts): a track that waits for it is passed over meanwhile, and nobody else waits.
 */
import { BrokerError } from "../../src/base/errors.ts";
import type { Broker } from "../../src/broker/broker.ts";
import { comesLater } from "../../src/log/tier.ts";
import type { Deliveries, Feed } from "./delivery.ts";
import type { Outbox, Track } from "./outbox.ts";
import type { RetainedDelivery } from "./retained-delivery.ts";
import type { Session } from "./session.ts";
import { SharedReads } from "./shared-reads.ts";
import type { DoorStats } from "./stats.ts";
import type { StoredEvent } from "./stored-event.ts";
import { TieredCatchUp } from "./tiered-catch-up.ts";
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
	readonly #tiered: TieredCatchUp;
	#reads = 0;
	/** Those that wait for their turn to read. */
	readonly #waiting = new Set<Outbox>();
	/** What is held, oldest first. */
	readonly #holders = new Map<{ readonly bytes: Buffer }, { readonly outbox: Outbox; readonly partition: number }>();
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
		this.#tiered = new TieredCatchUp(broker.clock, {
			read: (partition, offset, patienceMs) => this.#shared.read(partition, offset, READ_BYTES, patienceMs),
			found: ({ outbox, feed, track }, bytes, from) => this.#found(outbox, feed, track, bytes, from),
			failed: ({ outbox, feed, track }, error) => this.#failed(outbox, feed, track, error),
			back: ({ outbox }) => this.#runAgain(outbox),
		});
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
		while (!outbox.closed && outbox.tracks !== undefined) {
			if (link.output.blocked || (!outbox.worthwhile && !patiently)) return;
			const { tracks } = outbox;
			if (tracks.size === 0) {
				outbox.tracks = undefined;
				unbound(outbox);
				return;
			}
			const next = this.#nextTrack(outbox, tracks);
			if (next === undefined) return;
			const [id, track] = next;
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

	/** What is held goes first; else in turn, but for tracks that wait for the object store. */
	#nextTrack(outbox: Outbox, tracks: ReadonlyMap<number, Track>): readonly [number, Track] | undefined {
		for (const id of outbox.held?.keys() ?? []) {
			const track = tracks.get(id);
			if (track !== undefined) return [id, track];
			this.#release(outbox, id);
		}
		if (outbox.reading) return undefined;
		for (const each of tracks) if (!this.#tiered.waits(outbox, each[1])) return each;
		return undefined;
	}

	/** From memory, from what is held, or by a read that goes on later. False: nothing more now. */
	#advance(outbox: Outbox, feed: Feed, track: Track): boolean {
		const { id, logStartOffset, localStartOffset } = feed.partition;
		const held = outbox.held?.get(id);
		if (held !== undefined) {
			const done = this.#send(outbox, feed, track, held.bytes);
			if (done) this.#release(outbox, id);
			return done;
		}
		if (track.next >= logStartOffset && track.next < localStartOffset) {
			this.#tiered.ask({ outbox, feed, track });
			return true;
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
			const from = track.next;
			const bytes = await this.#shared.read(feed.partition, from, READ_BYTES, 0);
			this.#found(outbox, feed, track, bytes, from);
		} catch (error) {
			if (outbox.closed || track === undefined || feed === undefined) return;
			// It may have left this machine meanwhile: then the object store is asked.
			const isMoved = comesLater(error) && track.next < feed.partition.localStartOffset;
			if (!isMoved && !this.#failed(outbox, feed, track, error)) {
				outbox.reading = false; // the sweep tries again
				return;
			}
		}
		this.#again(outbox);
	}

	#found(outbox: Outbox, feed: Feed, track: Track, bytes: Buffer, from: number): void {
		const { id } = feed.partition;
		// Unless it went elsewhere meanwhile: it is read from there.
		if (outbox.closed || outbox.track(id) !== track || track.next !== from) return;
		if (bytes.length === 0) track.next = Math.max(track.next, feed.next);
		else this.#hold(outbox, id, bytes);
	}

	/** False: it cannot go on now. */
	#failed(outbox: Outbox, feed: Feed, track: Track, error: unknown): boolean {
		const { partition } = feed;
		if (
			this.#deliveries.feeds.get(partition.id) === feed &&
			!(error instanceof BrokerError && error.code === "OFFSET_OUT_OF_RANGE")
		) {
			this.#broker.logger.error("an MQTT subscriber could not catch up; it will be tried again", {
				clientId: outbox.session.clientId,
				topic: partition.topic,
				partition: partition.number,
				offset: track.next,
				error: error instanceof Error ? error.message : String(error),
			});
			return false;
		}
		if (outbox.track(partition.id) !== track) return true;
		const start = partition.logStartOffset;
		this.#stats.overtakenByRetention += Math.max(0, start - Math.max(track.next, track.sentBelow));
		outbox.dropRepeats(partition.id, start);
		track.next = start > track.next ? start : feed.next;
		return true;
	}

	#again(outbox: Outbox): void {
		outbox.reading = false;
		this.#runAgain(outbox);
	}

	#runAgain(outbox: Outbox): void {
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
		this.#release(outbox, partition);
		const held = { bytes };
		outbox.held ??= new Map();
		outbox.held.set(partition, held);
		this.#holders.set(held, { outbox, partition });
		if (this.#holders.size <= HELD) return;
		const oldest = this.#holders.values().next().value!;
		this.#release(oldest.outbox, oldest.partition); // it reads again when it can go on
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
		const held = outbox.held?.get(partition);
		if (held === undefined) return;
		this.#holders.delete(held);
		outbox.held!.delete(partition);
		if (outbox.held!.size === 0) outbox.held = undefined;
	}

	/** The subscriber has gone. */
	forget(outbox: Outbox): void {
		this.#waiting.delete(outbox);
		this.#rewound.delete(outbox);
		this.#tiered.forget(outbox);
		for (const held of outbox.held?.values() ?? []) this.#holders.delete(held);
		outbox.held = undefined;
	}
}

/** It has reached the live end everywhere: what its subscriptions began with is behind it. */
function unbound({ session }: Outbox): void {
	if (!session.bounded) return;
	session.bounded = false;
	for (const subscription of session.subscriptions?.values() ?? []) subscription.since = undefined;
}
