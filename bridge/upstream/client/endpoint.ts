/**
 * An address of the central cluster and the connections to it, one for each lane, made when a request needs one. A refusal is
 * remembered for a while, so is the pause that the broker asks for. A request is sent again by itself only where it was
 * certainly not sent.
 */
import { Backoff } from "../../../src/base/backoff.ts";
import type { Logger } from "../../../src/base/logger.ts";
import type { Address } from "../../../src/config/definition.ts";
import type { Encodable, Fields } from "../../../src/kafka/protocol/schema.ts";
import type { Api } from "./apis.ts";
import { pause } from "./attempts.ts";
import { type Answer, Connection, type ConnectionOptions, type ExchangeOptions } from "./connection.ts";
import { LinkError } from "./link-error.ts";
import { place } from "./link-faults.ts";

/** How long a refusal counts at most: whoever asks pauses by itself, and the link may be back. */
const REST_MAX_MS = 10_000;
/** A broker may ask for more; then it says so again. */
const THROTTLE_MAX_MS = 60_000;
/**
 * Brokers close what was idle for ten minutes, routers forget it sooner, and neither may tell: nothing is risked on such a
 * connection.
 */
const IDLE_MAX_MS = 540_000;
/** A connection that is gone when it is wanted, again and again, is no accident. */
const TRIES_MAX = 3;

export interface EndpointServices extends ConnectionOptions {
	readonly logger: Logger;
	/** Aborted when the cluster is closed. */
	readonly lifetime: AbortSignal;
}

export interface SendOptions extends ExchangeOptions {
	readonly lane?: string | undefined;
}

interface Lane {
	connection: Connection | undefined;
	opening: Promise<Connection> | undefined;
}

export class Endpoint {
	readonly address: Address;
	readonly #services: EndpointServices;
	readonly #lanes = new Map<string, Lane>();
	readonly #backoff: Backoff;
	/** Why there was no connection last, and until when that counts. */
	#fault: LinkError | undefined;
	#restsUntilMs = 0;
	#throttledUntilMs = 0;
	/** Of connections that are no more. */
	#sentBytes = 0;
	#receivedBytes = 0;

	constructor(address: Address, services: EndpointServices) {
		this.address = address;
		this.#services = services;
		this.#backoff = new Backoff(services.random);
	}

	/** Whether a connection of the lane is there. */
	isOpen(lane = ""): boolean {
		return this.#lanes.get(lane)?.connection?.isOpen === true;
	}

	/** Milliseconds for which a refusal still counts; 0: none. */
	get restMs(): number {
		return Math.max(0, this.#restsUntilMs - this.#services.clock.monotonic());
	}

	/** Requests without an answer. */
	get inFlight(): number {
		let count = 0;
		for (const { connection, opening } of this.#lanes.values())
			count += (connection?.inFlight ?? 0) + (opening === undefined ? 0 : 1);
		return count;
	}

	get sentBytes(): number {
		let sum = this.#sentBytes;
		for (const { connection } of this.#lanes.values()) sum += connection?.sentBytes ?? 0;
		return sum;
	}

	get receivedBytes(): number {
		let sum = this.#receivedBytes;
		for (const { connection } of this.#lanes.values()) sum += connection?.receivedBytes ?? 0;
		return sum;
	}

	/** The last refusal does not count any more. */
	wake(): void {
		this.#restsUntilMs = 0;
	}

	/** Rejects with LinkError; with the signal's reason. */
	async send<Q extends Fields, S extends Fields>(
		api: Api<Q, S>,
		value: Encodable<Q>,
		options: SendOptions,
	): Promise<Answer<S>> {
		for (let tries = 1; ; tries++) {
			await this.#throttled(options.signal);
			const connection = await this.#connection(options);
			try {
				const answer = await connection.request(api, value, options);
				this.#throttle(answer.body);
				return answer;
			} catch (error) {
				const wasSent = !(error instanceof LinkError) || error.maybeSent || error.failure !== "lost";
				if (wasSent || tries >= TRIES_MAX) throw error;
			}
		}
	}

	close(): void {
		for (const lane of this.#lanes.values()) this.#drop(lane);
	}

	async #connection({ lane: name = "", signal }: SendOptions): Promise<Connection> {
		let lane = this.#lanes.get(name);
		if (lane === undefined) {
			lane = { connection: undefined, opening: undefined };
			this.#lanes.set(name, lane);
		}
		const { connection } = lane;
		if (connection !== undefined) {
			const idleMs = this.#services.clock.monotonic() - connection.usedMs;
			if (connection.isOpen && (connection.inFlight > 0 || idleMs < IDLE_MAX_MS)) return connection;
			this.#drop(lane);
		}
		if (lane.opening === undefined && this.#fault !== undefined && this.restMs > 0) throw this.#fault;
		lane.opening ??= this.#open(lane, name);
		return await unlessAborted(lane.opening, signal);
	}

	async #open(lane: Lane, name: string): Promise<Connection> {
		const { lifetime, clock, logger } = this.#services;
		try {
			const connection = await Connection.open(this.#services, this.address, lifetime);
			lane.connection = connection;
			this.#fault = undefined;
			this.#backoff.reset();
			logger.debug("a broker of the central cluster is connected", { broker: place(this.address), lane: name });
			return connection;
		} catch (error) {
			if (error instanceof LinkError && !lifetime.aborted) {
				this.#sentBytes += error.wireBytes?.sent ?? 0;
				this.#receivedBytes += error.wireBytes?.received ?? 0;
				this.#fault = error;
				this.#restsUntilMs = clock.monotonic() + Math.min(REST_MAX_MS, this.#backoff.next(error.lasting));
				logger.debug("no connection to a broker of the central cluster", {
					broker: place(this.address),
					reason: error.message,
				});
			}
			throw error;
		} finally {
			lane.opening = undefined;
		}
	}

	#drop(lane: Lane): void {
		const { connection } = lane;
		if (connection === undefined) return;
		connection.close();
		this.#sentBytes += connection.sentBytes;
		this.#receivedBytes += connection.receivedBytes;
		lane.connection = undefined;
	}

	/** KIP-219: the broker reads nothing from who does not pause by itself. */
	#throttle(body: unknown): void {
		const { throttleTimeMs = 0 } = body as { throttleTimeMs?: number };
		if (throttleTimeMs <= 0) return;
		const until = this.#services.clock.monotonic() + Math.min(THROTTLE_MAX_MS, throttleTimeMs);
		this.#throttledUntilMs = Math.max(this.#throttledUntilMs, until);
	}

	async #throttled(signal: AbortSignal | undefined): Promise<void> {
		const { clock, lifetime } = this.#services;
		for (;;) {
			const leftMs = this.#throttledUntilMs - clock.monotonic();
			if (leftMs <= 0) return;
			await unlessAborted(pause(clock, leftMs, lifetime), signal);
		}
	}
}

/** The promise's outcome; once the signal is aborted, its reason. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
	if (signal === undefined) return promise;
	return new Promise((resolve, reject) => {
		const aborted = (): void => reject(signal.reason);
		if (signal.aborted) aborted();
		signal.addEventListener("abort", aborted);
		promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
	});
}
