/**
 * Brings windows into memory, from the disk cache or the store: each once for all who wait for it, a few requests at a
 * time. Those that somebody waits for take turns by partition; what is fetched ahead takes only what is free. A request goes
 * on when nobody waits any more: who asks again finds what it brought.
 */
import type { Clock, Timer } from "../../src/base/clock.ts";
import { BrokerError } from "../../src/base/errors.ts";
import { type ObjectStore, StoreError } from "../object-store.ts";
import type { ObjectFaults } from "./object-faults.ts";
import type { StoreHealth } from "./store-health.ts";
import type { RangeWindow } from "./tiered-range.ts";
import type { WindowCache } from "./window-cache.ts";
import type { WindowMemory } from "./window-memory.ts";

/** The object is not there and need not be: what is known of where records are is out of date. */
export class ObjectGone extends Error {
	override readonly name = "ObjectGone";

	constructor(key: string) {
		super(`${key} was removed`);
	}
}

export interface FetcherParts {
	readonly store: ObjectStore;
	readonly cache: WindowCache;
	readonly memory: WindowMemory;
	readonly health: StoreHealth;
	readonly faults: ObjectFaults;
	readonly clock: Clock;
	/** Whether the object is to be there. */
	readonly isStored: (key: string) => boolean;
}

const GETS_MAX = 4;
/** One is left for who waits. */
const AHEAD_GETS_MAX = 3;
const CACHE_READS_MAX = 4;
/** A request that has not begun and that nobody asked for again for so long is not made. */
const FORGOTTEN_MS = 10_000;
/** Memory may have become free by time alone. */
const LOOK_AGAIN_MS = 250;

interface Fetch {
	readonly partitionId: number;
	/** Consecutive ones. */
	readonly windows: readonly RangeWindow[];
	readonly sizeBytes: number;
	readonly isAhead: boolean;
	readonly isCached: boolean;
	readonly arrived: Promise<void>;
	readonly resolve: () => void;
	readonly reject: (error: unknown) => void;
	waiting: number;
	wantedMs: number;
}

export class WindowFetcher {
	readonly #parts: FetcherParts;
	/** By the id of each window: queued, or being read. */
	readonly #underWay = new Map<string, Fetch>();
	/** By partition; who has had its turn goes to the end. */
	readonly #queues = new Map<number, Fetch[]>();
	#gets = 0;
	#aheadGets = 0;
	#cacheReads = 0;
	#timer: Timer | undefined;
	#closed = false;
	#requests = 0;
	#requestedBytes = 0;
	#cacheHits = 0;
	#errors = 0;

	constructor(parts: FetcherParts) {
		this.#parts = parts;
	}

	/** Since the start: requests to the store and what they brought, windows that the disk had, requests that failed. */
	stats(): { readonly gets: number; readonly bytes: number; readonly cacheHits: number; readonly errors: number } {
		return {
			gets: this.#requests,
			bytes: this.#requestedBytes,
			cacheHits: this.#cacheHits,
			errors: this.#errors,
		};
	}

	isUnderWay(window: RangeWindow): boolean {
		return this.#underWay.has(window.id);
	}

	/**
	 * Resolves when the first of `windows`, which are consecutive ones, has come into memory: with the others, if it has to
	 * be asked for. Rejects with OFFSET_NOT_AVAILABLE after `patienceMs`, with KAFKA_STORAGE_ERROR where it is no use, with
	 * ObjectGone.
	 */
	async bring(partitionId: number, windows: readonly RangeWindow[], patienceMs: number): Promise<void> {
		const [first] = windows as [RangeWindow];
		const fetch = this.#underWay.get(first.id) ?? this.#begin(partitionId, windows);
		fetch.wantedMs = this.#parts.clock.monotonic();
		fetch.waiting += 1;
		try {
			await this.#arrival(fetch, first, patienceMs);
		} finally {
			fetch.waiting -= 1;
		}
	}

	#begin(partitionId: number, windows: readonly RangeWindow[]): Fetch {
		if (this.#closed) throw stopping();
		const { cache, health } = this.#parts;
		const [first] = windows as [RangeWindow];
		const isCached = cache.has(first);
		if (!isCached) health.check();
		const fetch = this.#newFetch(partitionId, isCached ? [first] : windows, false, isCached);
		const queue = this.#queues.get(partitionId);
		if (queue === undefined) this.#queues.set(partitionId, [fetch]);
		else queue.push(fetch);
		this.#pump();
		return fetch;
	}

