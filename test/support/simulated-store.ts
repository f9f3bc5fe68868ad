/**
 * The object store's simulated twin: one gateway's way to a `SimulatedBucket`, with all that goes wrong on it. What it does is
 * drawn from the seed and follows the simulated clock: the same seed and the same calls give the same outcomes. Without orders
 * it is a good store that answers at once.
 */
import type { SimulatedClock } from "../../src/base/clock-simulated.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import {
	type ObjectInfo,
	type ObjectPage,
	type ObjectStore,
	requireKey,
	requirePrefix,
	StoreError,
	type StoreErrorKind,
	type UploadId,
} from "../../tiering/object-store.ts";
import { SimulatedBucket, shortened } from "./simulated-bucket.ts";

export type StoreCall = Exclude<keyof ObjectStore, "name" | "partBytes" | "close">;

/** What becomes of a call in the store: nothing, all of it, or of what it writes or reads only the first half. */
type Effect = "none" | "whole" | "short";

export interface StoreFault {
	/** Which; all without it. */
	readonly calls?: readonly StoreCall[];
	/** Of which keys or prefixes; all without it. */
	readonly key?: RegExp;
	readonly effect: Effect;
	/** What the gateway hears: an error, that all is well, or nothing at all until `close` or `cut`. */
	readonly answer: StoreErrorKind | "ok" | "silence";
	/** How many calls that match are let through first; 0 without it. */
	readonly after?: number;
	/** How many fail then; 1 without it, `Infinity` for what stays so. */
	readonly times?: number;
}

export interface SimulatedStoreOptions {
	readonly clock: SimulatedClock;
	readonly random?: SimulatedRandom;
	/** 64 KiB without it. */
	readonly partBytes?: number;
	/** One of its own without it. */
	readonly bucket?: SimulatedBucket;
	readonly name?: string;
}

/** A call that has no answer yet. */
interface Running {
	/** The request is still on its way: nothing has happened. */
	readonly arrive: () => void;
	arrived: boolean;
	readonly reject: (error: StoreError) => void;
}

const READS: ReadonlySet<StoreCall> = new Set(["get", "getLast", "head", "list", "uploads"]);

export class SimulatedStore implements ObjectStore {
	readonly name: string;
	readonly partBytes: number;
	readonly bucket: SimulatedBucket;
	/** How long a call takes, drawn between the two; it takes effect somewhere in between. */
	latencyMs: readonly [least: number, most: number] = [0, 0];
	/** What the link carries, for each call by itself; `Infinity`: as fast as can be. */
	bytesPerSecond = Number.POSITIVE_INFINITY;
	/** How likely a call is to fail as `unreachable`, as often before as after its effect. */
	troubleChance = 0;
	/** There is no way to the store: each call fails at once. */
	away = false;
	/** Reads may show the bucket as it was up to so long ago (set `bucket.historyMs` to at least that), as likely as that. */
	staleMs = 0;
	staleChance = 1;
	/** At most so many objects in a page. */
	pageObjects = 1000;
	/** The store refuses a gateway whose clock differs by more. */
	maxSkewMs = Number.POSITIVE_INFINITY;
	credentialsExpired = false;
	deleteForbidden = false;
	/** Calls begun, whatever became of them. */
	readonly counts: Record<StoreCall, number> = {
		putIfAbsent: 0,
		put: 0,
		beginUpload: 0,
		putPart: 0,
		completeUpload: 0,
		abortUpload: 0,
		uploads: 0,
		get: 0,
		getLast: 0,
		head: 0,
		list: 0,
		delete: 0,
	};
	/** Bodies that were begun to be sent. */
	bytesSent = 0;
	/** What reads gave. */
	bytesReceived = 0;
	readonly #clock: SimulatedClock;
	readonly #random: SimulatedRandom;
	#faults: { readonly fault: StoreFault; passed: number; failed: number }[] = [];
	#running = new Set<Running>();
	#gone = false;

	constructor({ clock, random, partBytes = 64 * 1024, bucket, name }: SimulatedStoreOptions) {
		this.name = name ?? "simulated://bucket";
		this.#clock = clock;
		this.#random = random ?? new SimulatedRandom("store");
		this.partBytes = partBytes;
		this.bucket = bucket ?? new SimulatedBucket({ clock, leastPartBytes: Math.floor(partBytes / 2) });
	}

	// What a test does to it.

	/** Makes calls fail; the function returned ends it. */
	inject(fault: StoreFault): () => void {
		const entry = { fault, passed: 0, failed: 0 };
		this.#faults.push(entry);
		return () => {
			this.#faults = this.#faults.filter((other) => other !== entry);
		};
	}

