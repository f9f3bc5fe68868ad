/** Reading from a store for somebody who waits at a terminal: what fails for a reason that may pass is tried again, for a minute or so. */
import { Backoff } from "../../src/base/backoff.ts";
import type { Clock } from "../../src/base/clock.ts";
import type { Random } from "../../src/base/random.ts";
import { type ObjectInfo, type ObjectPage, type ObjectStore, StoreError } from "../object-store.ts";

/** What reads and changes nothing. */
export type ReadableStore = Pick<ObjectStore, "name" | "get" | "getLast" | "head" | "list">;

/** Some 30 to 60 seconds. */
const TRIES = 6;

/** What `work` comes to, once it does not reject with a StoreError that is transient, or the last one. */
export async function retried<T>(clock: Clock, random: Random, work: () => Promise<T>): Promise<T> {
	const backoff = new Backoff(random);
	for (let left = TRIES; ; left--) {
		try {
			return await work();
		} catch (error) {
			if (left === 1 || !(error instanceof StoreError && error.isTransient)) throw error;
		}
		await new Promise<void>((resolve) => clock.after(backoff.next(), resolve));
	}
}

export class RetriedReads implements ReadableStore {
	readonly name: string;
	readonly #store: ReadableStore;
	readonly #clock: Clock;
	readonly #random: Random;

	constructor(store: ReadableStore, clock: Clock, random: Random) {
		this.name = store.name;
		this.#store = store;
		this.#clock = clock;
		this.#random = random;
	}

	get(key: string, position: number, bytes: number): Promise<Buffer> {
		return this.#again(() => this.#store.get(key, position, bytes));
	}

	getLast(key: string, bytes: number): Promise<{ readonly bytes: Buffer; readonly sizeBytes: number }> {
		return this.#again(() => this.#store.getLast(key, bytes));
	}

	head(key: string): Promise<ObjectInfo | undefined> {
		return this.#again(() => this.#store.head(key));
	}

	list(prefix: string, after?: string): Promise<ObjectPage> {
		return this.#again(() => this.#store.list(prefix, after));
	}

	#again<T>(work: () => Promise<T>): Promise<T> {
		return retried(this.#clock, this.#random, work);
	}
}
