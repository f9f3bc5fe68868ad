/**
 * One connection of the native door: frames in, hello first, answers out; when to read and when to push.
 * It reads on only while the broker is within its memory budget, the peer takes what it is sent, and not too many
 * requests wait for their answer; so what one connection can make the gateway hold is bounded. A frame that has arrived
 * in part is read to its end though the parts of all frames are over the budget; a large one once it has room.
 */
import type { Socket } from "node:net";
import { Arrival } from "../base/arrival.ts";
import type { Timer } from "../base/clock.ts";
import type { Broker } from "../broker/broker.ts";
import { answerFrame, errorFrame, wireError } from "./answers.ts";
import type { Decode } from "./codec/decode.ts";
import { FrameReader } from "./codec/frames.ts";
import {
	MAX_REQUESTS_IN_FLIGHT,
	MESSAGE,
	MIN_FRAME_BYTES,
	PRODUCER_WINDOW,
	PROTOCOL_VERSION_MAX,
	PROTOCOL_VERSION_MIN,
	ProtocolError,
} from "./codec/protocol.ts";
import { type Body, type Request, readRequest } from "./codec/requests.ts";
import type { CborValue } from "./codec/writer.ts";
import type { Producer, Producers } from "./producers.ts";
import type { Subscription } from "./subscription.ts";
import { TieredTurns } from "./tiered-turns.ts";

/** Output held for a peer beyond which nothing more is read from it or pushed to it. */
const OUTPUT_FULL_BYTES = 256 * 1024;

/** What a connection needs of the door. */
export interface ConnectionHost {
	readonly broker: Broker;
	readonly producers: Producers;
	readonly decode: Decode;
	readonly maxFrameBytes: number;
	readonly helloTimeoutMs: number;
	readonly idleTimeoutMs: number;
	readonly token: string | undefined;
	readonly software: string;
	/** Answers a request, now or later, by `connection.answer` or `connection.refuse`. May throw. */
	handle(connection: Connection, request: Request): void;
	closed(connection: Connection): void;
}

/** The place of a produce request's answer among the others of its connection. */
export interface AnswerPlace {
	frame: Buffer | undefined;
}

/** A request that is answered later, and may be cut short. */
export interface Waiting {
	/** The door closes. */
	answerNow(): void;
	/** The connection has gone: no answer. */
	cancel(): void;
}

export class Connection {
	readonly host: ConnectionHost;
	readonly subscriptions = new Map<number, Subscription>();
	/** Ids of subscriptions whose first offset is still looked for. */
	readonly beginning = new Set<number>();
	/** Reads of the object store. */
	readonly tiered = new TieredTurns();
	/** Long polls that wait for a record, and what else goes on for long. */
	readonly waiting = new Set<Waiting>();
	readonly remote: string;
	producer: Producer | undefined;
	/** The largest frame that the peer takes, bytes without its length. */
	peerFrameBytes = MIN_FRAME_BYTES;
	closed = false;
	readonly #socket: Socket;
	readonly #frames: FrameReader;
	#timer: Timer;
	#idleMs: number;
	#greeted = false;
	#ending = false;
	#halfClosed = false;
	#pumping = false;
	readonly #arrival: Arrival;
	#inFlight = 0;
	#lastInputMs: number;
	#flushedBytes = 0;
	#out: Buffer[] = [];
	#outBytes = 0;
	#flushing = false;
	#accounted = 0;
	#arrivingBytes = 0;
	#produceAnswers: AnswerPlace[] = [];
	#reading: Promise<unknown> = Promise.resolve();
	#writable: (() => void)[] = [];

