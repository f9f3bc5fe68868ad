/**
 * One connection between a gateway and a broker: the bytes of requests on their way, and of answers back. As Kafka's own
 * network layer, a broker handles one request of a connection at a time, in order. What happened to a connection does
 * not take back what was written to it: that may arrive long after the client has given it up.
 */

import type { Transport, TransportHandler } from "../../../bridge/upstream/client/transport.ts";
import type { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { NetworkFaults } from "./faults.ts";
import type { Timeline } from "./timeline.ts";

export interface ConnectionHost {
	readonly timeline: Timeline;
	readonly random: SimulatedRandom;
	/** As they are now. */
	readonly faults: NetworkFaults;
	/** Answers once, with the size in front, and for how long it then takes no more requests; undefined: there is no answer. */
	handle(
		connection: ModelConnection,
		frame: Buffer,
		respond: (answer: Buffer | undefined, muteMs: number) => void,
	): void;
	carried(sentBytes: number, receivedBytes: number): void;
	/** The client does not hear of it any more. */
	ended(connection: ModelConnection): void;
}

interface Arrived {
	readonly frame: Buffer;
	readonly isAnswerLost: boolean;
}

export class ModelConnection implements Transport {
	readonly brokerId: number;
	/** Whose it is. */
	readonly client: string;
	readonly #host: ConnectionHost;
	#handler: TransportHandler | undefined;
	#unread: Buffer = Buffer.alloc(0);
	/** At the broker, not yet handled. */
	readonly #queue: Arrived[] = [];
	#isHandling = false;
	#isBrokerGone = false;
	/** Nothing passes in either direction, though nobody has been told. */
	#isSilent = false;
	#lastArrivalMs = 0;
	#lastAnswerMs = 0;
	#usedAtMs: number;
	#watchNoMore: () => void = () => {};
	sentBytes = 0;
	receivedBytes = 0;

	constructor(host: ConnectionHost, brokerId: number, client: string, handler: TransportHandler) {
		this.#host = host;
		this.brokerId = brokerId;
		this.client = client;
		this.#handler = handler;
		this.#usedAtMs = host.timeline.nowMs;
		this.#watchIdleness();
	}

	write(parts: readonly Uint8Array[]): void {
		if (this.#handler === undefined) return;
		this.#usedAtMs = this.#host.timeline.nowMs;
		const sentBytes = parts.reduce((sum, part) => sum + part.length, 0);
		this.sentBytes += sentBytes;
		this.#host.carried(sentBytes, 0);
		this.#unread = Buffer.concat([this.#unread, ...parts]);
		while (this.#unread.length >= 4) {
			const end = 4 + this.#unread.readInt32BE(0);
			if (end > this.#unread.length) return;
			const frame = this.#unread.subarray(4, end);
			this.#unread = this.#unread.subarray(end);
			this.#send(frame);
		}
	}

	destroy(): void {
		this.#handler = undefined;
		this.#watchNoMore();
		this.#host.ended(this);
	}

	/** The client's process is gone, or the link: it hears nothing more. */
	silence(): void {
		this.#isSilent = true;
	}

	/** The broker's side is gone, with all that it had not handled. */
	crash(): void {
		this.#isBrokerGone = true;
		this.#queue.length = 0;
		this.reset();
	}

	/** The client is told, if anything can reach it. */
	reset(): void {
		this.#close(Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }));
	}

	#close(error: Error | undefined): void {
		const handler = this.#handler;
		if (handler === undefined || this.#isSilent) return;
		this.#isSilent = true;
		this.#host.timeline.after(this.#latencyMs(), () => {
			if (this.#handler === undefined) return;
			this.destroy();
			handler.closed(error);
		});
	}

	/** Brokers close what nobody has used for long. */
	#watchIdleness(): void {
		const { timeline, faults } = this.#host;
		this.#watchNoMore = timeline.after(this.#usedAtMs + faults.idleMs - timeline.nowMs, () => {
			if (this.#handler === undefined || this.#isSilent) return;
			if (this.#isHandling || timeline.nowMs - this.#usedAtMs < faults.idleMs) {
				if (this.#isHandling) this.#usedAtMs = timeline.nowMs;
				this.#watchIdleness();
				return;
			}
			this.#isBrokerGone = true;
			this.#close(undefined);
		});
	}

	#latencyMs(): number {
		const { random, faults } = this.#host;
		return random.between(...faults.latencyMs);
	}

	#send(frame: Buffer): void {
		const { random, faults, timeline } = this.#host;
		if (this.#isSilent) return;
		if (random.chance(faults.reset)) {
			this.reset();
			return;
		}
		if (random.chance(faults.silence)) {
			this.silence();
			return;
		}
		let delayMs = this.#latencyMs();
		if (random.chance(faults.late)) {
			delayMs = random.between(...faults.lateMs);
			if (random.chance(0.5)) this.reset();
			else this.silence();
		}
		const isAnswerLost = random.chance(faults.answerLost);
		const atMs = Math.max(this.#lastArrivalMs, timeline.nowMs + delayMs);
		this.#lastArrivalMs = atMs;
		timeline.after(atMs - timeline.nowMs, () => {
			if (this.#isBrokerGone) return;
			this.#queue.push({ frame, isAnswerLost });
			this.#next();
		});
	}

	#next(): void {
		if (this.#isHandling) return;
		const arrived = this.#queue.shift();
		if (arrived === undefined) return;
		this.#isHandling = true;
		this.#host.handle(this, arrived.frame, (answer, muteMs) => {
			if (this.#isBrokerGone) return;
			if (arrived.isAnswerLost) {
				if (this.#host.random.chance(0.5)) this.reset();
				else this.silence();
			} else if (answer !== undefined) this.#answer(answer);
			const goOn = () => {
				this.#isHandling = false;
				this.#next();
			};
			if (muteMs > 0) this.#host.timeline.after(muteMs, goOn);
			else goOn();
		});
	}

	#answer(answer: Buffer): void {
		const { random, faults, timeline } = this.#host;
		const pieces = [answer];
		if (random.chance(faults.pieces)) {
			const at = random.between(1, answer.length - 1);
			pieces.splice(0, 1, answer.subarray(0, at), answer.subarray(at));
		}
		for (const piece of pieces) {
			const atMs = Math.max(this.#lastAnswerMs, timeline.nowMs + this.#latencyMs());
			this.#lastAnswerMs = atMs;
			timeline.after(atMs - timeline.nowMs, () => {
				if (this.#isSilent || this.#handler === undefined) return;
				this.receivedBytes += piece.length;
				this.#host.carried(0, piece.length);
				this.#handler.data(Buffer.from(piece));
			});
		}
	}
}
