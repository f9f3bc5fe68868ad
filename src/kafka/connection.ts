/**
 * One connection of the Kafka door: requests in, answers out in the order of the requests. What it can make the
 * gateway hold is bounded: so many requests and bytes of requests without an answer, so many bytes of answers that the
 * peer has not taken; beyond either, and while the broker is over its memory budget, it is not read from.
 */
import type { Socket } from "node:net";
import { Arrival } from "../base/arrival.ts";
import { FrameReader } from "../base/frames.ts";
import type { Broker } from "../broker/broker.ts";
import { AnswerQueue, type Place } from "./answer-queue.ts";
import { type Answer, type Dispatch, UnanswerableRequest } from "./dispatch.ts";
import type { Peer } from "./services.ts";

/** Requests without an answer, at most. */
const IN_FLIGHT_MAX = 256;
/** Memory of such requests beyond which no further one is begun. */
const IN_FLIGHT_BYTES = 4 * 1024 * 1024;
/** Bytes of answers held for the peer beyond which no further request is begun. */
const OUTPUT_FULL_BYTES = 256 * 1024;
/** How long one answer may take to be taken where others wait for memory. */
const PATIENCE_MS = 30_000;
/** How long a peer has to take its last answers, and to close. */
const LINGER_MS = 5_000;

/** What a connection needs of the door. */
export interface ConnectionHost {
	readonly broker: Broker;
	readonly dispatch: Dispatch;
	readonly maxRequestBytes: number;
	readonly idleTimeoutMs: number;
	requestBegun(): void;
	closed(connection: Connection): void;
}

export class Connection implements Peer {
	readonly host: string;
	readonly localHost: string;
	readonly principal = "User:ANONYMOUS";
	closed = false;
	readonly #socket: Socket;
	readonly #door: ConnectionHost;
	readonly #frames: FrameReader;
	/** Whole, and not begun before the earlier ones are answered. */
	#waiting: Buffer | undefined;
	readonly #answers: AnswerQueue;
	#accounted = 0;
	#arrivingBytes = 0;
	readonly #arrival: Arrival;
	#awaitsRelief = false;
	#inputEnded = false;
	#turnScheduled = false;
	#pumping = false;
	/** Nothing more is begun; it ends with the last answer. */
	#finishing = false;
	#ended = false;
	#activeMs: number;
	/** Since when the answers that are leaving take. */
	#leavingSinceMs: number | undefined;
	#endsAtMs = Number.POSITIVE_INFINITY;
	readonly #closeListeners = new Set<() => void>();