	constructor(socket: Socket, host: ConnectionHost) {
		this.#socket = socket;
		this.host = host;
		this.remote = `${socket.remoteAddress}:${socket.remotePort}`;
		this.#frames = new FrameReader(MIN_FRAME_BYTES);
		this.#arrival = new Arrival(host.broker.pressure, host.broker.clock, () => this.#readOn());
		this.#idleMs = host.idleTimeoutMs;
		this.#lastInputMs = host.broker.clock.monotonic();
		this.#timer = host.broker.clock.after(host.helloTimeoutMs, () => this.#helloMissing());
		socket.setNoDelay(true);
		socket.on("data", (chunk: Buffer) => this.#received(chunk));
		socket.on("drain", () => this.#drained());
		socket.on("error", () => {});
		socket.on("end", () => this.#inputEnded());
		socket.on("close", () => this.#gone());
	}

	/** True while there is room to push to the peer. */
	get canPush(): boolean {
		return !this.closed && !this.#ending && this.#outBytes + this.#socket.writableLength < OUTPUT_FULL_BYTES;
	}

	/** Resolves when there is room to push, or the connection has gone. */
	whenWritable(): Promise<void> {
		if (this.canPush || this.closed || this.#ending) return Promise.resolve();
		return new Promise((resolve) => this.#writable.push(resolve));
	}

	/** Reads of the log one after the other, so that a connection holds the bytes of one at a time. */
	inTurn<T>(task: () => Promise<T>): Promise<T> {
		const result = this.#reading.then(task);
		this.#reading = result.then(
			() => undefined,
			() => undefined,
		);
		return result;
	}

	/** Sends a frame that answers no request. All frames of one turn leave in one write. */
	push(frame: Buffer): void {
		if (this.closed || this.#ending) return;
		this.#write(frame);
	}

	/** Answers a request; a body whose keys are integers. */
	answerFields(id: number, type: number, fields: ReadonlyMap<number, CborValue>): void {
		const frame = answerFrame(type, id, fields);
		this.answerWith(this.#fits(frame) ? frame : this.#tooLarge(id, frame));
	}

	/** Sends a whole frame as the answer to a request. */
	answerWith(frame: Buffer): void {
		this.#inFlight--;
		if (this.closed) return;
		this.#write(frame);
		if (this.#halfClosed && this.#inFlight === 0) this.end();
		this.#readOn();
	}

	refuse(id: number, error: unknown): void {
		const { code, message } = wireError(error);
		if (code === "UNKNOWN_SERVER_ERROR") {
			this.host.broker.logger.error("a request of the native door failed", {
				remote: this.remote,
				error: String(error),
			});
		}
		this.answerWith(errorFrame(id, code, message));
	}

	/** Keeps the place of a produce's answer: they leave in the order of the requests. */
	reserveAnswer(): AnswerPlace {
		const place: AnswerPlace = { frame: undefined };
		this.#produceAnswers.push(place);
		return place;
	}

	fillAnswer(place: AnswerPlace, frame: Buffer): void {
		place.frame = frame;
		const queue = this.#produceAnswers;
		let ready = 0;
		while (queue[ready]?.frame !== undefined) ready++;
		for (const { frame } of queue.splice(0, ready)) this.answerWith(frame as Buffer);
	}

	/** Tells the peer why, and ends the connection. */
	fail(code: string, message: string): void {
		if (this.closed || this.#ending) return;
		this.host.broker.logger.info("a native connection ends", { remote: this.remote, code, reason: message });
		this.#write(errorFrame(0, code, message));
		this.end();
	}

	/** Another connection has taken the client id over. */
	fenced(): void {
		this.producer = undefined;
		this.fail(
			"INVALID_PRODUCER_EPOCH",
			"another connection produces with this client id; every producer needs an id of its own",
		);
	}

	/** Ends the connection once what is written has left; the peer has the idle time to take it. */
	end(): void {
		if (this.#ending || this.closed) return;
		this.#ending = true;
		this.#timer.cancel();
		this.#arrival.over();
		this.#flush();
		this.#socket.end();
		// What the peer still sends is thrown away, lest the close become a reset that overtakes the last answer.
		this.#socket.resume();
		this.#timer = this.host.broker.clock.after(Math.min(this.#idleMs, 5_000), () => this.#socket.destroy());
		for (const resolve of this.#writable.splice(0)) resolve();
	}

	/** Requests without an answer. */
	get inFlight(): number {
		return this.#inFlight;
	}

	/** Answers waiting long polls at once: the door closes. */
	stopWaiting(): void {
		for (const each of [...this.waiting]) each.answerNow();
	}

	destroy(): void {
		this.#socket.destroy();
	}

	/** Now and then: ends who takes too long over a frame while others wait for memory. */
	look(othersWait: boolean): void {
		// Not read because the gateway is busy: that is not the peer's fault.
		if (this.#socket.isPaused()) this.#arrival.excuse();
		else if (othersWait && this.#arrival.tooSlow) {
			this.fail("REQUEST_TIMED_OUT", "a frame arrives too slowly while others wait for memory");
		}
	}

	#received(chunk: Buffer): void {
		if (this.#ending || this.closed) return;
		this.#lastInputMs = this.host.broker.clock.monotonic();
		this.#frames.push(chunk);
		this.#pump();
	}

	/** Takes frames while that is allowed. */
	#pump(): void {
		if (this.#pumping) return;
		this.#pumping = true;
		try {
			while (this.#mayRead()) {
				const frame = this.#frames.next();
				if (frame === undefined) break;
				this.#arrival.over();
				this.#frame(frame);
			}
		} catch (error) {
			if (!(error instanceof ProtocolError)) {
				this.host.broker.logger.error("the native door failed at a frame", { error: String(error) });
			}
			const { code, message } = wireError(error);
			this.fail(code, message);
		} finally {
			this.#pumping = false;
		}
		const { expectedBytes } = this.#frames;
		if (expectedBytes > 0 && !this.#ending && !this.closed) this.#arrival.part(expectedBytes);
		this.#account();
		if (this.#ending || this.closed) return;
		if (!this.#mayRead()) this.#socket.pause();
		else if (this.#socket.isPaused()) this.#socket.resume();
	}

	#mayRead(): boolean {
		if (this.closed || this.#ending) return false;
		if (this.#outBytes + this.#socket.writableLength >= OUTPUT_FULL_BYTES) return false;
		if (this.#inFlight >= MAX_REQUESTS_IN_FLIGHT) return false;
		if (this.#arrival.waits) return false;
		// A frame that is arriving is read to its end: only so does what is held of it become free.
		const readsOn = this.#frames.expectedBytes > 0;
		const { pressure } = this.host.broker;
		if (!(readsOn ? pressure.full : pressure.over)) return true;
		pressure.onRelief(this, readsOn);
		return false;
	}

	/** Called by the broker's pressure. */
	relieved(): void {
		this.#readOn();
	}

	#readOn(): void {
		if (this.#pumping || this.#ending || this.closed || !this.#socket.isPaused()) return;
		this.#lastInputMs = this.host.broker.clock.monotonic();
		this.#pump();
	}

	#frame(frame: Buffer): void {
		const request = readRequest(this.host.decode(frame));
		if (!this.#greeted) {
			if (request.type !== MESSAGE.HELLO) {
				throw new ProtocolError("INVALID_REQUEST", "the first request of a connection has to be hello");
			}
			this.#hello(request.id, request.body);
			return;
		}
		if (request.type === MESSAGE.HELLO) throw new ProtocolError("INVALID_REQUEST", "a second hello on one connection");
		if (request.type !== MESSAGE.CREDIT) this.#inFlight++;
		try {
			this.host.handle(this, request);
		} catch (error) {
			if (error instanceof ProtocolError) throw error;
			this.refuse(request.id, error);
		}
	}

	#hello(id: number, body: Body): void {
		const lowest = body.get(0) as number;
		const highest = body.get(1) as number;
		const version = Math.min(highest, PROTOCOL_VERSION_MAX);
		if (version < PROTOCOL_VERSION_MIN || version < lowest) {
			throw new ProtocolError(
				"UNSUPPORTED_VERSION",
				`this gateway speaks versions ${PROTOCOL_VERSION_MIN} to ${PROTOCOL_VERSION_MAX} of the native protocol, ` +
					`the client ${lowest} to ${highest}: update the older of the two`,
			);
		}
		const { token } = this.host;
		if (token !== undefined && !sameText(token, (body.get(4) as string | undefined) ?? "")) {
			throw new ProtocolError("SASL_AUTHENTICATION_FAILED", "the token is missing or wrong");
		}
		const clientId = body.get(2) as string | undefined;
		if (clientId?.includes("\0")) throw new ProtocolError("INVALID_REQUEST", "the client id holds a NUL character");
		this.#idleMs = (body.get(5) as number | undefined) ?? this.host.idleTimeoutMs;
		this.peerFrameBytes = Math.min(
			(body.get(6) as number | undefined) ?? this.host.maxFrameBytes,
			this.host.maxFrameBytes,
		);
		const producer =
			clientId === undefined
				? undefined
				: this.host.producers.attach(clientId, body.get(7) as number | undefined, this);
		if (clientId !== undefined && producer === undefined) {
			throw new ProtocolError(
				"INVALID_PRODUCER_EPOCH",
				"another connection has produced with this client id since; every producer needs an id of its own",
			);
		}
		this.producer = producer;
		this.#greeted = true;
		this.#frames.maxBytes = this.host.maxFrameBytes;
		this.#timer.cancel();
		this.#watchIdle(this.#idleMs);
		const answer = () => {
			const fields = new Map<number, CborValue>([
				[0, version],
				[1, this.host.software],
				[2, this.host.maxFrameBytes],
				[3, this.#idleMs],
				[4, MAX_REQUESTS_IN_FLIGHT],
				[5, this.host.broker.clock.now()],
			]);
			if (producer !== undefined) fields.set(6, producer.epoch).set(7, producer.lastSequence).set(8, PRODUCER_WINDOW);
			this.#inFlight++;
			this.answerWith(answerFrame(MESSAGE.HELLO, id, fields));
		};
		// The last sequence is told only once it is durable.
		if (producer === undefined || producer.uncommitted.size === 0) answer();
		else producer.uncommitted.get(producer.lastSequence)?.push(answer);
	}

	/** A peer that sends no more still gets the answers it waits for. */
	#inputEnded(): void {
		this.#halfClosed = true;
		if (this.#inFlight === 0) this.end();
	}

	#helloMissing(): void {
		this.fail("REQUEST_TIMED_OUT", `no hello within ${this.host.helloTimeoutMs} ms`);
	}

	#watchIdle(delayMs: number): void {
		this.#timer = this.host.broker.clock.after(delayMs, () => this.#checkIdle());
	}

	/** Idle is a peer that sends nothing. One that is not read, because the gateway is busy or it takes its answers slowly, is not. */
	#checkIdle(): void {
		const now = this.host.broker.clock.monotonic();
		const flushed = this.#socket.bytesWritten - this.#socket.writableLength;
		const outputFull = this.#outBytes + this.#socket.writableLength >= OUTPUT_FULL_BYTES;
		const heldUp = this.#socket.isPaused() && !outputFull;
		if (heldUp || (outputFull && flushed !== this.#flushedBytes)) this.#lastInputMs = now;
		this.#flushedBytes = flushed;
		const leftMs = this.#lastInputMs + this.#idleMs - now;
		if (leftMs > 0) {
			this.#watchIdle(Math.max(leftMs, 1));
			return;
		}
		this.fail("REQUEST_TIMED_OUT", `nothing was heard for ${this.#idleMs} ms; send a ping in time`);
	}

	#fits(frame: Buffer): boolean {
		return frame.length - 4 <= this.peerFrameBytes;
	}

	#tooLarge(id: number, frame: Buffer): Buffer {
		return errorFrame(
			id,
			"MESSAGE_TOO_LARGE",
			`the answer takes ${frame.length - 4} bytes and the client's largest frame is ${this.peerFrameBytes}`,
		);
	}

	#write(frame: Buffer): void {
		this.#out.push(frame);
		this.#outBytes += frame.length;
		if (this.#flushing) return;
		this.#flushing = true;
		queueMicrotask(() => this.#flush());
	}

	#flush(): void {
		this.#flushing = false;
		if (this.closed || this.#out.length === 0) return;
		const out = this.#out;
		this.#out = [];
		this.#outBytes = 0;
		const last = out.pop() as Buffer;
		this.#socket.cork();
		for (const frame of out) this.#socket.write(frame);
		this.#socket.write(last, () => this.#account());
		this.#socket.uncork();
		this.#account();
		if (this.#socket.writableLength < OUTPUT_FULL_BYTES) this.#drained();
	}

	#drained(): void {
		if (this.closed) return;
		this.#account();
		if (!this.canPush) return;
		for (const resolve of this.#writable.splice(0)) resolve();
		for (const subscription of this.subscriptions.values()) subscription.writable();
		this.#readOn();
	}

	/** Tells the broker's memory budget what is held for this peer. */
	#account(): void {
		const held = this.closed ? 0 : this.#socket.writableLength;
		const arriving = this.closed ? 0 : this.#frames.heldBytes;
		const { pressure } = this.host.broker;
		if (arriving !== this.#arrivingBytes) pressure.arriving(arriving - this.#arrivingBytes);
		this.#arrivingBytes = arriving;
		if (held > this.#accounted) pressure.add(held - this.#accounted);
		else if (held < this.#accounted) pressure.subtract(this.#accounted - held);
		this.#accounted = held;
	}

	#gone(): void {
		if (this.closed) return;
		this.closed = true;
		this.#timer.cancel();
		this.#arrival.over();
		this.#account();
		this.#out = [];
		this.#produceAnswers = [];
		this.beginning.clear();
		for (const subscription of [...this.subscriptions.values()]) subscription.close();
		for (const each of [...this.waiting]) each.cancel();
		for (const resolve of this.#writable.splice(0)) resolve();
		if (this.producer) this.host.producers.detach(this.producer, this);
		this.host.closed(this);
	}
}

function sameText(expected: string, given: string): boolean {
	const a = Buffer.from(expected);
	const b = Buffer.from(given);
	// Loaded only where a token is asked for: it costs 2 MB resident.
	const { timingSafeEqual } = process.getBuiltinModule("node:crypto");
	return a.length === b.length && timingSafeEqual(a, b);
}
