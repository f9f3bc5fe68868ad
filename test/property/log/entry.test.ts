/** The journal entry's bytes: what is written is read back, and nothing else passes for it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
	type AppendOperation,
	type FileStamp,
	headBytesFor,
	readEntryHeader,
	readOperations,
	type StateOperation,
	writeHead,
} from "../../../src/log/entry.ts";
import { encodeBatch } from "../../../src/record/batch.ts";

const stamps = fc.record({
	generation: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
	salt: fc.integer({ min: 0, max: 0xffff_ffff }),
});

const appends: fc.Arbitrary<AppendOperation> = fc
	.record({
		partitionId: fc.integer({ min: 0, max: 0xffff_ffff }),
		baseOffset: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - 10 }),
		values: fc.array(fc.uint8Array({ maxLength: 20 }), { minLength: 1, maxLength: 4 }),
	})
	.map(({ partitionId, baseOffset, values }) => {
		const records = values.map((value) => ({ timestamp: 5, key: null, value: Buffer.from(value), headers: [] }));
		return {
			partitionId,
			baseOffset,
			offsets: values.length,
			batch: encodeBatch(records, { baseOffset }),
			pooled: false,
		};
	});

const states: fc.Arbitrary<StateOperation> = fc.record({
	space: fc.integer({ min: 0, max: 255 }),
	key: fc.string({ unit: "grapheme", maxLength: 20 }),
	value: fc.option(
		fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
		{ nil: undefined },
	),
});

const entries = fc.record({
	stamp: stamps,
	sequence: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
	appends: fc.array(appends, { maxLength: 4 }),
	state: fc.array(states, { maxLength: 4 }),
});

type Entry = typeof entries extends fc.Arbitrary<infer T> ? T : never;

function write({ stamp, sequence, appends, state }: Entry): { head: Buffer; whole: Buffer } {
	const head = Buffer.alloc(headBytesFor(appends.length, state));
	expect(writeHead(head, stamp, sequence, appends, state)).toBe(head.length);
	return { head, whole: Buffer.concat([head, ...appends.map(({ batch }) => batch)]) };
}

/** The entry as a reader of a file with that stamp takes it; undefined where it refuses. */
function read(bytes: Buffer, stamp: FileStamp) {
	const header = readEntryHeader(bytes, 0, bytes.length);
	if (typeof header === "string" || header.generation !== stamp.generation) return undefined;
	const operations = readOperations(bytes, header, stamp.salt);
	return typeof operations === "string" ? undefined : { header, operations };
}

describe("a journal entry", () => {
	it("is read back as it was written", () => {
		fc.assert(
			fc.property(entries, (entry) => {
				const { head, whole } = write(entry);
				const found = read(whole, entry.stamp);
				expect(found?.header).toEqual({
					generation: entry.stamp.generation,
					sequence: entry.sequence,
					headBytes: head.length,
					totalBytes: whole.length,
					operations: entry.appends.length + entry.state.length,
				});
				expect(found?.operations.state).toEqual(entry.state);
				let position = head.length;
				expect(found?.operations.appends).toEqual(
					entry.appends.map(({ partitionId, baseOffset, offsets, batch }) => {
						position += batch.length;
						return {
							partitionId,
							baseOffset,
							offsets,
							batchCrc: batch.readUInt32BE(17),
							position: position - batch.length,
							sizeBytes: batch.length,
						};
					}),
				);
			}),
			{ numRuns: 300 },
		);
	});

	it("is refused when it is cut anywhere", () => {
		fc.assert(
			fc.property(entries, (entry) => {
				const { whole } = write(entry);
				for (let length = 0; length < whole.length; length++)
					expect(read(whole.subarray(0, length), entry.stamp)).toBeUndefined();
			}),
			{ numRuns: 40 },
		);
	});

	it("is refused when any byte of its head was changed", () => {
		fc.assert(
			fc.property(entries, fc.integer({ min: 1, max: 255 }), (entry, mask) => {
				const { head, whole } = write(entry);
				for (let at = 0; at < head.length; at++) {
					whole[at] = (whole[at] as number) ^ mask;
					expect(read(whole, entry.stamp), `byte ${at}`).toBeUndefined();
					whole[at] = (whole[at] as number) ^ mask;
				}
			}),
			{ numRuns: 60 },
		);
	});

	it("is refused under another generation or another salt", () => {
		fc.assert(
			fc.property(entries, stamps, (entry, other) => {
				fc.pre(other.generation !== entry.stamp.generation && other.salt !== entry.stamp.salt);
				const { whole } = write(entry);
				expect(read(whole, { ...entry.stamp, generation: other.generation })).toBeUndefined();
				expect(read(whole, { ...entry.stamp, salt: other.salt })).toBeUndefined();
			}),
			{ numRuns: 300 },
		);
	});
});
