/** Numbers, sizes and times for people: `1,234`, `1.2 MiB`, `2d 3h`. Programs get the plain ones (--json). */
import { parseQuantity, SIZE_UNITS, TIME_UNITS } from "../config/units.ts";

export function formatCount(value: number): string {
	return value.toLocaleString("en-US");
}

/** `1 record`, `1,234 records`. */
export function plural(count: number, one: string, many = `${one}s`): string {
	return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** Bytes with one decimal from 1 KiB on. */
export function formatBytes(bytes: number): string {
	const unit = SIZE_UNITS.find(([, factor]) => Math.abs(bytes) >= factor && factor > 1);
	return unit === undefined ? `${bytes} B` : `${(bytes / unit[1]).toFixed(1)} ${unit[0]}`;
}

/** The two largest units, `2d 3h`, `1m 5s`; below a minute seconds with one decimal, below a second `123 ms`. */
export function formatDuration(ms: number): string {
	if (ms < 1000) return `${Math.round(ms)} ms`;
	if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
	let left = Math.round(ms / 1000);
	const parts: string[] = [];
	for (const [unit, seconds] of [
		["d", 86_400],
		["h", 3600],
		["m", 60],
		["s", 1],
	] as const) {
		const n = Math.floor(left / seconds);
		left -= n * seconds;
		if (n > 0) parts.push(`${n}${unit}`);
		else if (parts.length > 0) break;
		if (parts.length === 2) break;
	}
	return parts.join(" ");
}

/** ISO 8601 in UTC; times that no calendar has (a record may carry any) as plain milliseconds. */
export function formatTime(timestampMs: number): string {
	const date = new Date(timestampMs);
	return Number.isNaN(date.getTime()) ? `${timestampMs} ms` : date.toISOString();
}

/** A topic setting as typed, with its unit taken away: `retention.ms=7d` gives `604800000`, else as it stands. */
export function plainSetting(name: string, value: string): string {
	if (!/[A-Za-z]$/.test(value)) return value;
	const units = name.endsWith(".ms") ? TIME_UNITS : name.endsWith(".bytes") ? SIZE_UNITS : undefined;
	const plain = units === undefined ? undefined : parseQuantity(value, units);
	return plain !== undefined && Number.isSafeInteger(plain) ? String(plain) : value;
}
