/**
 * Subscribers that catch up with what only the object store has. A few reads wait for it at a time, whatever the number of
 * those that want one; what it cannot give now is asked for again, once a second, until it can. Nothing is passed over, and
 * nothing is logged for each of them: the object store's keeper says what is wrong with it.
 */
import type { Clock, Timer } from "../../src/base/clock.ts";
import { Patience } from "../../src/base/patience.ts";
import type { Partition } from "../../src/log/partition.ts";
import { comesLater } from "../../src/log/tier.ts";
import type { Feed } from "./delivery.ts";
import type { Outbox, Track } from "./outbox.ts";

const READS_AT_ONCE = 8;
/** For one read, milliseconds; then others have their turn. */
const PATIENCE_MS = 10_000;
const RETRY_MS = 1000;

interface TieredTrack {
	readonly outbox: Outbox;
	readonly feed: Feed;
	readonly track: Track;
}

/** What it needs of those who catch up. */
interface TieredCatchUpHost {
	/** As `Partition.read`. */
	read(partition: Partition, offset: number, patienceMs: number): Promise<Buffer>;
	/** What was asked for, read from `from`. */
	found(tiered: TieredTrack, bytes: Buffer, from: number): void;
	/** Nothing that passes. */
	failed(tiered: TieredTrack, error: unknown): boolean;
	/** Its track need not be passed over any more. */
	back(tiered: TieredTrack): void;
}

export class TieredCatchUp {
	readonly #clock: Clock;
	readonly #host: TieredCatchUpHost;
	/** Tracks of each subscriber that are asked for. */
	readonly #away = new Map<Outbox, Set<Track>>();
	/** Those that wait for their turn. */
	readonly #waiting = new Set<TieredTrack>();
	/** To be asked for again when the timer says so. */
	#later: TieredTrack[] = [];
	#timer: Timer | undefined;
	#reads = 0;

	constructor(clock: Clock, host: TieredCatchUpHost) {
		this.#clock = clock;
		this.#host = host;
	}

	/** Whether the track waits for the object store. */
	waits(outbox: Outbox, track: Track): boolean {
		return this.#away.size > 0 && this.#away.get(outbox)?.has(track) === true;
	}

	ask(tiered: TieredTrack): void {
		const { outbox, track } = tiered;
		const away = this.#away.get(outbox);
		if (away === undefined) this.#away.set(outbox, new Set([track]));
		else away.add(track);
		this.#waiting.add(tiered);
		this.#startReads();
	}

	/** The subscriber has gone. */
	forget(outbox: Outbox): void {
		this.#away.delete(outbox);
	}

	#startReads(): void {
		while (this.#reads < READS_AT_ONCE) {
			const tiered = this.#waiting.values().next().value;
			if (tiered === undefined) return;
			this.#waiting.delete(tiered);
			this.#reads++;
			void this.#read(tiered).finally(() => {
				this.#reads--;
				this.#startReads();
			});
		}
	}

	async #read(tiered: TieredTrack): Promise<void> {
		const { outbox, feed, track } = tiered;
		const from = track.next;
		const patience = new Patience(this.#clock, PATIENCE_MS);
		let goesOn = true;
		try {
			if (this.#isWanted(tiered))
				this.#host.found(tiered, await this.#host.read(feed.partition, from, PATIENCE_MS), from);
		} catch (error) {
			if (this.#isWanted(tiered) && comesLater(error)) {
				if (error.code === "OFFSET_NOT_AVAILABLE" && patience.isSpent) this.#waiting.add(tiered);
				else this.#askLater(tiered);
				return;
			}
			if (!outbox.closed) goesOn = this.#host.failed(tiered, error);
		}
		this.#back(tiered);
		if (goesOn && !outbox.closed) this.#host.back(tiered);
	}

	/** It may have gone, or gone back, while it waited. */
	#isWanted({ outbox, feed, track }: TieredTrack): boolean {
		return !outbox.closed && outbox.track(feed.partition.id) === track;
	}

	#back({ outbox, track }: TieredTrack): void {
		const away = this.#away.get(outbox);
		away?.delete(track);
		if (away?.size === 0) this.#away.delete(outbox);
	}

	#askLater(tiered: TieredTrack): void {
		this.#later.push(tiered);
		this.#timer ??= this.#clock.after(RETRY_MS, () => {
			this.#timer = undefined;
			for (const each of this.#later.splice(0)) this.#waiting.add(each);
			this.#startReads();
		});
	}
}
