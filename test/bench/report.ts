/** Results as tables: aligned for a terminal, or Markdown for the documentation. Figures carry their unit in the column's head. */

export interface Table {
	readonly title: string;
	readonly columns: readonly string[];
	readonly rows: readonly (readonly string[])[];
	readonly notes?: readonly string[];
}

const NUMERIC = /^[<>=~≥≤]*\s*-?[\d.,]+/;

/** A figure under another's head would be believed. */
function checkRows({ title, columns, rows }: Table): void {
	if (rows.some((row) => row.length !== columns.length)) throw new Error(`${title}: a row does not fit the columns`);
}

export function tableText(table: Table): string {
	checkRows(table);
	const { title, columns, rows, notes = [] } = table;
	const widths = columns.map((name, i) => Math.max(name.length, ...rows.map((row) => (row[i] ?? "").length)));
	const line = (cells: readonly string[]): string =>
		cells
			.map((cell, i) => {
				const width = widths[i] ?? 0;
				return i > 0 && (cells === columns || cell === "-" || NUMERIC.test(cell))
					? cell.padStart(width)
					: cell.padEnd(width);
			})
			.join("  ")
			.trimEnd();
	return `${[title, "", line(columns), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line), ...notes.map((note) => `  ${note}`)].join("\n")}\n`;
}

export function tableMarkdown(table: Table): string {
	checkRows(table);
	const { title, columns, rows, notes = [] } = table;
	const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
	const ruler = `|${columns.map((_, i) => (i === 0 ? "---" : "---:")).join("|")}|`;
	const below = notes.length === 0 ? [] : ["", ...notes.map((note) => `- ${note}`)];
	return `${[`### ${title}`, "", line(columns), ruler, ...rows.map(line), ...below].join("\n")}\n`;
}

export function median(values: readonly number[]): number {
	const sorted = values.toSorted((a, b) => a - b);
	const middle = sorted.length >> 1;
	if (sorted.length === 0) return Number.NaN;
	return sorted.length % 2 === 1
		? (sorted[middle] as number)
		: ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** Half the range, as a part of the median: `±4%`. */
export function spread(values: readonly number[]): string {
	if (values.length < 2) return "-";
	return `±${Math.round((50 * (Math.max(...values) - Math.min(...values))) / median(values))}%`;
}

export const fixed = (value: number | undefined, digits: number): string =>
	value === undefined || !Number.isFinite(value) ? "-" : value.toFixed(digits);
export const megabytes = (bytes: number | undefined, digits = 1): string =>
	fixed(bytes === undefined ? undefined : bytes / 1e6, digits);
/** Three digits that count. */
export const thousands = (value: number): string => fixed(value / 1000, value < 10_000 ? 2 : value < 100_000 ? 1 : 0);

/** How many times the median of `baseline`; `-` without one. */
export const ratio = (values: readonly number[], baseline: readonly number[] | undefined): string =>
	baseline === undefined || baseline.length === 0 ? "-" : fixed(median(values) / median(baseline), 2);
