/**
 * What an outbound bridge has to read of events that are not in memory any more: from files, and apart from these from the
 * object store, so that neither files nor what is live wait for it. One read at a time of each, and none while its result
 * waits for the window. What the object store cannot give now is asked for again with the next sweep; nothing is passed over.
 */
import type { Clock } from "../../../src/base/clock.ts";
import { BrokerError } from "../../../src/base/errors.ts";
import { Patience } from "../../../src/base/patience.ts";
import { comesLater } from "../../../src/log/tier.ts";
import type { Run } from "./cursor.ts";
import type { FlowPartition } from "./flow.ts";

const READ_BYTES = 256 * 1024;
/** For the object store; then another partition has its turn. */
const PATIENCE_MS = 10_000;

export interface Held {
	readonly place: FlowPartition;
	readonly run: Run;
	readonly bytes: Buffer;
	at: number;
}

interface BacklogHost {
	/** What was asked for is held, or has to be asked for anew. */
	ready(place: FlowPartition): void;
	/** It is tried again by the sweep. */
	failed(place: FlowPartition, error: unknown): void;
}

interface Lane {
	readonly patienceMs: number;
	readonly toRead: Set<FlowPartition>;
	held: Held | undefined;
	isReading: boolean;
}

export class Backlog {
	readonly #clock: Clock;
	readonly #host: BacklogHost;
	readonly #files: Lane = newLane(0);
	readonly #tier: Lane = newLane(PATIENCE_MS);
	/** Until the next sweep. */
	readonly #away = new Set<FlowPartition>();
	/** Rises with each connection: what was read for another is of no use. */
	#connection = 0;

	constructor(clock: Clock, host: BacklogHost) {
		this.#clock = clock;
		this.#host = host;
	}

	held(place: FlowPartition): Held | undefined {
		for (const { held } of [this.#files, this.#tier]) if (held?.place === place) return held;
		return undefined;
	}

	/** It is used up, or not wanted any more. */
	release(held: Held): void {
		for (const lane of [this.#files, this.#tier]) {
			if (lane.held !== held) continue;
			lane.held = undefined;
			void this.#readNext(lane);
		}
	}

	/** The events of `run` are wanted, which is the next one of `place`. */
	ask(place: FlowPartition, run: Run): void {
		if (this.#away.has(place)) return;
		const lane = run.next < place.partition.localStartOffset ? this.#tier : this.#files;
		lane.toRead.add(place);
		void this.#readNext(lane);
	}

	/** Nothing of it is wanted that has not been begun. */
	withdraw(place: FlowPartition): void {
		this.#files.toRead.delete(place);
		this.#tier.toRead.delete(place);
	}

	/** Of topics that were deleted. */
	dropGone(): void {
		for (const lane of [this.#files, this.#tier]) {
			for (const place of lane.toRead) if (place.gone) lane.toRead.delete(place);
			if (lane.held?.place.gone) lane.held = undefined;
		}
		for (const place of this.#away) if (place.gone) this.#away.delete(place);
	}

	/** The connection is gone. */
	clear(): void {
		this.#connection++;
		for (const lane of [this.#files, this.#tier]) {
			lane.toRead.clear();
			lane.held = undefined;
		}
		this.#away.clear();
	}

	/** What could not be read may be asked for again. */
	swept(): void {
		this.#away.clear();
		void this.#readNext(this.#files);
		void this.#readNext(this.#tier);
	}

	/** Whether nothing is held, and nothing is to be read. */
	get isEmpty(): boolean {
		if (this.#away.size > 0) return false;
		return [this.#files, this.#tier].every(
			(lane) => !lane.isReading && lane.toRead.size === 0 && lane.held === undefined,
		);
	}

	async #readNext(lane: Lane): Promise<void> {
		if (lane.isReading || lane.held !== undefined) return;
		const place = lane.toRead.values().next().value;
		if (place === undefined) return;
		lane.toRead.delete(place);
		lane.isReading = true;
		const connection = this.#connection;
		const isReady = await this.#read(lane, place);
		lane.isReading = false;
		if (isReady && connection === this.#connection && !place.gone) this.#host.ready(place);
		void this.#readNext(lane);
	}

	/** False: not before the next sweep. */
	async #read(lane: Lane, place: FlowPartition): Promise<boolean> {
		const { partition, cursor } = place;
		const connection = this.#connection;
		const run = cursor.take(partition.lastStableOffset);
		if (run === undefined) return true;
		const { next } = run;
		const patience = new Patience(this.#clock, lane.patienceMs);
		try {
			const bytes = await partition.read(next, READ_BYTES, undefined, undefined, patience.leftMs);
			if (connection !== this.#connection || place.gone) return false;
			if (bytes.length > 0) lane.held = { place, run, bytes, at: 0 };
			// All the rest is damaged, and recorded as lost.
			else if (run.next === next) run.next = Math.min(partition.lastStableOffset, run.end);
			return true;
		} catch (error) {
			if (connection !== this.#connection || place.gone) return false;
			// It takes longer, or has left the files meanwhile.
			if (error instanceof BrokerError && error.code === "OFFSET_NOT_AVAILABLE" && patience.isSpent) return true;
			// Retention was quicker, or the topic is deleted: what follows finds out.
			if (error instanceof BrokerError && error.code === "OFFSET_OUT_OF_RANGE") return true;
			this.#away.add(place);
			// Of the object store its keeper tells.
			if (!comesLater(error)) this.#host.failed(place, error);
			return false;
		}
	}
}

function newLane(patienceMs: number): Lane {
	return { patienceMs, toRead: new Set(), held: undefined, isReading: false };
}
