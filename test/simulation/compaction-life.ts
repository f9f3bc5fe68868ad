/**
 * Seeded lives of a compacted partition: keyed records, tombstones and transactions, in batches of every codec, with
 * compaction, deletion of records, reads and crashes in between; and what must hold of them.
 */
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { deleteRecordsBefore } from "../../src/log/delete-records.ts";
import type { Partition } from "../../src/log/partition.ts";
import { KeyedHistory, viewOf } from "./keyed-history.ts";
import { Violation } from "./log-model.ts";
import { World } from "./world.ts";

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
	readonly #history: KeyedHistory;
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
	#compacting = false;

	constructor(options: LifeOptions) {
		this.#options = options;
		this.random = new SimulatedRandom(options.seed);
		this.#history = new KeyedHistory(this.random);
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

	append(): void {
		this.#history.append(this.world, this.partition);
		this.tally.records = this.#history.records;
	}

	/** So that none holds compaction back. */
	endTransactions(): void {
		this.#history.endTransactions(this.world, this.partition);
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
		if (endOffset !== highWatermark || endOffset < this.#acked || endOffset > this.#history.entries.length)
			throw new Violation(
				`ends at ${endOffset}; ${this.#acked} were acknowledged, ${this.#history.entries.length} appended`,
			);
		this.#history.entries.length = endOffset;
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
		const view = viewOf(partition);
		const { start, end } = view;
		const cleaned = partition.segments.cleanedOffset;
		const found = await this.#history.read(this.world, partition, view);
		this.#history.checkState(found, view);
		const inCleaned = new Set<string>();
		for (const { visible, key, offset } of found) {
			if (!visible || key === undefined || offset >= cleaned) continue;
			if (inCleaned.has(key)) throw new Violation(`${key} is twice before ${cleaned}, where compaction has been`);
			inCleaned.add(key);
		}
		const at = new Set(found.map(({ offset }) => offset));
		for (let offset = start; offset < end; offset++)
			if (!at.has(offset) && !partition.segments.mayLack(offset, offset + 1))
				throw new Violation(`offset ${offset} is gone, and compaction has not been there`);
		this.tally.removed = Math.max(this.tally.removed, end - start - found.length);
	}
}
