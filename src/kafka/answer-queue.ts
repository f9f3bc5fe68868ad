/**
 * The answers of one connection: they leave in the order of the requests, whenever each becomes known, and those that
 * are known at the same time leave in one write. It counts what it holds: requests without an answer, and answers that
 * the peer has not taken.
 */
import type { Socket } from "node:net";
import type { Answer } from "./dispatch.ts";

/** Answers that leave at once are put together up to here; beyond, each part is handed to the socket as it is. */
const GATHERED_BYTES = 64 * 1024;

/** A request's place in the order of answers. */
export interface Place {
	/** Memory of the request. */
	readonly bytes: number;
	answered: boolean;
	answer: Answer;
}

export class AnswerQueue {
	readonly #socket: Socket;
	readonly #sent: () => void;
	#places: Place[] = [];
	#requestBytes = 0;
	/** Of answers whose turn has not come. */
	#earlyBytes = 0;
	#out: Uint8Array[] = [];
	#outBytes = 0;
	/** Of what is in `#out`, to be called when it has left. */
	#outSent: (() => void)[] = [];
	#isClosed = false;

	/** `sent` is called when the peer's side of the socket has taken what left at once. */
	constructor(socket: Socket, sent: () => void) {
		this.#socket = socket;
		this.#sent = sent;
	}

	/** Requests that are not answered, and requests whose answers wait for theirs. */
	get waiting(): number {
		return this.#places.length;
	}

	/** Memory of the requests that are not answered. */
	get requestBytes(): number {
		return this.#requestBytes;
	}

	/** Bytes of answers that the peer has not taken. */
	get unsentBytes(): number {
		return this.#earlyBytes + this.#outBytes + this.#socket.writableLength;
	}

	/** The answer of the newest request, known at once. */
	add(answer: Answer): void {
		if (this.#places.length === 0) this.#put(answer);
		else {
			this.#places.push({ bytes: 0, answered: true, answer });
			this.#earlyBytes += sizeOf(answer);
		}
	}

	/** Keeps the place of the newest request, which takes `bytes` bytes of memory, for an answer that comes later. */
	reserve(bytes: number): Place {
		const place: Place = { bytes, answered: false, answer: undefined };
		this.#places.push(place);
		this.#requestBytes += bytes;
		return place;
	}

	/** Whether it is this answer's turn: then `release` puts it out. */
	fill(place: Place, answer: Answer): boolean {
		place.answered = true;
		if (this.#isClosed) {
			answer?.sent?.();
			return false;
		}
		place.answer = answer;
		this.#requestBytes -= place.bytes;
		this.#earlyBytes += sizeOf(answer);
		return this.#places[0] === place;
	}

	/** Requests behind this one get no answer. */
	cutBehind(place: Place): void {
		const at = this.#places.indexOf(place);
		if (at < 0) return;
		for (const dropped of this.#places.splice(at + 1)) {
			if (!dropped.answered) continue;
			this.#earlyBytes -= sizeOf(dropped.answer);
			dropped.answer?.sent?.();
		}
	}

	/** Puts out the answers whose turn it is; they leave with `flush`. */
	release(): void {
		const places = this.#places;
		let ready = 0;
		for (let place = places[0]; place?.answered; place = places[++ready]) {
			this.#earlyBytes -= sizeOf(place.answer);
			this.#put(place.answer);
		}
		if (ready > 0) places.splice(0, ready);
	}

	/** Whether anything has left. */
	flush(): boolean {
		const out = this.#out;
		if (out.length === 0) return false;
		const bytes = this.#outBytes;
		const sent = this.#takeSent();
		this.#out = [];
		this.#outBytes = 0;
		if (out.length === 1) this.#socket.write(out[0] as Uint8Array, sent);
		else if (bytes <= GATHERED_BYTES) this.#socket.write(Buffer.concat(out, bytes), sent);
		else {
			const last = out.pop() as Uint8Array;
			this.#socket.cork();
			for (const part of out) this.#socket.write(part);
			this.#socket.write(last, sent);
			this.#socket.uncork();
		}
		return true;
	}

	/** What is to be called when all that is in `#out` has left, or the socket was destroyed. */
	#takeSent(): () => void {
		const listeners = this.#outSent;
		if (listeners.length === 0) return this.#sent;
		this.#outSent = [];
		return () => {
			for (const listener of listeners) listener();
			this.#sent();
		};
	}

	/** The connection has gone: lets go of everything, also of what is still to come. */
	close(): void {
		this.#isClosed = true;
		for (const { answer } of this.#places) answer?.sent?.();
		for (const listener of this.#outSent) listener();
		this.#outSent = [];
		this.#places = [];
		this.#out = [];
		this.#earlyBytes = 0;
		this.#outBytes = 0;
	}

	#put(answer: Answer): void {
		if (answer === undefined) return;
		for (const part of answer.parts) {
			this.#out.push(part);
			this.#outBytes += part.length;
		}
		if (answer.sent !== undefined) this.#outSent.push(answer.sent);
	}
}

function sizeOf(answer: Answer): number {
	if (answer === undefined) return 0;
	let bytes = 0;
	for (const part of answer.parts) bytes += part.length;
	return bytes;
}
