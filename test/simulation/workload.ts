/**
 * One seeded life of a log: appends, reads, checkpoints, topics, retention, clock steps, faults of
 * the disk and, again and again, a crash; after each the log is compared with the model.
 */

import { BrokerError } from "../../src/base/errors.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import type { Partition } from "../../src/log/partition.ts";
import { offsetForTimestamp } from "../../src/log/partition-times.ts";
import { encodeBatch } from "../../src/record/batch.ts";
import { encodeHeadersBlock, encodeKeyBlock } from "../../src/record/builder.ts";
import {
	compareRecords,
	LogModel,
	type ModelGroup,
	type ModelPartition,
	type ModelRecord,
	Violation,
} from "./log-model.ts";
import { NeverSettled, recordsIn, STATE_SPACES, World, type WorldOptions } from "./world.ts";

/** How often each thing is done, against the others. */
const WEIGHTS = {
	append: 40,
	time: 25,
	read: 10,
	readByTime: 4,
	waitForCommit: 6,
	checkpoint: 4,
	createTopic: 2,
	deleteTopic: 1,
	retention: 2,
	stepClock: 2,
	armPower: 5,
	crash: 4,
	stop: 1,
	full: 2,
	syncError: 1,
};

export interface WorkloadOptions {
	readonly seed: number | string;
	readonly steps?: number;
	readonly world?: Partial<WorldOptions>;
	readonly weights?: Partial<Record<keyof typeof WEIGHTS, number>>;
	/** Called with the disk of the world before it starts: how a test plants a lie. */
	readonly prepare?: (world: World) => void;
}

/** What a run came to, so that a test can see that runs do what they are for. */
export interface Tally {
	records: number;
	acked: number;
	crashes: number;
	crashesInRecovery: number;
	checkpoints: number;
	reads: number;
	refused: number;
	failures: number;
}

export class Workload {
	readonly world: World;
	readonly model = new LogModel();
	readonly tally: Tally = {
		records: 0,
		acked: 0,
		crashes: 0,
		crashesInRecovery: 0,
		checkpoints: 0,
		reads: 0,
		refused: 0,
		failures: 0,
	};
	readonly #random: SimulatedRandom;
	readonly #cuts: SimulatedRandom;
	readonly #steps: number;
	readonly #weights: Record<keyof typeof WEIGHTS, number>;
	/** Counts the starts: what an earlier life still had under way does not count any more. */
	#life = 0;
	#topicsMade = 0;
	/** What went wrong in something under way. */
	#violation: Error | undefined;
	/** A topic that was being made or deleted when the power went: it may be there or not. */
	#doubtful: { readonly name: string; readonly partitions: number } | undefined;

