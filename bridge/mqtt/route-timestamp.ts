/** A record's timestamp from a field of its payload: what is read as a time, and which times are believed. */
import type { JsonFields } from "./route-json.ts";

const DAY_MS = 86_400_000;
/** How far before the arrival a timestamp may lie. */
export const PAST_MAX_MS = 3653 * DAY_MS;
/** And how far after. */
export const FUTURE_MAX_MS = DAY_MS;
/** From here on a number is milliseconds (1973), below it seconds (until the year 5138). */
const MILLISECONDS_FROM = 1e11;

const ISO_8601 =
	/^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:[Zz]|([+-])(\d{2}):?(\d{2})?)?$/;

/** Milliseconds since 1970; undefined where the field is no time, or one that is not believed. */
export function timestampOf(fields: JsonFields, slot: number, text: string, nowMs: number): number | undefined {
	const ms = fields.isNumber(slot) ? ofNumber(Number(text)) : ofIso(text);
	return ms >= nowMs - PAST_MAX_MS && ms <= nowMs + FUTURE_MAX_MS ? ms : undefined; // NaN is neither
}

function ofNumber(value: number): number {
	return Math.trunc(Math.abs(value) < MILLISECONDS_FROM ? value * 1000 : value);
}

/** Date and time of day, to the minute at least; without an offset it is UTC. NaN for anything else. */
function ofIso(text: string): number {
	const match = ISO_8601.exec(text);
	if (match === null) return Number.NaN;
	const part = (index: number) => Number(match[index] ?? 0);
	const [year, month, day, hour, minute, second] = [part(1), part(2), part(3), part(4), part(5), part(6)];
	const [offsetHours, offsetMinutes] = [part(9), part(10)];
	if (hour > 23 || minute > 59 || second > 59 || offsetHours > 23 || offsetMinutes > 59) return Number.NaN;
	const date = new Date(0);
	date.setUTCFullYear(year, month - 1, day); // Date.UTC takes years below 100 for others
	if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return Number.NaN;
	const fraction = Number((match[7] ?? "").padEnd(3, "0").slice(0, 3));
	const local = date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000 + fraction;
	const offset = (offsetHours * 60 + offsetMinutes) * 60_000;
	return match[8] === "-" ? local + offset : local - offset;
}
