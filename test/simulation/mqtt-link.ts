/**
 * A connection between a scripted client and the door, over simulated time: bytes take their time both ways, come in pieces,
 * wait where the reader does not read, and can be cut at any of them. The door's side is a Transport as its contract has it:
 * buffers that it was told it may not reuse are read late, and those that it was given are spoilt when it returns.
 */
import { OUTPUT_HIGH_BYTES, type Transport, type TransportHandler } from "../../bridge/mqtt/transport.ts";
import type { SimulatedClock } from "../../src/base/clock-simulated.ts";
import type { SimulatedRandom } from "../../src/base/random-simulated.ts";

export interface LinkEnd {
	bytes(link: Link, chunk: Buffer): void;
	/** Nothing more comes. `inOrder`: the door closed it after all that it had sent. */
	gone(link: Link, inOrder: boolean): void;
}

export interface LinkOptions {
	readonly latencyMs: number;
	/** Bytes on their way to the client before the door has to wait. */
	readonly kernelBytes: number;
	readonly chunkBytes: number;
	/** The power has gone: what the door does then reaches nobody. */
	readonly isOff: () => boolean;
}

export class Link implements Transport {
	readonly number: number;
	readonly peer: string;
	handler: TransportHandler | undefined;
	/** The client reads what comes. */
	reading = true;
	/** When the door ended it, or knew that it was gone. */
	endedMs = Number.POSITIVE_INFINITY;
	/** The client has sent DISCONNECT. */
	saidGoodbye = false;
	/** The client takes no part any more. */
	left = false;
	#up = Buffer.alloc(0);
	#upClosed = false;
	#kernel = Buffer.alloc(0);
	#queued: Buffer[] = [];
	#unsent = 0;
	#needsDrain = false;
	#paused = false;
	#frozen = false;
	#dead = false;
	#over = false;
	#upTimer = false;
	#downTimer = false;
	readonly #clock: SimulatedClock;
	readonly #random: SimulatedRandom;
	readonly #options: LinkOptions;
	readonly #end: LinkEnd;
	readonly #guard: (work: () => void) => void;

	/** `guard` runs what must not throw. */
	constructor(
		number: number,
		clock: SimulatedClock,
		random: SimulatedRandom,
		options: LinkOptions,
		end: LinkEnd,
		guard: (work: () => void) => void,
	) {
		this.number = number;
		this.peer = `link ${number}`;
		this.#clock = clock;
		this.#random = random;
		this.#options = options;
		this.#end = end;
		this.#guard = guard;
	}

	// The door's side.

