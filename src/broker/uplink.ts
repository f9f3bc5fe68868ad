/**
 * The budget of the link to the outside: bytes a second, a day and a month, for everything that uploads. Who wants to send
 * takes its bytes first, and waits for its turn.
 *
 * Days and months are those of the local clock, which steps. A step back begins no new one, nor does a clock that is not
 * set; one that has begun without reason ends when it would have. What was taken is stored ahead of its use, in portions: a
 * crash costs some of the budget, never more than the budget.
 */
import type { Clock, Timer } from "../base/clock.ts";
import { CLOCK_SET_MS } from "./row-ages.ts";

/** 0: no limit. */
export interface UplinkOptions {
	readonly bytesPerSecond: number;
	readonly bytesPerDay: number;
	readonly bytesPerMonth: number;
}

/** Where the counts are between two starts. */
export interface UplinkRow {
	load(): Uint8Array | undefined;
	/** Durable soon after. May throw where storage refuses. */
	save(row: Uint8Array): void;
}

export interface UplinkPeriod {
	readonly bytes: number;
	/** undefined: no limit. */
	readonly left: number | undefined;
	/** When it ends, by the wall clock. */
	readonly resetsMs: number;
	/** Bytes by then, if it goes on as it has so far. */
	readonly forecastBytes: number;
}

export interface UplinkReport {
	readonly day: UplinkPeriod;
	readonly month: UplinkPeriod;
}

type Unit = "day" | "month";

interface Period {
	/** When it began, by the wall clock. */
	startMs: number;
	bytes: number;
	/** Since when it is known here, by the monotonic clock. */
	sinceMs: number;
}

interface Waiting {
	readonly bytes: number;
	readonly go: () => void;
}

const DAY_MS = 86_400_000;
const LENGTH_MS: Readonly<Record<Unit, number>> = { day: DAY_MS, month: 31 * DAY_MS };
/** Less than this a clock may go back without having been wrong before: it was set, or kept over a power cut. */
const STEP_BACK_MS = 2 * DAY_MS;
/** What may leave at once, at the limit a second. */
const BURST_MS = 250;
/** A clock that steps tells nobody: who waits for a day's end looks again. */
const LOOK_MS = 30_000;
/** Of the smallest limit a portion is one part in so many. */
const PORTIONS = 128;
const PORTION_BYTES_MIN = 65_536;
const PORTION_BYTES_MAX = 16_777_216;
const FORECAST_FROM_MS = 3_600_000;
const ROW_FORMAT = 1;
/** The format, and four numbers of eight bytes. */
const ROW_BYTES = 33;

export class Uplink {
	readonly #options: UplinkOptions;
	readonly #clock: Clock;
	readonly #row: UplinkRow;
	readonly #day: Period;
	readonly #month: Period;
	readonly #portionBytes: number;
	/** What the row has beyond what was taken. */
	#aheadBytes = 0;
	/** What may leave now; less than nothing where more left than the limit lets for a while. */
	#allowance: number;
	#refilledMs: number;
	/** In the order in which they came. */
	#queue: Waiting[] = [];
	#timer: Timer | undefined;

