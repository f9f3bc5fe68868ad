/** Text for people in lines of a terminal's width. */

/** At spaces; a word longer than a line has one of its own. Colours take no room. */
export function wrap(text: string, columns: number): string[] {
	const lines: string[] = [];
	let line = "";
	for (const word of text.split(" ")) {
		if (line !== "" && lengthOf(line) + 1 + lengthOf(word) > columns) {
			lines.push(line);
			line = word;
		} else line = line === "" ? word : `${line} ${word}`;
	}
	lines.push(line);
	return lines;
}

function lengthOf(text: string): number {
	// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose.
	return text.replace(/\x1b\[[0-9;]*m/g, "").length;
}
