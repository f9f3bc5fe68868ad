/** Where `consume` begins: earliest, latest, an offset, a time, or how long ago. */

import { parseQuantity, TIME_UNITS } from "../config/units.ts";
import type { SubscribeFrom } from "../native/client/types.ts";
import { UsageError } from "./failure.ts";

const ISO_TIME = /^\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?)?$/i;

/** `nowMs`: what `-2h` counts from. A time without a zone is local time; a date alone is UTC. Throws UsageError. */
export function parsePosition(text: string, nowMs: number): SubscribeFrom {
	if (text === "earliest" || text === "latest") return text;
	if (/^\d+$/.test(text)) {
		const offset = Number(text);
		if (Number.isSafeInteger(offset)) return { offset };
	}
	if (text.startsWith("-")) {
		const ago = parseQuantity(text.slice(1), TIME_UNITS, Number.NaN);
		if (ago !== undefined && ago >= 0) return { timestamp: Math.max(0, Math.round(nowMs - ago)) };
	}
	if (ISO_TIME.test(text)) {
		const timestamp = Date.parse(text.replace(" ", "T"));
		if (!Number.isNaN(timestamp)) return { timestamp };
	}
	throw new UsageError(
		`--from ${JSON.stringify(text)} is no position: earliest, latest, an offset (17), a time (2026-05-01T12:00:00Z), or how long ago (-2h, -90s, -7d)`,
	);
}
