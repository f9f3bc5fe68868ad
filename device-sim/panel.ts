/** Lines on a terminal that are drawn over again and again, in place; nothing where there is no terminal. */
import { cutTo } from "./format.ts";

export interface Output {
	write(text: string): unknown;
	readonly isTTY?: boolean;
	readonly columns?: number;
	readonly rows?: number;
}

const CLEAR_LINE = "\x1b[K";
const CLEAR_TO_END = "\x1b[J";

export class Panel {
	readonly #output: Output;
	#linesDrawn = 0;

	constructor(output: Output) {
		this.#output = output;
	}

	/** Over the lines drawn before. What does not fit the terminal is cut: a line that wraps, or scrolls, would spoil the count. */
	draw(lines: readonly string[]): void {
		if (!this.#output.isTTY) return;
		const up = this.#linesDrawn > 0 ? `\x1b[${this.#linesDrawn}A\r` : "";
		const width = (this.#output.columns ?? 80) - 1;
		const fitting = lines.slice(0, Math.max(0, (this.#output.rows ?? 24) - 1));
		this.#linesDrawn = fitting.length;
		// Line by line and in one write: a screen that is cleared first flickers.
		this.#output.write(`${up}${fitting.map((line) => `${cutTo(line, width)}${CLEAR_LINE}\n`).join("")}${CLEAR_TO_END}`);
	}
}
