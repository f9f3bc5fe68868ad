/**
 * Lines of a byte stream, as bytes: what is not UTF-8 passes unchanged. All the lines that one
 * chunk completed come together, so that a fast stream is produced in large requests and a slow one at once.
 */
import { CommandError } from "./failure.ts";

/** A line without an end would otherwise be gathered without one. */
export const MAX_LINE_BYTES = 16_777_216;

const NEWLINE = 0x0a;

/** Lists of lines without their newline; a last line needs none. */
export async function* readLines(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer[]> {
	let partial: Buffer[] = [];
	let partialBytes = 0;
	for await (const bytes of source) {
		const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
		const lines: Buffer[] = [];
		let start = 0;
		for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
			const tail = chunk.subarray(start, end);
			lines.push(partial.length === 0 ? tail : Buffer.concat([...partial, tail]));
			partial = [];
			partialBytes = 0;
			start = end + 1;
		}
		if (start < chunk.length) {
			partial.push(chunk.subarray(start));
			partialBytes += chunk.length - start;
		}
		if (partialBytes > MAX_LINE_BYTES)
			throw new CommandError(`a line has more than ${MAX_LINE_BYTES} bytes; each line is one record`);
		if (lines.length > 0) yield lines;
	}
	if (partialBytes > 0) yield [Buffer.concat(partial)];
}