	/** All goes well from now on. */
	clearFaults(): void {
		this.#faults = [];
		this.troubleChance = 0;
		this.staleMs = 0;
		this.away = false;
		this.credentialsExpired = false;
		this.deleteForbidden = false;
	}

	/** Calls without an answer. */
	get running(): number {
		return this.#running.size;
	}

	/** The link is cut: what is under way is rejected; its request may have arrived or not. */
	cut(): void {
		for (const { reject } of this.#abandon()) reject(new StoreError("unreachable", `${this.name}: the link was cut`));
	}

	/**
	 * The gateway is no more: what is under way never ends; its requests may have arrived or not. Nothing more is sent by this
	 * one: the next has a store of its own with the same bucket.
	 */
	crash(): void {
		this.#gone = true;
		this.#abandon();
	}

	#abandon(): Running[] {
		const running = [...this.#running];
		this.#running.clear();
		for (const one of running) if (!one.arrived && this.#random.chance(0.5)) one.arrive();
		return running;
	}

	// The interface.

	putIfAbsent(key: string, body: Uint8Array): Promise<void> {
		return this.#change("putIfAbsent", key, body, (effect) => {
			if (this.bucket.find(key) !== undefined)
				throw new StoreError("exists", `${key} is in ${this.name} already: nothing was put`);
			this.#put(key, body, effect);
		});
	}

	put(key: string, body: Uint8Array): Promise<string | undefined> {
		return this.#change("put", key, body, (effect) => this.#put(key, body, effect));
	}

