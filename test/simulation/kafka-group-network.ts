/**
 * Between the clients and the coordinator of a simulated life: requests pass through the codec and the handlers of the
 * Kafka door; on their way they, or their answers, are delayed, lost or doubled. Time is the life's to move.
 */
import type { SimulatedRandom } from "../../src/base/random-simulated.ts";
import type { Api, Call } from "../../src/kafka/api.ts";
import { errorNumber } from "../../src/kafka/error-number.ts";
import { Reader } from "../../src/kafka/protocol/reader.ts";
import type { Decoded, Encodable, Fields } from "../../src/kafka/protocol/schema.ts";
import { Writer } from "../../src/kafka/protocol/writer.ts";
import type { Peer, Services } from "../../src/kafka/services.ts";
import type { World } from "./world.ts";

export interface Exchange<A> {
	/** undefined until it has come. */
	answer: A | undefined;
	/** The connection has broken, or will never give an answer. */
	lost: boolean;
	readonly sentMs: number;
}

/** What happens at the coordinator, in its order; the model is told. */
export interface Watch<Q, A> {
	arrived?(request: Q): void;
	answered?(answer: A): void;
}

interface Errand {
	readonly atMs: number;
	readonly run: () => void;
}

const PEER: Peer = {
	host: "127.0.0.1",
	localHost: "127.0.0.1",
	principal: "User:ANONYMOUS",
	closed: false,
	onClose: () => () => {},
};

export class Network {
	readonly #world: World;
	readonly #random: SimulatedRandom;
	#errands: Errand[] = [];
	/** Those that wait for an answer of the process that runs now. */
	#waiting = new Set<{ lost: boolean }>();
	#epoch = 0;
	/** Of requests, answers and doubles: how probable each mishap is. */
	mishaps: number;
	/** What went wrong at the coordinator itself. */
	failure: Error | undefined;

	constructor(world: World, random: SimulatedRandom, mishaps: number) {
		this.#world = world;
		this.#random = random;
		this.mishaps = mishaps;
	}

	get #nowMs(): number {
		return this.#world.clock.monotonic();
	}

	send<Q extends Fields, A extends Fields>(
		api: Api<Q, A>,
		version: number,
		value: Encodable<Q>,
		clientId: string,
		watch: Watch<Decoded<Q>, Decoded<A>> = {},
	): Exchange<Decoded<A>> {
		const exchange: Exchange<Decoded<A>> = { answer: undefined, lost: false, sentMs: this.#nowMs };
		const random = this.#random;
		this.#waiting.add(exchange);
		const copies = random.chance(this.mishaps) ? 2 : 1;
		const answered = random.between(1, copies);
		for (let copy = 1; copy <= copies; copy++) {
			if (random.chance(this.mishaps)) {
				if (copy === answered) exchange.lost = true;
				continue;
			}
			const isAnswered = copy === answered && !random.chance(this.mishaps);
			if (copy === answered && !isAnswered) exchange.lost = true;
			this.#later(() => this.#deliver(api, version, value, clientId, watch, isAnswered ? exchange : undefined));
		}
		return exchange;
	}

	/** Does what is due. */
	tick(): void {
		const nowMs = this.#nowMs;
		const due = this.#errands.filter(({ atMs }) => atMs <= nowMs).sort((a, b) => a.atMs - b.atMs);
		this.#errands = this.#errands.filter(({ atMs }) => atMs > nowMs);
		for (const { run } of due) run();
	}

	/** The process is gone, and every connection with it. */
	cut(): void {
		this.#epoch++;
		this.#errands = [];
		for (const exchange of this.#waiting) exchange.lost = true;
		this.#waiting.clear();
	}

	#later(run: () => void): void {
		const delayMs = this.#random.chance(0.1) ? this.#random.between(0, 3000) : this.#random.between(0, 100);
		this.#errands.push({ atMs: this.#nowMs + delayMs, run });
	}

	#deliver<Q extends Fields, A extends Fields>(
		api: Api<Q, A>,
		version: number,
		value: Encodable<Q>,
		clientId: string,
		watch: Watch<Decoded<Q>, Decoded<A>>,
		exchange: Exchange<Decoded<A>> | undefined,
	): void {
		const epoch = this.#epoch;
		const request = throughCodec(api.request, version, value);
		const services = { broker: this.#world.broker } as Services;
		const call: Call = {
			services,
			peer: PEER,
			version,
			clientId,
			whenSent() {},
			claimRoom: () => undefined,
			giveRoomBack() {},
		};
		watch.arrived?.(request);
		const settle = (given: Encodable<A> | undefined): void => {
			if (epoch !== this.#epoch || given === undefined) return;
			const answer = throughCodec(api.response, version, given);
			watch.answered?.(answer);
			if (exchange === undefined) return;
			this.#later(() => {
				exchange.answer = answer;
				this.#waiting.delete(exchange);
			});
		};
		const refuse = (error: unknown): void => {
			if (epoch !== this.#epoch) return;
			if (errorNumber(error) === -1) this.failure ??= error as Error;
			settle(api.refuse(request, errorNumber(error), String(error), call));
		};
		const guarded = (given: Encodable<A> | undefined): void => {
			try {
				settle(given);
			} catch (error) {
				this.failure ??= error as Error;
			}
		};
		try {
			const answer = api.handle(request, call);
			if (answer instanceof Promise) answer.then(guarded, refuse);
			else guarded(answer);
		} catch (error) {
			refuse(error);
		}
	}
}

function throughCodec<F extends Fields>(
	message: {
		encode(writer: Writer, version: number, value: Encodable<F>): void;
		decode(reader: Reader, version: number): Decoded<F>;
	},
	version: number,
	value: Encodable<F>,
): Decoded<F> {
	const writer = new Writer();
	// As a frame begins: a size.
	writer.int32(0);
	message.encode(writer, version, value);
	const reader = new Reader(Buffer.concat(writer.takeFrame()), 4);
	const decoded = message.decode(reader, version);
	reader.end();
	return decoded;
}
