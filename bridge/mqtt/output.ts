/**
 * All that a connection writes. Packets of one turn of the event loop leave in one write; acknowledgements gather apart
 * and leave when the commit which they wait for is durable, again in one write. Buffers are reused as soon as
 * the operating system has taken the bytes; a connection at rest has none.
 */
import type { Pressure } from "../../src/base/pressure.ts";
import { OutputBuffers } from "./output-buffers.ts";
import { Traffic } from "./stats.ts";
import { OUTPUT_HIGH_BYTES, type Transport } from "./transport.ts";

/** The output of all connections together: what waits in sockets counts in the memory budget, and has its own bound. */
export class OutputBudget {
	/** Bytes that all sockets have queued. */
	unsentBytes = 0;
	/** Bytes of packets that all connections have gathered: for the turn's end, or for a commit. */
	gatheredBytes = 0;
	readonly limitBytes: number;
	readonly pressure: Pressure;
	readonly traffic: Traffic;
	readonly buffers = new OutputBuffers();

	/** What has not been taken by the operating system. */
	get outstandingBytes(): number {
		return this.unsentBytes + this.gatheredBytes;
	}

	constructor(pressure: Pressure, limitBytes: number, traffic = new Traffic()) {
		this.pressure = pressure;
		this.limitBytes = limitBytes;
		this.traffic = traffic;
	}
}

const NONE = Buffer.alloc(0);
/** Of all that wait for no commit; never written to. */
const NO_SEGMENTS: number[] = [];
/** Acknowledgement buffers up to this size stay with their connection between commits. */
const KEPT_ACK_BYTES = 256;

export class Output {
	readonly #transport: Transport;
	readonly #budget: OutputBudget;
	/** What the budget has been told of; and had been, at the last sweep. */
	#countedBytes = 0;
	#sweptBytes = 0;
	#movedTick = 0;

	/** The packets of this turn: buffer[0..length). */
	buffer: Buffer = NONE;
	#length = 0;

	/** Acknowledgements: [sent..released) may leave, [released..end) wait for a commit. */
	#acks: Buffer = NONE;
	#ackReleased = 0;
	#ackEnd = 0;
	/** Per registration with the log, oldest first: bytes, then publishes answered for good. */
	#segments = NO_SEGMENTS;
	#markedEnd = 0;
	#openAnswers = 0;

	constructor(transport: Transport, budget: OutputBudget) {
		this.#transport = transport;
		this.#budget = budget;
	}

	/** The peer does not read as fast as it is written to: nothing more for it now. */
	get blocked(): boolean {
		const unsent = this.#transport.unsentBytes + this.#length + this.#ackEnd;
		if (unsent >= OUTPUT_HIGH_BYTES) return true;
		const { outstandingBytes, limitBytes } = this.#budget;
		return unsent > 0 && outstandingBytes > limitBytes; // who reads is not held up by those who do not
	}

	/** Whether a packet of more than OUTPUT_HIGH_BYTES has to wait until others have left. */
	get refusesLarge(): boolean {
		const { outstandingBytes, limitBytes } = this.#budget;
		return outstandingBytes > limitBytes;
	}

	/** Room for a packet of `bytes` in `buffer`, from the position returned. The caller fills all of it. */
	reserve(bytes: number): number {
		const at = this.#length;
		const end = at + bytes;
		if (end > this.buffer.length) {
			if (at > 0 && end > OUTPUT_HIGH_BYTES) {
				this.flush();
				return this.reserve(bytes);
			}
			const { buffers } = this.#budget;
			const grown = buffers.take(end);
			this.buffer.copy(grown, 0, 0, at);
			buffers.give(this.buffer);
			this.buffer = grown;
		}
		this.#length = end;
		this.#budget.gatheredBytes += bytes;
		this.#budget.traffic.packetsSent++;
		return at;
	}

	/** A whole packet. */
	packet(bytes: Buffer): void {
		const at = this.reserve(bytes.length);
		bytes.copy(this.buffer, at);
	}

	/** PUBACK, PUBREC, PUBREL or PUBCOMP without reason or properties: the same four bytes in every version. */
	response(firstByte: number, packetId: number): void {
		const at = this.reserve(4);
		const { buffer } = this;
		buffer[at] = firstByte;
		buffer[at + 1] = 2;
		buffer[at + 2] = packetId >>> 8;
		buffer[at + 3] = packetId & 0xff;
	}

	get pending(): boolean {
		return this.#length > 0;
	}

	/** Writes this turn's packets. */
	flush(): void {
		const length = this.#length;
		if (length === 0) return;
		this.#length = 0;
		this.#budget.gatheredBytes -= length;
		this.#budget.traffic.bytesSent += length;
		const { buffer } = this;
		const taken = this.#transport.write(length === buffer.length ? buffer : buffer.subarray(0, length));
		if (taken) this.#budget.buffers.give(buffer);
		this.buffer = NONE;
		this.account();
	}