	constructor(options: WorkloadOptions) {
		this.#random = new SimulatedRandom(options.seed);
		this.#cuts = this.#random.fork("cuts");
		this.#steps = options.steps ?? this.#random.between(30, 60);
		this.#weights = { ...WEIGHTS, ...options.weights };
		this.world = new World(this.#random, { ...drawWorld(this.#random), ...options.world });
		options.prepare?.(this.world);
	}

	/** Throws a `Violation` when the log is not what the model is. */
	async run(): Promise<void> {
		await this.#start();
		for (let step = 0; step < this.#steps; step++) {
			await this.#step(this.#random.weighted(this.#weights));
			if (this.world.disk.off) await this.#crash();
			else if (this.world.failure !== undefined) await this.#failed();
			if (this.#violation !== undefined) throw this.#violation;
		}
		this.world.disk.clearFaults();
		this.world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		await this.#crash();
		if (await this.#stop()) await this.#start();
		if (this.#violation !== undefined) throw this.#violation;
		if (this.world.broker.catalog.lostRecords() > 0) throw new Violation("records were counted as lost");
	}

	async #step(what: keyof typeof WEIGHTS): Promise<void> {
		const random = this.#random;
		switch (what) {
			case "append":
				// Entries that fit a journal file: what is longer a gateway's configuration does not allow.
				if (this.model.unackedBytes() > 50_000) return this.world.clock.advance(50);
				for (let i = random.between(1, 3); i > 0; i--) this.#power(() => this.#append());
				return;
			case "time":
				return this.world.clock.advance(random.pick([0, 0.1, 1, 5, 20]));
			case "read":
				return this.#read();
			case "readByTime":
				return this.#readByTime();
			case "waitForCommit":
				return this.#wait(this.world.log.whenCommitted());
			case "checkpoint":
				this.tally.checkpoints++;
				return this.#checkpoint(random.chance(0.5));
			case "createTopic":
				return this.#createTopic();
			case "deleteTopic":
				return this.#deleteTopic();
			case "retention":
				this.#power(() => this.#retention());
				return;
			case "stepClock":
				return this.world.clock.step(random.pick([-3_600_000, -1000, -1, 1, 1000, 86_400_000]));
			case "armPower":
				return this.world.disk.stopAfter(random.between(1, 60));
			case "crash":
				return this.#crash();
			case "stop":
				return this.#cleanStop();
			case "full":
				return this.#full();
			case "syncError":
				this.world.disk.inject({ operation: "sync", code: "EIO", after: random.between(0, 3) });
				return;
		}
	}

	// Appending.

	#append(): void {
		const partitions = this.model.partitions();
		if (partitions.length === 0) return;
		const random = this.#random;
		const group = this.model.begin();
		try {
			if (random.chance(0.2)) this.#changeState(group);
			for (let i = random.between(0, 3); i > 0; i--) {
				const partition = random.pick(partitions);
				if (random.chance(0.15)) this.#appendBatch(group, partition);
				else for (let n = random.between(1, 6); n > 0; n--) this.#appendRecord(group, partition);
			}
			if (random.chance(0.3)) this.#changeState(group);
		} catch (error) {
			if (!(error instanceof BrokerError) || error.code !== "KAFKA_STORAGE_ERROR") throw error;
			this.tally.refused++;
		}
		const life = this.#life;
		this.world.log.onCommit({
			committed: () => {
				if (life !== this.#life || this.world.disk.off) return;
				group.acknowledge();
				this.tally.acked++;
			},
		});
	}

	#appendRecord(group: ModelGroup, partition: ModelPartition): void {
		const record = this.#drawRecord(partition.endOffset);
		const { key, value, headers, timestamp } = record;
		const target = this.#real(partition);
		const source =
			value === null ? Buffer.alloc(0) : Buffer.concat([Buffer.from("before"), value, Buffer.from("after")]);
		const start = value === null ? -1 : 6;
		const end = value === null ? -1 : 6 + value.length;
		const headersBlock = encodeHeadersBlock(headers.map(([name, bytes]) => ({ key: name, value: bytes })));
		const offset = target.appendRecord(timestamp, encodeKeyBlock(key), source, start, end, headersBlock);
		source.fill(0xee);
		group.append(partition, { ...record, offset });
		this.tally.records++;
	}

	#appendBatch(group: ModelGroup, partition: ModelPartition): void {
		const first = partition.endOffset;
		const records = Array.from({ length: this.#random.between(1, 5) }, (_, i) => this.#drawRecord(first + i));
		const batch = encodeBatch(
			records.map(({ timestamp, key, value, headers }) => ({
				timestamp,
				key,
				value,
				headers: headers.map(([name, bytes]) => ({ key: name, value: bytes })),
			})),
			{ codec: this.#random.pick(["none", "gzip"]) },
		);
		const base = this.#real(partition).appendBatch(batch, records.length);
		for (const [i, record] of records.entries()) group.append(partition, { ...record, offset: base + i });
		this.tally.records += records.length;
	}

	#drawRecord(offset: number): ModelRecord {
		const random = this.#random;
		const size = random.pick([0, 1, 20, 100, 400, random.between(0, 2500)]);
		return {
			offset,
			timestamp: this.world.clock.now() + (random.chance(0.2) ? random.between(-5000, 5000) : 0),
			key: random.chance(0.2) ? null : random.bytes(random.between(0, 12)),
			value: random.chance(0.1) ? null : random.bytes(size),
			headers: random.chance(0.3) ? [["h", random.chance(0.2) ? null : random.bytes(random.between(0, 30))]] : [],
		};
	}

	#changeState(group: ModelGroup): void {
		const random = this.#random;
		for (let i = random.between(1, 3); i > 0; i--) {
			const space = random.pick(STATE_SPACES);
			const key = random.pick(["a", "b", "é", "client/1", "client/2"]);
			if (random.chance(0.25)) {
				this.world.log.deleteState(space, key);
				group.change({ space, key, value: undefined });
			} else {
				const value = random.bytes(random.pick([0, 8, 200]));
				this.world.log.putState(space, key, value);
				group.change({ space, key, value });
			}
		}
	}

	#real(partition: ModelPartition): Partition {
		const real = this.world.partition(partition.topic, partition.number);
		if (real === undefined) throw new Violation(`${partition.topic}-${partition.number} is gone`);
		return real;
	}

	// Reading, beside everything else: a read ends when the disk says so, or never.

	#read(): void {
		const picked = this.#pick();
		if (picked === undefined) return;
		const { partition, real } = picked;
		const offset = this.#random.between(real.logStartOffset, real.highWatermark);
		const maxBytes = this.#random.pick([1, 500, 4000, 100_000]);
		const mark = real.highWatermark;
		const check = (bytes: Buffer) => {
			const records = recordsIn(bytes).filter((record) => record.offset >= offset);
			const end = offset + records.length;
			if (records.length === 0 && offset < mark) throw new Violation(`nothing to read at ${offset} of ${mark}`);
			if (end > real.highWatermark) throw new Violation(`read up to ${end} beyond the high watermark`);
			compareRecords(partition, records, offset, end);
			this.tally.reads++;
		};
		this.#beside(partition, offset, real.read(offset, maxBytes).then(check));
	}

