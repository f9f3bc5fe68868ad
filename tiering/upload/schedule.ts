/**
 * When to upload: at the minutes of a cron expression, earlier when much is pending or has been for long, and in the
 * minutes of a window only, where there is one.
 *
 * A gateway's clock steps, by decades when it is set. What holds whatever it does: two scheduled runs never begin within a
 * minute, and a scheduled minute does not begin a second one. Minutes that nobody saw (the gateway was off, the clock was set
 * forward, the window was shut) are made up for by one run, and by none within an hour of the last one.
 */
import type { Clock } from "../../src/base/clock.ts";
import { type CronProblem, CronTimes } from "../../src/base/cron.ts";

export interface ScheduleOptions {
	/** Of the configuration (`gateway.id`): gives the gateway its own minute of the hour, and its own second of each minute. */
	readonly gatewayId: string;
	/** A cron expression; empty: hourly at the gateway's own minute; `never`. */
	readonly schedule: string;
	/** A cron expression of the minutes in which runs may begin; empty: all. */
	readonly window: string;
	/** So many bytes pending begin a run; 0: never. */
	readonly uploadBytes: number;
	/** Something pending for so long begins a run; 0: never. */
	readonly uploadAgeMs: number;
	/** When the last upload before this start was, by the wall clock. */
	readonly lastRunMs: number | undefined;
}

/** `missed`: for scheduled minutes that went by. */
export type RunReason = "schedule" | "missed" | "bytes" | "age";

const MINUTE_MS = 60_000;
/** What is left of the minute behind them is longer than between two questions. */
const OWN_SECONDS = 45;
/** Between two runs when the second is for what was missed, or after one that failed, at most. */
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const SLOTS_LOOKED_AT = 48;

/** What a key may hold that has a cron expression: undefined where `text` is right. */
export async function scheduleProblem(
	key: "tier.schedule" | "tier.window" | "upstream.window",
	text: string,
): Promise<CronProblem | undefined> {
	if (text === "" || (key === "tier.schedule" && text === "never")) return undefined;
	const read = await CronTimes.read(text);
	return read instanceof CronTimes ? undefined : read;
}

export class Schedule {
	readonly #clock: Clock;
	readonly #options: ScheduleOptions;
	readonly #times: CronTimes | undefined;
	readonly #window: CronTimes | undefined;
	/** Scheduled minutes inside of the window. */
	readonly #open: CronTimes | undefined;
	/** How far into a minute a run begins, so that many gateways with one expression do not begin as one. */
	readonly #ownMs: number;
	/** By the wall clock: scheduled minutes before it are done with. */
	#doneMs: number;
	/** When the last scheduled minute began that a run was begun for. */
	#lastSlotMs: number | undefined;
	/** By the monotonic clock. */
	#lastBeganMs = Number.NEGATIVE_INFINITY;
	#lastEndedMs = Number.NEGATIVE_INFINITY;
	#pendingSinceMs: number | undefined;
	#failures = 0;
	#running = false;

	private constructor(
		clock: Clock,
		options: ScheduleOptions,
		times: CronTimes | undefined,
		window: CronTimes | undefined,
	) {
		this.#clock = clock;
		this.#options = options;
		this.#times = times;
		this.#window = window;
		this.#open = window === undefined ? times : times?.within(window);
		this.#ownMs = (Math.floor(hashOf(options.gatewayId) / 60) % OWN_SECONDS) * 1000;
		const nowMs = clock.now();
		this.#doneMs = Math.min(options.lastRunMs ?? nowMs, nowMs);
	}

	/** The expressions have been checked with `scheduleProblem`: throws RangeError where they are wrong all the same. */
	static async make(clock: Clock, options: ScheduleOptions): Promise<Schedule> {
		const read = async (text: string): Promise<CronTimes> => {
			const times = await CronTimes.read(text);
			if (times instanceof CronTimes) return times;
			throw new RangeError(`${times.wrong}: ${times.right}`);
		};
		const hourly = options.schedule === "" ? CronTimes.hourly(hashOf(options.gatewayId) % 60) : undefined;
		const times = hourly ?? (options.schedule === "never" ? undefined : await read(options.schedule));
		return new Schedule(clock, options, times, options.window === "" ? undefined : await read(options.window));
	}

	/** Whether a run that nobody asked for may begin in this minute. */
	get isOpen(): boolean {
		return this.#window?.matches(this.#clock.now()) ?? true;
	}