	/** Once a second: a connection at rest holds no memory. */
	swept(tick: number): void {
		this.account();
		if (this.#countedBytes === 0 || this.#countedBytes < this.#sweptBytes) this.#movedTick = tick;
		this.#sweptBytes = this.#countedBytes;
		if (this.#ackEnd > 0) return;
		this.#acks = NONE;
		if (this.#segments.length === 0) this.#segments = NO_SEGMENTS;
	}

	/** As `response`, once the commit being gathered is durable; hot path. */
	responseOnCommit(firstByte: number, packetId: number): void {
		let at = this.#ackEnd;
		if (at + 4 > this.#acks.length) at = this.#makeAckRoom(4);
		const acks = this.#acks;
		acks[at] = firstByte;
		acks[at + 1] = 2;
		acks[at + 2] = packetId >>> 8;
		acks[at + 3] = packetId & 0xff;
		this.#ackEnd = at + 4;
		this.#budget.gatheredBytes += 4;
		this.#budget.traffic.packetsSent++;
	}

	/** A whole packet, once the commit being gathered is durable. */
	packetOnCommit(bytes: Buffer): void {
		let at = this.#ackEnd;
		if (at + bytes.length > this.#acks.length) at = this.#makeAckRoom(bytes.length);
		bytes.copy(this.#acks, at);
		this.#ackEnd = at + bytes.length;
		this.#budget.gatheredBytes += bytes.length;
		this.#budget.traffic.packetsSent++;
	}

	/** Room for a packet of `bytes` that leaves once the commit being gathered is durable, in `onCommitBuffer` from the position returned. */
	reserveOnCommit(bytes: number): number {
		const at = this.#ackEnd + bytes > this.#acks.length ? this.#makeAckRoom(bytes) : this.#ackEnd;
		this.#ackEnd = at + bytes;
		this.#budget.gatheredBytes += bytes;
		this.#budget.traffic.packetsSent++;
		return at;
	}

	/** Valid until the next call of anything here. */
	get onCommitBuffer(): Buffer {
		return this.#acks;
	}

	/** One publish of the peer counts as answered when the commit being gathered is durable (Receive Maximum). */
	answeredOnCommit(): void {
		this.#openAnswers++;
	}

	/** Bytes that wait for commits. */
	get heldBytes(): number {
		return this.#ackEnd;
	}

	/** Whether anything was added for the commit being gathered since the last `mark`. */
	get unmarked(): boolean {
		return this.#ackEnd > this.#markedEnd || this.#openAnswers > 0;
	}

	/** What was added since the last mark waits for one call of `release`. */
	mark(): void {
		if (this.#segments === NO_SEGMENTS) this.#segments = [];
		this.#segments.push(this.#ackEnd - this.#markedEnd, this.#openAnswers);
		this.#markedEnd = this.#ackEnd;
		this.#openAnswers = 0;
	}

	/** The oldest mark's commit is durable. Returns how many publishes it answered; `flushAcks` sends. */
	release(): number {
		if (this.#segments.length === 0) return 0;
		const bytes = this.#segments.shift()!;
		const answers = this.#segments.shift()!;
		this.#ackReleased += bytes;
		return answers;
	}

	/** The newest mark's commit is durable, and so all before. */
	releaseAll(): void {
		while (this.#segments.length > 0) this.release();
	}

	/** Sends all that is released, in one write. */
	flushAcks(): void {
		const released = this.#ackReleased;
		if (released === 0) return;
		this.#budget.traffic.bytesSent += released;
		this.#budget.gatheredBytes -= released;
		const acks = this.#acks;
		const end = this.#ackEnd;
		const taken = this.#transport.write(acks.subarray(0, released));
		const rest = end - released;
		if (rest > 0) {
			// Acknowledgements of the next commit move to the front, of this buffer if it is free again.
			const into = taken ? acks : Buffer.allocUnsafe(acks.length);
			acks.copy(into, 0, released, end);
			this.#acks = into;
		} else if (!taken || acks.length > KEPT_ACK_BYTES) {
			this.#acks = NONE;
		}
		this.#ackReleased = 0;
		this.#ackEnd = rest;
		this.#markedEnd -= released;
		this.account();
	}

	#makeAckRoom(bytes: number): number {
		const end = this.#ackEnd;
		const grown = Buffer.allocUnsafe(Math.max(32, this.#acks.length * 2, end + bytes));
		this.#acks.copy(grown, 0, 0, end);
		this.#acks = grown;
		return end;
	}

	/** Seconds at `tick` that the peer has taken nothing of what waits for it. */
	stuckFor(tick: number): number {
		return this.#countedBytes === 0 ? 0 : tick - this.#movedTick;
	}

	/** Tells the budget what waits in the socket now. */
	account(): void {
		const unsent = this.#transport.unsentBytes;
		const change = unsent - this.#countedBytes;
		if (change === 0) return;
		this.#countedBytes = unsent;
		this.#budget.unsentBytes += change;
		if (change > 0) this.#budget.pressure.add(change);
		else this.#budget.pressure.subtract(-change);
	}

	/** The connection is gone: nothing is held any more. */
	discard(): void {
		const counted = this.#countedBytes;
		this.#countedBytes = 0;
		if (counted > 0) {
			this.#budget.unsentBytes -= counted;
			this.#budget.pressure.subtract(counted);
		}
		this.#budget.gatheredBytes -= this.#length + this.#ackEnd;
		this.buffer = NONE;
		this.#length = 0;
		this.#acks = NONE;
		this.#ackReleased = 0;
		this.#ackEnd = 0;
		this.#markedEnd = 0;
		this.#openAnswers = 0;
		this.#segments = NO_SEGMENTS;
	}
}
