/**
 * Seeded lives of a compacted partition: keyed records, tombstones and transactions, in batches of every codec, with
 * compaction, deletion of records, reads and crashes in between; and what must hold of them.
 */
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { deleteRecordsBefore } from "../../src/log/delete-records.ts";
import type { Partition } from "../../src/log/partition.ts";
import { type BatchHeader, decodeRecords, encodeBatch, readBatchHeader } from "../../src/record/batch.ts";
import type { Codec } from "../../src/record/compression.ts";
import { Violation } from "./log-model.ts";
import { World } from "./world.ts";

interface Entry {
	readonly offset: number;
	/** A marker has none. */
	readonly key: string | undefined;
	/** null: a tombstone. Of a marker, what it says. */
	readonly value: string | null;
	readonly timestamp: number;
	/** -1: not in a transaction. */
	readonly producerId: number;
}

/** What a reader of everything finds. */
interface Found extends Entry {
	readonly header: BatchHeader;
	readonly visible: boolean;
}

const CODECS: readonly Codec[] = ["none", "none", "gzip", "snappy", "lz4", "zstd"];
const PRODUCERS = 3;
const POWER = /the power|disk is off/;
const DELETE_RETENTION_MS = 5000;

export interface LifeOptions {
	readonly seed: number | string;
	readonly steps?: number;
	/** Memory for keys; little, so that they do not fit, unless told otherwise. */
	readonly keyBytes?: number;
	readonly policy?: string;
}

export class CompactionLife {
	readonly world: World;
	readonly random: SimulatedRandom;
	/** All that was appended and is there after a crash, whether or not it is still in the log. */
	entries: Entry[] = [];
	readonly tally = {
		records: 0,
		compactions: 0,
		crashes: 0,
		crashesInCompaction: 0,
		removed: 0,
		deletions: 0,
		reads: 0,
	};
	readonly #options: LifeOptions;
	#acked = 0;
	/** Records before it may be gone, or are. */
	#start = { least: 0, most: 0 };
	#keys: number;
	#compacting = false;

	constructor(options: LifeOptions) {
		this.#options = options;
		this.random = new SimulatedRandom(options.seed);
		this.#keys = this.random.pick([3, 30, 300]);
		this.world = new World(this.random, {
			journalFileBytes: 128 * 1024,
			journalFilesMax: 3,
			lingerMs: 0,
			tearNeighbours: this.random.chance(0.5),
			syncMs: 2,
			topicDefaults: {
				"log.index.interval.bytes": "512",
				"log.segment.bytes": "4096",
				"log.retention.ms": "-1",
				"log.cleaner.min.cleanable.ratio": "0.01",
				"log.cleaner.delete.retention.ms": String(DELETE_RETENTION_MS),
				"log.cleanup.policy": options.policy ?? "compact,delete",
			},
			cleaner: {
				backoffMs: 1e9,
				dedupeBufferBytes: options.keyBytes ?? this.random.pick([400, 4000, 65_536]),
				ioBytesPerSecond: 32 * 1024 * 1024,
			},
		});
	}

	get partition(): Partition {
		return this.world.partition("t", 0) as Partition;
	}

	async begin(): Promise<void> {
		this.world.start();
		this.world.broker.topics.create({ name: "t", partitions: 1 });
	}

	async run(): Promise<void> {
		await this.begin();
		for (let step = this.#options.steps ?? 40; step > 0; step--) {
			await this.#step();
			if (this.world.disk.off) await this.crash(this.random.chance(0.5) ? "kill" : "power cut");
		}
		await this.crash("power cut");
		await this.compactAll();
		await this.check();
		if (this.world.broker.catalog.lostRecords() > 0) throw new Violation("records were counted as lost");
	}

