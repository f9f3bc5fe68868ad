/**
 * Standard output of a command: waits for slow readers, ends quietly when the reader has gone
 * (`| head`), colours only on a terminal and not with NO_COLOR.
 */
import { once } from "node:events";

/** Bytes of text gathered for one write. */
const WRITE_BYTES = 65_536;

/** From here on a reader that closes its end of the pipe ends the command, with success: it has what it wanted. */
export function endWhenReaderIsGone(): void {
	process.stdout.on("error", (error: NodeJS.ErrnoException) => {
		if (error.code === "EPIPE") process.exit(0);
		throw error;
	});
}

export function coloursOn(stream: { isTTY?: boolean }): boolean {
	return stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== "dumb";
}

export function bold(text: string, colours: boolean): string {
	return colours ? `\x1b[1m${text}\x1b[0m` : text;
}

/**
 * Gathers lines into large writes, and writes at the latest when the event loop turns: a live stream shows at once,
 * a backlog goes out in large pieces.
 */
export class LineWriter {
	#text = "";
	#scheduled = false;
	#full: Promise<unknown> | undefined;
	readonly #stream: NodeJS.WritableStream;

	constructor(stream: NodeJS.WritableStream = process.stdout) {
		this.#stream = stream;
	}

	/** Takes one line with its newline. A promise when the reader is slow: wait for it before the next. */
	line(text: string): Promise<unknown> | undefined {
		this.#text += text;
		if (this.#text.length >= WRITE_BYTES) this.#flush();
		else if (!this.#scheduled) {
			this.#scheduled = true;
			setImmediate(() => {
				this.#scheduled = false;
				this.#flush();
			});
		}
		return this.#full;
	}

	/** Writes what is gathered; resolves when the stream has it. */
	async end(): Promise<void> {
		const text = this.#text;
		this.#text = "";
		await new Promise<void>((resolve) => this.#stream.write(text, () => resolve()));
	}

	#flush(): void {
		if (this.#text === "") return;
		const text = this.#text;
		this.#text = "";
		if (this.#stream.write(text) || this.#full !== undefined) return;
		this.#full = once(this.#stream, "drain").then(() => {
			this.#full = undefined;
		});
	}
}

/** Writes one text and waits until the stream has it: a process that exits right after loses nothing. */
export async function print(text: string): Promise<void> {
	const writer = new LineWriter();
	writer.line(text);
	await writer.end();
}

/** One JSON object a line. */
export async function printObjects(objects: readonly unknown[]): Promise<void> {
	await print(objects.map((object) => `${JSON.stringify(object)}\n`).join(""));
}