	#newFetch(partitionId: number, windows: readonly RangeWindow[], isAhead: boolean, isCached: boolean): Fetch {
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		// Nobody may be waiting when it fails.
		promise.catch(() => {});
		let sizeBytes = 0;
		for (const window of windows) sizeBytes += window.sizeBytes;
		const wantedMs = this.#parts.clock.monotonic();
		const fetch = {
			partitionId,
			windows,
			sizeBytes,
			isAhead,
			isCached,
			arrived: promise,
			resolve,
			reject,
			waiting: 0,
			wantedMs,
		};
		for (const { id } of windows) this.#underWay.set(id, fetch);
		return fetch;
	}

	#arrival(fetch: Fetch, window: RangeWindow, patienceMs: number): Promise<void> {
		return new Promise((resolve, reject) => {
			const timer = this.#parts.clock.after(patienceMs, () =>
				reject(
					new BrokerError(
						"OFFSET_NOT_AVAILABLE",
						`${window.id} is still being fetched from ${this.#parts.store.name}: ask again`,
					),
				),
			);
			fetch.arrived.then(resolve, reject).finally(() => timer.cancel());
		});
	}

	/** Begins to fetch what somebody will ask for, if that takes nothing from anybody. Returns whether it did. */
	fetchAhead(partitionId: number, windows: readonly RangeWindow[]): boolean {
		const { health, memory } = this.#parts;
		if (this.#closed || health.problem !== undefined || this.#queues.size > 0) return false;
		if (this.#aheadGets >= AHEAD_GETS_MAX || this.#gets >= GETS_MAX) return false;
		let bytes = 0;
		for (const { sizeBytes } of windows) bytes += sizeBytes;
		if (!memory.reserve(bytes, false)) return false;
		this.#aheadGets += 1;
		void this.#get(this.#newFetch(partitionId, windows, true, false), false);
		return true;
	}

	/** Nothing more is begun, and what has not begun is refused. */
	close(): void {
		this.#closed = true;
		this.#timer?.cancel();
		this.#refuseQueued(() => true, stopping());
	}

	/** Memory may have become free: begins what may begin. */
	proceed(): void {
		if (this.#timer !== undefined) this.#pump();
	}

	#pump(): void {
		this.#timer?.cancel();
		this.#timer = undefined;
		while (this.#pass());
	}

	/** Begins one request of each partition, as far as may be. Returns whether it began any. */
	#pass(): boolean {
		let began = false;
		for (const [partitionId, queue] of [...this.#queues]) {
			while (queue.length > 0 && this.#isForgotten(queue[0] as Fetch)) this.#forget(queue.shift() as Fetch);
			const fetch = queue[0];
			if (fetch !== undefined) {
				if (fetch.isCached ? this.#cacheReads >= CACHE_READS_MAX : this.#gets >= GETS_MAX) continue;
				if (!this.#parts.memory.reserve(fetch.sizeBytes, true)) {
					// Whoever is first gets what becomes free: others must not take it bit by bit.
					this.#timer ??= this.#parts.clock.after(LOOK_AGAIN_MS, () => this.#pump());
					return false;
				}
				queue.shift();
				this.#start(fetch);
				began = true;
			}
			// Who has had its turn goes to the end.
			this.#queues.delete(partitionId);
			if (queue.length > 0) this.#queues.set(partitionId, queue);
		}
		return began;
	}

	#isForgotten({ waiting, wantedMs }: Fetch): boolean {
		return waiting === 0 && this.#parts.clock.monotonic() - wantedMs > FORGOTTEN_MS;
	}

	#forget(fetch: Fetch): void {
		this.#end(fetch);
		fetch.reject(new BrokerError("OFFSET_NOT_AVAILABLE", "nobody asked for it any more: ask again"));
	}

	#start(fetch: Fetch): void {
		if (fetch.isCached) {
			void this.#readCached(fetch);
			return;
		}
		let isProbe: boolean;
		try {
			isProbe = this.#parts.health.begin();
		} catch (error) {
			this.#parts.memory.giveBack(fetch.sizeBytes);
			this.#end(fetch);
			fetch.reject(error);
			return;
		}
		void this.#get(fetch, isProbe);
	}

	async #readCached(fetch: Fetch): Promise<void> {
		const { cache, memory } = this.#parts;
		this.#cacheReads += 1;
		const bytes = await cache.read(fetch.windows[0] as RangeWindow);
		this.#cacheReads -= 1;
		this.#end(fetch);
		if (bytes === undefined) memory.giveBack(fetch.sizeBytes);
		else {
			this.#cacheHits += 1;
			memory.keep({ windows: fetch.windows, bytes, isAhead: false, isCached: true });
		}
		// Whoever finds it missing all the same asks the store.
		fetch.resolve();
		this.#pump();
	}

	async #get(fetch: Fetch, isProbe: boolean): Promise<void> {
		const { store, health, memory } = this.#parts;
		const [first] = fetch.windows as [RangeWindow];
		this.#gets += 1;
		this.#requests += 1;
		let bytes: Buffer | undefined;
		let failure: unknown;
		try {
			bytes = await store.get(first.key, first.position, fetch.sizeBytes);
			if (bytes.length > fetch.sizeBytes)
				throw new Error(`${bytes.length} bytes for ${fetch.sizeBytes} of ${first.key}`);
		} catch (error) {
			failure = error;
		}
		this.#gets -= 1;
		if (fetch.isAhead) this.#aheadGets -= 1;
		this.#end(fetch);
		if (bytes === undefined || failure !== undefined) {
			this.#errors += 1;
			memory.giveBack(fetch.sizeBytes);
			fetch.reject(this.#failure(fetch, failure, isProbe));
		} else {
			this.#requestedBytes += bytes.length;
			health.succeeded();
			this.#arrived(fetch, bytes);
		}
		this.#pump();
	}

	#arrived(fetch: Fetch, bytes: Buffer): void {
		const { cache, memory, faults } = this.#parts;
		const { windows } = fetch;
		const [{ position }] = windows as [RangeWindow];
		const end = position + bytes.length;
		const whole = windows.filter((window) => window.position + window.sizeBytes <= end);
		const missing = windows[whole.length];
		if (missing !== undefined) {
			this.#errors += 1;
			const error = faults.add(missing.id, this.#cutShort(missing, end));
			if (whole.length === 0) {
				memory.giveBack(fetch.sizeBytes);
				fetch.reject(error);
				return;
			}
		}
		memory.giveBack(fetch.sizeBytes - bytes.length);
		memory.keep({ windows: whole, bytes, isAhead: fetch.isAhead, isCached: false });
		fetch.resolve();
		for (const window of whole) {
			faults.clear(window.id);
			const from = window.position - position;
			cache.fetched(window, bytes.subarray(from, from + window.sizeBytes));
		}
	}

	#cutShort({ key, position, sizeBytes }: RangeWindow, end: number): string {
		return `${key} in ${this.#parts.store.name} ends at byte ${end}; bytes ${position} to ${position + sizeBytes} were to be there`;
	}

	#failure(fetch: Fetch, error: unknown, isProbe: boolean): Error {
		if (this.#closed) return stopping();
		const { health, faults } = this.#parts;
		const [first] = fetch.windows as [RangeWindow];
		const kind = error instanceof StoreError ? error.kind : "refused";
		const message = error instanceof Error ? error.message : String(error);
		if (kind === "not-found" || kind === "refused") {
			// The store is there, and this object is not, or not for us.
			health.succeeded();
			if (kind === "refused") return faults.add(first.id, message);
			if (this.#parts.isStored(first.key)) return faults.add(first.key, message);
			return new ObjectGone(first.key);
		}
		const failure = health.failed(message, isProbe);
		this.#refuseQueued(({ isCached }) => !isCached, failure);
		return failure;
	}

	#refuseQueued(concerns: (fetch: Fetch) => boolean, error: BrokerError): void {
		for (const [partitionId, queue] of [...this.#queues]) {
			const left: Fetch[] = [];
			for (const fetch of queue) {
				if (concerns(fetch)) {
					this.#end(fetch);
					fetch.reject(error);
				} else left.push(fetch);
			}
			if (left.length > 0) this.#queues.set(partitionId, left);
			else this.#queues.delete(partitionId);
		}
	}

	#end(fetch: Fetch): void {
		for (const { id } of fetch.windows) if (this.#underWay.get(id) === fetch) this.#underWay.delete(id);
	}
}

function stopping(): BrokerError {
	return new BrokerError("KAFKA_STORAGE_ERROR", "the gateway is stopping");
}
