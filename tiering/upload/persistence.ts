/**
 * How an upload waits: for the store to come back, for the next try, for room in memory; and how all of that ends at once when
 * the run is to end. Nothing here knows what is being waited for but in words for people.
 */
import { Backoff } from "../../src/base/backoff.ts";
import type { Clock } from "../../src/base/clock.ts";
import type { Random } from "../../src/base/random.ts";
import { StoreError } from "../object-store.ts";

export interface PersistenceServices {
	readonly clock: Clock;
	readonly random: Random;
	/** Ends every wait; its reason is what they reject with. */
	readonly signal: AbortSignal;
	/** Before each wait and at its end: throws where it is no use waiting, as when the window is shut. */
	readonly mayWait: () => void;
	/** The store did not do what it was asked to, and will be asked again. */
	readonly failed: (error: StoreError) => void;
}

/** What a run waits for, and until when by the monotonic clock. */
export interface Wait {
	readonly what: string;
	readonly untilMs: number;
}

export class Persistence {
	readonly #services: PersistenceServices;
	readonly #backoff: Backoff;
	#wait: Wait | undefined;
	#endSleep: (() => void) | undefined;

	constructor(services: PersistenceServices) {
		this.#services = services;
		this.#backoff = new Backoff(services.random);
	}

	/** undefined: it does not wait. */
	get wait(): Wait | undefined {
		return this.#wait;
	}

	/** Throws the signal's reason. */
	throwIfEnded(): void {
		this.#services.signal.throwIfAborted();
	}

	/** What `promise` comes to, or the end if that is earlier; then `promise` goes on, and nobody hears of it. */
	async unlessEnded<T>(promise: Promise<T>): Promise<T> {
		const { signal } = this.#services;
		promise.catch(() => {});
		signal.throwIfAborted();
		const { promise: ended, reject } = Promise.withResolvers<never>();
		const end = (): void => reject(signal.reason as Error);
		signal.addEventListener("abort", end, { once: true });
		try {
			return await Promise.race([promise, ended]);
		} finally {
			signal.removeEventListener("abort", end);
		}
	}

	/** `untilMs`: of the monotonic clock, what people are told. Rejects when it is no use waiting, before or after. */
	async sleep(ms: number, what: string, untilMs = this.#services.clock.monotonic() + ms): Promise<void> {
		const { clock, mayWait } = this.#services;
		mayWait();
		const { promise, resolve } = Promise.withResolvers<void>();
		const timer = clock.after(ms, resolve);
		this.#endSleep = resolve;
		this.#wait = { what, untilMs };
		try {
			await this.unlessEnded(promise);
		} finally {
			timer.cancel();
			this.#endSleep = undefined;
			this.#wait = undefined;
		}
		mayWait();
	}

	/** What is slept for is tried now. */
	hurry(): void {
		this.#endSleep?.();
	}

	/** The same for something that ends by itself. */
	async whileWaiting<T>(what: string, untilMs: number, promise: Promise<T>): Promise<T> {
		this.#wait = { what, untilMs };
		try {
			return await this.unlessEnded(promise);
		} finally {
			this.#wait = undefined;
		}
	}

	/** After a failure that passes: waits before another try, longer each time. Rejects with `error` where it does not pass. */
	async afterFailure(error: unknown): Promise<void> {
		if (!(error instanceof StoreError) || !error.isTransient) throw error;
		this.#services.failed(error);
		await this.sleep(this.#backoff.next(), error.message);
	}

	/** The store did what it was asked to: waits begin short again. */
	worked(): void {
		this.#backoff.reset();
	}

	/** `call` until it succeeds, or fails in a way that does not pass. It must do no harm twice. */
	async persist<T>(call: () => Promise<T>): Promise<T> {
		const result = await this.untilAnswered(call);
		this.worked();
		return result;
	}

	/** The same for a call whose success says little: waits go on growing. */
	async untilAnswered<T>(call: () => Promise<T>): Promise<T> {
		for (;;) {
			try {
				return await this.unlessEnded(call());
			} catch (error) {
				await this.afterFailure(error);
			}
		}
	}
}