	async #step(): Promise<void> {
		const { random, world } = this;
		const what = random.weighted({
			append: 30,
			commit: 10,
			checkpoint: 8,
			flush: 6,
			compact: 12,
			time: 6,
			read: 6,
			remove: 2,
			arm: 6,
			crash: 2,
		});
		try {
			if (what === "append") for (let i = random.between(1, 6); i > 0; i--) this.append();
			else if (what === "commit") await this.commit();
			else if (what === "checkpoint") await world.finish(world.log.checkpoint());
			else if (what === "flush") world.log.flush();
			else if (what === "compact") this.compact();
			else if (what === "time") await world.clock.advance(random.pick([1, 20, DELETE_RETENTION_MS + 1]));
			else if (what === "read") await this.check();
			else if (what === "remove") this.deleteRecords();
			else if (what === "arm") world.disk.stopAfter(random.between(1, 150));
			else world.disk.stop();
		} catch (error) {
			if (error instanceof Violation || (!world.disk.off && !POWER.test(String(error)))) throw error;
		}
	}

	/** One batch: of records, in a transaction or not, or a transaction's marker. */
	append(): void {
		const { random, partition, world } = this;
		const { transactions } = partition;
		const producerId = random.chance(0.4) ? random.between(1, PRODUCERS) : -1;
		const first = partition.endOffset;
		const timestamp = world.clock.now();
		if (producerId > 0 && transactions.openedAt(producerId) !== undefined && random.chance(0.4)) {
			this.#end(producerId, random.chance(0.5) ? "commit" : "abort");
			return;
		}
		const records = Array.from({ length: random.between(1, 8) }, (_, i) => ({
			offset: first + i,
			key: `key-${random.between(1, this.#keys)}`,
			value: random.chance(0.25) ? null : `${first + i}:${"v".repeat(random.between(0, 120))}`,
			timestamp: timestamp + random.between(-3, 3),
			producerId,
		}));
		const batch = encodeBatch(
			records.map(({ key, value, timestamp }) => ({
				timestamp,
				key: Buffer.from(key),
				value: value === null ? null : Buffer.from(value),
				headers: [{ key: "h", value: Buffer.from("x") }],
			})),
			{
				codec: random.pick(CODECS),
				...(producerId > 0 ? { producerId, producerEpoch: 0, baseSequence: first, isTransactional: true } : {}),
			},
		);
		world.log.group(batch.length + 200, () => {
			partition.appendBatch(batch, records.length);
			if (producerId > 0) transactions.begin(producerId, first);
		});
		this.entries.push(...records);
		this.tally.records += records.length;
	}

	#end(producerId: number, outcome: "commit" | "abort"): void {
		const { partition, world } = this;
		const offset = partition.endOffset;
		const timestamp = world.clock.now();
		const batch = encodeBatch([{ timestamp, key: markerKey(outcome), value: Buffer.alloc(6), headers: [] }], {
			producerId,
			producerEpoch: 0,
			isTransactional: true,
			isControl: true,
		});
		world.log.group(batch.length + 200, () => {
			partition.appendBatch(batch, 1);
			partition.transactions.end(producerId, offset, outcome);
		});
		this.entries.push({ offset, key: undefined, value: outcome, timestamp, producerId });
	}

	/** So that none holds compaction back. */
	endTransactions(): void {
		for (let producerId = 1; producerId <= PRODUCERS; producerId++)
			if (this.partition.transactions.openedAt(producerId) !== undefined) this.#end(producerId, "commit");
	}

	async commit(): Promise<void> {
		const end = this.partition.endOffset;
		await this.world.finish(this.world.log.whenCommitted());
		this.#acked = end;
	}

	/** Goes on while other things happen. */
	compact(): void {
		if (this.#compacting) return;
		this.#compacting = true;
		const { world } = this;
		const { cleaner } = world.broker;
		cleaner?.clean().then(() => {
			if (world.disk.off || world.broker.cleaner !== cleaner) return;
			this.#compacting = false;
			this.tally.compactions++;
		});
	}

	/** Compacts all that may be, and waits for it. */
	async compactAll(): Promise<void> {
		const { world } = this;
		await this.commit();
		await world.finish(world.log.checkpoint());
		await world.finish(world.broker.cleaner?.clean() ?? Promise.resolve());
	}

	deleteRecords(offset = this.random.between(this.partition.logStartOffset, this.partition.highWatermark)): void {
		const { partition, world } = this;
		// Where the power goes meanwhile it may be done, or not.
		this.#start.most = Math.max(this.#start.most, offset);
		deleteRecordsBefore(world.log, partition, offset);
		this.#start.least = this.#start.most;
		if (partition.logStartOffset !== this.#start.least) throw new Violation("the log start is not what was asked for");
		this.tally.deletions++;
	}

	async crash(kind: "power cut" | "kill", random = this.random): Promise<void> {
		const { world } = this;
		this.tally.crashes++;
		if (this.#compacting) this.tally.crashesInCompaction++;
		this.#compacting = false;
		await world.crash(kind, random);
		for (;;) {
			try {
				world.start();
				break;
			} catch (error) {
				if (!world.disk.off) throw error;
				await world.crash(kind, random);
			}
		}
		const { endOffset, highWatermark } = this.partition;
		if (endOffset !== highWatermark || endOffset < this.#acked || endOffset > this.entries.length)
			throw new Violation(`ends at ${endOffset}; ${this.#acked} were acknowledged, ${this.entries.length} appended`);
		this.entries.length = endOffset;
		this.#acked = endOffset;
		const start = this.partition.logStartOffset;
		if (start < this.#start.least || start > this.#start.most)
			throw new Violation(`begins at ${start}; ${this.#start.least} to ${this.#start.most} may be`);
		this.#start = { least: start, most: start };
		await this.check();
		if (this.#warnings().length > 0) throw new Violation(this.#warnings().join("\n"));
	}

	#warnings(): string[] {
		return this.world.lines
			.filter(({ message, fields }) => /damage|lost|failed/.test(message) && !POWER.test(String(fields.error)))
			.map(({ message, fields }) => `${message} ${JSON.stringify(fields)}`);
	}

	/** Compares all that can be read with all that was appended. */
	async check(): Promise<void> {
		this.tally.reads++;
		const { partition } = this;
		const start = partition.logStartOffset;
		const end = partition.highWatermark;
		const stable = partition.lastStableOffset;
		const cleaned = partition.segments.cleanedOffset;
		const found = await this.#read(start, end, stable);
		const at = new Map(found.map((one) => [one.offset, one]));
		let before = start - 1;
		for (const one of found) {
			if (one.offset <= before) throw new Violation(`offset ${one.offset} comes after ${before}`);
			before = one.offset;
			compare(one, this.entries[one.offset] as Entry);
		}
		const outcomes = outcomesOf(this.entries);
		// What readers of committed records take for the state of each key: the right one, at every moment.
		const now = new Map<string, string>();
		const inCleaned = new Set<string>();
		for (const { visible, key, value, offset } of found) {
			if (!visible || key === undefined) continue;
			if (outcomes[offset] === "abort") throw new Violation(`offset ${offset} was aborted and is visible`);
			if (value === null) now.delete(key);
			else now.set(key, value);
			if (offset >= cleaned) continue;
			if (inCleaned.has(key)) throw new Violation(`${key} is twice before ${cleaned}, where compaction has been`);
			inCleaned.add(key);
		}
		const expected = new Map<string, string>();
		for (const { key, value, offset } of this.entries.slice(start, stable)) {
			if (key === undefined || outcomes[offset] === "abort") continue;
			if (value === null) expected.delete(key);
			else expected.set(key, value);
		}
		const wrong = [...new Set([...now.keys(), ...expected.keys()])].find((key) => now.get(key) !== expected.get(key));
		if (wrong !== undefined)
			throw new Violation(`${wrong} is ${now.get(wrong)?.slice(0, 20)}, not ${expected.get(wrong)?.slice(0, 20)}`);
		for (let offset = start; offset < end; offset++)
			if (!at.has(offset) && !partition.segments.mayLack(offset, offset + 1))
				throw new Violation(`offset ${offset} is gone, and compaction has not been there`);
		this.tally.removed = Math.max(this.tally.removed, end - start - found.length);
	}

	async #read(start: number, end: number, stable: number): Promise<Found[]> {
		const { partition, world } = this;
		const found: Found[] = [];
		for (let offset = start; offset < end; ) {
			const bytes = await world.finish(partition.read(offset, this.random.pick([500, 5000, 50_000]), end));
			if (bytes.length === 0) break;
			for (let at = 0; at < bytes.length; ) {
				const header = readBatchHeader(bytes, at);
				const visible = partition.isVisible(header);
				for (const { offset: its, key, value, timestamp } of decodeRecords(bytes, at))
					if (its >= offset)
						found.push({
							offset: its,
							key: header.isControl ? undefined : String(key),
							value: header.isControl ? (key?.readInt16BE(2) === 1 ? "commit" : "abort") : value && String(value),
							timestamp,
							producerId: header.producerId,
							header,
							visible: visible && its < stable,
						});
				offset = Math.max(offset, header.lastOffset + 1);
				at += header.sizeBytes;
			}
		}
		return found;
	}
}

function compare({ header, visible, ...found }: Found, entry: Entry): void {
	for (const name of ["offset", "key", "value", "timestamp", "producerId"] as const)
		if (found[name] !== entry[name])
			throw new Violation(`offset ${entry.offset} has ${name} ${found[name]}, not ${entry[name]}`);
}

/** By offset: what became of the transaction, where it is in one that has ended. */
function outcomesOf(entries: readonly Entry[]): (string | undefined)[] {
	const outcomes: (string | undefined)[] = [];
	const next = new Map<number, string>();
	for (let i = entries.length - 1; i >= 0; i--) {
		const { key, value, producerId } = entries[i] as Entry;
		if (key === undefined) next.set(producerId, value as string);
		outcomes[i] = producerId < 0 ? undefined : next.get(producerId);
	}
	return outcomes;
}

function markerKey(outcome: "commit" | "abort"): Buffer {
	return Buffer.from([0, 0, 0, outcome === "commit" ? 1 : 0]);
}
