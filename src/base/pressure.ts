/**
 * The budget for bytes in flight: received and not yet durable, or sent and not yet taken by a
 * peer. Over it, doors stop reading their sockets, so that TCP slows the senders down; nothing is
 * queued without bound.
 *
 * A request that has arrived in part counts too, but becomes free only when the rest of it is read. So parts are no
 * reason not to read the rest of one, whatever they take together: that is bounded by the room for large ones, half the
 * budget, without which none is read on.
 */
import { InputRoom } from "./input-room.ts";

export interface ReliefListener {
	relieved(): void;
}

export class Pressure {
	readonly budgetBytes: number;
	/** For large requests of all doors. */
	readonly room: InputRoom;
	#bytes = 0;
	/** Of these: parts of requests. */
	#arrivingBytes = 0;
	#held = 0;
	#waiting = new Set<ReliefListener>();
	#waitingToReadOn = new Set<ReliefListener>();

	constructor(budgetBytes: number) {
		this.budgetBytes = budgetBytes;
		this.room = new InputRoom(budgetBytes / 2);
	}

	/** Bytes in flight now. */
	get bytes(): number {
		return this.#bytes;
	}

	/** Stop reading your sockets, but for the rest of a request that has arrived in part. */
	get over(): boolean {
		return this.#bytes > this.budgetBytes || this.#held > 0;
	}

	/** Do not read that either: what is not waiting for its rest is over the budget, and becomes free without it. */
	get full(): boolean {
		return this.#bytes - this.#arrivingBytes > this.budgetBytes || this.#held > 0;
	}

	/** Whether somebody is kept from going on by what others hold. */
	get othersWait(): boolean {
		return this.over || this.room.short;
	}

	add(bytes: number): void {
		this.#bytes += bytes;
	}

	subtract(bytes: number): void {
		this.#bytes -= bytes;
		this.#relieve();
	}

	/** As `add` and `subtract`, for the part of a request that has arrived; a negative `change` when it is whole, or given up. */
	arriving(change: number): void {
		this.#arrivingBytes += change;
		this.#bytes += change;
		if (change < 0) this.#relieve();
	}

	/** Holds everybody back whatever the bytes, until `letGo`. */
	hold(): void {
		this.#held += 1;
	}

	letGo(): void {
		this.#held -= 1;
		this.#relieve();
	}

	/**
	 * `relieved` is called once, when reading may go on: at half the budget, so that it does not flutter. `readsOn`: it
	 * waits while `full`, with a part of a request; else while `over`. Who asks again waits for what it asked for last.
	 */
	onRelief(listener: ReliefListener, readsOn = false): void {
		(readsOn ? this.#waiting : this.#waitingToReadOn).delete(listener);
		(readsOn ? this.#waitingToReadOn : this.#waiting).add(listener);
	}

	/** Once in a while: what slow peers hold may keep the bytes above the half for ever, and then the budget itself must do. */
	ease(): void {
		if (!this.full) this.#letReadOn();
		if (!this.over) this.#letAllGo();
	}

	#relieve(): void {
		if (this.#held > 0) return;
		const half = this.budgetBytes / 2;
		if (this.#waitingToReadOn.size > 0 && this.#bytes - this.#arrivingBytes <= half) this.#letReadOn();
		if (this.#waiting.size > 0 && this.#bytes <= half) this.#letAllGo();
	}

	#letReadOn(): void {
		const waiting = this.#waitingToReadOn;
		this.#waitingToReadOn = new Set();
		for (const listener of waiting) listener.relieved();
	}

	#letAllGo(): void {
		const waiting = this.#waiting;
		this.#waiting = new Set();
		for (const listener of waiting) listener.relieved();
	}
}
