/** What is compressed comes out again, whatever its size comes to: nothing is behind the frame. */
import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { threadCompression } from "../../../tiering/bundle/compression.ts";

/** Around which frames end where a buffer of a round size does. */
const SIZES = [0, 512, 1024, 16 * 1024, 64 * 1024];

it("is one frame of whatever length", { timeout: 60_000 }, async () => {
	for (const size of SIZES)
		for (let rawBytes = Math.max(0, size - 16); rawBytes <= size + 4; rawBytes++) {
			// Half of it twice as long, which is another part of the buffer that Node takes.
			for (const raw of [randomBytes(rawBytes), Buffer.concat([randomBytes(rawBytes), Buffer.alloc(rawBytes)])]) {
				const frame = await threadCompression.zstd(raw);
				expect(await threadCompression.unzstd(frame, raw.length)).toEqual(raw);
				const stored = await threadCompression.gzip(raw);
				expect(await threadCompression.gunzip(stored, raw.length)).toEqual(raw);
			}
		}
});

it("is one frame though nothing of it can be made smaller", async () => {
	for (const rawBytes of [1, 1000, 100_000, 262_144, 1_048_576, 9_000_000]) {
		const raw = randomBytes(rawBytes);
		const frame = await threadCompression.zstd(raw);
		expect(frame.length).toBeGreaterThan(rawBytes);
		expect(Buffer.compare(await threadCompression.unzstd(frame, rawBytes), raw)).toBe(0);
	}
});