	#readByTime(): void {
		const picked = this.#pick();
		if (picked === undefined) return;
		const { partition, real } = picked;
		const timestamp = this.world.clock.now() + this.#random.pick([-100_000_000, -3000, -100, -10, 0, 10]);
		const start = real.logStartOffset;
		const mark = real.highWatermark;
		const check = (found: { offset: number; timestamp: number } | undefined) => {
			if (real.logStartOffset !== start) return;
			const expected = partition.records.find((record) => record.offset >= start && record.timestamp >= timestamp);
			// One that became durable meanwhile may be found or not.
			if (expected?.offset === found?.offset) return;
			if (found === undefined && expected !== undefined && expected.offset >= mark) return;
			throw new Violation(
				`${partition.topic}-${partition.number}: the first record from ${timestamp} on is ${expected?.offset}, not ${found?.offset}`,
			);
		};
		this.#beside(partition, start, offsetForTimestamp(real, timestamp).then(check));
	}

	#pick(): { partition: ModelPartition; real: Partition } | undefined {
		const partitions = this.model.partitions();
		if (partitions.length === 0) return undefined;
		const partition = this.#random.pick(partitions);
		return { partition, real: this.#real(partition) };
	}

	/** A read under way may fail when retention or a deletion overtakes it, or the process ends, and not otherwise. */
	#beside(partition: ModelPartition, offset: number, task: Promise<void>): void {
		const life = this.#life;
		const real = this.#real(partition);
		task.catch((error: Error) => {
			if (life !== this.#life || this.world.disk.off || this.#violation !== undefined) return;
			if (this.world.partition(partition.topic, partition.number) !== real) return;
			if (error instanceof BrokerError && error.code === "OFFSET_OUT_OF_RANGE" && offset < real.logStartOffset) return;
			this.#violation = error;
		});
	}

	// Everything else that a running log is asked to do.

	async #wait(task: Promise<void>): Promise<void> {
		try {
			await this.world.finish(task);
		} catch (error) {
			if (error instanceof NeverSettled && (this.world.disk.off || this.world.failure !== undefined)) return;
			if (error instanceof NeverSettled && this.world.log.refusal !== undefined) return;
			if (this.world.failure === undefined) throw error;
		}
	}

	async #checkpoint(wait: boolean): Promise<void> {
		const life = this.#life;
		const task = this.world.log.checkpoint().catch((error: Error) => {
			if (life === this.#life && !this.world.disk.off && !isDiskError(error)) this.#violation = error;
		});
		if (wait) await this.#wait(task);
	}

	#createTopic(): void {
		if (this.model.topics.size >= 3) return;
		// A name is used again now and then: what was under it before must not come back.
		const name = `topic${this.#random.chance(0.5) ? 0 : this.#topicsMade++}`;
		if (this.model.topics.has(name)) return;
		const partitions = this.#random.between(1, 3);
		this.#doubtful = { name, partitions };
		if (!this.#power(() => this.world.broker.topics.create({ name, partitions }))) return;
		this.#doubtful = undefined;
		this.model.createTopic(name, partitions);
	}

	#deleteTopic(): void {
		const names = [...this.model.topics.keys()];
		if (names.length < 2) return;
		const name = this.#random.pick(names);
		this.#doubtful = { name, partitions: 0 };
		if (!this.#power(() => this.world.broker.topics.delete(name))) return;
		this.#doubtful = undefined;
		this.model.deleteTopic(name);
	}

	#retention(): void {
		for (const partition of this.model.partitions()) partition.mayBeGoneBefore = this.#real(partition).highWatermark;
		this.world.broker.enforceRetention();
		for (const partition of this.model.partitions()) partition.mayBeGoneBefore = this.#real(partition).logStartOffset;
	}

	#full(): void {
		const { disk } = this.world;
		if (Number.isFinite(disk.capacityBytes)) {
			disk.capacityBytes = Number.POSITIVE_INFINITY;
			return;
		}
		let used = 0;
		for (const bytes of disk.files().values()) used += bytes.length;
		disk.capacityBytes = used + this.#random.pick([0, 1000, 20_000]);
	}

	/** Runs what the power may cut short; false when it did, or the disk refused. */
	#power(task: () => void): boolean {
		try {
			task();
			return true;
		} catch (error) {
			if (this.world.disk.off || isDiskError(error as Error)) return false;
			throw error;
		}
	}

	// Ends and beginnings.

	/** Storage failed: the process ends, and another begins. */
	async #failed(): Promise<void> {
		this.tally.failures++;
		this.world.disk.clearFaults();
		await this.#crash();
	}

	async #crash(): Promise<void> {
		this.tally.crashes++;
		await this.world.crash(this.#cuts.chance(0.75) ? "power cut" : "kill", this.#cuts);
		await this.#start();
	}

	async #cleanStop(): Promise<void> {
		if (Number.isFinite(this.world.disk.capacityBytes)) return;
		if (await this.#stop()) await this.#start();
	}

	/** False when the disk did not let it end well: then only a crash can follow. */
	async #stop(): Promise<boolean> {
		try {
			await this.world.stop();
			return true;
		} catch (error) {
			if (!this.world.disk.off && this.world.failure === undefined && !isSyncFault(error as Error)) throw error;
			await this.#failed();
			return false;
		}
	}

	/** Opens the log, however often the power goes meanwhile, and compares. */
	async #start(): Promise<void> {
		this.#life++;
		// A gateway that cannot start for want of space is another test's.
		this.world.disk.capacityBytes = Number.POSITIVE_INFINITY;
		for (;;) {
			if (this.#life > 1 && this.#cuts.chance(0.3)) this.world.disk.stopAfter(this.#cuts.between(1, 120));
			try {
				this.world.start();
				break;
			} catch (error) {
				if (!this.world.disk.off && !isSyncFault(error as Error)) throw error;
				this.tally.crashesInRecovery++;
				this.world.disk.clearFaults();
				await this.world.crash(this.#cuts.chance(0.75) ? "power cut" : "kill", this.#cuts);
			}
		}
		this.#settleDoubt();
		try {
			this.model.restart(await this.world.observe());
		} catch (error) {
			if (!this.world.disk.off) throw error;
			return this.#crash();
		}
		const damage = this.world.lines.find(({ message }) => message.includes("damaged"));
		if (damage !== undefined)
			throw new Violation(`damage reported where there is none: ${JSON.stringify(damage.fields)}`);
		if (this.model.topics.size === 0) this.#createTopic();
	}

	#settleDoubt(): void {
		const doubtful = this.#doubtful;
		this.#doubtful = undefined;
		if (doubtful === undefined) return;
		const isThere = this.world.broker.topics.get(doubtful.name) !== undefined;
		if (isThere && !this.model.topics.has(doubtful.name)) this.model.createTopic(doubtful.name, doubtful.partitions);
		else if (!isThere) this.model.deleteTopic(doubtful.name);
	}
}

function drawWorld(random: SimulatedRandom): WorldOptions {
	return {
		journalFileBytes: random.pick([96, 128, 256]) * 1024,
		journalFilesMax: random.pick([3, 4]),
		lingerMs: random.pick([0, 0, 0, 2]),
		topicDefaults: {
			"log.segment.bytes": String(random.pick([4, 16, 64]) * 1024),
			"log.roll.ms": String(random.pick([1000, 3_600_000])),
			"log.index.interval.bytes": String(random.pick([0, 512, 4096])),
			"log.retention.ms": String(random.pick([60_000, 7_200_000])),
			"log.retention.bytes": String(random.pick([-1, 30_000])),
		},
		tearNeighbours: true,
		syncMs: random.pick([0.2, 2, 10]),
	};
}

function isDiskError(error: Error): boolean {
	const code = (error as { code?: string }).code;
	return code === "ENOSPC" || code === "EIO" || code === "KAFKA_STORAGE_ERROR" || isSyncFault(error);
}

/** The sync error that a step ordered, however it is wrapped. */
function isSyncFault(error: Error): boolean {
	return error.message.includes("EIO: sync");
}
