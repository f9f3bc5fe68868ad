/** Aligned columns for people, and text that cannot move their cursor. */

/** Rows under a head, two spaces between columns; columns named in `right` (by index) end flush. */
export function formatTable(
	head: readonly string[],
	rows: readonly (readonly string[])[],
	right: readonly number[] = [],
): string {
	const all = [head, ...rows];
	const widths = head.map((_, column) => Math.max(...all.map((row) => width(row[column] ?? ""))));
	return all
		.map((row) => {
			const cells = head.map((_, column) => {
				const cell = row[column] ?? "";
				const space = " ".repeat((widths[column] ?? 0) - width(cell));
				return right.includes(column) ? space + cell : cell + space;
			});
			return `${cells.join("  ").trimEnd()}\n`;
		})
		.join("");
}

/** Names and values, the values in one column. */
export function formatPairs(pairs: readonly (readonly [name: string, value: string])[]): string {
	const widest = Math.max(0, ...pairs.map(([name]) => name.length));
	return pairs.map(([name, value]) => `${name.padEnd(widest)}  ${value}\n`).join("");
}

/** Characters, not UTF-16 units; good enough for alignment. */
function width(text: string): number {
	let count = 0;
	for (const _ of text) count++;
	return count;
}

/** Control characters escaped as JSON does it, so that a line stays a line. */
export function escapeControls(text: string): string {
	// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose.
	return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (c) => {
		const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[c];
		return short ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
	});
}
