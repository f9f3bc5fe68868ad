/**
 * The order of state keys: by code point, which is the order of their UTF-8 bytes and so SQLite's. JavaScript compares
 * UTF-16 units, where a surrogate pair (U+10000 and up) comes before U+E000 to U+FFFF.
 */

const SURROGATES = /[\ud800-\udfff]/;

/** A unit's place among units when whole strings are to be in code point order: surrogates behind all others. */
function placeOf(unit: number): number {
	return unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit;
}

/** Negative, zero or positive as `a` comes before `b`, is `b`, or comes behind it. */
export function compareKeys(a: string, b: string): number {
	if (a === b) return 0;
	const length = Math.min(a.length, b.length);
	for (let i = 0; i < length; i++) {
		const left = a.charCodeAt(i);
		const right = b.charCodeAt(i);
		if (left !== right) return placeOf(left) - placeOf(right);
	}
	return a.length - b.length;
}

/** Sorts in place. */
export function sortKeys(keys: string[]): string[] {
	// The engine's own order of units is far quicker than a function's, and the same without surrogates.
	return keys.some((key) => SURROGATES.test(key)) ? keys.sort(compareKeys) : keys.sort();
}

/** The smallest key behind `key`. */
export function keyBehind(key: string): string {
	return `${key}\0`;
}

/** The smallest text behind everything that begins with `prefix`; undefined: there is none. */
export function behindPrefix(prefix: string): string | undefined {
	for (let end = prefix.length; end > 0; ) {
		const last = prefix.codePointAt(end - 1) as number;
		const pair = last >= 0xdc00 && last <= 0xdfff && end > 1;
		const point = pair ? (prefix.codePointAt(end - 2) as number) : last;
		end -= point > 0xffff ? 2 : 1;
		if (point === 0x10ffff) continue;
		// Between U+D7FF and U+E000 are no characters.
		return prefix.slice(0, end) + String.fromCodePoint(point === 0xd7ff ? 0xe000 : point + 1);
	}
	return undefined;
}

/** Index of the first of `sorted` that is not before `key`. */
export function firstNotBefore(sorted: readonly string[], key: string): number {
	let low = 0;
	let high = sorted.length;
	while (low < high) {
		const middle = (low + high) >>> 1;
		if (compareKeys(sorted[middle] as string, key) < 0) low = middle + 1;
		else high = middle;
	}
	return low;
}