	constructor(socket: Socket, door: ConnectionHost) {
		this.#socket = socket;
		this.#door = door;
		this.host = plainAddress(socket.remoteAddress);
		this.localHost = plainAddress(socket.localAddress);
		this.#frames = new FrameReader(door.maxRequestBytes, refuseFrame);
		this.#answers = new AnswerQueue(socket, () => this.#sent());
		this.#arrival = new Arrival(door.broker.pressure, door.broker.clock, () => this.#setReading());
		this.#activeMs = this.#now();
		socket.setNoDelay(true);
		socket.setKeepAlive(true);
		socket.on("data", (chunk: Buffer) => this.#received(chunk));
		socket.on("end", () => this.#inputHasEnded());
		socket.on("close", () => this.#gone());
	}

	onClose(listener: () => void): () => void {
		// One of its own, should somebody listen twice.
		const own = (): void => listener();
		this.#closeListeners.add(own);
		return () => void this.#closeListeners.delete(own);
	}

	/** Begins no further request, answers those that are begun, and closes. */
	finish(): void {
		if (this.closed || this.#finishing) return;
		this.#finishing = true;
		this.#endsAtMs = this.#now() + LINGER_MS;
		this.#waiting = undefined;
		this.#arrival.over();
		if (this.#answers.waiting === 0) this.#end();
	}

	/** Closes when what is answered has left; who still waits for an answer gets none. */
	abandon(): void {
		this.finish();
		this.#answers.release();
		this.#end();
	}

	destroy(): void {
		this.#socket.destroy();
	}

	/** Called by the broker's memory budget. */
	relieved(): void {
		this.#awaitsRelief = false;
		this.#setReading();
	}

	/** Now and then: ends what is idle, or takes too long while others wait for memory. */
	look(othersWait: boolean): void {
		const now = this.#now();
		if (now >= this.#endsAtMs) {
			this.#socket.destroy();
			return;
		}
		if (this.#finishing) return;
		// Not read because too much is without an answer, or not durable: that is not the peer's fault.
		if (this.#awaitsRelief || !this.#mayBegin()) this.#arrival.excuse();
		const tooLong = (sinceMs: number | undefined) => sinceMs !== undefined && now - sinceMs >= PATIENCE_MS;
		if (othersWait && this.#arrival.tooSlow) this.#cut("a request arrives too slowly while others wait for memory");
		else if (othersWait && tooLong(this.#leavingSinceMs))
			this.#cut("answers are taken too slowly while others wait for memory");
		else if (this.#answers.waiting > 0 || this.#awaitsRelief || this.#arrival.waits) this.#activeMs = now;
		else if (now - this.#activeMs >= this.#door.idleTimeoutMs) this.#socket.destroy();
	}

	#received(chunk: Buffer): void {
		if (this.#finishing) return;
		this.#activeMs = this.#now();
		this.#frames.push(chunk);
		this.#pump();
	}

	/** Begins requests while that is allowed; then all answers that are there leave. */
	#pump(): void {
		if (this.#pumping || this.closed) return;
		this.#pumping = true;
		try {
			while (this.#mayBegin()) {
				const frame = this.#waiting ?? this.#frames.next();
				if (frame === undefined) break;
				if (this.#waiting === undefined) this.#arrival.over();
				this.#waiting = undefined;
				if (this.#answers.waiting > 0 && this.#door.dispatch.waitsForEarlier(frame)) {
					this.#waiting = frame;
					break;
				}
				this.#begin(frame);
			}
		} catch (error) {
			this.#violated(error);
		}
		this.#pumping = false;
		const { expectedBytes } = this.#frames;
		if (expectedBytes > 0 && !this.#finishing) this.#arrival.part(expectedBytes);
		this.#flush();
		this.#account();
		this.#setReading();
	}

	#mayBegin(): boolean {
		return (
			!this.#finishing &&
			this.#answers.waiting < IN_FLIGHT_MAX &&
			this.#answers.requestBytes < IN_FLIGHT_BYTES &&
			this.#answers.unsentBytes < OUTPUT_FULL_BYTES
		);
	}

	#begin(frame: Buffer): void {
		this.#door.requestBegun();
		const handled = this.#door.dispatch.handle(frame, this);
		if (handled === undefined || "parts" in handled) {
			this.#answers.add(handled);
			return;
		}
		const place = this.#answers.reserve(handled.requestBytes);
		handled.answer.then(
			(value) => this.#answered(place, value),
			(error: unknown) => {
				this.#answers.cutBehind(place);
				this.#violated(error);
				this.#answered(place, undefined);
			},
		);
	}

	#answered(place: Place, answer: Answer): void {
		const itsTurn = this.#answers.fill(place, answer);
		if (this.closed || this.#turnScheduled || !itsTurn) return;
		this.#turnScheduled = true;
		// Behind all promises that the same commit resolves: their answers leave in one write.
		process.nextTick(() => {
			this.#turnScheduled = false;
			this.#answers.release();
			this.#pump();
			if (this.#finishing && this.#answers.waiting === 0) this.#end();
		});
	}

	#flush(): void {
		if (this.closed || this.#ended) return;
		if (this.#answers.flush()) this.#leavingSinceMs ??= this.#now();
	}

	/** The peer's side of the socket has taken all that left at once. */
	#sent(): void {
		if (this.closed) return;
		this.#activeMs = this.#now();
		this.#leavingSinceMs = this.#socket.writableLength > 0 ? this.#activeMs : undefined;
		this.#account();
		if (this.#inputHeld()) this.#pump();
		else if (this.#inputEnded) this.#endIfDone();
		else this.#setReading();
	}

	#inputHeld(): boolean {
		return this.#waiting !== undefined || this.#frames.unreadBytes > 0;
	}

	#setReading(): void {
		if (this.closed || this.#finishing || this.#pumping) return;
		if (this.#inputEnded) {
			this.#endIfDone();
			return;
		}
		if (this.#mayRead()) this.#socket.resume();
		else this.#socket.pause();
	}

	#mayRead(): boolean {
		if (this.#inputHeld() || !this.#mayBegin()) return false;
		if (this.#arrival.waits) return false;
		// A request that is arriving is read to its end: only so does what is held of it become free.
		const readsOn = this.#frames.expectedBytes > 0;
		const { pressure } = this.#door.broker;
		if (!(readsOn ? pressure.full : pressure.over)) return true;
		this.#awaitsRelief = true;
		pressure.onRelief(this, readsOn);
		return false;
	}

	/** A peer that sends no more: what it has sent is still handled, as without acknowledgements it must be. */
	#inputHasEnded(): void {
		this.#inputEnded = true;
		this.#endsAtMs = Math.min(this.#endsAtMs, this.#now() + PATIENCE_MS);
		this.#pump();
		this.#endIfDone();
	}

	#endIfDone(): void {
		if (this.#answers.waiting === 0 && !this.#inputHeld()) this.finish();
	}

	#violated(error: unknown): void {
		if (!(error instanceof UnanswerableRequest)) {
			this.#door.broker.logger.error("the Kafka door failed at a request", { error: String(error) });
		}
		this.#log(error instanceof Error ? error.message : String(error));
		this.finish();
	}

	#cut(reason: string): void {
		this.#log(reason);
		this.#socket.destroy();
	}

	#log(reason: string): void {
		this.#door.broker.logger.info("a Kafka connection ends", { remote: this.host, reason });
	}

	#end(): void {
		if (this.#ended) return;
		this.#flush();
		this.#ended = true;
		this.#socket.end();
		// What the peer still sends is thrown away, lest the close become a reset that overtakes the last answer.
		this.#socket.resume();
		this.#account();
	}

	/** Tells the broker's memory budget what is held for this peer. */
	#account(): void {
		const arriving = this.closed ? 0 : this.#frames.heldBytes;
		const held = this.closed
			? 0
			: this.#answers.unsentBytes +
				this.#frames.unreadBytes +
				(this.#waiting?.length ?? 0) +
				this.#answers.requestBytes;
		const { pressure } = this.#door.broker;
		const more = held - this.#accounted;
		this.#accounted = held;
		const change = arriving - this.#arrivingBytes;
		this.#arrivingBytes = arriving;
		if (change !== 0) pressure.arriving(change);
		if (more > 0) pressure.add(more);
		else if (more < 0) pressure.subtract(-more);
	}

	#gone(): void {
		if (this.closed) return;
		this.closed = true;
		this.#finishing = true;
		this.#answers.close();
		this.#waiting = undefined;
		this.#arrival.over();
		this.#account();
		for (const listener of [...this.#closeListeners]) listener();
		this.#door.closed(this);
	}

	#now(): number {
		return this.#door.broker.clock.monotonic();
	}
}

/** A listener on all addresses sees those of IPv4 in IPv6's clothes. */
function plainAddress(address = ""): string {
	return address.replace(/^::ffff:(?=\d+\.)/, "");
}

function refuseFrame(bytes: number, maxBytes: number): UnanswerableRequest {
	if (bytes === 0) return new UnanswerableRequest("a request of no bytes");
	return new UnanswerableRequest(`a request of ${bytes} bytes where socket.request.max.bytes is ${maxBytes}`);
}
