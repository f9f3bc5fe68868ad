/** How far a long work is: one line on a terminal's stderr that is written over and over, nothing elsewhere. */

const PROGRESS_INTERVAL_MS = 100;
const WIDTH = 30;

export class ProgressBar {
	readonly #on: boolean;
	#shownMs = Number.NEGATIVE_INFINITY;

	constructor(on: boolean) {
		this.#on = on;
	}

	/** `text` stands behind the bar. Shows at most ten times a second. */
	show(done: number, total: number, text: string): void {
		const nowMs = performance.now();
		if (!this.#on || nowMs - this.#shownMs < PROGRESS_INTERVAL_MS) return;
		this.#shownMs = nowMs;
		const part = total <= 0 ? 1 : Math.min(1, done / total);
		const filled = Math.round(part * WIDTH);
		const bar = `[${"#".repeat(filled)}${" ".repeat(WIDTH - filled)}] ${Math.floor(part * 100)} %`;
		// Longer than the terminal is wide, it would leave a line behind with each writing.
		const columns = process.stderr.columns || 80;
		process.stderr.write(`\r${`${bar}, ${text}`.slice(0, Math.max(columns - 1, 1))}\x1b[K`);
	}

	hide(): void {
		if (!this.#on || this.#shownMs === Number.NEGATIVE_INFINITY) return;
		process.stderr.write("\r\x1b[K");
		this.#shownMs = Number.NEGATIVE_INFINITY;
	}
}