	/** Whether to begin a run now: to be asked every 10 seconds, or more often. `pendingBytes`: what is not uploaded yet. */
	due(pendingBytes: number): RunReason | undefined {
		const monotonicMs = this.#clock.monotonic();
		if (pendingBytes === 0) this.#pendingSinceMs = undefined;
		else this.#pendingSinceMs ??= monotonicMs;
		if (this.#running || !this.isOpen) return undefined;
		return this.#dueByTime(monotonicMs) ?? this.#dueByPending(pendingBytes, monotonicMs);
	}

	#dueByTime(monotonicMs: number): RunReason | undefined {
		if (this.#times === undefined || monotonicMs - this.#lastBeganMs < MINUTE_MS) return undefined;
		const nowMs = this.#clock.now();
		const minuteMs = nowMs - (nowMs % MINUTE_MS);
		if (nowMs - minuteMs < this.#ownMs) return undefined;
		if (minuteMs !== this.#lastSlotMs && this.#times.matches(minuteMs)) {
			this.#lastSlotMs = minuteMs;
			return "schedule";
		}
		// The clock went back: minutes count from now on, or none would until it is where it was.
		this.#doneMs = Math.min(this.#doneMs, nowMs);
		const slotMs = this.#slotAfter(this.#times, this.#doneMs);
		const isMissed = slotMs !== undefined && slotMs < minuteMs;
		return isMissed && monotonicMs - this.#lastBeganMs >= HOUR_MS ? "missed" : undefined;
	}

	/** The first scheduled minute that begins after `timeMs`, but for the one that a run was begun for. */
	#slotAfter(times: CronTimes | undefined, timeMs: number): number | undefined {
		const slotMs = times?.after(timeMs);
		return slotMs !== undefined && slotMs === this.#lastSlotMs ? times?.after(slotMs) : slotMs;
	}

	#dueByPending(pendingBytes: number, monotonicMs: number): RunReason | undefined {
		const { uploadBytes, uploadAgeMs } = this.#options;
		const waitMs = this.#failures === 0 ? 0 : Math.min(HOUR_MS, MINUTE_MS * 2 ** Math.min(this.#failures - 1, 10));
		if (pendingBytes === 0 || monotonicMs - this.#lastEndedMs < waitMs) return undefined;
		if (uploadBytes > 0 && pendingBytes >= uploadBytes) return "bytes";
		const sinceMs = this.#pendingSinceMs ?? monotonicMs;
		return uploadAgeMs > 0 && monotonicMs - sinceMs >= uploadAgeMs ? "age" : undefined;
	}

	/** A run begins, whoever asked for it. */
	began(): void {
		this.#running = true;
		this.#lastBeganMs = this.#clock.monotonic();
		this.#doneMs = this.#clock.now();
	}

	/** `uploaded`: all that was pending when it began is out. What came since has been pending since then. */
	ended(uploaded: boolean): void {
		this.#running = false;
		this.#lastEndedMs = this.#clock.monotonic();
		// A run that took hours does not owe the minutes that it ran through; a clock that stepped back owes none either.
		this.#doneMs = this.#clock.now();
		this.#failures = uploaded ? 0 : this.#failures + 1;
		if (uploaded) this.#pendingSinceMs = this.#lastBeganMs;
	}

	/** How far apart scheduled runs are, at most, in the next two days or so; a day where none is scheduled. */
	intervalMs(): number {
		let mostMs = 0;
		let slotMs = this.#open?.after(this.#clock.now());
		for (let i = 0; i < SLOTS_LOOKED_AT && slotMs !== undefined; i++) {
			const nextMs = this.#open?.after(slotMs);
			if (nextMs === undefined) break;
			mostMs = Math.max(mostMs, nextMs - slotMs);
			slotMs = nextMs;
		}
		return mostMs === 0 ? DAY_MS : mostMs;
	}

	/** When the next scheduled run is to begin, by the wall clock as it goes now; undefined where there is none. */
	nextRunMs(): number | undefined {
		const nowMs = this.#clock.now();
		const slotMs = this.#slotAfter(this.#open, nowMs - this.#ownMs);
		// What falls outside of the window is made up for when it opens.
		const openMs = this.isOpen ? undefined : this.#window?.after(nowMs);
		const missedMs = this.#slotAfter(this.#times, Math.min(this.#doneMs, nowMs));
		const nextMs = openMs !== undefined && missedMs !== undefined && missedMs < openMs ? openMs : slotMs;
		return nextMs === undefined ? undefined : nextMs + this.#ownMs;
	}
}

/** 0 to 3599: FNV-1a of the name, so that a fleet's gateways spread over the hour. */
function hashOf(name: string): number {
	let hash = 0x811c9dc5;
	for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193);
	hash ^= hash >>> 15;
	return (Math.imul(hash, 0x85ebca6b) >>> 8) % 3600;
}
