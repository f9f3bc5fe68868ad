/**
 * Quantities as people write them, `64MiB` and `7d`, to plain numbers and back. Sizes are binary
 * (KiB, MiB, GiB): decimal MB is refused rather than guessed at.
 */

export const SIZE_UNITS: readonly (readonly [unit: string, bytes: number])[] = [
	["GiB", 1_073_741_824],
	["MiB", 1_048_576],
	["KiB", 1024],
	["B", 1],
];

export const TIME_UNITS: readonly (readonly [unit: string, ms: number])[] = [
	["d", 86_400_000],
	["h", 3_600_000],
	["m", 60_000],
	["s", 1000],
	["ms", 1],
];

/** A number with at most one unit behind it. */
const QUANTITY = /^([+-]?\d+(?:\.\d+)?)\s*([A-Za-zµ]*)$/;

/** The number in the unit of `units` that counts 1, or undefined when `text` is no quantity. A bare number counts `bareFactor`. */
export function parseQuantity(
	text: string,
	units: readonly (readonly [string, number])[],
	bareFactor = 1,
): number | undefined {
	const match = QUANTITY.exec(text.trim());
	if (match === null) return undefined;
	const unit = match[2] as string;
	const factor = unit === "" ? bareFactor : units.find(([name]) => name.toLowerCase() === unit.toLowerCase())?.[1];
	if (factor === undefined) return undefined;
	const value = Number(match[1]) * factor;
	// 1.1 h is a whole number of milliseconds; floating point is off by its last digits.
	return Math.abs(value - Math.round(value)) < 1e-6 ? Math.round(value) : value;
}

/** The largest unit in which `value` is a whole number: 67108864, "64MiB". */
export function formatQuantity(value: number, units: readonly (readonly [string, number])[]): string {
	const found = value === 0 ? undefined : units.find(([, factor]) => value % factor === 0);
	return found === undefined ? String(value) : `${value / found[1]}${found[0]}`;
}
