/**
 * The request of which a connection has received a part: whether it may be read on, and whether it takes too long.
 * Large ones are read on when they have been given room, and then to their end.
 */
import type { Clock } from "./clock.ts";
import type { Pressure } from "./pressure.ts";

/** Requests up to this size are read without asking for room: that much may be in one chunk anyway. */
export const SMALL_REQUEST_BYTES = 64 * 1024;
/** How long one request may take to arrive where others wait for memory. */
const PATIENCE_MS = 30_000;

export class Arrival {
	readonly #pressure: Pressure;
	readonly #clock: Clock;
	readonly #granted: () => void;
	#sinceMs: number | undefined;
	#giveBack: (() => void) | undefined;
	#hasRoom = false;

	/** `granted`: it has room now, and may have had to wait for it. */
	constructor(pressure: Pressure, clock: Clock, granted: () => void) {
		this.#pressure = pressure;
		this.#clock = clock;
		this.#granted = granted;
	}

	/** It has no room yet: it must not be read on. */
	get waits(): boolean {
		return this.#giveBack !== undefined && !this.#hasRoom;
	}

	/** The peer takes too long, should others wait for memory. */
	get tooSlow(): boolean {
		return this.#sinceMs !== undefined && !this.waits && this.#clock.monotonic() - this.#sinceMs >= PATIENCE_MS;
	}

	/** A part has come, of `bytes`; told any number of times. */
	part(bytes: number): void {
		this.#sinceMs ??= this.#clock.monotonic();
		if (bytes <= SMALL_REQUEST_BYTES || this.#giveBack !== undefined) return;
		this.#hasRoom = false;
		// Room that is there is given before there is a way to give it back.
		let told = false;
		this.#giveBack = this.#pressure.room.claim(bytes, () => {
			this.#hasRoom = true;
			// What it had to wait for is not counted against it.
			this.excuse();
			if (told) this.#granted();
		});
		told = true;
	}

	/** It was not read: time begins anew. */
	excuse(): void {
		if (this.#sinceMs !== undefined) this.#sinceMs = this.#clock.monotonic();
	}

	/** It is whole, or given up. */
	over(): void {
		this.#sinceMs = undefined;
		this.#giveBack?.();
		this.#giveBack = undefined;
	}
}