	write(bytes: Buffer): boolean {
		if (this.#over || this.endedByDoor || this.#options.isOff()) return true;
		if (this.#queued.length === 0 && this.#kernel.length + bytes.length <= this.#options.kernelBytes) {
			this.#kernel = Buffer.concat([this.#kernel, bytes]);
			this.#pumpDown();
			return true;
		}
		this.#queued.push(bytes);
		this.#unsent += bytes.length;
		if (this.#unsent >= OUTPUT_HIGH_BYTES) this.#needsDrain = true;
		this.#pumpDown();
		return false;
	}

	get unsentBytes(): number {
		return this.#unsent;
	}

	pause(): void {
		this.#paused = true;
	}

	resume(): void {
		this.#paused = false;
		this.#pumpUp();
	}

	end(): void {
		if (this.#options.isOff()) return;
		this.#doorEnded();
		this.#pumpDown();
	}

	destroy(): void {
		if (this.#options.isOff()) return;
		this.#doorEnded();
		this.#finish(false);
	}

	// The client's side.

	send(bytes: Buffer): void {
		if (this.#over || this.#upClosed) return;
		this.#up = Buffer.concat([this.#up, bytes]);
		this.#pumpUp();
	}

	/** The client closes it: what it has sent still arrives. */
	close(): void {
		this.left = true;
		this.#upClosed = true;
		this.#pumpUp();
	}

	/** The network breaks it, between any two bytes. */
	cut(): void {
		this.#up = this.#up.subarray(0, this.#random.between(0, this.#up.length));
		const arrived = this.#random.chance(0.5)
			? this.#kernel.subarray(0, this.#random.between(0, this.#kernel.length))
			: Buffer.alloc(0);
		if (this.#up.length > 0 && !this.#paused && this.handler !== undefined && this.#random.chance(0.5))
			this.#received(this.#up);
		if (arrived.length > 0 && !this.left) this.#end.bytes(this, arrived);
		this.#finish(false);
	}

	/** The network swallows everything from now on. */
	freeze(): void {
		this.#frozen = true;
	}

	/** The door's process is gone. */
	doorDied(): void {
		this.#dead = true;
		this.#doorEnded();
		this.#finish(false);
	}

	/** The client goes on reading. */
	read(): void {
		this.reading = true;
		this.#pumpDown();
	}

	get frozen(): boolean {
		return this.#frozen;
	}

	get over(): boolean {
		return this.#over;
	}

	get endedByDoor(): boolean {
		return this.endedMs < Number.POSITIVE_INFINITY;
	}

	#doorEnded(): void {
		this.endedMs = Math.min(this.endedMs, this.#clock.monotonic());
	}

	/** Something is on its way. */
	get busy(): boolean {
		if (this.#over || this.#frozen) return false;
		return (this.#up.length > 0 && !this.#paused) || this.#unsent > 0 || this.#kernel.length > 0;
	}

	/** What the client sent has reached the door. */
	get arrived(): boolean {
		return this.#up.length === 0;
	}

	#delay(): number {
		return this.#options.latencyMs * this.#random.fraction();
	}

	#pumpUp(): void {
		if (this.#upTimer || this.#over || this.#frozen || this.#paused) return;
		if (this.#up.length === 0 && !this.#upClosed) return;
		this.#upTimer = true;
		this.#clock.after(this.#delay(), () => {
			this.#upTimer = false;
			if (this.#over || this.#frozen || this.#paused) return;
			if (this.#up.length > 0) {
				const length = this.#pieceOf(this.#up.length);
				const chunk = Buffer.from(this.#up.subarray(0, length));
				this.#up = this.#up.subarray(length);
				this.#received(chunk);
			} else if (this.#upClosed) {
				this.#finish(true);
				return;
			}
			this.#pumpUp();
		});
	}

	#received(chunk: Buffer): void {
		this.#guard(() => this.handler?.received(chunk));
		chunk.fill(0xee);
	}

	#pieceOf(length: number): number {
		return this.#random.chance(0.7) ? length : this.#random.between(1, Math.min(length, this.#options.chunkBytes));
	}

	#pumpDown(): void {
		if (this.#downTimer || this.#over || this.#frozen || !this.reading) return;
		if (this.#kernel.length === 0 && this.#queued.length === 0 && !this.endedByDoor) return;
		this.#downTimer = true;
		this.#clock.after(this.#delay(), () => {
			this.#downTimer = false;
			if (this.#over || this.#frozen || !this.reading) return;
			this.#refill();
			if (this.#kernel.length > 0) {
				const length = this.#pieceOf(this.#kernel.length);
				const chunk = Buffer.from(this.#kernel.subarray(0, length));
				this.#kernel = this.#kernel.subarray(length);
				this.#refill();
				if (!this.left) this.#end.bytes(this, chunk);
			} else if (this.endedByDoor) {
				this.#finish(true);
				return;
			}
			this.#pumpDown();
		});
	}

	/** What waits in the door's buffers goes on its way as there is room. */
	#refill(): void {
		while (this.#queued.length > 0) {
			const room = this.#options.kernelBytes - this.#kernel.length;
			if (room <= 0) return;
			const first = this.#queued[0]!;
			const part = first.subarray(0, room);
			this.#kernel = Buffer.concat([this.#kernel, part]);
			this.#unsent -= part.length;
			if (part.length < first.length) this.#queued[0] = first.subarray(part.length);
			else this.#queued.shift();
		}
		if (!this.#needsDrain || this.#unsent > 0) return;
		this.#needsDrain = false;
		this.#clock.after(0, () => {
			if (!this.#over) this.#guard(() => this.handler?.drained());
		});
	}

	#finish(inOrder: boolean): void {
		if (this.#over) return;
		this.#over = true;
		this.#unsent = 0;
		this.#queued = [];
		const { handler } = this;
		if (!this.#dead && handler !== undefined) {
			this.#clock.after(this.#random.chance(0.5) ? 0 : this.#delay(), () => {
				if (this.#dead) return;
				this.#doorEnded();
				this.#guard(() => handler.closed());
			});
		}
		if (!this.left) this.#end.gone(this, inOrder);
	}
}
