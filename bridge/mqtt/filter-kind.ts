/**
 * What a topic filter asks for: the events of a topic as they come, a share of them (`$share/<group>/<filter>`, 5.0 section
 * 4.8.2), or those stored since a time, and then what comes (`$replay/<start>/<filter>`, ours). The codec has seen to it
 * that a filter is well formed.
 */

export type FilterKind =
	| { readonly kind: "plain"; readonly match: string }
	/** `group`: share name and filter, by which a shared subscription is known. */
	| { readonly kind: "share"; readonly match: string; readonly group: string }
	| { readonly kind: "replay"; readonly match: string; readonly start: ReplayStart };

/** An absolute time, milliseconds since 1970, or a time before now. */
export type ReplayStart = { readonly atMs: number } | { readonly beforeMs: number } | "earliest";

export const SHARE_PREFIX = "$share/";
const REPLAY_PREFIX = "$replay/";

/** Undefined for a filter under `$replay/` or `$share/` that cannot be. */
export function filterKind(filter: string): FilterKind | undefined {
	if (filter.startsWith(SHARE_PREFIX)) {
		const match = filter.slice(filter.indexOf("/", SHARE_PREFIX.length) + 1);
		// One group has one place in the log: `$share/g/$replay/...` would ask for two.
		if (match.startsWith(REPLAY_PREFIX) || match.startsWith(SHARE_PREFIX)) return undefined;
		return { kind: "share", match, group: filter.slice(SHARE_PREFIX.length) };
	}
	if (filter === "$replay" || filter.startsWith(REPLAY_PREFIX)) {
		const end = filter.indexOf("/", REPLAY_PREFIX.length);
		const start = replayStart(filter.slice(REPLAY_PREFIX.length, end < 0 ? undefined : end));
		const match = end < 0 ? "" : filter.slice(end + 1);
		if (start === undefined || match === "" || match.startsWith("$")) return undefined;
		return { kind: "replay", match, start };
	}
	return { kind: "plain", match: filter };
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const DURATION = /^-(?:\d{1,9}[smhdw])+$/;
const ISO_TIME = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?$/;

/** `earliest`, a duration back from now (`-2h`, `-1d12h`), or an ISO 8601 time (without a zone: UTC). */
export function replayStart(text: string): ReplayStart | undefined {
	if (text === "earliest") return "earliest";
	if (DURATION.test(text)) {
		let beforeMs = 0;
		for (const [, count, unit] of text.matchAll(/(\d+)([smhdw])/g)) beforeMs += Number(count) * UNIT_MS[unit!]!;
		return { beforeMs };
	}
	if (!ISO_TIME.test(text)) return undefined;
	const zoned = text.length === 10 || /(?:Z|[+-]\d\d:?\d\d)$/.test(text.slice(10)) ? text : `${text}Z`;
	const atMs = Date.parse(zoned);
	return Number.isNaN(atMs) ? undefined : { atMs };
}
