/**
 * Removes from the store what the catalog says is to go: bundles that nothing is left of, and attempts that came to nothing,
 * with what is there of their uploads. Only objects that the catalog names are ever touched. What cannot be removed now is
 * tried again until it is gone; nobody waits for it.
 */
import type { Clock, Timer } from "../../src/base/clock.ts";
import type { Logger } from "../../src/base/logger.ts";
import type { Random } from "../../src/base/random.ts";
import type { BundleRow, TierCatalog } from "../../src/catalog/tier-catalog.ts";
import { parseBundleKey } from "../bundle/identity.ts";
import { type ObjectStore, StoreError } from "../object-store.ts";
import { Persistence } from "./persistence.ts";

export interface ReclaimerServices {
	readonly tier: TierCatalog;
	readonly store: ObjectStore;
	readonly clock: Clock;
	readonly random: Random;
	readonly logger: Logger;
	/** Whether the link may be used now. */
	readonly isOpen: () => boolean;
	/** Rejects with ClaimError or StoreError where the objects may be another's by now, or it is not known. */
	readonly checkClaim: () => Promise<void>;
	/** The object is gone: what was kept of it is of no use any more. */
	readonly removed: (key: string) => void;
}

/** What retention lets go is no hurry. */
const LOOK_MS = 3_600_000;
/** After an upload, which the store is there for: what it left goes with the same connection. */
const SOON_MS = 1000;
/**
 * The end of an upload whose answer was never heard may reach the store late: what was never stored is removed again after
 * so long, and only then forgotten.
 */
const LATE_MS = 600_000;
/** Before it is looked again whether the link may be used. */
const SHUT_MS = 60_000;
const ROWS_AT_ONCE = 100;
/** After a failure that passes; twice as long each time. */
const AGAIN_MS = 10_000;

export class Reclaimer {
	readonly #services: ReclaimerServices;
	readonly #stop = new AbortController();
	readonly #persistence: Persistence;
	/** Attempts that were removed once, and when, by the monotonic clock. */
	readonly #removedMs = new Map<number, number>();
	#timer: Timer | undefined;
	#dueMs = Number.POSITIVE_INFINITY;
	#passing: Promise<void> | undefined;
	#poked = false;
	/** For the rows at hand. */
	#isOurs = false;
	#failures = 0;
	#problem: string | undefined;

	constructor(services: ReclaimerServices) {
		this.#services = services;
		const { clock, random } = services;
		const nothing = (): void => {};
		this.#persistence = new Persistence({
			clock,
			random,
			signal: this.#stop.signal,
			mayWait: nothing,
			failed: nothing,
		});
	}

	/** Begins to look now and then. */
	start(): void {
		this.#next(LOOK_MS);
	}

	/** There may be something to remove. */
	poke(): void {
		this.#poked = true;
		this.#next(SOON_MS);
	}

	/** What keeps objects from being removed, for people; undefined: nothing. */
	get problem(): string | undefined {
		return this.#problem;
	}

	async stop(): Promise<void> {
		this.#stop.abort(new Error("the gateway stops"));
		this.#timer?.cancel();
		await this.#passing;
	}

	#next(ms: number): void {
		const { clock } = this.#services;
		if (this.#stop.signal.aborted || this.#dueMs <= clock.monotonic() + ms) return;
		this.#timer?.cancel();
		this.#dueMs = clock.monotonic() + ms;
		this.#timer = clock.after(ms, () => {
			this.#dueMs = Number.POSITIVE_INFINITY;
			if (this.#passing !== undefined) return;
			this.#poked = false;
			this.#passing = this.#pass().finally(() => {
				this.#passing = undefined;
				this.#next(this.#poked ? SOON_MS : LOOK_MS);
			});
		});
	}

	async #pass(): Promise<void> {
		const { tier, isOpen } = this.#services;
		try {
			for (let afterId = 0; ; ) {
				const rows = tier.deletable(afterId, ROWS_AT_ONCE);
				const last = rows.at(-1);
				if (last === undefined) break;
				// A short window may lie between two looks for good.
				if (!isOpen()) return this.#next(SHUT_MS);
				this.#isOurs = false;
				for (const row of rows) await this.#remove(row);
				afterId = last.id;
			}
			this.#worked();
		} catch (error) {
			if (!this.#stop.signal.aborted) this.#failed(error);
		}
	}

	async #remove({ id, key, sizeBytes }: BundleRow): Promise<void> {
		const { tier, store, clock, logger, removed } = this.#services;
		if (parseBundleKey(key) === undefined) {
			logger.error("the catalog names an object that is no bundle: it is left alone", { key });
			return;
		}
		const removedMs = this.#removedMs.get(id);
		const waitMs = removedMs === undefined ? 0 : removedMs + LATE_MS - clock.monotonic();
		if (waitMs > 0) return this.#next(waitMs);
		await this.#mustBeOurs();
		const wasStored = sizeBytes > 0;
		if (!wasStored)
			for (const upload of await this.#persistence.unlessEnded(store.uploads(key)))
				if (upload.key === key) await this.#persistence.unlessEnded(store.abortUpload(upload));
		await this.#persistence.unlessEnded(store.delete(key));
		if (wasStored || removedMs !== undefined) {
			tier.forgetBundle(id);
			removed(key);
			this.#removedMs.delete(id);
		} else {
			this.#removedMs.set(id, clock.monotonic());
			this.#next(LATE_MS);
		}
	}

	/** Another may have been restored from what came to nothing here: an upload whose end nobody heard. */
	async #mustBeOurs(): Promise<void> {
		if (!this.#isOurs) await this.#persistence.unlessEnded(this.#services.checkClaim());
		this.#isOurs = true;
	}

	#worked(): void {
		this.#failures = 0;
		if (this.#problem === undefined) return;
		this.#problem = undefined;
		this.#services.logger.info("objects can be removed from the object store again");
	}

	#failed(error: unknown): void {
		const isDenied = error instanceof StoreError && error.kind === "denied";
		const message = `${(error as Error).message}${isDenied ? DENIED : ""}`;
		if (this.#problem === undefined)
			this.#services.logger.warn("objects cannot be removed from the object store", { error: message });
		this.#problem = message;
		if (error instanceof StoreError && error.isTransient)
			this.#next(Math.min(LOOK_MS, AGAIN_MS * 2 ** this.#failures++));
	}
}

const DENIED =
	": what is no longer needed stays in the store until this gateway may delete it (s3:DeleteObject, s3:AbortMultipartUpload)";
