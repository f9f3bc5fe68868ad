/**
 * The budget of the link to the outside: bytes a second, a day and a month, for everything that is sent over it. Who wants to
 * send takes its bytes first, and waits for its turn: what matters more goes first, and a part of the day and the month may be
 * kept for what matters most.
 *
 * Days and months are those of the local clock, which steps. A step back begins no new one, nor does a clock that is not
 * set; one that has begun without reason ends when it would have. What was taken is stored ahead of its use, in portions: a
 * crash costs some of the budget, never more than the budget.
 */
import type { Clock, Timer } from "../base/clock.ts";
import { StateSpace } from "../log/state-spaces.ts";
import type { Broker } from "./broker.ts";
import { RecentBytes } from "./recent-bytes.ts";
import { CLOCK_SET_MS } from "./row-ages.ts";

/** 0: no limit. */
export interface UplinkOptions {
	readonly bytesPerSecond: number;
	readonly bytesPerDay: number;
	readonly bytesPerMonth: number;
	/** Of the bytes a day and a month only `high` may take so many of a hundred. */
	readonly reservePercent: number;
}

/** In this order those who wait are served. */
const PRIORITIES = ["high", "normal", "low"] as const;
export type UplinkPriority = (typeof PRIORITIES)[number];

/** Where the counts are between two starts. */
export interface UplinkRow {
	load(): Uint8Array | undefined;
	/** Durable soon after. May throw where storage refuses. */
	save(row: Uint8Array): void;
}

export interface UplinkPeriod {
	readonly bytes: number;
	/** With what is kept for `high`; undefined: no limit. */
	readonly left: number | undefined;
	/** When it ends, by the wall clock. */
	readonly resetsMs: number;
	/** Bytes by then, if it goes on as it did of late. */
	readonly forecastBytes: number;
	/** When nothing will be left of it, if it goes on as it did of late; now, where nothing is; undefined: it lasts. */
	readonly exhaustedMs: number | undefined;
}

export interface UplinkReport {
	readonly day: UplinkPeriod;
	readonly month: UplinkPeriod;
}

const UNITS = ["day", "month"] as const;
type Unit = (typeof UNITS)[number];

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
/** Where there is no limit: what a crash adds to the count harms nobody, and must not make it useless. */
const PORTION_BYTES_UNLIMITED = 1_048_576;
/** A rate of fewer than so many tells nothing. */
const FORECAST_FROM_MS = 3_600_000;
/** What "of late" means for a day, and for a month, which has nights. */
const RECENT_HOURS: Readonly<Record<Unit, number>> = { day: 3, month: 24 };
/** Of a whole day's or month's bytes one part in so many may have been used already when more than a whole one's goes. */
const LITTLE = 100;
const ROW_FORMAT = 1;
/** The format, and four numbers of eight bytes. */
const ROW_BYTES = 33;

/** The one that everything of `broker` shares that is sent over the link. */
export function openUplink({ clock, log }: Broker, options: UplinkOptions): Uplink {
	return new Uplink(options, clock, {
		load: () => log.getState(StateSpace.UPLINK, ""),
		save: (row) => log.putState(StateSpace.UPLINK, "", row),
	});
}

export class Uplink {
	readonly #options: UplinkOptions;
	readonly #clock: Clock;
	readonly #row: UplinkRow;
	readonly #periods: Readonly<Record<Unit, Period>>;
	readonly #portionBytes: number;
	/** What the row has beyond what was taken. */
	#aheadBytes = 0;
	readonly #recent: RecentBytes;
	/**
	 * What may leave now, of each priority; less than nothing where more left than the limit lets for a while. What leaves
	 * counts for its own priority and for the lower ones: an alarm does not wait for what a large upload took in advance.
	 */
	readonly #allowances: number[];
	#refilledMs: number;
	/** Of each priority, in the order in which they came. */
	readonly #lanes: Waiting[][] = PRIORITIES.map(() => []);
	#timer: Timer | undefined;

