/** Looking up offsets by time, against a walk over all records: times in any order, any codec, in memory, in files, behind deleted records. */

import fc from "fast-check";
import { it } from "vitest";
import { deleteRecordsBefore } from "../../../src/log/delete-records.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { newestTimestamp, offsetForTimestamp } from "../../../src/log/partition-times.ts";
import { appendTo, batchOf, record, START_MS, startWorld } from "../../support/producer-batches.ts";

const batch = fc.record({
	codec: fc.constantFrom("none" as const, "gzip" as const, "snappy" as const, "lz4" as const, "zstd" as const),
	// 0: a record without a time.
	deltas: fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 5 }),
	flush: fc.boolean(),
	padding: fc.constantFrom(0, 0, 3000),
});

it("finds the first record at or after a time, and the first of the newest ones", async () => {
	await fc.assert(
		fc.asyncProperty(
			fc.array(batch, { maxLength: 25 }),
			fc.double({ min: 0, max: 1, noNaN: true }),
			fc.array(fc.integer({ min: 0, max: 62 }), { minLength: 1, maxLength: 8 }),
			async (batches, deleted, asked) => {
				const world = startWorld();
				const config = { "segment.bytes": "16384", "index.interval.bytes": "1" };
				const partition = world.broker.topics.create({ name: "t", partitions: 1, config }).partitions[0] as Partition;
				const times: number[] = [];
				for (const { codec, deltas, flush, padding } of batches) {
					const own = deltas.map((delta) => (delta === 0 ? -1 : START_MS + delta));
					times.push(...own);
					const records = own.map((timestamp) => record("x".repeat(padding), { timestamp }));
					appendTo(world, partition, batchOf(records, { codec }));
					await world.finish(world.log.whenCommitted());
					if (flush) world.log.flush();
				}
				const start = Math.floor(deleted * times.length);
				if (start > 0) deleteRecordsBefore(world.log, partition, start);
				const check = (what: string, found: { offset: number; timestamp: number } | undefined, offset: number) => {
					const expected = offset < 0 ? "none" : `${offset} ${times[offset]}`;
					const got = found === undefined ? "none" : `${found.offset} ${found.timestamp}`;
					if (got !== expected) throw new Error(`${what} of ${times.join()} from ${start} on: ${got}, not ${expected}`);
				};
				for (const delta of asked) {
					const time = START_MS + delta;
					const found = await world.finish(offsetForTimestamp(partition, time));
					check(
						`${time}`,
						found,
						times.findIndex((one, offset) => offset >= start && one >= time),
					);
				}
				const largest = Math.max(0, ...times.slice(start));
				const newest = times.findIndex((one, offset) => offset >= start && one === largest);
				check("newest", await world.finish(newestTimestamp(partition)), newest);
			},
		),
		{ numRuns: 60 },
	);
});
