/** A transport in memory: what the connection writes is kept, and whether the peer reads is for the test to say. */
import { OUTPUT_HIGH_BYTES, type Transport, type TransportHandler } from "../../../bridge/mqtt/transport.ts";

export class MemoryTransport implements Transport {
	readonly peer = "memory";
	readonly written: Buffer[] = [];
	unsentBytes = 0;
	paused = false;
	/** The connection has ended it; the peer sees the end once `deliverEnd` was called. */
	ending = false;
	closed = false;
	#slow = false;
	#wasFull = false;
	#handler!: TransportHandler;

	attach(handler: TransportHandler): void {
		this.#handler = handler;
	}

	write(bytes: Buffer): boolean {
		if (this.ending || this.closed) return true;
		this.written.push(Buffer.from(bytes));
		if (!this.#slow) return true;
		this.unsentBytes += bytes.length;
		if (this.unsentBytes >= OUTPUT_HIGH_BYTES) this.#wasFull = true;
		return false;
	}

	pause(): void {
		this.paused = true;
	}

	resume(): void {
		this.paused = false;
	}

	end(): void {
		this.ending = true;
	}

	destroy(): void {
		this.ending = true;
		this.unsentBytes = 0;
	}

	/** What a peer sends while it is not read stays with the operating system: false. */
	receive(chunk: Buffer): boolean {
		if (this.paused || this.closed) return false;
		// The handler may keep nothing of it: it sees other bytes there afterwards.
		const lent = Buffer.from(chunk);
		this.#handler.received(lent);
		lent.fill(0xa5);
		return true;
	}

	/** The peer stops reading, or reads all there is and goes on. */
	set slow(slow: boolean) {
		this.#slow = slow;
		if (slow) return;
		this.unsentBytes = 0;
		if (!this.#wasFull || this.closed) return;
		this.#wasFull = false;
		this.#handler.drained();
	}

	/** The end that the connection asked for takes place. */
	deliverEnd(): void {
		if (this.ending && this.unsentBytes === 0) this.close();
	}

	/** The peer goes, or the network does. */
	close(): void {
		if (this.closed) return;
		this.closed = true;
		this.unsentBytes = 0;
		this.#handler.closed();
	}
}
