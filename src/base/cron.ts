/**
 * Minutes of the local wall clock, as a cron expression names them. node-cron reads the expression; what it means is
 * looked up here. Measured on Node 24.21: to load node-cron costs 7 MB resident, with node:child_process, which a gateway
 * with a store loads as well; to let it match a time as well costs 8 MB more, for Intl. So it is loaded only for an
 * expression, and asked for its fields alone.
 */

/** As node-cron reads them; day of month and day of week must both fit, as they must in node-cron. */
interface CronFields {
	readonly minute: readonly number[];
	readonly hour: readonly number[];
	readonly dayOfMonth: readonly number[];
	readonly month: readonly number[];
	readonly dayOfWeek: readonly number[];
}

/** `wrong` and `right` are for people: what the matter is and what may stand there. */
export interface CronProblem {
	readonly wrong: string;
	readonly right: string;
}

/** In 8 years there is a 29th of February, if not at the turn of a century. */
const DAYS_AHEAD = 366 * 8;
const EXAMPLE = 'minute hour day-of-month month day-of-week, as "15 * * * *" or "*/10 22-23,0-5 * * 1-5"';

export class CronTimes {
	readonly #days: readonly CronFields[];
	/** Minutes of a day, rising. */
	readonly #minutes: readonly number[];
	readonly #isMinute: ReadonlySet<number>;

	private constructor(days: readonly CronFields[], minutes: readonly number[]) {
		this.#days = days;
		this.#minutes = minutes;
		this.#isMinute = new Set(minutes);
	}

	/** Every hour at `minute`. */
	static hourly(minute: number): CronTimes {
		return new CronTimes(
			[],
			Array.from({ length: 24 }, (_, hour) => hour * 60 + minute),
		);
	}

	/** Problems are returned, not thrown. */
	static async read(expression: string): Promise<CronTimes | CronProblem> {
		const { parse } = await import("node-cron");
		const count = expression.trim().split(/\s+/).length;
		if (count === 6) return { wrong: `${JSON.stringify(expression)} has seconds`, right: `five fields: ${EXAMPLE}` };
		try {
			const fields = parse(expression);
			const all = [fields.minute, fields.hour, fields.dayOfMonth, fields.month, fields.dayOfWeek].flat();
			const word = all.find((value) => typeof value !== "number");
			if (word !== undefined)
				return {
					wrong: `${JSON.stringify(expression)}: ${word} is not understood here`,
					right: `numbers, names, ranges and steps; no L, W or #: ${EXAMPLE}`,
				};
			const numbers = fields as CronFields;
			const minutes = numbers.hour.flatMap((hour) => numbers.minute.map((minute) => hour * 60 + minute));
			return new CronTimes(
				[numbers],
				[...new Set(minutes)].sort((a, b) => a - b),
			);
		} catch (error) {
			return {
				wrong: `${JSON.stringify(expression)} is no cron expression (${(error as Error).message})`,
				right: EXAMPLE,
			};
		}
	}

	/** Minutes that are in both. */
	within(other: CronTimes): CronTimes {
		return new CronTimes(
			[...this.#days, ...other.#days],
			this.#minutes.filter((minute) => other.#isMinute.has(minute)),
		);
	}

	/** Whether the local minute that `timeMs` (since 1970) is in is one of them. */
	matches(timeMs: number): boolean {
		const time = new Date(timeMs);
		return this.#isMinute.has(minuteOf(time)) && this.#isDay(time);
	}

	/**
	 * When the first of them begins that begins after `timeMs`; undefined where none does for years. An hour that a
	 * change to summer time leaves out has no minutes; of one that comes twice only the first counts.
	 */
	after(timeMs: number): number | undefined {
		if (this.#minutes.length === 0) return undefined;
		const from = new Date(timeMs);
		for (let ahead = 0; ahead < DAYS_AHEAD; ahead++) {
			const day = new Date(from.getFullYear(), from.getMonth(), from.getDate() + ahead);
			if (!this.#isDay(day)) continue;
			const found = this.#firstOf(day, ahead === 0 ? minuteOf(from) : 0, timeMs);
			if (found !== undefined) return found;
		}
		return undefined;
	}

	#firstOf(day: Date, fromMinute: number, afterMs: number): number | undefined {
		for (const minute of this.#minutes) {
			// A change of the clocks may put a later minute before `afterMs` in wall time: an hour's worth is looked at anyway.
			if (minute < fromMinute - 60) continue;
			const time = new Date(day.getFullYear(), day.getMonth(), day.getDate(), 0, minute);
			if (minuteOf(time) === minute && time.getTime() > afterMs) return time.getTime();
		}
		return undefined;
	}

	#isDay(time: Date): boolean {
		return this.#days.every(
			({ dayOfMonth, month, dayOfWeek }) =>
				dayOfMonth.includes(time.getDate()) && month.includes(time.getMonth() + 1) && dayOfWeek.includes(time.getDay()),
		);
	}
}

/** Of the local day. */
function minuteOf(time: Date): number {
	return time.getHours() * 60 + time.getMinutes();
}