	constructor(options: UplinkOptions, clock: Clock, row: UplinkRow) {
		this.#options = options;
		this.#clock = clock;
		this.#row = row;
		const sinceMs = clock.monotonic();
		const stored = decode(row.load());
		this.#day = { startMs: stored?.day.startMs ?? startOf("day", clock.now()), bytes: stored?.day.bytes ?? 0, sinceMs };
		this.#month = {
			startMs: stored?.month.startMs ?? startOf("month", clock.now()),
			bytes: stored?.month.bytes ?? 0,
			sinceMs,
		};
		const limits = [options.bytesPerDay, options.bytesPerMonth].filter((limit) => limit > 0);
		this.#portionBytes = Math.max(
			PORTION_BYTES_MIN,
			Math.min(PORTION_BYTES_MAX, ...limits.map((one) => one / PORTIONS)),
		);
		this.#allowance = this.#burstBytes;
		this.#refilledMs = sinceMs;
	}

	get #burstBytes(): number {
		return (this.#options.bytesPerSecond * BURST_MS) / 1000;
	}

	/**
	 * Resolves when `bytes` may be sent: they count from then on, whether they arrive or not. More than the limit a second
	 * lets delays who comes next. More than is left of a day or a month waits for the next; more than a whole one holds goes
	 * when nothing else of it was used, and what is too much counts in the next. Rejects with the signal's reason.
	 */
	async take(bytes: number, signal: AbortSignal): Promise<void> {
		signal.throwIfAborted();
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const waiting = { bytes, go: resolve };
		const abort = (): void => {
			this.#queue = this.#queue.filter((other) => other !== waiting);
			reject(signal.reason as Error);
			this.#serve();
		};
		signal.addEventListener("abort", abort, { once: true });
		this.#queue.push(waiting);
		this.#serve();
		try {
			await promise;
		} finally {
			signal.removeEventListener("abort", abort);
		}
	}

	/** What may still be sent of this day and this month; undefined: no limit. */
	get left(): number | undefined {
		const { day, month } = this.report();
		if (day.left === undefined || month.left === undefined) return day.left ?? month.left;
		return Math.min(day.left, month.left);
	}

	report(): UplinkReport {
		this.#turnPages();
		const nowMs = this.#clock.now();
		return { day: this.#reportOf("day", this.#day, nowMs), month: this.#reportOf("month", this.#month, nowMs) };
	}

	/** Until when the day or the month has no room for so many, by the wall clock; undefined where both have. */
	blockedUntilMs(bytes: number): number | undefined {
		const { day, month } = this.report();
		const full = [day, month].filter(({ left }) => left !== undefined && left < bytes);
		return full.length === 0 ? undefined : Math.max(...full.map(({ resetsMs }) => resetsMs));
	}

	#reportOf(unit: Unit, { startMs, bytes }: Period, nowMs: number): UplinkPeriod {
		const limit = this.#limitOf(unit);
		const resetsMs = endOf(unit, startMs);
		const passedMs = Math.max(FORECAST_FROM_MS, nowMs - startMs);
		return {
			bytes,
			left: limit === 0 ? undefined : Math.max(0, limit - bytes),
			resetsMs,
			forecastBytes: Math.max(bytes, Math.round((bytes * (resetsMs - startMs)) / passedMs)),
		};
	}

	/** Stores what was taken as it is: after an upload, and at the end. Throws what the row throws. */
	settle(): void {
		if (this.#aheadBytes > 0) this.#save(0);
	}

	#limitOf(unit: Unit): number {
		return unit === "day" ? this.#options.bytesPerDay : this.#options.bytesPerMonth;
	}

	#serve(): void {
		this.#timer?.cancel();
		this.#timer = undefined;
		for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
			const waitMs = this.#waitMs(next.bytes);
			if (waitMs > 0) {
				this.#timer = this.#clock.after(waitMs, () => this.#serve());
				return;
			}
			this.#queue.shift();
			this.#count(next.bytes);
			next.go();
		}
	}

	#waitMs(bytes: number): number {
		this.#turnPages();
		this.#refill();
		if (!this.#fits("day", this.#day, bytes) || !this.#fits("month", this.#month, bytes)) return LOOK_MS;
		const { bytesPerSecond } = this.#options;
		if (bytesPerSecond === 0 || this.#allowance >= Math.min(bytes, this.#burstBytes)) return 0;
		return Math.max(1, Math.ceil(((Math.min(bytes, this.#burstBytes) - this.#allowance) * 1000) / bytesPerSecond));
	}

	#fits(unit: Unit, period: Period, bytes: number): boolean {
		const limit = this.#limitOf(unit);
		return limit === 0 || period.bytes + bytes <= limit || (period.bytes === 0 && bytes > limit);
	}

	#refill(): void {
		const nowMs = this.#clock.monotonic();
		const gained = ((nowMs - this.#refilledMs) * this.#options.bytesPerSecond) / 1000;
		this.#allowance = Math.min(this.#burstBytes, this.#allowance + gained);
		this.#refilledMs = nowMs;
	}

	#count(bytes: number): void {
		if (this.#options.bytesPerSecond > 0) this.#allowance -= bytes;
		this.#day.bytes += bytes;
		this.#month.bytes += bytes;
		this.#aheadBytes -= bytes;
		if (this.#aheadBytes >= 0) return;
		try {
			this.#save(this.#portionBytes);
		} catch {
			// A full disk is no reason to send nothing: what is sent may leave it. It is tried again with what is taken next.
		}
	}

	/** Ends the day and the month where the clock says so. */
	#turnPages(): void {
		const turned = [this.#turn("day", this.#day), this.#turn("month", this.#month)];
		// It is stored with the next bytes that are taken: until then nothing is lost with it.
		if (turned.includes(true)) this.#aheadBytes = 0;
	}

	#turn(unit: Unit, period: Period): boolean {
		const nowMs = this.#clock.now();
		const monotonicMs = this.#clock.monotonic();
		const startMs = startOf(unit, nowMs);
		if (startMs === period.startMs) return false;
		const limit = this.#limitOf(unit);
		const periods = Math.max(1, Math.floor((startMs - period.startMs) / LENGTH_MS[unit] + 0.1));
		let bytes = limit === 0 ? 0 : Math.max(0, period.bytes - limit * periods);
		if (startMs > period.startMs) {
			// It began by a clock that was not set, and may be the same day.
			if (period.startMs < CLOCK_SET_MS && nowMs >= CLOCK_SET_MS) bytes = period.bytes;
		} else if (monotonicMs - period.sinceMs < LENGTH_MS[unit]) {
			if (nowMs < CLOCK_SET_MS || period.startMs - nowMs < STEP_BACK_MS) return false;
			bytes = period.bytes;
		}
		Object.assign(period, { startMs, bytes, sinceMs: monotonicMs });
		return true;
	}

	#save(aheadBytes: number): void {
		const row = Buffer.alloc(ROW_BYTES);
		row[0] = ROW_FORMAT;
		[this.#day, this.#month].forEach(({ startMs, bytes }, i) => {
			row.writeDoubleBE(startMs, 1 + i * 16);
			row.writeDoubleBE(bytes + aheadBytes, 9 + i * 16);
		});
		this.#row.save(row);
		this.#aheadBytes = aheadBytes;
	}
}

function decode(row: Uint8Array | undefined): Readonly<Record<Unit, Omit<Period, "sinceMs">>> | undefined {
	if (row?.length !== ROW_BYTES || row[0] !== ROW_FORMAT) return undefined;
	const bytes = Buffer.from(row);
	const at = (position: number) => ({ startMs: bytes.readDoubleBE(position), bytes: bytes.readDoubleBE(position + 8) });
	return { day: at(1), month: at(17) };
}

function startOf(unit: Unit, timeMs: number): number {
	const time = new Date(timeMs);
	return new Date(time.getFullYear(), time.getMonth(), unit === "day" ? time.getDate() : 1).getTime();
}

function endOf(unit: Unit, startMs: number): number {
	const time = new Date(startMs);
	const [year, month, day] = [time.getFullYear(), time.getMonth(), time.getDate()];
	return (unit === "day" ? new Date(year, month, day + 1) : new Date(year, month + 1, 1)).getTime();
}
