/**
 * The budget for bytes in flight: received and not yet durable, or sent and not yet taken by a
 * peer. Over it, doors stop reading their sockets, so that TCP slows the senders down; nothing is
 * queued without bound.
 */
export interface ReliefListener {
	relieved(): void;
}

export class Pressure {
	readonly budgetBytes: number;
	#bytes = 0;
	#held = 0;
	#waiting: ReliefListener[] = [];

	constructor(budgetBytes: number) {
		this.budgetBytes = budgetBytes;
	}

	/** Bytes in flight now. */
	get bytes(): number {
		return this.#bytes;
	}

	/** Stop reading your sockets. */
	get over(): boolean {
		return this.#bytes > this.budgetBytes || this.#held > 0;
	}

	add(bytes: number): void {
		this.#bytes += bytes;
	}

	subtract(bytes: number): void {
		this.#bytes -= bytes;
		if (this.#waiting.length > 0) this.#relieve();
	}

	/** Holds everybody back whatever the bytes, until `letGo`. */
	hold(): void {
		this.#held += 1;
	}

	letGo(): void {
		this.#held -= 1;
		this.#relieve();
	}

	/** `relieved` is called once, when reading may go on: at half the budget, so that it does not flutter. */
	onRelief(listener: ReliefListener): void {
		this.#waiting.push(listener);
	}

	/** Once in a while: what slow peers hold may keep the bytes above the half for ever, and then the budget itself must do. */
	ease(): void {
		if (!this.over) this.#letAllGo();
	}

	#relieve(): void {
		if (this.#held === 0 && this.#bytes <= this.budgetBytes / 2) this.#letAllGo();
	}

	#letAllGo(): void {
		const waiting = this.#waiting;
		this.#waiting = [];
		for (const listener of waiting) listener.relieved();
	}
}