	constructor(options: UplinkOptions, clock: Clock, row: UplinkRow) {
		this.#options = options;
		this.#clock = clock;
		this.#row = row;
		const sinceMs = clock.monotonic();
		const stored = decode(row.load());
		const open = (unit: Unit): Period => {
			const { startMs = startOf(unit, clock.now()), bytes = 0 } = stored?.[unit] ?? {};
			return { startMs, bytes, sinceMs };
		};
		this.#periods = { day: open("day"), month: open("month") };
		const limits = [options.bytesPerDay, options.bytesPerMonth].filter((limit) => limit > 0);
		this.#portionBytes = Math.max(
			PORTION_BYTES_MIN,
			limits.length === 0
				? PORTION_BYTES_UNLIMITED
				: Math.min(PORTION_BYTES_MAX, ...limits.map((one) => one / PORTIONS)),
		);
		this.#allowances = PRIORITIES.map(() => this.#burstBytes);
		this.#refilledMs = sinceMs;
		this.#recent = new RecentBytes(clock);
	}

	get #burstBytes(): number {
		return (this.#options.bytesPerSecond * BURST_MS) / 1000;
	}

	/**
	 * Resolves when `bytes` may be sent: they count from then on, whether they arrive or not. Nobody is served while somebody
	 * of a higher priority waits. More than the limit a second lets delays who comes next. More than is left of a day or a
	 * month waits for the next; more than a whole one holds goes when little else of it was used, and what is too much counts
	 * in the next. Rejects with the signal's reason.
	 */
	async take(bytes: number, signal: AbortSignal, priority: UplinkPriority = "low"): Promise<void> {
		signal.throwIfAborted();
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const waiting = { bytes, go: resolve };
		const lane = this.#lanes[PRIORITIES.indexOf(priority)] as Waiting[];
		const abort = (): void => {
			const at = lane.indexOf(waiting);
			if (at < 0) return;
			lane.splice(at, 1);
			reject(signal.reason as Error);
			this.#serve();
		};
		signal.addEventListener("abort", abort, { once: true });
		lane.push(waiting);
		this.#serve();
		try {
			await promise;
		} finally {
			signal.removeEventListener("abort", abort);
		}
	}

	/** Counts what has been sent without having been taken; below 0, gives back what was taken and not sent. */
	charge(bytes: number): void {
		this.#turnPages();
		this.#refill();
		this.#count(bytes, 0);
		if (bytes < 0) this.#serve();
	}

	/** What may still be sent of this day and this month; undefined: no limit. */
	left(priority: UplinkPriority = "low"): number | undefined {
		this.#turnPages();
		const left = UNITS.map((unit) => this.#leftOf(unit, priority)).filter((bytes) => bytes !== undefined);
		return left.length === 0 ? undefined : Math.min(...left);
	}

	report(): UplinkReport {
		this.#turnPages();
		const nowMs = this.#clock.now();
		return { day: this.#reportOf("day", nowMs), month: this.#reportOf("month", nowMs) };
	}

	/** Until when the day or the month has no room for so many, by the wall clock; undefined where both have. */
	blockedUntilMs(bytes: number, priority: UplinkPriority = "low"): number | undefined {
		this.#turnPages();
		const full = UNITS.filter((unit) => !this.#fits(unit, bytes, priority));
		return full.length === 0 ? undefined : Math.max(...full.map((unit) => endOf(unit, this.#periods[unit].startMs)));
	}

	#leftOf(unit: Unit, priority: UplinkPriority): number | undefined {
		const limit = this.#limitOf(unit, priority);
		return limit === undefined ? undefined : Math.max(0, limit - this.#periods[unit].bytes);
	}

	#reportOf(unit: Unit, nowMs: number): UplinkPeriod {
		const { startMs, bytes } = this.#periods[unit];
		const left = this.#leftOf(unit, "high");
		const resetsMs = endOf(unit, startMs);
		const bytesPerMs = this.#rateOf(unit, nowMs);
		const moreBytes = bytesPerMs * Math.max(0, resetsMs - nowMs);
		const lasts = left === undefined || (left > 0 && left >= moreBytes);
		return {
			...{ bytes, left, resetsMs },
			forecastBytes: Math.round(bytes + moreBytes),
			exhaustedMs: lasts ? undefined : nowMs + (left === 0 ? 0 : Math.round(left / bytesPerMs)),
		};
	}

	/** Of late; soon after a start, when that is not known for long, of the whole day or month, if that is more. */
	#rateOf(unit: Unit, nowMs: number): number {
		const { startMs, bytes } = this.#periods[unit];
		const recent = this.#recent.last(RECENT_HOURS[unit]);
		const recentRate = recent.bytes / Math.max(FORECAST_FROM_MS, recent.ms);
		if (recent.isWhole) return recentRate;
		return Math.max(recentRate, bytes / Math.max(FORECAST_FROM_MS, nowMs - startMs));
	}

	/** Stores what was taken as it is: after an upload, and at the end. Where storage refuses, what is stored is more. */
	settle(): void {
		if (this.#aheadBytes > 0) this.#save(0);
	}

	/** undefined: none. */
	#limitOf(unit: Unit, priority: UplinkPriority = "high"): number | undefined {
		const { bytesPerDay, bytesPerMonth, reservePercent } = this.#options;
		const limit = unit === "day" ? bytesPerDay : bytesPerMonth;
		if (limit === 0) return undefined;
		return priority === "high" ? limit : Math.floor((limit * (100 - reservePercent)) / 100);
	}

	#serve(): void {
		this.#timer?.cancel();
		this.#timer = undefined;
		for (;;) {
			const rank = this.#lanes.findIndex((lane) => lane.length > 0);
			const next = this.#lanes[rank]?.[0];
			if (next === undefined) return;
			const waitMs = this.#waitMs(next.bytes, rank);
			if (waitMs > 0) {
				this.#timer = this.#clock.after(waitMs, () => this.#serve());
				return;
			}
			this.#lanes[rank]?.shift();
			this.#count(next.bytes, rank);
			next.go();
		}
	}

	#waitMs(bytes: number, rank: number): number {
		this.#turnPages();
		this.#refill();
		const priority = PRIORITIES[rank] as UplinkPriority;
		if (UNITS.some((unit) => !this.#fits(unit, bytes, priority))) return LOOK_MS;
		const { bytesPerSecond } = this.#options;
		const missing = Math.min(bytes, this.#burstBytes) - (this.#allowances[rank] as number);
		return bytesPerSecond === 0 || missing <= 0 ? 0 : Math.max(1, Math.ceil((missing * 1000) / bytesPerSecond));
	}

	#fits(unit: Unit, bytes: number, priority: UplinkPriority): boolean {
		const limit = this.#limitOf(unit, priority);
		const used = this.#periods[unit].bytes;
		if (limit === undefined || used + bytes <= limit) return true;
		return bytes > limit && limit > 0 && used <= limit / LITTLE;
	}

	#refill(): void {
		const nowMs = this.#clock.monotonic();
		const gained = ((nowMs - this.#refilledMs) * this.#options.bytesPerSecond) / 1000;
		this.#allow(gained, 0);
		this.#refilledMs = nowMs;
	}

	/** For the priority of that rank and those below it. */
	#allow(bytes: number, rank: number): void {
		if (this.#options.bytesPerSecond === 0) return;
		for (let i = rank; i < this.#allowances.length; i++)
			this.#allowances[i] = Math.min(this.#burstBytes, (this.#allowances[i] as number) + bytes);
	}

	#count(bytes: number, rank: number): void {
		this.#allow(-bytes, rank);
		this.#recent.add(bytes);
		let added = Number.NEGATIVE_INFINITY;
		for (const unit of UNITS) {
			const period = this.#periods[unit];
			// What is given back may have been taken of an earlier one.
			const before = period.bytes;
			period.bytes = Math.max(0, before + bytes);
			added = Math.max(added, period.bytes - before);
		}
		this.#aheadBytes -= added;
		if (this.#aheadBytes < 0) this.#save(this.#portionBytes);
	}

	/** Ends the day and the month where the clock says so. */
	#turnPages(): void {
		const turned = UNITS.map((unit) => this.#turn(unit, this.#periods[unit]));
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
		let bytes = limit === undefined ? 0 : Math.max(0, period.bytes - limit * periods);
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
		UNITS.forEach((unit, i) => {
			const { startMs, bytes } = this.#periods[unit];
			row.writeDoubleBE(startMs, 1 + i * 16);
			row.writeDoubleBE(bytes + aheadBytes, 9 + i * 16);
		});
		try {
			this.#row.save(row);
			this.#aheadBytes = aheadBytes;
		} catch {
			// A full disk is no reason to send nothing: what is sent may leave it. It is tried again with what is taken next.
		}
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