	beginUpload(key: string): Promise<UploadId> {
		return this.#change("beginUpload", key, undefined, (effect) =>
			effect === "none" ? { key, id: "never-begun" } : this.bucket.begin(key),
		);
	}

	putPart(upload: UploadId, number: number, body: Uint8Array): Promise<string> {
		return this.#change("putPart", upload.key, body, (effect) =>
			effect === "none" ? "0".repeat(32) : this.bucket.putPart(upload, number, cutOff(body, effect)),
		);
	}

	completeUpload(upload: UploadId, etags: readonly string[]): Promise<void> {
		return this.#change("completeUpload", upload.key, undefined, (effect) => {
			if (effect !== "none") this.bucket.complete(upload, etags, effect === "short");
		});
	}

	abortUpload(upload: UploadId): Promise<void> {
		return this.#change("abortUpload", upload.key, undefined, (effect) => {
			if (effect !== "none") this.bucket.abort(upload);
		});
	}

	uploads(prefix: string): Promise<UploadId[]> {
		return this.#perform("uploads", prefix, 0, () => this.bucket.uploads(prefix));
	}

	get(key: string, position: number, bytes: number): Promise<Buffer> {
		return this.#perform("get", key, bytes, (effect) =>
			this.#receive(cutOff(this.#read(key).bytes.subarray(position, position + bytes), effect)),
		);
	}

	getLast(key: string, bytes: number): Promise<{ readonly bytes: Buffer; readonly sizeBytes: number }> {
		return this.#perform("getLast", key, bytes, (effect) => {
			const whole = this.#read(key).bytes;
			const last = whole.subarray(Math.max(0, whole.length - bytes));
			return { bytes: this.#receive(cutOff(last, effect)), sizeBytes: whole.length };
		});
	}

	head(key: string): Promise<ObjectInfo | undefined> {
		return this.#perform("head", key, 0, () => this.bucket.find(key, this.#agoMs())?.info);
	}

	list(prefix: string, after = ""): Promise<ObjectPage> {
		return this.#perform("list", prefix, 0, () => {
			const agoMs = this.#agoMs();
			const keys = this.bucket.keys(prefix, agoMs).filter((key) => key > after);
			const objects = keys
				.slice(0, Math.min(1000, this.pageObjects))
				.flatMap((key) => this.bucket.find(key, agoMs)?.info ?? []);
			return { objects, more: objects.length < keys.length };
		});
	}

	delete(key: string): Promise<void> {
		return this.#change("delete", key, undefined, (effect) => {
			if (effect !== "none") this.bucket.delete(key);
		});
	}

	async close(): Promise<void> {
		for (const { reject } of this.#abandon()) reject(new StoreError("unreachable", `${this.name} was closed`));
	}

	// Within.

	#put(key: string, body: Uint8Array, effect: Effect): string | undefined {
		return effect === "none" ? "0".repeat(32) : this.bucket.put(key, cutOff(body, effect));
	}

	#read(key: string): { readonly bytes: Buffer } {
		const object = this.bucket.find(key, this.#agoMs());
		if (object === undefined) throw new StoreError("not-found", `${key} is not in ${this.name}`);
		return object;
	}

	#receive(bytes: Uint8Array): Buffer {
		this.bytesReceived += bytes.length;
		return Buffer.from(bytes);
	}

	#agoMs(): number {
		if (this.staleMs <= 0 || !this.#random.chance(this.staleChance)) return 0;
		return this.#random.fraction() * this.staleMs;
	}

	async #change<T>(
		call: StoreCall,
		key: string,
		body: Uint8Array | undefined,
		task: (effect: Effect) => T,
	): Promise<T> {
		requireKey(key);
		if (call !== "putPart" && body !== undefined && body.length > this.partBytes)
			throw new StoreError("refused", `${key} has ${body.length} bytes: ${this.partBytes} is the most in one request`);
		this.bytesSent += body?.length ?? 0;
		return this.#perform(call, key, body?.length ?? 0, task);
	}

	async #perform<T>(call: StoreCall, key: string, bytes: number, task: (effect: Effect) => T): Promise<T> {
		if (call === "list" || call === "uploads") requirePrefix(key);
		else requireKey(key);
		if (this.#gone) return new Promise(() => {});
		this.counts[call]++;
		const [least, most] = this.latencyMs;
		const durationMs = this.#random.between(least, most) + (bytes / this.bytesPerSecond) * 1000;
		const arrivesMs = durationMs * this.#random.fraction();
		return new Promise((resolve, reject) => {
			let answer = (): void => {};
			const running: Running = {
				arrived: false,
				arrive: () => {
					answer = this.#arrive(call, key, task, resolve, reject);
				},
				reject,
			};
			this.#running.add(running);
			this.#later(arrivesMs, () => {
				if (!this.#running.has(running)) return;
				running.arrived = true;
				running.arrive();
				this.#later(durationMs - arrivesMs, () => {
					if (this.#running.has(running) && answer !== silence) this.#running.delete(running);
					else return;
					answer();
				});
			});
		});
	}

	/** The request has come: what it changes changes now. Returns what tells the gateway. */
	#arrive<T>(
		call: StoreCall,
		key: string,
		task: (effect: Effect) => T,
		resolve: (value: T) => void,
		reject: (error: unknown) => void,
	): () => void {
		const refusal = this.#refusal(call);
		if (refusal !== undefined) return () => reject(refusal);
		const fault = this.#fault(call, key);
		let effect = fault?.effect ?? "whole";
		// A read that is told that all is well has an answer.
		if (effect === "none" && fault?.answer === "ok" && READS.has(call)) effect = "whole";
		let outcome: () => void;
		try {
			// Nothing happens, so nothing is looked at either.
			const value = effect === "none" && fault?.answer !== "ok" ? undefined : task(effect);
			outcome = () => resolve(value as T);
		} catch (error) {
			outcome = () => reject(error);
		}
		if (fault === undefined || fault.answer === "ok") return outcome;
		if (fault.answer === "silence") return silence;
		const error = new StoreError(fault.answer, `${key} in ${this.name}: ${call} failed on order (${fault.answer})`);
		return () => reject(error);
	}

	/** Why the store does not even look at the request. */
	#refusal(call: StoreCall): StoreError | undefined {
		if (this.away) return new StoreError("unreachable", `${this.name} cannot be reached: there is no link`);
		const skewMs = this.#clock.now() - this.bucket.now();
		if (Math.abs(skewMs) > this.maxSkewMs)
			return new StoreError("skewed", `${this.name}: the gateway's clock is ${skewMs} ms ahead of the store's`);
		if (this.credentialsExpired) return new StoreError("denied", `${this.name}: the credentials have expired`);
		if (this.bucket.missing) return new StoreError("no-bucket", `${this.name}: there is no such bucket`);
		if (call === "delete" && this.deleteForbidden)
			return new StoreError("denied", `${this.name}: a policy forbids to delete`);
		return undefined;
	}

	#fault(call: StoreCall, key: string): Pick<StoreFault, "effect" | "answer"> | undefined {
		for (const entry of this.#faults) {
			const { fault } = entry;
			if (fault.calls?.includes(call) === false || fault.key?.test(key) === false) continue;
			if (entry.passed < (fault.after ?? 0)) {
				entry.passed++;
			} else if (entry.failed < (fault.times ?? 1)) {
				entry.failed++;
				return fault;
			}
		}
		if (this.troubleChance > 0 && this.#random.chance(this.troubleChance))
			return { effect: this.#random.pick(["none", "whole"] as const), answer: "unreachable" };
		return undefined;
	}

	/** At once means: not before the caller's turn of the event loop has gone on. */
	#later(ms: number, task: () => void): void {
		if (ms > 0) this.#clock.after(ms, task);
		else queueMicrotask(task);
	}
}

/** The answer that never comes. */
function silence(): void {}

function cutOff(bytes: Uint8Array, effect: Effect): Uint8Array {
	return effect === "short" ? bytes.subarray(0, shortened(bytes.length)) : bytes;
}
