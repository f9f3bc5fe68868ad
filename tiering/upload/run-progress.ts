/** How far an upload run is, for people. */
import type { Clock } from "../../src/base/clock.ts";
import type { TierRunStatus } from "../../src/broker/tier-admin.ts";

/** The rate is that of so many milliseconds, or of the last part where that took longer. */
const RATE_MS = 30_000;

export class RunProgress {
	readonly #clock: Clock;
	readonly #sinceMs: number;
	#totalBytes = 0;
	#storedBytes = 0;
	#bundles = 0;
	/** Of the bundle under way. */
	#attemptBytes = 0;
	/** Of these, those that have left, more or less: what was packed when a part had. */
	#leftBytes = 0;
	/** By the monotonic clock. */
	#parts: { readonly bytes: number; readonly fromMs: number }[] = [];

	constructor(clock: Clock) {
		this.#clock = clock;
		this.#sinceMs = clock.now();
	}

	/** `totalBytes`: record batches that there are to upload. */
	begin(totalBytes: number): void {
		this.#totalBytes = totalBytes;
	}

	/** Record batches went into the bundle under way. */
	added(bytes: number): void {
		this.#attemptBytes += bytes;
	}

	/** Of the bundle under way, record batches. */
	get attemptBytes(): number {
		return this.#attemptBytes;
	}

	/** They have left, from the monotonic clock's `fromMs` to now. */
	sent(bytes: number, fromMs: number): void {
		this.#parts.push({ bytes, fromMs });
		this.#leftBytes = this.#attemptBytes;
		this.#forget();
	}

	#forget(): void {
		const oldestMs = this.#clock.monotonic() - RATE_MS;
		while (this.#parts.length > 1 && (this.#parts[0]?.fromMs ?? 0) < oldestMs) this.#parts.shift();
	}

	/** The bundle under way counts. */
	stored(): void {
		this.#bundles += 1;
		this.#storedBytes += this.#attemptBytes;
		this.#attemptBytes = this.#leftBytes = 0;
	}

	/** The bundle under way comes to nothing. */
	giveUp(): void {
		this.#attemptBytes = this.#leftBytes = 0;
	}

	status(): Omit<TierRunStatus, "waitsUntilMs" | "waitsFor"> {
		this.#forget();
		const doneBytes = this.#storedBytes + this.#leftBytes;
		const sentBytes = this.#parts.reduce((sum, { bytes }) => sum + bytes, 0);
		const sentMs = this.#clock.monotonic() - (this.#parts[0]?.fromMs ?? 0);
		return {
			sinceMs: this.#sinceMs,
			bundles: this.#bundles,
			doneBytes,
			totalBytes: Math.max(this.#totalBytes, doneBytes),
			bytesPerSecond: sentMs <= 0 ? 0 : Math.round((sentBytes * 1000) / sentMs),
		};
	}
}
