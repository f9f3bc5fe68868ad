/** A segment's indexes lead where a walk over all its batches leads, sound or damaged; what a crash left of its files is put right. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SimulatedDisk } from "../../../src/base/disk-simulated.ts";
import { Segment } from "../../../src/log/segment.ts";
import { encodeBatch, readBatchHeader } from "../../../src/record/batch.ts";

const BASE = 1000;
const FOLDER = "/t-0";
const FILES = ["log", "index", "timeindex"].map((suffix) => `${FOLDER}/${String(BASE).padStart(20, "0")}.${suffix}`);

interface Spec {
	readonly records: number;
	readonly valueBytes: number;
	readonly timestamp: number;
}

const specs = fc.array(
	fc.record({
		records: fc.integer({ min: 1, max: 5 }),
		valueBytes: fc.integer({ min: 0, max: 200 }),
		timestamp: fc.integer({ min: 0, max: 60 }),
	}),
	{ minLength: 1, maxLength: 40 },
);
const intervals = fc.constantFrom(0, 100, 700, 1e6);

function batchesOf(all: readonly Spec[], from = BASE): Buffer[] {
	let baseOffset = from;
	return all.map(({ records, valueBytes, timestamp }) => {
		const batch = encodeBatch(
			Array.from({ length: records }, () => ({
				timestamp,
				key: null,
				value: Buffer.alloc(valueBytes, 7),
				headers: [],
			})),
			{ baseOffset },
		);
		baseOffset += records;
		return batch;
	});
}

interface Place {
	readonly position: number;
	readonly baseOffset: number;
	readonly lastOffset: number;
	readonly maxTimestamp: number;
}

function walk(batches: readonly Buffer[]): Place[] {
	let position = 0;
	return batches.map((batch) => {
		const { baseOffset, lastOffset, maxTimestamp } = readBatchHeader(batch, 0);
		position += batch.length;
		return { position: position - batch.length, baseOffset, lastOffset, maxTimestamp };
	});
}

function newDisk(): SimulatedDisk {
	const disk = new SimulatedDisk();
	disk.makeDirectory(FOLDER);
	disk.syncDirectory("/");
	return disk;
}

/** The position of the batch that holds `offset`, from where the index leads and on by headers. */
function find(segment: Segment, offset: number): number {
	let position = segment.lookUp(offset);
	for (;;) {
		const header = segment.headerAt(position);
		if (header === undefined || header.lastOffset >= offset) return position;
		position += header.sizeBytes;
	}
}

function expectLookUps(segment: Segment, places: readonly Place[]): void {
	for (const { position, baseOffset, lastOffset } of places)
		for (let offset = baseOffset; offset <= lastOffset; offset++) expect(find(segment, offset)).toBe(position);
	for (let timestamp = 0; timestamp <= 61; timestamp++) {
		const first = places.find(({ maxTimestamp }) => maxTimestamp >= timestamp);
		if (first !== undefined) expect(segment.lookUpTime(timestamp)).toBeLessThanOrEqual(first.baseOffset);
	}
}

describe("a segment", () => {
	it("finds every offset and timestamp as a walk over all batches does", () => {
		fc.assert(
			fc.property(specs, intervals, fc.integer({ min: 1, max: 10 }), (all, interval, run) => {
				const segment = new Segment(newDisk(), FOLDER, BASE);
				const batches = batchesOf(all);
				for (let i = 0; i < batches.length; i += run) segment.append(batches.slice(i, i + run), interval);
				expectLookUps(segment, walk(batches));
				segment.seal();
				expectLookUps(segment, walk(batches));
			}),
			{ numRuns: 60 },
		);
	});

	it("finds them, and its largest timestamp, also where its indexes hold garbage or are gone", () => {
		fc.assert(
			fc.property(specs, fc.infiniteStream(fc.nat()), fc.integer({ min: 1, max: 6 }), (all, random, flips) => {
				const disk = newDisk();
				const written = new Segment(disk, FOLDER, BASE);
				const batches = batchesOf(all);
				written.append(batches, 100);
				written.seal();
				for (const file of FILES.slice(1)) {
					const size = disk.fileSize(file) ?? 0;
					for (let i = 0; i < flips && size > 0; i++)
						disk.flip(file, (random.next().value as number) % size, 1 + ((random.next().value as number) % 255));
					if (flips === 6) disk.remove(file);
				}
				const segment = new Segment(disk, FOLDER, BASE);
				const places = walk(batches);
				expectLookUps(segment, places);
				if (flips === 6) expect(segment.maxTimestamp).toBe(Math.max(...all.map(({ timestamp }) => timestamp)));
			}),
			{ numRuns: 60 },
		);
	});

	it("goes back to its checkpoint wherever the rest of its files was cut or garbled", () => {
		const damage = fc.record({
			keep: fc.double({ min: 0, max: 1, noNaN: true }),
			garbage: fc.uint8Array({ maxLength: 5000 }),
		});
		fc.assert(
			fc.property(specs, specs, intervals, fc.tuple(damage, damage, damage), (before, after, interval, damages) => {
				const disk = newDisk();
				const first = new Segment(disk, FOLDER, BASE);
				const kept = batchesOf(before);
				first.append(kept, interval);
				const state = first.state();
				const durable = FILES.map((file) => disk.fileSize(file) ?? 0);
				const end = walk(kept).at(-1)?.lastOffset ?? 0;
				first.append(batchesOf(after, end + 1), interval);
				for (const [i, file] of FILES.entries()) {
					const { keep, garbage } = damages[i] as { keep: number; garbage: Uint8Array };
					const from = durable[i] as number;
					// The last block of the checkpoint is in play too: the next append writes it again.
					const low = i === 0 ? from - (from % 4096) : from;
					const size = disk.fileSize(file) ?? 0;
					const at = low + Math.floor(keep * (size - low));
					const handle = disk.open(file, "create");
					handle.truncate(Math.max(at, from));
					handle.write([garbage], at);
				}
				const again = new Segment(disk, FOLDER, BASE);
				expect(again.restore(state, interval)).toBeUndefined();
				expect(again.readNow(0, again.sizeBytes)).toEqual(Buffer.concat(kept));
				expect(again.maxTimestamp).toBe(Math.max(...before.map(({ timestamp }) => timestamp)));
				expectLookUps(again, walk(kept));
				// And it goes on as if nothing had been.
				const more = batchesOf(after, end + 1);
				again.append(more, interval);
				expectLookUps(again, walk([...kept, ...more]));
			}),
			{ numRuns: 60 },
		);
	});

	it("finds the first sound batch behind any damage", () => {
		fc.assert(
			fc.property(specs, fc.nat(), (all, seed) => {
				const disk = newDisk();
				const segment = new Segment(disk, FOLDER, BASE);
				const batches = batchesOf(all);
				segment.append(batches, 100);
				const places = walk(batches);
				const damaged = seed % places.length;
				const { position } = places[damaged] as Place;
				disk.flip(FILES[0] as string, position + 16, 0xff);
				expect(segment.findSound(position + 1, BASE)?.position).toBe(places[damaged + 1]?.position);
			}),
			{ numRuns: 60 },
		);
	});
});
