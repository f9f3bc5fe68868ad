/** Numbers, times and bars for people's eyes, and the few colours of the screen. */

/** 1234567 as 1,234,567. */
export function count(value: number): string {
	return Math.round(value).toLocaleString("en-US");
}

/** A time in the unit that suits it: 0.42 ms, 12.3 ms, 1.24 s, 2 min 5 s. */
export function time(milliseconds: number): string {
	if (milliseconds < 10) return `${milliseconds.toFixed(2)} ms`;
	if (milliseconds < 100) return `${milliseconds.toFixed(1)} ms`;
	if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
	if (milliseconds < 10_000) return `${(milliseconds / 1000).toFixed(2)} s`;
	if (milliseconds < 100_000) return `${(milliseconds / 1000).toFixed(1)} s`;
	const seconds = Math.round(milliseconds / 1000);
	return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** A bar of `width` characters, `part` (0 to 1) of it filled, by eighths of a character. */
export function bar(part: number, width: number): string {
	const eighths = Math.round(Math.min(1, Math.max(0, part)) * width * 8);
	const full = "█".repeat(Math.floor(eighths / 8));
	const rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]!;
	return (full + rest).padEnd(width, "·");
}

/** Rows in columns: the first to the left, the others to the right. */
export function columns(rows: readonly (readonly string[])[]): string[] {
	const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
	return rows.map((row) =>
		row
			.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
			.join("  ")
			.trimEnd(),
	);
}

/** The first `width` visible characters; colour codes take no room. */
export function cutTo(line: string, width: number): string {
	let visible = 0;
	let cut = "";
	// biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes begin with one
	for (const piece of line.match(/\x1b\[\d+m|./gu) ?? []) {
		if (!piece.startsWith("\x1b") && ++visible > width) continue;
		cut += piece;
	}
	return cut;
}

export interface Paint {
	bold(text: string): string;
	dim(text: string): string;
	/** What a reader's eye should follow. */
	cool(text: string): string;
	warm(text: string): string;
	good(text: string): string;
	bad(text: string): string;
}

export function paint(colours: boolean): Paint {
	const wrap = (code: number) => (text: string) => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);
	return { bold: wrap(1), dim: wrap(2), cool: wrap(36), warm: wrap(33), good: wrap(32), bad: wrap(31) };
}
